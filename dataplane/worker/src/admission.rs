//! Joining: the primary's shards arrive as snapshots while it serves, and the log of each behind
//! its snapshot. A snapshot is restored in portions, so that confirmations and heartbeats never
//! wait.

use std::sync::Arc;

use engine::config::Config;
use engine::content::Content;
use engine::shard::{Restoring, Shard};
use engine::snapshot::SnapshotError;
use replication::record::{Records, header};
use replication::snapshot::Collected;
use replication::{Position, Record, RecordKind};

use crate::backup::{Fault, RECORDS_PER_LOOP, apply_record};
use crate::board::Board;
use crate::counters::Counters;
use crate::events::RefusedRecord;
use crate::nic::Nic;
use crate::poll::Worker;
use crate::shards::Shards;
use crate::steward::Steward;

/// Connections that one loop restores for each shard: some 100 µs.
const SLOTS_PER_LOOP: u32 = 64;
/// Bytes of one snapshot, or of the log that waits behind it, at most.
const MOST_BYTES: usize = 1 << 30;

/// A shard on its way to this node.
#[derive(Debug)]
struct Arrival {
    shard: u16,
    state: State,
    /// Records that came behind the snapshot, one after the other.
    behind: Vec<u8>,
    /// Bytes of these that were applied.
    applied: usize,
}

#[derive(Debug)]
enum State {
    Collecting(Box<Collected>),
    Restoring {
        bytes: Vec<u8>,
        begun: Box<Restoring>,
    },
    /// The shard is held; what came behind its snapshot is being applied.
    CatchingUp,
}

/// The shards that are on their way to one worker.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    arrivals: Vec<Arrival>,
}

impl Admission {
    /// Nothing is on its way.
    pub fn is_idle(&self) -> bool {
        self.arrivals.is_empty()
    }

    /// Takes a record: into a snapshot, behind one, or to its shard.
    fn take<F>(
        &mut self,
        position: Position,
        record: &Record<'_>,
        made: &Made<'_>,
        shards: &mut Shards<F>,
        counters: &mut Counters,
    ) -> Result<(), Fault> {
        let refuse = |reason| Fault::Refused { shard: record.shard, reason };
        let arrival = self.arrivals.iter_mut().find(|arrival| arrival.shard == record.shard);
        match (record.kind, arrival) {
            (RecordKind::SnapshotPiece, None) if !shards.holds(record.shard) => {
                let mut collected = Box::<Collected>::default();
                collected
                    .piece(record.body, MOST_BYTES)
                    .map_err(|why| refuse(RefusedRecord::Arrived(why)))?;
                self.arrivals.push(Arrival {
                    shard: record.shard,
                    state: State::Collecting(collected),
                    behind: Vec::new(),
                    applied: 0,
                });
                Ok(())
            }
            (RecordKind::SnapshotPiece | RecordKind::SnapshotEnd, Some(arrival)) => {
                arrival.extend(record, made).map_err(refuse)
            }
            (RecordKind::SnapshotPiece | RecordKind::SnapshotEnd, None) => {
                Err(refuse(RefusedRecord::Snapshot))
            }
            (RecordKind::Milestone, _) => Ok(()),
            (_, Some(arrival)) => arrival.keep(record).map_err(refuse),
            (_, None) => apply_record(position, record, shards, counters).map(|_| ()),
        }
    }

    /// Goes on restoring what is whole, and with the log behind it.
    fn advance<F>(
        &mut self,
        made: &Made<'_>,
        shards: &mut Shards<F>,
        counters: &mut Counters,
    ) -> Result<(), Fault> {
        for arrival in &mut self.arrivals {
            let shard = arrival.shard;
            let restored = arrival.restore();
            let refuse =
                |why: SnapshotError| Fault::Refused { shard, reason: RefusedRecord::State(why) };
            if let Some(restored) = restored.map_err(refuse)? {
                shards.insert(restored, made.config);
                made.board.own(made.worker, shard);
                counters.shards_taken += 1;
            }
            arrival.catch_up(shards, counters)?;
        }
        self.arrivals.retain(|arrival| !arrival.is_over());
        Ok(())
    }
}

/// What a restored shard is made with, and whose it is.
struct Made<'a> {
    config: &'a Arc<Config>,
    content: &'a Arc<Content>,
    board: &'a Board,
    worker: u16,
}

impl Arrival {
    fn extend(&mut self, record: &Record<'_>, made: &Made<'_>) -> Result<(), RefusedRecord> {
        let State::Collecting(collected) = &mut self.state else {
            return Err(RefusedRecord::Snapshot);
        };
        if record.kind == RecordKind::SnapshotPiece {
            return collected.piece(record.body, MOST_BYTES).map_err(RefusedRecord::Arrived);
        }
        let bytes = collected.end(record.body).map_err(RefusedRecord::Arrived)?;
        let begun = Restoring::begin(made.config.clone(), made.content.clone(), &bytes);
        let begun = begun.map_err(RefusedRecord::State)?;
        if begun.index() != self.shard {
            return Err(RefusedRecord::Snapshot);
        }
        self.state = State::Restoring { bytes, begun: Box::new(begun) };
        Ok(())
    }

    fn keep(&mut self, record: &Record<'_>) -> Result<(), RefusedRecord> {
        let header = header(record.shard, record.kind, record.body.len() as u32);
        if MOST_BYTES - self.behind.len() < header.len() + record.body.len() {
            return Err(RefusedRecord::Behind);
        }
        self.behind.extend_from_slice(&header);
        self.behind.extend_from_slice(record.body);
        Ok(())
    }

    /// Another portion; the shard, once it is whole.
    fn restore(&mut self) -> Result<Option<Shard>, SnapshotError> {
        let State::Restoring { bytes, begun } = &mut self.state else { return Ok(None) };
        if begun.advance(bytes, SLOTS_PER_LOOP)? {
            return Ok(None);
        }
        let restored = std::mem::replace(&mut self.state, State::CatchingUp);
        let State::Restoring { bytes, begun } = restored else { return Ok(None) };
        begun.finish(&bytes).map(Some)
    }

    fn catch_up<F>(
        &mut self,
        shards: &mut Shards<F>,
        counters: &mut Counters,
    ) -> Result<(), Fault> {
        if !matches!(self.state, State::CatchingUp) {
            return Ok(());
        }
        let left = Records::new(&self.behind[self.applied..]);
        let mut applied = 0;
        for record in left.take(RECORDS_PER_LOOP as usize).filter_map(Result::ok) {
            apply_record(Position::START, &record, shards, counters)?;
            self.applied += replication::record::HEADER_BYTES + record.body.len();
            applied += 1;
        }
        counters.records_applied += applied;
        Ok(())
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::CatchingUp) && self.applied == self.behind.len()
    }
}

impl<N: Nic, S: Steward> Worker<N, S> {
    /// Takes in what the primary handed over. Says whether there was anything to do.
    pub(crate) fn admit(&mut self, now_us: u64) -> bool {
        if self.fault.is_some() {
            return false;
        }
        let result = self.admit_some(now_us);
        result.unwrap_or_else(|fault| {
            self.fail(now_us, fault);
            true
        })
    }

    fn admit_some(&mut self, now_us: u64) -> Result<bool, Fault> {
        let Worker { admission, channels, shards, counters, node, board, index, .. } = self;
        shards.applied_us = now_us;
        let made = Made { config: &node.shard, content: &node.content, board, worker: *index };
        let mut left = RECORDS_PER_LOOP;
        for channel in channels.iter_mut() {
            while left > 0 {
                let Some((position, record)) = channel.log.pop_record() else { break };
                channel.tail.note(&record);
                admission.take(position, &record, &made, shards, counters)?;
                counters.records_applied += 1;
                left -= 1;
            }
        }
        admission.advance(&made, shards, counters)?;
        Ok(left < RECORDS_PER_LOOP || !admission.is_idle())
    }
}
