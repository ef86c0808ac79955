//! A node comes back while another one serves: the primary gives it the state, and then counts it
//! as in sync.
//!
//! Each attempt has an epoch of its own, so that its log can be told from every other one. The log
//! of the attempt goes on when the joining node is in sync: it is that backup's from then on.
//!
//! | at the primary | at the joining node |
//! |---|---|
//! | sees a spare with equal manifests, begins an epoch and admits it | sees that, and is `Joining` |
//! | shards are handed over, nothing waits for that | restores them, and follows their log |
//! | all is handed over and the peer has restored it: the gate waits for it, too | |
//! | the peer has the log of all that left before: the peer is in sync | sees the view: `Backup` |

use replication::{Epoch, PeerIndex, Report, Transfer};

use crate::events::{Abandonment, Event, SpareReason};
use crate::message::{Condition, Heartbeat};
use crate::register::Register;

use super::change::Intent;
use super::{Act, Member, Partner, Partners, Phase, Serving};

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
    /// The primary, with nothing else to do: admits a peer that can follow.
    pub(super) fn consider_admission(&mut self, now_us: u64, serving: Serving) {
        let candidate = self.places().find_map(|at| self.candidate(now_us, at, serving.backups));
        if let Some(partner) = candidate {
            self.ask(now_us, &serving.backups.ids(), Intent::Admit(partner));
        }
    }

    fn candidate(&self, now_us: u64, at: PeerIndex, backups: Partners) -> Option<Partner> {
        let said = self.peer(at).heartbeat().filter(|_| self.is_well_heard(at, now_us))?;
        let idle = matches!(said.condition, Condition::Spare | Condition::Withdrawn);
        let fit = idle
            && !said.drained
            && backups.at(at).is_none()
            && now_us >= self.retries[at.place()].not_before_us
            && self.differences(said).is_empty();
        let partner = self.partner_at(at, self.register.view().epoch.next(), now_us)?;
        fit.then_some(Partner { was_given: true, ..partner })
    }

    /// The present run of that peer, for the log that begins in epoch `log`.
    pub(super) fn partner_at(&self, at: PeerIndex, log: Epoch, since_us: u64) -> Option<Partner> {
        let (id, workers) = (self.peer(at).id()?, self.peer(at).heartbeat()?.workers);
        Some(Partner { id, at, workers, log, was_given: false, since_us })
    }

    /// The primary, while it gives its state to `partner`.
    pub(super) fn admit_partner(
        &mut self,
        now_us: u64,
        serving: Serving,
        partner: Partner,
        closed: bool,
        report: &Report,
    ) {
        if let Some(why) = self.abandonment(now_us, partner, report) {
            self.abandon_admission(now_us, partner, why);
            return;
        }
        let restored = self.has_restored(partner);
        match report.transfer {
            Transfer::Complete if restored && !closed => {
                self.set_about(now_us, Act::Admitting { partner, closed: true });
            }
            Transfer::Settled if restored && closed => {
                let others = serving.backups.with(partner).ids();
                self.ask(now_us, &others, Intent::CountIn(partner));
            }
            _ => {}
        }
    }

    pub(super) fn abandon_admission(&mut self, now_us: u64, partner: Partner, why: Abandonment) {
        self.retries[partner.at.place()].failed(now_us);
        self.set_about(now_us, Act::Nothing);
        self.events.push(now_us, Event::AdmissionAbandoned { peer: partner.id.name, why });
    }

    /// The joining partner says that it holds all of the state.
    pub(super) fn has_restored(&self, partner: Partner) -> bool {
        self.peer(partner.at)
            .heartbeat()
            .is_some_and(|said| said.condition == Condition::Joining && said.restored)
    }

    pub(super) fn has_counted_in(&mut self, now_us: u64, partner: Partner) {
        let Phase::Primary(serving) = self.phase else { return };
        let backups = serving.backups.with(Partner { since_us: now_us, ..partner });
        self.enter(now_us, Phase::Primary(Serving { backups, act: Act::Nothing }));
        let epoch = self.register.view().epoch;
        self.events.push(now_us, Event::PairFormed { epoch, backup: partner.id.name });
    }

    pub(super) fn abandonment(
        &self,
        now_us: u64,
        partner: Partner,
        report: &Report,
    ) -> Option<Abandonment> {
        let peer = self.peer(partner.at);
        if peer.has_ended(partner.id) {
            return Some(Abandonment::RunEnded);
        }
        if peer.is_silent(now_us) || !self.is_well_heard(partner.at, now_us) {
            return Some(Abandonment::Silent);
        }
        if report.transfer == Transfer::Failed {
            return Some(Abandonment::NoRoom);
        }
        let said = peer.heartbeat()?;
        let waits_us = now_us.saturating_sub(partner.since_us);
        match said.condition {
            _ if said.drained => Some(Abandonment::Left),
            Condition::Joining => None,
            Condition::Spare | Condition::Withdrawn if waits_us <= PATIENCE_US => None,
            _ => Some(Abandonment::Left),
        }
    }

    /// A spare: begins to join when the primary admits this run of it.
    pub(super) fn consider_joining(&mut self, now_us: u64) {
        if self.drained {
            return;
        }
        let primary = self.places().find_map(|at| {
            let said = self.peer(at).heartbeat().filter(|said| admits_me(said))?;
            let by_log = self.differences(said).is_empty();
            let able = by_log || said.yields && self.can_take_snapshots(said);
            self.partner_at(at, said.log?, now_us).filter(|_| able)
        });
        // One attempt, one log: an epoch that this node has already tried is over.
        let Some(primary) = primary.filter(|primary| self.tried < primary.log) else { return };
        self.tried = primary.log;
        self.enter(now_us, Phase::Joining(primary));
        let (epoch, primary) = (primary.log, primary.id.name);
        self.events.push(now_us, Event::Joining { epoch, primary });
    }

    /// The primary waits to hear of it while this node joins. A backup is behind now and then.
    pub(super) fn note_restored(&mut self, now_us: u64, report: &Report) {
        let joining = matches!(self.phase, Phase::Joining(_));
        let restored = match self.phase {
            Phase::Joining(_) => report.transfer == Transfer::Complete,
            Phase::Backup(_) => report.log_applied,
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
            self.has_been_counted_in(now_us, primary);
            return;
        }
        let peer = self.peer(primary.at);
        let admitted =
            peer.heartbeat().is_some_and(|said| admits_me(said) && said.log == Some(primary.log));
        let unheard = peer.has_ended(primary.id) || peer.is_silent(now_us);
        let over = match unheard {
            // It may be in sync without knowing it yet, and others may need what it holds.
            true if self.config.by_majority && self.restored => view.primary != Some(primary.id),
            true => true,
            false => !admitted,
        };
        if report.transfer == Transfer::Failed {
            self.become_spare(now_us, SpareReason::RefusedLog);
        } else if over {
            self.become_spare(now_us, SpareReason::NotAdmitted);
        }
    }

    /// The register has this node, which joins `primary`, in the in-sync set.
    pub(super) fn has_been_counted_in(&mut self, now_us: u64, primary: Partner) {
        self.enter(now_us, Phase::Backup(Partner { since_us: now_us, ..primary }));
        let (epoch, primary) = (self.register.view().epoch, primary.id.name);
        self.events.push(now_us, Event::BecameBackup { epoch, primary });
    }
}

/// What a primary says to a run of ours is said to that run alone.
fn admits_me(said: &Heartbeat) -> bool {
    said.condition == Condition::Primary && said.admits
}
