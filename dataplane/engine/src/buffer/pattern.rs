//! The stream pattern, which anyone can check: byte `i` is the low byte of
//! `(i * 2654435761) >> 16` in wrapping 64-bit arithmetic. Any piece can be made or verified by its
//! position alone.

/// 2^32 divided by the golden ratio, as the pattern's definition has it.
const FACTOR: u32 = 2_654_435_761;
/// A byte this much further on has a product that differs by `FACTOR << 16`: by the factor's low
/// byte in the bits that the pattern shows, and by nothing in those below them.
const TURN: usize = 1 << 16;

/// Bytes compared at a time.
const PIECE: usize = 1024;

/// The first turn. Every other one is this, with one number added to all of its bytes.
static FIRST_TURN: [u8; TURN] = {
    let mut turn = [0; TURN];
    let mut at = 0;
    while at < TURN {
        turn[at] = ((at as u32).wrapping_mul(FACTOR) >> 16) as u8;
        at += 1;
    }
    turn
};

/// The bytes of the first turn that those from `offset` on are made of, as many as there are up to
/// its end, and what is to be added to each.
#[inline]
fn base(offset: u64) -> (&'static [u8], u8) {
    let turns = (offset >> TURN.trailing_zeros()) as u8;
    (&FIRST_TURN[offset as usize % TURN..], turns.wrapping_mul(FACTOR as u8))
}

/// Fills `out` with the pattern from byte `offset` of the stream on.
#[inline]
pub fn fill(offset: u64, out: &mut [u8]) {
    let (mut offset, mut out) = (offset, out);
    while !out.is_empty() {
        let (from, added) = base(offset);
        let (now, later) = out.split_at_mut(out.len().min(from.len()));
        for (byte, first) in now.iter_mut().zip(from) {
            *byte = first.wrapping_add(added);
        }
        offset = offset.wrapping_add(now.len() as u64);
        out = later;
    }
}

/// How many of `bytes` are the pattern from byte `offset` of the stream on, before the first that
/// is not.
#[must_use]
pub fn matching(offset: u64, bytes: &[u8]) -> usize {
    let mut expected = [0; PIECE];
    let mut matched = 0;
    for piece in bytes.chunks(PIECE) {
        let expected = &mut expected[..piece.len()];
        fill(offset.wrapping_add(matched as u64), expected);
        if piece != expected {
            let right = piece.iter().zip(expected).take_while(|(is, should)| is == should).count();
            return matched + right;
        }
        matched += piece.len();
    }
    matched
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn documented(at: u64) -> u8 {
        (at.wrapping_mul(2_654_435_761) >> 16) as u8
    }

    /// Anywhere, and near the seams of the table and of the numbers.
    fn offsets() -> impl Strategy<Value = u64> {
        prop_oneof![
            any::<u64>(),
            (any::<u32>(), 0..400_u64)
                .prop_map(|(turn, at)| (u64::from(turn) << 16).wrapping_add(at).wrapping_sub(200)),
        ]
    }

    proptest! {
        #[test]
        fn is_the_documented_one(offset in offsets(), len in 0usize..600) {
            let mut out = vec![0; len];
            fill(offset, &mut out);
            for (i, byte) in out.into_iter().enumerate() {
                prop_assert_eq!(byte, documented(offset.wrapping_add(i as u64)));
            }
        }

        #[test]
        fn first_wrong_byte_is_found(
            offset in offsets(),
            len in 1usize..600,
            wrong: prop::sample::Index,
            by in 1..=255_u8,
        ) {
            let mut bytes: Vec<u8> =
                (0..len as u64).map(|i| documented(offset.wrapping_add(i))).collect();
            prop_assert_eq!(matching(offset, &bytes), len);
            let wrong = wrong.index(len);
            bytes[wrong] = bytes[wrong].wrapping_add(by);
            prop_assert_eq!(matching(offset, &bytes), wrong);
        }
    }

    #[test]
    fn more_than_a_turn_is_made_in_one_go() {
        let mut bytes = vec![0; 3 * TURN];
        fill(TURN as u64 - 5, &mut bytes);
        assert!((TURN as u64 - 5..).zip(&bytes).all(|(at, &byte)| byte == documented(at)));
        assert_eq!(matching(TURN as u64 - 5, &bytes), bytes.len());
    }
}
