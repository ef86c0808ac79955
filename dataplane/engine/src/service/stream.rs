//! Sends the documented byte pattern: without end, or as many bytes as the client asks for with a
//! decimal line, `N\n`, and then FIN. As fast as the peer takes it, or at a pace.
//!
//! Byte `i` of a service with seed 0 is the low byte of `(i * 2654435761) >> 16`, in wrapping
//! 64-bit arithmetic. With another seed byte 0 is byte `seed` of that sequence, and so on,
//! wrapping.
//!
//! A peer that closes its direction goes on receiving (RFC 864: until the user ends it), for a
//! client may well shut down its sending side at once and read on.

use super::{ByteStream, Context, Service};
use crate::config::{ServiceKind, StreamLength};
use crate::snapshot::{Reader, SnapshotError, Writer};
use crate::time::Instant;

/// Bytes queued ahead of the peer: more than any congestion window, and they cost no memory.
const AHEAD_BYTES: u64 = 64 << 20;
/// Time between two portions of a paced stream.
const PACE_TICK_US: u64 = 10_000;
/// Longest request line, its end included: 20 digits of a 64-bit number, CR and LF.
const MAX_LINE: usize = 22;

/// Where a stream stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Stream {
    /// Waiting for the line that says how much.
    #[default]
    Asked,
    /// Sending, until all is queued and FIN too. What the peer sends is thrown away.
    Sending(Progress),
}

/// How far a stream has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// When the first byte was due.
    start: Instant,
    /// Bytes queued so far.
    sent: u64,
    /// Bytes to send altogether; `u64::MAX` without end.
    total: u64,
}

/// The fields of the configuration that count here.
struct Plan {
    length: StreamLength,
    rate_bps: Option<u64>,
    seed: u64,
}

impl Plan {
    fn of(context: Context<'_>) -> Plan {
        match context.config.kind {
            ServiceKind::Stream { length, rate_bps, seed } => Plan { length, rate_bps, seed },
            // A state comes from the kind of its own service: anything else sends seed 0.
            _ => Plan { length: StreamLength::Endless, rate_bps: None, seed: 0 },
        }
    }

    /// Time between two portions: a tick, or longer if a tick is not worth a byte.
    fn tick_us(&self) -> Option<u64> {
        self.rate_bps.map(|rate| PACE_TICK_US.max(8_000_000_u64.div_ceil(rate.max(1))))
    }
}

impl Stream {
    fn start<S: ByteStream>(&mut self, plan: &Plan, total: u64, stream: &mut S) {
        *self = Stream::Sending(Progress { start: stream.now(), sent: 0, total });
        if let Some(tick_us) = plan.tick_us() {
            stream.set_timer(tick_us);
        }
        self.push(plan, stream);
    }

    /// Queues what is due, and FIN behind the last byte.
    fn push<S: ByteStream>(&mut self, plan: &Plan, stream: &mut S) {
        let Stream::Sending(progress) = self else { return };
        let len = progress.due(plan, stream.now(), stream.queued());
        if len > 0 && stream.write_pattern(plan.seed.wrapping_add(progress.sent), len) {
            progress.sent += len;
        }
        if progress.is_over() {
            stream.close();
        }
    }

    /// Reads the request line once it is there.
    fn read_request<S: ByteStream>(&mut self, plan: &Plan, stream: &mut S) {
        let mut line = [0; MAX_LINE];
        let copied = stream.peek(0, &mut line);
        let Some(end) = line[..copied].iter().position(|&byte| byte == b'\n') else {
            if copied == 0 && stream.peer_closed() {
                self.start(plan, 0, stream);
            } else if copied == MAX_LINE || stream.peer_closed() {
                stream.abort();
            }
            return;
        };
        match parse_count(&line[..end]) {
            Some(total) => {
                stream.consume(end + 1);
                self.start(plan, total, stream);
                stream.consume(stream.readable());
            }
            None => stream.abort(),
        }
    }

    pub(super) fn save(&self, out: &mut Writer<'_>) {
        match self {
            Stream::Asked => out.u8(0),
            Stream::Sending(progress) => {
                out.u8(1);
                out.u64(progress.start.as_micros());
                out.u64(progress.sent);
                out.u64(progress.total);
            }
        }
    }

    pub(super) fn restore(input: &mut Reader<'_>) -> Result<Stream, SnapshotError> {
        match input.u8("stream phase")? {
            0 => Ok(Stream::Asked),
            1 => {
                let start = Instant::from_micros(input.u64("stream start")?);
                let (sent, total) = (input.u64("stream position")?, input.u64("stream length")?);
                if sent > total {
                    return Err(input.invalid("stream position", sent));
                }
                Ok(Stream::Sending(Progress { start, sent, total }))
            }
            other => Err(input.invalid("stream phase", other.into())),
        }
    }
}

impl Progress {
    fn is_over(&self) -> bool {
        self.sent == self.total
    }

    /// Bytes to queue now. Without a pace the queue is filled up once half of it is gone, so that
    /// an acknowledgment rarely means a new extent.
    fn due(&self, plan: &Plan, now: Instant, queued: u64) -> u64 {
        let room = match plan.rate_bps {
            Some(rate) => {
                let elapsed_us = u128::from(now.since_us(self.start));
                let due = elapsed_us * u128::from(rate) / 8_000_000;
                let due = u64::try_from(due).unwrap_or(u64::MAX);
                due.saturating_sub(self.sent).min(AHEAD_BYTES.saturating_sub(queued))
            }
            None if queued > AHEAD_BYTES / 2 => 0,
            None => AHEAD_BYTES - queued,
        };
        room.min(self.total - self.sent)
    }
}

impl Service for Stream {
    fn accept<S: ByteStream>(&mut self, context: Context<'_>, stream: &mut S) {
        let plan = Plan::of(context);
        if plan.length == StreamLength::Endless {
            self.start(&plan, u64::MAX, stream);
        }
    }

    fn data<S: ByteStream>(&mut self, context: Context<'_>, stream: &mut S) {
        match self {
            Stream::Asked => self.read_request(&Plan::of(context), stream),
            Stream::Sending(_) => stream.consume(stream.readable()),
        }
    }

    fn writable<S: ByteStream>(&mut self, context: Context<'_>, stream: &mut S) {
        self.push(&Plan::of(context), stream);
    }

    fn closed<S: ByteStream>(&mut self, context: Context<'_>, stream: &mut S) {
        self.data(context, stream);
    }

    fn timer<S: ByteStream>(&mut self, context: Context<'_>, stream: &mut S) {
        let plan = Plan::of(context);
        self.push(&plan, stream);
        if let (Stream::Sending(progress), Some(tick_us)) = (self, plan.tick_us())
            && !progress.is_over()
        {
            stream.set_timer(tick_us);
        }
    }
}

/// A decimal number with nothing around it but a carriage return at the end.
fn parse_count(line: &[u8]) -> Option<u64> {
    let digits = line.strip_suffix(b"\r").unwrap_or(line);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
}
