//! A backup: when it takes over.

use replication::{Mismatch, Report};

use crate::events::{Event, SpareReason, Suspicion};
use crate::message::Condition;
use crate::register::Register;
use crate::timeline::Timeline;

use super::change::Intent;
use super::{Member, Partner, Phase, Serving};

impl<R: Register> Member<R> {
    pub(super) fn watch(&mut self, now_us: u64, primary: Partner, report: &Report) {
        // After an own stall the primary may have served without us: see `doubt.rs`.
        if self.doubt.is_some() && !self.register.is_binding() {
            return;
        }
        if let Some(suspicion) = self.suspicion(now_us, primary)
            // Also who lets another one be first has something to give to it.
            && self.may_take_over(now_us, primary, suspicion, report)
            && !(suspicion == Suspicion::AllPathsSilent && self.stands_back(now_us, primary))
        {
            self.take_over(now_us, primary, suspicion);
        }
    }

    /// The loss of one path alone is never a reason: the primary, which is heard on the other,
    /// removes this node from the in-sync set if it has to.
    fn suspicion(&self, now_us: u64, primary: Partner) -> Option<Suspicion> {
        let peer = self.peer(primary.at);
        if peer.has_ended(primary.id) {
            return Some(Suspicion::RunEnded);
        }
        if peer.is_silent(now_us) {
            return Some(Suspicion::AllPathsSilent);
        }
        // A peer that was handed the service, and has not heard of it yet or that this node rests,
        // gives nothing up.
        let gave_up = peer.heartbeat().is_some_and(|said| {
            let keeps = matches!(
                said.condition,
                Condition::Primary | Condition::Forming | Condition::Backup
            );
            !keeps && said.view.epoch >= self.register.view().epoch
        });
        gave_up.then_some(Suspicion::GaveUp)
    }

    fn take_over(&mut self, now_us: u64, primary: Partner, suspicion: Suspicion) {
        self.note_suspicion(now_us, primary);
        self.ask(now_us, &[], Intent::TakeOver(suspicion));
    }

    /// What follows is a part of the takeover's time.
    pub(super) fn note_suspicion(&mut self, now_us: u64, primary: Partner) {
        let next = self.register.view().epoch.next().0;
        let last_heard_us = self.peer(primary.at).last_heard_us();
        let timeline = self.timeline.get_or_insert_default();
        if timeline.epoch != next {
            *timeline = Timeline {
                epoch: next,
                last_heartbeat_us: last_heard_us.unwrap_or(now_us),
                suspected_us: now_us,
                ..Timeline::default()
            };
        }
    }

    /// The register has this node as primary. One that left the in-sync set meanwhile holds the
    /// state no more, and says so; who hears that may begin afresh. Other backups may have taken
    /// in more of the log than this one, or less: they join again.
    pub(super) fn begin_takeover(&mut self, now_us: u64, suspicion: Suspicion) {
        if !matches!(self.phase, Phase::Backup(_)) {
            return;
        }
        let epoch = self.register.view().epoch;
        let timeline = self.timeline.get_or_insert_default();
        timeline.epoch_won_us = now_us;
        let silent_us = now_us.saturating_sub(timeline.last_heartbeat_us);
        self.timeline_reported = false;
        // There is nobody else to serve now.
        self.drained = false;
        self.doubt = None;
        self.enter(now_us, Phase::Primary(Serving::default()));
        self.events.push(now_us, Event::TookOver { epoch, suspicion, silent_us });
    }

    /// The state here is not the primary's: leave the in-sync set, never take over.
    pub(super) fn withdraw(&mut self, now_us: u64, mismatch: Option<Mismatch>) {
        let (event, reason) = match mismatch {
            Some(mismatch) => (Event::Diverged { mismatch }, SpareReason::Diverged),
            None => (Event::LogRefused, SpareReason::RefusedLog),
        };
        self.events.push(now_us, event);
        self.become_spare(now_us, reason);
    }
}
