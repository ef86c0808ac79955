//! A shard's snapshot on its way through the log: pieces in order, and an end that proves them.
//!
//! ```text
//! body of a piece   8 bytes: where its bytes belong (u64 LE), then the bytes
//! body of the end   8 bytes: length of the whole (u64 LE), then its BLAKE3 (32 bytes)
//! ```
//!
//! The first piece stands where the snapshot was taken: what follows it in the log of that shard
//! has not happened to the snapshot.

use std::mem;

/// Bytes of a snapshot in one piece, at most: a piece must not keep the log's records waiting.
pub const PIECE_BYTES: usize = 16 << 10;
/// Before the bytes of a piece.
pub const OFFSET_BYTES: usize = 8;
/// Body of the end.
pub const END_BYTES: usize = 8 + blake3::OUT_LEN;

/// Why a snapshot is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotRefused {
    #[error("piece of a snapshot is cut off")]
    Truncated,
    #[error("piece of a snapshot belongs at byte {offset}, and {expected} came before it")]
    OutOfPlace { offset: u64, expected: u64 },
    #[error("snapshot is longer than {limit} bytes, which is all that this node has room for")]
    TooLong { limit: usize },
    #[error("snapshot ends after {came} bytes and should have {stated}")]
    Length { stated: u64, came: u64 },
    #[error("snapshot is damaged: its bytes have another BLAKE3 than its end says")]
    Damaged,
}

/// A snapshot that leaves, piece by piece. Its memory is used again for the next one.
#[derive(Debug, Default)]
pub struct Pieces {
    bytes: Vec<u8>,
    taken: usize,
    hasher: blake3::Hasher,
}

impl Pieces {
    /// Begins another snapshot, which `write` appends to an empty vector.
    pub fn begin(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.bytes.clear();
        write(&mut self.bytes);
        self.taken = 0;
        self.hasher.reset();
    }

    /// Where the next piece belongs, and its bytes; `None` when the end is next.
    #[must_use]
    pub fn next(&self) -> Option<([u8; OFFSET_BYTES], &[u8])> {
        let left = self.bytes.get(self.taken..).filter(|left| !left.is_empty())?;
        Some(((self.taken as u64).to_le_bytes(), &left[..left.len().min(PIECE_BYTES)]))
    }

    /// The piece that [`next`](Self::next) gave has been appended to the log.
    pub fn took(&mut self) {
        let end = self.bytes.len().min(self.taken + PIECE_BYTES);
        self.hasher.update(&self.bytes[self.taken..end]);
        self.taken = end;
    }

    /// Body of the end, once all pieces were taken.
    #[must_use]
    pub fn end(&self) -> [u8; END_BYTES] {
        let mut body = [0; END_BYTES];
        body[..8].copy_from_slice(&(self.taken as u64).to_le_bytes());
        body[8..].copy_from_slice(self.hasher.finalize().as_bytes());
        body
    }

    /// Bytes of this snapshot.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// A snapshot that arrives.
#[derive(Debug, Default)]
pub struct Collected {
    bytes: Vec<u8>,
    hasher: blake3::Hasher,
}

impl Collected {
    /// Adds a piece. `limit`: how long the whole may become.
    ///
    /// # Errors
    /// A piece that does not belong there; nothing was added.
    pub fn piece(&mut self, body: &[u8], limit: usize) -> Result<(), SnapshotRefused> {
        let (offset, bytes) =
            body.split_first_chunk::<OFFSET_BYTES>().ok_or(SnapshotRefused::Truncated)?;
        let (offset, expected) = (u64::from_le_bytes(*offset), self.bytes.len() as u64);
        if offset != expected {
            return Err(SnapshotRefused::OutOfPlace { offset, expected });
        }
        if limit - self.bytes.len() < bytes.len() {
            return Err(SnapshotRefused::TooLong { limit });
        }
        self.bytes.extend_from_slice(bytes);
        self.hasher.update(bytes);
        Ok(())
    }

    /// The whole snapshot, if it is what was sent.
    ///
    /// # Errors
    /// One that is torn or damaged.
    pub fn end(&mut self, body: &[u8]) -> Result<Vec<u8>, SnapshotRefused> {
        let Collected { bytes, hasher } = mem::take(self);
        let (stated, hash) = body.split_first_chunk::<8>().ok_or(SnapshotRefused::Truncated)?;
        let hash = hash.first_chunk().ok_or(SnapshotRefused::Truncated)?;
        let (stated, came) = (u64::from_le_bytes(*stated), bytes.len() as u64);
        if stated != came {
            return Err(SnapshotRefused::Length { stated, came });
        }
        if hasher.finalize() != blake3::Hash::from_bytes(*hash) {
            return Err(SnapshotRefused::Damaged);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 1 << 20;

    fn bodies(snapshot: &[u8]) -> (Vec<Vec<u8>>, [u8; END_BYTES]) {
        let mut pieces = Pieces::default();
        pieces.begin(|out| out.extend_from_slice(snapshot));
        let mut bodies = Vec::new();
        while let Some((offset, bytes)) = pieces.next() {
            bodies.push([&offset[..], bytes].concat());
            pieces.took();
        }
        (bodies, pieces.end())
    }

    fn collect(bodies: &[Vec<u8>], end: &[u8]) -> Result<Vec<u8>, SnapshotRefused> {
        let mut collected = Collected::default();
        bodies.iter().try_for_each(|body| collected.piece(body, LIMIT))?;
        collected.end(end)
    }

    proptest! {
        #[test]
        fn whole_snapshots_arrive_and_no_others(
            length in 0..4 * PIECE_BYTES, seed in any::<u8>(),
            place in any::<prop::sample::Index>(), flip in 1..=255_u8,
        ) {
            let snapshot: Vec<u8> = (0..length).map(|at| (at as u8).wrapping_mul(seed)).collect();
            let (mut bodies, end) = bodies(&snapshot);
            prop_assert_eq!(collect(&bodies, &end), Ok(snapshot));
            let mut torn = end;
            torn[place.index(END_BYTES)] ^= flip;
            prop_assert!(collect(&bodies, &torn).is_err());
            prop_assert!(collect(&bodies, &end[..place.index(END_BYTES)]).is_err());
            if !bodies.is_empty() {
                let missing = place.index(bodies.len());
                let body = bodies.remove(missing);
                prop_assert!(collect(&bodies, &end).is_err());
                bodies.insert(missing, body);
                let at = place.index(bodies[missing].len());
                bodies[missing][at] ^= flip;
                prop_assert!(collect(&bodies, &end).is_err());
            }
        }
    }

    #[test]
    fn snapshot_longer_than_the_room_is_refused() {
        let (bodies, _) = bodies(&[7; 2 * PIECE_BYTES]);
        let mut collected = Collected::default();
        assert_eq!(collected.piece(&bodies[0], PIECE_BYTES), Ok(()));
        let limit = PIECE_BYTES;
        assert_eq!(collected.piece(&bodies[1], limit), Err(SnapshotRefused::TooLong { limit }));
    }

    #[test]
    fn memory_serves_for_the_next_snapshot() {
        let mut pieces = Pieces::default();
        pieces.begin(|out| out.extend_from_slice(&[1; 100]));
        pieces.took();
        pieces.begin(|out| out.extend_from_slice(&[2; 50]));
        let (offset, bytes) = pieces.next().expect("a piece");
        assert_eq!((u64::from_le_bytes(offset), bytes), (0, &[2; 50][..]));
        assert_eq!(pieces.len(), 50);
    }
}
