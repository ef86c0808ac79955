//! What of a worker's work a log's other end holds. Logs of one worker begin at different times,
//! and each numbers its batches from 1 on; what they have in common is the worker's own count of
//! loops.

use std::collections::VecDeque;

use arrayvec::ArrayVec;

use crate::role::{MAX_PEERS, Position};

/// Number of a worker's loop among those in which it logged something, in whatever log. It never
/// begins anew while the worker runs. A packet has the mark of the loop whose step made it: it may
/// leave when the logs that count are confirmed up to there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(pub u64);

impl Mark {
    /// Before the first such loop.
    pub const START: Mark = Mark(0);

    /// The mark of the loop that follows.
    #[must_use]
    pub fn next(self) -> Mark {
        Mark(self.0 + 1)
    }

    /// The mark of the loop before.
    #[must_use]
    pub fn previous(self) -> Mark {
        Mark(self.0.saturating_sub(1))
    }
}

/// Translates one log's confirmations to marks. All memory is taken at construction.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// The last batch that each loop closed, with the loop's mark: those that are not confirmed.
    waiting: VecDeque<(Position, Mark)>,
    closed: Mark,
}

impl Ledger {
    /// Of a log that has so many frames unconfirmed at most: as every batch has one at least, no
    /// more batches than that can wait.
    #[must_use]
    pub fn new(window_frames: usize) -> Ledger {
        Ledger { waiting: VecDeque::with_capacity(window_frames), closed: Mark::START }
    }

    /// For a log that begins anew.
    pub fn reset(&mut self) {
        self.waiting.clear();
        self.closed = Mark::START;
    }

    /// All batches up to `position` are closed, the last of them in the loop with this mark. Both
    /// grow from call to call. What is [confirmed](Self::confirm) has to be told before.
    pub fn close(&mut self, position: Position, mark: Mark) {
        debug_assert!(self.closed < mark, "a loop is closed once");
        self.waiting.push_back((position, mark));
        self.closed = mark;
    }

    /// The other end holds all batches up to `position`.
    pub fn confirm(&mut self, position: Position) {
        while self.waiting.front().is_some_and(|(closed, _)| *closed <= position) {
            self.waiting.pop_front();
        }
    }

    /// The last loop that closed a batch of this log.
    #[must_use]
    pub fn last_closed(&self) -> Mark {
        self.closed
    }

    /// The other end holds all that this log got in the loops up to this one. Never less than
    /// before, until [reset](Self::reset).
    #[must_use]
    pub fn confirmed(&self) -> Mark {
        self.waiting.front().map_or(self.closed, |(_, mark)| mark.previous())
    }
}

/// Up to where all of these logs are confirmed (SWMU); [`Mark::START`] when there is none.
#[must_use]
pub fn confirmed_by_all<'a>(ledgers: impl Iterator<Item = &'a Ledger>) -> Mark {
    ledgers.map(Ledger::confirmed).min().unwrap_or(Mark::START)
}

/// Up to where a majority of a set of nodes holds the log: this one, which holds all of it, and
/// those whose `confirmed` are given. This node alone is a majority of itself.
#[must_use]
pub fn held_by_majority(confirmed: impl Iterator<Item = Mark>) -> Mark {
    let mut others: ArrayVec<Mark, MAX_PEERS> = confirmed.take(MAX_PEERS).collect();
    others.sort_unstable_by(|one, other| other.cmp(one));
    let needed = majority_of(others.len() + 1) - 1;
    needed.checked_sub(1).map_or(Mark(u64::MAX), |last| others[last])
}

/// How many of so many nodes are a majority.
#[must_use]
pub fn majority_of(nodes: usize) -> usize {
    nodes / 2 + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gate::{CommitRule, Gate, Lane};

    const WINDOW: usize = 8;

    #[test]
    fn confirmed_up_to_the_loop_before_the_first_that_is_not() {
        let mut ledger = Ledger::new(WINDOW);
        assert_eq!((ledger.confirmed(), ledger.last_closed()), (Mark::START, Mark::START));
        for (position, mark) in [(2, 5), (3, 9)] {
            ledger.close(Position(position), Mark(mark));
        }
        assert_eq!(ledger.confirmed(), Mark(4));
        ledger.confirm(Position(1));
        assert_eq!(ledger.confirmed(), Mark(4), "half a loop is none");
        ledger.confirm(Position(2));
        assert_eq!(ledger.confirmed(), Mark(8));
        ledger.confirm(Position(3));
        assert_eq!((ledger.confirmed(), ledger.last_closed()), (Mark(9), Mark(9)));
        ledger.reset();
        assert_eq!(ledger.confirmed(), Mark::START);
    }

    #[test]
    fn slowest_log_decides_and_none_confirms_nothing() {
        let mut ledgers = [Ledger::new(WINDOW), Ledger::new(WINDOW)];
        ledgers.iter_mut().for_each(|ledger| ledger.close(Position(1), Mark(1)));
        ledgers[0].confirm(Position(1));
        assert_eq!(confirmed_by_all(ledgers.iter()), Mark::START);
        assert_eq!(confirmed_by_all(ledgers[..1].iter()), Mark(1));
        assert_eq!(confirmed_by_all(ledgers[..0].iter()), Mark::START);
    }

    #[test]
    fn the_slowest_of_the_fastest_that_make_a_majority_decides() {
        let held = |marks: &[u64]| held_by_majority(marks.iter().copied().map(Mark));
        assert_eq!(held(&[]), Mark(u64::MAX), "alone nothing is waited for");
        assert_eq!(held(&[4]), Mark(4), "of two nodes both");
        assert_eq!(held(&[4, 9]), Mark(9), "of three one other");
        assert_eq!(held(&[4, 9, 6]), Mark(6), "of four two others");
        assert_eq!([1, 2, 3, 4].map(majority_of), [1, 2, 2, 3]);
    }

    /// A log as the worker sees it, and what is true of it.
    struct Log {
        ledger: Ledger,
        counts: bool,
        /// Mark of each batch.
        batches: Vec<Mark>,
        confirmed: usize,
    }

    impl Log {
        fn new(counts: bool) -> Log {
            Log { ledger: Ledger::new(WINDOW), counts, batches: Vec::new(), confirmed: 0 }
        }

        fn room(&self) -> usize {
            WINDOW - (self.batches.len() - self.confirmed)
        }

        /// Some batches at the end of a loop.
        fn close(&mut self, batches: usize, mark: Mark) {
            self.ledger.confirm(Position(self.confirmed as u64));
            self.batches.extend(std::iter::repeat_n(mark, batches));
            self.ledger.close(Position(self.batches.len() as u64), mark);
        }

        fn confirm(&mut self, most: usize) {
            self.confirmed = self.batches.len().min(self.confirmed + most);
            self.ledger.confirm(Position(self.confirmed as u64));
        }

        /// All that it ever got up to `mark` is confirmed.
        fn holds(&self, mark: Mark) -> bool {
            self.batches[self.confirmed..].iter().all(|batch| *batch > mark)
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        /// A loop with a step that makes so many packets, and so many batches.
        Step {
            packets: u8,
            batches: usize,
        },
        /// A loop in which only the log that does not count yet gets something.
        Hand(usize),
        Confirm {
            log: usize,
            batches: usize,
        },
        /// The second log begins.
        Open,
        /// It has all; from here on it counts.
        Count,
        /// The first log, or the second one, is given up.
        Remove(usize),
    }

    fn events() -> impl Strategy<Value = Event> {
        prop_oneof![
            6 => (0..4_u8, 1..3_usize).prop_map(|(packets, batches)| {
                Event::Step { packets, batches }
            }),
            2 => (1..3_usize).prop_map(Event::Hand),
            6 => (0..2_usize, 1..4_usize).prop_map(|(log, batches)| {
                Event::Confirm { log, batches }
            }),
            2 => Just(Event::Open),
            2 => Just(Event::Count),
            1 => (0..2_usize).prop_map(Event::Remove),
        ]
    }

    struct Primary {
        logs: [Option<Log>; 2],
        gate: Gate<Mark>,
        mark: Mark,
    }

    impl Primary {
        fn counting(&self) -> impl Iterator<Item = &Log> {
            self.logs.iter().flatten().filter(|log| log.counts)
        }

        fn close(&mut self, batches: usize, wanted: impl Fn(&Log) -> bool) {
            let mark = self.mark;
            let logs = self.logs.iter_mut().flatten().filter(|log| wanted(log));
            let closed = logs.map(|log| log.close(batches, mark)).count();
            if closed > 0 {
                self.mark = mark.next();
            }
        }

        fn act(&mut self, event: Event) {
            match event {
                Event::Step { packets, batches } => {
                    let room = |log: &Log| log.room() >= batches;
                    if self.logs.iter().flatten().all(room) {
                        for _ in 0..packets {
                            let _full = self.gate.hold(Lane::All, self.mark, self.mark);
                        }
                        self.close(batches, |_| true);
                    }
                }
                Event::Hand(batches) => {
                    self.close(batches, |log| !log.counts && log.room() >= batches);
                }
                Event::Confirm { log, batches } => {
                    if let Some(log) = &mut self.logs[log] {
                        log.confirm(batches);
                    }
                }
                Event::Open => {
                    self.logs[1].get_or_insert_with(|| Log::new(false));
                }
                // What the peer was handed has to be confirmed before.
                Event::Count => {
                    if let Some(log) = &mut self.logs[1] {
                        log.counts |= log.confirmed > 0 && log.confirmed == log.batches.len();
                    }
                }
                // Without any log that counts the gate would be open.
                Event::Remove(log) => {
                    let others = self.logs[1 - log].as_ref();
                    if others.is_some_and(|other| other.counts) {
                        self.logs[log] = None;
                    }
                }
            }
        }

        fn release(&mut self) -> Vec<Mark> {
            let ledgers = self.logs.iter().flatten().filter(|log| log.counts);
            let confirmed = confirmed_by_all(ledgers.map(|log| &log.ledger));
            let mut left = Vec::new();
            self.gate.release(Lane::All, confirmed, |mark| left.push(mark));
            left
        }
    }

    proptest! {
        /// Two logs, of which one begins later, counts later still, and either goes.
        #[test]
        fn nothing_leaves_that_a_log_which_counts_lacks(
            events in prop::collection::vec(events(), 1..120)
        ) {
            let mut primary = Primary {
                logs: [Some(Log::new(true)), None],
                gate: Gate::new(64, CommitRule::Swmu),
                mark: Mark::START.next(),
            };
            for event in events {
                primary.act(event);
                for mark in primary.release() {
                    prop_assert!(primary.counting().all(|log| log.holds(mark)), "{event:?}");
                }
                for log in primary.logs.iter().flatten() {
                    prop_assert!(log.ledger.waiting.capacity() == WINDOW, "it never grows");
                }
            }
            primary.logs.iter_mut().flatten().for_each(|log| log.confirm(usize::MAX / 2));
            primary.release();
            prop_assert!(primary.gate.is_empty(), "what is confirmed leaves");
        }
    }
}
