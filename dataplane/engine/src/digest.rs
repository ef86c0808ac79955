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
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(MULTIPLIER);
    }

    /// Folds bytes in, and their number.
    #[inline]
    pub fn fold_bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.fold(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.fold(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }
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
    fn order_content_and_length_matter() {
        let one = digest_of(&[b"abc", b"defghijkl"]);
        assert_ne!(one, digest_of(&[b"defghijkl", b"abc"]));
        assert_ne!(one, digest_of(&[b"abc", b"defghijkm"]));
        assert_ne!(digest_of(&[b"a"]), digest_of(&[b"a\0"]));
        assert_eq!(one, digest_of(&[b"abc", b"defghijkl"]));
    }
}
