//! The proof that both nodes hold the same state, carried in the log.

use crate::role::{Mismatch, Position};

/// Compares the primary's digest records with this node's own digests and remembers the first
/// difference. It never forgets: a state that was once wrong stays wrong, even when later digests
/// happen to agree.
#[derive(Debug, Clone, Copy, Default)]
pub struct DigestCheck {
    checked: u64,
    mismatches: u64,
    first: Option<Mismatch>,
}

impl DigestCheck {
    #[must_use]
    pub fn new() -> DigestCheck {
        DigestCheck::default()
    }

    /// Compares one digest record with the digest of our shard at the same record. Returns the
    /// difference, if there is one; the first of them stays available as [`first`](Self::first).
    pub fn check(
        &mut self,
        shard: u16,
        position: Position,
        primary: u64,
        ours: u64,
    ) -> Option<Mismatch> {
        self.checked += 1;
        if primary == ours {
            return None;
        }
        self.mismatches += 1;
        let mismatch = Mismatch { shard, position, primary, ours };
        self.first.get_or_insert(mismatch);
        Some(mismatch)
    }

    /// The first difference ever seen.
    #[must_use]
    pub fn first(&self) -> Option<Mismatch> {
        self.first
    }

    /// How many digests were compared.
    #[must_use]
    pub fn checked(&self) -> u64 {
        self.checked
    }

    /// How many of them differed.
    #[must_use]
    pub fn mismatches(&self) -> u64 {
        self.mismatches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_digests_are_counted_and_silent() {
        let mut check = DigestCheck::new();
        assert_eq!(check.check(0, Position(1), 7, 7), None);
        assert_eq!((check.checked(), check.mismatches(), check.first()), (1, 0, None));
    }

    #[test]
    fn first_mismatch_is_remembered_over_later_agreement() {
        let mut check = DigestCheck::new();
        let first = check.check(2, Position(5), 1, 9).expect("they differ");
        assert_eq!(first, Mismatch { shard: 2, position: Position(5), primary: 1, ours: 9 });
        assert_eq!(check.check(2, Position(6), 4, 4), None);
        assert!(check.check(3, Position(7), 1, 2).is_some());
        assert_eq!(check.first(), Some(first));
        assert_eq!(check.mismatches(), 2);
        assert!(first.to_string().contains("shard 2"));
    }
}
