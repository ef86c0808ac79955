//! The failure detector of one path: how long a silence is still normal.

/// Smoothing of the mean interval and of its deviation. Slower than an RTT estimator (RFC 6298):
/// one late heartbeat must not blunt the detector for the next second.
const MEAN_SHIFT: u32 = 3;
const DEVIATION_SHIFT: u32 = 4;
/// How many deviations above the mean are still normal.
const DEVIATIONS: u64 = 4;

/// Adaptive timeout over the arrivals of heartbeats on one path:
/// mean + 4 · deviation, never below the floor nor above the ceiling. Times in microseconds.
#[derive(Debug, Clone)]
pub struct Detector {
    floor_us: u64,
    ceiling_us: u64,
    /// Scaled by 2^MEAN_SHIFT and 2^DEVIATION_SHIFT, so that integers keep the fraction.
    mean_scaled: u64,
    deviation_scaled: u64,
    last_heard_us: Option<u64>,
    /// Silence counts from here: the last arrival, or the end of a stall of our own.
    silent_since_us: u64,
}

impl Detector {
    /// `interval_us` is how often the peer is expected to send.
    #[must_use]
    pub fn new(interval_us: u64, floor_us: u64, ceiling_us: u64) -> Detector {
        Detector {
            floor_us,
            ceiling_us,
            mean_scaled: interval_us << MEAN_SHIFT,
            deviation_scaled: 0,
            last_heard_us: None,
            silent_since_us: 0,
        }
    }

    /// A heartbeat arrived.
    pub fn heard(&mut self, now_us: u64) {
        if self.last_heard_us.is_some() {
            // A longer gap than the ceiling was an outage, not a rhythm.
            let gap_us = now_us.saturating_sub(self.silent_since_us).min(self.ceiling_us);
            let deviation_us = gap_us.abs_diff(self.mean_scaled >> MEAN_SHIFT);
            self.mean_scaled += gap_us;
            self.mean_scaled -= self.mean_scaled >> MEAN_SHIFT;
            self.deviation_scaled += deviation_us;
            self.deviation_scaled -= self.deviation_scaled >> DEVIATION_SHIFT;
        }
        self.last_heard_us = Some(now_us);
        self.silent_since_us = now_us;
    }

    /// This node itself stood still until now: what it did not hear meanwhile says nothing about
    /// the peer, so the window starts again.
    pub fn restart(&mut self, now_us: u64) {
        self.silent_since_us = self.silent_since_us.max(now_us);
    }

    /// Forgets the rhythm: another run of the peer sends now.
    pub fn forget(&mut self) {
        *self = Detector::new(self.mean_scaled >> MEAN_SHIFT, self.floor_us, self.ceiling_us);
    }

    /// Silence longer than this is suspicious.
    #[must_use]
    pub fn timeout_us(&self) -> u64 {
        let mean_us = self.mean_scaled >> MEAN_SHIFT;
        let deviation_us = self.deviation_scaled >> DEVIATION_SHIFT;
        (mean_us + DEVIATIONS * deviation_us).clamp(self.floor_us, self.ceiling_us)
    }

    /// Nothing was ever heard here, or not for longer than the timeout.
    #[must_use]
    pub fn is_silent(&self, now_us: u64) -> bool {
        self.deadline_us().is_none_or(|deadline_us| now_us > deadline_us)
    }

    /// Until when silence is normal. `None` when nothing was ever heard.
    #[must_use]
    pub fn deadline_us(&self) -> Option<u64> {
        self.last_heard_us.map(|_| self.silent_since_us.saturating_add(self.timeout_us()))
    }

    #[must_use]
    pub fn last_heard_us(&self) -> Option<u64> {
        self.last_heard_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FLOOR: u64 = 50_000;
    const CEILING: u64 = 100_000;

    fn steady(interval_us: u64, count: u64) -> (Detector, u64) {
        let mut detector = Detector::new(5_000, FLOOR, CEILING);
        (1..=count).for_each(|n| detector.heard(n * interval_us));
        (detector, count * interval_us)
    }

    #[test]
    fn a_regular_peer_is_suspected_at_the_floor() {
        let (detector, last) = steady(5_000, 1_000);
        assert!(!detector.is_silent(last + FLOOR));
        assert!(detector.is_silent(last + FLOOR + 1));
    }

    #[test]
    fn an_irregular_peer_gets_more_time_up_to_the_ceiling() {
        let mut detector = Detector::new(5_000, FLOOR, CEILING);
        let mut now = 0;
        for n in 0..200 {
            now += if n % 2 == 0 { 1_000 } else { 45_000 };
            detector.heard(now);
        }
        assert!(detector.timeout_us() > FLOOR, "{}", detector.timeout_us());
        assert!(detector.timeout_us() <= CEILING);
    }

    #[test]
    fn one_late_heartbeat_does_not_blunt_the_detector() {
        let (mut detector, last) = steady(5_000, 100);
        detector.heard(last + 49_000);
        assert_eq!(detector.timeout_us(), FLOOR);
    }

    #[test]
    fn own_stall_restarts_the_window() {
        let (mut detector, last) = steady(5_000, 10);
        detector.restart(last + 200_000);
        assert!(!detector.is_silent(last + 200_000 + FLOOR));
        assert!(detector.is_silent(last + 200_000 + CEILING + 1));
    }

    #[test]
    fn never_heard_is_silent_and_stays_so_after_a_stall() {
        let mut detector = Detector::new(5_000, FLOOR, CEILING);
        assert!(detector.is_silent(0));
        detector.restart(10);
        assert!(detector.is_silent(10));
    }

    proptest! {
        #[test]
        fn timeout_stays_between_floor_and_ceiling(
            gaps in prop::collection::vec(any::<u64>(), 0..200),
        ) {
            let mut detector = Detector::new(5_000, FLOOR, CEILING);
            let mut now = 0u64;
            for gap in gaps {
                now = now.wrapping_add(gap); // also a clock that jumps back
                detector.heard(now);
                prop_assert!((FLOOR..=CEILING).contains(&detector.timeout_us()));
            }
        }
    }
}
