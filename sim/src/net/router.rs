//! What a router says of a packet that is longer than its next link takes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Frame;
use crate::plan::{LAN, Version};
use crate::wire::{ICMP, ICMPV6, Packet, TCP, UDP, set_ecn, sum};

/// Last number of its addresses.
const LAST: u8 = 254;
const MAC: [u8; 6] = [2, 0, 0, 0, 10, 1];
/// A quotation of so many bytes holds the ports and the sequence number (RFC 792).
const LEAST_QUOTED: usize = 28;
/// An error is no longer than this (RFC 1812 section 4.3.2.3, RFC 4443 section 3.2).
const LONGEST: [usize; 2] = [576, 1280];

/// What becomes of a packet that is too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Router {
    /// It vanishes: a black hole.
    #[default]
    Silent,
    /// Its sender is told what the next link takes (RFC 1191, RFC 8201).
    Tells,
    /// Its sender is told that it was too long, and no more, by a router from before RFC 1191. In
    /// IPv6 there never was such a one.
    TellsNoMtu,
}

impl Router {
    /// The message to the sender of `frame`, for which there is room of `mtu` bytes only.
    #[must_use]
    pub fn answer(self, frame: &Frame, mtu: u16) -> Option<Frame> {
        let packet = Packet::parse(&frame.bytes).ok()??;
        // RFC 1122 section 3.2.2: never an error about an error.
        if self == Router::Silent || !matches!(packet.protocol, TCP | UDP) {
            return None;
        }
        let sender = frame.bytes.get(6..12)?;
        let kind = &frame.bytes[12..14];
        let message = match packet.source {
            IpAddr::V4(to) if self == Router::TellsNoMtu => {
                error_ipv4(to, 0, &packet.bytes[..LEAST_QUOTED])
            }
            IpAddr::V4(to) => error_ipv4(to, mtu, packet.bytes),
            IpAddr::V6(to) => error_ipv6(to, mtu, packet.bytes),
        };
        let mut bytes = [sender, &MAC, kind, &message].concat();
        // Fills in the header's checksum, too.
        set_ecn(&mut bytes, 0);
        Some(Frame::new(bytes))
    }
}

/// "Fragmentation needed" (RFC 1191 section 4).
fn error_ipv4(to: Ipv4Addr, mtu: u16, about: &[u8]) -> Vec<u8> {
    let quoted = &about[..about.len().min(LONGEST[0] - 28)];
    let mut message = [&[3, 4, 0, 0, 0, 0][..], &mtu.to_be_bytes(), quoted].concat();
    let checksum = !sum(&message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let len = (20 + message.len()) as u16;
    let mut header = vec![0x45, 0];
    header.extend(len.to_be_bytes());
    header.extend([0, 0, 0, 0, 64, ICMP, 0, 0]);
    [&header[..], &octets(Version::V4), &to.octets(), &message].concat()
}

/// "Packet too big" (RFC 4443 section 3.2).
fn error_ipv6(to: Ipv6Addr, mtu: u16, about: &[u8]) -> Vec<u8> {
    let quoted = &about[..about.len().min(LONGEST[1] - 48)];
    let mut message = [&[2, 0, 0, 0, 0, 0][..], &mtu.to_be_bytes(), quoted].concat();
    let (from, to) = (octets(Version::V6), to.octets());
    let len = message.len() as u16;
    let pseudo = [&from[..], &to, &[0, 0], &len.to_be_bytes(), &[0, 0, 0, ICMPV6]].concat();
    let checksum = !sum(&[&pseudo[..], &message].concat());
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let [high, low] = len.to_be_bytes();
    [&[0x60, 0, 0, 0, high, low, ICMPV6, 64][..], &from, &to, &message].concat()
}

/// Its address.
fn octets(version: Version) -> Vec<u8> {
    match version.address(LAN, LAST) {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use engine::wire::icmp_error::IcmpErrorKind;
    use engine::wire::segment::SegmentHeader;
    use engine::wire::{Checksums, checksum, icmpv4, icmpv6, ipv4, ipv6, tcp};

    use super::*;

    /// A segment of 1400 bytes of data from `from` to `to`.
    fn frame(from: &str, to: &str) -> Frame {
        use engine::addr::{Addr, Endpoint, Flow};
        let end = |text: &str, port| Endpoint::new(text.parse::<Addr>().unwrap(), port);
        let header = SegmentHeader {
            flow: Flow { local: end(from, 80), remote: end(to, 40_000) },
            seq: engine::seq::SeqNumber(77),
            ack: engine::seq::SeqNumber(1),
            flags: tcp::Flags::ACK,
            window: 9,
            options: tcp::Options::default(),
        };
        let mut head = [0; 100];
        let len = header.emit(1400, &mut head);
        let mut head = head[..len].to_vec();
        let ip_len = len - tcp::HEADER_LEN;
        checksum::finish_tcp(&mut head, ip_len, &[&[7; 1400]]);
        let kind: &[u8] = if ip_len == 20 { &[8, 0] } else { &[0x86, 0xdd] };
        Frame::new([&[1; 6][..], &[2; 6], kind, &head, &[7; 1400]].concat())
    }

    #[test]
    fn the_stack_reads_what_a_router_says() {
        let long = frame("10.77.0.100", "10.77.0.10");
        for (router, mtu) in [(Router::Tells, 1300), (Router::TellsNoMtu, 1006)] {
            let told = router.answer(&long, 1300).unwrap().bytes;
            assert_eq!(told[..6], [2; 6], "to who sent the segment");
            let ip = ipv4::Packet::parse(&told[14..], Checksums::Verify).unwrap();
            let error = icmpv4::parse_error(&ip).unwrap();
            assert_eq!((error.kind, error.seq.0), (IcmpErrorKind::TooBig { mtu }, 77));
        }
        let long = frame("fd77::64", "fd77::a");
        let told = Router::Tells.answer(&long, 1300).unwrap().bytes;
        let ip = ipv6::Packet::parse(&told[14..]).unwrap();
        let (_, _, _) = icmpv6::message(&ip, Checksums::Verify).unwrap();
        let error = icmpv6::parse_error(&ip).unwrap();
        assert_eq!((error.kind, error.seq.0), (IcmpErrorKind::TooBig { mtu: 1300 }, 77));
        assert_eq!(told.len(), 14 + LONGEST[1]);
    }

    #[test]
    fn a_silent_router_and_one_about_an_error_say_nothing() {
        let long = frame("10.77.0.100", "10.77.0.10");
        assert_eq!(Router::Silent.answer(&long, 1300), None);
        let error = Router::Tells.answer(&long, 1300).unwrap();
        assert_eq!(Router::Tells.answer(&error, 68), None);
    }
}
