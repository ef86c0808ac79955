//! What the nodes decide, and who may be believed.

use controlplane::Event as Decision;
use controlplane::events::{Removal, Suspicion};
use replication::Role;
use worker::Event;

use super::{DARK_NS, OVERLAP_NS, Verdict, World};
use crate::net::{Place, Way};
use crate::node::Run;
use crate::time::MS;

impl World {
    pub(super) fn note_decision(&mut self, index: usize, decision: &Decision) {
        self.trace.note(self.now_ns, format_args!("node {index}: {decision}"));
        self.coverage.count("decisions", &name_of(decision));
        if matches!(decision, Decision::Stranded { .. }) {
            self.lose("a node does not know whether it is the last one");
        }
    }

    pub(super) fn note_event(&mut self, index: usize, event: Event) -> Verdict {
        self.trace.note(self.now_ns, format_args!("node {index}: {event:?}"));
        match event {
            Event::DigestMismatch(mismatch) if self.plan.diverges.is_some() => {
                self.coverage.count("faults", "divergence noticed");
                self.divergence_seen = true;
                self.trace.note(self.now_ns, mismatch);
                Ok(())
            }
            Event::DigestMismatch(mismatch) => Err(format!("node {index}: {mismatch}")),
            Event::LogApplied { .. } => {
                let Some(run) = &self.nodes[index].run else { return Ok(()) };
                let sound = run.check().and_then(|()| run.check_snapshots());
                sound.map_err(|what| format!("node {index} takes over: {what}"))
            }
            Event::RecordRefused { shard, reason } => {
                Err(format!("node {index} refuses a record of shard {shard}: {reason}"))
            }
            _ => Ok(()),
        }
    }

    /// From here on nothing is promised.
    pub(super) fn lose(&mut self, why: &'static str) {
        if self.void.is_none() && self.formed_ns.is_some() {
            self.void = Some(why);
            self.checker.give_up();
            self.trace.note(self.now_ns, format_args!("nothing is promised any more: {why}"));
        }
    }

    /// Who holds the state, and whether two believe that they serve.
    pub(super) fn watch_roles(&mut self) -> Verdict {
        if self.formed_ns.is_none() || self.void.is_some() {
            return Ok(());
        }
        let runs = || self.nodes.iter().filter_map(|node| node.run.as_ref());
        if !runs().any(Run::holds_state) {
            self.lose("nobody holds the state");
            return Ok(());
        }
        if self.majority_is_gone() {
            self.lose("most of those that held the state are gone");
            return Ok(());
        }
        let serving = |run: &&Run| {
            let directive = run.directive();
            let awake = run.frozen_until_ns <= self.now_ns;
            awake && matches!(directive.role, Role::Primary(_)) && !directive.silent
        };
        let both = runs().filter(serving).count() > 1;
        if !self.register.is_binding() && runs().count() == self.nodes.len() && self.is_dark() {
            self.lose("the nodes were cut off from each other");
            return Ok(());
        }
        let since_ns = both.then_some(self.overlap_since_ns.unwrap_or(self.now_ns));
        self.overlap_since_ns = since_ns;
        if both {
            self.coverage.count("moments", "two primaries");
        }
        match since_ns {
            Some(since_ns) if self.now_ns - since_ns > OVERLAP_NS => {
                Err(format!("two primaries for {} ms", OVERLAP_NS / MS))
            }
            _ => Ok(()),
        }
    }

    /// Nothing passed between the nodes for so long that both must believe the other dead, and in
    /// pair form both are then right to serve.
    pub(super) fn is_dark(&mut self) -> bool {
        let now_ns = self.now_ns;
        let mut passed_ns = |place: Place, way: Way| {
            self.network.line((place, way)).map_or(0, |line| line.passed_ns)
        };
        [(0, 1), (1, 0)].into_iter().all(|(from, to)| {
            let links = [Place::Link(from), Place::SecondLink(from)];
            let link = links.into_iter().map(|place| passed_ns(place, Way::Out)).max();
            let link = link.unwrap_or(0);
            let lan = passed_ns(Place::Lan(from), Way::Out).min(passed_ns(Place::Lan(to), Way::In));
            now_ns.saturating_sub(link.max(lan)) > DARK_NS
        })
    }
}

fn name_of(decision: &Decision) -> String {
    let name = decision.name().replace('_', " ");
    match decision {
        Decision::TookOver { suspicion, .. } => {
            let why = match suspicion {
                Suspicion::AllPathsSilent => "all paths silent",
                Suspicion::RunEnded => "the primary's run ended",
                Suspicion::GaveUp => "the primary gave up",
            };
            format!("{name}: {why}")
        }
        Decision::BackupRemoved { removal, .. } => {
            let why = match removal {
                Removal::AllPathsSilent => "all paths silent",
                Removal::RunEnded => "its run ended",
                Removal::Left => "it left",
                Removal::MakesWay => "it makes way for another one",
                Removal::LinkSilent => "link silent",
                Removal::LogUnconfirmed { .. } => "log unconfirmed",
            };
            format!("{name}: {why}")
        }
        Decision::BecameSpare { reason, .. } => format!("{name}: {}", reason.in_words()),
        _ => name,
    }
}
