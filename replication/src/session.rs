//! The link session: reliable, in-order, exactly-once batches over datagrams.

use crate::pending::PendingLog;
use crate::record::RecordKind;
use crate::role::{Epoch, Incarnation, Position};

/// Limits and timing of a session. Both nodes must agree on `max_batch_bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionConfig {
    /// Which of the sender's workers this is.
    pub channel: u16,
    /// Largest UDP payload, in bytes: link MTU - 28 (1472 or 8972).
    pub max_datagram: usize,
    /// Frames that may be unconfirmed; also frames kept out of order. A power of two.
    pub window_frames: usize,
    /// Largest batch, in bytes.
    pub max_batch_bytes: usize,
    /// Confirm at the latest when this many bytes are unconfirmed.
    pub confirm_every_bytes: usize,
    /// Confirm at the latest after this time, also when the loop is never idle.
    pub confirm_delay_us: u64,
    /// Bounds of the retransmission timer.
    pub retransmit_min_us: u64,
    pub retransmit_max_us: u64,
}

/// Why a record could not be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("the window is full of unconfirmed frames; take no input until room() grows")]
    Full,
    #[error("a record of {length} bytes exceeds the largest batch of {limit} bytes")]
    TooLong { length: usize, limit: usize },
    #[error("the session is not open")]
    Closed,
}

/// Why a datagram was refused. Each has a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    #[error("the session is not open")]
    Closed,
}

/// What a session did since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionCounters {
    pub frames_sent: u64,
}

/// One channel of the link, both directions.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    counters: SessionCounters,
}

impl Session {
    #[must_use]
    pub fn new(config: SessionConfig) -> Session {
        Session { config, counters: SessionCounters::default() }
    }

    #[must_use]
    pub fn config(&self) -> &SessionConfig {
        &self.config
    }

    /// Starts anew in both directions: positions begin at 1 again; an incomplete batch is dropped.
    pub fn open(&mut self, epoch: Epoch, local: Incarnation, peer: Incarnation) {
        let _ = (epoch, local, peer);
    }

    /// Forgets everything unsent and unconfirmed; refuses datagrams until opened.
    pub fn close(&mut self) {}

    #[must_use]
    pub fn is_open(&self) -> bool {
        false
    }

    /// Appends a record (its body is the concatenation of `parts`) to the open batch and returns
    /// the position of the batch it is in. A batch that would grow too long is closed first.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was appended.
    pub fn append(
        &mut self,
        shard: u16,
        kind: RecordKind,
        parts: &[&[u8]],
    ) -> Result<Position, AppendError> {
        let _ = (shard, kind, parts);
        Err(AppendError::Closed)
    }

    /// Ends the open batch, so that it can be sent. `None` when nothing was appended.
    pub fn close_batch(&mut self) -> Option<Position> {
        None
    }

    /// The position that the open batch has (or will have).
    #[must_use]
    pub fn position(&self) -> Position {
        Position(1)
    }

    /// Bytes (8 per record included) that can certainly be appended now.
    #[must_use]
    pub fn room(&self) -> usize {
        0
    }

    /// Every batch up to this one is held by the peer.
    #[must_use]
    pub fn confirmed(&self) -> Position {
        Position::START
    }

    /// Since when the oldest sent and unconfirmed frame waits.
    #[must_use]
    pub fn unconfirmed_since_us(&self) -> Option<u64> {
        None
    }

    /// When the last acceptable datagram of the peer came.
    #[must_use]
    pub fn last_heard_us(&self) -> Option<u64> {
        None
    }

    /// The peer's log could not be taken (a torn or malformed batch): out of sync until opened.
    #[must_use]
    pub fn refused_log(&self) -> bool {
        false
    }

    /// Takes one UDP payload. Whole batches, in order, go to `log`.
    ///
    /// # Errors
    /// Says why it was refused; nothing changed then but counters.
    pub fn receive(
        &mut self,
        now_us: u64,
        datagram: &[u8],
        log: &mut PendingLog,
    ) -> Result<(), Rejected> {
        let _ = (now_us, datagram, log);
        Err(Rejected::Closed)
    }

    /// Emits what is due: confirmations, retransmissions, new frames. `idle`: this loop received
    /// nothing more, so confirm what is unconfirmed. `emit` gets a datagram in parts to be
    /// concatenated, and says `false` when it cannot take it now.
    pub fn poll_transmit(
        &mut self,
        now_us: u64,
        idle: bool,
        log: &PendingLog,
        emit: &mut impl FnMut(&[&[u8]]) -> bool,
    ) {
        let _ = (now_us, idle, log, emit);
    }

    /// When `poll_transmit` has something to do next; a time in the past means at once.
    #[must_use]
    pub fn next_deadline_us(&self) -> Option<u64> {
        None
    }

    #[must_use]
    pub fn counters(&self) -> &SessionCounters {
        &self.counters
    }
}
