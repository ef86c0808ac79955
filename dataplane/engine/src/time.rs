//! Shard time: microseconds that come with the input, never from a clock.

use std::fmt;
use std::num::NonZeroU64;

/// A moment of shard time in microseconds since an origin that the cluster shares.
///
/// A connection has many of them. Held as one more than the microseconds, so that an optional one
/// takes no more room, and aligned like a 32-bit number, so that it leaves no gap among these.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(Rust, packed(4))]
pub struct Instant(NonZeroU64);

const _: () = assert!(size_of::<Option<Instant>>() == 8 && align_of::<Instant>() == 4);

impl Default for Instant {
    fn default() -> Instant {
        Instant::ZERO
    }
}

impl Instant {
    /// The origin of shard time.
    pub const ZERO: Instant = Instant::from_micros(0);

    /// The moment `micros` microseconds after the origin. The largest number means the one before.
    #[inline]
    pub const fn from_micros(micros: u64) -> Instant {
        Instant(NonZeroU64::MIN.saturating_add(micros))
    }

    /// Microseconds since the origin.
    #[inline]
    pub const fn as_micros(self) -> u64 {
        self.0.get() - 1
    }

    /// Time since the origin in units of 2^20 µs, about a second. Differences are right for 142
    /// years.
    #[inline]
    pub(crate) const fn about_seconds(self) -> u32 {
        (self.as_micros() >> 20) as u32
    }

    /// The moment `us` microseconds later; stays at the end of time instead of wrapping.
    #[inline]
    pub const fn plus_us(self, us: u64) -> Instant {
        Instant(self.0.saturating_add(us))
    }

    /// Microseconds since `earlier`; 0 if `earlier` is later.
    #[inline]
    pub const fn since_us(self, earlier: Instant) -> u64 {
        self.0.get().saturating_sub(earlier.0.get())
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.as_micros();
        write!(f, "{}.{:06}s", micros / 1_000_000, micros % 1_000_000)
    }
}
