//! Sends back what it receives (RFC 862), and closes when the peer has closed and has everything
//! queued that it sent. Bytes that find no room stay in the receive queue and close the window.

use super::{ByteStream, Context, Service};

/// Nothing to remember: the receive queue says it all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo;

impl Echo {
    fn pump<S: ByteStream>(stream: &mut S) {
        stream.forward(stream.readable());
        if stream.peer_closed() && stream.readable() == 0 {
            stream.close();
        }
    }
}

impl Service for Echo {
    fn accept<S: ByteStream>(&mut self, _: Context<'_>, _: &mut S) {}

    fn data<S: ByteStream>(&mut self, _: Context<'_>, stream: &mut S) {
        Echo::pump(stream);
    }

    fn writable<S: ByteStream>(&mut self, _: Context<'_>, stream: &mut S) {
        Echo::pump(stream);
    }

    fn closed<S: ByteStream>(&mut self, _: Context<'_>, stream: &mut S) {
        Echo::pump(stream);
    }

    fn timer<S: ByteStream>(&mut self, _: Context<'_>, _: &mut S) {}
}
