//! What a load needs of whatever carries its connections: DPDK and this project's TCP, or the
//! kernel's sockets.
//!
//! A transport has many connections to one target. It is polled by one thread, and tells time, so
//! that a load can be tested with connections and hours that do not exist.

use std::fmt;

use engine::buffer::pattern;

/// A connection's number, chosen by whoever opens it: small, dense, and used again after its end.
pub type Index = u32;

/// Why a connection is over although nobody closed it, or could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// The peer sent RST to an open connection.
    Reset,
    /// The peer sent RST to a SYN: nothing listens there.
    Refused,
    /// The peer's TCP stopped answering and ours gave up.
    TimedOut,
    /// No way to the target: no route, or nobody answers ARP.
    Unreachable,
    /// Every local address and port that may be used is in use for this target.
    NoPorts,
    /// The transport has no room for another connection, or no memory.
    NoRoom,
    /// Anything else that the kernel says, as an errno.
    System(i32),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failure::Reset => "reset by the peer",
            Failure::Refused => "refused: nothing listens at the target",
            Failure::TimedOut => "the peer's TCP stopped answering",
            Failure::Unreachable => "the target is unreachable",
            Failure::NoPorts => "every local address and port is in use",
            Failure::NoRoom => "no room for another connection",
            Failure::System(errno) => {
                return write!(f, "{}", std::io::Error::from_raw_os_error(*errno));
            }
        })
    }
}

/// What happened to a connection since the last look, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Events(u8);

impl Events {
    /// Nothing.
    pub const NONE: Events = Events(0);
    /// The handshake is through: it may be read and written.
    pub const OPENED: Events = Events(1);
    /// Bytes are there to be read. Told again as long as some are left.
    pub const READABLE: Events = Events(2);
    /// There is room again after a write that was cut short.
    pub const WRITABLE: Events = Events(4);
    /// The peer sent FIN, and every byte before it has come (perhaps not yet been read).
    pub const PEER_CLOSED: Events = Events(8);
    /// The connection is over; see [`Notice::failure`]. Its index is free.
    pub const OVER: Events = Events(16);

    /// Whether any of `other` is in the set.
    #[inline]
    pub fn has(self, other: Events) -> bool {
        self.0 & other.0 != 0
    }

    /// The set with `other` in it.
    #[inline]
    #[must_use]
    pub fn and(self, other: Events) -> Events {
        Events(self.0 | other.0)
    }
}

/// Events of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// The connection.
    pub index: Index,
    /// What happened.
    pub events: Events,
    /// With [`Events::OVER`]: why, if it was not closed from both sides in good order.
    pub failure: Option<Failure>,
}

/// One open connection.
pub trait Stream {
    /// Hands over what has come, piece by piece and in order, without copying where possible, and
    /// takes it out of the receive buffer. At most so much as is fair to other connections; if
    /// bytes are left, the next poll says [`Events::READABLE`] again. Returns how many bytes.
    fn read(&mut self, sink: impl FnMut(&[u8])) -> usize;

    /// Puts bytes into the send buffer. Returns how many it took; if not all, a poll says
    /// [`Events::WRITABLE`] when there is room again. They leave with the next poll at the latest.
    fn write(&mut self, bytes: &[u8]) -> usize;

    /// Like `write`, of `len` bytes of the [`pattern`] from position `offset` on, for transports
    /// that can do so by reference. Returns how many it took.
    fn write_pattern(&mut self, offset: u64, len: u64) -> u64 {
        let mut piece = [0; 4096];
        let mut written = 0;
        while written < len {
            let want = usize::try_from(len - written).unwrap_or(usize::MAX).min(piece.len());
            pattern::fill(offset.wrapping_add(written), &mut piece[..want]);
            let took = self.write(&piece[..want]);
            written += took as u64;
            if took < want {
                break;
            }
        }
        written
    }

    /// Bytes written that the peer's TCP has not acknowledged yet.
    fn unacknowledged(&self) -> u64;

    /// Sends FIN behind what was written. Reading goes on. When the peer's FIN has come too, the
    /// connection is over: a TIME-WAIT is the transport's own affair.
    fn shut_down(&mut self);

    /// Sends RST and forgets the connection at once: no event follows, its index is free.
    fn abort(&mut self);
}

/// Carries the connections of a run.
pub trait Transport {
    /// An open connection of it.
    type Stream<'a>: Stream
    where
        Self: 'a;

    /// Nanoseconds since some moment before the run. Cheap: may be read once in each `poll`, if
    /// that is done often.
    fn now_ns(&self) -> u64;

    /// Begins a connection to the target from an address and port of the transport's choice. In
    /// the end a poll says [`Events::OPENED`] or [`Events::OVER`].
    ///
    /// # Errors
    /// It could not even begin; the index stays free.
    fn open(&mut self, index: Index) -> Result<(), Failure>;

    /// A connection that was opened and is not over yet; before OPENED it can only be aborted.
    fn stream(&mut self, index: Index) -> Option<Self::Stream<'_>>;

    /// Moves packets, and adds to `notices` what happened: at most one notice of each connection.
    /// Returns as soon as something happened; else at `until_ns` at the latest, by spinning or
    /// sleeping, or when a signal came.
    ///
    /// # Errors
    /// The transport as a whole is of no use any more.
    fn poll(&mut self, until_ns: u64, notices: &mut Vec<Notice>) -> anyhow::Result<()>;

    /// What it is, in a word: `kernel`, `memif`, ...
    fn name(&self) -> &str;

    /// What to choose local ends from, for people: "10.0.0.2, ports 1024-65535: 64512 connections".
    fn local_ends(&self) -> String;

    /// What went on in it that may have distorted the measurement, e.g. packets it had to drop.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }
}
