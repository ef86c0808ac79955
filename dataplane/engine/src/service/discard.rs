//! Throws away what it receives (RFC 863), and closes when the peer has closed.

use super::{ByteStream, Context, Service};

/// Nothing to remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discard;

impl Service for Discard {
    fn accept<S: ByteStream>(&mut self, _: Context<'_>, _: &mut S) {}

    fn data<S: ByteStream>(&mut self, _: Context<'_>, stream: &mut S) {
        stream.consume(stream.readable());
    }

    fn writable<S: ByteStream>(&mut self, _: Context<'_>, _: &mut S) {}

    fn closed<S: ByteStream>(&mut self, _: Context<'_>, stream: &mut S) {
        stream.consume(stream.readable());
        stream.close();
    }

    fn timer<S: ByteStream>(&mut self, _: Context<'_>, _: &mut S) {}
}
