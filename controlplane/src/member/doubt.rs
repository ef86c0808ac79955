//! What a node does that stood still itself.
//!
//! While a node is frozen, descheduled or paused, a peer may have taken over or parted with it.
//! What lies in its receive queue may be older than that. So after a stall a node of a pair serves
//! nothing and takes over nothing until the peer has answered something that was sent after the
//! stall; the answer carries the peer's view.
//!
//! If the peer never answers, the length of the stall decides. Of a short one the receive queues
//! still hold everything: the primary's LAN queue may overflow with clients' frames and the
//! backup's link queue with log, but each node has one path that carries little else than
//! heartbeats. Had the peer changed the register, the node would have heard it within one
//! detection timeout after the stall. After a longer stall nothing is known, and the node stays
//! out: no service is better than bytes that contradict what clients were told. With a register
//! that binds all nodes nobody has to guess: the change that follows from the silence is won or
//! lost there.

use arrayvec::ArrayVec;
use replication::{MAX_PEERS, Path};

use crate::events::Event;
use crate::identity::NodeId;
use crate::register::Register;

use super::{Act, Member, Phase};

/// A stall is short up to this many detection timeouts.
const SHORT_TIMEOUTS: u64 = 4;

#[derive(Debug, Clone, Copy)]
pub(super) struct Doubt {
    /// End of the stall.
    since_us: u64,
    stalled_us: u64,
    /// What was missed can be read from the receive queues.
    can_lapse: bool,
    stranded_reported: bool,
}

impl<R: Register> Member<R> {
    pub(super) fn note_stall(&mut self, now_us: u64, gap_us: u64) {
        if gap_us <= self.config.self_doubt_us() {
            return;
        }
        self.counters.own_stalls += 1;
        self.counters.longest_stall_us = self.counters.longest_stall_us.max(gap_us);
        self.stall_end_us = now_us;
        let began_us = now_us.saturating_sub(gap_us);
        let rivals = self.rivals();
        let heard_both = rivals
            .iter()
            .filter_map(|node| self.peer_of(*node))
            .all(|peer| peer.hears_link(began_us) && peer.hears(Path::Lan, began_us));
        self.peers.iter_mut().for_each(|peer| peer.restart_windows(now_us));
        let doubtful = !rivals.is_empty();
        if doubtful {
            let earlier = self.doubt.map_or((0, true), |doubt| (doubt.stalled_us, doubt.can_lapse));
            let stalled_us = earlier.0.saturating_add(gap_us);
            let short = stalled_us <= SHORT_TIMEOUTS * self.config.detection_timeout_us;
            self.doubt = Some(Doubt {
                since_us: now_us,
                stalled_us,
                can_lapse: short && heard_both && earlier.1,
                stranded_reported: false,
            });
            self.hasten(now_us);
        }
        self.events.push(now_us, Event::OwnStall { for_us: gap_us, doubtful });
    }

    pub(super) fn settle_doubt(&mut self, now_us: u64) {
        let Some(doubt) = self.doubt else { return };
        let rivals = self.rivals();
        if rivals.is_empty() {
            self.doubt = None;
            return;
        }
        let after_us = now_us.saturating_sub(doubt.since_us);
        let answered = |node: &NodeId| {
            let peer = self.peer_of(*node).filter(|peer| !peer.has_ended(*node));
            peer.is_some_and(|peer| peer.echo_sent_us() >= doubt.since_us)
        };
        let is_lost = |node: &NodeId| {
            self.peer_of(*node).is_none_or(|peer| peer.has_ended(*node) || peer.is_silent(now_us))
        };
        let settled = rivals.iter().all(|node| answered(node) || is_lost(node));
        if settled && rivals.iter().any(answered) {
            self.doubt = None;
            self.hasten(now_us);
            self.events.push(now_us, Event::DoubtSettled { after_us });
            return;
        }
        // A register that binds all knows what happened meanwhile: who asks it for a change after
        // the silence learns of it, so no guess is needed.
        if self.register.is_binding() {
            return;
        }
        if !rivals.iter().all(is_lost) || after_us <= self.config.detection_timeout_us {
            return;
        }
        let stalled_us = doubt.stalled_us;
        if doubt.can_lapse {
            self.doubt = None;
            self.events.push(now_us, Event::DoubtLapsed { stalled_us });
        } else if !doubt.stranded_reported {
            self.doubt = Some(Doubt { stranded_reported: true, ..doubt });
            self.events.push(now_us, Event::Stranded { stalled_us });
        }
    }

    /// Who could have changed the register during a stall of this node.
    fn rivals(&self) -> ArrayVec<NodeId, MAX_PEERS> {
        match self.phase {
            Phase::Forming(partners) => partners.ids(),
            Phase::Primary(serving) => {
                let removed = match serving.act {
                    Act::Removing { partner, .. } => Some(partner),
                    _ => None,
                };
                serving.backups.iter().chain(removed).map(|partner| partner.id).collect()
            }
            Phase::Backup(_) => {
                let others = self.register.view().in_sync.iter().filter(|node| **node != self.me);
                others.copied().take(MAX_PEERS).collect()
            }
            Phase::Starting { .. } | Phase::Joining(_) | Phase::Spare(_) => ArrayVec::new(),
        }
    }
}
