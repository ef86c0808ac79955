//! What a segment of a connection is worth, asked before it is logged: what the step would make of
//! it, without the step.

use super::lifecycle::{Knock, knock};
use super::{Shard, State};
use crate::tcp::judge::{Flaw, Judgement, judge};
use crate::time::Instant;
use crate::wire::segment::Segment;

impl Shard {
    /// Whether so many segments of connections were worth nothing in this second that each further
    /// one should be [screened](crate::guard::Guard::screen_known) before it is logged. A flood is
    /// meant: in peace nobody is asked.
    #[inline]
    #[must_use]
    pub fn is_beset(&self, now: Instant) -> bool {
        self.shared.challenges.is_beset(now, &self.config)
    }

    /// What a step at `now` would make of a segment that was [looked up](Self::look_up) and has a
    /// connection, if it were the step's first one of that.
    pub(crate) fn judge(&self, now: Instant, segment: &Segment<'_>) -> Judgement {
        let slot = self.slots.get(segment.place as usize).and_then(Option::as_ref);
        let Some(tcb) = slot.map(|slot| &slot.tcb) else { return Judgement::Acceptable };
        let knock = match tcb.state {
            State::Closed | State::SynSent => return Judgement::Acceptable,
            State::TimeWait => knock(tcb, segment, self.config.tcp.timestamps),
            _ => Knock::Other,
        };
        match knock {
            Knock::New => Judgement::Acceptable,
            Knock::Old => Judgement::Ignore(Flaw::Timestamp),
            Knock::Other => judge(tcb, &self.shared, &self.config, self.now.max(now), segment),
        }
    }

    /// Whether a step at `now` may still send a challenge (RFC 5961 7).
    pub(crate) fn may_challenge(&self, now: Instant) -> bool {
        !self.shared.challenges.is_used_up(self.now.max(now))
    }
}

#[cfg(test)]
mod tests;
