//! A node comes back while the other one serves: the primary gives it the state, and then counts it
//! as in sync.
//!
//! Each attempt has an epoch of its own, so that its log can be told from every other one. The log
//! of the attempt goes on when the joining node is in sync: it is the pair's from then on.
//!
//! | at the primary | at the joining node |
//! |---|---|
//! | sees a spare with equal manifests, begins an epoch and admits it | sees that, and is `Joining` |
//! | shards are handed over, the gate stays open | restores them, and follows their log |
//! | all is handed over and the peer has restored it: closes the gate | |
//! | the peer has the log of all that left before: the peer is in sync | sees the view: `Backup` |

use replication::{Path, Report, Transfer};

use crate::events::{Abandonment, Event, SpareReason};
use crate::message::{Condition, Heartbeat};
use crate::register::Register;

use super::change::Intent;
use super::{Member, Partner, Phase, Serving};

/// First pause after an attempt that failed; each further one doubles it, up to the second value.
const PAUSE_US: u64 = 1_000_000;
const LONGEST_PAUSE_US: u64 = 60_000_000;
/// A peer that was in sync for less than that has failed again.
const STEADY_US: u64 = 10_000_000;
/// How long the peer may take to hear that it is admitted.
const PATIENCE_US: u64 = 2_000_000;

/// When the next attempt may begin.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Retry {
    not_before_us: u64,
    failures: u32,
}

impl Retry {
    /// The peer is in sync no more. One that leaves again and again must not cost the primary a
    /// handover each time.
    pub(super) fn parted(&mut self, now_us: u64, in_sync_us: u64) {
        if in_sync_us < STEADY_US {
            self.failed(now_us);
        } else {
            *self = Retry::default();
        }
    }

    fn failed(&mut self, now_us: u64) {
        let pause_us = PAUSE_US << self.failures.min(16);
        self.not_before_us = now_us + pause_us.min(LONGEST_PAUSE_US);
        self.failures += 1;
    }
}

impl<R: Register> Member<R> {
    /// The primary, alone: admits a peer that can follow.
    pub(super) fn consider_admission(&mut self, now_us: u64) {
        let Some(peer) = self.peer.heartbeat().filter(|_| self.is_well_heard(now_us)) else {
            return;
        };
        let idle = matches!(peer.condition, Condition::Spare | Condition::Withdrawn);
        if !idle
            || peer.drained
            || now_us < self.retry.not_before_us
            || !self.differences(peer).is_empty()
        {
            return;
        }
        let (Some(id), workers) = (self.peer.id(), peer.workers) else { return };
        self.ask(now_us, &[], Intent::Admit { peer: id, workers });
    }

    pub(super) fn is_well_heard(&self, now_us: u64) -> bool {
        self.peer.heartbeat().is_some_and(|peer| peer.hears_link && peer.hears_lan)
            && self.peer.hears(Path::Link, now_us)
            && self.peer.hears(Path::Lan, now_us)
    }

    /// The primary, while it gives its state to `partner`.
    pub(super) fn admit_partner(
        &mut self,
        now_us: u64,
        partner: Partner,
        closed: bool,
        report: &Report,
    ) {
        if let Some(why) = self.abandonment(now_us, partner, report) {
            self.retry.failed(now_us);
            self.enter(now_us, Phase::Primary(Serving::Alone));
            self.events.push(now_us, Event::AdmissionAbandoned { peer: partner.id.name, why });
            return;
        }
        let restored = self
            .peer
            .heartbeat()
            .is_some_and(|peer| peer.condition == Condition::Joining && peer.restored);
        match report.transfer {
            Transfer::Complete if restored && !closed => {
                self.enter(now_us, Phase::Primary(Serving::Admitting { partner, closed: true }));
            }
            Transfer::Settled if restored && closed => {
                self.ask(now_us, &[partner.id], Intent::CountIn(partner));
            }
            _ => {}
        }
    }

    pub(super) fn has_counted_in(&mut self, now_us: u64, partner: Partner) {
        self.enter(now_us, Phase::Primary(Serving::With(partner)));
        let epoch = self.register.view().epoch;
        self.events.push(now_us, Event::PairFormed { epoch, backup: partner.id.name });
    }

    pub(super) fn abandonment(
        &self,
        now_us: u64,
        partner: Partner,
        report: &Report,
    ) -> Option<Abandonment> {
        if self.peer.has_ended(partner.id) {
            return Some(Abandonment::RunEnded);
        }
        if self.peer.is_silent(now_us) || !self.is_well_heard(now_us) {
            return Some(Abandonment::Silent);
        }
        if report.transfer == Transfer::Failed {
            return Some(Abandonment::NoRoom);
        }
        let condition = self.peer.heartbeat()?.condition;
        let waits_us = now_us.saturating_sub(self.phase_since_us);
        match condition {
            _ if self.peer.heartbeat()?.drained => Some(Abandonment::Left),
            Condition::Joining => None,
            Condition::Spare | Condition::Withdrawn if waits_us <= PATIENCE_US => None,
            _ => Some(Abandonment::Left),
        }
    }

    /// A spare: begins to join when the primary admits this run of it.
    pub(super) fn consider_joining(&mut self, now_us: u64) {
        let Some(peer) = self.peer.heartbeat() else { return };
        let by_log = self.differences(peer).is_empty();
        let able = by_log || peer.yields && self.can_take_snapshots(peer);
        if !self.admits_me(peer) || !able || self.drained {
            return;
        }
        let Some(id) = self.peer.id() else { return };
        let primary = Partner { id, workers: peer.workers, log: peer.view.epoch };
        // One attempt, one log: an epoch that this node has already tried is over.
        if self.tried >= primary.log {
            return;
        }
        self.tried = primary.log;
        self.enter(now_us, Phase::Joining(primary));
        self.events.push(now_us, Event::Joining { epoch: primary.log, primary: id.name });
    }

    fn admits_me(&self, peer: &Heartbeat) -> bool {
        peer.condition == Condition::Primary && peer.admits == Some(self.me.incarnation)
    }

    /// The primary waits to hear of it while this node joins. A backup is behind now and then.
    pub(super) fn note_restored(&mut self, now_us: u64, report: &Report) {
        let joining = matches!(self.phase, Phase::Joining(_));
        let restored = match self.phase {
            Phase::Joining(_) => report.transfer == Transfer::Complete,
            Phase::Backup { .. } => report.log_applied,
            _ => false,
        };
        if restored != self.restored {
            self.restored = restored;
            if joining {
                self.hasten(now_us);
            }
        }
    }

    /// A joining node: in sync when the register says so, spare again when the attempt is over.
    pub(super) fn join_primary(&mut self, now_us: u64, primary: Partner, report: &Report) {
        let view = self.register.view();
        if view.has(self.me) && view.primary == Some(primary.id) {
            let epoch = view.epoch;
            self.enter(now_us, Phase::Backup { log: primary.log });
            let primary = primary.id.name;
            self.events.push(now_us, Event::BecameBackup { epoch, primary });
            return;
        }
        let admitted = self.peer.heartbeat().is_some_and(|peer| self.admits_me(peer));
        let over = self.peer.has_ended(primary.id) || self.peer.is_silent(now_us) || !admitted;
        if report.transfer == Transfer::Failed {
            self.become_spare(now_us, SpareReason::RefusedLog);
        } else if over {
            self.become_spare(now_us, SpareReason::NotAdmitted);
        }
    }
}
