//! The stream pattern, which anyone can check: byte `i` is the low byte of
//! `(i * 2654435761) >> 16` in wrapping 64-bit arithmetic.

/// 2^32 divided by the golden ratio, as the pattern's definition has it.
const FACTOR: u32 = 2_654_435_761;
/// Bytes made at a time.
const LANES: usize = 16;

/// Fills `out` with the pattern from byte `offset` of the stream on.
#[inline]
pub fn fill(offset: u64, out: &mut [u8]) {
    // Bits 16 to 23 of a product depend on no higher bits of its factors, so 32 bits do. Each lane
    // adds where it would multiply, and none waits for another.
    let start = offset as u32;
    let mut lanes: [u32; LANES] =
        std::array::from_fn(|lane| start.wrapping_add(lane as u32).wrapping_mul(FACTOR));
    let (chunks, rest) = out.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for (byte, lane) in chunk.iter_mut().zip(&mut lanes) {
            *byte = (*lane >> 16) as u8;
            *lane = lane.wrapping_add(FACTOR.wrapping_mul(LANES as u32));
        }
    }
    for (byte, lane) in rest.iter_mut().zip(lanes) {
        *byte = (lane >> 16) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_the_documented_one(offset: u64, len in 0usize..300) {
            let mut out = vec![0; len];
            fill(offset, &mut out);
            for (i, byte) in out.into_iter().enumerate() {
                let at = offset.wrapping_add(i as u64);
                prop_assert_eq!(byte, (at.wrapping_mul(2654435761) >> 16) as u8);
            }
        }
    }
}
