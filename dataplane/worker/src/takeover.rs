//! From holding the state to serving, in the order that never lets a client see less than it was
//! told: the log first, then the address, then the kick.

use replication::{GateMode, Role};

use crate::announce::Announcer;
use crate::clock::Clock;
use crate::duty::Duty;
use crate::events::Event;
use crate::nic::Nic;
use crate::poll::Worker;
use crate::steward::Steward;

/// Records that one loop of a takeover applies. Larger than a backup's slice, since clients wait;
/// bounded, since heartbeats still have to leave.
const RECORDS_PER_LOOP: u64 = 2048;

/// How far the takeover's kicks have come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kicks {
    /// Shards that are through.
    pub shards: usize,
    /// Kicks that the shards had sent before.
    before: u64,
    /// Frames that had been queued for the LAN's card when the last shard was through.
    frames: Option<u64>,
    /// When the card had taken the last of them.
    pub last_us: Option<u64>,
}

impl<N: Nic, S: Steward> Worker<N, S> {
    /// Goes one step further; several in one loop when nothing holds it up.
    pub(crate) fn take_over(&mut self, now_us: u64) {
        if let Duty::Applying { since_us, records } = self.duty {
            let records = records + self.apply(now_us, RECORDS_PER_LOOP);
            self.duty = Duty::Applying { since_us, records };
            // With a wrong or incomplete state nothing is ever announced.
            if self.fault.is_some() || !self.log_is_applied() {
                return;
            }
            let epoch = self.directive.epoch;
            self.duty = Duty::Ready;
            self.board.applied(self.index, epoch);
            let took_us = now_us.saturating_sub(since_us);
            self.events.tell(now_us, Event::LogApplied { epoch, records, took_us });
        }
        if self.duty == Duty::Ready && !self.directive.silent && self.trusted {
            self.claim(now_us);
            if self.board.serves(self.directive.epoch) {
                self.begin_to_serve(now_us);
            }
        }
    }

    /// The lead claims the service address once every worker holds its state.
    fn claim(&mut self, now_us: u64) {
        let epoch = self.directive.epoch;
        if self.steward.is_none() || self.board.serves(epoch) || !self.board.all_applied(epoch) {
            return;
        }
        self.board.serve(epoch);
        self.claimed_us = Some(now_us);
        self.announcer = Some(Announcer::claimed_at(now_us));
        self.events.tell(now_us, Event::Claimed { epoch });
    }

    fn begin_to_serve(&mut self, now_us: u64) {
        let Role::Primary(mode) = self.directive.role else { return };
        self.duty = Duty::Serving;
        self.serving_since_us = Some(now_us);
        self.shards.set_owners(self.board.owners());
        self.begin_logs(now_us, mode);
        if self.follows_a_log {
            self.shards.go_on_from_log(now_us);
            let now = self.shards.time(now_us);
            self.shards.slots.iter_mut().for_each(|slot| slot.guard.take_over(now));
            if mode == GateMode::Open {
                self.shards.slots.iter_mut().for_each(|slot| slot.shard.take_over(now));
            }
        }
        self.shards.slots.iter_mut().for_each(|slot| slot.told.begin());
        self.begin_replay(now_us);
        // The announcement leads, so that the switch knows the way back when answers come.
        self.announce(now_us);
        // Who is handed the service by a node that follows has missed nothing: nobody waits.
        let missed = mode == GateMode::Open || !self.follows_a_log;
        self.shards.slots.iter_mut().for_each(|slot| slot.kick_due = missed);
        let through = self.shards.slots.iter().filter(|slot| slot.kicks_next().is_none()).count();
        self.kicks = Kicks { before: self.kicks_sent(), shards: through, ..Kicks::default() };
    }

    fn kicks_sent(&self) -> u64 {
        self.shards.slots.iter().map(|slot| slot.shard.counters().kicks).sum()
    }

    /// Notes when the card has taken the last kick.
    pub(crate) fn note_last_kick<C: Clock>(&mut self, clock: &mut C) {
        let Some(since_us) = self.serving_since_us.filter(|_| self.kicks.last_us.is_none()) else {
            return;
        };
        let pending = self.kicks.shards < self.shards.slots.len();
        if pending || !self.gate.is_empty() {
            return;
        }
        let queued = self.counters.lan_tx_frames;
        let frames = *self.kicks.frames.get_or_insert(queued);
        if queued - (self.lan.waiting() as u64) < frames {
            return;
        }
        let at_us = clock.now_us();
        self.kicks.last_us = Some(at_us);
        let kicked = self.kicks_sent() - self.kicks.before;
        if kicked > 0 {
            let after_us = at_us.saturating_sub(since_us);
            self.events.tell(at_us, Event::LastKick { after_us, kicked });
        }
    }
}
