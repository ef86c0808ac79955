//! Batches that were received and are not yet applied.
//!
//! A ring in which every batch lies in one piece. A batch may begin anywhere below `capacity` and
//! runs on into a slack behind it, as long as the longest batch; the next one then begins at 0.
//! So a promise of [`room`](PendingLog::room) never has to be taken back for a seam.

use crate::record::{Record, RecordError, Records};
use crate::role::Position;

/// Before each batch: its position (u64) and its length (u32).
pub(crate) const PREFIX_BYTES: usize = 12;

/// Why staged bytes did not become a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StageError {
    NoRoom,
    TooLong,
    Torn(RecordError),
}

/// A bounded FIFO of whole batches, consumed record by record. All memory is taken at construction.
#[derive(Clone, Debug)]
pub struct PendingLog {
    bytes: Box<[u8]>,
    capacity: usize,
    max_batch_bytes: usize,
    /// The next byte to consume.
    head: usize,
    /// Where the next batch begins.
    tail: usize,
    /// The batches from `head` on end here, and go on at 0.
    wrapped_at: Option<usize>,
    /// Bytes of the incomplete batch at `tail`, if one was begun.
    staged: Option<usize>,
    /// The batch that is being consumed, and its end; none is when `head` is at a prefix.
    current: Option<(Position, usize)>,
    received: Position,
    applied: Position,
    high_water: usize,
}

impl PendingLog {
    /// Room for `capacity` bytes of batches of at most `max_batch_bytes` each (the same value as
    /// in [`SessionConfig`](crate::SessionConfig)).
    ///
    /// # Panics
    /// When `capacity` is less than two of the longest batches and one datagram: a slow consumer
    /// could then stop the log for good.
    #[must_use]
    pub fn new(capacity: usize, max_batch_bytes: usize) -> PendingLog {
        let longest = max_batch_bytes + PREFIX_BYTES;
        assert!(
            capacity >= 2 * longest + usize::from(u16::MAX),
            "a log of {capacity} bytes is too small for batches of {max_batch_bytes} bytes"
        );
        PendingLog {
            bytes: vec![0; capacity + longest].into_boxed_slice(),
            capacity,
            max_batch_bytes,
            head: 0,
            tail: 0,
            wrapped_at: None,
            staged: None,
            current: None,
            received: Position::START,
            applied: Position::START,
            high_water: 0,
        }
    }

    /// The next record and its batch's position; it is consumed by this call.
    pub fn pop_record(&mut self) -> Option<(Position, Record<'_>)> {
        let (position, end) = match self.current {
            Some(current) => current,
            None if self.is_empty() => return None,
            None => self.begin_batch(),
        };
        let start = self.head;
        let (_, length) = Record::parse(&self.bytes[start..end]).expect("checked by commit");
        self.head += length;
        self.current = Some((position, end));
        if self.head == end {
            self.end_batch(position);
        }
        let (record, _) = Record::parse(&self.bytes[start..end]).expect("checked by commit");
        Some((position, record))
    }

    fn begin_batch(&mut self) -> (Position, usize) {
        let prefix = &self.bytes[self.head..self.head + PREFIX_BYTES];
        let position = u64::from_le_bytes(prefix[..8].try_into().expect("8 of 12 bytes"));
        let length = u32::from_le_bytes(prefix[8..].try_into().expect("4 of 12 bytes"));
        self.head += PREFIX_BYTES;
        (Position(position), self.head + length as usize)
    }

    fn end_batch(&mut self, position: Position) {
        self.current = None;
        self.applied = position;
        if self.wrapped_at == Some(self.head) {
            self.wrapped_at = None;
            self.head = 0;
        }
        // Starting over at 0 keeps a log that is never long in the cache.
        if self.is_empty() && self.staged.is_none() {
            self.head = 0;
            self.tail = 0;
        }
    }

    /// The last batch that came whole.
    #[must_use]
    pub fn received(&self) -> Position {
        self.received
    }

    /// The last batch of which every record was popped.
    #[must_use]
    pub fn applied(&self) -> Position {
        self.applied
    }

    /// No whole batch is left to apply.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head == self.tail && self.wrapped_at.is_none()
    }

    /// Bytes that may still come in.
    #[must_use]
    pub fn room(&self) -> usize {
        let end = self.staged_end();
        match self.wrapped_at {
            Some(_) => self.head.saturating_sub(end),
            None => self.capacity.saturating_sub(end) + self.head,
        }
    }

    /// Bytes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.wrapped_at {
            Some(end) => end - self.head + self.tail,
            None => self.tail - self.head,
        }
    }

    /// Most bytes that ever waited.
    #[must_use]
    pub fn high_water(&self) -> usize {
        self.high_water
    }

    /// Forgets everything, for a session that begins anew: positions start over.
    pub fn reset(&mut self) {
        self.head = 0;
        self.tail = 0;
        self.wrapped_at = None;
        self.staged = None;
        self.current = None;
        self.received = Position::START;
        self.applied = Position::START;
    }

    fn staged_end(&self) -> usize {
        self.tail + self.staged.map_or(0, |length| PREFIX_BYTES + length)
    }

    /// Begins a batch. What was staged and not committed is dropped.
    pub(crate) fn stage_begin(&mut self) {
        self.staged = Some(0);
    }

    /// Adds bytes to the batch that was begun. Nothing is added on an error.
    pub(crate) fn stage(&mut self, payload: &[u8]) -> Result<(), StageError> {
        let staged = self.staged.unwrap_or(0);
        let length = staged + payload.len();
        if length > self.max_batch_bytes {
            return Err(StageError::TooLong);
        }
        let start = self.tail + PREFIX_BYTES + staged;
        let end = start + payload.len();
        if self.wrapped_at.is_some() && end > self.head {
            return Err(StageError::NoRoom);
        }
        self.bytes[start..end].copy_from_slice(payload);
        self.staged = Some(length);
        Ok(())
    }

    /// Makes the staged bytes a batch, if they are whole records; drops them otherwise.
    pub(crate) fn commit(&mut self, position: Position) -> Result<(), StageError> {
        let length = self.staged.take().unwrap_or(0);
        let start = self.tail + PREFIX_BYTES;
        let end = start + length;
        for record in Records::new(&self.bytes[start..end]) {
            record.map_err(StageError::Torn)?;
        }
        let prefix = &mut self.bytes[self.tail..start];
        prefix[..8].copy_from_slice(&position.0.to_le_bytes());
        prefix[8..].copy_from_slice(&(length as u32).to_le_bytes());
        self.received = position;
        self.tail = end;
        if end >= self.capacity {
            self.wrapped_at = Some(end);
            self.tail = 0;
        }
        self.high_water = self.high_water.max(self.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::record::{HEADER_BYTES, RecordKind, header};

    const MAX_BATCH: usize = 4_000;
    const CAPACITY: usize = 2 * (MAX_BATCH + PREFIX_BYTES) + 65_535;

    fn batch(bodies: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for body in bodies {
            bytes.extend_from_slice(&header(3, RecordKind::Input, body.len() as u32));
            bytes.extend_from_slice(body);
        }
        bytes
    }

    fn push(log: &mut PendingLog, position: u64, bytes: &[u8]) -> Result<(), StageError> {
        log.stage_begin();
        for piece in bytes.chunks(100) {
            log.stage(piece)?;
        }
        log.commit(Position(position))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Against a plain queue, over many turns of the ring: same records in the same order, and
        /// what `room` promised is always taken.
        #[test]
        fn behaves_like_a_queue_and_keeps_its_promises(
            steps in prop::collection::vec((1..40_usize, 0..900_usize, 0..120_usize), 50..200)
        ) {
            let mut log = PendingLog::new(CAPACITY, MAX_BATCH);
            let mut model = VecDeque::new();
            let mut position = 0;
            for (count, size, pops) in steps {
                let count = count.min(MAX_BATCH / (HEADER_BYTES + size));
                let bodies: Vec<_> = (0..count).map(|i| vec![(i + position) as u8; size]).collect();
                let bytes = batch(&bodies);
                let room = log.room();
                if room >= bytes.len() + PREFIX_BYTES {
                    position += 1;
                    prop_assert_eq!(push(&mut log, position as u64, &bytes), Ok(()));
                    prop_assert!(log.room() + bytes.len() + PREFIX_BYTES >= room);
                    model.extend(bodies.into_iter().map(|body| (position as u64, body)));
                }
                for _ in 0..pops {
                    let popped = log.pop_record().map(|(p, r)| (p.0, r.body.to_vec()));
                    prop_assert_eq!(popped, model.pop_front());
                }
                prop_assert_eq!(log.is_empty(), model.is_empty());
            }
        }
    }

    #[test]
    fn incomplete_batch_is_invisible_and_dropped_by_the_next() {
        let mut log = PendingLog::new(CAPACITY, MAX_BATCH);
        log.stage_begin();
        log.stage(b"half of someth").expect("room");
        assert!(log.is_empty());
        assert!(log.pop_record().is_none());
        push(&mut log, 1, &batch(&[b"one".to_vec()])).expect("well formed");
        let (position, record) = log.pop_record().expect("a record");
        assert_eq!((position, record.body), (Position(1), &b"one"[..]));
        assert_eq!(log.applied(), Position(1));
    }

    #[test]
    fn torn_and_overlong_batches_are_refused() {
        let mut log = PendingLog::new(CAPACITY, MAX_BATCH);
        let torn = push(&mut log, 1, &[1, 0, 1, 0, 9, 0, 0, 0, 1]);
        assert!(matches!(torn, Err(StageError::Torn(RecordError::Truncated { .. }))));
        let long = push(&mut log, 1, &vec![0; MAX_BATCH + 1]);
        assert_eq!(long, Err(StageError::TooLong));
        assert!(log.is_empty());
        assert_eq!(log.received(), Position::START);
    }

    #[test]
    fn applied_moves_with_a_batch_s_last_record() {
        let mut log = PendingLog::new(CAPACITY, MAX_BATCH);
        push(&mut log, 1, &batch(&[vec![1], vec![2]])).expect("well formed");
        assert_eq!(log.received(), Position(1));
        log.pop_record();
        assert_eq!(log.applied(), Position::START);
        assert!(!log.is_empty());
        log.pop_record();
        assert_eq!(log.applied(), Position(1));
        assert!(log.is_empty());
    }
}
