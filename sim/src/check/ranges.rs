//! Sets of stream offsets.

use std::collections::BTreeMap;

/// Ranges of numbers that touch nowhere: start, and first number behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds `start..end`.
    pub fn add(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let (mut start, mut end) = (start, end);
        while let Some((&first, &last)) = self.0.range(..=end).next_back() {
            if last < start {
                break;
            }
            start = start.min(first);
            end = end.max(last);
            self.0.remove(&first);
        }
        self.0.insert(start, end);
    }

    /// Whether all of `start..end` is in it.
    #[must_use]
    pub fn has(&self, start: u64, end: u64) -> bool {
        start >= end || self.reach(start) >= end
    }

    /// The first number from `start` on that is not in it.
    #[must_use]
    pub fn reach(&self, start: u64) -> u64 {
        match self.0.range(..=start).next_back() {
            Some((_, &last)) => last.max(start),
            None => start,
        }
    }

    /// The parts of `start..end` that are not in it.
    #[must_use]
    pub fn missing(&self, start: u64, end: u64) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut at = self.reach(start);
        while at < end {
            let next = self.0.range(at..end).next().map_or(end, |(&first, _)| first);
            gaps.push((at, next));
            at = self.reach(next).max(next);
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_and_gaps_are_found() {
        let mut ranges = Ranges::default();
        for (start, end) in [(10, 20), (30, 40), (5, 11), (50, 60), (20, 30), (7, 7)] {
            ranges.add(start, end);
        }
        assert_eq!(ranges.0, BTreeMap::from([(5, 40), (50, 60)]));
        assert!(ranges.has(5, 40) && !ranges.has(5, 41) && ranges.has(3, 3));
        assert_eq!((ranges.reach(5), ranges.reach(45), ranges.reach(0)), (40, 45, 0));
        assert_eq!(ranges.missing(0, 70), [(0, 5), (40, 50), (60, 70)]);
        assert_eq!(ranges.missing(6, 39), []);
    }
}
