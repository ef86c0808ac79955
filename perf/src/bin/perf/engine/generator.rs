//! The poll loop, and the transport on it.

use std::fmt;
use std::time::{Duration, Instant as Moment};

use arrayvec::ArrayVec;
use engine::addr::Endpoint;
use engine::service::ByteStream;
use engine::service::external::Events as Happened;
use engine::shard::{ConnectError, End, Ready, Shard};
use engine::time::Instant;
use engine::wire::ethernet::{self, Mac};
use engine::wire::segment::Segment;
use engine::wire::{Checksums, Malformed, arp, ipv6, ndp};
use worker::nic::BURST;
use worker::{Frame, Nic, RxChecksum};

use super::book::{Book, Entry};
use super::local_ends::LocalEnds;
use super::neighbour::{Neighbour, Note};
use super::rest::Rest;
use super::wire::Wire;
use crate::load::transport::{Events, Failure, Index, Notice, Stream, Transport};

/// Local ends tried for one connection: those in TIME-WAIT are passed over.
const ENDS_TRIED: usize = 16;
/// Time between two questions for the next hop.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Room in the send buffer that is worth a piece of pattern. Crumbs would cost more than they
/// bring.
const PATTERN_PIECE: u64 = 64 * 1024;
/// Shard time at the start: later than what counts as long ago.
const ORIGIN_US: u64 = 1_000_000;

/// Drives connections to one target over one card.
pub struct Generator<N: Nic> {
    wire: Wire<N>,
    shard: Shard,
    book: Book,
    neighbour: Neighbour,
    target: Endpoint,
    rest: Rest,
    started: Moment,
    now_ns: u64,
    name: String,
    dropped: Dropped,
    /// What the device tells for the end.
    device_remarks: Box<dyn Fn() -> Vec<String>>,
}

/// Received frames that went no further.
#[derive(Debug, Default)]
struct Dropped {
    malformed: u64,
    foreign: u64,
}

impl<N: Nic> Generator<N> {
    pub(super) fn new(
        nic: N,
        shard: Shard,
        ends: LocalEnds,
        neighbour: Neighbour,
        target: Endpoint,
        rest: Rest,
        name: String,
    ) -> Generator<N> {
        Generator {
            wire: Wire::new(nic, !target.addr.is_ipv4()),
            shard,
            book: Book::new(ends),
            neighbour,
            target,
            rest,
            started: Moment::now(),
            now_ns: 0,
            name,
            dropped: Dropped::default(),
            device_remarks: Box::new(Vec::new),
        }
    }

    /// Has the device's own remarks added to those of the transport.
    pub(super) fn watch(&mut self, remarks: impl Fn() -> Vec<String> + 'static) {
        self.device_remarks = Box::new(remarks);
    }

    /// Asks for the next hop until it answers; false if it does not in time.
    pub(super) fn find_way(&mut self, timeout: Duration) -> bool {
        let start = Moment::now();
        let mut asked = None;
        while self.neighbour.mac.is_none() {
            if start.elapsed() >= timeout {
                return false;
            }
            // Without a link the last question still waits, and one is enough.
            let due = asked.is_none_or(|at: Moment| at.elapsed() >= ASK_EVERY);
            if due && self.wire.is_clear() {
                let mac = self.wire.nic.mac();
                let question = self.neighbour.question(mac);
                self.wire.send_note(&question);
                asked = Some(Moment::now());
            }
            self.wire.transmit();
            self.receive(&mut Vec::new());
            std::thread::sleep(Duration::from_micros(200));
        }
        true
    }

    #[inline]
    fn shard_time(&self) -> Instant {
        Instant::from_micros(ORIGIN_US + self.now_ns / 1000)
    }

    fn read_clock(&mut self) {
        self.now_ns = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    }

    /// Lets the shard send, and the card.
    #[inline]
    fn send(&mut self) {
        // While the card is busy the shard keeps what it has: so nothing is dropped on our side.
        if self.wire.is_clear() {
            self.shard.flush(&mut self.wire);
        }
        self.wire.transmit();
    }

    /// Takes one burst in. True if anything came or was due.
    #[inline]
    fn receive(&mut self, notices: &mut Vec<Notice>) -> bool {
        let mut frames: ArrayVec<N::Frame, BURST> = ArrayVec::new();
        self.wire.nic.receive(&mut frames);
        self.read_clock();
        let now = self.shard_time();
        let mut segments: ArrayVec<Segment<'_>, BURST> = ArrayVec::new();
        for frame in &frames {
            match self.sort(frame) {
                Some(segment) => segments.push(segment),
                None => self.other(frame.bytes()),
            }
        }
        if segments.is_empty() && self.shard.next_deadline().is_none_or(|at| at > now) {
            return !frames.is_empty();
        }
        self.shard.take_in(now, &segments, &mut self.wire);
        while let Some(ready) = self.shard.next_ready() {
            self.tell(ready, notices);
        }
        true
    }

    /// A segment for us.
    #[inline]
    fn sort<'f>(&self, frame: &'f N::Frame) -> Option<Segment<'f>> {
        let (header, packet) = ethernet::Header::parse(frame.bytes()).ok()?;
        let checks = match frame.rx_checksum() {
            RxChecksum::Good => Checksums::Trusted,
            RxChecksum::Unknown => Checksums::Verify,
            RxChecksum::Bad => return None,
        };
        if !is_ip(header.ethertype) {
            return None;
        }
        let segment = Segment::parse(packet, checks).ok()?;
        // What is left of an earlier run is for the shard too, which resets it.
        let ours = self.neighbour.is_ours(segment.flow.local.addr);
        (ours && segment.flow.remote.addr == self.target.addr).then_some(segment)
    }

    /// What is no segment for us.
    #[cold]
    fn other(&mut self, frame: &[u8]) {
        let Ok((header, packet)) = ethernet::Header::parse(frame) else {
            self.dropped.malformed += 1;
            return;
        };
        let answer = match header.ethertype {
            ethernet::ETHERTYPE_ARP => arp::Packet::parse(packet)
                .map(|packet| self.neighbour.receive_arp(&packet, self.wire.nic.mac())),
            ethernet::ETHERTYPE_IPV6 if is_icmpv6(packet) => {
                self.receive_icmpv6(header.source, packet)
            }
            ethertype if is_ip(ethertype) => {
                Segment::parse(packet, Checksums::Verify).and(Err(Malformed::Protocol))
            }
            _ => Err(Malformed::Protocol),
        };
        match answer {
            Ok(Some(note)) => self.wire.send_note(&note),
            Ok(None) => {}
            // It is whole, but not for us.
            Err(Malformed::Protocol) => self.dropped.foreign += 1,
            Err(_) => self.dropped.malformed += 1,
        }
        if let Some(mac) = self.neighbour.mac {
            self.wire.send_to(mac);
        }
    }

    fn receive_icmpv6(&mut self, from: Mac, packet: &[u8]) -> Result<Option<Note>, Malformed> {
        let message = ndp::Message::parse(&ipv6::Packet::parse(packet)?, Checksums::Verify)?;
        Ok(self.neighbour.receive_ndp(from, &message, self.wire.nic.mac()))
    }

    /// Says of a connection what the load wants to know.
    #[inline]
    fn tell(&mut self, ready: Ready, notices: &mut Vec<Notice>) {
        // Those it has aborted are none of its business.
        let Some(index) = self.book.index(ready.id) else { return };
        let Some((_, entry)) = self.book.entry(index) else { return };
        let mut events = Events::NONE;
        for (happened, event) in [
            (Happened::OPENED, Events::OPENED),
            (Happened::READABLE, Events::READABLE),
            (Happened::PEER_CLOSED, Events::PEER_CLOSED),
        ] {
            if ready.events.has(happened) {
                events = events.and(event);
            }
        }
        if entry.blocked && ready.events.has(Happened::WRITABLE) {
            entry.blocked = false;
            events = events.and(Events::WRITABLE);
        }
        let mut failure = None;
        match ready.end {
            Some(End::Closed) if ready.events.has(Happened::READABLE) => self.book.over.push(index),
            Some(end) => {
                events = events.and(Events::OVER);
                failure = failure_of(end);
                self.book.strike(index);
            }
            None => {}
        }
        if events != Events::NONE {
            notices.push(Notice { index, events, failure });
        }
    }

    /// Connections whose last bytes have been told of before.
    fn tell_over(&mut self, notices: &mut Vec<Notice>) {
        while let Some(index) = self.book.over.pop() {
            self.book.strike(index);
            notices.push(Notice { index, events: Events::OVER, failure: None });
        }
    }
}

fn is_ip(ethertype: u16) -> bool {
    [ethernet::ETHERTYPE_IPV4, ethernet::ETHERTYPE_IPV6].contains(&ethertype)
}

fn is_icmpv6(packet: &[u8]) -> bool {
    let carries = |ip: ipv6::Packet<'_>| ip.header.protocol == ipv6::PROTOCOL_ICMPV6;
    ipv6::Packet::parse(packet).is_ok_and(carries)
}

fn failure_of(end: End) -> Option<Failure> {
    match end {
        End::Closed => None,
        End::Refused => Some(Failure::Refused),
        End::Reset => Some(Failure::Reset),
        End::TimedOut | End::Aborted => Some(Failure::TimedOut),
    }
}

impl<N: Nic> Transport for Generator<N> {
    type Stream<'a>
        = EngineStream<'a>
    where
        N: 'a;

    #[inline]
    fn now_ns(&self) -> u64 {
        self.now_ns
    }

    fn open(&mut self, index: Index) -> Result<(), Failure> {
        for _ in 0..ENDS_TRIED {
            let (number, local) = self.book.ends.take().ok_or(Failure::NoPorts)?;
            match self.shard.open(self.shard_time(), local, self.target, 0) {
                Ok(id) => {
                    self.book.enter(index, id, number);
                    return Ok(());
                }
                Err(error) => {
                    self.book.ends.put_back(number);
                    if error == ConnectError::Full {
                        return Err(Failure::NoRoom);
                    }
                }
            }
        }
        Err(Failure::NoPorts)
    }

    #[inline]
    fn stream(&mut self, index: Index) -> Option<EngineStream<'_>> {
        let (id, _) = self.book.entry(index)?;
        let stream = self.shard.stream(id)?;
        Some(EngineStream { stream, book: &mut self.book, index })
    }

    fn poll(&mut self, until_ns: u64, notices: &mut Vec<Notice>) -> anyhow::Result<()> {
        let before = notices.len();
        self.tell_over(notices);
        loop {
            self.send();
            let busy = self.receive(notices);
            if busy {
                self.rest.reset();
            }
            if notices.len() > before || self.now_ns >= until_ns {
                return Ok(());
            }
            if !busy {
                let due_us = self.shard.next_deadline().map_or(u64::MAX, Instant::as_micros);
                let due_ns = due_us.saturating_sub(ORIGIN_US).saturating_mul(1000);
                self.rest.take(until_ns.min(due_ns).saturating_sub(self.now_ns));
            }
        }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn local_ends(&self) -> String {
        self.book.ends.to_string()
    }

    fn remarks(&self) -> Vec<String> {
        let counters = self.shard.counters();
        let counted = [
            (self.wire.lost, "packets could not be sent: no free frame (raise `mempool.mbufs`)"),
            (self.dropped.malformed, "frames came in that are malformed or have a wrong checksum"),
            (self.dropped.foreign, "frames came in that are for somebody else"),
            (counters.retransmissions, "segments had to be sent again"),
            (counters.pool_exhausted, "segments were dropped for want of buffers"),
            (counters.scoreboard_exhausted, "times there was no room to note a sent segment"),
        ];
        let counted = counted.into_iter().filter(|(count, _)| *count > 0);
        let mut remarks: Vec<String> =
            counted.map(|(count, what)| format!("{count} {what}")).collect();
        remarks.extend((self.device_remarks)());
        remarks
    }
}

impl<N: Nic> fmt::Debug for Generator<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A connection of the generator.
#[derive(Debug)]
pub struct EngineStream<'a> {
    stream: engine::shard::Stream<'a>,
    book: &'a mut Book,
    index: Index,
}

impl EngineStream<'_> {
    fn block(&mut self) {
        if let Some((_, Entry { blocked, .. })) = self.book.entry(self.index) {
            *blocked = true;
        }
    }
}

impl Stream for EngineStream<'_> {
    #[inline]
    fn read(&mut self, mut sink: impl FnMut(&[u8])) -> usize {
        let mut total = 0;
        loop {
            let bytes = self.stream.read_slice();
            let len = bytes.len();
            if len == 0 {
                return total;
            }
            sink(bytes);
            self.stream.consume(len);
            total += len;
        }
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = self.stream.write(bytes);
        if taken < bytes.len() {
            self.block();
        }
        taken
    }

    fn write_pattern(&mut self, offset: u64, len: u64) -> u64 {
        let room = self.stream.writable() as u64;
        let piece = len.min(room);
        let worth = room >= len.min(PATTERN_PIECE);
        if worth && self.stream.write_pattern(offset, piece) {
            if piece < len {
                self.block();
            }
            return piece;
        }
        self.block();
        0
    }

    fn unacknowledged(&self) -> u64 {
        self.stream.queued()
    }

    fn shut_down(&mut self) {
        self.stream.close();
    }

    fn abort(&mut self) {
        self.stream.abort();
        self.book.over.retain(|index| *index != self.index);
        self.book.strike(self.index);
    }
}
