//! No faster than asked for.

/// What may be moved at once after a pause, as time at the rate.
const BURST_US: u64 = 20_000;
/// Time between two portions.
const STEP_US: u64 = 1_000;

/// An allowance of bytes that grows with time.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Bytes in a second; `None`: as fast as it goes.
    bytes_per_second: Option<u64>,
    allowed: u64,
    /// Up to when it was granted.
    at_us: u64,
}

impl Pace {
    /// So many Mbit/s.
    pub fn new(mbit: Option<u32>) -> Pace {
        let bytes_per_second = mbit.map(|mbit| u64::from(mbit) * 125_000);
        Pace { bytes_per_second, allowed: 0, at_us: 0 }
    }

    /// Bytes that may be moved now.
    pub fn allows(&mut self, now_us: u64) -> u64 {
        let Some(rate) = self.bytes_per_second else { return u64::MAX };
        let elapsed_us = now_us.saturating_sub(self.at_us);
        if elapsed_us >= STEP_US {
            let earned = elapsed_us.min(BURST_US) * rate / 1_000_000;
            self.allowed = (self.allowed + earned).min(BURST_US * rate / 1_000_000);
            self.at_us = now_us;
        }
        self.allowed
    }

    /// So many were moved.
    pub fn moved(&mut self, bytes: usize) {
        if self.bytes_per_second.is_some() {
            self.allowed = self.allowed.saturating_sub(bytes as u64);
        }
    }

    /// When there will be more, if nothing may be moved before.
    pub fn waits_until_us(&self) -> Option<u64> {
        let waits = self.bytes_per_second.is_some() && self.allowed == 0;
        waits.then_some(self.at_us + STEP_US)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_kept_and_a_pause_is_not_made_up_for() {
        let mut pace = Pace::new(Some(80));
        assert_eq!(pace.allows(1_000), 10_000);
        pace.moved(10_000);
        assert_eq!(pace.waits_until_us(), Some(2_000));
        assert_eq!(pace.allows(1_500), 0);
        assert_eq!(pace.allows(2_000), 10_000);
        pace.moved(4_000);
        assert_eq!((pace.waits_until_us(), pace.allows(3_000)), (None, 16_000));
        pace.moved(16_000);
        assert_eq!(pace.allows(60_000_000), 200_000);
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let mut pace = Pace::new(None);
        pace.moved(1 << 40);
        assert_eq!((pace.allows(0), pace.waits_until_us()), (u64::MAX, None));
    }
}
