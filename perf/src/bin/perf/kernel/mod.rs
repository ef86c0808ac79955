//! Connections of the kernel's TCP: non-blocking sockets and epoll, in one thread.

mod socket;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use perf::queue_depth::QueueDepth;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventFlags};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity, set_current_timer_slack};

use crate::args::BackendArgs;
use crate::engine::LocalEnds;
use crate::load::transport::{Events, Failure, Index, Notice, Stream, Transport};
use crate::ranges::AddressRange;
use socket::Socket;

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;
/// Bytes read from a socket at once.
const READ: usize = 128 << 10;
/// Most bytes read from a socket before others have their turn.
const FAIR: usize = 1 << 20;
/// A sleep ends up to so long after its time, so the rest of the wait is spent awake.
const OVERSLEEP_NS: u64 = 60_000;
/// File descriptors beyond those of connections.
const SPARE_FILES: u64 = 64;
/// Ends tried that the kernel holds for others, before a connection is given up.
const TRIES: u32 = 70_000;

/// Connections over sockets.
pub struct Kernel {
    target: SocketAddr,
    ends: Option<LocalEnds>,
    epoll: OwnedFd,
    queue_depth: QueueDepth,
    start: Instant,
    sockets: Vec<Option<Socket>>,
    events: Vec<epoll::Event>,
    /// Connections that were found to be over outside of a poll.
    ended: Vec<Notice>,
    buffer: Vec<u8>,
}

impl Kernel {
    /// Makes ready for so many connections at a time.
    ///
    /// # Errors
    /// The process may not have so many files, or an address is not one of this host's.
    pub fn start(
        args: &BackendArgs,
        target: SocketAddr,
        connections: u32,
    ) -> anyhow::Result<Kernel> {
        if let Some(core) = args.core {
            pin(core)?;
        }
        allow_files(u64::from(connections) + SPARE_FILES)?;
        let ends = match args.bind {
            Some(range) => {
                check_addresses(range, target)?;
                let ends = LocalEnds::new(range, args.ports);
                ensure!(
                    connections <= ends.total(),
                    "{connections} connections are wanted, and there are local ends for {} of \
                     them ({ends}): widen --bind or --ports",
                    ends.total()
                );
                Some(ends)
            }
            None => None,
        };
        // Without this a sleep may take 50 us longer than asked for. It is no more than a wish.
        let _ = set_current_timer_slack(NonZeroU64::new(1));
        Ok(Kernel {
            target,
            ends,
            epoll: epoll::create(CreateFlags::CLOEXEC).context("cannot create an epoll set")?,
            queue_depth: QueueDepth::open().context("cannot open a socket to sock_diag(7)")?,
            start: Instant::now(),
            sockets: Vec::new(),
            events: Vec::with_capacity(EVENTS),
            ended: Vec::new(),
            buffer: vec![0; READ],
        })
    }

    fn connect(&mut self) -> Result<Socket, Errno> {
        let Some(ends) = &mut self.ends else { return Socket::connect(self.target, None) };
        for _ in 0..TRIES.min(ends.total()) {
            let (number, end) = ends.take().ok_or(Errno::ADDRNOTAVAIL)?;
            match Socket::connect(self.target, Some((number, end))) {
                // In TIME-WAIT, or somebody else's.
                Err(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE) => ends.put_back(number),
                Err(errno) => {
                    ends.put_back(number);
                    return Err(errno);
                }
                connected => return connected,
            }
        }
        Err(Errno::ADDRNOTAVAIL)
    }

    /// Closes a socket and forgets it.
    fn close(&mut self, index: Index) -> Option<Socket> {
        let socket = self.sockets.get_mut(index as usize)?.take()?;
        if let (Some(ends), Some(number)) = (&mut self.ends, socket.end) {
            ends.put_back(number);
        }
        Some(socket)
    }

    fn fail(&mut self, index: Index, errno: Errno) {
        if self.close(index).is_some() {
            let failure = Some(failure(errno));
            self.ended.push(Notice { index, events: Events::OVER, failure });
        }
    }

    /// What an event of epoll means for a connection.
    fn interpret(&mut self, index: Index, flags: EventFlags) -> Option<Notice> {
        let socket = self.sockets.get_mut(index as usize)?.as_mut()?;
        let mut notice = Notice { index, events: Events::NONE, failure: None };
        if flags.contains(EventFlags::ERR)
            && let Some(errno) = socket.error()
        {
            self.close(index);
            return Some(Notice { events: Events::OVER, failure: Some(failure(errno)), ..notice });
        }
        if flags.contains(EventFlags::OUT) {
            let event = if socket.is_open { Events::WRITABLE } else { Events::OPENED };
            notice.events = notice.events.and(event);
            socket.is_open = true;
            socket.wants_room = false;
        }
        let is_closed = flags.intersects(EventFlags::RDHUP.union(EventFlags::HUP));
        if is_closed && socket.is_shut {
            self.close(index);
            notice.events = notice.events.and(Events::OVER);
            return Some(notice);
        }
        if flags.contains(EventFlags::IN) && !socket.peer_closed {
            notice.events = notice.events.and(Events::READABLE);
        }
        if is_closed && !socket.peer_closed {
            socket.peer_closed = true;
            notice.events = notice.events.and(Events::PEER_CLOSED);
        }
        if let Err(errno) = socket.watch(&self.epoll, index) {
            self.close(index);
            return Some(Notice { events: Events::OVER, failure: Some(failure(errno)), ..notice });
        }
        (notice.events != Events::NONE).then_some(notice)
    }
}

impl Transport for Kernel {
    type Stream<'a> = KernelStream<'a>;

    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn open(&mut self, index: Index) -> Result<(), Failure> {
        let place = index as usize;
        if place >= self.sockets.len() {
            self.sockets.resize_with(place + 1, || None);
        }
        self.ended.retain(|notice| notice.index != index);
        let mut socket = self.connect().map_err(failure)?;
        let watched = socket.watch(&self.epoll, index);
        self.sockets[place] = Some(socket);
        if let Err(errno) = watched {
            self.close(index);
            return Err(failure(errno));
        }
        Ok(())
    }

    fn stream(&mut self, index: Index) -> Option<KernelStream<'_>> {
        self.sockets.get(index as usize)?.as_ref()?;
        Some(KernelStream { kernel: self, index })
    }

    fn poll(&mut self, until_ns: u64, notices: &mut Vec<Notice>) -> anyhow::Result<()> {
        loop {
            let left_ns = until_ns.saturating_sub(self.now_ns());
            let asleep_ns = if self.ended.is_empty() { left_ns } else { 0 };
            let timeout = timespec(asleep_ns.saturating_sub(OVERSLEEP_NS));
            self.events.clear();
            let room = rustix::buffer::spare_capacity(&mut self.events);
            match epoll::wait(&self.epoll, room, Some(&timeout)) {
                Ok(_) => {}
                Err(Errno::INTR) => return Ok(()),
                Err(errno) => bail!("epoll_wait failed: {}", io::Error::from(errno)),
            }
            notices.append(&mut self.ended);
            for place in 0..self.events.len() {
                let (data, flags) = (self.events[place].data, self.events[place].flags);
                let index = Index::try_from(data.u64()).expect("an index of ours");
                notices.extend(self.interpret(index, flags));
            }
            if !notices.is_empty() || left_ns == 0 {
                return Ok(());
            }
        }
    }

    fn name(&self) -> &str {
        "kernel"
    }

    fn local_ends(&self) -> String {
        match &self.ends {
            Some(ends) => ends.to_string(),
            None => "the kernel's choice of address, ports of ip_local_port_range: \
                     see --bind for more"
                .to_owned(),
        }
    }
}

/// A connection of [`Kernel`].
pub struct KernelStream<'a> {
    kernel: &'a mut Kernel,
    index: Index,
}

impl KernelStream<'_> {
    fn socket(&self) -> Option<&Socket> {
        self.kernel.sockets.get(self.index as usize)?.as_ref()
    }

    fn socket_mut(&mut self) -> Option<&mut Socket> {
        self.kernel.sockets.get_mut(self.index as usize)?.as_mut()
    }
}

impl Stream for KernelStream<'_> {
    fn read(&mut self, mut sink: impl FnMut(&[u8])) -> usize {
        let mut total = 0;
        while total < FAIR {
            let place = self.index as usize;
            let Some(socket) = self.kernel.sockets.get(place).and_then(Option::as_ref) else {
                break;
            };
            match rustix::io::read(&socket.fd, &mut self.kernel.buffer[..]) {
                Ok(len) => {
                    sink(&self.kernel.buffer[..len]);
                    total += len;
                    // Less than there is room for: there was no more.
                    if len < READ {
                        break;
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(errno) => {
                    self.kernel.fail(self.index, errno);
                    break;
                }
            }
        }
        total
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        let Some(socket) = self.socket() else { return 0 };
        let took = match socket.send(bytes) {
            Ok(took) => took,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(errno) => {
                self.kernel.fail(self.index, errno);
                return 0;
            }
        };
        if took < bytes.len() {
            let index = self.index;
            if let Some(socket) = self.kernel.sockets[index as usize].as_mut() {
                socket.wants_room = true;
                if let Err(errno) = socket.watch(&self.kernel.epoll, index) {
                    self.kernel.fail(index, errno);
                }
            }
        }
        took
    }

    fn unacknowledged(&self) -> u64 {
        let depth = self.socket().and_then(|socket| {
            let (local, remote) = (socket.local()?, self.kernel.target);
            self.kernel.queue_depth.unacknowledged(local, remote).ok()
        });
        depth.unwrap_or(u64::MAX)
    }

    fn shut_down(&mut self) {
        let Some(socket) = self.socket_mut() else { return };
        socket.shut_down();
        if socket.peer_closed {
            let (index, events) = (self.index, Events::OVER);
            self.kernel.close(index);
            self.kernel.ended.push(Notice { index, events, failure: None });
        }
    }

    fn abort(&mut self) {
        if let Some(socket) = self.kernel.close(self.index) {
            socket.reset();
        }
    }
}

fn failure(errno: Errno) -> Failure {
    match errno {
        Errno::CONNRESET | Errno::PIPE => Failure::Reset,
        Errno::CONNREFUSED => Failure::Refused,
        Errno::TIMEDOUT => Failure::TimedOut,
        Errno::HOSTUNREACH | Errno::NETUNREACH => Failure::Unreachable,
        Errno::ADDRNOTAVAIL => Failure::NoPorts,
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => Failure::NoRoom,
        other => Failure::System(other.raw_os_error()),
    }
}

fn timespec(ns: u64) -> Timespec {
    let duration = Duration::from_nanos(ns);
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

fn pin(core: u16) -> anyhow::Result<()> {
    let mut cores = CpuSet::new();
    ensure!(usize::from(core) < CpuSet::MAX_CPU, "there is no core {core}");
    cores.set(core.into());
    sched_setaffinity(None, &cores).with_context(|| format!("cannot run on core {core}"))
}

/// Raises the limit of open files as far as needed.
fn allow_files(needed: u64) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(needed));
    let raised = Rlimit { current: Some(needed), maximum };
    setrlimit(Resource::Nofile, raised).with_context(|| {
        format!(
            "this run needs {needed} open files and the limit is {}: raise it with `ulimit -n` \
             (as root), and `sysctl fs.nr_open` if that is below",
            limit.maximum.unwrap_or(u64::MAX)
        )
    })
}

/// Whether connections can come from every address of a range.
fn check_addresses(range: AddressRange, target: SocketAddr) -> anyhow::Result<()> {
    ensure!(
        target.is_ipv4() == range.first.is_ipv4(),
        "--bind {range} and the target {target} are of two IP versions"
    );
    let places = u32::try_from(range.count()).unwrap_or(u32::MAX);
    for address in (0..places).map(|place| range.at(place)) {
        check_address(address).with_context(|| {
            format!(
                "cannot connect from {address} of --bind {range}: is it an address of this host?"
            )
        })?;
    }
    Ok(())
}

fn check_address(address: IpAddr) -> io::Result<()> {
    std::net::UdpSocket::bind(SocketAddr::new(address, 0)).map(|_| ())
}
