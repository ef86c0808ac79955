//! Clients whose TCP is smoltcp's.

use std::cell::Cell;
use std::collections::VecDeque;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};

use super::ecn::Ecn;
use super::work::{Job, Phase, Pipe};
use super::{Address, Settings};
use crate::plan::{Congestion, JobPlan};
use crate::time::{MS, US};
use crate::wire::LINK_HEADER;

thread_local! {
    /// smoltcp asks a function without arguments for the clock of timestamps.
    static NOW_MS: Cell<u32> = const { Cell::new(0) };
}

/// Turns of a poll: what a client writes may let it read.
const TURNS: usize = 64;

/// Settings that only this stack has.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// With timestamps.
    pub timestamps: bool,
    /// Buffers in bytes.
    pub buffer: usize,
    /// ACKs wait for company.
    pub delays_acks: bool,
    /// How it heeds congestion.
    pub congestion: Congestion,
}

/// A client's machine.
pub struct ForeignHost {
    settings: Settings,
    manner: Manner,
    device: Queues,
    /// What this stack lacks.
    ecn: Option<Ecn>,
    interface: Interface,
    sockets: SocketSet<'static>,
    jobs: Vec<(Job, Option<SocketHandle>)>,
}

impl ForeignHost {
    /// A machine on the LAN.
    #[must_use]
    pub fn new(settings: Settings, manner: Manner) -> ForeignHost {
        let Address { mac, ip } = settings.address;
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac.0)));
        config.random_seed = settings.seed;
        let mut device = Queues::new(settings.mtu);
        let mut interface = Interface::new(config, &mut device, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            // There is room for one, which is all that a machine has.
            let _full = addresses.push(IpCidr::new(ip.into(), settings.version.prefix_len()));
        });
        let (sockets, jobs) = (SocketSet::new(Vec::new()), Vec::new());
        let ecn = settings.ecn.then(Ecn::default);
        ForeignHost { settings, manner, device, ecn, interface, sockets, jobs }
    }

    /// Opens a connection and begins its work.
    pub fn start(&mut self, now_ns: u64, plan: JobPlan) {
        let buffer = || SocketBuffer::new(vec![0; self.manner.buffer]);
        let mut socket = Socket::new(buffer(), buffer());
        if self.manner.timestamps {
            socket.set_tsval_generator(Some(|| NOW_MS.get()));
        }
        if !self.manner.delays_acks {
            socket.set_ack_delay(None);
        } else {
            socket.set_ack_delay(Some(Duration::from_millis(40)));
        }
        socket.set_congestion_control(match self.manner.congestion {
            Congestion::None => CongestionControl::None,
            Congestion::Reno => CongestionControl::Reno,
            Congestion::Cubic => CongestionControl::Cubic,
        });
        let local = self.settings.port(self.jobs.len());
        let remote = (IpAddress::from(self.settings.version.vip()), plan.work.port());
        let connected = socket.connect(self.interface.context(), remote, local);
        connected.expect("a new socket can connect");
        let handle = self.sockets.add(socket);
        self.jobs.push((Job::new(plan, now_ns), Some(handle)));
    }

    /// A frame comes in.
    pub fn deliver(&mut self, mut frame: Vec<u8>) {
        self.ecn.iter_mut().for_each(|ecn| ecn.received(&mut frame));
        self.device.received.push_back(frame);
    }

    /// Lets time and frames work, and returns what the machine sends.
    pub fn poll(&mut self, now_ns: u64) -> Vec<Vec<u8>> {
        NOW_MS.set((now_ns / MS) as u32);
        let now = instant(now_ns);
        for _ in 0..TURNS {
            self.interface.poll(now, &mut self.device, &mut self.sockets);
            let mut moved = false;
            for (job, handle) in &mut self.jobs {
                let Some(at) = *handle else { continue };
                moved |= job.run(now_ns, self.sockets.get_mut::<Socket<'static>>(at));
                if job.is_abandoned() {
                    self.sockets.remove(at);
                    *handle = None;
                }
            }
            if !moved {
                break;
            }
        }
        self.interface.poll(now, &mut self.device, &mut self.sockets);
        let mut sent = std::mem::take(&mut self.device.sent);
        if let Some(ecn) = &mut self.ecn {
            sent.iter_mut().for_each(|frame| ecn.sent(frame));
        }
        sent
    }

    /// When it wants to be polled at the latest.
    pub fn next_ns(&mut self, now_ns: u64) -> Option<u64> {
        let at = self.interface.poll_at(instant(now_ns), &self.sockets);
        let stack = at.and_then(|at| u64::try_from(at.total_micros()).ok()).map(|us| us * US);
        let jobs = self.jobs.iter().filter_map(|(job, _)| job.next_ns(now_ns));
        stack.into_iter().chain(jobs).min()
    }

    /// The connections' work.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter().map(|(job, _)| job)
    }

    /// The state of each connection, by the local port.
    pub fn states(&self) -> impl Iterator<Item = (u16, engine::tcp::State)> {
        let there =
            self.jobs.iter().enumerate().filter_map(|(job, (_, handle))| Some((job, (*handle)?)));
        there.map(|(job, handle)| {
            let state = self.sockets.get::<Socket<'static>>(handle).state();
            (self.settings.port(job), name_of(state))
        })
    }

    /// Where a connection stands.
    #[must_use]
    pub fn describe(&self, job: usize) -> String {
        match self.jobs.get(job) {
            Some((_, Some(handle))) => {
                self.sockets.get::<Socket<'static>>(*handle).state().to_string()
            }
            _ => "no socket".to_owned(),
        }
    }
}

/// The same state, as our stack calls it. A client never listens.
fn name_of(state: State) -> engine::tcp::State {
    use engine::tcp::State as Ours;
    match state {
        State::Closed | State::Listen => Ours::Closed,
        State::SynSent => Ours::SynSent,
        State::SynReceived => Ours::SynReceived,
        State::Established => Ours::Established,
        State::FinWait1 => Ours::FinWait1,
        State::FinWait2 => Ours::FinWait2,
        State::CloseWait => Ours::CloseWait,
        State::Closing => Ours::Closing,
        State::LastAck => Ours::LastAck,
        State::TimeWait => Ours::TimeWait,
    }
}

fn instant(now_ns: u64) -> Instant {
    Instant::from_micros((now_ns / US) as i64)
}

impl Pipe for Socket<'static> {
    fn phase(&self) -> Phase {
        match self.state() {
            State::SynSent | State::SynReceived | State::Listen => Phase::Opening,
            State::Closed if self.can_recv() => Phase::Over,
            State::Closed => Phase::Gone,
            State::TimeWait => Phase::Over,
            _ => Phase::Alive,
        }
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        if self.can_send() { self.send_slice(bytes).unwrap_or(0) } else { 0 }
    }

    fn receive(&mut self, take: &mut impl FnMut(&[u8])) {
        while self.can_recv() {
            let taken = self.recv(|bytes| {
                take(bytes);
                (bytes.len(), ())
            });
            if taken.is_err() {
                return;
            }
        }
    }

    fn ended(&self) -> bool {
        !self.may_recv() && self.state() != State::Closed
    }

    fn close(&mut self) {
        Socket::close(self);
    }

    fn abort(&mut self) {
        Socket::abort(self);
    }
}

struct Queues {
    /// With the Ethernet header.
    longest: usize,
    received: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

struct Received(Vec<u8>);
struct Sent<'a>(&'a mut Vec<Vec<u8>>);

impl Queues {
    fn new(mtu: u16) -> Queues {
        let longest = usize::from(mtu) + LINK_HEADER;
        Queues { longest, received: VecDeque::new(), sent: Vec::new() }
    }
}

impl Device for Queues {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received, Sent<'_>)> {
        let frame = self.received.pop_front()?;
        Some((Received(frame), Sent(&mut self.sent)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sent<'_>> {
        Some(Sent(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.longest;
        capabilities
    }
}

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push(frame);
        result
    }
}

impl std::fmt::Debug for ForeignHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForeignHost").finish_non_exhaustive()
    }
}
