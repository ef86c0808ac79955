//! The stream pattern, which anyone can check: byte `i` is the low byte of
//! `(i * 2654435761) >> 16` in wrapping 64-bit arithmetic.

/// Fills `out` with the pattern from byte `offset` of the stream on.
#[inline]
pub fn fill(offset: u64, out: &mut [u8]) {
    // Bits 16 to 23 of a product depend on no higher bits of its factors, so 32 bits do; the
    // compiler makes vector code of it.
    let start = offset as u32;
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = (start.wrapping_add(i as u32).wrapping_mul(2_654_435_761) >> 16) as u8;
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
