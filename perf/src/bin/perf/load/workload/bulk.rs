//! Streams of bytes, as fast as they go.

use super::{Context, Index, Notice, Transport, Workload, base};
use crate::load::transport::{Events, Stream as _};
use crate::load::trouble::Trouble;
use engine::buffer::pattern;

/// Bytes offered to a send buffer at a time.
const PIECE: u64 = 256 << 10;
/// Most that is written in one go, should a send buffer have no end.
const AT_ONCE: u64 = 64 << 20;
/// Senders ask so often what has been acknowledged; with many streams, less often.
const ASK_NS: u64 = 1_000_000;
/// Time between two questions, for each stream.
const ASK_NS_PER_STREAM: u64 = 50_000;

/// Where bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the target, which discards them. What its TCP has acknowledged counts.
    Up,
    /// From the target, which sends the pattern without end.
    Down,
    /// To the target and back. What has come back counts, both ways.
    Both,
}

/// The load.
#[derive(Debug)]
pub struct Bulk {
    direction: Direction,
    /// Bytes after which a stream is done; `u64::MAX`: never.
    limit: u64,
    streams: Vec<Stream>,
    begun: bool,
    stopped: bool,
    /// Streams that are open and not done.
    active: u64,
    next_ask_ns: u64,
}

#[derive(Debug, Clone, Default)]
struct Stream {
    written: u64,
    /// Bytes acknowledged, or received.
    done: u64,
    progress_ns: u64,
    longest_stall_ns: u64,
    is_active: bool,
}

impl Bulk {
    /// So many streams, each up to `bytes` if given.
    pub fn new(direction: Direction, streams: u32, bytes: Option<u64>) -> Bulk {
        Bulk {
            direction,
            limit: bytes.unwrap_or(u64::MAX),
            streams: vec![Stream::default(); streams as usize],
            begun: false,
            stopped: false,
            active: 0,
            next_ask_ns: 0,
        }
    }

    fn write<T: Transport>(&mut self, context: &mut Context<T>, index: Index) {
        let stream = &mut self.streams[index as usize];
        if !stream.is_active || self.stopped || self.direction == Direction::Down {
            return;
        }
        let Some(mut out) = context.transport.stream(index) else { return };
        let end = self.limit.min(stream.written.saturating_add(AT_ONCE));
        while stream.written < end {
            let len = PIECE.min(end - stream.written);
            let took = out.write_pattern(base(index).wrapping_add(stream.written), len);
            stream.written += took;
            if took < len {
                break;
            }
        }
    }

    fn read<T: Transport>(&mut self, context: &mut Context<T>, index: Index) -> usize {
        let Some(mut incoming) = context.transport.stream(index) else { return 0 };
        let stream = &self.streams[index as usize];
        let start = if self.direction == Direction::Down { 0 } else { base(index) };
        let mut at = stream.done;
        let mut is_wrong = false;
        let len = incoming.read(|bytes| {
            if !is_wrong {
                let matching = pattern::matching(start.wrapping_add(at), bytes);
                is_wrong = matching < bytes.len();
                at += matching as u64;
            }
        });
        drop(incoming);
        let trouble = match self.direction {
            _ if is_wrong => Some(Trouble::WrongByte),
            Direction::Up => (len > 0).then_some(Trouble::TooMuch),
            Direction::Both => (at > stream.written).then_some(Trouble::TooMuch),
            Direction::Down => None,
        };
        match trouble {
            Some(trouble) => self.end(context, index, Some((trouble, at))),
            None if len > 0 => self.progress(context, index, at),
            None => {}
        }
        len
    }

    /// So many bytes have come, or were acknowledged, up to now.
    fn progress<T: Transport>(&mut self, context: &mut Context<T>, index: Index, done: u64) {
        let stream = &mut self.streams[index as usize];
        let bytes = done - stream.done;
        stream.done = done;
        context.heard_ns = context.now_ns;
        if self.direction != Direction::Up {
            context.meter.received(bytes);
        }
        if self.direction != Direction::Down {
            context.meter.sent(bytes);
        }
        if self.begun {
            let gap_ns = context.now_ns.saturating_sub(stream.progress_ns);
            stream.longest_stall_ns = stream.longest_stall_ns.max(gap_ns);
            stream.progress_ns = context.now_ns;
            context.meter.stalled(gap_ns);
        }
        if stream.is_active && done >= self.limit {
            self.end(context, index, None);
        }
    }

    fn end<T: Transport>(
        &mut self,
        context: &mut Context<T>,
        index: Index,
        trouble: Option<(Trouble, u64)>,
    ) {
        self.deactivate(index);
        match trouble {
            Some((trouble, position)) => context.condemn(index, trouble, position),
            None => context.forget(index),
        }
    }

    fn deactivate(&mut self, index: Index) {
        let stream = &mut self.streams[index as usize];
        self.active -= u64::from(stream.is_active);
        stream.is_active = false;
    }

    fn ask<T: Transport>(&mut self, context: &mut Context<T>) {
        for index in 0..self.connections() {
            let Stream { written, done, is_active, .. } = self.streams[index as usize];
            if !is_active {
                continue;
            }
            let out = context.transport.stream(index);
            let acknowledged = out.map_or(0, |out| written.saturating_sub(out.unacknowledged()));
            if acknowledged > done {
                self.progress(context, index, acknowledged);
            }
            self.write(context, index);
        }
    }
}

impl Workload for Bulk {
    fn connections(&self) -> u32 {
        u32::try_from(self.streams.len()).unwrap_or(u32::MAX)
    }

    fn begin<T: Transport>(&mut self, context: &mut Context<T>) {
        self.begun = true;
        for index in 0..self.connections() {
            if !context.is_open(index) {
                continue;
            }
            let stream = &mut self.streams[index as usize];
            stream.is_active = true;
            stream.progress_ns = context.now_ns;
            self.active += 1;
            self.write(context, index);
        }
    }

    fn notice<T: Transport>(&mut self, context: &mut Context<T>, notice: Notice) {
        let index = notice.index;
        if notice.events.has(Events::OVER) {
            self.deactivate(index);
            return;
        }
        if notice.events.has(Events::READABLE) {
            self.read(context, index);
        }
        if notice.events.has(Events::READABLE.and(Events::WRITABLE)) {
            self.write(context, index);
        }
        if notice.events.has(Events::PEER_CLOSED) {
            while context.is_open(index) && self.read(context, index) > 0 {}
            if context.is_open(index) {
                let at = self.streams[index as usize].done;
                self.end(context, index, Some((Trouble::ClosedEarly, at)));
            }
        }
    }

    fn due<T: Transport>(&mut self, context: &mut Context<T>) -> u64 {
        if self.direction != Direction::Up || self.active == 0 {
            return u64::MAX;
        }
        if context.now_ns >= self.next_ask_ns {
            self.ask(context);
            let distance_ns = ASK_NS.max(ASK_NS_PER_STREAM * self.active);
            self.next_ask_ns = context.now_ns + distance_ns;
        }
        self.next_ask_ns
    }

    fn inspect<T: Transport>(&mut self, context: &mut Context<T>) {
        for stream in self.streams.iter().filter(|stream| stream.is_active) {
            context.meter.stalled(context.now_ns.saturating_sub(stream.progress_ns));
        }
    }

    fn is_waiting(&self) -> bool {
        self.active > 0 && !self.stopped
    }

    fn is_complete(&self) -> bool {
        self.begun && self.active == 0
    }

    fn stop(&mut self, _now_ns: u64) {
        self.stopped = true;
    }

    fn give_up<T: Transport>(&mut self, _context: &mut Context<T>) {}

    fn stalls(&self, now_ns: u64, is_open: &dyn Fn(Index) -> bool, tell: &mut dyn FnMut(u64)) {
        for (index, stream) in (0..).zip(&self.streams) {
            let current_ns = match stream.is_active && is_open(index) {
                true => now_ns.saturating_sub(stream.progress_ns),
                false => 0,
            };
            let longest_ns = stream.longest_stall_ns.max(current_ns);
            if longest_ns > 0 {
                tell(longest_ns);
            }
        }
    }

    fn forget_stalls(&mut self) {
        for stream in &mut self.streams {
            stream.longest_stall_ns = 0;
        }
    }
}
