//! The bytes that travel: byte `i` is the low byte of `(i * 2654435761) >> 16` in wrapping 64-bit
//! arithmetic, as the stream service sends them. Any piece can be made or verified by its position.

/// 2^32 divided by the golden ratio, as the pattern's definition has it.
const FACTOR: u32 = 2_654_435_761;
/// Bytes made at a time.
const LANES: usize = 16;

/// Fills `out` with the pattern from position `at` on.
#[inline]
pub fn fill(at: u64, out: &mut [u8]) {
    let mut lanes = lanes(at);
    let (chunks, rest) = out.as_chunks_mut::<LANES>();
    for chunk in chunks {
        *chunk = next(&mut lanes);
    }
    let last = next(&mut lanes);
    rest.copy_from_slice(&last[..rest.len()]);
}

/// How many of `bytes` are the pattern from position `at` on, before the first that is not.
#[inline]
pub fn matching(at: u64, bytes: &[u8]) -> usize {
    let mut lanes = lanes(at);
    let (chunks, rest) = bytes.as_chunks::<LANES>();
    let mut matched = 0;
    for chunk in chunks {
        let expected = next(&mut lanes);
        if *chunk != expected {
            return matched + same(chunk, &expected);
        }
        matched += LANES;
    }
    matched + same(rest, &next(&mut lanes))
}

fn same(bytes: &[u8], expected: &[u8]) -> usize {
    bytes.iter().zip(expected).take_while(|(a, b)| a == b).count()
}

/// Products for the next bytes. Bits 16 to 23 of a product depend on no higher bits of its factors,
/// so 32 bits do.
#[inline]
fn lanes(at: u64) -> [u32; LANES] {
    let start = at as u32;
    std::array::from_fn(|lane| start.wrapping_add(lane as u32).wrapping_mul(FACTOR))
}

#[inline]
fn next(lanes: &mut [u32; LANES]) -> [u8; LANES] {
    let bytes = std::array::from_fn(|lane| (lanes[lane] >> 16) as u8);
    for lane in lanes {
        *lane = lane.wrapping_add(FACTOR.wrapping_mul(LANES as u32));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_documented_one_however_it_is_cut() {
        for start in [0_u64, 5, (1 << 24) - 7, u64::MAX - 20] {
            let at = |i: usize| start.wrapping_add(i as u64);
            let whole: Vec<u8> =
                (0..100).map(|i| (at(i).wrapping_mul(2_654_435_761) >> 16) as u8).collect();
            for from in 0..40 {
                for len in 0..60 {
                    let mut piece = vec![0; len];
                    fill(at(from), &mut piece);
                    assert_eq!(piece, whole[from..from + len], "{len} bytes at {start} + {from}");
                }
            }
        }
    }

    #[test]
    fn first_wrong_byte_is_found() {
        let mut bytes = vec![0; 100];
        fill(1000, &mut bytes);
        assert_eq!(matching(1000, &bytes), 100);
        for wrong in 0..100 {
            bytes[wrong] ^= 0x40;
            assert_eq!(matching(1000, &bytes), wrong);
            bytes[wrong] ^= 0x40;
        }
    }
}
