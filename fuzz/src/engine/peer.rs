//! A peer of the shard: what it has sent and seen, so that an action can say "the next in order",
//! and so that what comes back can be judged.

use std::net::Ipv6Addr;

use engine::addr::{Addr, Endpoint, Flow};
use engine::buffer::pattern;
use engine::seq::SeqNumber;
use engine::wire::icmp_error::{IcmpError, IcmpErrorKind};
use engine::wire::segment::Segment as Parsed;
use engine::wire::tcp::{Flags, Options, Timestamps};

use super::action::Action;
use super::setup::{self, ECHO, HTTP, PORTS, STREAM};
use crate::packets::Segment;

/// Largest payload of a peer.
const MAX_PAYLOAD: u16 = 3000;

#[derive(Clone, Debug)]
pub struct Peer {
    service: usize,
    local: Endpoint,
    remote: Endpoint,
    /// Number of the first byte of all that it says.
    first: SeqNumber,
    isn: SeqNumber,
    /// Behind the last number that was sent.
    next: SeqNumber,
    /// What the shard has acknowledged.
    acknowledged: SeqNumber,
    /// Behind the last number of the shard's that was seen, and the last one acknowledged by us.
    seen: SeqNumber,
    told: SeqNumber,
    timestamps: Option<Timestamps>,
    /// The shard was told to open a connection to it. Its SYN may not have left before ours came, and
    /// leave as an answer.
    called: bool,
    checks: Checks,
}

/// What is known of the shard's connection since its last SYN.
#[derive(Clone, Copy, Debug, Default)]
struct Checks {
    /// Its initial number.
    iss: Option<SeqNumber>,
    /// It was the shard that opened it, with any service on its side.
    active: bool,
    /// The first number that it expected, where that is known.
    first: Option<SeqNumber>,
    /// How far its windows are shifted, where that is known.
    shift: Option<u8>,
    acknowledged: Option<SeqNumber>,
    edge: Option<SeqNumber>,
}

impl Peer {
    pub fn new(index: usize) -> Peer {
        let service = index % PORTS.len();
        let isn = SeqNumber(0xffff_ff00_u32.wrapping_add(index as u32 * 0x1234_5678));
        let ipv4 = [9, 100].map(|last| Addr::from_ipv4_octets([10, 0, 0, last]));
        let ipv6 = [9, 0x100].map(|last| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last).into());
        // One peer of each service speaks IPv4, another one IPv6.
        let [theirs, ours]: [Addr; 2] = if index < PORTS.len() { ipv4 } else { ipv6 };
        Peer {
            service,
            local: Endpoint::new(theirs, 40_000 + index as u16),
            remote: Endpoint::new(ours, PORTS[service]),
            first: isn + 1,
            isn,
            next: isn,
            acknowledged: isn,
            seen: SeqNumber(0),
            told: SeqNumber(0),
            timestamps: None,
            called: false,
            checks: Checks::default(),
        }
    }

    /// Where it is, and where the service is.
    pub fn endpoints(&self) -> (Endpoint, Endpoint) {
        (self.local, self.remote)
    }

    fn build(&mut self, flags: Flags, seq: SeqNumber, ack: SeqNumber, len: u16) -> Segment {
        let first = seq + u32::from(flags.syn());
        let payload =
            (0..u32::from(len.min(MAX_PAYLOAD))).map(|at| self.spoken(first + at)).collect();
        let (from, to) = (self.local, self.remote);
        let options = Options { timestamps: self.timestamps, ..Options::default() };
        let segment = Segment { from, to, seq, ack, flags, window: 0xffff, options, payload };
        let end = seq + segment.payload.len() as u32 + u32::from(flags.fin());
        if end.gt(self.next) && end.distance(self.next) < 1 << 20 {
            self.next = end;
        }
        segment
    }

    /// The byte that this peer sends under a number, in whatever connection: what it sends again is
    /// the same.
    fn spoken(&self, seq: SeqNumber) -> u8 {
        setup::spoken(self.service, u64::from((seq - self.first) as u32))
    }

    /// What [`Kind::Segment`](super::action::Kind::Segment) means.
    pub fn segment(&mut self, action: &Action) -> Segment {
        let d = u32::from(action.d);
        let raw = SeqNumber(u32::from(action.c) << 16 | d);
        let edge = self.checks.edge.unwrap_or(self.next);
        let seq = match action.b & 7 {
            0 | 1 => self.next,
            2 => self.next + d,
            3 => self.acknowledged,
            4 => self.acknowledged - 1,
            5 => edge,
            6 => edge - d,
            _ => raw,
        };
        let ack = match action.b >> 3 & 7 {
            0 | 1 => self.seen,
            2 => self.told,
            3 => self.told + d,
            4 => self.told - 1,
            5 => self.seen + 1,
            6 => self.told + self.seen.distance(self.told).unsigned_abs() / 2,
            _ => raw,
        };
        let mut segment = self.build(Flags(action.a), seq, ack, action.d);
        segment.window = action.c;
        if action.b & 64 != 0 {
            segment.options.timestamps = action.b.is_multiple_of(2).then_some(Timestamps {
                value: u32::from(action.c) << 8,
                echo: u32::from(action.d),
            });
        }
        segment
    }

    pub fn data(&mut self, action: &Action) -> Segment {
        self.told = self.seen;
        let mut segment = self.build(Flags::ACK | Flags::PSH, self.next, self.seen, action.d);
        segment.window = action.c;
        segment
    }

    /// FIN, or a RST that is believed.
    pub fn close(&mut self, action: &Action) -> Segment {
        self.told = self.seen;
        let flags = if action.a & 1 == 1 { Flags::FIN | Flags::ACK } else { Flags::RST };
        self.build(flags, self.next, self.seen, 0)
    }

    /// An error about something that the shard has sent, or may have.
    pub fn icmp(&self, action: &Action) -> IcmpError {
        let d = u32::from(action.d);
        let seq = match action.b & 3 {
            0 => self.told,
            1 => self.seen - 1,
            2 => self.told + d,
            _ => self.seen + d,
        };
        let kind = match action.a % 4 {
            0 => IcmpErrorKind::Hard,
            1 => IcmpErrorKind::Soft,
            // A path that grows narrow, and the lies.
            2 => IcmpErrorKind::TooBig { mtu: 1200 + action.c % 400 },
            _ => IcmpErrorKind::TooBig { mtu: action.c },
        };
        IcmpError { flow: Flow { local: self.remote, remote: self.local }, seq, kind }
    }

    /// Acknowledges, and with `a` claims to hold up to three ranges beyond that.
    pub fn acknowledge(&mut self, action: &Action) -> Segment {
        let all = action.a == 0;
        let ack = if all { self.seen } else { self.told };
        let mut segment = self.build(Flags::ACK, self.next, ack, 0);
        let mut at = ack + u32::from(action.b) * 16;
        for _ in 0..action.a & 3 {
            let end = (at + u32::from(action.d)).min(self.seen);
            if at.lt(end) {
                segment.options.sack.push((at, end));
            }
            at = end + u32::from(action.d);
        }
        // A duplicate is reported in the first block (RFC 2883).
        if action.a & 4 != 0 {
            segment.options.sack.insert(0, (ack - u32::from(action.d), ack));
        }
        segment.window = action.c;
        self.told = ack;
        segment
    }

    /// A SYN; with bit 7 of `a` a SYN-ACK, with bit 6 under another number.
    pub fn syn(&mut self, action: &Action) -> Segment {
        if action.a & 64 != 0 {
            self.isn = self.next + u32::from(action.d);
        }
        let bit = |n: u32| action.a >> n & 1 == 1;
        self.timestamps = bit(3).then_some(Timestamps { value: 1, echo: 0 });
        let flags = if bit(7) { Flags::SYN | Flags::ACK } else { Flags::SYN };
        self.next = self.isn;
        let seen = self.seen;
        let len = if bit(5) && self.service != ECHO { action.d } else { 0 };
        let mut segment = self.build(flags, self.isn, seen, len);
        self.next = self.isn + 1;
        self.acknowledged = self.next;
        segment.window = action.c;
        segment.options = Options {
            mss: bit(0).then_some(action.d),
            window_scale: bit(1).then_some(action.b & 15),
            sack_permitted: bit(2),
            timestamps: self.timestamps,
            ..Options::default()
        };
        segment
    }

    /// The shard opens a connection to it.
    pub fn be_called(&mut self) {
        self.called = true;
    }

    /// Takes what the shard sent, and judges it if `judge` says so.
    pub fn take(&mut self, packet: &Parsed<'_>, judge: bool) {
        let flags = packet.flags;
        if flags.rst() {
            return;
        }
        if flags.syn() {
            self.open(packet);
        }
        let end = packet.seq + packet.len_seq();
        if flags.syn() || end.gt(self.seen) {
            self.seen = end;
        }
        if let (Some(ours), Some(theirs)) = (&mut self.timestamps, packet.options.timestamps) {
            *ours = Timestamps { value: ours.value.wrapping_add(1), echo: theirs.value };
        }
        if flags.ack() {
            self.acknowledged = packet.ack;
            if judge {
                self.judge_edge(packet);
            }
        }
        if judge && !packet.payload.is_empty() {
            self.judge_payload(packet);
        }
    }

    fn open(&mut self, packet: &Parsed<'_>) {
        // What was agreed upon is known for sure only from its answer to a SYN.
        let answer = packet.flags.ack().then_some(packet.ack);
        let shift = answer.map(|_| packet.options.window_scale.unwrap_or(0));
        let Checks { iss, acknowledged, .. } = self.checks;
        let again = iss == Some(packet.seq) && acknowledged == answer && self.checks.shift == shift;
        if !again {
            let before = self.checks.active && self.checks.iss == Some(packet.seq);
            let active = answer.is_none() || self.called || before;
            self.told = packet.seq;
            let iss = Some(packet.seq);
            self.checks = Checks { iss, active, first: answer, shift, ..Checks::default() };
        }
    }

    /// Neither the acknowledgment nor the window's right edge goes back (RFC 9293 3.8.6).
    fn judge_edge(&mut self, packet: &Parsed<'_>) {
        let checks = &mut self.checks;
        if checks.iss.is_none() {
            return;
        }
        assert!(checks.acknowledged.is_none_or(|before| packet.ack.ge(before)), "ACK went back");
        checks.acknowledged = Some(packet.ack);
        let Some(shift) = checks.shift else { return };
        // A SYN's window is not scaled (RFC 7323 2.2), and may be less than one rounded up since.
        let shift = if packet.flags.syn() { 0 } else { shift };
        let edge = packet.ack + (u32::from(packet.window) << shift);
        let before = checks.edge.unwrap_or(edge);
        assert!(packet.flags.syn() || edge.ge(before), "window was taken back");
        checks.edge = Some(edge.max(before));
    }

    /// Each byte is what the service says at its place in the stream, first time and again.
    fn judge_payload(&self, packet: &Parsed<'_>) {
        let Checks { iss: Some(iss), active: false, first, .. } = self.checks else { return };
        let offset = u64::from((packet.seq - iss) as u32 - 1);
        let mut expected = vec![0; packet.payload.len()];
        match self.service {
            STREAM => pattern::fill(setup::SEED + offset, &mut expected),
            ECHO => {
                let Some(first) = first.map(|first| first + offset as u32) else { return };
                (0..).zip(&mut expected).for_each(|(at, byte)| *byte = self.spoken(first + at));
            }
            HTTP if offset == 0 => {
                let start = packet.payload.len().min(9);
                assert_eq!(packet.payload[..start], b"HTTP/1.1 "[..start]);
                return;
            }
            _ => return,
        }
        assert_eq!(packet.payload, expected, "payload at offset {offset}");
    }
}
