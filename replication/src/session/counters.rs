//! What a session did, and why it refused what it refused.

use crate::frame::FrameError;
use crate::record::RecordError;
use crate::seal::SealError;

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
    #[error(transparent)]
    Seal(#[from] SealError),
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

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a session did since it was made, over all its epochs.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct SessionCounters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl SessionCounters {
            /// Each counter with its name, in the order of the list.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Data frames sent for the first time, and their payload.
    frames_sent,
    bytes_sent,
    /// Data frames sent again, and how often the timer (not a gap report) was the reason.
    frames_retransmitted,
    timeouts,
    batches_closed,
    batches_confirmed,
    /// Times a record found no room in the window.
    window_full,
    /// Most frames that were unconfirmed at once.
    window_high_water,
    confirms_sent,
    confirms_received,
    /// Data frames accepted, and their payload; how many of them came out of order.
    frames_received,
    bytes_received,
    frames_out_of_order,
    batches_received,
    /// Refused datagrams by reason, in the order of [`Rejected`].
    rejected_closed,
    rejected_malformed,
    rejected_version,
    rejected_channel,
    rejected_stale_epoch,
    rejected_future_epoch,
    rejected_incarnation,
    rejected_unknown_key,
    rejected_unauthentic,
    rejected_replayed,
    rejected_checksum,
    rejected_frame_too_long,
    rejected_duplicate,
    rejected_beyond_window,
    rejected_no_room,
    rejected_confirms_unsent,
    rejected_batch,
    rejected_out_of_sync,
}

impl SessionCounters {
    pub(super) fn count(&mut self, reason: &Rejected) {
        let counter = match reason {
            Rejected::Closed => &mut self.rejected_closed,
            Rejected::Malformed(FrameError::Version(_)) => &mut self.rejected_version,
            Rejected::Malformed(_) | Rejected::Seal(SealError::Truncated { .. }) => {
                &mut self.rejected_malformed
            }
            Rejected::Seal(SealError::UnknownKey(_)) => &mut self.rejected_unknown_key,
            Rejected::Seal(SealError::Unauthentic) => &mut self.rejected_unauthentic,
            Rejected::Seal(SealError::Replayed(_)) => &mut self.rejected_replayed,
            Rejected::Seal(SealError::Checksum { .. }) => &mut self.rejected_checksum,
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
