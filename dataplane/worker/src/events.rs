//! What a worker tells the control thread about, which logs it: plain values over a bounded
//! channel. A full channel loses the event and counts it; it never holds up the loop.

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use engine::snapshot::SnapshotError;
use replication::snapshot::SnapshotRefused;
use replication::{Directive, Epoch, Mismatch};

/// Events that wait for the control thread.
const CAPACITY: usize = 1024;

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The worker took up a directive that differs from the one before.
    Directive(Directive),
    /// The worker's loop stood still.
    Stalled {
        /// For so long.
        for_us: u64,
    },
    /// The log is applied to its end; this worker is ready to serve.
    LogApplied {
        /// The takeover it was applied for.
        epoch: Epoch,
        /// Records that had been left when the takeover began.
        records: u64,
        /// How long it took.
        took_us: u64,
    },
    /// This node claimed the service address.
    Claimed {
        /// In this epoch.
        epoch: Epoch,
    },
    /// The first packet of the service left after the claim.
    FirstPacket {
        /// Time since the claim.
        after_us: u64,
    },
    /// The last packet of the takeover's kicks left.
    LastKick {
        /// Time since the claim.
        after_us: u64,
        /// Connections that were kicked.
        kicked: u64,
    },
    /// What clients had sent around the takeover, and what was kept of it, is taken in.
    Replayed {
        /// So many frames were taken in.
        frames: u64,
        /// So many more were not: the log had them.
        logged: u64,
        /// Time since this worker began to serve.
        took_us: u64,
    },
    /// The primary hears clients, and this node does not: the switch sends what is for the service
    /// to one port.
    NotFlooded,
    /// Our state is not the primary's.
    DigestMismatch(Mismatch),
    /// A log record could not be applied; applying stopped.
    RecordRefused {
        /// The shard it was for.
        shard: u16,
        /// What was wrong with it.
        reason: RefusedRecord,
    },
    /// Packets of an ended role were discarded from the gate.
    GateDiscarded {
        /// How many.
        packets: usize,
    },
}

/// Why a log record could not be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedRecord {
    /// Cut off, or with lengths that do not add up.
    #[error("its body is torn")]
    Torn,
    /// A segment in it does not parse.
    #[error("a segment in it is malformed")]
    Segment,
    /// More segments than one poll can have.
    #[error("it has more segments than one poll can have")]
    TooMany,
    /// For a shard that this worker does not hold.
    #[error("its shard is not held here: both nodes must have the same number of shards")]
    Shard,
    /// Part of a snapshot that nobody waits for, or of another shard.
    #[error("its snapshot has no place here")]
    Snapshot,
    /// A snapshot that did not come whole.
    #[error("{0}")]
    Arrived(SnapshotRefused),
    /// A snapshot that is no state of a shard here.
    #[error("{0}")]
    State(SnapshotError),
    /// More log than there is room for came behind a snapshot.
    #[error("more log came behind its snapshot than there is room for")]
    Behind,
    /// Its time lies before the shard's.
    #[error("its time runs backwards")]
    Time,
}

/// An event with its worker and that worker's time in microseconds.
pub type Told = (u16, u64, Event);

/// The worker's end of the channel.
#[derive(Debug)]
pub(crate) struct Events {
    worker: u16,
    sender: Sender<Told>,
    lost: u64,
}

/// The channel from the workers, which all get a clone of one sender, to the control thread.
pub(crate) fn channel() -> (Sender<Told>, Receiver<Told>) {
    bounded(CAPACITY)
}

impl Events {
    pub fn new(worker: u16, sender: Sender<Told>) -> Events {
        Events { worker, sender, lost: 0 }
    }

    pub fn tell(&mut self, now_us: u64, event: Event) {
        if let Err(TrySendError::Full(_)) = self.sender.try_send((self.worker, now_us, event)) {
            self.lost += 1;
        }
    }

    /// Events that found the channel full.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}
