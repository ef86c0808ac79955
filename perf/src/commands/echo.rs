//! Interactive: a message each interval, whether or not the last echo has come.

use crate::args::EchoArgs;
use crate::bytes::Noise;
use crate::client::{BURSTS, Client, Interest, Tools};
use crate::connection::{Connection, Failure};

/// One interactive connection. Positions in the two streams say all: message k is the bytes from
/// `k * size` on, due at `first_due_us + k * interval_us`.
#[derive(Debug)]
pub struct Echo {
    connection: Connection,
    noise: Noise,
    size: u64,
    interval_us: u64,
    /// Connections do not all send at the same moment.
    stagger_us: u64,
    first_due_us: Option<u64>,
    /// Messages that were due so far.
    due: u64,
    written: u64,
    read: u64,
    /// No message becomes due any more.
    stopping: bool,
    shut_down: bool,
}

impl Echo {
    /// The connection with this number.
    pub fn new(args: &EchoArgs, index: u32) -> Echo {
        let common = &args.common;
        let interval_us = args.interval * 1000;
        Echo {
            connection: Connection::new(common.target),
            noise: Noise::new(common.seed, index),
            size: args.size,
            interval_us,
            stagger_us: interval_us * u64::from(index) / u64::from(common.connections),
            first_due_us: None,
            due: 0,
            written: 0,
            read: 0,
            stopping: false,
            shut_down: false,
        }
    }

    fn due_us(&self, message: u64) -> Option<u64> {
        self.first_due_us.map(|first_us| first_us + message * self.interval_us)
    }

    /// Counts the messages that are due now; after the stop at least the first one is.
    fn count_due(&mut self, now_us: u64) {
        let stagger_us = if self.stopping { 0 } else { self.stagger_us };
        let first_us = *self.first_due_us.get_or_insert(now_us + stagger_us);
        let due =
            now_us.checked_sub(first_us).map_or(0, |since_us| since_us / self.interval_us + 1);
        if !self.stopping {
            self.due = due;
        }
        if self.stopping && self.due == 0 {
            self.first_due_us = Some(first_us.min(now_us));
            self.due = 1;
        }
    }

    fn write(&mut self, now_us: u64, tools: &mut Tools) {
        let due = self.due * self.size;
        while self.written < due {
            let len = (due - self.written).min(tools.buffer.len() as u64);
            let chunk = &mut tools.buffer[..usize::try_from(len).expect("within the buffer")];
            self.noise.fill(self.written, chunk);
            let taken = self.connection.write(now_us, chunk);
            self.written += taken as u64;
            if taken < chunk.len() {
                break;
            }
        }
        if self.read < due
            && let Some(since_us) = self.due_us(self.read / self.size)
        {
            self.connection.record.stall.expect(since_us);
        }
    }

    fn read(&mut self, now_us: u64, tools: &mut Tools) {
        for _ in 0..BURSTS {
            let Some(len) = self.connection.read(now_us, &mut tools.buffer) else { return };
            if len == 0 {
                return self.end_of_stream(now_us);
            }
            if let Err(mismatch) = self.noise.verify(self.read, &tools.buffer[..len]) {
                return self.connection.fail(now_us, Failure::Data(mismatch));
            }
            let complete_before = self.read / self.size;
            self.read += len as u64;
            if self.read > self.written {
                return self.connection.fail(now_us, Failure::Late { at: self.written });
            }
            for message in complete_before..self.read / self.size {
                let due_us = self.due_us(message).unwrap_or(now_us);
                tools.latency.record(now_us.saturating_sub(due_us));
            }
            self.connection.record.bytes = self.read;
            if self.read == self.due * self.size {
                self.connection.record.stall.satisfied(now_us);
            } else {
                self.connection.record.stall.progress(now_us);
            }
        }
    }

    fn end_of_stream(&mut self, now_us: u64) {
        if self.shut_down {
            self.connection.finish(now_us);
        } else {
            self.connection.fail(now_us, Failure::Early { at: self.read });
        }
    }
}

impl Client for Echo {
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
        self.count_due(now_us);
        // First what waited: an echo read right after its message was sent would look younger.
        self.read(now_us, tools);
        self.write(now_us, tools);
        if self.stopping && !self.shut_down && self.read == self.due * self.size {
            self.shut_down = true;
            self.connection.shut_down(now_us);
            self.connection.record.stall.expect(now_us);
        }
    }

    fn stop(&mut self, _: u64, _: &mut Tools) {
        self.stopping = true;
    }

    fn interest(&self) -> Interest {
        Interest { read: true, write: self.written < self.due * self.size }
    }

    fn wake_at_us(&self) -> Option<u64> {
        self.due_us(self.due).filter(|_| !self.stopping)
    }
}
