//! What clients sent lately, on a node that does not serve: their frames, flooded to both nodes and
//! kept as they came, without a look into them. At a takeover those that the log does not have are
//! taken in, so that no client has to send them again. Bounded by time and by number; the oldest
//! frame goes first, since the log has it most likely.

use std::collections::VecDeque;

use engine::time::Instant;

use crate::config::Keep;

/// How far apart two clocks may drift: one part in so many, which is 200 ppm.
const DRIFT_PART: u64 = 5_000;
/// How long a frame may have waited on the primary, in its card or for room in the log, before it
/// was logged: so much before the last record's time, it may be that the log lacks it. What it
/// does have of that is known by itself (`seen.rs`).
pub(crate) const SLACK_US: u64 = 10_000;
/// The log had segments for so long while none of them was heard: the switch does not flood.
const PATIENCE_US: u64 = 1_000_000;

/// The frames, each with the time at which it came.
#[derive(Debug)]
pub(crate) struct Kept<F> {
    frames: VecDeque<(u64, F)>,
    /// None: nothing is kept.
    keep: Option<Keep>,
    /// Since when, and with what result, what was kept is taken in.
    pub replay: Replay,
}

/// What became of kept frames since a takeover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replay {
    /// Taken in.
    pub frames: u64,
    /// In the log already.
    pub logged: u64,
    /// When the first of them was looked at; nothing before that, and once it was told.
    pub since_us: Option<u64>,
}

impl<F> Kept<F> {
    pub fn new(keep: Option<Keep>) -> Kept<F> {
        let frames = VecDeque::with_capacity(keep.map_or(0, |keep| keep.frames));
        Kept { frames, keep, replay: Replay::default() }
    }

    /// Whether anything is ever kept.
    pub fn is_on(&self) -> bool {
        self.keep.is_some()
    }

    /// Frames that are kept at most.
    pub fn most(&self) -> usize {
        self.keep.map_or(0, |keep| keep.frames)
    }

    pub fn len(&self) -> usize {
        self.frames.len()
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Keeps a frame that came at `at_us`; says whether an older one had to go for it.
    pub fn put(&mut self, at_us: u64, frame: F) -> bool {
        let Some(keep) = self.keep else { return false };
        let full = self.frames.len() >= keep.frames;
        if full {
            self.frames.pop_front();
        }
        self.frames.push_back((at_us, frame));
        full
    }

    /// The oldest frame.
    pub fn take(&mut self) -> Option<(u64, F)> {
        self.frames.pop_front()
    }

    /// Gives back what was [taken](Self::take) and could not be used yet.
    pub fn put_back(&mut self, at_us: u64, frame: F) {
        self.frames.push_front((at_us, frame));
    }

    /// Drops what came too long before `now_us`.
    pub fn expire(&mut self, now_us: u64) {
        let Some(keep) = self.keep else { return };
        while self.frames.front().is_some_and(|(at_us, _)| *at_us + keep.for_us < now_us) {
            self.frames.pop_front();
        }
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.replay = Replay::default();
    }
}

/// What turns a shard's time, as the log has it, into the local clock's: how far the one is behind
/// the other. The record that was applied soonest after it was made knows best.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lag {
    /// Local time less the shard's, in wrapping arithmetic, and when that was seen.
    least: Option<(u64, u64)>,
}

impl Lag {
    /// A record of shard time `logged` is applied at `local_us`.
    pub fn note(&mut self, local_us: u64, logged: Instant) {
        let lag_us = local_us.wrapping_sub(logged.as_micros());
        let is_less = self.least.is_none_or(|(least_us, seen_us)| {
            let drift_us = local_us.saturating_sub(seen_us) / DRIFT_PART;
            is_before(lag_us, least_us.wrapping_add(drift_us))
        });
        if is_less {
            self.least = Some((lag_us, local_us));
        }
    }

    /// What the clock by which the log was written shows at `local_us`, at least. Nothing where no
    /// record has told.
    pub fn shard_time(&self, local_us: u64) -> Option<Instant> {
        let (lag_us, _) = self.least?;
        let time_us = local_us.wrapping_sub(lag_us);
        (!is_before(time_us, 0)).then(|| Instant::from_micros(time_us))
    }

    /// The end of a log whose last record has time `last`, on the local clock. Zero where no record
    /// has told.
    pub fn log_end_us(&self, last: Instant) -> u64 {
        let Some((lag_us, _)) = self.least else { return 0 };
        let local_us = last.as_micros().wrapping_add(lag_us);
        if is_before(local_us, 0) { 0 } else { local_us }
    }
}

fn is_before(a: u64, b: u64) -> bool {
    a.wrapping_sub(b) > u64::MAX / 2
}

/// Whether the switch floods what clients send: then this node hears what its primary logs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flooding {
    heard_us: Option<u64>,
    unheard_since_us: Option<u64>,
    /// It does not: it sends what is for the service to one port.
    pub missed: bool,
}

impl Flooding {
    /// Clients were last heard, and the log last had segments of theirs, at these times. Says
    /// whether it has just become clear that the switch does not flood.
    pub fn look(&mut self, heard_us: Option<u64>, logged_us: Option<u64>) -> bool {
        if heard_us != self.heard_us {
            *self = Flooding { heard_us, ..Flooding::default() };
            return false;
        }
        let Some(logged_us) = logged_us.filter(|logged_us| Some(*logged_us) > heard_us) else {
            return false;
        };
        let since_us = *self.unheard_since_us.get_or_insert(logged_us);
        let missed = logged_us.saturating_sub(since_us) >= PATIENCE_US;
        missed && !std::mem::replace(&mut self.missed, missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Keep = Keep { for_us: 100, frames: 3 };

    fn all(kept: &mut Kept<char>) -> String {
        std::iter::from_fn(|| kept.take()).map(|(_, frame)| frame).collect()
    }

    #[test]
    fn oldest_frame_goes_when_there_is_no_room() {
        let mut kept = Kept::new(Some(KEEP));
        let pushed_out: Vec<_> = (0..).zip("abcd".chars()).map(|(at, c)| kept.put(at, c)).collect();
        assert_eq!(pushed_out, [false, false, false, true]);
        assert_eq!(all(&mut kept), "bcd");
    }

    #[test]
    fn frames_live_for_their_time_and_come_back_in_order() {
        let mut kept = Kept::new(Some(KEEP));
        for (at, frame) in [(10, 'a'), (50, 'b'), (60, 'c')] {
            kept.put(at, frame);
        }
        kept.expire(110);
        let (at_us, frame) = kept.take().unwrap();
        assert_eq!((at_us, frame), (10, 'a'));
        kept.put_back(at_us, frame);
        kept.expire(151);
        assert_eq!(all(&mut kept), "c");
    }

    #[test]
    fn nothing_is_kept_where_nothing_shall_be() {
        let mut kept = Kept::new(None);
        assert!(!kept.put(1, 'a') && kept.is_empty() && !kept.is_on());
    }

    #[test]
    fn lag_is_that_of_the_record_that_came_soonest() {
        // The local clock is 1 s ahead; records take 30 µs at best.
        let mut lag = Lag::default();
        let logged = Instant::from_micros;
        assert_eq!(lag.log_end_us(logged(5_000_000)), 0);
        for (late_us, at_us) in [(90, 2_000_000), (30, 2_000_100), (700, 2_000_200)] {
            lag.note(1_000_000 + at_us + late_us, logged(at_us));
        }
        assert_eq!(lag.log_end_us(logged(3_000_000)), 4_000_030);
        // A backlog tells nothing; a difference that clocks may come to have does.
        lag.note(3_500_000 + 250, logged(2_500_000));
        assert_eq!(lag.log_end_us(logged(2_500_000)), 3_500_030);
        lag.note(12_000_000 + 600, logged(11_000_000));
        assert_eq!(lag.log_end_us(logged(11_000_000)), 12_000_600);
    }

    #[test]
    fn lag_may_be_negative() {
        let mut lag = Lag::default();
        lag.note(20_000, Instant::from_micros(9_000_000_000));
        assert_eq!(lag.log_end_us(Instant::from_micros(9_000_000_000)), 20_000);
        assert_eq!(lag.log_end_us(Instant::from_micros(8_000_000_000)), 0);
    }

    #[test]
    fn switch_that_does_not_flood_is_noticed_once() {
        let mut flooding = Flooding::default();
        assert!(!flooding.look(None, None));
        // A record may be a moment ahead of its frames.
        assert!(!flooding.look(None, Some(10)));
        assert!(!flooding.look(Some(60), Some(10)) && !flooding.missed);
        // Nothing was said for an hour.
        assert!(!flooding.look(Some(60), Some(3_600_000_000)));
        assert!(!flooding.look(Some(60), Some(3_600_900_000)) && !flooding.missed);
        assert!(flooding.look(Some(60), Some(3_601_000_000)) && flooding.missed);
        assert!(!flooding.look(Some(60), Some(3_602_000_000)) && flooding.missed);
        assert!(!flooding.look(Some(3_603_000_000), Some(3_602_000_000)) && !flooding.missed);
    }
}
