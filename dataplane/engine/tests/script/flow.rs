//! One connection as a script sees it: what its numbers count from, and what must hold of every
//! packet on it, whatever the script asks.

use std::collections::BTreeSet;

use engine::addr::Endpoint;

use super::ip::{Family, be16, be32};
use super::packet::{ACK, Packet, RST, SYN, TcpFields};
use super::syntax::{Number, Opt, Segment};

/// Segment size without the option (RFC 9293 MUST-15).
const DEFAULT_MSS: u16 = 536;
const DEFAULT_MSS_IPV6: u16 = 1220;
/// The shard sends no smaller full segments than this, whatever the peer names.
const LEAST_MSS: u16 = 88;
/// Window of the peer until a line gives another one.
const DEFAULT_WINDOW: u16 = 65_535;

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;

pub struct Flow {
    /// The shard's end.
    pub local: Endpoint,
    /// The peer's.
    pub remote: Endpoint,
    /// The peer's initial number.
    pub isn: u32,
    /// The shard's, once it was seen.
    pub iss: Option<u32>,
    /// The peer's last window.
    pub window: u16,
    /// Behind the last number that the shard has sent.
    pub sent_end: u32,
    /// Behind the last number that the peer has sent.
    pub peer_end: u32,
    /// What the service has written, from its first byte on.
    pub written: Vec<u8>,
    /// Bytes that the service has read.
    pub read: usize,
    /// What the service was told.
    pub events: BTreeSet<&'static str>,
    /// The peer's first TSval and when it was sent.
    offered: Option<(u32, u64)>,
    /// The shard's first TSval, and its last.
    stamps: Option<(u32, u32)>,
    /// Segment size and window scale that the peer named.
    peer_mss: u16,
    peer_scales: bool,
    /// Window scale that the shard named.
    scale: Option<u8>,
    /// The highest acknowledgment number and the right edge that the shard has told.
    told: Option<(u32, u32)>,
    /// The flow label of the shard's packets.
    label: Option<u32>,
}

fn default_mss(end: Endpoint) -> u16 {
    if end.addr.is_ipv4() { DEFAULT_MSS } else { DEFAULT_MSS_IPV6 }
}

/// Byte `at` of any stream, if a script does not say otherwise.
pub fn pattern(at: usize) -> u8 {
    (at % 251) as u8
}

impl Flow {
    pub fn new(local: Endpoint, remote: Endpoint, isn: u32) -> Flow {
        let peer_mss = default_mss(local);
        Flow {
            local,
            remote,
            isn,
            iss: None,
            window: DEFAULT_WINDOW,
            sent_end: 0,
            peer_end: isn,
            written: Vec::new(),
            read: 0,
            events: BTreeSet::new(),
            offered: None,
            stamps: None,
            peer_mss,
            peer_scales: false,
            scale: None,
            told: None,
            label: None,
        }
    }

    /// The peer begins anew with another number.
    pub fn restart(&mut self, isn: u32) {
        self.isn = isn;
        self.peer_end = isn;
        self.read = 0;
        self.offered = None;
        (self.peer_mss, self.peer_scales) = (default_mss(self.local), false);
    }

    /// A number of the peer's as it goes into a header.
    pub fn peer_number(&self, number: Number) -> u32 {
        match number {
            Number::Relative(n) => self.isn.wrapping_add(n as u32),
            Number::Raw(raw) => raw,
            Number::Last | Number::Any => self.peer_end,
        }
    }

    /// A number of the shard's.
    pub fn our_number(&self, number: Number) -> u32 {
        match number {
            Number::Relative(n) => self.iss.unwrap_or(0).wrapping_add(n as u32),
            Number::Raw(raw) => raw,
            Number::Last | Number::Any => self.sent_end,
        }
    }

    /// Milliseconds and more for people: a number of the shard's, as a script writes it.
    pub fn relative_to_iss(&self, raw: u32) -> String {
        relative(raw, self.iss.unwrap_or(0))
    }

    pub fn relative_to_isn(&self, raw: u32) -> String {
        relative(raw, self.isn)
    }

    /// The shard's first TSval.
    pub fn first_stamp(&self) -> u32 {
        self.stamps.map_or(0, |(first, _)| first)
    }

    /// The bytes of a segment that the peer sends.
    pub fn content(&self, segment: &Segment) -> Result<Vec<u8>, String> {
        let len = segment.len.ok_or("what is sent has a length")?;
        if let Some(bytes) = &segment.content {
            let fits = bytes.len() == len;
            return if fits { Ok(bytes.clone()) } else { Err(format!("{} bytes", bytes.len())) };
        }
        let syn = u32::from(segment.flags & SYN != 0);
        let seq = self.peer_number(segment.seq.unwrap_or(Number::Last)).wrapping_add(syn);
        let first = seq.wrapping_sub(self.isn).wrapping_sub(1) as usize;
        Ok((first..first + len).map(pattern).collect())
    }

    /// The header of a segment that the peer sends at `now_us`. Notes what it says.
    pub fn header(&mut self, segment: &Segment, now_us: u64) -> TcpFields {
        if let Some(window) = segment.window {
            self.window = window;
        }
        let seq = self.peer_number(segment.seq.unwrap_or(Number::Last));
        let ack = if segment.flags & ACK != 0 { Some(Number::Last) } else { None };
        let options = match &segment.options {
            Some(options) => self.encode(options),
            None => self.usual_options(segment.flags, now_us),
        };
        if segment.flags & SYN != 0 {
            self.note_syn(segment.options.as_deref().unwrap_or_default(), now_us);
        }
        TcpFields {
            source_port: self.remote.port,
            destination_port: self.local.port,
            seq,
            ack: segment.ack.or(ack).map_or(0, |ack| self.our_number(ack)),
            flags: segment.flags,
            window: self.window,
            urgent: segment.urgent.unwrap_or(0),
            options,
            data_offset: segment.damage.data_offset,
            reserved: segment.damage.reserved,
        }
    }

    fn note_syn(&mut self, options: &[Opt], now_us: u64) {
        for option in options {
            match option {
                Opt::Mss(mss) => self.peer_mss = *mss,
                Opt::WindowScale(_) => self.peer_scales = true,
                Opt::Timestamps { value: Number::Relative(value), .. } => {
                    self.offered = Some((*value as u32, now_us));
                }
                _ => {}
            }
        }
    }

    /// Timestamps, once both sides have them.
    fn usual_options(&self, flags: u8, now_us: u64) -> Vec<u8> {
        let (Some((value, since_us)), Some((_, last))) = (self.offered, self.stamps) else {
            return Vec::new();
        };
        if flags & (SYN | RST) != 0 {
            return Vec::new();
        }
        let elapsed_ms = (now_us - since_us) / 1000;
        let value = value.wrapping_add(elapsed_ms as u32);
        let echo = Number::Raw(last);
        self.encode(&[Opt::Timestamps { value: Number::Raw(value), echo }])
    }

    /// Options as they stand in a header, in just this order.
    fn encode(&self, options: &[Opt]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for option in options {
            match option {
                Opt::Mss(mss) => {
                    bytes.extend([MSS, 4]);
                    bytes.extend(mss.to_be_bytes());
                }
                Opt::WindowScale(shift) => bytes.extend([WINDOW_SCALE, 3, *shift]),
                Opt::SackPermitted => bytes.extend([SACK_PERMITTED, 2]),
                Opt::Timestamps { value, echo } => {
                    bytes.extend([TIMESTAMPS, 10]);
                    bytes.extend(self.stamp_of_peer(*value).to_be_bytes());
                    bytes.extend(self.stamp_of_ours(*echo).to_be_bytes());
                }
                Opt::Sack(blocks) => {
                    bytes.extend([SACK, 2 + 8 * blocks.len() as u8]);
                    for (start, end) in blocks {
                        bytes.extend(self.our_number(*start).to_be_bytes());
                        bytes.extend(self.our_number(*end).to_be_bytes());
                    }
                }
                Opt::Nop => bytes.push(NOP),
                Opt::End => bytes.push(END),
                Opt::Raw(raw) => bytes.extend(raw),
            }
        }
        bytes.resize(bytes.len().next_multiple_of(4), END);
        bytes
    }

    /// The peer's timestamps are written as they are.
    fn stamp_of_peer(&self, number: Number) -> u32 {
        match number {
            Number::Relative(value) => value as u32,
            Number::Raw(value) => value,
            Number::Last | Number::Any => self.offered.map_or(0, |(value, _)| value),
        }
    }

    /// The shard's are written as time since its first one.
    fn stamp_of_ours(&self, number: Number) -> u32 {
        match number {
            Number::Relative(value) => self.first_stamp().wrapping_add(value as u32),
            Number::Raw(value) => value,
            Number::Last | Number::Any => self.stamps.map_or(0, |(_, last)| last),
        }
    }

    /// Notes what a packet of the shard's says, and checks what must hold of any.
    pub fn observe(&mut self, packet: &Packet, mtu: usize) -> Result<(), String> {
        let tcp = &packet.tcp;
        let options = options(&tcp.options)?;
        let syn = tcp.flags & SYN != 0;
        if syn && self.iss.is_none_or(|iss| iss != tcp.seq) {
            self.begin(tcp.seq);
        }
        for option in &options {
            match option {
                Opt::Timestamps { value, .. } => {
                    let value = self.stamp_of_peer(*value);
                    let first = self.stamps.map_or(value, |(first, _)| first);
                    self.stamps = Some((first, value));
                }
                Opt::WindowScale(shift) if syn => self.scale = Some(*shift),
                Opt::Mss(_) | Opt::WindowScale(_) | Opt::SackPermitted if !syn => {
                    return Err(format!("{option:?} belongs into a SYN (RFC 9293 MUST-65)"));
                }
                _ => {}
            }
        }
        let len = packet.payload.len();
        if packet.ip.header_len() + 20 + tcp.options.len() + len > mtu {
            return Err("the packet is larger than the MTU".to_owned());
        }
        let source = Endpoint::new(packet.ip.source, tcp.source_port);
        if source != self.local {
            return Err(format!("it comes from {source}"));
        }
        self.check_label(packet)?;
        if len > 0 && len + tcp.options.len() > usize::from(self.peer_mss.max(LEAST_MSS)) {
            return Err("the segment is larger than the peer's MSS (RFC 9293 MUST-16)".to_owned());
        }
        let controls = (tcp.flags & SYN != 0) as u32 + (tcp.flags & 1) as u32;
        let end = tcp.seq.wrapping_add(len as u32 + controls);
        if tcp.flags & RST == 0 && end.wrapping_sub(self.sent_end) as i32 > 0 {
            self.sent_end = end;
        }
        if tcp.flags & (ACK | RST) == ACK { self.check_window(tcp, syn) } else { Ok(()) }
    }

    /// RFC 6437 3: over IPv6 all packets of a flow bear one label, which is not 0.
    fn check_label(&mut self, packet: &Packet) -> Result<(), String> {
        let label = packet.ip.flow_label;
        let first = *self.label.get_or_insert(label);
        if label != first {
            return Err(format!("the flow label changes from {first:#x} to {label:#x}"));
        }
        let none = packet.ip.family() == Family::V6 && label == 0;
        if none { Err("no flow label".to_owned()) } else { Ok(()) }
    }

    /// A new incarnation of the connection.
    fn begin(&mut self, iss: u32) {
        self.iss.get_or_insert(iss);
        self.sent_end = iss;
        self.written.clear();
        (self.stamps, self.scale, self.told) = (None, None, None);
    }

    fn check_window(&mut self, tcp: &TcpFields, syn: bool) -> Result<(), String> {
        let scaled = self.peer_scales && !syn;
        let shift = if scaled { self.scale.unwrap_or(0) } else { 0 };
        let edge = tcp.ack.wrapping_add(u32::from(tcp.window) << shift);
        if let Some((ack, right)) = self.told {
            if (tcp.ack.wrapping_sub(ack) as i32) < 0 {
                return Err("the acknowledgment number goes back".to_owned());
            }
            if (edge.wrapping_sub(right) as i32) < 0 {
                return Err("the window shrinks (RFC 9293 SHLD-14)".to_owned());
            }
        }
        self.told = Some((tcp.ack, edge));
        Ok(())
    }
}

fn relative(raw: u32, base: u32) -> String {
    let distance = raw.wrapping_sub(base) as i32;
    if distance.unsigned_abs() < 1 << 30 { distance.to_string() } else { format!("={raw}") }
}

/// Options of a packet of the shard's, numbers as they stand there.
pub fn options(bytes: &[u8]) -> Result<Vec<Opt>, String> {
    let (mut options, mut rest) = (Vec::new(), bytes);
    while let [kind, behind @ ..] = rest {
        if *kind == END {
            let zeros = behind.iter().all(|byte| *byte == 0);
            return if zeros { Ok(options) } else { Err("padding (RFC 9293 MUST-69)".to_owned()) };
        }
        if *kind == NOP {
            rest = behind;
            continue;
        }
        let len = usize::from(*behind.first().ok_or("an option without length")?);
        let data = rest.get(2..len).ok_or("an option of an impossible length")?;
        options.push(match (*kind, data.len()) {
            (MSS, 2) => Opt::Mss(be16(data, 0)),
            (WINDOW_SCALE, 1) => Opt::WindowScale(data[0]),
            (SACK_PERMITTED, 0) => Opt::SackPermitted,
            (TIMESTAMPS, 8) => Opt::Timestamps {
                value: Number::Raw(be32(data, 0)),
                echo: Number::Raw(be32(data, 4)),
            },
            (SACK, len) if len > 0 && len % 8 == 0 => {
                let blocks = data.chunks(8);
                let number = |block: &[u8], at| Number::Raw(be32(block, at));
                Opt::Sack(blocks.map(|block| (number(block, 0), number(block, 4))).collect())
            }
            _ => return Err(format!("option {kind} of {len} bytes")),
        });
        rest = &rest[len..];
    }
    Ok(options)
}
