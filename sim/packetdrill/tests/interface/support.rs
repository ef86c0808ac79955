//! The table of functions with a Rust face, and a peer on the other side of the wire.

use std::ffi::{CString, c_int, c_longlong};
use std::io;
use std::mem::MaybeUninit;
use std::net::Ipv4Addr;
use std::ptr;

use engine::addr::{Endpoint, Flow};
use engine::seq::SeqNumber;
use engine::wire::segment::{MAX_HEADER_LEN, Segment, SegmentHeader};
use engine::wire::tcp::{Flags, Options};
use engine::wire::{Checksums, checksum, ipv4};
use packetdrill::abi::{Interface, packetdrill_interface_init};

pub const OURS: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);
pub const THEIRS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const PORT: u16 = 8080;

/// The plug-in as packetdrill has it. Calls from several threads are what it is made for.
#[derive(Clone, Copy)]
pub struct Drill {
    pub table: Interface,
}

// SAFETY: the table's functions may be called from any thread.
unsafe impl Send for Drill {}

/// Result of a system call: -1 becomes the error number.
pub fn checked(result: impl Into<i64>) -> Result<i64, i32> {
    match result.into() {
        -1 => Err(io::Error::last_os_error().raw_os_error().expect("errno is set")),
        value => Ok(value),
    }
}

macro_rules! sys {
    ($drill:ident.$name:ident($($argument:expr),* $(,)?)) => {
        // SAFETY: pointers among the arguments are of values that outlive the call.
        crate::support::checked(unsafe {
            ($drill.table.$name)($drill.table.userdata, $($argument),*)
        } as i64)
    };
}
pub(crate) use sys;

impl Drill {
    pub fn new(flags: &str) -> Drill {
        let flags = CString::new(flags).expect("no zero in it");
        let mut table = MaybeUninit::uninit();
        // SAFETY: a C string, and a table to write to, which is whole afterwards.
        let table = unsafe {
            packetdrill_interface_init(flags.as_ptr(), table.as_mut_ptr());
            table.assume_init()
        };
        Drill { table }
    }

    pub fn free(self) {
        // SAFETY: the last call on this table.
        unsafe { (self.table.free)(self.table.userdata) };
    }

    pub fn socket(&self) -> c_int {
        sys!(self.socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_TCP)).expect("a socket")
            as c_int
    }

    pub fn nonblocking(&self, fd: c_int) {
        sys!(self.fcntl(fd, libc::F_SETFL, i64::from(libc::O_RDWR | libc::O_NONBLOCK)))
            .expect("flags are set");
    }

    pub fn connect(&self, fd: c_int) -> Result<i64, i32> {
        let address = address(THEIRS, PORT);
        let len = size_of_val(&address) as libc::socklen_t;
        sys!(self.connect(fd, ptr::from_ref(&address).cast(), len))
    }

    pub fn set(&self, fd: c_int, level: c_int, name: c_int, value: c_int) -> Result<i64, i32> {
        sys!(self.setsockopt(fd, level, name, ptr::from_ref(&value).cast(), 4))
    }

    pub fn get(&self, fd: c_int, level: c_int, name: c_int) -> c_int {
        let (mut value, mut len) = (0, 4);
        sys!(self.getsockopt(fd, level, name, ptr::from_mut(&mut value).cast(), &mut len))
            .expect("the option is known");
        assert_eq!(len, 4);
        value
    }

    pub fn error(&self, fd: c_int) -> c_int {
        self.get(fd, libc::SOL_SOCKET, libc::SO_ERROR)
    }

    pub fn write(&self, fd: c_int, bytes: &[u8]) -> Result<i64, i32> {
        sys!(self.write(fd, bytes.as_ptr().cast(), bytes.len()))
    }

    pub fn read(&self, fd: c_int, max: usize) -> Result<Vec<u8>, i32> {
        let mut bytes = vec![0; max];
        let len = sys!(self.read(fd, bytes.as_mut_ptr().cast(), max))?;
        bytes.truncate(len as usize);
        Ok(bytes)
    }

    pub fn close(&self, fd: c_int) {
        sys!(self.close(fd)).expect("it was open");
    }

    pub fn time_us(&self) -> i64 {
        let mut time = libc::timeval { tv_sec: 0, tv_usec: 0 };
        sys!(self.gettimeofday(&mut time, ptr::null_mut())).expect("there is time");
        time.tv_sec * 1_000_000 + time.tv_usec
    }

    pub fn sleep_us(&self, us: u32) {
        sys!(self.usleep(us)).expect("time passes");
    }

    pub fn poll(&self, fd: c_int, events: i16, timeout_ms: c_int) -> i16 {
        let mut fds = [libc::pollfd { fd, events, revents: 0 }];
        let ready = sys!(self.poll(fds.as_mut_ptr(), 1, timeout_ms)).expect("fds are given");
        assert_eq!(ready != 0, fds[0].revents != 0);
        fds[0].revents
    }

    /// The next packet that leaves, and when; `None`: nothing will.
    pub fn packet(&self) -> Option<(i64, Vec<u8>)> {
        let mut bytes = vec![0; 65_536];
        let (mut len, mut at): (usize, c_longlong) = (bytes.len(), 0);
        let to = bytes.as_mut_ptr().cast();
        assert_eq!(sys!(self.netdev_receive(to, &mut len, &mut at)), Ok(0));
        bytes.truncate(len);
        (len > 0).then_some((at, bytes))
    }

    /// The next segment that leaves.
    pub fn expect(&self) -> Heard {
        let (at_us, bytes) = self.packet().expect("a packet leaves");
        Heard::new(at_us, &bytes)
    }

    pub fn inject(&self, packet: &[u8]) {
        assert_eq!(sys!(self.netdev_send(packet.as_ptr().cast(), packet.len())), Ok(0));
    }

    /// A listener on [`PORT`].
    pub fn listener(&self) -> c_int {
        let fd = self.socket();
        let address = address(OURS, PORT);
        let len = size_of_val(&address) as libc::socklen_t;
        sys!(self.bind(fd, ptr::from_ref(&address).cast(), len)).expect("the port is free");
        sys!(self.listen(fd, 1)).expect("nobody listens there");
        fd
    }

    pub fn accept(&self, fd: c_int) -> Result<i64, i32> {
        sys!(self.accept(fd, ptr::null_mut(), ptr::null_mut()))
    }

    /// A connection from a peer, accepted.
    pub fn accepted(&self) -> (c_int, Peer) {
        let listener = self.listener();
        let mut peer = Peer::new(PORT, 40_000);
        self.inject(&peer.segment(Flags::SYN, b""));
        peer.hear(&self.expect());
        self.inject(&peer.segment(Flags::ACK, b""));
        (self.accept(listener).expect("one waits") as c_int, peer)
    }

    /// A connection that we opened.
    pub fn connected(&self) -> (c_int, Peer) {
        let fd = self.socket();
        self.nonblocking(fd);
        assert_eq!(self.connect(fd), Err(libc::EINPROGRESS));
        let syn = self.expect();
        let mut peer = Peer::new(syn.source_port, PORT);
        peer.hear(&syn);
        self.inject(&peer.segment(Flags::SYN | Flags::ACK, b""));
        assert_eq!(self.expect().flags, Flags::ACK);
        (fd, peer)
    }
}

/// What the peer reads of a segment.
#[derive(Debug)]
pub struct Heard {
    pub at_us: i64,
    pub source_port: u16,
    pub seq: u32,
    pub ack: u32,
    pub flags: Flags,
    pub options: Options,
    pub payload: Vec<u8>,
    len_seq: u32,
}

impl Heard {
    fn new(at_us: i64, bytes: &[u8]) -> Heard {
        let segment = Segment::parse(bytes, Checksums::Verify).expect("a right segment");
        Heard {
            at_us,
            source_port: segment.flow.remote.port,
            seq: segment.seq.0,
            ack: segment.ack.0,
            flags: segment.flags,
            len_seq: segment.len_seq(),
            options: segment.options,
            payload: segment.payload.to_vec(),
        }
    }
}

/// The peer of one connection.
pub struct Peer {
    local: u16,
    remote: u16,
    pub seq: u32,
    pub ack: u32,
}

impl Peer {
    /// `local` is the port on the engine's side.
    pub fn new(local: u16, remote: u16) -> Peer {
        Peer { local, remote, seq: 1000, ack: 0 }
    }

    /// Takes a segment: the next one sent acknowledges it.
    pub fn hear(&mut self, heard: &Heard) {
        self.ack = heard.seq.wrapping_add(heard.len_seq);
    }

    pub fn segment(&mut self, flags: Flags, payload: &[u8]) -> Vec<u8> {
        let flow = Flow {
            local: Endpoint::new(THEIRS, self.remote),
            remote: Endpoint::new(OURS, self.local),
        };
        let header = SegmentHeader {
            flow,
            seq: SeqNumber(self.seq),
            ack: SeqNumber(if flags.ack() { self.ack } else { 0 }),
            flags,
            window: 60_000,
            options: Options::default(),
        };
        let mut bytes = [0; MAX_HEADER_LEN];
        let len = header.emit(payload.len() as u16, &mut bytes);
        checksum::finish_tcp(&mut bytes[..len], ipv4::HEADER_LEN, &[payload]);
        let numbers = payload.len() as u32 + u32::from(flags.syn()) + u32::from(flags.fin());
        self.seq = self.seq.wrapping_add(numbers);
        [&bytes[..len], payload].concat()
    }
}

fn address(ip: Ipv4Addr, port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(ip).to_be() },
        sin_zero: [0; 8],
    }
}
