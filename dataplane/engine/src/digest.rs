//! A running digest of what a shard did: each header that it emitted and a summary of each
//! connection that it touched. Two replicas that fold different values have diverged. Not a
//! cryptographic hash: it guards against faults, not against people.

/// An odd constant with well-spread bits.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// 64 bits that depend on everything folded in so far, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// A digest that continues from `value`.
    #[must_use]
    pub fn from_value(value: u64) -> Digest {
        Digest(value)
    }

    /// The digest so far.
    #[must_use]
    pub fn value(self) -> u64 {
        self.0
    }

    /// Folds a number in.
    #[inline]
    pub fn fold(&mut self, word: u64) {
        self.0 = mix(self.0, word);
    }

    /// Folds several numbers in, as one. They are mixed among themselves first, in two lanes: what
    /// was folded in before need not be known by then, which keeps this off the CPU's critical
    /// path.
    #[inline]
    pub fn fold_all(&mut self, words: &[u64]) {
        let (mut even, mut odd) = (0, MULTIPLIER);
        let (pairs, rest) = words.as_chunks::<2>();
        for [first, second] in pairs {
            even = mix(even, *first);
            odd = mix(odd, *second);
        }
        if let [last] = rest {
            even = mix(even, *last);
        }
        self.fold(mix(even, odd));
    }

    /// Folds bytes in, and their number.
    #[inline]
    pub fn fold_bytes(&mut self, bytes: &[u8]) {
        let (mut even, mut odd) = (bytes.len() as u64, MULTIPLIER);
        let (words, rest) = bytes.as_chunks::<8>();
        let (pairs, lone) = words.as_chunks::<2>();
        for [first, second] in pairs {
            even = mix(even, u64::from_le_bytes(*first));
            odd = mix(odd, u64::from_le_bytes(*second));
        }
        if let [word] = lone {
            even = mix(even, u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        odd = mix(odd, u64::from_le_bytes(last));
        self.fold(mix(even, odd));
    }
}

#[inline]
fn mix(state: u64, word: u64) -> u64 {
    (state.rotate_left(23) ^ word).wrapping_mul(MULTIPLIER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest_of(parts: &[&[u8]]) -> u64 {
        let mut digest = Digest::default();
        parts.iter().for_each(|part| digest.fold_bytes(part));
        digest.value()
    }

    #[test]
    fn every_number_and_its_place_matter() {
        let of = |words: &[u64]| {
            let mut digest = Digest::default();
            digest.fold_all(words);
            digest.value()
        };
        let words = [3, 1, 4, 1, 5];
        for i in 0..words.len() {
            let mut other = words;
            other[i] += 1;
            assert_ne!(of(&words), of(&other), "{i}");
            other = words;
            other.swap(i, (i + 1) % words.len());
            assert!(of(&words) != of(&other) || words == other, "{i}");
        }
    }

    #[test]
    fn order_content_and_length_matter() {
        let one = digest_of(&[b"abc", b"defghijkl"]);
        assert_ne!(one, digest_of(&[b"defghijkl", b"abc"]));
        assert_ne!(one, digest_of(&[b"abc", b"defghijkm"]));
        assert_ne!(digest_of(&[b"a"]), digest_of(&[b"a\0"]));
        let bytes: [u8; 40] = std::array::from_fn(|i| i as u8);
        for i in 0..bytes.len() {
            let mut other = bytes;
            other[i] ^= 1;
            assert_ne!(digest_of(&[&bytes]), digest_of(&[&other]), "byte {i}");
            assert_ne!(digest_of(&[&bytes]), digest_of(&[&bytes[..i]]), "length {i}");
        }
        assert_eq!(one, digest_of(&[b"abc", b"defghijkl"]));
    }
}
