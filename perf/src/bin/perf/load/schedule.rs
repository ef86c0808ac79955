//! When requests are due.

/// Even distances at a rate, from a start: the `k`-th is due at `start + k / rate`, whatever became
/// of the ones before it.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    start_ns: u64,
    distance_ns: f64,
}

impl Schedule {
    /// From `start_ns` on, `rate` a second.
    pub fn new(start_ns: u64, rate: f64) -> Schedule {
        Schedule { start_ns, distance_ns: 1e9 / rate }
    }

    /// When the `k`-th is due, from 0.
    #[inline]
    pub fn due_ns(&self, k: u64) -> u64 {
        // Exact to the nanosecond for 100 days, since a f64 has 53 bits of precision.
        self.start_ns.saturating_add((k as f64 * self.distance_ns) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_does_not_add_up() {
        let schedule = Schedule::new(1000, 3e6);
        assert_eq!(schedule.due_ns(0), 1000);
        assert_eq!(schedule.due_ns(1), 1333);
        assert_eq!(schedule.due_ns(3_000_000 * 3600), 1000 + 3_600_000_000_000);
        assert_eq!(Schedule::new(0, 0.001).due_ns(1), 1_000_000_000_000);
    }
}
