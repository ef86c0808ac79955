//! What this worker is at the moment, and how a directive changes it.

use replication::{Directive, Epoch, GateMode, Incarnation, Role};

use crate::admission::Admission;
use crate::channel;
use crate::events::Event;
use crate::handover::Handover;
use crate::kept::Flooding;
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

/// What a worker is before it was told anything.
pub(crate) const SPARE: Directive = Directive {
    epoch: Epoch(0),
    role: Role::Spare,
    silent: false,
    peer: None,
    peer_workers: 0,
    hands_over: false,
    quiesce: 0,
    passes_on: false,
};

/// Which log a session carries: of whom, in which configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogId {
    epoch: Epoch,
    peer: Option<Incarnation>,
    peer_workers: u16,
}

impl LogId {
    pub fn of(directive: &Directive) -> LogId {
        let Directive { epoch, peer, peer_workers, .. } = *directive;
        LogId { epoch, peer, peer_workers }
    }
}

impl<N: Nic, S: Steward> Worker<N, S> {
    /// Takes up a directive, if it is not the one it already follows.
    pub(crate) fn obey(&mut self, now_us: u64, new: Directive) {
        let old = self.directive;
        if new == old {
            return;
        }
        let at_rest = old.quiesce != 0 && self.is_settled();
        self.directive = new;
        if new.silent && !old.silent {
            self.lan.forget_frames_of(&self.lan_local.vips);
        }
        match (self.duty, new.role) {
            (Duty::Spare, Role::Spare) => {}
            (_, Role::Spare) => self.step_down(now_us),
            (Duty::Joining, Role::Joining) if self.log_of == Some(LogId::of(&new)) => {}
            (_, Role::Joining) => {
                self.step_down(now_us);
                self.join();
            }
            // All that it was given is restored, or nobody would call it a backup.
            (Duty::Joining, Role::Backup) if self.log_of == Some(LogId::of(&new)) => {
                self.duty = Duty::Following;
            }
            // A peer that is not known for a while takes nothing back of what it logged.
            (Duty::Following, Role::Backup) if new.peer.is_none() => {}
            (Duty::Following, Role::Backup) if self.log_of == Some(LogId::of(&new)) => {}
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
                let same_log = self.log_of == Some(LogId::of(&new));
                if same_log && self.handover.is_some() {
                    self.close_gate(now_us, mode);
                } else if new.role != old.role || !same_log {
                    self.change_gate(now_us, mode);
                }
            }
        }
        if new.passes_on && self.detains {
            self.pass_on_waiting(now_us);
        }
        self.events.tell(now_us, Event::Directive(new));
    }

    /// Drops whatever belonged to a role: packets, shards, sessions, the claim.
    fn step_down(&mut self, now_us: u64) {
        let packets = self.gate.discard();
        self.recorder.gate_discarded();
        self.recorder.log_opened();
        if packets > 0 {
            self.counters.drop_gate_discarded += packets as u64;
            self.events.tell(now_us, Event::GateDiscarded { packets });
        }
        self.leave_service();
        self.fault = None;
        self.blocked = false;
        self.detains = false;
        self.follows_a_log = false;
        self.log_of = None;
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
        let placement = Placement::following(self.board.workers(), self.directive.peer_workers);
        self.hold_fresh_shards(placement);
        self.follow_log();
        self.duty = Duty::Following;
    }

    fn join(&mut self) {
        // What was made for a start is of no use here, and takes memory.
        self.made_ahead = None;
        self.shards.seen = Seen::new(self.kept.most());
        self.follow_log();
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

    pub(crate) fn retire_channels(&mut self) {
        for channel in self.channels.drain(..) {
            channel.retire(&mut self.idle_channels);
        }
    }

    /// Sets the gate, and opens the session that lets it release.
    pub(crate) fn log_to_peer(&mut self, now_us: u64, mode: GateMode) {
        self.gate.set_mode(mode);
        self.recorder.log_opened();
        self.log_of = Some(LogId::of(&self.directive));
        let hands_over = self.directive.hands_over;
        self.retire_channels();
        if mode == GateMode::Confirmed || hands_over {
            let most = self.link.max_datagram();
            let Worker { index, node, directive, protection, idle_channels, .. } = self;
            self.channels =
                channel::outgoing(*index, node, most, directive, protection, idle_channels);
        }
        self.shards.slots.iter_mut().for_each(|slot| slot.logged = false);
        let rate = self.node.handover_bytes_per_second;
        self.handover = hands_over.then(|| Handover::new(now_us, rate));
        self.closed_at = None;
    }

    /// The node that joins has all shards: from here on nothing leaves that it does not know of.
    /// Or it has failed, and nothing waits for it any more.
    fn close_gate(&mut self, now_us: u64, mode: GateMode) {
        if self.gate.mode() == mode {
            return;
        }
        self.gate.set_mode(mode);
        let channel = self.channels.first().filter(|_| mode == GateMode::Confirmed);
        self.closed_at = channel.map(|channel| channel.session.last_closed());
        if self.serving() {
            self.release(now_us);
        }
    }

    /// Open: what waits may leave, nobody will confirm it any more. Confirmed with another peer:
    /// what waits depends on a log that the new peer will never have.
    fn change_gate(&mut self, now_us: u64, mode: GateMode) {
        if mode == GateMode::Confirmed {
            self.counters.drop_gate_discarded += self.gate.discard() as u64;
            self.recorder.gate_discarded();
        }
        self.log_to_peer(now_us, mode);
        if self.serving() {
            self.release(now_us);
        }
    }
}
