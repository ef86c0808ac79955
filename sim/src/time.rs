//! Time of the world, and what a node with a bad oscillator makes of it. Nanoseconds.

/// Nanoseconds of a microsecond.
pub const US: u64 = 1_000;
/// Nanoseconds of a millisecond.
pub const MS: u64 = 1_000_000;
/// Nanoseconds of a second.
pub const S: u64 = 1_000_000_000;

const MILLION: i128 = 1_000_000;

/// A node's clock: its own origin, and so many parts in a million too fast or too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriftingClock {
    world_ns: u64,
    local_ns: u64,
    ppm: i64,
}

impl DriftingClock {
    /// Shows `local_ns` at `world_ns` of the world's time.
    #[must_use]
    pub fn new(world_ns: u64, local_ns: u64, ppm: i64) -> DriftingClock {
        DriftingClock { world_ns, local_ns, ppm }
    }

    /// What it shows at `world_ns`, which is not before its start.
    #[must_use]
    pub fn local_ns(&self, world_ns: u64) -> u64 {
        let passed = i128::from(world_ns - self.world_ns);
        let shown = passed * (MILLION + i128::from(self.ppm)) / MILLION;
        self.local_ns + u64::try_from(shown).unwrap_or(0)
    }

    /// When it will show `local_ns` or more.
    #[must_use]
    pub fn world_ns(&self, local_ns: u64) -> u64 {
        let ahead = i128::from(local_ns) - i128::from(self.local_ns);
        let rate = MILLION + i128::from(self.ppm);
        let passed = (ahead.max(0) * MILLION + rate - 1) / rate;
        self.world_ns.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// From `world_ns` on it runs with another error.
    pub fn drift(&mut self, world_ns: u64, ppm: i64) {
        *self = DriftingClock::new(world_ns, self.local_ns(world_ns), ppm);
    }

    /// At `world_ns` it leaps forward.
    pub fn leap(&mut self, world_ns: u64, by_ns: u64) {
        *self = DriftingClock::new(world_ns, self.local_ns(world_ns) + by_ns, self.ppm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_reached_when_the_clock_shows_it_and_not_before() {
        for ppm in [-40_000, -200, 0, 1, 333, 90_000] {
            let mut clock = DriftingClock::new(5_000, 77_000_000_000, ppm);
            for local_ns in [77_000_000_000, 77_000_000_001, 77_123_456_789, 99_000_000_000] {
                let at_ns = clock.world_ns(local_ns);
                assert!(clock.local_ns(at_ns) >= local_ns, "{ppm}");
                assert!(at_ns == 5_000 || clock.local_ns(at_ns - 1) < local_ns, "{ppm}");
            }
            let before = clock.local_ns(10 * S);
            clock.drift(10 * S, -ppm);
            assert_eq!(clock.local_ns(10 * S), before);
            clock.leap(10 * S, 7);
            assert_eq!(clock.local_ns(10 * S), before + 7);
        }
    }
}
