//! Sends to a port that throws it away. The kernel takes bytes ahead, so that progress is not what
//! was written but what the peer's TCP has acknowledged.

use anyhow::Context;
use perf::queue_depth::QueueDepth;

use crate::args::UploadArgs;
use crate::client::{BURSTS, Client, Interest, Tools};
use crate::connection::{Connection, Failure};
use crate::pace::Pace;

/// Time between two questions how much is acknowledged.
const SAMPLE_US: u64 = 1000;

/// One uploading connection.
#[derive(Debug)]
pub struct Upload {
    connection: Connection,
    /// Bytes to send; without it, until the stop.
    total: Option<u64>,
    written: u64,
    pace: Pace,
    next_sample_us: u64,
    shut_down: bool,
}

/// With the kernel's socket diagnosis.
///
/// # Errors
/// The kernel has none.
pub fn tools() -> anyhow::Result<Tools> {
    let depth = QueueDepth::open()
        .context("can't ask the kernel for unacknowledged bytes (sock_diag): load inet_diag")?;
    Ok(Tools { queue_depth: Some(depth), ..Tools::new() })
}

impl Upload {
    /// A connection; all are alike.
    pub fn new(args: &UploadArgs) -> Upload {
        Upload {
            connection: Connection::new(args.common.target),
            total: args.bytes,
            written: 0,
            pace: Pace::new(args.rate),
            next_sample_us: 0,
            shut_down: false,
        }
    }

    fn left(&self) -> u64 {
        self.total.map_or(u64::MAX, |total| total - self.written)
    }

    fn write(&mut self, now_us: u64, tools: &Tools) {
        for _ in 0..BURSTS {
            let len = self.left().min(self.pace.allows(now_us));
            let len = usize::try_from(len).unwrap_or(usize::MAX).min(tools.buffer.len());
            if len == 0 {
                break;
            }
            let taken = self.connection.write(now_us, &tools.buffer[..len]);
            self.written += taken as u64;
            self.pace.moved(taken);
            if taken < len {
                break;
            }
        }
        if self.left() == 0 && !self.shut_down {
            self.shut_down = true;
            self.connection.shut_down(now_us);
        }
    }

    /// Asks how far the peer's acknowledgments are.
    fn sample(&mut self, now_us: u64, tools: &Tools) {
        if now_us < self.next_sample_us {
            return;
        }
        self.next_sample_us = now_us + SAMPLE_US;
        let depth = tools.queue_depth.as_ref().expect("an upload's tools hold the diagnosis");
        let Some((local, remote)) = self.connection.ends() else { return };
        // A connection that has just ended is unknown; reading will tell how it ended.
        let Ok(waiting) = depth.unacknowledged(local, remote) else { return };
        let acknowledged = self.written.saturating_sub(waiting);
        if acknowledged > self.connection.record.bytes {
            self.connection.record.bytes = acknowledged;
            self.connection.record.stall.progress(now_us);
        }
    }

    fn read(&mut self, now_us: u64, tools: &mut Tools) {
        match self.connection.read(now_us, &mut tools.buffer[..1]) {
            None => {}
            Some(0) if self.shut_down => {
                self.connection.record.bytes = self.written;
                self.connection.finish(now_us);
            }
            Some(0) => {
                let at = self.connection.record.bytes;
                self.connection.fail(now_us, Failure::Early { at });
            }
            Some(_) => self.connection.fail(now_us, Failure::Late { at: 0 }),
        }
    }
}

impl Client for Upload {
    fn connection(&self) -> &Connection {
        &self.connection
    }

    fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    fn advance(&mut self, now_us: u64, tools: &mut Tools) {
        if self.connection.is_new() {
            self.connection.open(now_us, None);
        }
        if !self.connection.is_open(now_us) {
            return;
        }
        self.connection.record.stall.expect(now_us);
        self.write(now_us, tools);
        self.sample(now_us, tools);
        self.read(now_us, tools);
    }

    fn stop(&mut self, _: u64, _: &mut Tools) {
        self.total.get_or_insert(self.written);
    }

    fn interest(&self) -> Interest {
        // What waits for its time is looked at with the next sample.
        let may_write = self.left() > 0 && self.pace.waits_until_us().is_none();
        Interest { read: true, write: may_write }
    }

    fn wake_at_us(&self) -> Option<u64> {
        self.connection.ends().map(|_| self.next_sample_us)
    }
}
