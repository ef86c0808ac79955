//! What a session did, and why it refused what it refused.

use crate::frame::FrameError;
use crate::record::RecordError;

/// Why a datagram was refused. Each reason has a counter in [`SessionCounters`]. A confirmation
/// that shares the datagram with refused data was still taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error("the session is not open")]
    Closed,
    #[error("not a frame: {0}")]
    Malformed(#[from] FrameError),
    #[error("frame of channel {carried} came to channel {ours}")]
    Channel { carried: u16, ours: u16 },
    #[error("frame of epoch {carried} is older than epoch {ours}")]
    StaleEpoch { carried: u64, ours: u64 },
    #[error("frame of epoch {carried} is ahead of epoch {ours}")]
    FutureEpoch { carried: u64, ours: u64 },
    #[error("frame is from another run of the peer, or for another run of this node")]
    Incarnation,
    #[error("frame has {length} bytes of payload, at most {limit} fit: the link's MTU differs")]
    FrameTooLong { length: usize, limit: usize },
    #[error("frame {0} is already held")]
    Duplicate(u64),
    #[error("frame {sequence} is beyond the window, which ends at {end}")]
    BeyondWindow { sequence: u64, end: u64 },
    #[error("frame {0} does not fit the log of batches that wait to be applied")]
    NoRoom(u64),
    #[error("confirmation of frames that were never sent")]
    ConfirmsUnsent,
    #[error("batch is longer than {limit} bytes: this node is out of sync")]
    BatchTooLong { limit: usize },
    #[error("batch is not made of records: {0}; this node is out of sync")]
    TornBatch(RecordError),
    #[error("this node refused part of the log before and is out of sync until the next epoch")]
    OutOfSync,
}

/// What a session did since it was made, over all its epochs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionCounters {
    /// Data frames sent for the first time, and their payload.
    pub frames_sent: u64,
    pub bytes_sent: u64,
    /// Data frames sent again, and how often the timer (not a gap report) was the reason.
    pub frames_retransmitted: u64,
    pub timeouts: u64,
    pub batches_closed: u64,
    pub batches_confirmed: u64,
    /// Times a record found no room in the window.
    pub window_full: u64,
    /// Most frames that were unconfirmed at once.
    pub window_high_water: u64,
    pub confirms_sent: u64,
    pub confirms_received: u64,
    /// Data frames accepted, and their payload; how many of them came out of order.
    pub frames_received: u64,
    pub bytes_received: u64,
    pub frames_out_of_order: u64,
    pub batches_received: u64,
    /// Refused datagrams by reason, in the order of [`Rejected`].
    pub rejected_closed: u64,
    pub rejected_malformed: u64,
    pub rejected_version: u64,
    pub rejected_checksum: u64,
    pub rejected_channel: u64,
    pub rejected_stale_epoch: u64,
    pub rejected_future_epoch: u64,
    pub rejected_incarnation: u64,
    pub rejected_frame_too_long: u64,
    pub rejected_duplicate: u64,
    pub rejected_beyond_window: u64,
    pub rejected_no_room: u64,
    pub rejected_confirms_unsent: u64,
    pub rejected_batch: u64,
    pub rejected_out_of_sync: u64,
}

impl SessionCounters {
    pub(super) fn count(&mut self, reason: &Rejected) {
        let counter = match reason {
            Rejected::Closed => &mut self.rejected_closed,
            Rejected::Malformed(FrameError::Version(_)) => &mut self.rejected_version,
            Rejected::Malformed(FrameError::Checksum { .. }) => &mut self.rejected_checksum,
            Rejected::Malformed(_) => &mut self.rejected_malformed,
            Rejected::Channel { .. } => &mut self.rejected_channel,
            Rejected::StaleEpoch { .. } => &mut self.rejected_stale_epoch,
            Rejected::FutureEpoch { .. } => &mut self.rejected_future_epoch,
            Rejected::Incarnation => &mut self.rejected_incarnation,
            Rejected::FrameTooLong { .. } => &mut self.rejected_frame_too_long,
            Rejected::Duplicate(_) => &mut self.rejected_duplicate,
            Rejected::BeyondWindow { .. } => &mut self.rejected_beyond_window,
            Rejected::NoRoom(_) => &mut self.rejected_no_room,
            Rejected::ConfirmsUnsent => &mut self.rejected_confirms_unsent,
            Rejected::BatchTooLong { .. } | Rejected::TornBatch(_) => &mut self.rejected_batch,
            Rejected::OutOfSync => &mut self.rejected_out_of_sync,
        };
        *counter += 1;
    }
}
