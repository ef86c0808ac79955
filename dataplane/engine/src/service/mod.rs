//! Services: code on a connection's byte stream. A service sees its connection through
//! [`ByteStream`] alone, keeps what it must remember in a [`ServiceState`] of a few bytes, and is
//! as deterministic as the shard that runs it: no clock, no randomness, no map order.
//!
//! Start with [`echo`], the smallest one.

mod discard;
mod echo;
pub mod external;
pub mod http;
mod stream;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

use crate::config::{ServiceConfig, ServiceKind};
use crate::content::{Content, FileId};
use crate::snapshot::{Reader, SnapshotError, Writer};
use crate::time::Instant;

/// A connection as its service sees it: in-order bytes in, bytes and references out.
pub trait ByteStream {
    /// Shard time of the step that is running.
    fn now(&self) -> Instant;

    /// In-order bytes that wait to be consumed.
    fn readable(&self) -> usize;

    /// Copies readable bytes from `offset` on without consuming them. Returns how many.
    fn peek(&self, offset: usize, into: &mut [u8]) -> usize;

    /// First contiguous run of the readable bytes; empty only if nothing is readable.
    fn read_slice(&self) -> &[u8];

    /// Drops the first `n` readable bytes, which lets the window open again.
    fn consume(&mut self, n: usize);

    /// How many of the next bytes to be consumed are urgent, those included that are still to come
    /// (RFC 9293 3.8.5).
    fn urgent(&self) -> u32;

    /// Whether the peer's FIN has come and all bytes before it are readable or consumed.
    fn peer_closed(&self) -> bool;

    /// Bytes that this connection may still queue. [`write`](Self::write) takes fewer only when the
    /// shard's memory runs short.
    fn writable(&self) -> usize;

    /// Bytes in the send queue that the peer has not acknowledged, references included.
    fn queued(&self) -> u64;

    /// Copies `bytes` into the send queue. Returns how many were taken.
    fn write(&mut self, bytes: &[u8]) -> usize;

    /// Queues `len` bytes of a file from `offset` on, by reference. False: nothing was queued.
    fn write_content(&mut self, file: FileId, offset: u64, len: u64) -> bool;

    /// Queues `len` bytes of the [pattern](crate::buffer::pattern) from `offset` on, by reference.
    /// False: nothing was queued.
    fn write_pattern(&mut self, offset: u64, len: u64) -> bool;

    /// Sends FIN after what is queued. Writes take nothing afterwards; again, it does nothing.
    fn close(&mut self);

    /// Sends RST and forgets the connection.
    fn abort(&mut self);

    /// Has [`ServiceState::timer`] called once `after_us` microseconds from now. There is one timer
    /// for a connection: this replaces what was set before.
    fn set_timer(&mut self, after_us: u64);

    /// Moves up to `max` readable bytes to the send queue, as many as it takes. Returns how many.
    fn forward(&mut self, max: usize) -> usize {
        let mut moved = 0;
        let mut buffer = [0; 2048];
        while moved < max {
            let room = (max - moved).min(buffer.len()).min(self.writable());
            let copied = self.peek(0, &mut buffer[..room]);
            let taken = self.write(&buffer[..copied]);
            self.consume(taken);
            moved += taken;
            if taken == 0 {
                break;
            }
        }
        moved
    }
}

/// What a service remembers of one connection. An enum, so that calls are static.
///
/// The engine calls, in shard time and within a step:
/// - `accept` once, when the connection is established;
/// - `data` when new in-order bytes are readable. What it leaves stays readable, closes the window,
///   and may be taken at any later call;
/// - `writable` when an acknowledgment made the send queue shorter, or when memory of the shard
///   came back after one of the writes took less than it was given;
/// - `urgent` when the peer tells of urgent data, or of more of it than before;
/// - `closed` once, when the peer's FIN is in order;
/// - `timer` when the time set by [`ByteStream::set_timer`] has come.
///
/// No call comes after [`ByteStream::abort`] or after a reset. After [`ByteStream::close`] calls go
/// on until the connection is gone, for the peer may still be sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceState {
    /// RFC 862.
    Echo(echo::Echo),
    /// RFC 863.
    Discard(discard::Discard),
    /// The documented pattern.
    Stream(stream::Stream),
    /// Static files.
    Http(http::Http),
    /// The program around the shard.
    External(external::External),
}

const _: () = assert!(size_of::<ServiceState>() <= 32, "one for each connection: keep it small");

macro_rules! dispatch {
    ($self:ident, $service:ident => $call:expr) => {
        match $self {
            ServiceState::Echo($service) => $call,
            ServiceState::Discard($service) => $call,
            ServiceState::Stream($service) => $call,
            ServiceState::Http($service) => $call,
            ServiceState::External($service) => $call,
        }
    };
}

/// What each service implements; [`ServiceState`] chooses by its variant.
trait Service {
    fn accept<S: ByteStream>(&mut self, context: Context<'_>, stream: &mut S);
    fn data<S: ByteStream>(&mut self, context: Context<'_>, stream: &mut S);
    fn writable<S: ByteStream>(&mut self, context: Context<'_>, stream: &mut S);
    fn closed<S: ByteStream>(&mut self, context: Context<'_>, stream: &mut S);
    fn timer<S: ByteStream>(&mut self, context: Context<'_>, stream: &mut S);
    /// None of the protocols here has a use for it.
    fn urgent<S: ByteStream>(&mut self, _: Context<'_>, _: &mut S) {}
}

/// What all connections of a service share.
#[derive(Debug, Clone, Copy)]
struct Context<'a> {
    config: &'a ServiceConfig,
    content: &'a Content,
}

impl ServiceState {
    /// State of a new connection to a service of this kind.
    #[must_use]
    pub fn new(kind: &ServiceKind) -> ServiceState {
        match kind {
            ServiceKind::Echo => ServiceState::Echo(echo::Echo),
            ServiceKind::Discard => ServiceState::Discard(discard::Discard),
            ServiceKind::Stream { .. } => ServiceState::Stream(stream::Stream::default()),
            ServiceKind::Http { .. } => ServiceState::Http(http::Http::default()),
            ServiceKind::External => ServiceState::External(external::External::default()),
        }
    }

    /// Whether a service of this kind can have this state.
    #[must_use]
    pub fn is_of(&self, kind: &ServiceKind) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(&ServiceState::new(kind))
    }

    /// The connection is established.
    pub fn accept<S: ByteStream>(
        &mut self,
        config: &ServiceConfig,
        content: &Content,
        stream: &mut S,
    ) {
        dispatch!(self, service => service.accept(Context { config, content }, stream));
    }

    /// New in-order bytes are readable.
    pub fn data<S: ByteStream>(
        &mut self,
        config: &ServiceConfig,
        content: &Content,
        stream: &mut S,
    ) {
        dispatch!(self, service => service.data(Context { config, content }, stream));
    }

    /// There is room in the send queue again.
    pub fn writable<S: ByteStream>(
        &mut self,
        config: &ServiceConfig,
        content: &Content,
        stream: &mut S,
    ) {
        dispatch!(self, service => service.writable(Context { config, content }, stream));
    }

    /// The peer sends no more: its FIN is in order.
    pub fn closed<S: ByteStream>(
        &mut self,
        config: &ServiceConfig,
        content: &Content,
        stream: &mut S,
    ) {
        dispatch!(self, service => service.closed(Context { config, content }, stream));
    }

    /// The time set by [`ByteStream::set_timer`] has come.
    pub fn timer<S: ByteStream>(
        &mut self,
        config: &ServiceConfig,
        content: &Content,
        stream: &mut S,
    ) {
        dispatch!(self, service => service.timer(Context { config, content }, stream));
    }

    /// The peer has urgent data.
    pub fn urgent<S: ByteStream>(
        &mut self,
        config: &ServiceConfig,
        content: &Content,
        stream: &mut S,
    ) {
        dispatch!(self, service => service.urgent(Context { config, content }, stream));
    }

    /// Appends the state to a snapshot.
    pub fn save(&self, out: &mut Writer<'_>) {
        match self {
            ServiceState::Echo(_) => out.u8(0),
            ServiceState::Discard(_) => out.u8(1),
            ServiceState::Stream(stream) => {
                out.u8(2);
                stream.save(out);
            }
            ServiceState::Http(http) => {
                out.u8(3);
                http.save(out);
            }
            ServiceState::External(external) => {
                out.u8(4);
                external.save(out);
            }
        }
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// The bytes end too early, or say something that a connection over `content` cannot have.
    pub fn restore(
        input: &mut Reader<'_>,
        content: &Content,
    ) -> Result<ServiceState, SnapshotError> {
        match input.u8("service kind")? {
            0 => Ok(ServiceState::Echo(echo::Echo)),
            1 => Ok(ServiceState::Discard(discard::Discard)),
            2 => stream::Stream::restore(input).map(ServiceState::Stream),
            3 => http::Http::restore(input, content).map(ServiceState::Http),
            4 => external::External::restore(input).map(ServiceState::External),
            other => Err(input.invalid("service kind", other.into())),
        }
    }
}
