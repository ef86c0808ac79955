//! A TCP segment as the checkers read it: with code of their own, so that they share no mistake
//! with the stack.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use engine::addr::{Endpoint, Flow};
use engine::seq::SeqNumber;

use super::Promise;
use crate::wire::{CE, Packet, TCP, be16, be32};

/// Control bits.
pub mod flags {
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const ACK: u8 = 16;
    /// Echo of a mark; in a SYN part of the question for ECN (RFC 3168 section 6.1).
    pub const ECE: u8 = 64;
    /// The window was reduced.
    pub const CWR: u8 = 128;
}

/// Address and port.
pub type End = (IpAddr, u16);

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub source: End,
    pub destination: End,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    pub mss: Option<u16>,
    pub scale: Option<u8>,
    pub sack_permitted: bool,
    /// TSval and TSecr.
    pub timestamps: Option<(u32, u32)>,
    pub sack: Vec<(u32, u32)>,
    pub payload: Vec<u8>,
    /// Length of the IP packet.
    pub packet_len: usize,
    /// Codepoint of ECN of that packet.
    pub ecn: u8,
    /// Its flow label, 0 over IPv4.
    pub flow_label: u32,
}

/// A segment from nowhere to nowhere that says nothing.
impl Default for Segment {
    fn default() -> Segment {
        let nowhere = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Segment {
            source: nowhere,
            destination: nowhere,
            seq: 0,
            ack: 0,
            flags: 0,
            window: 0,
            mss: None,
            scale: None,
            sack_permitted: false,
            timestamps: None,
            sack: Vec::new(),
            payload: Vec::new(),
            packet_len: 0,
            ecn: 0,
            flow_label: 0,
        }
    }
}

impl Segment {
    /// The segment in an Ethernet frame; nothing if it holds something else.
    ///
    /// # Errors
    /// It is an IP packet, or TCP, and not as it must be.
    pub fn parse(frame: &[u8]) -> Result<Option<Segment>, &'static str> {
        let Some(packet) = Packet::parse(frame)?.filter(|packet| packet.protocol == TCP) else {
            return Ok(None);
        };
        let tcp = packet.payload;
        if tcp.len() < 20 {
            return Err("its TCP header is cut off");
        }
        packet.check_sum()?;
        let header_len = usize::from(tcp[12] >> 4) * 4;
        if header_len < 20 || header_len > tcp.len() {
            return Err("its TCP header length is wrong");
        }
        let mut segment = Segment {
            source: (packet.source, be16(tcp, 0)),
            destination: (packet.destination, be16(tcp, 2)),
            seq: be32(tcp, 4),
            ack: be32(tcp, 8),
            flags: tcp[13],
            window: be16(tcp, 14),
            payload: tcp[header_len..].to_vec(),
            packet_len: packet.bytes.len(),
            ecn: packet.ecn,
            flow_label: packet.flow_label,
            ..Segment::default()
        };
        segment.take_options(&tcp[20..header_len])?;
        Ok(Some(segment))
    }

    fn take_options(&mut self, mut options: &[u8]) -> Result<(), &'static str> {
        while let Some(kind) = options.first() {
            if *kind == 0 {
                return Ok(());
            }
            if *kind == 1 {
                options = &options[1..];
                continue;
            }
            let len = usize::from(*options.get(1).ok_or("an option is cut off")?);
            if len < 2 || len > options.len() {
                return Err("an option's length is wrong");
            }
            let data = &options[2..len];
            match (kind, data.len()) {
                (2, 2) => self.mss = Some(be16(data, 0)),
                (3, 1) => self.scale = Some(data[0].min(14)),
                (4, 0) => self.sack_permitted = true,
                (5, 8 | 16 | 24 | 32) => {
                    self.sack =
                        data.chunks(8).map(|block| (be32(block, 0), be32(block, 4))).collect();
                }
                (8, 8) => self.timestamps = Some((be32(data, 0), be32(data, 4))),
                (2 | 3 | 4 | 5 | 8, _) => return Err("an option has a wrong length"),
                _ => {}
            }
            options = &options[len..];
        }
        Ok(())
    }

    #[must_use]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Sequence numbers that it takes.
    #[must_use]
    pub fn len_seq(&self) -> u64 {
        self.payload.len() as u64
            + u64::from(self.has(flags::SYN))
            + u64::from(self.has(flags::FIN))
    }

    /// What this segment of the service makes its client rely on. Where payload leaves `early` it
    /// will be produced again, but for its end.
    #[must_use]
    pub fn promise(&self, early: bool) -> Promise {
        let end = |(addr, port): End| Endpoint::new(addr, port);
        let flow = Flow { local: end(self.source), remote: end(self.destination) };
        let holds = !early || self.has(flags::SYN | flags::FIN);
        let end = holds.then(|| SeqNumber(self.seq.wrapping_add(self.len_seq() as u32)));
        Promise { flow, ack: SeqNumber(self.ack), end }
    }

    /// For the trace: as in `tcpdump`.
    #[must_use]
    pub fn describe(&self) -> String {
        let names = [
            (2, 'S'),
            (1, 'F'),
            (4, 'R'),
            (8, 'P'),
            (16, '.'),
            (flags::ECE, 'E'),
            (flags::CWR, 'W'),
        ];
        let flags: String =
            names.iter().filter(|(bit, _)| self.has(*bit)).map(|(_, name)| *name).collect();
        let end = |end: End| SocketAddr::from(end);
        let mut text = format!(
            "{} > {} [{flags}] seq {} len {}",
            end(self.source),
            end(self.destination),
            self.seq,
            self.payload.len()
        );
        if self.has(flags::ACK) {
            text += &format!(" ack {}", self.ack);
        }
        text += &format!(" win {}", self.window);
        if self.ecn != 0 {
            text += if self.ecn == CE { " CE" } else { " ECT" };
        }
        if let Some((value, echo)) = self.timestamps {
            text += &format!(" ts {value}/{echo}");
        }
        for (start, end) in &self.sack {
            text += &format!(" sack {start}-{end}");
        }
        for (name, value) in
            [("mss", self.mss.map(u32::from)), ("scale", self.scale.map(u32::from))]
        {
            text += &value.map(|value| format!(" {name} {value}")).unwrap_or_default();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{LINK_HEADER, sum};

    fn frame() -> Vec<u8> {
        let mut frame = vec![0; LINK_HEADER + 20 + 20 + 5];
        frame[12] = 8;
        frame[14] = 0x45;
        frame[17] = 45;
        frame[23] = TCP;
        frame[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        frame[34 + 12] = 5 << 4;
        frame[54..].copy_from_slice(b"hello");
        let header = !sum(&frame[14..34]);
        frame[24..26].copy_from_slice(&header.to_be_bytes());
        let pseudo = [&frame[26..34], &[0, TCP, 0, 25]].concat();
        let segment = !sum(&[&pseudo[..], &frame[34..]].concat());
        frame[50..52].copy_from_slice(&segment.to_be_bytes());
        frame
    }

    #[test]
    fn one_wrong_byte_is_seen_wherever_it_is() {
        assert_eq!(
            Segment::parse(&frame()).map(|s| s.map(|s| s.payload)),
            Ok(Some(b"hello".to_vec()))
        );
        for at in LINK_HEADER..frame().len() {
            let mut damaged = frame();
            damaged[at] ^= 0x10;
            assert!(!matches!(Segment::parse(&damaged), Ok(Some(_))), "byte {at}");
        }
    }
}
