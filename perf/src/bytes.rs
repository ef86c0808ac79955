//! The bytes that travel: the documented pattern of the stream service, and noise from a seed. Any
//! piece of either can be made or verified by its position alone.

/// After so many bytes the pattern repeats: byte i is made of bits 16 to 23 of a product with i,
/// which depend on the low 24 bits of i alone.
const PERIOD: usize = 1 << 24;

/// The first position at which bytes are not what they must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch(pub u64);

/// One period of the stream service's pattern, for comparisons at memory speed.
#[derive(Debug)]
pub struct Pattern {
    period: Vec<u8>,
}

impl Pattern {
    /// Computes the table.
    pub fn new() -> Pattern {
        Pattern { period: (0..PERIOD as u64).map(pattern_byte).collect() }
    }

    /// Verifies that `bytes` are the pattern from position `at` on.
    pub fn verify(&self, at: u64, bytes: &[u8]) -> Result<(), Mismatch> {
        let mut at = at;
        let mut rest = bytes;
        while !rest.is_empty() {
            let start = usize::try_from(at % PERIOD as u64).expect("less than 2^24");
            let len = rest.len().min(PERIOD - start);
            compare(at, &rest[..len], &self.period[start..start + len])?;
            rest = &rest[len..];
            at = at.wrapping_add(len as u64);
        }
        Ok(())
    }
}

fn pattern_byte(i: u64) -> u8 {
    i.wrapping_mul(2_654_435_761).to_le_bytes()[2]
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
    fn pattern_is_the_documented_one_across_its_period() {
        let pattern = Pattern::new();
        let start = PERIOD as u64 * 300 - 1000;
        let mut bytes: Vec<u8> =
            (start..start + 2000).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as u8).collect();
        assert_eq!(pattern.verify(start, &bytes), Ok(()));
        bytes[1500] ^= 1;
        assert_eq!(pattern.verify(start, &bytes), Err(Mismatch(start + 1500)));
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
