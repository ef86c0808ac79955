//! A message and its echo on a fresh connection; and perhaps, much later, another one.

use crate::args::{Common, ConnectArgs, IdleArgs};
use crate::bytes::Noise;
use crate::client::{Client, Interest, Tools};
use crate::connection::{Connection, Failure};

/// Bytes of a message.
const MESSAGE_BYTES: u64 = 64;

/// One connection.
#[derive(Debug)]
pub struct Exchange {
    connection: Connection,
    noise: Noise,
    /// When the SYN is due.
    start_us: u64,
    /// Bytes to send so far: one message, or two.
    goal: u64,
    written: u64,
    answered: bool,
    second: Second,
    shut_down: bool,
}

/// Whether there is a second message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Second {
    /// No. The time from the due SYN to the echo is measured.
    Never,
    /// So long after the stop.
    AfterStop(u64),
    /// At this time.
    At(u64),
    /// It was sent, or is about to be.
    Sent,
}

impl Exchange {
    /// Number `index` of many that stay open.
    pub fn twice(args: &IdleArgs, index: u32) -> Exchange {
        let turn_us = u64::from(index) * 1_000_000 / args.ramp;
        Exchange::new(&args.common, index, turn_us, Second::AfterStop(turn_us))
    }

    /// Number `index` of many that come and go.
    pub fn once(args: &ConnectArgs, index: u32) -> Exchange {
        let start_us = u64::from(index) * args.interval * 1000;
        Exchange::new(&args.common, index, start_us, Second::Never)
    }

    fn new(common: &Common, index: u32, start_us: u64, second: Second) -> Exchange {
        Exchange {
            connection: Connection::new(common.target),
            noise: Noise::new(common.seed, index),
            start_us,
            goal: MESSAGE_BYTES,
            written: 0,
            answered: false,
            second,
            shut_down: false,
        }
    }

    fn write(&mut self, now_us: u64) {
        let mut message = [0; 2 * MESSAGE_BYTES as usize];
        let len = usize::try_from(self.goal - self.written).expect("two messages at most");
        self.noise.fill(self.written, &mut message[..len]);
        if len > 0 {
            self.written += self.connection.write(now_us, &message[..len]) as u64;
        }
    }

    fn read(&mut self, now_us: u64, tools: &mut Tools) {
        let Some(len) = self.connection.read(now_us, &mut tools.buffer) else { return };
        let at = self.connection.record.bytes;
        if len == 0 {
            return if self.shut_down {
                self.connection.finish(now_us);
            } else {
                self.connection.fail(now_us, Failure::Early { at });
            };
        }
        if let Err(mismatch) = self.noise.verify(at, &tools.buffer[..len]) {
            return self.connection.fail(now_us, Failure::Data(mismatch));
        }
        self.connection.record.bytes += len as u64;
        if self.connection.record.bytes > self.written {
            return self.connection.fail(now_us, Failure::Late { at: self.written });
        }
        self.connection.record.stall.progress(now_us);
        if self.connection.record.bytes == self.goal {
            self.connection.record.stall.satisfied(now_us);
            self.all_came_back(now_us, tools);
        }
    }

    fn all_came_back(&mut self, now_us: u64, tools: &mut Tools) {
        if !self.answered {
            self.answered = true;
            tools.answered += 1;
        }
        if self.second == Second::Never {
            tools.latency.record(now_us.saturating_sub(self.start_us));
        }
        if matches!(self.second, Second::Never | Second::Sent) {
            self.shut_down = true;
            self.connection.shut_down(now_us);
            self.connection.record.stall.expect(now_us);
        }
    }
}

impl Client for Exchange {
    fn connection(&self) -> &Connection {
        &self.connection
    }

    fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    fn advance(&mut self, now_us: u64, tools: &mut Tools) {
        if self.connection.is_new() && now_us >= self.start_us {
            self.connection.open(now_us, None);
            self.connection.record.stall.expect(self.start_us);
        }
        if !self.connection.is_open(now_us) {
            return;
        }
        if let Second::At(due_us) = self.second
            && now_us >= due_us
        {
            self.second = Second::Sent;
            self.goal = 2 * MESSAGE_BYTES;
            self.connection.record.stall.expect(due_us);
        }
        // First what waited: an echo read right after its message was sent would look younger.
        self.read(now_us, tools);
        self.write(now_us);
    }

    fn stop(&mut self, now_us: u64, _: &mut Tools) {
        match self.second {
            Second::AfterStop(_) if self.connection.is_new() => {
                self.connection.fail(now_us, Failure::Unfinished);
            }
            Second::AfterStop(after_us) => self.second = Second::At(now_us + after_us),
            // A connection that is not due yet never will be; one that is late will be opened.
            Second::Never if self.connection.is_new() && now_us < self.start_us => {
                self.connection.finish(now_us);
            }
            Second::Never | Second::At(_) | Second::Sent => {}
        }
    }

    fn interest(&self) -> Interest {
        Interest { read: true, write: self.written < self.goal }
    }

    fn wake_at_us(&self) -> Option<u64> {
        match self.second {
            _ if self.connection.is_new() => Some(self.start_us),
            Second::At(due_us) => Some(due_us),
            _ => None,
        }
    }
}
