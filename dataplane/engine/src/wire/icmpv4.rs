//! ICMP (RFC 792): echo, which a node answers, and errors about our own TCP segments.

use super::icmp_error::{IcmpError, IcmpErrorKind};
use super::{Checksums, Malformed, be16, be32, checksum, ipv4, split};
use crate::addr::{Endpoint, Flow};
use crate::seq::SeqNumber;

/// Length of an echo message's header.
pub const HEADER_LEN: usize = 8;

const TYPE_ECHO_REPLY: u8 = 0;
const TYPE_UNREACHABLE: u8 = 3;
const TYPE_ECHO_REQUEST: u8 = 8;
const TYPE_TIME_EXCEEDED: u8 = 11;
const TYPE_PARAMETER_PROBLEM: u8 = 12;
/// Codes of "unreachable".
const CODE_PROTOCOL: u8 = 2;
const CODE_PORT: u8 = 3;
const CODE_FRAGMENTATION_NEEDED: u8 = 4;
/// "Prohibited": the network, the host, or whatever a filter says (RFC 1812 5.2.7.1).
const CODE_NETWORK_PROHIBITED: u8 = 9;
const CODE_HOST_PROHIBITED: u8 = 10;
const CODE_PROHIBITED: u8 = 13;
const CHECKSUM_AT: usize = 2;

/// Turns the L3 packet of an echo request into its reply, in place. Returns the length of the
/// reply, which leaves Ethernet padding out; an error if it is no whole, right echo request.
pub fn reply_in_place(packet: &mut [u8]) -> Result<usize, Malformed> {
    let ip = ipv4::Packet::parse(packet, Checksums::Verify)?;
    if ip.header.protocol != ipv4::PROTOCOL_ICMP {
        return Err(Malformed::Protocol);
    }
    let (header, _) = split::<HEADER_LEN>(ip.payload)?;
    if header[..2] != [TYPE_ECHO_REQUEST, 0] {
        return Err(Malformed::Protocol);
    }
    if checksum::checksum(ip.payload) != 0 {
        return Err(Malformed::Checksum);
    }
    let (len, header_len) = (ip.bytes.len(), ip.bytes.len() - ip.payload.len());
    let (header, message) = packet[..len].split_at_mut(header_len);
    message[0] = TYPE_ECHO_REPLY;
    put_checksum(message, CHECKSUM_AT);
    // RFC 1122 section 3.2.2.6: the reply comes from the address that was asked. Options of the
    // request stay as they are.
    let (source, destination) = header[ipv4::SOURCE_AT..].split_at_mut(4);
    source.swap_with_slice(&mut destination[..4]);
    header[ipv4::TTL_AT] = ipv4::DEFAULT_TTL;
    put_checksum(header, ipv4::CHECKSUM_AT);
    Ok(len)
}

/// Whether this is the message of an error.
#[inline]
pub fn is_error(message: &[u8]) -> bool {
    let errors = [TYPE_UNREACHABLE, TYPE_TIME_EXCEEDED, TYPE_PARAMETER_PROBLEM];
    message.first().is_some_and(|kind| errors.contains(kind))
}

/// Reads an error about a TCP segment (RFC 792; RFC 1191 4 for the MTU).
pub fn parse_error(ip: &ipv4::Packet<'_>) -> Result<IcmpError, Malformed> {
    let (header, quoted) = split::<HEADER_LEN>(ip.payload)?;
    if ip.header.protocol != ipv4::PROTOCOL_ICMP || !is_error(ip.payload) {
        return Err(Malformed::Protocol);
    }
    if checksum::checksum(ip.payload) != 0 {
        return Err(Malformed::Checksum);
    }
    // A quotation is cut off, so that its own lengths and checksums prove nothing.
    let (fixed, _) = split::<{ ipv4::HEADER_LEN }>(quoted)?;
    let header_len = usize::from(fixed[0] & 0x0f) * 4;
    if fixed[0] >> 4 != 4 {
        return Err(Malformed::Version);
    }
    if header_len < ipv4::HEADER_LEN {
        return Err(Malformed::HeaderLength);
    }
    if fixed[9] != ipv4::PROTOCOL_TCP {
        return Err(Malformed::Protocol);
    }
    let rest = quoted.get(header_len..).ok_or(Malformed::Truncated)?;
    let (tcp, _) = split::<8>(rest)?;
    let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *fixed;
    let flow = Flow {
        local: Endpoint::new(std::net::Ipv4Addr::new(s0, s1, s2, s3), be16(tcp, 0)),
        remote: Endpoint::new(std::net::Ipv4Addr::new(d0, d1, d2, d3), be16(tcp, 2)),
    };
    let kind = match (header[0], header[1]) {
        (TYPE_UNREACHABLE, CODE_FRAGMENTATION_NEEDED) => {
            IcmpErrorKind::TooBig { mtu: next_hop_mtu(be16(header, 6), be16(fixed, 2)) }
        }
        (
            TYPE_UNREACHABLE,
            CODE_PROTOCOL
            | CODE_PORT
            | CODE_NETWORK_PROHIBITED
            | CODE_HOST_PROHIBITED
            | CODE_PROHIBITED,
        ) => IcmpErrorKind::Hard,
        _ => IcmpErrorKind::Soft,
    };
    Ok(IcmpError { flow, seq: SeqNumber(be32(tcp, 4)), kind })
}

/// RFC 1191 5: a router from before that RFC tells no MTU. Then it is the next plateau below the
/// packet's length.
fn next_hop_mtu(told: u16, total_len: u16) -> u16 {
    const PLATEAUS: [u16; 8] = [8166, 4352, 2002, 1492, 1006, 508, 296, 68];
    if told != 0 {
        return told;
    }
    PLATEAUS.into_iter().find(|plateau| *plateau < total_len).unwrap_or(68)
}

fn put_checksum(bytes: &mut [u8], at: usize) {
    bytes[at..at + 2].fill(0);
    let checksum = checksum::checksum(bytes);
    bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        etherparse::PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 3)
            .icmpv4_echo_request(7, 9)
            .write(&mut bytes, payload)
            .unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn etherparse_finds_the_reply_right(
            payload in prop::collection::vec(any::<u8>(), 0..100), padding in 0usize..20
        ) {
            let mut bytes = [request(&payload), vec![0; padding]].concat();
            let len = reply_in_place(&mut bytes).unwrap();
            let (ip, rest) = etherparse::Ipv4Header::from_slice(&bytes[..len]).unwrap();
            prop_assert_eq!((ip.source, ip.destination), ([192, 0, 2, 2], [192, 0, 2, 1]));
            prop_assert_eq!(ip.calc_header_checksum(), ip.header_checksum);
            prop_assert_eq!(ip.time_to_live, ipv4::DEFAULT_TTL);
            let (icmp, data) = etherparse::Icmpv4Header::from_slice(rest).unwrap();
            let reply = etherparse::IcmpEchoHeader { id: 7, seq: 9 };
            prop_assert_eq!(&icmp.icmp_type, &etherparse::Icmpv4Type::EchoReply(reply));
            prop_assert_eq!(icmp.icmp_type.calc_checksum(data), icmp.checksum);
            prop_assert_eq!(data, &payload[..]);
        }

        #[test]
        fn any_bytes_are_safe(mut bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(reply_in_place(&mut bytes).is_err());
        }
    }

    #[test]
    fn a_reply_is_not_answered_again() {
        let mut bytes = request(b"x");
        reply_in_place(&mut bytes).unwrap();
        assert_eq!(reply_in_place(&mut bytes), Err(Malformed::Protocol));
    }

    #[test]
    fn a_damaged_request_is_left_alone() {
        let mut bytes = request(b"x");
        bytes[28] ^= 1;
        let before = bytes.clone();
        assert_eq!(reply_in_place(&mut bytes), Err(Malformed::Checksum));
        assert_eq!(bytes, before);
    }

    fn error(kind: u8, code: u8, mtu: u16, quoted: &[u8]) -> Vec<u8> {
        let mut message = vec![kind, code, 0, 0, 0, 0];
        message.extend_from_slice(&mtu.to_be_bytes());
        message.extend_from_slice(quoted);
        put_checksum(&mut message, CHECKSUM_AT);
        let header = ipv4::Header {
            source: [198, 51, 100, 1].into(),
            destination: [192, 0, 2, 1].into(),
            protocol: ipv4::PROTOCOL_ICMP,
            ttl: 60,
        };
        [&header.to_bytes(message.len() as u16)[..], &message].concat()
    }

    /// The head of a segment of 1500 bytes, as routers quote it.
    fn quoted(protocol: u8) -> Vec<u8> {
        let (source, destination) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let header = ipv4::Header { source, destination, protocol, ttl: 1 };
        [&header.to_bytes(1480)[..], &[0, 80, 0xc3, 0x50, 1, 2, 3, 4]].concat()
    }

    fn parsed(packet: &[u8]) -> Result<IcmpError, Malformed> {
        parse_error(&ipv4::Packet::parse(packet, Checksums::Verify)?)
    }

    #[test]
    fn error_names_the_connection_and_what_became_of_the_segment() {
        let tcp = quoted(ipv4::PROTOCOL_TCP);
        for (kind, code, mtu, expected) in [
            (3, 4, 1400, IcmpErrorKind::TooBig { mtu: 1400 }),
            (3, 4, 0, IcmpErrorKind::TooBig { mtu: 1492 }),
            (3, 3, 0, IcmpErrorKind::Hard),
            (3, 2, 0, IcmpErrorKind::Hard),
            (3, 9, 0, IcmpErrorKind::Hard),
            (3, 10, 0, IcmpErrorKind::Hard),
            (3, 13, 0, IcmpErrorKind::Hard),
            (3, 5, 0, IcmpErrorKind::Soft),
            (3, 1, 0, IcmpErrorKind::Soft),
            (11, 0, 0, IcmpErrorKind::Soft),
        ] {
            let error = parsed(&error(kind, code, mtu, &tcp)).unwrap();
            assert_eq!(error.kind, expected);
            assert_eq!(error.seq, SeqNumber(0x0102_0304));
            assert_eq!((error.flow.local.port, error.flow.remote.port), (80, 50_000));
        }
    }

    #[test]
    fn errors_about_others_and_damaged_ones_are_left_alone() {
        let udp = quoted(ipv4::PROTOCOL_UDP);
        assert_eq!(parsed(&error(3, 3, 0, &udp)), Err(Malformed::Protocol));
        let tcp = quoted(ipv4::PROTOCOL_TCP);
        assert_eq!(parsed(&error(3, 3, 0, &tcp[..27])), Err(Malformed::Truncated));
        let mut damaged = error(3, 4, 1400, &tcp);
        damaged[27] ^= 1;
        assert_eq!(parsed(&damaged), Err(Malformed::Checksum));
    }
}
