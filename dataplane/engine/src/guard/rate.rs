//! Rates: a bucket of tokens that fills up again with time.

use crate::addr::Addr;
use crate::config::Rate;
use crate::time::Instant;

const NS_PER_S: u64 = 1_000_000_000;
/// Sources that are remembered at once: `SETS * WAYS`.
const SETS: usize = 1024;
const WAYS: usize = 4;

/// One bucket, known by the moment at which it is full again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    rate: Rate,
    full_at_ns: u64,
}

impl Bucket {
    /// A full one.
    pub fn new(rate: Rate) -> Bucket {
        Bucket { rate, full_at_ns: 0 }
    }

    /// Whether there is no token in it.
    pub fn is_empty(&self, now: Instant) -> bool {
        let missing_ns = self.full_at_ns.saturating_sub(nanos(now));
        missing_ns > u64::from(self.rate.burst - 1) * interval_ns(self.rate)
    }

    /// Takes a token.
    pub fn take(&mut self, now: Instant) {
        self.full_at_ns = self.full_at_ns.max(nanos(now)) + interval_ns(self.rate);
    }
}

/// A bucket for each of the sources that were heard of last. One that was forgotten begins with a
/// full bucket: so the one that is nearest to that is forgotten first.
#[derive(Debug)]
pub(super) struct SourceRates {
    rate: Rate,
    sets: Box<[[Entry; WAYS]]>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    source: Addr,
    full_at_ns: u64,
}

impl SourceRates {
    /// Full buckets for all.
    pub fn new(rate: Rate) -> SourceRates {
        let free = Entry { source: Addr::UNSPECIFIED_IPV4, full_at_ns: 0 };
        SourceRates { rate, sets: vec![[free; WAYS]; SETS].into_boxed_slice() }
    }

    /// Whether the source has no token.
    pub fn is_empty(&self, source: Addr, now: Instant) -> bool {
        let known = self.sets[set_of(source)].iter().find(|entry| entry.source == source);
        known.is_some_and(|entry| {
            Bucket { rate: self.rate, full_at_ns: entry.full_at_ns }.is_empty(now)
        })
    }

    /// Takes one of the source's tokens.
    pub fn take(&mut self, source: Addr, now: Instant) {
        let set = &mut self.sets[set_of(source)];
        let known = set.iter().position(|entry| entry.source == source);
        let way = known.or_else(|| (0..WAYS).min_by_key(|&way| set[way].full_at_ns)).unwrap_or(0);
        let full_at_ns = if known.is_some() { set[way].full_at_ns } else { 0 };
        let mut bucket = Bucket { rate: self.rate, full_at_ns };
        bucket.take(now);
        set[way] = Entry { source, full_at_ns: bucket.full_at_ns };
    }
}

fn nanos(now: Instant) -> u64 {
    now.as_micros().saturating_mul(1000)
}

fn interval_ns(rate: Rate) -> u64 {
    NS_PER_S / u64::from(rate.per_second)
}

/// Who fills a set with sources of its choice makes their buckets full ones, and no other's empty.
fn set_of(source: Addr) -> usize {
    let octets = u128::from_be_bytes(source.octets());
    let folded = (octets >> 64) as u64 ^ octets as u64;
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % SETS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(from_ms: u64, to_ms: u64, mut take: impl FnMut(Instant) -> bool) -> usize {
        (from_ms..to_ms).filter(|ms| take(Instant::from_micros(ms * 1000))).count()
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(Rate { per_second: 10, burst: 5 });
        let mut take = |now| {
            let may = !bucket.is_empty(now);
            if may {
                bucket.take(now);
            }
            may
        };
        assert_eq!(taken(1000, 1005, &mut take), 5);
        assert_eq!(taken(1005, 1100, &mut take), 0);
        assert_eq!(taken(1100, 3100, &mut take), 20);
        assert_eq!(taken(60_000, 60_050, &mut take), 5);
    }

    #[test]
    fn each_source_has_its_own_and_many_forget_only_the_least_used() {
        let mut sources = SourceRates::new(Rate { per_second: 1, burst: 3 });
        let address = |i: u32| Addr::from_ipv4_octets(i.to_be_bytes());
        let now = Instant::from_micros(5_000_000);
        (0..3).for_each(|_| sources.take(address(1), now));
        assert!(sources.is_empty(address(1), now) && !sources.is_empty(address(2), now));
        // As many as there is room for, each once: whoever took more is remembered.
        (0..4 * SETS as u32).for_each(|i| sources.take(address(1 << 24 | i << 8), now));
        assert!(sources.is_empty(address(1), now));
        assert!(!sources.is_empty(address(1), Instant::from_micros(6_000_000)));
    }
}
