//! Records: what the log is made of. A batch is the records of one poll loop, one after the other.
//!
//! ```text
//!  0        2      3          4                8
//!  | shard  | kind | zero     | body length    | body ...
//!  | u16 LE | u8   | u8       | u32 LE         |
//! ```

use crate::ledger::Mark;

/// Bytes that a record costs beside its body.
pub const HEADER_BYTES: usize = 8;

/// What a record means to the shard that it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RecordKind {
    /// The input of one step: a time and the segments of a poll.
    Input = 1,
    /// The takeover's kick happened here.
    Kick = 2,
    /// The shard's digest after all records before this one: body is a `u64` LE.
    Digest = 3,
    /// An ICMP error that a shard heeds: a time and what the error says.
    Icmp = 4,
    /// A piece of the shard's snapshot, see [`snapshot`](crate::snapshot).
    SnapshotPiece = 5,
    /// The end of that snapshot, which proves it.
    SnapshotEnd = 6,
    /// Says where in the worker's log this is, see [`Milestone`].
    Milestone = 7,
    /// The end of what a backup holds of a log, see [`tail`](crate::tail).
    TailEnd = 8,
}

/// Bytes of a milestone's record as a whole.
pub const MILESTONE_BYTES: usize = HEADER_BYTES + MILESTONE_BODY_BYTES;
const MILESTONE_BODY_BYTES: usize = 24;

/// Where a worker's log is at this record: the same for all other nodes that have this log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Milestone {
    /// So many steps were logged before it, since the worker began to log.
    pub place: u64,
    /// The loop in which it was logged.
    pub mark: Mark,
    /// All nodes that count hold what was logged up to this loop.
    pub held: Mark,
}

impl Milestone {
    /// The body of its record.
    #[must_use]
    pub fn to_bytes(self) -> [u8; MILESTONE_BODY_BYTES] {
        let mut body = [0; MILESTONE_BODY_BYTES];
        let words = [self.place, self.mark.0, self.held.0];
        for (to, word) in body.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        body
    }
}

impl RecordKind {
    fn from_wire(kind: u8) -> Option<RecordKind> {
        match kind {
            1 => Some(RecordKind::Input),
            2 => Some(RecordKind::Kick),
            3 => Some(RecordKind::Digest),
            4 => Some(RecordKind::Icmp),
            5 => Some(RecordKind::SnapshotPiece),
            6 => Some(RecordKind::SnapshotEnd),
            7 => Some(RecordKind::Milestone),
            8 => Some(RecordKind::TailEnd),
            _ => None,
        }
    }

    /// Whether a shard makes a step of it.
    #[must_use]
    pub fn is_step(self) -> bool {
        matches!(self, RecordKind::Input | RecordKind::Kick | RecordKind::Icmp)
    }
}

/// Why bytes are not records. Offsets count from where the parsed bytes begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("record at byte {at} is cut off: it needs {needed} bytes and {left} are left")]
    Truncated { at: usize, needed: usize, left: usize },
    #[error("record at byte {at} is of kind {kind}, which this version does not know")]
    UnknownKind { at: usize, kind: u8 },
    #[error("record at byte {at} has {value:#04x} in its reserved byte instead of zero")]
    Reserved { at: usize, value: u8 },
    #[error("digest record at byte {at} has a body of {length} bytes instead of 8")]
    DigestLength { at: usize, length: usize },
    #[error("milestone at byte {at} has a body of {length} bytes instead of 24")]
    MilestoneLength { at: usize, length: usize },
}

/// One record, with its body where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub shard: u16,
    pub kind: RecordKind,
    /// Opaque to this crate, except for a digest's.
    pub body: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record at the start of `bytes`, and how many bytes it takes.
    ///
    /// # Errors
    /// When it is cut off, or of a kind or form that this version does not know.
    pub fn parse(bytes: &'a [u8]) -> Result<(Record<'a>, usize), RecordError> {
        let left = bytes.len();
        let Some((&[s0, s1, kind, reserved, l0, l1, l2, l3], rest)) =
            bytes.split_first_chunk::<HEADER_BYTES>()
        else {
            return Err(RecordError::Truncated { at: 0, needed: HEADER_BYTES, left });
        };
        let Some(kind) = RecordKind::from_wire(kind) else {
            return Err(RecordError::UnknownKind { at: 0, kind });
        };
        if reserved != 0 {
            return Err(RecordError::Reserved { at: 0, value: reserved });
        }
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let Some(body) = rest.get(..length) else {
            let needed = HEADER_BYTES.saturating_add(length);
            return Err(RecordError::Truncated { at: 0, needed, left });
        };
        if kind == RecordKind::Digest && length != size_of::<u64>() {
            return Err(RecordError::DigestLength { at: 0, length });
        }
        if kind == RecordKind::Milestone && length != MILESTONE_BODY_BYTES {
            return Err(RecordError::MilestoneLength { at: 0, length });
        }
        let shard = u16::from_le_bytes([s0, s1]);
        Ok((Record { shard, kind, body }, HEADER_BYTES + length))
    }

    /// The value of a digest record; `None` for every other kind.
    #[must_use]
    pub fn digest(&self) -> Option<u64> {
        match self.kind {
            RecordKind::Digest => self.body.try_into().ok().map(u64::from_le_bytes),
            _ => None,
        }
    }

    /// What a milestone says; `None` for every other kind.
    #[must_use]
    pub fn milestone(&self) -> Option<Milestone> {
        let body: &[u8; MILESTONE_BODY_BYTES] = match self.kind {
            RecordKind::Milestone => self.body.try_into().ok()?,
            _ => return None,
        };
        let word =
            |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().expect("8 of 24 bytes"));
        Some(Milestone { place: word(0), mark: Mark(word(8)), held: Mark(word(16)) })
    }
}

/// The header of a record whose body is `length` bytes long.
#[must_use]
pub fn header(shard: u16, kind: RecordKind, length: u32) -> [u8; HEADER_BYTES] {
    let [s0, s1] = shard.to_le_bytes();
    let [l0, l1, l2, l3] = length.to_le_bytes();
    [s0, s1, kind as u8, 0, l0, l1, l2, l3]
}

/// Shard, kind and body length that a header says, if the kind is known.
pub(crate) fn parse_header(bytes: &[u8; HEADER_BYTES]) -> Option<(u16, RecordKind, usize)> {
    let [s0, s1, kind, _, l0, l1, l2, l3] = *bytes;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    Some((u16::from_le_bytes([s0, s1]), RecordKind::from_wire(kind)?, length))
}

/// Walks the records of a batch. After an error it ends.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    #[must_use]
    pub fn new(batch: &'a [u8]) -> Records<'a> {
        Records { bytes: batch, at: 0 }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        match Record::parse(rest) {
            Ok((record, length)) => {
                self.at += length;
                Some(Ok(record))
            }
            Err(error) => {
                let error = error.moved_by(self.at);
                self.at = self.bytes.len();
                Some(Err(error))
            }
        }
    }
}

impl RecordError {
    fn moved_by(mut self, offset: usize) -> RecordError {
        match &mut self {
            RecordError::Truncated { at, .. }
            | RecordError::UnknownKind { at, .. }
            | RecordError::Reserved { at, .. }
            | RecordError::DigestLength { at, .. }
            | RecordError::MilestoneLength { at, .. } => *at += offset,
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds() -> impl Strategy<Value = RecordKind> {
        prop_oneof![Just(RecordKind::Input), Just(RecordKind::Kick), Just(RecordKind::Icmp)]
    }

    proptest! {
        #[test]
        fn batch_round_trips(
            records in prop::collection::vec(
                (any::<u16>(), kinds(), prop::collection::vec(any::<u8>(), 0..200)), 0..20)
        ) {
            let mut batch = Vec::new();
            for (shard, kind, body) in &records {
                batch.extend_from_slice(&header(*shard, *kind, body.len() as u32));
                batch.extend_from_slice(body);
            }
            let parsed: Vec<_> = Records::new(&batch)
                .map(|record| record.map(|r| (r.shard, r.kind, r.body.to_vec())))
                .collect::<Result<_, _>>()
                .expect("what was written can be read");
            prop_assert_eq!(parsed, records);
        }

        #[test]
        fn every_cut_is_an_error(
            body in prop::collection::vec(any::<u8>(), 0..64), cut in any::<prop::sample::Index>()
        ) {
            let mut bytes = header(1, RecordKind::Input, body.len() as u32).to_vec();
            bytes.extend_from_slice(&body);
            bytes.truncate(cut.index(bytes.len()));
            let truncated = matches!(Record::parse(&bytes), Err(RecordError::Truncated { .. }));
            prop_assert!(truncated);
        }

        #[test]
        fn arbitrary_bytes_end_in_records_or_one_error(
            bytes in prop::collection::vec(any::<u8>(), 0..256)
        ) {
            let parsed: Vec<_> = Records::new(&bytes).collect();
            prop_assert!(parsed.iter().rev().skip(1).all(Result::is_ok));
        }
    }

    #[test]
    fn unknown_kind_is_refused_with_its_place() {
        let mut batch = header(0, RecordKind::Kick, 0).to_vec();
        batch.extend_from_slice(&[0, 0, 9, 0, 0, 0, 0, 0]);
        let last = Records::new(&batch).last().expect("two entries");
        assert_eq!(last, Err(RecordError::UnknownKind { at: 8, kind: 9 }));
    }

    #[test]
    fn digest_has_eight_bytes() {
        let mut bytes = header(3, RecordKind::Digest, 8).to_vec();
        bytes.extend_from_slice(&0xfeed_u64.to_le_bytes());
        let (record, _) = Record::parse(&bytes).expect("well formed");
        assert_eq!(record.digest(), Some(0xfeed));
        let short = [0, 0, 3, 0, 1, 0, 0, 0, 7];
        assert_eq!(Record::parse(&short), Err(RecordError::DigestLength { at: 0, length: 1 }));
    }

    #[test]
    fn milestone_says_what_was_written() {
        let milestone = Milestone { place: u64::MAX, mark: Mark(7), held: Mark(3) };
        let body = milestone.to_bytes();
        let mut bytes = header(0, RecordKind::Milestone, body.len() as u32).to_vec();
        bytes.extend_from_slice(&body);
        let (record, length) = Record::parse(&bytes).expect("well formed");
        assert_eq!((record.milestone(), length), (Some(milestone), MILESTONE_BYTES));
        let short = [0, 0, 7, 0, 1, 0, 0, 0, 7];
        assert_eq!(Record::parse(&short), Err(RecordError::MilestoneLength { at: 0, length: 1 }));
    }
}
