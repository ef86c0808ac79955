//! What the poll loop tells the member, and what the member tells operators.

use replication::{Directive, GateMode, Path, Report, Role};

use crate::events::{Event, awaits_holder};
use crate::message::VERSION as CONTROL_VERSION;
use crate::register::Register;
use crate::status::{
    Gate, MemberCounters, MemberStatus, PathStatus, PeerStatus, Standing, Versions,
};

use super::{Member, Phase, Serving};

/// A takeover without any packet to send counts as done after this time.
const QUIET_TAKEOVER_US: u64 = 1_000_000;

impl<R: Register> Member<R> {
    pub(super) fn note_report(&mut self, now_us: u64, report: &Report) {
        if matches!(self.phase, Phase::Backup { .. }) {
            if report.digest_mismatch.is_some() || report.refused_log {
                self.withdraw(now_us, report.digest_mismatch);
            }
            return;
        }
        // What was left of the log does not fit: the node that handed the service over holds it.
        let unfit = report.digest_mismatch.is_some() || report.refused_log;
        let claimed = report.serving_since_us.is_some();
        if unfit && !claimed && matches!(self.phase, Phase::Primary(Serving::With(_))) {
            self.withdraw(now_us, report.digest_mismatch);
            return;
        }
        if self.timeline_reported || !matches!(self.phase, Phase::Primary(_)) {
            return;
        }
        let Some(timeline) = &mut self.timeline else { return };
        let won_us = timeline.epoch_won_us;
        if report.log_applied && timeline.log_applied_us.is_none() {
            timeline.log_applied_us = Some(now_us);
        }
        timeline.vip_claimed_us = report.serving_since_us.filter(|at_us| *at_us >= won_us);
        if let Some(claimed_us) = timeline.vip_claimed_us {
            // The report comes a loop later than what it tells, and the claim never before the log.
            let seen_us = timeline.log_applied_us.unwrap_or(claimed_us);
            timeline.log_applied_us = Some(seen_us.min(claimed_us));
        }
        timeline.first_packet_us = report.first_packet_us.filter(|at_us| *at_us >= won_us);
        timeline.last_kick_us = report.last_kick_us.filter(|at_us| *at_us >= won_us);
        let silent = timeline.vip_claimed_us.is_some() && timeline.first_packet_us.is_none();
        let quiet = silent && now_us.saturating_sub(won_us) > QUIET_TAKEOVER_US;
        if timeline.is_complete() || quiet {
            self.timeline_reported = true;
            let timeline = *timeline;
            self.events.push(now_us, Event::TakeoverDone { timeline });
        }
    }

    /// What this node and its peer are, for operators.
    #[must_use]
    pub fn status(&self, now_us: u64) -> MemberStatus {
        let view = self.register.view();
        let standing = match self.phase {
            Phase::Starting { .. } => Standing::Starting,
            Phase::Forming(_) => Standing::Forming,
            Phase::Primary(_) => Standing::Primary,
            Phase::Backup { .. } => Standing::Backup,
            Phase::Joining(_) => Standing::Joining,
            Phase::Spare(_) => Standing::Spare,
        };
        let Directive { role, silent, .. } = self.directive;
        let gate = match role {
            Role::Primary(GateMode::Confirmed) => Some(Gate::Confirmed),
            Role::Primary(GateMode::Open) => Some(Gate::Open),
            Role::Joining | Role::Backup | Role::Spare => None,
        };
        MemberStatus {
            node: self.me.name.to_string(),
            incarnation: self.me.incarnation.to_string(),
            standing,
            since_us: self.phase_since_us,
            reason: self.reason(now_us),
            gate,
            silent,
            epoch: view.epoch.0,
            primary: view.primary.map(|node| node.to_string()),
            in_sync: view.in_sync.iter().map(ToString::to_string).collect(),
            pair_in_sync: self.pair_in_sync(now_us),
            peer: self.peer_status(now_us),
            keys: self.identity.keys.ids().map(|key| key.to_string()).collect(),
            takeover: self.timeline.filter(|_| matches!(self.phase, Phase::Primary(_))),
            switchover: self.switchovers.last.clone(),
            drained: self.drained,
            refusals: self.inquiry.refusals.clone(),
            counters: MemberCounters { events_dropped: self.events.dropped(), ..self.counters },
        }
    }

    fn pair_in_sync(&self, now_us: u64) -> bool {
        let paired = match self.phase {
            Phase::Backup { .. } | Phase::Primary(Serving::With(_)) => true,
            Phase::Primary(Serving::Yielding(_)) => !self.yields_by_snapshot(),
            _ => false,
        };
        let agreed = self.peer.heartbeat().is_some_and(|peer| peer.view == *self.register.view());
        paired && agreed && self.doubt.is_none() && !self.peer.is_silent(now_us)
    }

    fn reason(&self, now_us: u64) -> Option<String> {
        if let Some(asked) = &self.asked {
            let for_ms = now_us.saturating_sub(asked.since_us) / 1_000;
            let what = asked.intent.in_words();
            let whom = if asked.assured { "asked the register" } else { "fences its peer" };
            return Some(format!("{whom} {what}, since {for_ms} ms: no answer yet"));
        }
        if matches!(self.phase, Phase::Starting { .. } | Phase::Spare(_))
            && self.awaits_holder()
            && self.peer.is_silent(now_us)
        {
            return self.possible_holder().map(awaits_holder);
        }
        let text = match self.phase {
            _ if self.doubt.is_some() => "stood still itself and waits to hear its peer",
            Phase::Starting { .. } if self.peer.is_silent(now_us) => {
                let heard_us = self.foreign_us.map(|at_us| now_us.saturating_sub(at_us));
                match heard_us.is_some_and(|ago_us| ago_us < self.config.lone_start_us) {
                    true => "hears somebody on the link whose key it does not have",
                    false => "listens for its peer",
                }
            }
            Phase::Starting { .. } => "waits to form a pair",
            Phase::Forming(_) => "waits for its peer to acknowledge the pair",
            Phase::Primary(Serving::Removing { .. }) => {
                "waits for the removed backup to acknowledge"
            }
            Phase::Primary(Serving::Admitting { .. }) => "gives its state to its peer",
            Phase::Primary(Serving::Yielding(_)) => "hands the service over to its peer",
            Phase::Joining(_) => "takes in the state of the primary",
            Phase::Primary(_) | Phase::Backup { .. } => return None,
            Phase::Spare(reason) => reason.in_words(),
        };
        Some(text.to_owned())
    }

    fn peer_status(&self, now_us: u64) -> PeerStatus {
        let path = |path: Path| {
            let detector = self.peer.detector(path);
            PathStatus {
                heard: self.peer.hears(path, now_us),
                last_heard_us_ago: detector
                    .last_heard_us()
                    .map(|at_us| now_us.saturating_sub(at_us)),
                timeout_us: detector.timeout_us(),
            }
        };
        let id = self.peer.id();
        let peer = self.peer.heartbeat();
        PeerStatus {
            name: self.peer.name.to_string(),
            incarnation: id.map(|id| id.incarnation.to_string()),
            standing: self
                .peer
                .heartbeat()
                .map(|peer| format!("{:?}", peer.condition).to_lowercase()),
            drained: peer.is_some_and(|peer| peer.drained),
            versions: peer.map(|peer| Versions {
                control: CONTROL_VERSION.into(),
                link: peer.link_version,
                log: peer.log_version,
                snapshot: peer.snapshot_version,
            }),
            in_sync: id.is_some_and(|id| self.register.view().has(id)),
            keys: self
                .peer
                .heartbeat()
                .map_or_else(Vec::new, |peer| peer.keys.iter().map(ToString::to_string).collect()),
            link: path(Path::Link),
            lan: path(Path::Lan),
        }
    }
}
