//! A primary: when it parts with a backup, and when it gives way to another primary.

use std::cmp::Reverse;

use replication::Report;

use crate::events::{Event, Removal, SpareReason};
use crate::message::Condition;
use crate::register::Register;
use crate::status::Handing;

use super::change::Intent;
use super::majority::Lost;
use super::switchover::{Stage, Yielding};
use super::{Act, Member, Partner, Partners, Phase, Serving, confirm_timeout_us};

/// A peer that was heard within so many heartbeat intervals is alive.
const LATELY_HEARTBEATS: u64 = 4;

impl<R: Register> Member<R> {
    pub(super) fn serve(&mut self, now_us: u64, serving: Serving, report: &Report) {
        // In doubt whether the partner took over meanwhile, nothing is decided against it, unless
        // the register can tell.
        if self.doubt.is_some() && !self.register.is_binding() {
            return;
        }
        if self.part_with_the_lost(now_us, serving, report) {
            return;
        }
        match serving.act {
            Act::Nothing if self.leave_lan(now_us, serving) => {}
            Act::Nothing => self.consider_admission(now_us, serving),
            Act::Admitting { partner, closed } => {
                self.admit_partner(now_us, serving, partner, closed, report);
            }
            Act::Yielding(yielding) => self.yield_service(now_us, serving, yielding, report),
            Act::Removing { partner, since_us } => {
                if self.is_gone(now_us, partner) || self.acknowledged_removal(partner) {
                    self.stop_waiting(now_us, serving.backups, since_us);
                }
            }
        }
    }

    /// Asks the register to leave out a backup that is to be removed, if there is one. The one that
    /// the service is about to be given to is the switchover's affair, and all others make way.
    fn part_with_the_lost(&mut self, now_us: u64, serving: Serving, report: &Report) -> bool {
        let yielding = match serving.act {
            Act::Yielding(yielding) if yielding.stage != Stage::Returns => Some(yielding),
            _ => None,
        };
        let makes_way = yielding
            .filter(|yielding| yielding.by == Handing::Log && !yielding.rests())
            .map(|_| Removal::MakesWay);
        let heir = yielding.map(|yielding| yielding.partner.at);
        let others = serving.backups.iter().filter(|partner| Some(partner.at) != heir);
        let why = |partner: Partner| {
            let removal = self.removal(now_us, partner, report);
            Some((partner, removal.or(makes_way)?))
        };
        let lost: Lost = others.filter_map(why).collect();
        if self.config.by_majority && !lost.is_empty() {
            self.prepare_parting(now_us, serving, lost, report);
            return true;
        }
        self.end_parting();
        let Some((partner, removal)) = lost.iter().next() else { return false };
        self.remove(now_us, serving, partner, removal);
        true
    }

    pub(super) fn remove(
        &mut self,
        now_us: u64,
        serving: Serving,
        partner: Partner,
        removal: Removal,
    ) {
        let others = serving.backups.without(partner).ids();
        self.ask(now_us, &others, Intent::Remove { lost: Lost::one(partner, removal) });
    }

    /// Why the partner is to be removed from the in-sync set, if it is.
    pub(super) fn removal(
        &self,
        now_us: u64,
        partner: Partner,
        report: &Report,
    ) -> Option<Removal> {
        let peer = self.peer(partner.at);
        if peer.has_ended(partner.id) {
            return Some(Removal::RunEnded);
        }
        let said = peer.heartbeat()?;
        // What it was when it was counted in, or handed the service over, until it hears of that.
        let lately = now_us.saturating_sub(partner.since_us) < self.config.detection_ceiling_us;
        let older = said.view.epoch < self.register.view().epoch;
        let unaware = match said.condition {
            Condition::Joining => lately,
            Condition::Primary => lately && older,
            _ => false,
        };
        let wants_to_leave = said.sealed || said.drained && self.config.by_majority;
        let stays = said.condition == Condition::Backup && !wants_to_leave;
        if !stays && !unaware {
            return Some(Removal::Left);
        }
        if peer.is_silent(now_us) {
            return Some(Removal::AllPathsSilent);
        }
        // A peer that is about to fall silent on all paths says nothing about the link.
        let since_heard_us = now_us.saturating_sub(peer.last_heard_us()?);
        if since_heard_us > LATELY_HEARTBEATS * self.config.heartbeat_us {
            return None;
        }
        // Without a link the log cannot pass; waiting for the first batch to prove it would
        // only add its timeout to the pause.
        if !peer.hears_link(now_us) || !said.hears_link {
            return Some(Removal::LinkSilent);
        }
        let waiting_since_us = report.unconfirmed_since_us[partner.at.place()]?;
        let since_us = waiting_since_us.max(self.stall_end_us).max(self.phase_since_us);
        let for_us = now_us.saturating_sub(since_us.max(partner.since_us));
        (for_us > confirm_timeout_us(peer)).then_some(Removal::LogUnconfirmed { for_us })
    }

    /// The register has the partner no more in its in-sync set.
    pub(super) fn part_with(&mut self, now_us: u64, partner: Partner, removal: Removal) {
        // Left alone with a state that is not the one that was served: nobody holds that then.
        if matches!(self.phase, Phase::Spare(_)) {
            return;
        }
        let in_sync_us = now_us.saturating_sub(partner.since_us);
        self.retries[partner.at.place()].parted(now_us, in_sync_us);
        let (epoch, backup) = (self.register.view().epoch, partner.id.name);
        self.events.push(now_us, Event::BackupRemoved { epoch, backup, removal });
        self.doubt = None;
        let serving = match self.phase {
            Phase::Primary(serving) => serving,
            // One of those that were to form the set with this node.
            Phase::Forming(partners) => {
                let left = partners.without(partner);
                if !left.is_empty() {
                    self.enter(now_us, Phase::Forming(left));
                    return;
                }
                Serving::default()
            }
            _ => return,
        };
        let backups = serving.backups.without(partner);
        let acknowledges = !self.register.is_binding() && !removal.is_final();
        let act = match serving.act {
            _ if acknowledges => Act::Removing { partner, since_us: now_us },
            Act::Yielding(yielding) if yielding.partner.at == partner.at => Act::Nothing,
            Act::Yielding(yielding) => Act::Yielding(Yielding { since_us: now_us, ..yielding }),
            act => act,
        };
        self.enter(now_us, Phase::Primary(Serving { backups, act }));
        self.tell_of_open_gate(now_us, now_us);
    }

    /// The partner can take over no more, or nothing can be known about it on any path.
    fn is_gone(&self, now_us: u64, partner: Partner) -> bool {
        let peer = self.peer(partner.at);
        let holds_state = peer.heartbeat().is_some_and(|said| said.condition == Condition::Backup);
        peer.has_ended(partner.id) || peer.is_silent(now_us) || !holds_state
    }

    fn acknowledged_removal(&self, partner: Partner) -> bool {
        let peer = self.peer(partner.at);
        peer.id() == Some(partner.id)
            && peer.heartbeat().is_some_and(|said| said.view.epoch >= self.register.view().epoch)
    }

    fn stop_waiting(&mut self, now_us: u64, backups: Partners, since_us: u64) {
        self.enter(now_us, Phase::Primary(Serving { backups, act: Act::Nothing }));
        self.tell_of_open_gate(now_us, since_us);
    }

    /// The gate waits for nobody any more.
    fn tell_of_open_gate(&mut self, now_us: u64, since_us: u64) {
        let Phase::Primary(serving) = self.phase else { return };
        if serving.logs().any(|(_, counts)| counts) {
            return;
        }
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
        let rival = self.heard(now_us).find(|(_, said)| {
            let serves = matches!(said.condition, Condition::Primary | Condition::Forming);
            serves && said.view.epoch == ours.epoch && said.view != *ours
        });
        let Some((at, rival)) = rival else { return };
        let (theirs, pending, priority) = (rival.view.clone(), rival.pending, rival.priority);
        if !matches!(self.phase, Phase::Primary(_) | Phase::Forming(_)) {
            self.register.yield_to(&theirs);
            return;
        }
        if self.doubt.is_some() {
            return;
        }
        let (epoch, peer) = (ours.epoch, self.peer(at).name);
        let rank = |pending: bool, priority: u16, name| (!pending, priority, Reverse(name));
        let our_rank = rank(self.is_pending(), self.config.priority, self.me.name);
        let we_stay = our_rank > rank(pending, priority, peer);
        self.events.push(now_us, Event::TwoPrimaries { epoch, peer, we_stay });
        if !we_stay {
            self.register.yield_to(&theirs);
            self.become_spare(now_us, SpareReason::LostTie);
            return;
        }
        self.ask(now_us, &[], Intent::Outvote);
    }
}
