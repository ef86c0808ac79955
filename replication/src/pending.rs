//! Batches that were received and are not yet applied.

use crate::{record::Record, role::Position};

/// A bounded FIFO of whole batches, consumed record by record. All memory is taken at construction.
#[derive(Debug)]
pub struct PendingLog {
    applied: Position,
}

impl PendingLog {
    /// Room for `capacity` bytes of batches of at most `max_batch_bytes` each (the same value as
    /// in [`SessionConfig`](crate::SessionConfig)).
    #[must_use]
    pub fn new(capacity: usize, max_batch_bytes: usize) -> PendingLog {
        let _ = (capacity, max_batch_bytes);
        PendingLog { applied: Position::START }
    }

    /// The next record and its batch's position; it is consumed by this call.
    pub fn pop_record(&mut self) -> Option<(Position, Record<'_>)> {
        None
    }

    /// The last batch of which every record was popped.
    #[must_use]
    pub fn applied(&self) -> Position {
        self.applied
    }

    /// No whole batch is left to apply.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        true
    }

    /// Bytes that may still come in.
    #[must_use]
    pub fn room(&self) -> usize {
        0
    }
}
