//! A switchover: the primary gives the service to a peer and loses nothing. And a drain, by which
//! a node leaves the in-sync set for as long as somebody works on it.
//!
//! | at the primary | at that backup |
//! |---|---|
//! | leaves the other backups out, if there are any; they join the new primary | |
//! | | has applied what it has received |
//! | one change of the register: the peer is primary, both are in sync | goes on as backup |
//! | makes no more steps; all is confirmed, all has left; follows, and says so | |
//! | | hears that, serves, and logs to the other one |
//! | passes on what clients still send to it | |
//!
//! A register that others keep takes its time, so it is asked while clients are still served. From
//! its answer on the peer may serve as soon as it hears that this node rests, and not before: if
//! it falls silent instead, the peer asks the register like any backup. This node, if nothing
//! comes of it, serves on and has the register name it again. So either node may die at any moment,
//! and the other one takes over, as from any primary.
//!
//! The register of a pair answers at once. It is changed when this node rests: one that stands
//! still before it does must know an older view than the peer that takes over from it.
//!
//! A peer that cannot follow the log, since it has another version of it, is given the state as
//! snapshots while nobody serves, and is the primary then. Until it is, the state is on one node
//! alone, as it was before.

use replication::{Epoch, PeerIndex, Report, Transfer};

use crate::events::{Difference, Event, SpareReason};
use crate::identity::{NodeId, NodeName};
use crate::message::{Condition, Heartbeat};
use crate::order::{Accepted, Order, OrderRefused};
use crate::register::Register;
use crate::status::{Handing, LanState, SwitchoverStatus};
use crate::timeline::Timeline;

use super::change::Intent;
use super::{Act, Member, Partner, Phase, Serving};

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
    pub stage: Stage,
    pub since_us: u64,
    /// The epoch in which the register names the partner as primary, while this node serves or has
    /// not come to rest yet.
    pub decided: Option<Epoch>,
}

impl Yielding {
    /// The workers make no more steps.
    pub fn rests(&self) -> bool {
        self.stage == Stage::Rests
    }
}

/// How far a switchover is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Serves, until the partner has applied what it has received.
    CatchesUp,
    /// Makes no more steps, until all is confirmed and has left.
    Rests,
    /// It came to nothing: serves on, until the register names this node again.
    Returns,
}

/// What a member knows of its switchovers.
#[derive(Debug, Default)]
pub(super) struct Switchovers {
    /// Begun so far: the number of the order that the workers get.
    pub attempts: u32,
    pub last: Option<SwitchoverStatus>,
    /// When this node handed the service over last, and for which epoch.
    handed_over: Option<(u64, Epoch)>,
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
                let known = to.is_none_or(|to| to == self.me.name || self.place_of(to).is_some());
                if let Some(node) = to.filter(|_| !known) {
                    return Err(OrderRefused::UnknownNode { node });
                }
                if to.is_some() && *to == self.register.view().primary_name() {
                    return Ok(Accepted::NothingToDo);
                }
                self.switch_over(now_us, *to)?
            }
            Order::Drain => self.drain(now_us)?,
            Order::Undrain => self.undrain(now_us),
        };
        self.unsettled = true;
        Ok(accepted)
    }

    fn switch_over(&mut self, now_us: u64, to: Option<NodeName>) -> Result<Accepted, OrderRefused> {
        let serving = match self.phase {
            Phase::Primary(serving) => serving,
            Phase::Starting { .. } | Phase::Forming(_) => return Err(OrderRefused::Busy),
            Phase::Backup(_) | Phase::Joining(_) | Phase::Spare(_) => {
                let primary = self.register.view().primary_name();
                return Err(OrderRefused::NotPrimary { primary });
            }
        };
        let (partner, by) = self.heir(now_us, serving, to)?;
        if self.asked.is_some() || !matches!(serving.act, Act::Nothing) {
            return Err(OrderRefused::Busy);
        }
        Ok(Accepted::Began { attempt: self.give_away(now_us, serving, partner, by) })
    }

    /// Begins to give the service to `partner`, and numbers the attempt.
    pub(super) fn give_away(
        &mut self,
        now_us: u64,
        serving: Serving,
        partner: Partner,
        by: Handing,
    ) -> u32 {
        self.switchovers.attempts += 1;
        let (attempt, to) = (self.switchovers.attempts, partner.id.name);
        self.switchovers.last = Some(SwitchoverStatus::begun(attempt, to, by, now_us));
        self.events.push(now_us, Event::SwitchoverBegan { to, by });
        match by {
            Handing::Log => self.begin_to_yield(now_us, partner, by),
            // The peer takes the state in an epoch of its own, as any node that joins.
            Handing::Snapshot => {
                self.ask(now_us, &serving.backups.ids(), Intent::Yield(partner));
            }
        }
        attempt
    }

    /// Who is to serve next: the node that is asked for, or the first that can.
    fn heir(
        &self,
        now_us: u64,
        serving: Serving,
        to: Option<NodeName>,
    ) -> Result<(Partner, Handing), OrderRefused> {
        let wanted = |at: &PeerIndex| to.is_none_or(|to| to == self.peer(*at).name);
        let in_sync = |at: &PeerIndex| serving.backups.at(*at).is_some();
        let (backups, others): (Vec<_>, Vec<_>) = self.places().filter(wanted).partition(in_sync);
        let mut refused = None;
        for at in backups.into_iter().chain(others) {
            match self.can_serve(now_us, serving, at) {
                Ok(heir) => return Ok(heir),
                Err(why) => drop(refused.get_or_insert(why)),
            }
        }
        Err(refused.unwrap_or(OrderRefused::Busy))
    }

    /// Whether that peer can be given the service, and how.
    fn can_serve(
        &self,
        now_us: u64,
        serving: Serving,
        at: PeerIndex,
    ) -> Result<(Partner, Handing), OrderRefused> {
        let peer = self.peer(at).name;
        let backup = serving.backups.at(at);
        let (hears_link, hears_lan) = self.heard_both_ways(at, now_us);
        // Where the service LAN carries nothing between the two, it has to work there.
        let lan = hears_lan || backup.is_some() && self.lan_at(at) == LanState::Answers;
        if self.doubt.is_some() || !hears_link || !lan {
            return Err(OrderRefused::PeerNotHeard { peer });
        }
        match (backup, serving.act) {
            (Some(partner), _) => Ok((partner, Handing::Log)),
            (None, Act::Nothing) => Ok((self.taker_of_snapshots(now_us, at)?, Handing::Snapshot)),
            (None, _) => Err(OrderRefused::Busy),
        }
    }

    pub(super) fn begin_to_yield(&mut self, now_us: u64, partner: Partner, by: Handing) {
        let (partner, stage) = match by {
            Handing::Log => (partner, Stage::CatchesUp),
            Handing::Snapshot => (Partner { since_us: now_us, ..partner }, Stage::Rests),
        };
        let yielding = Yielding { partner, by, stage, since_us: now_us, decided: None };
        self.set_about(now_us, Act::Yielding(yielding));
    }

    /// A peer that cannot follow the log and can take snapshots.
    fn taker_of_snapshots(&self, now_us: u64, at: PeerIndex) -> Result<Partner, OrderRefused> {
        let name = self.peer(at).name;
        let partner = self.partner_at(at, self.register.view().epoch.next(), now_us);
        let (Some(said), Some(partner)) = (self.peer(at).heartbeat(), partner) else {
            return Err(OrderRefused::PeerNotHeard { peer: name });
        };
        let idle = matches!(said.condition, Condition::Spare | Condition::Withdrawn);
        let differences = self.differences(said);
        if said.drained {
            return Err(OrderRefused::PeerDrained { peer: name });
        }
        if !idle || differences.is_empty() {
            return Err(OrderRefused::PeerNotInSync { peer: name });
        }
        if !self.can_take_snapshots(said) {
            let differences = differences.iter().map(ToString::to_string).collect();
            return Err(OrderRefused::PeerUnfit { peer: name, differences });
        }
        Ok(Partner { was_given: true, ..partner })
    }

    /// The peer differs in nothing but the version of its log, and reads our snapshots.
    pub(super) fn can_take_snapshots(&self, peer: &Heartbeat) -> bool {
        let log = |what: &Difference| matches!(what, Difference::LogVersion { .. });
        peer.snapshot_version == self.identity.snapshot_version
            && self.differences(peer).iter().all(log)
    }

    /// The primary, while it gives the service away.
    pub(super) fn yield_service(
        &mut self,
        now_us: u64,
        serving: Serving,
        yielding: Yielding,
        report: &Report,
    ) {
        let Yielding { partner, by, stage, decided, .. } = yielding;
        if stage == Stage::Returns {
            self.ask(now_us, &serving.backups.ids(), Intent::TakeBack);
            return;
        }
        if let Some(last) = self.switchovers.last.as_mut().filter(|_| report.quiet) {
            last.quiet_us.get_or_insert(now_us);
        }
        if self.is_set_back(now_us, serving, yielding, report) {
            return;
        }
        let restored = self.peer(partner.at).heartbeat().is_some_and(|said| said.restored);
        let there = match (stage, by) {
            (Stage::CatchesUp, _) => restored,
            (_, Handing::Log) => report.quiet,
            (_, Handing::Snapshot) => {
                let complete = report.transfer == Transfer::Complete;
                report.quiet && self.has_restored(partner) && complete
            }
        };
        if !there {
            return;
        }
        match stage {
            Stage::CatchesUp if !self.register.is_binding() => self.rest(now_us, yielding),
            Stage::Rests if decided.is_some() => self.note_handed_over(now_us, partner),
            _ => self.ask_to_hand_over(now_us, partner, by),
        }
    }

    fn ask_to_hand_over(&mut self, now_us: u64, partner: Partner, by: Handing) {
        let follows = by == Handing::Log && self.can_follow(partner);
        let others = [self.me];
        let next = self.register.view().next(partner.id, if follows { &others } else { &[] });
        self.ask_for(now_us, next, Intent::HandOver(partner));
    }

    /// The register has the partner as primary: this node follows it, at once if it rests.
    pub(super) fn hand_over(&mut self, now_us: u64, partner: Partner) {
        let Phase::Primary(Serving { act: Act::Yielding(yielding), .. }) = self.phase else {
            return;
        };
        match yielding.stage {
            Stage::Rests => self.note_handed_over(now_us, partner),
            Stage::CatchesUp | Stage::Returns => {
                let decided = Some(self.register.view().epoch);
                self.rest(now_us, Yielding { decided, ..yielding });
            }
        }
    }

    fn rest(&mut self, now_us: u64, yielding: Yielding) {
        let yielding = Yielding { stage: Stage::Rests, since_us: now_us, ..yielding };
        self.set_about(now_us, Act::Yielding(yielding));
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
    fn is_set_back(
        &mut self,
        now_us: u64,
        serving: Serving,
        yielding: Yielding,
        report: &Report,
    ) -> bool {
        let Yielding { partner, by, stage, since_us, .. } = yielding;
        let took_us = now_us.saturating_sub(since_us);
        match by {
            Handing::Log => {
                if let Some(removal) = self.removal(now_us, partner, report) {
                    self.note_failure(
                        now_us,
                        partner.id,
                        "the backup was removed from the in-sync set",
                    );
                    self.set_back(now_us, yielding);
                    if !self.config.by_majority {
                        self.remove(now_us, serving, partner, removal);
                    }
                    return true;
                }
                let (patience_us, why) = match stage {
                    Stage::Rests => (LOG_PATIENCE_US, "the backup did not confirm in time"),
                    _ => (CATCH_UP_US, "the backup is behind with the log"),
                };
                if took_us <= patience_us {
                    return false;
                }
                self.note_failure(now_us, partner.id, why);
            }
            Handing::Snapshot => {
                let why = self.abandonment(now_us, partner, report);
                if why.is_none() && took_us <= SNAPSHOT_PATIENCE_US {
                    return false;
                }
                let slow = "it took too long to take the state in";
                self.note_failure(now_us, partner.id, why.map_or(slow, |why| why.in_words()));
            }
        }
        self.set_back(now_us, yielding);
        true
    }

    /// Serves on.
    fn set_back(&mut self, now_us: u64, yielding: Yielding) {
        let act = match yielding.decided {
            None => Act::Nothing,
            Some(_) => Act::Yielding(Yielding { stage: Stage::Returns, ..yielding }),
        };
        self.set_about(now_us, act);
    }

    pub(super) fn note_failure(&mut self, now_us: u64, to: NodeId, why: &'static str) {
        if let Some(last) = &mut self.switchovers.last {
            last.failed = Some(why.to_owned());
        }
        self.drained = false;
        self.events.push(now_us, Event::SwitchoverFailed { to: to.name, why });
    }

    /// This node rests, and the register says that the peer is the primary: follow it, or start anew.
    pub(super) fn note_handed_over(&mut self, now_us: u64, to: Partner) {
        let view = self.register.view();
        let (epoch, follows) = (view.epoch, view.has(self.me));
        self.doubt = None;
        self.switchovers.handed_over = Some((now_us, epoch));
        if let Some(last) = &mut self.switchovers.last {
            last.epoch = Some(epoch.0);
            last.handed_over_us = Some(now_us);
        }
        self.events.push(now_us, Event::HandedOver { epoch, to: to.id.name });
        if follows {
            let primary = Partner { log: epoch, was_given: false, since_us: now_us, ..to };
            self.enter(now_us, Phase::Backup(primary));
        } else {
            self.become_spare(now_us, SpareReason::HandedOver);
        }
    }

    /// The primary that gives the service away says, in the view that has this node in its place,
    /// that it makes no more steps.
    pub(super) fn has_rested(&self, from: Partner) -> bool {
        let peer = self.peer(from.at);
        let rests = |said: &Heartbeat| {
            let gave = matches!(said.condition, Condition::Backup | Condition::Spare);
            gave && said.view == *self.register.view()
        };
        peer.id() == Some(from.id) && peer.heartbeat().is_some_and(rests)
    }

    /// The register has this node, which joins `from` and holds all of its state, in its place. If it
    /// was given the state with the service, nobody has served since before the register was asked.
    /// Else it was counted in meanwhile, without hearing of that, and is a backup like any other.
    pub(super) fn succeed(&mut self, now_us: u64, from: Partner) {
        let yields = self.peer(from.at).heartbeat().is_some_and(|said| said.yields);
        if yields || self.has_rested(from) {
            self.receive_service(now_us, from);
        } else {
            self.has_been_counted_in(now_us, from);
        }
    }

    /// The register says that this node, which holds the state, is the primary, after `from`.
    pub(super) fn receive_service(&mut self, now_us: u64, from: Partner) {
        let view = self.register.view();
        let epoch = view.epoch;
        // Also who has ended: it may have taken over before, in a view that this node has not heard
        // of, so it takes a change of the register to serve without it.
        let others = view.in_sync.iter().filter(|id| **id != self.me);
        let backups = others.filter_map(|id| {
            let at = self.place_of(id.name)?;
            let workers = self.peer(at).heartbeat().map_or(0, |said| said.workers);
            let (was_given, since_us) = (false, now_us);
            Some(Partner { id: *id, at, workers, log: epoch, was_given, since_us })
        });
        let backups = backups.collect();
        let last_heard_us = self.peer(from.at).last_heard_us();
        self.timeline = Some(Timeline {
            epoch: epoch.0,
            planned: true,
            last_heartbeat_us: last_heard_us.unwrap_or(now_us),
            suspected_us: now_us,
            epoch_won_us: now_us,
            ..Timeline::default()
        });
        self.timeline_reported = false;
        self.lan.rest(now_us);
        self.enter(now_us, Phase::Primary(Serving { backups, act: Act::Nothing }));
        self.events.push(now_us, Event::SwitchedOver { epoch, from: from.id.name });
    }

    /// To whom that serves now what is still sent to this node goes on.
    pub(super) fn passes_on(&self, now_us: u64) -> Option<PeerIndex> {
        let (handed_over_us, epoch) = self.switchovers.handed_over?;
        let lately = now_us.saturating_sub(handed_over_us) <= PASS_ON_US;
        let follows = matches!(self.phase, Phase::Backup(_) | Phase::Joining(_) | Phase::Spare(_));
        let serves = |at: &PeerIndex| {
            self.peer(*at).heartbeat().is_some_and(|said| {
                said.condition == Condition::Primary && said.view.epoch >= epoch
            })
        };
        self.places().find(serves).filter(|_| lately && follows)
    }

    /// Notes when the peer said that it serves what it was given.
    pub(super) fn note_peer_serves(&mut self, now_us: u64) {
        let serves = self.passes_on(now_us).is_some();
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
            Phase::Primary(_) => self.switch_over(now_us, None)?,
            Phase::Backup(_) | Phase::Joining(_) | Phase::Spare(_) => Accepted::Done,
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
        let follows = matches!(self.phase, Phase::Backup(_) | Phase::Joining(_));
        let epoch = self.register.view().epoch;
        let serves =
            |said: &Heartbeat| said.condition == Condition::Primary && said.view.epoch >= epoch;
        let served = self.heard(now_us).any(|(_, said)| serves(said));
        let free = self.asked.is_none();
        if self.drained && free && follows && served && !self.stays_until_left_out() {
            self.become_spare(now_us, SpareReason::Drained);
        }
    }
}
