//! Where a worker's time comes from: the machine, or a test.

use std::time::Instant;

/// Monotonic time in microseconds since an arbitrary moment, the same for all workers of a node.
pub trait Clock {
    /// Now. Never less than the last answer.
    fn now_us(&mut self) -> u64;
}

/// The machine's monotonic clock, counted from a moment that the workers of a node share.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    origin: Instant,
}

impl MonotonicClock {
    /// A clock that counts from `origin`.
    #[must_use]
    pub fn since(origin: Instant) -> MonotonicClock {
        MonotonicClock { origin }
    }
}

impl Clock for MonotonicClock {
    fn now_us(&mut self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// A clock that stands still at a given microsecond, for simulations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At(pub u64);

impl Clock for At {
    fn now_us(&mut self) -> u64 {
        self.0
    }
}
