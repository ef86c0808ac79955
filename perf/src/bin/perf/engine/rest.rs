//! What the poll loop does when there is nothing to do.

use std::num::NonZeroU64;
use std::time::Duration;

use hw_profiles::{Idle, IdleStrategy};

/// How much longer than asked for a sleep may be.
const TIMER_SLACK_NS: u64 = 1000;
/// What waking up may cost: who has to be on time this soon does not sleep.
const WAKE_UP_NS: u64 = 50_000;

/// Gives the core away as the hardware profile says, and never so long that what is due would be
/// late.
#[derive(Debug, Clone)]
pub(super) struct Rest {
    idle: Idle,
    empty_polls: u32,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Spin,
    Yield,
    Sleep,
}

impl Rest {
    pub fn new(idle: Idle) -> Rest {
        // Without it sleeps are 50 µs longer; nothing breaks.
        let _slack = rustix::thread::set_current_timer_slack(NonZeroU64::new(TIMER_SLACK_NS));
        Rest { idle, empty_polls: 0 }
    }

    /// Something happened.
    #[inline]
    pub fn reset(&mut self) {
        self.empty_polls = 0;
    }

    /// Nothing happened, and for `left_ns` nothing is due.
    #[inline]
    pub fn take(&mut self, left_ns: u64) {
        match self.choose(left_ns) {
            Way::Spin => std::hint::spin_loop(),
            Way::Yield => std::thread::yield_now(),
            Way::Sleep => std::thread::sleep(Duration::from_micros(self.idle.sleep_us.into())),
        }
    }

    fn choose(&mut self, left_ns: u64) -> Way {
        self.empty_polls = self.empty_polls.saturating_add(1);
        let yield_until = self.idle.spin_polls.saturating_add(self.idle.yield_polls);
        let sleep_ns = u64::from(self.idle.sleep_us) * 1000 + WAKE_UP_NS;
        match self.idle.strategy {
            IdleStrategy::Spin => Way::Spin,
            _ if self.empty_polls <= self.idle.spin_polls => Way::Spin,
            IdleStrategy::Sleep if self.empty_polls > yield_until && sleep_ns < left_ns => {
                Way::Sleep
            }
            _ => Way::Yield,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(strategy: IdleStrategy) -> Rest {
        Rest::new(Idle { strategy, spin_polls: 1, yield_polls: 1, sleep_us: 30, coalesce_us: 0 })
    }

    #[test]
    fn spins_then_yields_then_sleeps_until_something_happens() {
        let mut rest = rest(IdleStrategy::Sleep);
        let ways: Vec<_> = (0..3).map(|_| rest.choose(u64::MAX)).collect();
        assert_eq!(ways, [Way::Spin, Way::Yield, Way::Sleep]);
        rest.reset();
        assert_eq!(rest.choose(u64::MAX), Way::Spin);
    }

    #[test]
    fn does_not_sleep_into_what_is_due() {
        let mut rest = rest(IdleStrategy::Sleep);
        rest.empty_polls = 10;
        assert_eq!((rest.choose(80_000), rest.choose(80_001)), (Way::Yield, Way::Sleep));
    }

    #[test]
    fn strategy_bounds_how_far_it_goes() {
        for (strategy, last) in [(IdleStrategy::Spin, Way::Spin), (IdleStrategy::Yield, Way::Yield)]
        {
            let mut rest = rest(strategy);
            assert_eq!((0..9).map(|_| rest.choose(u64::MAX)).last(), Some(last));
        }
    }
}
