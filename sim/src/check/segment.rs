//! A TCP segment as the checkers read it: with code of their own, so that they share no mistake
//! with the stack.

use std::net::Ipv4Addr;

use engine::addr::{Endpoint, Flow};
use engine::seq::SeqNumber;

use super::Promise;

const LINK_HEADER: usize = 14;
const PROTOCOL_TCP: u8 = 6;

/// Control bits.
pub mod flags {
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const ACK: u8 = 16;
}

/// One segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    pub source: (u32, u16),
    pub destination: (u32, u16),
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
}

impl Segment {
    /// The segment in an Ethernet frame; nothing if it holds something else.
    ///
    /// # Errors
    /// It is TCP over IPv4 and not as it must be.
    pub fn parse(frame: &[u8]) -> Result<Option<Segment>, &'static str> {
        if frame.get(12..14) != Some(&[8, 0]) {
            return Ok(None);
        }
        let ip = &frame[LINK_HEADER..];
        if ip.len() < 20 || ip[0] != 0x45 {
            return Err("its IP header is not one of five words");
        }
        if ip[9] != PROTOCOL_TCP {
            return Ok(None);
        }
        let len = usize::from(be16(ip, 2));
        if len < 40 || len > ip.len() {
            return Err("its IP length is wrong");
        }
        if sum(&ip[..20]) != 0xffff {
            return Err("its IP checksum is wrong");
        }
        let tcp = &ip[20..len];
        let pseudo = [&ip[12..20], &[0, PROTOCOL_TCP], &((len - 20) as u16).to_be_bytes()].concat();
        if sum(&[&pseudo[..], tcp].concat()) != 0xffff {
            return Err("its TCP checksum is wrong");
        }
        let header_len = usize::from(tcp[12] >> 4) * 4;
        if header_len < 20 || header_len > tcp.len() {
            return Err("its TCP header length is wrong");
        }
        let mut segment = Segment {
            source: (be32(ip, 12), be16(tcp, 0)),
            destination: (be32(ip, 16), be16(tcp, 2)),
            seq: be32(tcp, 4),
            ack: be32(tcp, 8),
            flags: tcp[13],
            window: be16(tcp, 14),
            payload: tcp[header_len..].to_vec(),
            packet_len: len,
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

    /// What this segment of the service makes its client rely on.
    #[must_use]
    pub fn promise(&self) -> Promise {
        let end = |(addr, port)| Endpoint::new(Ipv4Addr::from_bits(addr), port);
        let flow = Flow { local: end(self.source), remote: end(self.destination) };
        let end = self.seq.wrapping_add(self.len_seq() as u32);
        Promise { flow, ack: SeqNumber(self.ack), end: SeqNumber(end) }
    }

    /// For the trace: as in `tcpdump`.
    #[must_use]
    pub fn describe(&self) -> String {
        let names = [(2, 'S'), (1, 'F'), (4, 'R'), (8, 'P'), (16, '.')];
        let flags: String =
            names.iter().filter(|(bit, _)| self.has(*bit)).map(|(_, name)| *name).collect();
        let end = |(addr, port): (u32, u16)| format!("{}:{port}", Ipv4Addr::from(addr));
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

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The ones' complement sum (RFC 1071), which is all ones over data with its own checksum.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| match word {
        [high, low] => u32::from(*high) << 8 | u32::from(*low),
        [high] => u32::from(*high) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Vec<u8> {
        let mut frame = vec![0; LINK_HEADER + 20 + 20 + 5];
        frame[12] = 8;
        frame[14] = 0x45;
        frame[17] = 45;
        frame[23] = PROTOCOL_TCP;
        frame[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        frame[34 + 12] = 5 << 4;
        frame[54..].copy_from_slice(b"hello");
        let header = !sum(&frame[14..34]);
        frame[24..26].copy_from_slice(&header.to_be_bytes());
        let pseudo = [&frame[26..34], &[0, PROTOCOL_TCP, 0, 25]].concat();
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
