//! What a loop does when there is nothing to do, or so little that the next poll had better find
//! more: as the hardware profile says, and never past the next deadline.

use std::thread;
use std::time::{Duration, Instant};

use hw_profiles::{Idle, IdleStrategy};

/// Even with a deadline that has come, a loop that found nothing sleeps rather than yields: who
/// yields gives up a whole slice to Linux's fair scheduler, again and again, and is then kept
/// waiting for tens of milliseconds on a busy core; who wakes from a sleep runs at once.
const SHORTEST_SLEEP_US: u64 = 1;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Idler {
    idle: Idle,
    empty_polls: u32,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    Spin,
    Yield,
    /// Keeps the core.
    Wait(Duration),
    Sleep(Duration),
}

/// What a loop had to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    Nothing,
    /// A burst that is worth a pause, so that the next one is larger.
    Few,
    /// One packet, which somebody may wait for, or as much as a loop can take.
    Urgent,
}

impl Idler {
    pub fn new(idle: Idle) -> Idler {
        Idler { idle, empty_polls: 0 }
    }

    /// After a loop that ended at `now_us`: what it had to do, and `deadline_us`, when it will have
    /// something at the latest.
    pub fn decide(&mut self, load: Load, now_us: u64, deadline_us: Option<u64>) -> Rest {
        let left_us = deadline_us.map_or(u64::MAX, |at| at.saturating_sub(now_us));
        if load != Load::Nothing {
            self.empty_polls = 0;
            let pause_us = left_us.min(self.idle.coalesce_us.into());
            return match (load, self.idle.strategy) {
                (Load::Few, _) if pause_us == 0 => Rest::Spin,
                (Load::Few, IdleStrategy::Sleep) => Rest::Sleep(Duration::from_micros(pause_us)),
                (Load::Few, _) => Rest::Wait(Duration::from_micros(pause_us)),
                _ => Rest::Spin,
            };
        }
        self.empty_polls = self.empty_polls.saturating_add(1);
        let yield_until = self.idle.spin_polls.saturating_add(self.idle.yield_polls);
        match self.idle.strategy {
            IdleStrategy::Spin => Rest::Spin,
            _ if self.empty_polls <= self.idle.spin_polls => Rest::Spin,
            IdleStrategy::Yield => Rest::Yield,
            IdleStrategy::Sleep if self.empty_polls <= yield_until => Rest::Yield,
            IdleStrategy::Sleep => {
                let sleep_us = left_us.min(self.idle.sleep_us.into()).max(SHORTEST_SLEEP_US);
                Rest::Sleep(Duration::from_micros(sleep_us))
            }
        }
    }
}

impl Rest {
    pub fn take(self) {
        match self {
            Rest::Spin => std::hint::spin_loop(),
            Rest::Yield => thread::yield_now(),
            Rest::Wait(time) => {
                let begun = Instant::now();
                while begun.elapsed() < time {
                    std::hint::spin_loop();
                }
            }
            Rest::Sleep(time) => thread::sleep(time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idler(strategy: IdleStrategy) -> Idler {
        Idler::new(Idle { strategy, spin_polls: 1, yield_polls: 1, sleep_us: 50, coalesce_us: 10 })
    }

    #[test]
    fn spins_then_yields_then_sleeps_until_something_happens() {
        let mut idler = idler(IdleStrategy::Sleep);
        let rests: Vec<_> = (0..3).map(|_| idler.decide(Load::Nothing, 0, None)).collect();
        let sleep = Rest::Sleep(Duration::from_micros(50));
        assert_eq!(rests, [Rest::Spin, Rest::Yield, sleep]);
        assert_eq!(idler.decide(Load::Urgent, 0, None), Rest::Spin);
        assert_eq!(idler.decide(Load::Nothing, 0, None), Rest::Spin);
    }

    #[test]
    fn sleeps_to_the_deadline_and_no_longer() {
        let mut idler = idler(IdleStrategy::Sleep);
        for _ in 0..2 {
            idler.decide(Load::Nothing, 0, None);
        }
        let short = Rest::Sleep(Duration::from_micros(7));
        assert_eq!(idler.decide(Load::Nothing, 100, Some(107)), short);
        let shortest = Rest::Sleep(Duration::from_micros(1));
        assert_eq!(idler.decide(Load::Nothing, 100, Some(90)), shortest);
    }

    #[test]
    fn strategy_bounds_how_far_it_goes() {
        for (strategy, last) in
            [(IdleStrategy::Spin, Rest::Spin), (IdleStrategy::Yield, Rest::Yield)]
        {
            let mut idler = idler(strategy);
            let rests = (0..9).map(|_| idler.decide(Load::Nothing, 0, None));
            assert_eq!(rests.last(), Some(last));
        }
    }

    #[test]
    fn small_bursts_are_followed_by_a_pause_and_single_packets_are_not() {
        let pause = Duration::from_micros(10);
        let mut sleeper = idler(IdleStrategy::Sleep);
        assert_eq!(sleeper.decide(Load::Few, 0, None), Rest::Sleep(pause));
        assert_eq!(sleeper.decide(Load::Urgent, 0, None), Rest::Spin);
        let mut spinner = idler(IdleStrategy::Spin);
        assert_eq!(spinner.decide(Load::Few, 0, None), Rest::Wait(pause));
        let before = Rest::Wait(Duration::from_micros(3));
        assert_eq!(spinner.decide(Load::Few, 100, Some(103)), before);
        assert_eq!(spinner.decide(Load::Few, 100, Some(90)), Rest::Spin);
    }
}
