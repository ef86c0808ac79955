//! HyStart++ (RFC 9406): the first slow start ends when round trips get longer, before it overflows
//! the queue of the bottleneck. A growth at a quarter of the pace looks whether they really do.
//!
//! What one acknowledgment adds is not limited (L of RFC 9406 4.3): receivers that merge segments
//! acknowledge dozens at once, and a limit would cost these their slow start.

use super::Acked;
use crate::seq::SeqNumber;
use crate::snapshot::{Reader, Snapshot, SnapshotError, Writer};

/// Bounds of the growth of a round trip that counts, and its part of the round trip
/// (MIN_RTT_THRESH, MAX_RTT_THRESH, MIN_RTT_DIVISOR).
const MIN_THRESHOLD_US: u32 = 4_000;
const MAX_THRESHOLD_US: u32 = 16_000;
const ROUND_TRIP_DIVISOR: u32 = 8;
/// Samples of a round that say enough (N_RTT_SAMPLE).
const ENOUGH_SAMPLES: u8 = 8;
/// How much slower conservative slow start is, and how many rounds it lasts (CSS_GROWTH_DIVISOR,
/// CSS_ROUNDS).
const CONSERVATIVE_DIVISOR: u32 = 4;
const CONSERVATIVE_ROUNDS: u8 = 5;
/// No sample yet.
const NONE: u32 = u32::MAX;

/// The variables of RFC 9406 4.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HyStart {
    /// SND.NXT when the round began: windowEnd.
    round_end: SeqNumber,
    /// Smallest round trips of the last round and of this one.
    last_min_us: u32,
    min_us: u32,
    /// cssBaselineMinRtt; [`NONE`] in standard slow start.
    baseline_us: u32,
    samples: u8,
    /// Rounds of conservative slow start that have begun.
    rounds: u8,
    begun: bool,
}

impl Default for HyStart {
    fn default() -> HyStart {
        HyStart {
            round_end: SeqNumber(0),
            last_min_us: NONE,
            min_us: NONE,
            baseline_us: NONE,
            samples: 0,
            rounds: 0,
            begun: false,
        }
    }
}

impl HyStart {
    /// Growth of the window for an acknowledgment.
    #[inline]
    pub(super) fn growth(&mut self, acked: &Acked) -> u32 {
        // What ends exactly there was sent before the round began.
        if !self.begun || acked.una.gt(self.round_end) {
            self.begin_round(acked.nxt);
        }
        if acked.sample_us > 0 {
            self.min_us = self.min_us.min(acked.sample_us);
            self.samples = self.samples.saturating_add(1);
        }
        let conservative = self.rounds > 0;
        if self.samples >= ENOUGH_SAMPLES {
            self.judge();
        }
        if conservative { acked.bytes / CONSERVATIVE_DIVISOR } else { acked.bytes }
    }

    /// Conservative slow start has lasted, and round trips are still longer than before it.
    #[inline]
    pub(super) fn is_done(&self) -> bool {
        self.rounds > CONSERVATIVE_ROUNDS
    }

    fn begin_round(&mut self, nxt: SeqNumber) {
        self.begun = true;
        self.round_end = nxt;
        self.last_min_us = self.min_us;
        self.min_us = NONE;
        self.samples = 0;
        self.rounds += u8::from(self.rounds > 0);
    }

    fn judge(&mut self) {
        if self.rounds == 0 {
            let threshold_us =
                (self.last_min_us / ROUND_TRIP_DIVISOR).clamp(MIN_THRESHOLD_US, MAX_THRESHOLD_US);
            if self.min_us >= self.last_min_us.saturating_add(threshold_us) && self.min_us != NONE {
                self.baseline_us = self.min_us;
                self.rounds = 1;
            }
        } else if self.min_us < self.baseline_us {
            // It was jitter: back to standard slow start.
            self.baseline_us = NONE;
            self.rounds = 0;
        }
    }
}

impl Snapshot for HyStart {
    fn save(&self, out: &mut Writer<'_>) {
        for number in [self.round_end.0, self.last_min_us, self.min_us, self.baseline_us] {
            out.u32(number);
        }
        out.u8(self.samples);
        out.u8(self.rounds);
        out.bool(self.begun);
    }

    fn restore(input: &mut Reader<'_>) -> Result<HyStart, SnapshotError> {
        Ok(HyStart {
            round_end: SeqNumber(input.u32("end of a round")?),
            last_min_us: input.u32("smallest rtt of the last round")?,
            min_us: input.u32("smallest rtt of a round")?,
            baseline_us: input.u32("baseline of the rtt")?,
            samples: input.u8("samples of a round")?,
            rounds: input.u8("rounds of conservative slow start")?.min(CONSERVATIVE_ROUNDS),
            begun: input.bool("begin of a round")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds of ten segments of 1000 bytes, with these round trips.
    fn grow(hystart: &mut HyStart, round: u32, sample_us: u32) -> u32 {
        let numbers = |segments: u32| SeqNumber(segments * 1000);
        (1..=10)
            .map(|segment| {
                let (una, nxt) = (numbers(round * 10 + segment), numbers(round * 10 + segment + 9));
                let acked = Acked { bytes: 1000, sample_us, una, nxt, ..Acked::default() };
                hystart.growth(&acked)
            })
            .sum()
    }

    #[test]
    fn slow_start_ends_after_five_rounds_of_longer_round_trips() {
        let mut hystart = HyStart::default();
        assert_eq!(
            (grow(&mut hystart, 0, 40_000), grow(&mut hystart, 1, 44_000)),
            (10_000, 10_000)
        );
        // An eighth of 44 ms is 5.5 ms; the eighth sample of the round tells.
        let sums: Vec<u32> = (2..7).map(|round| grow(&mut hystart, round, 50_000)).collect();
        assert!(sums[0] < 10_000 && sums[1..] == [2500; 4], "{sums:?}");
        assert!(!hystart.is_done());
        grow(&mut hystart, 7, 50_000);
        assert!(hystart.is_done());
    }

    #[test]
    fn jitter_only_slows_it_down_for_a_while() {
        let mut hystart = HyStart::default();
        for (round, sample_us) in [(0, 40_000), (1, 50_000), (2, 41_000)] {
            grow(&mut hystart, round, sample_us);
        }
        assert_eq!(grow(&mut hystart, 3, 42_000), 10_000);
    }

    #[test]
    fn jitter_of_a_short_path_does_not_count() {
        let mut hystart = HyStart::default();
        for round in 0..20 {
            assert_eq!(grow(&mut hystart, round, 300 + 150 * round), 10_000);
        }
    }
}
