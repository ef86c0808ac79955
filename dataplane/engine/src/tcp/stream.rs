//! A connection as its service sees it.

use crate::buffer::BLOCK_BYTES;
use crate::content::FileId;
use crate::service::{ByteStream, ServiceState};
use crate::tcp::Context;
use crate::tcp::State;
use crate::tcp::tcb::{Marks, Tcb};
use crate::tcp::urgent;
use crate::time::Instant;

/// What a service is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Accept,
    Data,
    Writable,
    Closed,
    Timer,
    Urgent,
}

/// Calls the service. `packet` is in-order payload that is not in the receive queue (which must be
/// empty then). Returns how much of it the service has taken.
#[inline]
pub(crate) fn call(
    event: Event,
    tcb: &mut Tcb,
    service: &mut ServiceState,
    cx: &mut Context<'_>,
    packet: &[u8],
) -> usize {
    debug_assert!(packet.is_empty() || tcb.recv.is_empty());
    let (config, content) = (cx.service(tcb), cx.content);
    let mut stream = Stream { tcb, cx: cx.reborrow(), packet };
    match event {
        Event::Accept => service.accept(config, content, &mut stream),
        Event::Data => service.data(config, content, &mut stream),
        Event::Writable => service.writable(config, content, &mut stream),
        Event::Closed => service.closed(config, content, &mut stream),
        Event::Timer => service.timer(config, content, &mut stream),
        Event::Urgent => service.urgent(config, content, &mut stream),
    }
    packet.len() - stream.packet.len()
}

/// Blocks that must be free for `len` bytes to be sure of a place.
#[inline]
pub(crate) fn blocks_for(len: usize) -> usize {
    len / BLOCK_BYTES + 2
}

/// Blocks of so many that no write takes.
#[inline]
pub(crate) fn kept(blocks: u32) -> usize {
    (blocks as usize / 16).max(blocks_for(0))
}

/// The byte stream of a connection of a shard.
#[derive(Debug)]
pub struct Stream<'s> {
    tcb: &'s mut Tcb,
    cx: Context<'s>,
    /// In-order payload that is not in the receive queue.
    packet: &'s [u8],
}

impl<'s> Stream<'s> {
    pub(crate) fn new(tcb: &'s mut Tcb, cx: Context<'s>) -> Stream<'s> {
        Stream { tcb, cx, packet: &[] }
    }

    fn can_write(&self) -> bool {
        self.tcb.state.can_send() && !self.tcb.has(Marks::CLOSING)
    }

    /// Blocks that are kept for the packet at hand: it must have a place if the service leaves it.
    fn kept_for_packet(&self) -> usize {
        if self.packet.is_empty() { 0 } else { blocks_for(self.packet.len()) }
    }

    /// Queues what finds room when `kept` blocks are to stay free.
    fn write_keeping(&mut self, bytes: &[u8], kept: usize) -> usize {
        let bytes = &bytes[..bytes.len().min(self.writable())];
        let free = self.cx.shared.buffers.blocks.free() as usize;
        let room = free.saturating_sub(kept) * BLOCK_BYTES;
        let fitting = &bytes[..bytes.len().min(room)];
        let taken = self.tcb.send.push_bytes(&mut self.cx.shared.buffers, fitting);
        if taken < bytes.len() {
            self.tcb.set(Marks::SHORT_WRITE);
        }
        taken
    }

    /// The receive buffer grows once the service has read a whole one, as long as the pool is not
    /// scarce.
    fn grow(&mut self, taken: usize) {
        let tcb = &mut *self.tcb;
        tcb.rcv_taken = tcb.rcv_taken.saturating_add(u32::try_from(taken).unwrap_or(u32::MAX));
        let max = self.cx.config.services[usize::from(tcb.service)].recv_buffer_bytes;
        if tcb.rcv_taken < tcb.rcv_limit || tcb.rcv_limit >= max {
            return;
        }
        let blocks = &self.cx.shared.buffers.blocks;
        if blocks.free() > blocks.allowance() / 4 {
            tcb.rcv_limit = tcb.rcv_limit.saturating_mul(2).min(max);
        }
        tcb.rcv_taken = 0;
    }
}

impl ByteStream for Stream<'_> {
    fn now(&self) -> Instant {
        self.cx.now
    }

    #[inline]
    fn readable(&self) -> usize {
        self.packet.len() + self.tcb.recv.len()
    }

    fn peek(&self, offset: usize, into: &mut [u8]) -> usize {
        if self.packet.is_empty() {
            return self.tcb.recv.peek(&self.cx.shared.buffers.blocks, offset, into);
        }
        let rest = self.packet.get(offset..).unwrap_or_default();
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        n
    }

    fn read_slice(&self) -> &[u8] {
        if self.packet.is_empty() {
            self.tcb.recv.front(&self.cx.shared.buffers.blocks)
        } else {
            self.packet
        }
    }

    #[inline]
    fn consume(&mut self, n: usize) {
        let n = n.min(self.readable());
        if self.packet.is_empty() {
            self.tcb.recv.consume(&mut self.cx.shared.buffers.blocks, n);
        } else {
            self.packet = &self.packet[n..];
        }
        self.grow(n);
        if self.tcb.has(Marks::URGENT) && self.urgent() == 0 {
            self.tcb.clear(Marks::URGENT);
        }
    }

    fn urgent(&self) -> u32 {
        let fin = u32::from(self.peer_closed());
        urgent::left(self.tcb, self.tcb.rcv_nxt - fin - self.readable() as u32)
    }

    fn peer_closed(&self) -> bool {
        self.tcb.has(Marks::FIN_RECEIVED)
    }

    fn writable(&self) -> usize {
        if !self.can_write() {
            return 0;
        }
        let limit = u64::from(self.cx.service(self.tcb).send_buffer_bytes);
        usize::try_from(limit.saturating_sub(self.tcb.send.len())).unwrap_or(usize::MAX)
    }

    fn queued(&self) -> u64 {
        self.tcb.send.len()
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        // Some blocks are for what comes in, also on other connections.
        let reserve = kept(self.cx.shared.buffers.blocks.allowance());
        self.write_keeping(bytes, reserve.max(self.kept_for_packet()))
    }

    /// What moves from one queue to the other frees as much as it takes. So it needs no reserve,
    /// and must not wait for one: received bytes may be what has used it up.
    fn forward(&mut self, max: usize) -> usize {
        let mut moved = 0;
        while moved < max {
            // What lies in the packet goes straight into the send queue.
            let taken = if self.packet.is_empty() {
                let mut buffer = [0; 1024];
                let room = (max - moved).min(buffer.len()).min(self.writable());
                let copied = self.peek(0, &mut buffer[..room]);
                self.write_keeping(&buffer[..copied], 0)
            } else {
                let packet = self.packet;
                let kept = self.kept_for_packet();
                self.write_keeping(&packet[..packet.len().min(max - moved)], kept)
            };
            self.consume(taken);
            moved += taken;
            if taken == 0 {
                break;
            }
        }
        moved
    }

    fn write_content(&mut self, file: FileId, offset: u64, len: u64) -> bool {
        let exists = self.cx.content.contains(file)
            && offset
                .checked_add(len)
                .is_some_and(|end| end <= self.cx.content.bytes(file).len() as u64);
        debug_assert!(exists, "services send only what their files have");
        if !exists || !self.can_write() {
            return false;
        }
        let buffers = &mut self.cx.shared.buffers;
        let queued = self.tcb.send.push_content(buffers, file.0, offset, len);
        if !queued {
            self.tcb.set(Marks::SHORT_WRITE);
        }
        queued
    }

    fn write_pattern(&mut self, offset: u64, len: u64) -> bool {
        if !self.can_write() {
            return false;
        }
        let queued = self.tcb.send.push_pattern(&mut self.cx.shared.buffers, offset, len);
        if !queued {
            self.tcb.set(Marks::SHORT_WRITE);
        }
        queued
    }

    fn close(&mut self) {
        // RFC 9293 3.10.4: in SYN-SENT there is nobody to tell.
        if self.tcb.state == State::SynSent {
            self.tcb.drop_silently();
        }
        self.tcb.set(Marks::CLOSING);
    }

    fn abort(&mut self) {
        match self.tcb.state {
            State::Closed => return,
            // RFC 9293 3.10.5: in these states no RST is due.
            State::SynSent | State::Closing | State::LastAck | State::TimeWait => {
                self.tcb.drop_silently();
            }
            _ => self.tcb.reset(),
        }
        self.cx.shared.counters.aborts += 1;
    }

    fn set_timer(&mut self, after_us: u64) {
        self.tcb.deadlines.service = self.cx.now.plus_us(after_us);
    }
}
