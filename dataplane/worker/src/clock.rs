//! Where a worker's time comes from: the machine, or a test.

use std::time::Instant;

/// Monotonic time since an arbitrary moment, the same for all workers of a node. All that is
/// decided is decided in microseconds; nanoseconds are for measuring a poll, which may take less
/// than one microsecond.
pub trait Clock {
    /// Now, in nanoseconds. Never less than the last answer.
    fn now_ns(&mut self) -> u64;

    /// Now, in microseconds: the same clock.
    fn now_us(&mut self) -> u64 {
        self.now_ns() / NS_PER_US
    }
}

/// Nanoseconds of a microsecond.
pub(crate) const NS_PER_US: u64 = 1_000;

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
    fn now_ns(&mut self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A clock that stands still at a given microsecond, for simulations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At(pub u64);

impl Clock for At {
    fn now_ns(&mut self) -> u64 {
        self.0 * NS_PER_US
    }
}
