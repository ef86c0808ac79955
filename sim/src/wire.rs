//! Packets as the world reads and changes them: with code of its own, so that it shares no mistake
//! with the stack.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of an Ethernet header.
pub const LINK_HEADER: usize = 14;
/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;
/// Codepoint of a packet that a router has marked: congestion experienced (RFC 3168 section 5).
pub const CE: u8 = 0b11;
/// Codepoint of a packet that may be marked.
pub const ECT_0: u8 = 0b10;

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
/// Where in a frame the type of service is, and the lower half of the traffic class.
const CLASS_AT: usize = LINK_HEADER + 1;

/// An IP packet in an Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// What follows the header; extension headers are something that follows.
    pub protocol: u8,
    /// Codepoint of ECN.
    pub ecn: u8,
    /// Flow label of IPv6 (RFC 6437).
    pub flow_label: u32,
    /// The packet without Ethernet's padding.
    pub bytes: &'a [u8],
    /// What follows the header.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// The packet in a frame; nothing if it holds something else.
    ///
    /// # Errors
    /// It is an IP packet, and not as it must be.
    pub fn parse(frame: &'a [u8]) -> Result<Option<Packet<'a>>, &'static str> {
        match frame.get(12..14).and_then(|kind| kind.try_into().ok()) {
            Some(IPV4) => Packet::parse_ipv4(&frame[LINK_HEADER..]).map(Some),
            Some(IPV6) => Packet::parse_ipv6(&frame[LINK_HEADER..]).map(Some),
            _ => Ok(None),
        }
    }

    fn parse_ipv4(ip: &[u8]) -> Result<Packet<'_>, &'static str> {
        if ip.len() < 20 || ip[0] != 0x45 {
            return Err("its IP header is not one of five words");
        }
        let len = usize::from(be16(ip, 2));
        if len < 20 || len > ip.len() {
            return Err("its IP length is wrong");
        }
        if sum(&ip[..20]) != 0xffff {
            return Err("its IP checksum is wrong");
        }
        let address = |at| IpAddr::V4(Ipv4Addr::from(be32(ip, at)));
        Ok(Packet {
            source: address(12),
            destination: address(16),
            protocol: ip[9],
            ecn: ip[1] & CE,
            flow_label: 0,
            bytes: &ip[..len],
            payload: &ip[20..len],
        })
    }

    fn parse_ipv6(ip: &[u8]) -> Result<Packet<'_>, &'static str> {
        if ip.len() < 40 || ip[0] >> 4 != 6 {
            return Err("its IP header is none of version 6");
        }
        let len = 40 + usize::from(be16(ip, 4));
        if len > ip.len() {
            return Err("its IP length is wrong");
        }
        let address = |at: usize| {
            let words: [u16; 8] = std::array::from_fn(|word| be16(ip, at + 2 * word));
            IpAddr::V6(Ipv6Addr::from(words))
        };
        Ok(Packet {
            source: address(8),
            destination: address(24),
            protocol: ip[6],
            ecn: ip[1] >> 4 & CE,
            flow_label: be32(ip, 0) & 0xf_ffff,
            bytes: &ip[..len],
            payload: &ip[40..len],
        })
    }

    /// Looks at the checksum of what it carries.
    ///
    /// # Errors
    /// It is wrong, or missing where there must be one (RFC 8200 section 8.1).
    pub fn check_sum(&self) -> Result<(), &'static str> {
        let absent = self.protocol == UDP && self.payload.get(6..8) == Some(&[0, 0]);
        let right = match self.protocol {
            UDP if absent => self.source.is_ipv4(),
            ICMP => sum(self.payload) == 0xffff,
            TCP | UDP | ICMPV6 => sum(&[&self.pseudo_header(), self.payload].concat()) == 0xffff,
            _ => true,
        };
        let wrong = match self.protocol {
            TCP => "its TCP checksum is wrong",
            UDP => "its UDP checksum is wrong",
            _ => "its ICMP checksum is wrong",
        };
        if right { Ok(()) } else { Err(wrong) }
    }

    fn pseudo_header(&self) -> Vec<u8> {
        let len = self.payload.len() as u32;
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => [
                &source.octets()[..],
                &destination.octets(),
                &[0, self.protocol],
                &(len as u16).to_be_bytes(),
            ]
            .concat(),
            (source, destination) => {
                let octets = |address| match address {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                    IpAddr::V6(v6) => v6.octets(),
                };
                let tail = [0, 0, 0, self.protocol];
                [&octets(source)[..], &octets(destination), &len.to_be_bytes(), &tail].concat()
            }
        }
    }
}

/// Puts the right checksum into the TCP segment of a frame that was changed.
pub fn mend_tcp(frame: &mut [u8]) {
    let Ok(Some(packet)) = Packet::parse(frame) else { return };
    let at = LINK_HEADER + packet.bytes.len() - packet.payload.len() + 16;
    if packet.protocol != TCP || packet.payload.len() < 20 {
        return;
    }
    let mut bytes = [packet.pseudo_header(), packet.payload.to_vec()].concat();
    let checksum_at = bytes.len() - packet.payload.len() + 16;
    bytes[checksum_at..checksum_at + 2].fill(0);
    let checksum = !sum(&bytes);
    frame[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// The codepoint of ECN of an IP packet in a frame.
#[must_use]
pub fn ecn(frame: &[u8]) -> Option<u8> {
    let class = *frame.get(CLASS_AT)?;
    match [frame[12], frame[13]] {
        IPV4 => Some(class & CE),
        IPV6 => Some(class >> 4 & CE),
        _ => None,
    }
}

/// Gives an IP packet in a frame another codepoint.
pub fn set_ecn(frame: &mut [u8], codepoint: u8) {
    match frame.get(12..14).and_then(|kind| kind.try_into().ok()) {
        Some(IPV4) if frame.len() >= LINK_HEADER + 20 => {
            frame[CLASS_AT] = frame[CLASS_AT] & !CE | codepoint;
            let header = &mut frame[LINK_HEADER..LINK_HEADER + 20];
            header[10..12].fill(0);
            let checksum = !sum(header);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        Some(IPV6) if frame.len() > CLASS_AT => {
            frame[CLASS_AT] = frame[CLASS_AT] & !(CE << 4) | codepoint << 4;
        }
        _ => {}
    }
}

/// Two bytes in network order.
#[must_use]
pub fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Four bytes in network order.
#[must_use]
pub fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The ones' complement sum (RFC 1071), which is all ones over data with its own checksum.
#[must_use]
pub fn sum(bytes: &[u8]) -> u16 {
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
