//! A primary: when it parts with its backup, and when it gives way to another primary.

use std::cmp::Reverse;

use replication::{Path, Report};

use crate::events::{Event, Removal, SpareReason};
use crate::message::Condition;
use crate::register::Register;

use super::change::Intent;
use super::{Member, Partner, Phase, Serving};

/// A peer that was heard within so many heartbeat intervals is alive.
const LATELY_HEARTBEATS: u64 = 4;

impl<R: Register> Member<R> {
    pub(super) fn serve(&mut self, now_us: u64, serving: Serving, report: &Report) {
        // In doubt whether the partner took over meanwhile, nothing is decided against it, unless
        // the register can tell.
        if self.doubt.is_some() && !self.register.is_binding() {
            return;
        }
        match serving {
            Serving::Alone => self.consider_admission(now_us),
            Serving::Admitting { partner, closed } => {
                self.admit_partner(now_us, partner, closed, report);
            }
            Serving::Yielding(yielding) => self.yield_service(now_us, yielding, report),
            Serving::With(partner) => {
                if let Some(removal) = self.removal(now_us, partner, report) {
                    self.ask(now_us, &[], Intent::Remove { partner, removal });
                }
            }
            Serving::Removing { partner, since_us, .. } => {
                if self.is_gone(now_us, partner) || self.acknowledged_removal(partner) {
                    self.open_gate(now_us, since_us);
                }
            }
        }
    }

    /// Why the partner is to be removed from the in-sync set, if it is.
    pub(super) fn removal(
        &self,
        now_us: u64,
        partner: Partner,
        report: &Report,
    ) -> Option<Removal> {
        if self.peer.has_ended(partner.id) {
            return Some(Removal::RunEnded);
        }
        let peer = self.peer.heartbeat()?;
        // What it was when it was counted in, or handed the service over, until it hears of that.
        let lately = now_us.saturating_sub(self.phase_since_us) < self.config.detection_ceiling_us;
        let older = peer.view.epoch < self.register.view().epoch;
        let unaware = match peer.condition {
            Condition::Joining => lately,
            Condition::Primary => lately && older,
            _ => false,
        };
        if peer.condition != Condition::Backup && !unaware {
            return Some(Removal::Left);
        }
        if self.peer.is_silent(now_us) {
            return Some(Removal::AllPathsSilent);
        }
        // A peer that is about to fall silent on all paths says nothing about the link.
        let since_heard_us = now_us.saturating_sub(self.peer.last_heard_us()?);
        if since_heard_us > LATELY_HEARTBEATS * self.config.heartbeat_us {
            return None;
        }
        // Without the link the log cannot pass; waiting for the first batch to prove it would
        // only add its timeout to the pause.
        if !self.peer.hears(Path::Link, now_us) || !peer.hears_link {
            return Some(Removal::LinkSilent);
        }
        let waiting_since_us = report.unconfirmed_since_us?.max(self.stall_end_us);
        let for_us = now_us.saturating_sub(waiting_since_us.max(self.phase_since_us));
        (for_us > self.confirm_timeout_us()).then_some(Removal::LogUnconfirmed { for_us })
    }

    /// The register has the partner no more in its in-sync set.
    pub(super) fn part_with(&mut self, now_us: u64, partner: Partner, removal: Removal) {
        // Left alone with a state that is not the one that was served: nobody holds that then.
        if matches!(self.phase, Phase::Spare(_)) {
            return;
        }
        self.retry.parted(now_us, now_us.saturating_sub(self.phase_since_us));
        let (epoch, backup) = (self.register.view().epoch, partner.id.name);
        self.events.push(now_us, Event::BackupRemoved { epoch, backup, removal });
        let serving = Serving::Removing { partner, since_us: now_us };
        self.doubt = None;
        self.enter(now_us, Phase::Primary(serving));
        if self.register.is_binding() || removal.is_final() {
            self.open_gate(now_us, now_us);
        }
    }

    /// The partner can take over no more, or nothing can be known about it on any path.
    fn is_gone(&self, now_us: u64, partner: Partner) -> bool {
        let holds_state =
            self.peer.heartbeat().is_some_and(|peer| peer.condition == Condition::Backup);
        self.peer.has_ended(partner.id) || self.peer.is_silent(now_us) || !holds_state
    }

    fn acknowledged_removal(&self, partner: Partner) -> bool {
        self.peer.id() == Some(partner.id)
            && self
                .peer
                .heartbeat()
                .is_some_and(|peer| peer.view.epoch >= self.register.view().epoch)
    }

    fn open_gate(&mut self, now_us: u64, since_us: u64) {
        self.enter(now_us, Phase::Primary(Serving::Alone));
        let epoch = self.register.view().epoch;
        let waited_us = now_us.saturating_sub(since_us);
        self.events.push(now_us, Event::GateOpened { epoch, waited_us });
    }

    /// Two views of one epoch exist: both nodes changed their copy during a partition. A view
    /// that still waits for an acknowledgement yields, since nobody was served under it; else the
    /// node that ranks higher stays. Both nodes come to the same result. A peer that is silent is no
    /// rival: what it said last may be of a view that was given up since.
    pub(super) fn settle_rivalry(&mut self, now_us: u64) {
        if self.register.is_binding() {
            return;
        }
        let ours = self.register.view();
        let heard = !self.peer.is_silent(now_us);
        let Some(peer) = self.peer.heartbeat().filter(|_| heard).filter(|peer| {
            let serves = matches!(peer.condition, Condition::Primary | Condition::Forming);
            serves && peer.view.epoch == ours.epoch && peer.view != *ours
        }) else {
            return;
        };
        if !matches!(self.phase, Phase::Primary(_) | Phase::Forming(_)) {
            let theirs = peer.view.clone();
            self.register.yield_to(&theirs);
            return;
        }
        if self.doubt.is_some() {
            return;
        }
        let rank = |pending: bool, priority: u16, name| (!pending, priority, Reverse(name));
        let our_rank = rank(self.is_pending(), self.config.priority, self.me.name);
        let we_stay = our_rank > rank(peer.pending, peer.priority, self.peer.name);
        let (epoch, theirs) = (ours.epoch, peer.view.clone());
        self.events.push(now_us, Event::TwoPrimaries { epoch, peer: self.peer.name, we_stay });
        if !we_stay {
            self.register.yield_to(&theirs);
            self.become_spare(now_us, SpareReason::LostTie);
            return;
        }
        self.ask(now_us, &[], Intent::Outvote);
    }
}
