//! What a node does that stood still itself.
//!
//! While a node is frozen, descheduled or paused, its peer may have taken over or parted with it.
//! What lies in its receive queue may be older than that. So after a stall a node of a pair serves
//! nothing and takes over nothing until the peer has answered something that was sent after the
//! stall; the answer carries the peer's view.

use crate::events::Event;
use crate::identity::NodeId;
use crate::register::Register;

use super::{Member, Phase, Serving};

#[derive(Debug, Clone, Copy)]
pub(super) struct Doubt {
    /// End of the stall.
    since_us: u64,
    stalled_us: u64,
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
        self.peer.restart_windows(now_us);
        let doubtful = self.partner().is_some();
        if doubtful {
            let before_us = self.doubt.map_or(0, |doubt| doubt.stalled_us);
            self.doubt = Some(Doubt {
                since_us: now_us,
                stalled_us: before_us.saturating_add(gap_us),
                stranded_reported: false,
            });
            self.hasten(now_us);
        }
        self.events.push(now_us, Event::OwnStall { for_us: gap_us, doubtful });
    }

    pub(super) fn settle_doubt(&mut self, now_us: u64) {
        let Some(doubt) = self.doubt else { return };
        let Some(partner) = self.partner() else {
            self.doubt = None;
            return;
        };
        let ended = self.peer.has_ended(partner);
        if !ended && self.peer.echo_sent_us() >= doubt.since_us {
            self.doubt = None;
            self.hasten(now_us);
            let after_us = now_us.saturating_sub(doubt.since_us);
            self.events.push(now_us, Event::DoubtSettled { after_us });
        } else if !doubt.stranded_reported && (ended || self.peer.is_silent(now_us)) {
            self.doubt = Some(Doubt { stranded_reported: true, ..doubt });
            self.events.push(now_us, Event::Stranded { stalled_us: doubt.stalled_us });
        }
    }

    /// Who could have changed the register during a stall of this node.
    fn partner(&self) -> Option<NodeId> {
        match self.phase {
            Phase::Forming(partner)
            | Phase::Primary(Serving::With(partner) | Serving::Removing { partner, .. }) => {
                Some(partner.id)
            }
            Phase::Backup => self.register.view().primary,
            Phase::Starting { .. } | Phase::Primary(Serving::Alone) | Phase::Spare(_) => None,
        }
    }
}
