//! How many connections each source has: a table of fixed size, exact, with room for as many
//! sources as there can be connections.

/// Connections by source, which is known by a keyed number of 64 bits; two that share it would be
/// counted as one.
///
/// A source lies in the bucket that its number names, or in the first free one behind it.
#[derive(Debug)]
pub(crate) struct SourceCounts {
    buckets: Vec<Bucket>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    source: u64,
    /// 0: the bucket is free.
    connections: u32,
}

const FREE: Bucket = Bucket { source: 0, connections: 0 };

impl SourceCounts {
    /// An empty table for `connections` connections at most.
    pub fn with_capacity(connections: usize) -> SourceCounts {
        SourceCounts { buckets: vec![FREE; connections + connections.div_ceil(2)] }
    }

    /// How many connections `source` has.
    pub fn of(&self, source: u64) -> u32 {
        self.buckets[self.bucket(source)].connections
    }

    /// Counts one more.
    pub fn add(&mut self, source: u64) {
        let at = self.bucket(source);
        let connections = self.buckets[at].connections + 1;
        self.buckets[at] = Bucket { source, connections };
    }

    /// Counts one less.
    pub fn remove(&mut self, source: u64) {
        let at = self.bucket(source);
        match self.buckets[at].connections {
            0 => debug_assert!(false, "what is removed was added"),
            1 => self.vacate(at),
            _ => self.buckets[at].connections -= 1,
        }
    }

    /// Bytes of memory that the table takes.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&self.buckets[..])
    }

    /// Frees a bucket. Whatever had to go past it may have to come back.
    fn vacate(&mut self, at: usize) {
        let mut free = at;
        let mut at = self.behind(free);
        while self.buckets[at].connections > 0 {
            let home = self.home(self.buckets[at].source);
            if self.distance(home, at) >= self.distance(free, at) {
                self.buckets[free] = self.buckets[at];
                free = at;
            }
            at = self.behind(at);
        }
        self.buckets[free] = FREE;
    }

    /// The bucket of a source, or the free one where it would be put.
    fn bucket(&self, source: u64) -> usize {
        let mut at = self.home(source);
        while self.buckets[at].connections > 0 && self.buckets[at].source != source {
            at = self.behind(at);
        }
        at
    }

    fn home(&self, source: u64) -> usize {
        ((u128::from(source) * self.buckets.len() as u128) >> 64) as usize
    }

    fn behind(&self, at: usize) -> usize {
        if at + 1 == self.buckets.len() { 0 } else { at + 1 }
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.buckets.len() - from }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few numbers near the end of the range, so that buckets are shared and wrap.
        #[test]
        fn counts_like_a_map(steps in prop::collection::vec((0u64..12, any::<bool>()), 0..200)) {
            let capacity = 8;
            let mut counts = SourceCounts::with_capacity(capacity);
            let mut model: HashMap<u64, u32> = HashMap::new();
            for (number, add) in steps {
                let source = u64::MAX - number * (u64::MAX / 40);
                let known = model.entry(source).or_default();
                let total = *known;
                if add {
                    *known += 1;
                    counts.add(source);
                } else if total > 0 {
                    *known -= 1;
                    counts.remove(source);
                }
                if model.values().sum::<u32>() as usize > capacity {
                    *model.get_mut(&source).unwrap() -= 1;
                    counts.remove(source);
                }
                for (source, connections) in &model {
                    prop_assert_eq!(counts.of(*source), *connections);
                }
            }
            let used = counts.buckets.iter().filter(|bucket| bucket.connections > 0).count();
            prop_assert_eq!(used, model.values().filter(|&&connections| connections > 0).count());
        }
    }
}
