//! Following: apply the primary's log to our shards and throw away what they send.

use engine::addr::Addr;
use engine::egress::CountingEgress;
use engine::shard::Shard;
use engine::time::Instant;
use replication::{Mismatch, PendingLog, Position, Record, RecordKind, Tail};

use crate::channel::{Channel, Exchange};
use crate::counters::Counters;
use crate::events::{Event, RefusedRecord};
use crate::input::{self, Segments};
use crate::majority::exchange_at;
use crate::nic::Nic;
use crate::poll::Worker;
use crate::shards::Shards;
use crate::steward::Steward;

/// Records that one loop applies, so that confirmations and heartbeats never wait for long.
pub(crate) const RECORDS_PER_LOOP: u64 = 128;

/// Why a backup stopped applying. There is no way back: its state is not the primary's any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Mismatch(Mismatch),
    Refused { shard: u16, reason: RefusedRecord },
}

impl<N: Nic, S: Steward> Worker<N, S> {
    /// Applies up to `most` records of what was received, and returns how many it applied. After
    /// a fault it applies nothing any more and confirms nothing any more.
    pub(crate) fn apply(&mut self, now_us: u64, most: u64) -> u64 {
        if self.fault.is_some() {
            return 0;
        }
        let mut applied = 0;
        // A backup may ask in its own name for those whom it would have to answer after a takeover.
        let silent = self.is_silent();
        let Worker { channels, shards, counters, lan, .. } = self;
        let segments_before = counters.segments_applied;
        shards.applied_us = now_us;
        for place in 0..channels.len() {
            let left = most - applied;
            let result = match exchange_at(channels, place) {
                Some((exchange, own)) => apply_exchange(exchange, own, shards, left, counters),
                None => {
                    let Channel { log, tail, .. } = &mut channels[place];
                    apply_log(log, tail, shards, left, counters)
                }
            };
            match result {
                Ok((records, remote)) => {
                    applied += records;
                    if let Some(remote) = remote.filter(|_| !silent) {
                        lan.warm_up(now_us, remote, counters);
                    }
                }
                Err(fault) => {
                    self.fail(now_us, fault);
                    break;
                }
            }
        }
        if self.kept.is_on() && self.counters.segments_applied > segments_before {
            self.board.clients_logged(self.index, now_us);
        }
        applied
    }

    pub(crate) fn fail(&mut self, now_us: u64, fault: Fault) {
        self.fault = Some(fault);
        for channel in &mut self.channels {
            channel.session.close();
        }
        self.events.tell(
            now_us,
            match fault {
                Fault::Mismatch(mismatch) => Event::DigestMismatch(mismatch),
                Fault::Refused { shard, reason } => Event::RecordRefused { shard, reason },
            },
        );
    }

    /// Nothing that was received is left to apply.
    pub(crate) fn log_is_applied(&self) -> bool {
        self.channels.iter().all(|channel| channel.log.is_empty())
    }
}

/// Applies up to `most` records; tells how many, and a remote that one of them came from.
pub(crate) fn apply_log<F>(
    log: &mut PendingLog,
    tail: &mut Tail,
    shards: &mut Shards<F>,
    most: u64,
    counters: &mut Counters,
) -> Result<(u64, Option<Addr>), Fault> {
    let mut applied = 0;
    let mut remote = None;
    while applied < most {
        let Some((position, record)) = log.pop_record() else { break };
        tail.note(&record);
        remote = apply_record(position, &record, shards, counters)?.or(remote);
        applied += 1;
    }
    counters.records_applied += applied;
    Ok((applied, remote))
}

/// The same of what another node holds of a log that this one followed, once what this one has of
/// that is applied.
fn apply_exchange<F>(
    exchange: &mut Channel,
    own: &mut Channel,
    shards: &mut Shards<F>,
    most: u64,
    counters: &mut Counters,
) -> Result<(u64, Option<Addr>), Fault> {
    let (mut applied, mut remote) = (0, None);
    let Some(Exchange { gathering, .. }) = &mut exchange.exchange else { return Ok((0, None)) };
    while applied < most && own.log.is_empty() {
        let Some((position, record)) = exchange.log.pop_record() else { break };
        if gathering.take(&mut own.tail, &record) {
            remote = apply_record(position, &record, shards, counters)?.or(remote);
            counters.records_gathered += 1;
        }
        applied += 1;
    }
    counters.records_applied += applied;
    Ok((applied, remote))
}

pub(crate) fn apply_record<F>(
    position: Position,
    record: &Record<'_>,
    shards: &mut Shards<F>,
    counters: &mut Counters,
) -> Result<Option<Addr>, Fault> {
    let refuse = |reason| Fault::Refused { shard: record.shard, reason };
    if matches!(record.kind, RecordKind::Milestone | RecordKind::TailEnd) {
        return Ok(None);
    }
    let applied_us = shards.applied_us;
    let slot = shards.slot_mut(record.shard).ok_or(refuse(RefusedRecord::Shard));
    let slot = slot.inspect_err(|_| counters.records_refused += 1)?;
    if let Some(primary) = record.digest() {
        let ours = slot.shard.digest();
        if primary != ours {
            let shard = record.shard;
            return Err(Fault::Mismatch(Mismatch { shard, position, primary, ours }));
        }
        counters.digests_equal += 1;
        return Ok(None);
    }
    if record.kind == RecordKind::Icmp {
        let result = apply_error(record, &mut slot.shard);
        let now = result.map_err(|reason| {
            counters.records_refused += 1;
            refuse(reason)
        })?;
        slot.lag.note(applied_us, now);
        shards.logged(now);
        return Ok(None);
    }
    if matches!(record.kind, RecordKind::SnapshotPiece | RecordKind::SnapshotEnd) {
        counters.records_refused += 1;
        return Err(refuse(RefusedRecord::Snapshot));
    }
    let mut segments = Segments::new();
    let decoded = input::decode(record.body, &mut segments).and_then(|now| {
        if now < slot.shard.now() {
            return Err(RefusedRecord::Time);
        }
        Ok(now)
    });
    let now = decoded.map_err(|reason| {
        counters.records_refused += 1;
        refuse(reason)
    })?;
    counters.segments_applied += segments.len() as u64;
    let mut egress = CountingEgress::default();
    match record.kind {
        RecordKind::Kick => slot.shard.kick(now, &mut egress),
        _ => slot.shard.step(now, &segments, &mut egress),
    }
    slot.lag.note(applied_us, now);
    segments.iter().for_each(|segment| shards.seen.note(segment.packet));
    shards.logged(now);
    Ok(segments.last().map(|segment| segment.flow.remote.addr))
}

fn apply_error(record: &Record<'_>, shard: &mut Shard) -> Result<Instant, RefusedRecord> {
    let (now, error) = input::decode_error(record.body)?;
    if now < shard.now() {
        return Err(RefusedRecord::Time);
    }
    shard.icmp_error(now, &error, &mut CountingEgress::default());
    Ok(now)
}
