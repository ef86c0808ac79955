//! Handing over: a primary gives its shards to a node that joins, one after the other, while it
//! serves. Each is saved between two of its steps, and from then on its records go into that node's
//! log, too; so the snapshot and the log behind it are the shard. That log does not count
//! meanwhile: nothing waits for a node that does not hold the state yet.

use replication::snapshot::{OFFSET_BYTES, PIECE_BYTES, Pieces};
use replication::{Mark, PeerIndex, Position, RecordKind};

use crate::nic::Nic;
use crate::poll::Worker;
use crate::primary::RECORD_BYTES;
use crate::steward::Steward;

/// Room in the log that is left to records. A piece must never keep a shard from its step.
const RESERVE_BYTES: usize = 512 << 10;
/// What a piece takes in the log.
const PIECE_COST: usize = RECORD_BYTES + OFFSET_BYTES + PIECE_BYTES;
/// What may leave at once after a pause, in microseconds' worth of the configured rate.
const BURST_US: u64 = 5_000;

/// How far a worker's handover has come.
#[derive(Debug)]
pub(crate) struct Handover {
    /// The node that joins.
    pub to: PeerIndex,
    pieces: Pieces,
    /// The shard at this place is under way, or next.
    place: usize,
    under_way: bool,
    allowance: Allowance,
    /// The batch that the last record was appended to.
    last: Position,
    /// All was appended.
    complete: bool,
    /// The log had no room for a record: what it carries has a hole.
    failed: bool,
    /// Up to this loop its log has all that left before it began to count.
    counts_after: Option<Mark>,
    /// A shard was saved in this loop.
    saved: bool,
}

impl Handover {
    /// One that begins at `now_us` and may use so many bytes a second.
    pub fn new(to: PeerIndex, now_us: u64, bytes_per_second: u64) -> Handover {
        Handover {
            to,
            pieces: Pieces::default(),
            place: 0,
            under_way: false,
            allowance: Allowance::new(now_us, bytes_per_second),
            last: Position::START,
            complete: false,
            failed: false,
            counts_after: None,
            saved: false,
        }
    }

    /// The peer has all that was handed over, and the log up to it.
    pub fn is_complete(&self, confirmed: Position) -> bool {
        !self.failed && self.complete && self.last <= confirmed
    }

    /// The loop up to which the peer has to have the log, or it has not all that left before its
    /// log began to count.
    pub fn settles_at(&self) -> Option<Mark> {
        self.counts_after
    }

    /// Its log counts from now on: all that left before is in the log up to the loop `after`. Or it
    /// counts no more.
    pub fn count(&mut self, after: Option<Mark>) {
        self.counts_after = after;
    }

    /// Who is given a shard that is `logged`, unless that has failed.
    pub fn takes(&self, logged: bool) -> Option<PeerIndex> {
        (logged && !self.failed).then_some(self.to)
    }

    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// The log had no room for what happened to a shard that was given away already: nothing can
    /// wait for a node that does not hold the state.
    pub fn fail(&mut self) {
        self.failed = true;
    }

    /// Whether a shard was saved since the last call.
    pub fn take_saved(&mut self) -> bool {
        std::mem::take(&mut self.saved)
    }
}

/// Bytes that may be sent.
#[derive(Debug)]
struct Allowance {
    per_second: u64,
    bytes: u64,
    /// Up to when it was granted.
    at_us: u64,
}

impl Allowance {
    fn new(now_us: u64, per_second: u64) -> Allowance {
        Allowance { per_second, bytes: 0, at_us: now_us }
    }

    fn grant(&mut self, now_us: u64) {
        let elapsed_us = now_us.saturating_sub(self.at_us);
        let earned = u128::from(elapsed_us) * u128::from(self.per_second) / 1_000_000;
        if earned == 0 {
            return;
        }
        let most = (self.per_second * BURST_US / 1_000_000).max(PIECE_COST as u64);
        self.bytes = most.min(self.bytes.saturating_add(earned as u64));
        self.at_us = now_us;
    }

    fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes as u64);
    }
}

impl<N: Nic, S: Steward> Worker<N, S> {
    /// After each loop, which took so long.
    pub(crate) fn note_handover(&mut self, loop_ns: u64) {
        if self.handover.as_mut().is_some_and(Handover::take_saved) {
            self.handover_pause_ns = self.handover_pause_ns.max(loop_ns);
        }
    }

    /// Hands over as much as rate and log allow. At most one shard is saved in a loop. While nobody
    /// serves there is nothing to spare the link for.
    pub(crate) fn give_shards(&mut self, now_us: u64) {
        let hurries = self.is_quiescing();
        let Worker { handover, channels, shards, counters, .. } = self;
        let Some(handover) = handover else { return };
        let channel = channels.iter_mut().find(|channel| channel.peer == handover.to);
        let Some(channel) = channel else { return };
        if handover.failed || handover.complete {
            return;
        }
        let session = &mut channel.session;
        handover.allowance.grant(now_us);
        let mut saved = false;
        loop {
            let allowed = hurries || handover.allowance.bytes >= PIECE_COST as u64;
            if !allowed || session.room() < RESERVE_BYTES + PIECE_COST {
                return;
            }
            let Some(slot) = shards.slots.get_mut(handover.place) else {
                handover.complete = true;
                return;
            };
            if !handover.under_way {
                if saved {
                    return;
                }
                saved = true;
                handover.saved = true;
                handover.pieces.begin(|out| slot.shard.save(out));
                handover.under_way = true;
                slot.logged = true;
            }
            let appended = match handover.pieces.next() {
                Some((offset, bytes)) => {
                    let parts = [&offset[..], bytes];
                    session.append(slot.index, RecordKind::SnapshotPiece, &parts)
                }
                None => {
                    let end = handover.pieces.end();
                    session.append(slot.index, RecordKind::SnapshotEnd, &[&end])
                }
            };
            let Ok(last) = appended else {
                handover.failed = true;
                return;
            };
            handover.last = last;
            match handover.pieces.next() {
                Some((_, bytes)) => {
                    handover.allowance.spend(RECORD_BYTES + OFFSET_BYTES + bytes.len());
                    handover.pieces.took();
                }
                None => {
                    handover.under_way = false;
                    handover.place += 1;
                    counters.shards_given += 1;
                }
            }
        }
    }
}
