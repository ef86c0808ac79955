//! The service LAN fails at one node alone, while its link lives: a cable, a port, one direction of
//! either. If that node is the primary, clients wait for as long as it serves.
//!
//! That nothing of a peer is heard on the LAN does not say at whose end the fault is. So while the
//! LAN is silent between a primary and a backup, in one direction or both, each of the two has its
//! workers ask neighbours there (gateways, other nodes, clients heard lately) for an answer, which
//! proves both directions of its own end. Heartbeats on the link tell the other one what came of
//! it. A primary that gets no answer, while a backup does, gives the service away as an operator
//! would. If neither gets one the switch between them is gone, say, and nothing would be better
//! elsewhere.

use replication::{PeerIndex, Report, Solicited};

use crate::events::Event;
use crate::message::Condition;
use crate::register::Register;
use crate::status::{Handing, LanState};

use super::{Member, Partner, Phase, Serving};

/// Detection timeouts without an answer after which a LAN counts as lost. One that works is not
/// said to do so any more after the first of them.
const LOST_TIMEOUTS: u64 = 2;
/// The pause after an attempt to give the service away; each further one doubles it, up to the
/// second value.
const PAUSE_US: u64 = 1_000_000;
const LONGEST_PAUSE_US: u64 = 60_000_000;
/// How long a node that was given the service keeps it, whatever becomes of its LAN.
const REST_US: u64 = 10_000_000;

/// What a node knows of the service LAN at its own end.
#[derive(Debug, Default)]
pub(super) struct Lan {
    pub state: LanState,
    /// When the service may be given away for the LAN's sake.
    not_before_us: u64,
    attempts: u32,
}

impl Lan {
    /// The service has just come here.
    pub fn rest(&mut self, now_us: u64) {
        self.not_before_us = now_us + REST_US;
    }

    fn attempt(&mut self, now_us: u64) {
        let pause_us = PAUSE_US << self.attempts.min(16);
        self.not_before_us = now_us + pause_us.min(LONGEST_PAUSE_US);
        self.attempts += 1;
    }
}

impl<R: Register> Member<R> {
    /// Whether neighbours on the LAN are to be asked.
    pub(super) fn doubts_lan(&self, now_us: u64) -> bool {
        let silent = |at: PeerIndex| self.heard_both_ways(at, now_us) == (true, false);
        self.config.lan_watch
            && match self.phase {
                Phase::Primary(serving) => serving.backups.iter().any(|backup| silent(backup.at)),
                Phase::Backup(primary) => silent(primary.at),
                _ => false,
            }
    }

    /// Takes note of what the neighbours say. A LAN that was lost is so until it is known not to be.
    pub(super) fn note_lan(&mut self, now_us: u64, report: &Report) {
        let told = report.lan.map_or(LanState::Untested, |lan| self.judge(now_us, lan));
        let heard = || self.places().any(|at| self.heard_both_ways(at, now_us).1);
        let lost = self.lan.state == LanState::Silent;
        self.lan.state = match told {
            LanState::Untested if lost && !heard() => LanState::Silent,
            _ => told,
        };
        let event = match (lost, self.lan.state == LanState::Silent) {
            (false, true) => {
                Event::LanLost { neighbours: report.lan.map_or(0, |lan| lan.neighbours) }
            }
            (true, false) => {
                self.lan.attempts = 0;
                Event::LanRegained
            }
            _ => return,
        };
        self.events.push(now_us, event);
    }

    fn judge(&self, now_us: u64, lan: Solicited) -> LanState {
        let since_us = lan.unanswered_since_us.map(|since_us| since_us.max(self.stall_end_us));
        let for_us = since_us.map_or(0, |since_us| now_us.saturating_sub(since_us));
        let timeout_us = self.config.detection_timeout_us;
        if for_us > LOST_TIMEOUTS * timeout_us {
            LanState::Silent
        } else if lan.answered && for_us <= timeout_us {
            LanState::Answers
        } else {
            LanState::Untested
        }
    }

    /// What that peer said last of the LAN at its end.
    pub(super) fn lan_at(&self, at: PeerIndex) -> LanState {
        self.peer(at).heartbeat().map_or(LanState::Untested, |said| said.lan)
    }

    /// A primary whose LAN is lost gives the service to a backup whose LAN works, if there is one;
    /// says whether it does.
    pub(super) fn leave_lan(&mut self, now_us: u64, serving: Serving) -> bool {
        let lost = self.lan.state == LanState::Silent && self.last_report.lan.is_some();
        if !lost || self.doubt.is_some() || now_us < self.lan.not_before_us {
            return false;
        }
        let works = |backup: &Partner| {
            let said = self.peer(backup.at).heartbeat();
            let able = said.is_some_and(|said| said.condition == Condition::Backup && !said.silent);
            let hears_link = self.heard_both_ways(backup.at, now_us).0;
            able && hears_link && self.lan_at(backup.at) == LanState::Answers
        };
        let Some(partner) = serving.backups.iter().find(works) else { return false };
        self.lan.attempt(now_us);
        self.events.push(now_us, Event::LeavesLan { to: partner.id.name });
        self.give_away(now_us, serving, partner, Handing::Log);
        true
    }

    /// A backup whose LAN is lost lets another one be first to take over, where the register decides
    /// among several.
    pub(super) fn stands_back(&self, now_us: u64, primary: Partner) -> bool {
        let peer = self.peer(primary.at);
        let silent_us = now_us.saturating_sub(peer.last_heard_us().unwrap_or(0));
        let rivals = self.places().filter(|at| *at != primary.at);
        let better = |at: PeerIndex| {
            let said = self.peer(at).heartbeat();
            let able = said.is_some_and(|said| said.condition == Condition::Backup);
            let in_sync = self.peer(at).id().is_some_and(|id| self.register.view().has(id));
            able && in_sync
                && self.peer(at).hears_link(now_us)
                && self.lan_at(at) != LanState::Silent
        };
        self.register.is_binding()
            && self.lan.state == LanState::Silent
            && silent_us <= LOST_TIMEOUTS * self.config.detection_ceiling_us
            && rivals.into_iter().any(better)
    }
}
