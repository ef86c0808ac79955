//! What this worker is at the moment, and how a directive changes it.

use replication::{Directive, Role};

use crate::admission::Admission;
use crate::events::Event;
use crate::kept::Flooding;
use crate::logs::{self, only};
use crate::nic::Nic;
use crate::poll::Worker;
use crate::seen::Seen;
use crate::shards::{Placement, Shards};
use crate::steward::Steward;
use crate::takeover::Kicks;

/// What a worker does in each loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Holds nothing, serves nothing.
    Spare,
    /// Takes in the primary's shards and the log behind them.
    Joining,
    /// Applies the primary's log.
    Following,
    /// Takes over: what is left of the log comes first.
    Applying { since_us: u64, records: u64 },
    /// Holds the whole state; waits for the others and for the claim.
    Ready,
    /// Owns the service address.
    Serving,
}

impl<N: Nic, S: Steward> Worker<N, S> {
    /// Takes up a directive, if it is not the one it already follows.
    pub(crate) fn obey(&mut self, now_us: u64, new: Directive) {
        let old = self.directive;
        if new == old {
            return;
        }
        let at_rest = old.quiesce != 0 && self.is_settled();
        let same_logs = logs::are_same(&self.logs, &new.logs);
        self.directive = new;
        if new.silent && !old.silent {
            self.lan.forget_frames_of(&self.lan_local.vips);
        }
        match (self.duty, new.role) {
            (Duty::Spare, Role::Spare) => {}
            (_, Role::Spare) => self.step_down(now_us),
            (Duty::Joining, Role::Joining) if same_logs => {}
            (_, Role::Joining) => {
                self.step_down(now_us);
                self.join();
            }
            // All that it was given is restored, or nobody would call it a backup.
            (Duty::Joining, Role::Backup) if same_logs => {
                self.duty = Duty::Following;
            }
            // A primary that is not known for a while takes nothing back of what it logged.
            (Duty::Following, Role::Backup) if same_logs || only(&new.logs).is_none() => {}
            (Duty::Serving, Role::Backup) if at_rest => self.change_sides(),
            (_, Role::Backup) => {
                self.step_down(now_us);
                self.follow();
            }
            (Duty::Spare, Role::Primary(_)) => self.begin_afresh(now_us),
            (Duty::Following, Role::Primary(_)) => self.stop_following(now_us),
            // The whole state came while nobody served.
            (Duty::Joining, Role::Primary(_)) if self.admission.is_idle() => {
                self.stop_following(now_us);
            }
            // It never held the state.
            (Duty::Joining, Role::Primary(_)) => self.step_down(now_us),
            (Duty::Applying { .. }, Role::Primary(_)) => {}
            (Duty::Ready, Role::Primary(_)) => self.board.applied(self.index, new.epoch),
            (Duty::Serving, Role::Primary(mode)) => {
                self.board.applied(self.index, new.epoch);
                if self.steward.is_some() {
                    self.board.serve(new.epoch);
                }
                self.change_logs(now_us, mode);
            }
        }
        self.heed_seal();
        self.move_logs();
        if let Some(peer) = new.passes_on.filter(|_| self.detains) {
            self.pass_on_waiting(now_us, peer);
        }
        self.events.tell(now_us, Event::Directive(new));
    }

    /// Drops whatever belonged to a role: packets, shards, sessions, the claim.
    fn step_down(&mut self, now_us: u64) {
        let packets = self.gate.discard();
        self.recorder.gate_discarded();
        if packets > 0 {
            self.counters.drop_gate_discarded += packets as u64;
            self.events.tell(now_us, Event::GateDiscarded { packets });
        }
        self.leave_service();
        self.fault = None;
        self.blocked = false;
        self.detains = false;
        self.follows_a_log = false;
        self.handover = None;
        self.admission = Admission::default();
        self.retire_channels();
        self.shards = Shards::none(self.node.shard.shards);
        self.duty = Duty::Spare;
    }

    /// Says nothing in the service's name any more.
    pub(crate) fn leave_service(&mut self) {
        self.lan.forget_frames_of(&self.lan_local.vips);
        self.kept.clear();
        self.flooding = Flooding::default();
        if self.steward.is_some() {
            self.board.cease();
        }
        self.announcer = None;
        self.claimed_us = None;
        self.serving_since_us = None;
        self.first_packet_us = None;
        self.kicks = Kicks::default();
    }

    fn follow(&mut self) {
        let theirs = only(&self.directive.logs).map_or(0, |(_, log)| log.workers);
        let placement = Placement::following(self.board.workers(), theirs);
        self.hold_fresh_shards(placement);
        self.follow_log(Some(0));
        self.duty = Duty::Following;
    }

    fn join(&mut self) {
        // What was made for a start is of no use here, and takes memory.
        self.made_ahead = None;
        self.shards.seen = Seen::new(self.kept.most());
        self.follow_log(None);
        self.duty = Duty::Joining;
    }

    fn hold_fresh_shards(&mut self, placement: Placement) {
        let made_ahead = self.made_ahead.take();
        let fitting = made_ahead.filter(|(made_for, _)| *made_for == placement);
        self.shards = fitting.map(|(_, shards)| shards).unwrap_or_else(|| {
            Shards::fresh(self.index, placement, &self.node.shard, &self.node.content)
        });
        self.shards.seen = Seen::new(self.kept.most());
        self.shards.slots.iter().for_each(|slot| self.board.own(self.index, slot.index));
    }

    fn begin_afresh(&mut self, now_us: u64) {
        let placement = Placement::own(self.board.workers());
        self.hold_fresh_shards(placement);
        self.duty = Duty::Applying { since_us: now_us, records: 0 };
    }

    /// The old primary may still be alive and send: from here on nothing of it is taken, hence
    /// nothing confirmed, hence nothing of it released.
    fn stop_following(&mut self, now_us: u64) {
        for channel in &mut self.channels {
            channel.session.close();
        }
        self.detains = false;
        self.shards.set_owners(self.board.owners());
        self.duty = Duty::Applying { since_us: now_us, records: 0 };
    }
}
