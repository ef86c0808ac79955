//! Time in microseconds since the run's start.

use std::time::{Duration, Instant, SystemTime};

/// Tells the time since its start, and what that is in Unix time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    unix_start_us: u64,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Clock {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Clock { start: Instant::now(), unix_start_us: micros(unix.unwrap_or(Duration::ZERO)) }
    }

    /// Microseconds since the start.
    pub fn now_us(&self) -> u64 {
        micros(self.start.elapsed())
    }

    /// Unix time, in microseconds, of a moment of this clock.
    pub fn unix_us(&self, at_us: u64) -> u64 {
        self.unix_start_us + at_us
    }
}

/// A duration in whole microseconds.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
