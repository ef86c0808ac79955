//! From a fresh start to a role: pair with a fresh peer, serve alone, or stay spare.

use replication::Path;

use crate::events::{Difference, Event, Removal, SpareReason};
use crate::message::{Condition, Heartbeat};
use crate::register::Register;

use super::change::Intent;
use super::inquiry::Inquiry;
use super::{Member, Partner, Phase, Serving};

impl<R: Register> Member<R> {
    pub(super) fn start(&mut self, now_us: u64, unpaired_since_us: Option<u64>) {
        let heard = self.peer.heartbeat().filter(|_| !self.peer.is_silent(now_us));
        let serves = heard.is_some_and(|peer| peer.condition.holds_service());
        if !serves && self.awaits_holder() {
            self.tell_of_holder(now_us);
            return;
        }
        let Some(heartbeat) = heard else {
            if self.is_left_alone(now_us) {
                self.ask(now_us, &[], Intent::StartAlone { beside: None });
            }
            return;
        };
        let differs = !self.differences(heartbeat).is_empty();
        if heartbeat.condition.holds_service() {
            let refused = SpareReason::Refused;
            self.become_spare(now_us, if differs { refused } else { SpareReason::PeerServes });
            return;
        }
        let (hears_link, hears_lan) = self.heard_both_ways(heartbeat, now_us);
        let both_paths = hears_link && hears_lan;
        if heartbeat.condition == Condition::Starting && !differs && both_paths {
            if self.outranks(heartbeat) {
                let workers = heartbeat.workers;
                if let Some(peer) = self.peer.id() {
                    self.ask(now_us, &[peer], Intent::Form { peer, workers });
                }
            }
            return;
        }
        if heartbeat.condition == Condition::Forming && !differs {
            return; // Its proposal names us, or soon will.
        }
        let Some(since_us) = unpaired_since_us else {
            self.phase = Phase::Starting { unpaired_since_us: Some(now_us) };
            return;
        };
        // A peer that is spare for good leaves the service to us, whatever our rank.
        let next = heartbeat.condition != Condition::Starting || self.outranks(heartbeat);
        self.explain(now_us);
        if next && now_us.saturating_sub(since_us) > self.config.lone_start_us {
            if !differs && !both_paths {
                let peer = self.peer.name;
                self.events.push(now_us, Event::CannotPair { peer, hears_link, hears_lan });
            }
            let beside = Some(self.peer.name);
            self.ask(now_us, &[], Intent::StartAlone { beside });
        }
    }

    /// Nothing of the peer was heard for the lone-start time.
    pub(super) fn is_left_alone(&self, now_us: u64) -> bool {
        let since_us = self.last_sign_us.max(self.stall_end_us);
        self.peer.is_silent(now_us) && now_us.saturating_sub(since_us) > self.config.lone_start_us
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
        self.inquiry = Inquiry::default();
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

    fn heard_both_ways(&self, heartbeat: &Heartbeat, now_us: u64) -> (bool, bool) {
        (
            heartbeat.hears_link && self.peer.hears(Path::Link, now_us),
            heartbeat.hears_lan && self.peer.hears(Path::Lan, now_us),
        )
    }

    /// The view has this run in it because the peer wants to form a pair, now. One that was decided
    /// for a role that this run has lost since is no invitation: it would have to hold the state.
    /// Nor is a proposal of its own that came to nothing.
    pub(super) fn is_invited(&self) -> bool {
        let view = self.register.view();
        let forming = |peer: &Heartbeat| peer.condition == Condition::Forming && peer.view == *view;
        view.has(self.me)
            && view.primary != Some(self.me)
            && (!self.register.is_binding() || self.peer.heartbeat().is_some_and(forming))
    }

    /// The peer proposed a view with this run in it. That both hold the same (empty) state is
    /// proven by their manifests and by this run having just started.
    pub(super) fn join(&mut self, now_us: u64) {
        let differs = self.peer.heartbeat().is_some_and(|peer| !self.differences(peer).is_empty());
        if differs {
            self.become_spare(now_us, SpareReason::Refused);
            return;
        }
        let view = self.register.view();
        let (epoch, primary) = (view.epoch, view.primary);
        self.enter(now_us, Phase::Backup { log: epoch });
        if let Some(primary) = primary {
            self.events.push(now_us, Event::BecameBackup { epoch, primary: primary.name });
        }
    }

    /// A proposer serves only when the peer has said that it holds the same view: from then on
    /// the peer can take over.
    pub(super) fn form(&mut self, now_us: u64, partner: Partner) {
        let acknowledged = self.peer.heartbeat().is_some_and(|peer| {
            peer.condition == Condition::Backup && peer.view == *self.register.view()
        });
        if self.register.is_binding() && !acknowledged {
            // The peer is in the in-sync set already: it takes a change to leave it out.
            if let Some(removal) = self.forming_failed(now_us, partner) {
                self.ask(now_us, &[], Intent::Remove { partner, removal });
            }
        } else if self.peer.has_ended(partner.id) || self.peer.is_silent(now_us) {
            // The peer may have joined before it fell silent, and then serves: listen afresh.
            self.last_sign_us = now_us;
            self.doubt = None;
            self.enter(now_us, Phase::Starting { unpaired_since_us: None });
        } else if acknowledged {
            self.enter(now_us, Phase::Primary(Serving::With(partner)));
            let epoch = self.register.view().epoch;
            self.events.push(now_us, Event::PairFormed { epoch, backup: partner.id.name });
        } else if self
            .peer
            .heartbeat()
            .is_some_and(|peer| matches!(peer.condition, Condition::Spare | Condition::Withdrawn))
        {
            self.doubt = None;
            self.enter(now_us, Phase::Starting { unpaired_since_us: None });
        }
    }

    fn forming_failed(&self, now_us: u64, partner: Partner) -> Option<Removal> {
        let condition = self.peer.heartbeat().map(|peer| peer.condition);
        if self.peer.has_ended(partner.id) {
            Some(Removal::RunEnded)
        } else if self.peer.is_silent(now_us) {
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
