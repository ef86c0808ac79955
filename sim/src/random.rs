//! Numbers from a seed: the same on every machine.

/// SplitMix64: small, fast, and good enough for weather.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A source of its own for each purpose, so that what one part draws changes nothing for the
    /// others.
    #[must_use]
    pub fn new(seed: u64, purpose: u64) -> Random {
        let mut random = Random(seed ^ purpose.wrapping_mul(0xd6e8_feb8_6659_fd93));
        // Neighbouring seeds must not have neighbouring streams.
        Random(random.bits().wrapping_add(purpose))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `bound`, which is 1 or more.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// From `low` to `high`, each order of magnitude as likely as any other. `low` is 1 or more.
    pub fn magnitude(&mut self, low: u64, high: u64) -> u64 {
        let (low_bits, high_bits) = (low.ilog2(), high.ilog2());
        let bits = self.between(low_bits.into(), high_bits.into());
        (1 << bits | self.below(1 << bits)).clamp(low, high)
    }

    /// True in `chance` of 1000 cases.
    pub fn permille(&mut self, chance: u32) -> bool {
        chance > 0 && self.below(1000) < u64::from(chance)
    }

    /// One of `choices`, of which there is at least one.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magnitudes_stay_in_range_and_reach_both_ends() {
        let mut random = Random::new(1, 2);
        let drawn: Vec<u64> = (0..4000).map(|_| random.magnitude(5, 40_000)).collect();
        assert!(drawn.iter().all(|n| (5..=40_000).contains(n)));
        assert!(drawn.iter().any(|n| *n < 10) && drawn.iter().any(|n| *n > 30_000));
    }

    #[test]
    fn purposes_have_streams_of_their_own() {
        assert_ne!(Random::new(7, 1).bits(), Random::new(7, 2).bits());
        assert_ne!(Random::new(7, 1).bits(), Random::new(8, 1).bits());
    }
}
