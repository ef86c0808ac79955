//! The bytes that travel: the documented pattern of the stream service, and noise from a seed. Any
//! piece of either can be made or verified by its position alone.

use engine::buffer::pattern;

/// The first position at which bytes are not what they must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch(pub u64);

/// Verifies that `bytes` are the pattern from position `at` on.
pub fn verify_pattern(at: u64, bytes: &[u8]) -> Result<(), Mismatch> {
    match pattern::matching(at, bytes) {
        all if all == bytes.len() => Ok(()),
        right => Err(Mismatch(at.wrapping_add(right as u64))),
    }
}

fn compare(at: u64, bytes: &[u8], expected: &[u8]) -> Result<(), Mismatch> {
    if bytes == expected {
        return Ok(());
    }
    let same = bytes.iter().zip(expected).take_while(|(a, b)| a == b).count();
    Err(Mismatch(at.wrapping_add(same as u64)))
}

/// Random bytes from a seed.
#[derive(Debug, Clone, Copy)]
pub struct Noise {
    seed: u64,
}

impl Noise {
    /// Noise of one connection.
    pub fn new(seed: u64, connection: u32) -> Noise {
        Noise { seed: mix(seed ^ (u64::from(connection) << 32)) }
    }

    /// Fills `out` with the bytes from position `at` on.
    pub fn fill(&self, at: u64, out: &mut [u8]) {
        let skip = usize::try_from(at % 8).expect("less than 8");
        let (first, rest) = out.split_at_mut(out.len().min((8 - skip) % 8));
        if !first.is_empty() {
            first.copy_from_slice(&self.word(at / 8)[skip..skip + first.len()]);
        }
        let word = at.div_ceil(8);
        for (index, chunk) in (word..).zip(rest.chunks_mut(8)) {
            chunk.copy_from_slice(&self.word(index)[..chunk.len()]);
        }
    }

    /// Verifies that `bytes` are the noise from position `at` on.
    pub fn verify(&self, at: u64, bytes: &[u8]) -> Result<(), Mismatch> {
        let mut expected = [0; 4096];
        let mut at = at;
        for chunk in bytes.chunks(expected.len()) {
            let expected = &mut expected[..chunk.len()];
            self.fill(at, expected);
            compare(at, chunk, expected)?;
            at += chunk.len() as u64;
        }
        Ok(())
    }

    fn word(&self, index: u64) -> [u8; 8] {
        mix(self.seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15))).to_le_bytes()
    }
}

/// The finalizer of SplitMix64: every bit of the input stirs every bit of the output.
fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_wrong_byte_of_a_pattern_is_named() {
        let mut bytes = [0; 2000];
        pattern::fill(70_000, &mut bytes);
        assert_eq!(verify_pattern(70_000, &bytes), Ok(()));
        bytes[1500] ^= 1;
        assert_eq!(verify_pattern(70_000, &bytes), Err(Mismatch(71_500)));
    }

    #[test]
    fn noise_is_the_same_however_it_is_cut() {
        let noise = Noise::new(1, 2);
        let mut whole = [0; 100];
        noise.fill(0, &mut whole);
        for at in 0..40 {
            for len in 0..30 {
                let mut piece = vec![0; len];
                noise.fill(at as u64, &mut piece);
                assert_eq!(piece, whole[at..at + len], "{len} bytes at {at}");
            }
        }
        assert_eq!(noise.verify(3, &whole[3..]), Ok(()));
        whole[50] ^= 1;
        assert_eq!(noise.verify(3, &whole[3..]), Err(Mismatch(50)));
        assert!(Noise::new(1, 3).verify(3, &whole[3..]).is_err());
    }
}
