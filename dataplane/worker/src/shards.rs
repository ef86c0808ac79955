//! The shards that a worker holds, and their time.

use std::sync::Arc;

use arrayvec::ArrayVec;
use engine::config::Config;
use engine::content::Content;
use engine::guard::Guard;
use engine::shard::Shard;
use engine::time::Instant;
use engine::wire::icmp_error::IcmpError;

use crate::board::worker_of_channel;
use crate::early::Told;
use crate::input::MAX_SEGMENTS;
use crate::kept::Lag;
use crate::seen::Seen;

/// Which worker of a node holds a shard. A batch carries records of one worker's shards, so a
/// backup follows the primary's grouping: what came over one channel stays with one worker, also
/// after a takeover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    workers: u16,
    /// Workers of the node that logged; our own when this node did not begin as a backup.
    channels: u16,
}

impl Placement {
    /// A node that begins as primary.
    pub fn own(workers: u16) -> Placement {
        Placement { workers, channels: workers }
    }

    /// A node that follows a primary with `channels` workers.
    pub fn following(workers: u16, channels: u16) -> Placement {
        let channels = channels.max(1);
        // If our number divides theirs, the grouping is the same as our own.
        let channels = if channels.is_multiple_of(workers) { workers } else { channels };
        Placement { workers, channels }
    }

    /// The worker that holds `shard`.
    pub fn worker_of(self, shard: u16) -> u16 {
        worker_of_channel(shard % self.channels, self.workers)
    }
}

/// ICMP errors that wait for a shard's next turn at most; more are as good as lost on the way.
const MAX_ERRORS: usize = 8;

/// One shard, and the frames that wait for its next step.
#[derive(Debug)]
pub(crate) struct Slot<F> {
    pub index: u16,
    pub shard: Shard,
    pub waiting: ArrayVec<F, MAX_SEGMENTS>,
    /// So many of these, from the first one on, were screened by the guard and let in.
    pub screened: usize,
    /// Whom the shard gets to see, while this node serves.
    pub guard: Guard,
    /// What its clients were told, while this node serves.
    pub told: Told,
    /// ICMP errors that wait to be taken in.
    pub errors: ArrayVec<IcmpError, MAX_ERRORS>,
    /// When the first of these was taken in, or one before it that was stepped since.
    pub waiting_since_ns: u64,
    /// Stepped since its digest was last logged.
    pub touched: bool,
    /// The takeover's kick has not begun.
    pub kick_due: bool,
    /// What makes the log's time local.
    pub lag: Lag,
    /// What came before this time is in the log, or in the snapshot that the shard came as.
    pub logged_until_us: u64,
    /// When the log ends: whatever a client sent before a later segment of its own, it is over.
    pub log_end_us: u64,
    /// Its records go into a log that does not count yet, too: a node that joins has its snapshot.
    pub logged: bool,
}

impl<F> Slot<F> {
    fn new(shard: Shard, config: &Arc<Config>) -> Slot<F> {
        Slot {
            index: shard.index(),
            shard,
            waiting: ArrayVec::new(),
            told: Told::new(config),
            errors: ArrayVec::new(),
            screened: 0,
            guard: Guard::new(config, MAX_SEGMENTS),
            waiting_since_ns: 0,
            touched: false,
            kick_due: false,
            lag: Lag::default(),
            logged_until_us: 0,
            log_end_us: 0,
            logged: false,
        }
    }

    /// Whom the shard's next portion of the takeover's kick is for, as [`Shard::kicks_next`] has
    /// it; `None` when there is none left.
    pub fn kicks_next(&self) -> Option<u16> {
        if self.kick_due { Some(0) } else { self.shard.kicks_next() }
    }

    /// The first `count` waiting frames are done with.
    pub fn taken(&mut self, count: usize) {
        self.waiting.drain(..count);
        self.screened = self.screened.saturating_sub(count);
        if count > 0 {
            self.guard.stepped();
        }
    }

    /// Of the first `count` waiting frames, which have been screened, those whose bits are set in
    /// `refused` are done with. The others wait on.
    pub fn turn_away(&mut self, refused: u64, count: usize) {
        let mut number = 0;
        self.waiting.retain(|_| {
            number += 1;
            number > count || refused >> (number - 1) & 1 == 0
        });
        self.screened = count - refused.count_ones() as usize;
    }
}

#[derive(Debug)]
pub(crate) struct Shards<F> {
    pub slots: Vec<Slot<F>>,
    /// Place in `slots` of each shard of the cluster.
    places: Box<[Option<u16>]>,
    /// Which worker of this node holds each of them.
    owners: Box<[u16]>,
    /// What makes local time shard time, in wrapping arithmetic.
    offset_us: u64,
    /// The latest time that any of the shards was given.
    last: Instant,
    /// Local time of the loop that applies the log.
    pub applied_us: u64,
    /// The packets that the log had last, where anybody will ask.
    pub seen: Seen,
}

impl<F> Shards<F> {
    /// None of `count` shards.
    pub fn none(count: u16) -> Shards<F> {
        Shards {
            slots: Vec::new(),
            places: vec![None; count.into()].into_boxed_slice(),
            owners: vec![0; count.into()].into_boxed_slice(),
            offset_us: 0,
            last: Instant::ZERO,
            applied_us: 0,
            seen: Seen::default(),
        }
    }

    /// Fresh shards, those that `placement` gives to `worker`.
    pub fn fresh(
        worker: u16,
        placement: Placement,
        config: &Arc<Config>,
        content: &Arc<Content>,
    ) -> Shards<F> {
        let mut shards = Shards::none(config.shards);
        shards.owners = (0..config.shards).map(|shard| placement.worker_of(shard)).collect();
        for index in (0..config.shards).filter(|&shard| placement.worker_of(shard) == worker) {
            shards.insert(Shard::new(index, Arc::clone(config), Arc::clone(content)), config);
        }
        shards
    }

    /// Adds a shard that is not held yet.
    pub fn insert(&mut self, shard: Shard, config: &Arc<Config>) {
        self.last = self.last.max(shard.now());
        self.places[usize::from(shard.index())] = u16::try_from(self.slots.len()).ok();
        let slot = Slot::new(shard, config);
        self.slots.push(Slot { logged_until_us: self.applied_us, ..slot });
    }

    /// Whether the shard with this number is held here.
    pub fn holds(&self, shard: u16) -> bool {
        matches!(self.places.get(usize::from(shard)), Some(Some(_)))
    }

    /// The worker of this node that holds `shard`.
    #[inline]
    pub fn owner_of(&self, shard: u16) -> u16 {
        self.owners[usize::from(shard)]
    }

    /// Notes who holds what, once all workers of the node have said so.
    pub fn set_owners(&mut self, owners: impl Iterator<Item = u16>) {
        self.owners.iter_mut().zip(owners).for_each(|(own, owner)| *own = owner);
    }

    /// The shard with this number, if it is held here.
    pub fn slot_mut(&mut self, shard: u16) -> Option<&mut Slot<F>> {
        let place = (*self.places.get(usize::from(shard))?)?;
        self.slots.get_mut(usize::from(place))
    }

    /// Shard time at `now_us` of the local clock. Never runs backwards.
    pub fn time(&mut self, now_us: u64) -> Instant {
        let time = Instant::from_micros(now_us.wrapping_add(self.offset_us));
        self.last = self.last.max(time);
        self.last
    }

    /// Notes a time that the log gave to a shard.
    pub fn logged(&mut self, time: Instant) {
        self.last = self.last.max(time);
    }

    /// Shard time goes on from the last logged time: at `now_us` of the local clock it is that.
    /// Where packets may have left before they were logged, it goes on from the time that the node
    /// which logged would have by now: timestamps must not go back (RFC 7323 5.3).
    pub fn go_on_from_log(&mut self, now_us: u64) {
        let early = self.slots.iter().filter(|slot| slot.told.is_on());
        let latest = early.filter_map(|slot| slot.lag.shard_time(now_us)).max();
        self.last = self.last.max(latest.unwrap_or(Instant::ZERO));
        self.offset_us = self.last.as_micros().wrapping_sub(now_us);
    }

    /// When a shard has something to do next, on the local clock.
    pub fn next_deadline_us(&self) -> Option<u64> {
        let deadlines = self.slots.iter().filter_map(|slot| slot.shard.next_deadline());
        // A deadline before the shards' present is due now; it could lie before the local zero.
        deadlines.min().map(|at| at.max(self.last).as_micros().wrapping_sub(self.offset_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backup_keeps_each_channel_of_the_primary_on_one_worker() {
        for (ours, theirs) in [(2, 3), (2, 4), (3, 1), (1, 5), (4, 4)] {
            let backup = Placement::following(ours, theirs);
            let primary = Placement::own(theirs);
            for shard in 0..64 {
                let channel = primary.worker_of(shard);
                assert_eq!(backup.worker_of(shard), worker_of_channel(channel, ours));
            }
        }
    }

    #[test]
    fn time_goes_on_from_the_log_on_a_clock_that_is_far_away() {
        let mut shards: Shards<()> = Shards::none(1);
        for local in [10, 9_000_000_000] {
            shards.logged(Instant::from_micros(5_000_000));
            shards.go_on_from_log(local);
            assert_eq!(shards.time(local), Instant::from_micros(5_000_000));
            assert_eq!(shards.time(local + 7), Instant::from_micros(5_000_007));
            assert_eq!(shards.time(local + 3), Instant::from_micros(5_000_007));
            shards = Shards::none(1);
        }
    }
}
