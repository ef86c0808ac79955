//! Shard time: microseconds that come with the input, never from a clock.

use std::fmt;

/// A moment of shard time in microseconds since an origin that the cluster shares.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(u64);

impl Instant {
    /// The origin of shard time.
    pub const ZERO: Instant = Instant(0);

    /// The moment `micros` microseconds after the origin.
    #[inline]
    pub const fn from_micros(micros: u64) -> Instant {
        Instant(micros)
    }

    /// Microseconds since the origin.
    #[inline]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The moment `us` microseconds later; stays at the end of time instead of wrapping.
    #[inline]
    pub const fn plus_us(self, us: u64) -> Instant {
        Instant(self.0.saturating_add(us))
    }

    /// Microseconds since `earlier`; 0 if `earlier` is later.
    #[inline]
    pub const fn since_us(self, earlier: Instant) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}
