//! A switchover: the primary gives the service to its peer and loses nothing. And a drain, by which
//! a node leaves the in-sync set for as long as somebody works on it.
//!
//! | at the primary | at its backup |
//! |---|---|
//! | | has applied what it has received |
//! | makes no more steps; all is confirmed, all has left | |
//! | one change of the register: the peer is primary, both are in sync; follows | |
//! | | sees that, serves, and logs to the other one |
//! | passes on what clients still send to it | |
//!
//! The register changes between two moments at which both hold the same state and nobody serves. So
//! either node may die at any of them: the other one takes over, as from any primary.
//!
//! A peer that cannot follow the log, since it has another version of it, is given the state as
//! snapshots while nobody serves, and is the primary then. Until it is, the state is on one node
//! alone, as it was before.

use replication::{Report, Transfer};

use crate::events::{Difference, Event, SpareReason};
use crate::identity::NodeId;
use crate::message::{Condition, Heartbeat};
use crate::order::{Accepted, Order, OrderRefused};
use crate::register::Register;
use crate::status::{Handing, SwitchoverStatus};
use crate::timeline::Timeline;

use super::change::Intent;
use super::{Member, Partner, Phase, Serving};

/// How long a backup may be behind with the log: what is left of it adds to the pause.
const CATCH_UP_US: u64 = 1_000_000;
/// What clients bear without a thought; a backup that takes longer to confirm is not well.
const LOG_PATIENCE_US: u64 = 100_000;
/// What clients bear at all.
const SNAPSHOT_PATIENCE_US: u64 = 10_000_000;
/// For so long a network may not know yet where the service has gone.
const PASS_ON_US: u64 = 1_000_000;

/// A switchover under way, at the primary.
#[derive(Debug, Clone, Copy)]
pub(super) struct Yielding {
    pub partner: Partner,
    pub by: Handing,
    /// The workers make no more steps.
    pub quiesces: bool,
}

/// What a member knows of its switchovers.
#[derive(Debug, Default)]
pub(super) struct Switchovers {
    /// Begun so far: the number of the order that the workers get.
    pub attempts: u32,
    pub last: Option<SwitchoverStatus>,
    /// When this node handed the service over last.
    handed_over_us: Option<u64>,
}

impl<R: Register> Member<R> {
    /// An operator wants a change of roles. It begins here; [`Self::status`] tells what comes of
    /// it.
    ///
    /// # Errors
    /// Why it cannot be, or not now; nothing changed.
    pub fn order(&mut self, now_us: u64, order: &Order) -> Result<Accepted, OrderRefused> {
        let accepted = match order {
            Order::Switchover { to } => {
                let known = to.is_none_or(|to| to == self.me.name || to == self.peer.name);
                if let Some(node) = to.filter(|_| !known) {
                    return Err(OrderRefused::UnknownNode { node });
                }
                if to.is_some() && *to == self.register.view().primary_name() {
                    return Ok(Accepted::NothingToDo);
                }
                self.switch_over(now_us)?
            }
            Order::Drain => self.drain(now_us)?,
            Order::Undrain => self.undrain(now_us),
        };
        self.unsettled = true;
        Ok(accepted)
    }

    fn switch_over(&mut self, now_us: u64) -> Result<Accepted, OrderRefused> {
        let serving = match self.phase {
            Phase::Primary(serving) => serving,
            Phase::Starting { .. } | Phase::Forming(_) => return Err(OrderRefused::Busy),
            Phase::Backup { .. } | Phase::Joining(_) | Phase::Spare(_) => {
                let primary = self.register.view().primary_name();
                return Err(OrderRefused::NotPrimary { primary });
            }
        };
        if self.doubt.is_some() || !self.is_well_heard(now_us) {
            return Err(OrderRefused::PeerNotHeard { peer: self.peer.name });
        }
        let (partner, by) = match serving {
            _ if self.asked.is_some() => return Err(OrderRefused::Busy),
            Serving::With(partner) => (partner, Handing::Log),
            Serving::Alone => (self.taker_of_snapshots()?, Handing::Snapshot),
            Serving::Removing { .. } | Serving::Admitting { .. } | Serving::Yielding(_) => {
                return Err(OrderRefused::Busy);
            }
        };
        self.switchovers.attempts += 1;
        let (attempt, to) = (self.switchovers.attempts, partner.id.name);
        self.switchovers.last = Some(SwitchoverStatus::begun(attempt, to, by, now_us));
        self.events.push(now_us, Event::SwitchoverBegan { to, by });
        let intent = Intent::Yield(partner, by);
        match by {
            Handing::Log if !self.register.is_binding() => {
                self.begin_to_yield(now_us, partner, by);
            }
            // From when this node rests nobody serves before a register with a majority has
            // answered: so it has to show first that it does.
            Handing::Log => self.ask(now_us, &[partner.id], intent),
            // The peer takes the state in an epoch of its own, as any node that joins.
            Handing::Snapshot => self.ask(now_us, &[], intent),
        }
        Ok(Accepted::Began { attempt })
    }

    pub(super) fn begin_to_yield(&mut self, now_us: u64, partner: Partner, by: Handing) {
        let yielding = Yielding { partner, by, quiesces: by == Handing::Snapshot };
        self.enter(now_us, Phase::Primary(Serving::Yielding(yielding)));
    }

    /// A peer that cannot follow the log and can take snapshots.
    fn taker_of_snapshots(&self) -> Result<Partner, OrderRefused> {
        let (peer, id) = (self.peer.heartbeat(), self.peer.id());
        let (Some(peer), Some(id)) = (peer, id) else {
            return Err(OrderRefused::PeerNotHeard { peer: self.peer.name });
        };
        let name = self.peer.name;
        let idle = matches!(peer.condition, Condition::Spare | Condition::Withdrawn);
        let differences = self.differences(peer);
        if peer.drained {
            return Err(OrderRefused::PeerDrained { peer: name });
        }
        if !idle || differences.is_empty() {
            return Err(OrderRefused::PeerNotInSync { peer: name });
        }
        if !self.can_take_snapshots(peer) {
            let differences = differences.iter().map(ToString::to_string).collect();
            return Err(OrderRefused::PeerUnfit { peer: name, differences });
        }
        Ok(Partner { id, workers: peer.workers, log: self.register.view().epoch.next() })
    }

    /// The peer differs in nothing but the version of its log, and reads our snapshots.
    pub(super) fn can_take_snapshots(&self, peer: &Heartbeat) -> bool {
        let log = |what: &Difference| matches!(what, Difference::LogVersion { .. });
        peer.snapshot_version == self.identity.snapshot_version
            && self.differences(peer).iter().all(log)
    }

    /// The primary, while it gives the service away.
    pub(super) fn yield_service(&mut self, now_us: u64, yielding: Yielding, report: &Report) {
        let Yielding { partner, by, .. } = yielding;
        if !yielding.quiesces && self.peer.heartbeat().is_some_and(|peer| peer.restored) {
            self.quiesce(now_us, yielding);
            return;
        }
        if let Some(last) = self.switchovers.last.as_mut().filter(|_| report.quiet) {
            last.quiet_us.get_or_insert(now_us);
        }
        if self.is_set_back(now_us, yielding, report) {
            return;
        }
        let there = match by {
            Handing::Log => true,
            Handing::Snapshot => {
                let restored = self
                    .peer
                    .heartbeat()
                    .is_some_and(|peer| peer.condition == Condition::Joining && peer.restored);
                restored && report.transfer == Transfer::Complete
            }
        };
        if !report.quiet || !yielding.quiesces || !there {
            return;
        }
        let view = self.register.view();
        let follows = by == Handing::Log && self.can_follow(partner);
        let others = [self.me];
        let next = view.next(partner.id, if follows { &others } else { &[] });
        self.ask_for(now_us, next, Intent::HandOver(partner));
    }

    fn quiesce(&mut self, now_us: u64, yielding: Yielding) {
        let yielding = Yielding { quiesces: true, ..yielding };
        self.enter(now_us, Phase::Primary(Serving::Yielding(yielding)));
        if let Some(last) = &mut self.switchovers.last {
            last.began_us = now_us;
        }
    }

    /// The partner's workers log what they hold, and what one of them holds must be with one worker
    /// here. If this node has more of them than the partner, it is not: it joins anew.
    fn can_follow(&self, partner: Partner) -> bool {
        self.identity.workers <= partner.workers
    }

    /// Whether there will be no switchover after all; then this node serves on.
    fn is_set_back(&mut self, now_us: u64, yielding: Yielding, report: &Report) -> bool {
        let Yielding { partner, by, quiesces } = yielding;
        let took_us = now_us.saturating_sub(self.phase_since_us);
        match by {
            Handing::Log => {
                if let Some(removal) = self.removal(now_us, partner, report) {
                    self.note_failure(now_us, partner.id, "the backup was removed from the pair");
                    self.enter(now_us, Phase::Primary(Serving::With(partner)));
                    self.ask(now_us, &[], Intent::Remove { partner, removal });
                    return true;
                }
                let (patience_us, why) = match quiesces {
                    false => (CATCH_UP_US, "the backup is behind with the log"),
                    true => (LOG_PATIENCE_US, "the backup did not confirm in time"),
                };
                if took_us <= patience_us {
                    return false;
                }
                self.note_failure(now_us, partner.id, why);
                self.enter(now_us, Phase::Primary(Serving::With(partner)));
            }
            Handing::Snapshot => {
                let why = self.abandonment(now_us, partner, report);
                if why.is_none() && took_us <= SNAPSHOT_PATIENCE_US {
                    return false;
                }
                let slow = "it took too long to take the state in";
                self.note_failure(now_us, partner.id, why.map_or(slow, |why| why.in_words()));
                self.enter(now_us, Phase::Primary(Serving::Alone));
            }
        }
        true
    }

    pub(super) fn note_failure(&mut self, now_us: u64, to: NodeId, why: &'static str) {
        if let Some(last) = &mut self.switchovers.last {
            last.failed = Some(why.to_owned());
        }
        self.drained = false;
        self.events.push(now_us, Event::SwitchoverFailed { to: to.name, why });
    }

    /// The register says that the peer is the primary: follow it, or start anew.
    pub(super) fn note_handed_over(&mut self, now_us: u64, to: NodeId) {
        let view = self.register.view();
        let (epoch, follows) = (view.epoch, view.has(self.me));
        self.doubt = None;
        self.switchovers.handed_over_us = Some(now_us);
        if let Some(last) = &mut self.switchovers.last {
            last.epoch = Some(epoch.0);
            last.handed_over_us = Some(now_us);
        }
        self.events.push(now_us, Event::HandedOver { epoch, to: to.name });
        if follows {
            self.enter(now_us, Phase::Backup { log: epoch });
        } else {
            self.become_spare(now_us, SpareReason::HandedOver);
        }
    }

    /// The register says that this node, which holds the state, is the primary.
    pub(super) fn receive_service(&mut self, now_us: u64) {
        let view = self.register.view();
        let epoch = view.epoch;
        let workers = self.peer.heartbeat().map_or(0, |peer| peer.workers);
        // Also one that has ended: it may have taken over before, in a view that this node has not
        // heard of, so it takes a change of the register to serve without it.
        let partner = view.in_sync.iter().copied().find(|id| *id != self.me);
        let serving =
            partner.map_or(Serving::Alone, |id| Serving::With(Partner { id, workers, log: epoch }));
        self.timeline = Some(Timeline {
            epoch: epoch.0,
            planned: true,
            last_heartbeat_us: self.peer.last_heard_us().unwrap_or(now_us),
            suspected_us: now_us,
            epoch_won_us: now_us,
            ..Timeline::default()
        });
        self.timeline_reported = false;
        self.enter(now_us, Phase::Primary(serving));
        self.events.push(now_us, Event::SwitchedOver { epoch, from: self.peer.name });
    }

    /// What is still sent to this node goes on to the one that serves now.
    pub(super) fn passes_on(&self, now_us: u64) -> bool {
        let lately = |at_us| now_us.saturating_sub(at_us) <= PASS_ON_US;
        let serves = self.peer.heartbeat().is_some_and(|peer| {
            peer.condition == Condition::Primary && peer.view.epoch >= self.register.view().epoch
        });
        let follows = matches!(self.phase, Phase::Backup { .. } | Phase::Spare(_));
        follows && serves && self.switchovers.handed_over_us.is_some_and(lately)
    }

    /// Notes when the peer said that it serves what it was given.
    pub(super) fn note_peer_serves(&mut self, now_us: u64) {
        let serves = self.passes_on(now_us);
        if let Some(last) = self.switchovers.last.as_mut().filter(|_| serves) {
            last.peer_serves_us.get_or_insert(now_us);
        }
    }

    fn drain(&mut self, now_us: u64) -> Result<Accepted, OrderRefused> {
        if self.drained {
            return Ok(Accepted::NothingToDo);
        }
        let accepted = match self.phase {
            Phase::Starting { .. } | Phase::Forming(_) => return Err(OrderRefused::Busy),
            Phase::Primary(_) => self.switch_over(now_us)?,
            Phase::Backup { .. } | Phase::Joining(_) | Phase::Spare(_) => Accepted::Done,
        };
        self.drained = true;
        self.events.push(now_us, Event::Drained);
        Ok(accepted)
    }

    fn undrain(&mut self, now_us: u64) -> Accepted {
        if !std::mem::take(&mut self.drained) {
            return Accepted::NothingToDo;
        }
        self.events.push(now_us, Event::Undrained);
        if matches!(self.phase, Phase::Spare(SpareReason::Drained)) {
            self.become_spare(now_us, SpareReason::PeerServes);
        }
        Accepted::Done
    }

    /// A drained node leaves as soon as somebody else serves.
    pub(super) fn consider_leaving(&mut self, now_us: u64) {
        let follows = matches!(self.phase, Phase::Backup { .. } | Phase::Joining(_));
        let epoch = self.register.view().epoch;
        let served = self
            .peer
            .heartbeat()
            .is_some_and(|peer| peer.condition == Condition::Primary && peer.view.epoch >= epoch);
        let free = self.asked.is_none();
        if self.drained && free && follows && served && !self.peer.is_silent(now_us) {
            self.become_spare(now_us, SpareReason::Drained);
        }
    }
}
