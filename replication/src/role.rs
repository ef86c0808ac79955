//! The words that worker and control plane share: what a node is, what it is told, what it tells.

use std::fmt;

/// Number of a configuration of the pair. It grows by one at each change of (primary, in-sync
/// set); whatever carries an older one is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch that the next change of configuration will have.
    #[must_use]
    pub fn next(self) -> Epoch {
        Epoch(self.0.saturating_add(1))
    }

    /// The epoch that this one follows.
    #[must_use]
    pub fn previous(self) -> Epoch {
        Epoch(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One run of one process: random at start, never zero. It tells a node that came back from the
/// one that died, so that nothing of the old run is taken for the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Number of a batch in one session. The first batch after [`Session::open`] is 1;
/// [`Position::START`] stands for the state at the opening, before any batch.
///
/// [`Session::open`]: crate::Session::open
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// Before the first batch.
    pub const START: Position = Position(0);

    /// The position of the batch that follows.
    #[must_use]
    pub fn next(self) -> Position {
        Position(self.0 + 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A dedicated replication link; a node has one of them, or two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    #[default]
    First,
    Second,
}

/// The most links that a node can have.
pub const MAX_LINKS: usize = Link::ALL.len();

impl Link {
    /// Every link that there can be.
    pub const ALL: [Link; 2] = [Link::First, Link::Second];

    /// As an index of an array of all links.
    #[must_use]
    pub fn place(self) -> usize {
        self as usize
    }

    /// The one that it is not.
    #[must_use]
    pub fn other(self) -> Link {
        match self {
            Link::First => Link::Second,
            Link::Second => Link::First,
        }
    }
}

/// A way on which the nodes hear each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Path {
    /// A dedicated replication link.
    Link(Link),
    /// The service LAN: another path for heartbeats.
    Lan,
}

impl Path {
    /// Every path that there can be.
    pub const ALL: [Path; 3] = [Path::Link(Link::First), Path::Link(Link::Second), Path::Lan];

    /// As an index of an array of all paths.
    #[must_use]
    pub fn place(self) -> usize {
        match self {
            Path::Link(link) => link.place(),
            Path::Lan => MAX_LINKS,
        }
    }
}

/// What a primary's packets wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GateMode {
    /// A backup is in sync: a packet waits until its log position is confirmed.
    Confirmed,
    /// Solo: nobody else holds the state, so nothing waits.
    Open,
}

/// What this node is for the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Holds no state that counts; sends nothing for the service and applies no log.
    Spare,
    /// Takes in the primary's state, shard by shard, and the log behind each; sends nothing for
    /// the service.
    Joining,
    /// Holds the state by applying the primary's log; sends nothing for the service.
    Backup,
    /// Serves: owns VIP and VMAC.
    Primary(GateMode),
}

/// The most other nodes that a node can have.
pub const MAX_PEERS: usize = 3;

/// One of the other nodes: its place among the peers of this node's configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerIndex(pub u8);

impl PeerIndex {
    /// Every place that there can be.
    pub fn all() -> impl Iterator<Item = PeerIndex> {
        (0..MAX_PEERS as u8).map(PeerIndex)
    }

    /// As an index of an array of all places.
    #[must_use]
    pub fn place(self) -> usize {
        usize::from(self.0)
    }
}

/// A log between this node and another one: ours for it, or its for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// The configuration in which it began. With the two runs it tells this log from every other;
    /// its sessions are opened with it.
    pub epoch: Epoch,
    /// The other node's run.
    pub run: Incarnation,
    /// How many workers the other node has.
    pub workers: u16,
    /// The link that what this node sends of it takes: batches or confirmations. The other node
    /// chooses for itself.
    pub link: Link,
    /// At a primary: the other node is in sync, or is about to be, or cannot be known not to be.
    /// What clients are sent waits for its confirmation.
    pub counts: bool,
    /// At a primary: the state is handed over in this log, to a node that joins. It stays so when
    /// the log counts, and when the other node is in sync.
    pub hands_over: bool,
    /// At a primary: in which sets the other node's confirmation helps to make a majority.
    pub votes: Votes,
}

/// The sets of nodes, this one always among them, of each of which a majority has to hold what
/// leaves by the rule of the majority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Votes {
    /// The in-sync set, as the register has it.
    pub now: bool,
    /// The set that the register is about to be asked for, or may have decided by now; the same
    /// as `now` when there is no change.
    pub next: bool,
}

impl Votes {
    /// In no set.
    pub const NONE: Votes = Votes { now: false, next: false };

    /// No change of the set: in both, or in none.
    #[must_use]
    pub fn steady(votes: bool) -> Votes {
        Votes { now: votes, next: votes }
    }
}

/// What only matters where packets wait for a majority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Majority {
    /// A primary: some backups are about to be left out of the in-sync set, for which the register
    /// is asked as soon as a majority of the rest holds all that has left. Each such plan has a
    /// number of its own, from 1 on; 0: there is none.
    pub parting: u32,
    /// A backup: confirm nothing more. What it holds of the primary's log is final.
    pub sealed: bool,
    /// A sealed backup: the logs by which it and others like it give each other what they hold of
    /// the primary's. `workers` are the primary's.
    pub tails: [Option<Log>; MAX_PEERS],
}

impl Majority {
    /// Nothing is about to change.
    pub const NONE: Majority = Majority { parting: 0, sealed: false, tails: [None; MAX_PEERS] };
}

impl Log {
    /// Whether both are the same log, whatever it is used for.
    #[must_use]
    pub fn is_same(&self, other: &Log) -> bool {
        let names = |log: &Log| (log.epoch, log.run, log.workers);
        names(self) == names(other)
    }
}

/// What the control plane tells a worker in each loop. The worker compares it with the previous
/// one and acts on the difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directive {
    /// The newest configuration that this node knows.
    pub epoch: Epoch,
    pub role: Role,
    /// Transmit nothing on the service LAN, not even ARP: this node suspects itself, since its own
    /// poll loop stood still longer than the detection timeout.
    pub silent: bool,
    /// The log with each of the other nodes, by their places: those that a primary writes, or the
    /// one that a backup follows and a joining node is given.
    pub logs: [Option<Log>; MAX_PEERS],
    /// A primary: make no more steps, since the service is about to be a peer's. Each order to do
    /// so has a number of its own, from 1 on; 0: none.
    pub quiesce: u32,
    /// A node that handed the service over: segments for it that still come here go on to that
    /// peer.
    pub passes_on: Option<PeerIndex>,
    /// The service LAN is in doubt: ask neighbours there, and report whether any answers.
    pub solicits: bool,
    pub majority: Majority,
}

impl Directive {
    /// What a node is before it was told anything.
    pub const SPARE: Directive = Directive {
        epoch: Epoch(0),
        role: Role::Spare,
        silent: false,
        logs: [None; MAX_PEERS],
        quiesce: 0,
        passes_on: None,
        solicits: false,
        majority: Majority::NONE,
    };
}

/// The backup's state is not the primary's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mismatch {
    pub shard: u16,
    /// The batch whose digest record showed it.
    pub position: Position,
    /// The digest that the primary logged.
    pub primary: u64,
    /// The digest of this node's shard at the same record.
    pub ours: u64,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "state of shard {} differs at batch {}: the primary has digest {:016x}, this node \
             {:016x}; this node must leave the in-sync set and restart to hold the state again",
            self.shard, self.position, self.primary, self.ours
        )
    }
}

/// How far the state of a primary has come on its way to a node that joins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transfer {
    /// It is under way, or none was asked for.
    #[default]
    Incomplete,
    /// The primary: the peer has all snapshots and the log up to the last of them. The joining
    /// node: every shard is restored and has caught up with the log behind it.
    Complete,
    /// The primary, with its gate closed: the peer has the log of all that left before that.
    Settled,
    /// It cannot be completed: the log had no room, or was refused.
    Failed,
}

/// What a node has heard of neighbours on the service LAN that it asks to answer. An answer proves
/// both directions of the way to there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Solicited {
    /// How many neighbours were asked at once; 0: there is none to ask.
    pub neighbours: u8,
    /// One of them has answered since the asking began.
    pub answered: bool,
    /// Since when nobody has answered what was asked; `None` when the last question has its answer,
    /// or there is nobody to ask.
    pub unanswered_since_us: Option<u64>,
}

/// What a worker tells the control plane in each loop. Times are the worker's own monotonic clock
/// in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// How long this poll loop stood still: the time since the previous report.
    pub stalled_for_us: u64,
    /// Since when the oldest unconfirmed batch waits for each of the other nodes; `None` when
    /// nothing waits.
    pub unconfirmed_since_us: [Option<u64>; MAX_PEERS],
    /// The sessions of all logs of the directive are open.
    pub session_open: bool,
    /// The first difference between the primary's state and ours, if there is one.
    pub digest_mismatch: Option<Mismatch>,
    /// This backup could not take part of the log (a torn or malformed batch): it is out of sync.
    pub refused_log: bool,
    /// Nothing that was received is left to apply.
    pub log_applied: bool,
    /// How far a handover of the state has come, at this end of it.
    pub transfer: Transfer,
    /// No step is made since the directive's order to quiesce; all that was logged is confirmed,
    /// and all packets have left.
    pub quiet: bool,
    /// A primary: the plan to leave backups out (see [`Majority::parting`]) for which a majority of
    /// the rest holds all that has left; 0 for none.
    pub parted: u32,
    /// A sealed backup: for each of the other nodes the epoch of the log by which it gave all that
    /// it holds of the primary's, once that is applied.
    pub gathered: [Option<Epoch>; MAX_PEERS],
    /// When this node claimed the VIP; `None` while it does not serve.
    pub serving_since_us: Option<u64>,
    /// When the first packet of the service left after the VIP was claimed.
    pub first_packet_us: Option<u64>,
    /// When the last connection had its kick after that; `None` while some wait for it.
    pub last_kick_us: Option<u64>,
    /// What neighbours on the service LAN answered; `None` while none is asked.
    pub lan: Option<Solicited>,
}
