//! The longest time without progress while some was expected.

/// A time without progress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gap {
    /// How long, in microseconds.
    pub length_us: u64,
    /// When it began, in microseconds of the run's clock.
    pub began_us: u64,
}

/// Watches one connection.
#[derive(Debug, Clone, Default)]
pub struct Stall {
    waiting_since_us: Option<u64>,
    longest: Gap,
}

impl Stall {
    /// Progress is expected from `now_us` on, if it was not already.
    pub fn expect(&mut self, now_us: u64) {
        self.waiting_since_us.get_or_insert(now_us);
    }

    /// There was progress, and more is expected.
    pub fn progress(&mut self, now_us: u64) {
        self.end_gap(now_us);
        self.waiting_since_us = Some(now_us);
    }

    /// All that was expected has come.
    pub fn satisfied(&mut self, now_us: u64) {
        self.end_gap(now_us);
        self.waiting_since_us = None;
    }

    /// The longest gap, the one included that lasts until `now_us`.
    pub fn longest(&self, now_us: u64) -> Gap {
        let current = self.current(now_us);
        if current.length_us > self.longest.length_us { current } else { self.longest }
    }

    /// The gap that lasts until `now_us`.
    pub fn current(&self, now_us: u64) -> Gap {
        self.waiting_since_us.map_or(Gap::default(), |since| Gap {
            length_us: now_us.saturating_sub(since),
            began_us: since,
        })
    }

    fn end_gap(&mut self, now_us: u64) {
        self.longest = self.longest(now_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_gap_is_kept_with_its_begin() {
        let mut stall = Stall::default();
        stall.expect(10);
        stall.expect(15);
        stall.progress(20);
        stall.progress(70);
        stall.satisfied(75);
        assert_eq!(stall.longest(1000), Gap { length_us: 50, began_us: 20 });
    }

    #[test]
    fn waiting_for_nothing_is_no_gap_and_waiting_at_the_end_is_one() {
        let mut stall = Stall::default();
        assert_eq!(stall.longest(500), Gap::default());
        stall.expect(600);
        assert_eq!(stall.longest(900), Gap { length_us: 300, began_us: 600 });
        stall.satisfied(900);
        assert_eq!(stall.longest(9000).length_us, 300);
    }
}
