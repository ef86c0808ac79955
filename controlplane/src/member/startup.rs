//! From a fresh start to a role: pair with a fresh peer, serve alone, or stay spare.

use replication::PeerIndex;

use crate::events::{Difference, Event, Removal, SpareReason};
use crate::message::{Condition, Heartbeat};
use crate::register::Register;

use super::change::Intent;
use super::majority::Lost;
use super::{Act, Member, Partner, Partners, Phase, Serving};

impl<R: Register> Member<R> {
    pub(super) fn start(&mut self, now_us: u64, unpaired_since_us: Option<u64>) {
        let mut serves = self.heard(now_us).filter(|(_, said)| said.condition.holds_service());
        let differs = |said: &Heartbeat| !self.differences(said).is_empty();
        let server = serves.next().map(|(_, said)| differs(said));
        drop(serves);
        if let Some(differs) = server {
            let refused = SpareReason::Refused;
            self.become_spare(now_us, if differs { refused } else { SpareReason::PeerServes });
            return;
        }
        if self.awaits_holder() {
            self.tell_of_holder(now_us);
            return;
        }
        if self.heard(now_us).next().is_none() {
            if self.is_left_alone(now_us) {
                self.ask(now_us, &[], Intent::StartAlone { beside: None });
            }
            return;
        }
        let (partners, first) = self.ready(now_us);
        if !partners.is_empty() {
            if first {
                self.ask(now_us, &partners.ids(), Intent::Form(partners));
            }
            return;
        }
        let forms = |said: &Heartbeat| {
            said.condition == Condition::Forming && self.differences(said).is_empty()
        };
        // Its proposal names us, or soon will.
        if self.heard(now_us).any(|(_, said)| forms(said)) {
            return;
        }
        self.start_beside_others(now_us, unpaired_since_us);
    }

    /// The peers that have just started, too, and fit; and whether this node ranks before all.
    fn ready(&self, now_us: u64) -> (Partners, bool) {
        let log = self.register.view().epoch.next();
        let (mut ready, mut first) = (Partners::default(), true);
        for (at, said) in self.heard(now_us) {
            let fits = said.condition == Condition::Starting && self.differences(said).is_empty();
            let partner = self.partner_at(at, log, now_us);
            if let Some(partner) = partner.filter(|_| fits && self.is_well_heard(at, now_us)) {
                ready = ready.with(partner);
                first &= self.outranks(at, said);
            }
        }
        (ready, first)
    }

    /// Peers are heard, and with none of them a pair can be formed.
    fn start_beside_others(&mut self, now_us: u64, unpaired_since_us: Option<u64>) {
        let Some(since_us) = unpaired_since_us else {
            self.phase = Phase::Starting { unpaired_since_us: Some(now_us) };
            return;
        };
        self.explain(now_us);
        // A peer that is spare for good leaves the service to us, whatever our rank.
        let next =
            |at, said: &Heartbeat| said.condition != Condition::Starting || self.outranks(at, said);
        let next = self.heard(now_us).all(|(at, said)| next(at, said));
        if !next || now_us.saturating_sub(since_us) <= self.config.lone_start_us {
            return;
        }
        let Some((at, said)) = self.heard(now_us).next() else { return };
        let beside = self.peer(at).name;
        let (hears_link, hears_lan) = self.heard_both_ways(at, now_us);
        if self.differences(said).is_empty() && !(hears_link && hears_lan) {
            self.events.push(now_us, Event::CannotPair { peer: beside, hears_link, hears_lan });
        }
        self.ask(now_us, &[], Intent::StartAlone { beside: Some(beside) });
    }

    /// Nothing of any peer was heard for the lone-start time.
    pub(super) fn is_left_alone(&self, now_us: u64) -> bool {
        let since_us = self.last_sign_us.max(self.stall_end_us);
        let for_us = now_us.saturating_sub(since_us);
        self.all_are_silent(now_us) && for_us > self.config.lone_start_us
    }

    /// Whether nobody holds the connections any more, so that a spare can serve new ones. A
    /// register that binds all nodes tells; without one, being left alone has to do.
    pub(super) fn may_start_afresh(&self, now_us: u64) -> bool {
        let tells = self.register.is_binding() && self.register.view().primary.is_some();
        let nobody_holds =
            if tells { self.possible_holder().is_none() } else { self.is_left_alone(now_us) };
        nobody_holds && !self.drained
    }

    /// A spare begins as if it had just been started.
    pub(super) fn start_afresh(&mut self, now_us: u64) {
        let epoch = self.register.view().epoch;
        self.register.begin_anew();
        self.inquiries = Default::default();
        self.enter(now_us, Phase::Starting { unpaired_since_us: None });
        self.events.push(now_us, Event::StartsAfresh { epoch });
    }

    /// Connections may live on in a run that is not heard: then nothing begins afresh. In pair
    /// mode nobody could tell, and nobody waits.
    pub(super) fn awaits_holder(&self) -> bool {
        self.register.is_binding() && self.possible_holder().is_some()
    }

    /// Says once of each run that this node, left alone, waits for.
    pub(super) fn tell_of_holder(&mut self, now_us: u64) {
        if !self.register.is_binding() || !self.is_left_alone(now_us) {
            return;
        }
        let holder = self.possible_holder();
        if holder != self.awaited {
            self.awaited = holder;
            if let Some(holder) = holder {
                self.events.push(now_us, Event::AwaitsHolder { holder });
            }
        }
    }

    /// The view has this run in it because that peer wants to form a pair, now, in which it writes
    /// the log. One that was decided for a role that this run has lost since is no invitation: it
    /// would have to hold the state. Nor is a proposal of its own that came to nothing.
    pub(super) fn invitation(&self) -> Option<PeerIndex> {
        let view = self.register.view();
        let primary = view.primary.filter(|primary| view.has(self.me) && *primary != self.me)?;
        let at = self.place_of(primary.name)?;
        let forming = |said: &Heartbeat| said.condition == Condition::Forming && said.view == *view;
        let said = self.peer(at).heartbeat().filter(|said| said.log.is_some())?;
        let invites =
            self.peer(at).id() == Some(primary) && (!self.register.is_binding() || forming(said));
        invites.then_some(at)
    }

    /// The peer proposed a view with this run in it. That both hold the same (empty) state is
    /// proven by their manifests and by this run having just started.
    pub(super) fn join(&mut self, now_us: u64, at: PeerIndex) {
        let Some(said) = self.peer(at).heartbeat() else { return };
        if !self.differences(said).is_empty() {
            self.become_spare(now_us, SpareReason::Refused);
            return;
        }
        let log = said.log.unwrap_or_default();
        let Some(primary) = self.partner_at(at, log, now_us) else { return };
        self.enter(now_us, Phase::Backup(primary));
        let (epoch, primary) = (self.register.view().epoch, primary.id.name);
        self.events.push(now_us, Event::BecameBackup { epoch, primary });
    }

    /// A proposer serves only when its peers have said that they hold the same view: from then on
    /// they can take over.
    pub(super) fn form(&mut self, now_us: u64, partners: Partners) {
        let view = self.register.view();
        let acknowledged = |partner: &Partner| {
            let peer = self.peer(partner.at);
            let agrees = peer
                .heartbeat()
                .is_some_and(|said| said.condition == Condition::Backup && said.view == *view);
            agrees && !peer.is_silent(now_us)
        };
        if partners.iter().all(|partner| acknowledged(&partner)) {
            let since = |partner| Partner { since_us: now_us, ..partner };
            let backups: Partners = partners.iter().map(since).collect();
            self.enter(now_us, Phase::Primary(Serving { backups, act: Act::Nothing }));
            let epoch = self.register.view().epoch;
            for partner in backups.iter() {
                self.events.push(now_us, Event::PairFormed { epoch, backup: partner.id.name });
            }
            return;
        }
        let failed = |partner: Partner| Some((partner, self.forming_failed(now_us, partner)?));
        let Some((partner, removal)) = partners.iter().find_map(failed) else { return };
        if self.register.is_binding() {
            // It is in the in-sync set already: it takes a change to leave it out.
            let others = partners.without(partner).ids();
            self.ask(now_us, &others, Intent::Remove { lost: Lost::one(partner, removal) });
            return;
        }
        // The peer may have joined before it fell silent, and then serves: listen afresh.
        if removal != Removal::Left {
            self.last_sign_us = now_us;
        }
        self.doubt = None;
        self.enter(now_us, Phase::Starting { unpaired_since_us: None });
    }

    fn forming_failed(&self, now_us: u64, partner: Partner) -> Option<Removal> {
        let peer = self.peer(partner.at);
        let condition = peer.heartbeat().map(|said| said.condition);
        if peer.has_ended(partner.id) {
            Some(Removal::RunEnded)
        } else if peer.is_silent(now_us) {
            Some(Removal::AllPathsSilent)
        } else if matches!(condition, Some(Condition::Spare | Condition::Withdrawn)) {
            Some(Removal::Left)
        } else {
            None
        }
    }

    /// What this node and its peer must have in common and have not.
    pub(super) fn differences(&self, peer: &Heartbeat) -> Vec<Difference> {
        let (ours, theirs) = (self.identity.log_version, peer.log_version);
        let log = (ours != theirs).then_some(Difference::LogVersion { ours, theirs });
        let (ours, theirs) = (self.identity.link_version, peer.link_version);
        let link = (ours != theirs).then_some(Difference::LinkVersion { ours, theirs });
        let config =
            (self.identity.config.digest() != &peer.config_digest).then_some(Difference::Config);
        let content =
            (self.identity.content.digest() != &peer.content_digest).then_some(Difference::Content);
        [log, link, config, content].into_iter().flatten().collect()
    }
}
