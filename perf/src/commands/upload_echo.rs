//! Sends to an echo port and reads back at once: both directions are busy.

use crate::args::UploadEchoArgs;
use crate::bytes::Noise;
use crate::client::{BURSTS, Client, Interest, Tools};
use crate::connection::{Connection, Failure};
use crate::pace::Pace;

/// Positions of a connection that sends `total` bytes of noise and gets them back.
#[derive(Debug)]
pub struct RoundTrip {
    noise: Noise,
    total: u64,
    written: u64,
    pace: Pace,
}

impl RoundTrip {
    /// The connection with this number, which sends no faster than `pace`.
    pub fn new(seed: u64, index: u32, total: u64, pace: Pace) -> RoundTrip {
        RoundTrip { noise: Noise::new(seed, index), total, written: 0, pace }
    }

    /// Whether there are bytes left to send.
    pub fn is_sending(&self) -> bool {
        self.written < self.total
    }

    /// Whether some of these may be sent now.
    pub fn may_send(&self) -> bool {
        self.is_sending() && self.waits_until_us().is_none()
    }

    /// When some may be sent, if none may before.
    pub fn waits_until_us(&self) -> Option<u64> {
        self.pace.waits_until_us().filter(|_| self.is_sending())
    }

    /// Writes what the socket takes; sends FIN behind the last byte.
    pub fn write(&mut self, connection: &mut Connection, now_us: u64, tools: &mut Tools) {
        for _ in 0..BURSTS {
            let most = self.pace.allows(now_us).min(tools.buffer.len() as u64);
            let len = (self.total - self.written).min(most);
            if len == 0 {
                return;
            }
            let chunk = &mut tools.buffer[..usize::try_from(len).expect("within the buffer")];
            self.noise.fill(self.written, chunk);
            let taken = connection.write(now_us, chunk);
            self.written += taken as u64;
            self.pace.moved(taken);
            if !self.is_sending() {
                connection.shut_down(now_us);
            } else if taken < chunk.len() {
                return;
            }
        }
    }

    /// Verifies what came back, and that FIN comes behind the last byte.
    pub fn read(&mut self, connection: &mut Connection, now_us: u64, tools: &mut Tools) {
        for _ in 0..BURSTS {
            let Some(len) = connection.read(now_us, &mut tools.buffer) else { return };
            let at = connection.record.bytes;
            if len == 0 {
                return if at == self.total {
                    connection.finish(now_us);
                } else {
                    connection.fail(now_us, Failure::Early { at });
                };
            }
            if let Err(mismatch) = self.noise.verify(at, &tools.buffer[..len]) {
                return connection.fail(now_us, Failure::Data(mismatch));
            }
            connection.record.bytes += len as u64;
            connection.record.stall.progress(now_us);
            if connection.record.bytes > self.written {
                return connection.fail(now_us, Failure::Late { at: self.written });
            }
        }
    }
}

/// One connection that is busy in both directions.
#[derive(Debug)]
pub struct UploadEcho {
    connection: Connection,
    trip: RoundTrip,
}

impl UploadEcho {
    /// The connection with this number.
    pub fn new(args: &UploadEchoArgs, index: u32) -> UploadEcho {
        let common = &args.common;
        UploadEcho {
            connection: Connection::new(common.target),
            trip: RoundTrip::new(common.seed, index, args.bytes, Pace::new(args.rate)),
        }
    }
}

impl Client for UploadEcho {
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
        self.trip.write(&mut self.connection, now_us, tools);
        self.trip.read(&mut self.connection, now_us, tools);
    }

    /// Its bytes must come through whatever the time.
    fn stop(&mut self, _: u64, _: &mut Tools) {}

    fn interest(&self) -> Interest {
        Interest { read: true, write: self.trip.may_send() }
    }

    fn wake_at_us(&self) -> Option<u64> {
        self.trip.waits_until_us()
    }
}
