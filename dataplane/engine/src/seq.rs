//! TCP sequence numbers: 32 bits that wrap (RFC 9293 section 3.4).

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};

/// A sequence or acknowledgment number.
///
/// It has no total order, so no `Ord`: [`lt`](Self::lt) and its kin compare by wrapping distance
/// and mean something only for numbers less than 2^31 apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SeqNumber(pub u32);

impl SeqNumber {
    /// How far `self` is ahead of `other`; negative if it is behind.
    #[inline]
    pub const fn distance(self, other: SeqNumber) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }

    /// `self` comes before `other`.
    #[inline]
    pub const fn lt(self, other: SeqNumber) -> bool {
        self.distance(other) < 0
    }

    /// `self` is `other` or comes before it.
    #[inline]
    pub const fn le(self, other: SeqNumber) -> bool {
        self.distance(other) <= 0
    }

    /// `self` comes after `other`.
    #[inline]
    pub const fn gt(self, other: SeqNumber) -> bool {
        self.distance(other) > 0
    }

    /// `self` is `other` or comes after it.
    #[inline]
    pub const fn ge(self, other: SeqNumber) -> bool {
        self.distance(other) >= 0
    }

    /// The later of the two.
    #[inline]
    pub const fn max(self, other: SeqNumber) -> SeqNumber {
        if self.ge(other) { self } else { other }
    }

    /// The earlier of the two.
    #[inline]
    pub const fn min(self, other: SeqNumber) -> SeqNumber {
        if self.le(other) { self } else { other }
    }

    /// `self` lies in `start .. start + len`; right for any `len`.
    #[inline]
    pub const fn in_window(self, start: SeqNumber, len: u32) -> bool {
        self.0.wrapping_sub(start.0) < len
    }
}

impl Add<u32> for SeqNumber {
    type Output = SeqNumber;

    #[inline]
    fn add(self, n: u32) -> SeqNumber {
        SeqNumber(self.0.wrapping_add(n))
    }
}

impl AddAssign<u32> for SeqNumber {
    #[inline]
    fn add_assign(&mut self, n: u32) {
        *self = *self + n;
    }
}

impl Sub<u32> for SeqNumber {
    type Output = SeqNumber;

    #[inline]
    fn sub(self, n: u32) -> SeqNumber {
        SeqNumber(self.0.wrapping_sub(n))
    }
}

impl SubAssign<u32> for SeqNumber {
    #[inline]
    fn sub_assign(&mut self, n: u32) {
        *self = *self - n;
    }
}

impl Sub for SeqNumber {
    type Output = i32;

    /// [`SeqNumber::distance`].
    #[inline]
    fn sub(self, other: SeqNumber) -> i32 {
        self.distance(other)
    }
}

impl fmt::Debug for SeqNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for SeqNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn order_wraps() {
        let (before, after) = (SeqNumber(u32::MAX - 1), SeqNumber(3));
        assert!(before.lt(after) && after.gt(before) && before.le(before) && after.ge(after));
        assert_eq!(after - before, 5);
        assert_eq!(before.max(after), after);
        assert_eq!(before.min(after), before);
    }

    proptest! {
        #[test]
        fn moving_forward_is_later_and_can_be_undone(start: u32, n in 1u32..1 << 31) {
            let (start, later) = (SeqNumber(start), SeqNumber(start) + n);
            prop_assert!(start.lt(later));
            prop_assert_eq!(later - n, start);
            prop_assert_eq!((later - start) as u32, n);
            prop_assert_eq!(start.lt(later), !start.ge(later));
            prop_assert_eq!(start.gt(later), !start.le(later));
        }

        #[test]
        fn a_window_holds_exactly_its_length(start: u32, len in 1u32.., n: u32) {
            let start = SeqNumber(start);
            prop_assert_eq!((start + n).in_window(start, len), n < len);
            prop_assert!((start + (len - 1)).in_window(start, len));
            prop_assert!(!(start + len).in_window(start, len));
            prop_assert!(!start.in_window(start, 0));
        }
    }
}
