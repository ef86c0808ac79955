//! What the poll loop tells the member, and what the member tells operators.

use replication::{Directive, GateMode, Link, Path, PeerIndex, Report, Role};

use crate::events::{Event, awaits_holder};
use crate::identity::NodeId;
use crate::message::{Heartbeat, VERSION as CONTROL_VERSION};
use crate::peer::Peer;
use crate::register::Register;
use crate::status::{
    Gate, MemberCounters, MemberStatus, PathStatus, PeerStatus, Standing, Versions,
};

use super::{Act, Member, Phase, Serving};

/// A takeover without any packet to send counts as done after this time.
const QUIET_TAKEOVER_US: u64 = 1_000_000;

impl<R: Register> Member<R> {
    pub(super) fn note_report(&mut self, now_us: u64, report: &Report) {
        if matches!(self.phase, Phase::Backup(_)) {
            if report.digest_mismatch.is_some() || report.refused_log {
                self.withdraw(now_us, report.digest_mismatch);
            }
            return;
        }
        // What was left of the log does not fit: the node that handed the service over holds it.
        let unfit = report.digest_mismatch.is_some() || report.refused_log;
        let claimed = report.serving_since_us.is_some();
        let given = matches!(self.phase, Phase::Primary(serving) if !serving.backups.is_empty());
        if unfit && !claimed && given {
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
            Phase::Backup(_) => Standing::Backup,
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
            lan: self.lan.state,
            epoch: view.epoch.0,
            primary: view.primary.map(|node| node.to_string()),
            in_sync: view.in_sync.iter().map(ToString::to_string).collect(),
            pair_in_sync: self.pair_in_sync(now_us),
            peers: self.places().map(|at| self.peer_status(now_us, at)).collect(),
            keys: self.identity.keys.ids().map(|key| key.to_string()).collect(),
            takeover: self.timeline.filter(|_| matches!(self.phase, Phase::Primary(_))),
            switchover: self.switchovers.last.clone(),
            drained: self.drained,
            refusals: self.inquiries.iter().flat_map(|one| one.refusals.clone()).collect(),
            counters: MemberCounters { events_dropped: self.events.dropped(), ..self.counters },
        }
    }

    fn pair_in_sync(&self, now_us: u64) -> bool {
        let others = match self.phase {
            Phase::Backup(_) => true,
            Phase::Primary(Serving { backups, act }) => {
                !backups.is_empty() && !matches!(act, Act::Removing { .. })
            }
            _ => false,
        };
        let view = self.register.view();
        let agrees = |node: &NodeId| {
            let peer = self.peer_of(*node).filter(|peer| !peer.is_silent(now_us));
            let said = peer.and_then(Peer::heartbeat);
            *node == self.me || said.is_some_and(|said| said.view == *view)
        };
        others && self.doubt.is_none() && view.in_sync.iter().all(agrees)
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
            && self.all_are_silent(now_us)
        {
            return self.possible_holder().map(awaits_holder);
        }
        let text = match self.phase {
            _ if self.doubt.is_some() => "stood still itself and waits to hear its peer",
            Phase::Starting { .. } if self.all_are_silent(now_us) => {
                let heard_us = self.foreign_us.map(|at_us| now_us.saturating_sub(at_us));
                match heard_us.is_some_and(|ago_us| ago_us < self.config.lone_start_us) {
                    true => "hears somebody on the link whose key it does not have",
                    false => "listens for its peer",
                }
            }
            Phase::Starting { .. } => "waits to form a pair",
            Phase::Forming(_) => "waits for its peer to acknowledge the pair",
            Phase::Primary(serving) => match serving.act {
                Act::Nothing => return None,
                Act::Removing { .. } => "waits for the removed backup to acknowledge",
                Act::Admitting { .. } => "gives its state to a peer",
                Act::Yielding(_) => "hands the service over to a peer",
            },
            Phase::Joining(_) => "takes in the state of the primary",
            Phase::Backup(_) => return self.awaits_others(),
            Phase::Spare(reason) => reason.in_words(),
        };
        Some(text.to_owned())
    }

    fn peer_status(&self, now_us: u64, at: PeerIndex) -> PeerStatus {
        let peer = self.peer(at);
        let path = |path: Path| {
            let detector = peer.detector(path);
            PathStatus {
                heard: peer.hears(path, now_us),
                last_heard_us_ago: detector
                    .last_heard_us()
                    .map(|at_us| now_us.saturating_sub(at_us)),
                timeout_us: detector.timeout_us(),
            }
        };
        let (id, said) = (peer.id(), peer.heartbeat());
        let second = peer.links().find(|link| *link == Link::Second);
        let keys = |said: &Heartbeat| said.keys.iter().map(ToString::to_string).collect();
        PeerStatus {
            name: peer.name.to_string(),
            incarnation: id.map(|id| id.incarnation.to_string()),
            standing: said.map(|said| format!("{:?}", said.condition).to_lowercase()),
            drained: said.is_some_and(|said| said.drained),
            versions: said.map(|said| Versions {
                control: CONTROL_VERSION.into(),
                link: said.link_version,
                log: said.log_version,
                snapshot: said.snapshot_version,
            }),
            in_sync: id.is_some_and(|id| self.register.view().has(id)),
            keys: said.map(keys).unwrap_or_default(),
            link: path(Path::Link(Link::First)),
            second_link: second.map(|link| path(Path::Link(link))),
            active_link: 1 + peer.link() as u8,
            lan: path(Path::Lan),
            lan_state: said.map(|said| said.lan).unwrap_or_default(),
        }
    }
}
