//! Sends everything, closes its sending half, waits, and must then get everything back.

use crate::args::HalfcloseArgs;
use crate::client::{Client, Interest, Tools};
use crate::connection::Connection;
use crate::pace::Pace;

use super::upload_echo::RoundTrip;

/// Receive buffer: small, so that the server cannot get rid of the echo while we wait, and has to
/// carry the half-closed connection on.
const RECEIVE_BUFFER_BYTES: usize = 16 << 10;

/// One half-closed connection.
#[derive(Debug)]
pub struct Halfclose {
    connection: Connection,
    trip: RoundTrip,
    reading: bool,
}

impl Halfclose {
    /// The connection with this number.
    pub fn new(args: &HalfcloseArgs, index: u32) -> Halfclose {
        let common = &args.common;
        Halfclose {
            connection: Connection::new(common.target),
            trip: RoundTrip::new(common.seed, index, args.bytes, Pace::new(None)),
            reading: false,
        }
    }
}

impl Client for Halfclose {
    fn connection(&self) -> &Connection {
        &self.connection
    }

    fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    fn advance(&mut self, now_us: u64, tools: &mut Tools) {
        if self.connection.is_new() {
            self.connection.open(now_us, Some(RECEIVE_BUFFER_BYTES));
        }
        if !self.connection.is_open(now_us) {
            return;
        }
        self.trip.write(&mut self.connection, now_us, tools);
        if self.reading {
            self.connection.record.stall.expect(now_us);
            self.trip.read(&mut self.connection, now_us, tools);
        }
    }

    /// The hold is over.
    fn stop(&mut self, _: u64, _: &mut Tools) {
        self.reading = true;
    }

    fn interest(&self) -> Interest {
        Interest { read: self.reading, write: self.trip.is_sending() }
    }
}
