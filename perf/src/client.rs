//! What a connection does: the part that differs from command to command.

use perf::queue_depth::QueueDepth;

use crate::connection::Connection;
use crate::histogram::Latency;

/// A connection with a task. The runner calls; a client never waits.
pub trait Client {
    /// Its connection.
    fn connection(&self) -> &Connection;

    /// Its connection, to end it.
    fn connection_mut(&mut self) -> &mut Connection;

    /// Does what can be done at once. Called when the socket is ready, when the time of
    /// [`wake_at_us`](Self::wake_at_us) has come, and at the start.
    fn advance(&mut self, now_us: u64, tools: &mut Tools);

    /// The run is over: begin nothing new, end when all that is due has come.
    fn stop(&mut self, now_us: u64, tools: &mut Tools);

    /// What to wait for while the connection is open.
    fn interest(&self) -> Interest;

    /// When to be called although nothing happened, microseconds of the run's clock.
    fn wake_at_us(&self) -> Option<u64> {
        None
    }
}

/// What a client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest {
    /// Bytes to read, or FIN.
    pub read: bool,
    /// Room to write.
    pub write: bool,
}

/// What all clients of a run share.
#[derive(Debug)]
pub struct Tools {
    /// For bytes that are read or about to be written.
    pub buffer: Vec<u8>,
    /// Latencies of whatever the command measures.
    pub latency: Latency,
    /// For uploads.
    pub queue_depth: Option<QueueDepth>,
    /// Connections that were opened and answered once.
    pub answered: u32,
}

impl Tools {
    /// Bytes that one call reads or writes at a time.
    const BUFFER_BYTES: usize = 256 << 10;

    /// An empty buffer and an empty histogram.
    pub fn new() -> Tools {
        Tools {
            buffer: vec![0; Tools::BUFFER_BYTES],
            latency: Latency::new(),
            queue_depth: None,
            answered: 0,
        }
    }
}

/// Bursts that one call moves before others have their turn.
pub const BURSTS: usize = 8;
