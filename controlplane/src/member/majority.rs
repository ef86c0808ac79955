//! Where packets leave as soon as a majority of the in-sync set holds what they depend on (commit
//! rule "quorum"): what a takeover needs then, and a change of the set.
//!
//! *A takeover.* A backup may lack a part of what clients were told. When it suspects the primary
//! it is *sealed*: it confirms nothing more, for good, and says so. Sealed backups give each other
//! what they hold of the primary's log. Of n nodes, of which m are a majority, n - m others have to
//! have given what they hold; then every majority that let anything leave has one node among
//! these, and what it holds is there. Only then the register is asked. So nobody waits for a node
//! that has won and lacks something, and a suspicion that was wrong costs who had it one rejoin: the
//! primary, which hears that a backup is sealed, leaves it out.
//!
//! *A change of the set.* Whatever has left is held by a majority of the set that the register has.
//! So before the register is asked to leave backups out, packets wait for a majority of the rest,
//! too, until such a majority holds what had left before; and from then on for both until the
//! register has decided. All that are lost leave at once, since the rest may be none. A node that is
//! counted in holds all that has left anyway, which makes it one more of the majority.

use arrayvec::ArrayVec;
use replication::{Log, MAX_PEERS, Majority, Report, Votes, majority_of};

use crate::events::{Abandonment, Event, Removal, SpareReason, Suspicion};
use crate::identity::{NodeId, NodeName};
use crate::register::Register;

use super::change::Intent;
use super::{Act, Member, Partner, Partners, Phase, Serving};

/// Backups that are left out of the in-sync set, and why.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lost([Option<(Partner, Removal)>; MAX_PEERS]);

impl Lost {
    pub fn one(partner: Partner, removal: Removal) -> Lost {
        Lost::default().with(partner, removal)
    }

    fn with(mut self, partner: Partner, removal: Removal) -> Lost {
        self.0[partner.at.place()] = Some((partner, removal));
        self
    }

    pub fn iter(self) -> impl Iterator<Item = (Partner, Removal)> {
        self.0.into_iter().flatten()
    }

    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }

    fn has(self, partner: Partner) -> bool {
        self.iter().any(|(lost, _)| lost.at == partner.at)
    }

    /// The first of them; nobody leaves nobody out.
    pub fn first(self) -> Option<NodeName> {
        self.iter().next().map(|(partner, _)| partner.id.name)
    }

    /// One of them is not heard, and may have taken over for all that is known.
    pub fn has_unheard(self) -> bool {
        self.iter().any(|(_, removal)| removal == Removal::AllPathsSilent)
    }

    fn are_those_of(self, other: Lost) -> bool {
        let places = |lost: Lost| lost.0.map(|lost| lost.is_some());
        places(self) == places(other)
    }
}

impl FromIterator<(Partner, Removal)> for Lost {
    fn from_iter<I: IntoIterator<Item = (Partner, Removal)>>(lost: I) -> Lost {
        lost.into_iter().fold(Lost::default(), |all, (partner, why)| all.with(partner, why))
    }
}

/// A primary's plan to leave backups out, for which the register is not asked yet, or has not
/// answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parting {
    /// Tells this plan from every other one.
    number: u32,
    lost: Lost,
}

/// A backup confirms nothing more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sealed {
    since_us: u64,
    /// Somebody was told that others are waited for.
    reported: bool,
}

impl<R: Register> Member<R> {
    /// How many other backups have to give what they hold before one may take over.
    fn others_needed(&self) -> usize {
        let nodes = self.register.view().in_sync.len();
        if self.config.by_majority { nodes.saturating_sub(majority_of(nodes)) } else { 0 }
    }

    /// The backup suspects its primary. Whether it may ask to take over now.
    pub(super) fn may_take_over(
        &mut self,
        now_us: u64,
        primary: Partner,
        suspicion: Suspicion,
        report: &Report,
    ) -> bool {
        let needed = self.others_needed();
        if needed == 0 {
            return true;
        }
        let Some(sealed) = self.sealed else {
            self.seal(now_us, primary, suspicion);
            return false;
        };
        let given = self.others(primary).iter().filter(|node| self.has_given(node, report)).count();
        if given >= needed {
            return true;
        }
        if self.is_hopeless(primary, needed, report) {
            self.become_spare(now_us, SpareReason::Incomplete);
            return false;
        }
        let for_us = now_us.saturating_sub(sealed.since_us);
        if for_us > self.config.detection_ceiling_us && !sealed.reported {
            self.sealed = Some(Sealed { reported: true, ..sealed });
            self.events.push(now_us, Event::AwaitsOthers { needed: needed - given });
        }
        false
    }

    fn seal(&mut self, now_us: u64, primary: Partner, suspicion: Suspicion) {
        self.sealed = Some(Sealed { since_us: now_us, reported: false });
        self.note_suspicion(now_us, primary);
        self.hasten(now_us);
        self.unsettled = true;
        self.events.push(now_us, Event::Sealed { primary: primary.id.name, suspicion });
    }

    /// The other backups of the in-sync set.
    fn others(&self, primary: Partner) -> ArrayVec<NodeId, MAX_PEERS> {
        let view = self.register.view();
        let others = view.in_sync.iter().filter(|node| **node != self.me && **node != primary.id);
        others.copied().take(MAX_PEERS).collect()
    }

    /// That backup has given all that it holds, in the present view.
    fn has_given(&self, node: &NodeId, report: &Report) -> bool {
        let place = self.place_of(node.name);
        let run = place.and_then(|at| self.peer(at).id());
        let epoch = place.and_then(|at| report.gathered[at.place()]);
        run == Some(*node) && epoch == Some(self.register.view().epoch)
    }

    /// What this node may lack nobody has any more: neither the primary nor enough of the others.
    fn is_hopeless(&self, primary: Partner, needed: usize, report: &Report) -> bool {
        let may_give = |node: &NodeId| self.has_given(node, report) || !self.is_over(node);
        let others = self.others(primary);
        self.is_over(&primary.id) && others.iter().filter(|node| may_give(node)).count() < needed
    }

    pub(super) fn is_sealed(&self) -> bool {
        self.sealed.is_some()
    }

    /// What a sealed backup waits for, in words.
    pub(super) fn awaits_others(&self) -> Option<String> {
        let needed = self.others_needed();
        let what = "suspects the primary, and may not take over before it has what others hold";
        self.sealed.map(|_| format!("{what}: {needed} of the other backups in sync"))
    }

    /// What a backup's workers are told.
    pub(super) fn exchanges(&self, primary: Partner) -> Majority {
        let mut tails = [None; MAX_PEERS];
        if !self.is_sealed() {
            return Majority::NONE;
        }
        let view = self.register.view();
        for node in self.others(primary) {
            let Some(at) = self.place_of(node.name) else { continue };
            let peer = self.peer(at);
            let agrees =
                peer.heartbeat().is_some_and(|said| said.sealed && said.view.epoch == view.epoch);
            if peer.id() == Some(node) && agrees {
                tails[at.place()] = Some(Log {
                    epoch: view.epoch,
                    run: node.incarnation,
                    workers: primary.workers,
                    link: peer.link(),
                    counts: false,
                    hands_over: false,
                    votes: Votes::NONE,
                });
            }
        }
        Majority { parting: 0, sealed: true, tails }
    }

    /// The primary has backups to leave out: prepares that, and asks the register once a majority
    /// of the rest holds all that has left.
    pub(super) fn prepare_parting(
        &mut self,
        now_us: u64,
        serving: Serving,
        lost: Lost,
        report: &Report,
    ) {
        if let Act::Admitting { partner, closed: true } = serving.act {
            // It does not hold what leaves by the word of those that leave.
            self.abandon_admission(now_us, partner, Abandonment::SetChanges);
            return;
        }
        let parting = self.parting.filter(|parting| parting.lost.are_those_of(lost));
        match parting {
            None => {
                self.partings += 1;
                self.parting = Some(Parting { number: self.partings, lost });
                self.unsettled = true;
            }
            Some(Parting { number, .. }) if report.parted == number => {
                let rest = serving.backups.iter().filter(|partner| !lost.has(*partner));
                let rest: Partners = rest.collect();
                self.ask(now_us, &rest.ids(), Intent::Remove { lost });
            }
            Some(_) => {}
        }
    }

    /// Nobody is left out any more.
    pub(super) fn end_parting(&mut self) {
        self.unsettled |= self.parting.take().is_some();
    }

    /// The plan that a primary's workers are told, 0 for none.
    pub(super) fn parting(&self) -> u32 {
        self.parting.map_or(0, |parting| parting.number)
    }

    /// In which sets that node's confirmation helps to make a majority.
    pub(super) fn votes(&self, serving: Serving, partner: Partner, counts: bool) -> Votes {
        let in_sync = serving.backups.at(partner.at).is_some();
        let removing = matches!(serving.act, Act::Removing { .. });
        match (in_sync, counts) {
            (true, _) => {
                let leaves = self.parting.is_some_and(|parting| parting.lost.has(partner));
                Votes { now: true, next: !leaves }
            }
            (false, true) => Votes { now: removing, next: true },
            (false, false) => Votes::NONE,
        }
    }

    /// Where a majority decides who holds what, a backup leaves only when the primary has left it
    /// out: what it holds may be needed until then.
    pub(super) fn stays_until_left_out(&self) -> bool {
        self.config.by_majority && matches!(self.phase, Phase::Backup(_))
    }
}
