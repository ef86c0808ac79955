//! Receives the documented pattern and verifies every byte.

use crate::args::DownloadArgs;
use crate::bytes::verify_pattern;
use crate::client::{BURSTS, Client, Interest, Tools};
use crate::connection::{Connection, Failure};
use crate::pace::Pace;

/// One downloading connection.
#[derive(Debug)]
pub struct Download {
    connection: Connection,
    /// Bytes asked for; without it, without end.
    total: Option<u64>,
    /// Where in the pattern byte 0 lies.
    offset: u64,
    /// What is left of the request line.
    request: Vec<u8>,
    pace: Pace,
    stopping: bool,
}

impl Download {
    /// A connection; all are alike.
    pub fn new(args: &DownloadArgs) -> Download {
        let request = args.bytes.map_or(String::new(), |bytes| format!("{bytes}\n"));
        Download {
            connection: Connection::new(args.common.target),
            total: args.bytes,
            offset: args.offset,
            request: request.into_bytes(),
            pace: Pace::new(args.rate),
            stopping: false,
        }
    }

    fn read(&mut self, now_us: u64, tools: &mut Tools) {
        for _ in 0..BURSTS {
            let most = usize::try_from(self.pace.allows(now_us)).unwrap_or(usize::MAX);
            let most = most.min(tools.buffer.len());
            if most == 0 {
                return;
            }
            let Some(len) = self.connection.read(now_us, &mut tools.buffer[..most]) else { return };
            self.pace.moved(len);
            let at = self.connection.record.bytes;
            if len == 0 {
                return if self.total == Some(at) {
                    self.connection.finish(now_us);
                } else {
                    self.connection.fail(now_us, Failure::Early { at });
                };
            }
            let bytes = &tools.buffer[..len];
            if let Err(mismatch) = verify_pattern(self.offset.wrapping_add(at), bytes) {
                return self.connection.fail(now_us, Failure::Data(mismatch));
            }
            self.connection.record.bytes += len as u64;
            self.connection.record.stall.progress(now_us);
            if let Some(total) = self.total.filter(|&total| self.connection.record.bytes > total) {
                return self.connection.fail(now_us, Failure::Late { at: total });
            }
        }
    }
}

impl Client for Download {
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
        if !self.request.is_empty() {
            let taken = self.connection.write(now_us, &self.request);
            self.request.drain(..taken);
        }
        self.connection.record.stall.expect(now_us);
        self.read(now_us, tools);
        // What has no end has done its work once it flows.
        if self.stopping && self.total.is_none() && self.connection.record.bytes > 0 {
            self.connection.finish(now_us);
        }
    }

    fn stop(&mut self, _: u64, _: &mut Tools) {
        self.stopping = true;
    }

    fn interest(&self) -> Interest {
        let read = self.pace.waits_until_us().is_none();
        Interest { read, write: !self.request.is_empty() }
    }

    fn wake_at_us(&self) -> Option<u64> {
        self.pace.waits_until_us()
    }
}
