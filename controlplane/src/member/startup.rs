//! From a fresh start to a role: pair with a fresh peer, serve alone, or stay spare.

use replication::Path;

use crate::events::{Difference, Event, SpareReason};
use crate::message::{Condition, Heartbeat};
use crate::register::{Proposal, Register};

use super::{Member, Partner, Phase, Serving};

impl<R: Register> Member<R> {
    pub(super) fn start(&mut self, now_us: u64, unpaired_since_us: Option<u64>) {
        let Some(heartbeat) = self.peer.heartbeat().filter(|_| !self.peer.is_silent(now_us)) else {
            if self.is_left_alone(now_us) {
                self.start_alone(now_us, false);
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
                self.propose(now_us, workers);
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
            self.start_alone(now_us, true);
        }
    }

    /// Nothing of the peer was heard for the lone-start time.
    pub(super) fn is_left_alone(&self, now_us: u64) -> bool {
        let since_us = self.last_sign_us.max(self.stall_end_us);
        self.peer.is_silent(now_us) && now_us.saturating_sub(since_us) > self.config.lone_start_us
    }

    /// A spare whose peer is gone: nobody holds the connections any more, and new ones can be
    /// served.
    pub(super) fn start_over(&mut self, now_us: u64) {
        self.register.begin_anew();
        self.enter(now_us, Phase::Starting { unpaired_since_us: None });
    }

    fn heard_both_ways(&self, heartbeat: &Heartbeat, now_us: u64) -> (bool, bool) {
        (
            heartbeat.hears_link && self.peer.hears(Path::Link, now_us),
            heartbeat.hears_lan && self.peer.hears(Path::Lan, now_us),
        )
    }

    fn start_alone(&mut self, now_us: u64, beside: bool) {
        let view = self.register.view();
        let next = view.next(self.me, &[]);
        if self.register.compare_and_set(view.epoch, &next) == Proposal::Won {
            self.enter(now_us, Phase::Primary(Serving::Alone));
            let beside = beside.then_some(self.peer.name);
            self.events.push(now_us, Event::LoneStart { epoch: next.epoch, beside });
        }
    }

    fn propose(&mut self, now_us: u64, workers: u16) {
        let Some(id) = self.peer.id() else { return };
        let view = self.register.view();
        let next = view.next(self.me, &[id]);
        if self.register.compare_and_set(view.epoch, &next) == Proposal::Won {
            self.enter(now_us, Phase::Forming(Partner { id, workers, log: next.epoch }));
            self.events.push(now_us, Event::Forming { epoch: next.epoch, peer: id.name });
        }
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
        if self.peer.has_ended(partner.id) || self.peer.is_silent(now_us) {
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
