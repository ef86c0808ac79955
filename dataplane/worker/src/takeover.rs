//! From holding the state to serving, in the order that never lets a client see less than it was
//! told: the log first, then the address, then the kick.

use replication::Role;

use crate::announce::Announcer;
use crate::duty::Duty;
use crate::events::Event;
use crate::nic::Nic;
use crate::poll::Worker;
use crate::steward::Steward;

/// Records that one loop of a takeover applies. Larger than a backup's slice, since clients wait;
/// bounded, since heartbeats still have to leave.
const RECORDS_PER_LOOP: u64 = 2048;

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
        self.log_to_peer(mode);
        if self.follows_a_log {
            self.shards.go_on_from_log(now_us);
        }
        // The announcement leads, so that the switch knows the way back when answers come.
        self.announce(now_us);
        self.kicked = 0;
        self.shards.slots.iter_mut().for_each(|slot| slot.kick_due = true);
    }
}
