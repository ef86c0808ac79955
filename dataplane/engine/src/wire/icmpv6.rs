//! ICMPv6 (RFC 4443): its checksum, echo, and errors about our own TCP segments. Neighbour
//! discovery is in [`super::ndp`], multicast listeners in [`super::mld`].

use super::icmp_error::{IcmpError, IcmpErrorKind};
use super::{Checksums, Malformed, be16, be32, checksum, ipv6, split};
use crate::addr::{Endpoint, Flow};
use crate::seq::SeqNumber;

/// Length of an echo message's header.
pub const HEADER_LEN: usize = 8;
/// Type of an echo request.
pub const ECHO_REQUEST: u8 = 128;
/// Type of an echo reply.
pub const ECHO_REPLY: u8 = 129;
/// Type of a multicast listener query (RFC 3810 section 5.1).
pub const MULTICAST_LISTENER_QUERY: u8 = 130;
/// Type of a neighbour solicitation (RFC 4861 section 4.3).
pub const NEIGHBOUR_SOLICITATION: u8 = 135;
/// Type of a neighbour advertisement (RFC 4861 section 4.4).
pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Type of a multicast listener report, version 2 (RFC 3810 section 5.2).
pub const MULTICAST_LISTENER_REPORT: u8 = 143;

const UNREACHABLE: u8 = 1;
const PACKET_TOO_BIG: u8 = 2;
/// Types below this are errors (RFC 4443 section 2.1).
const FIRST_INFORMATIONAL: u8 = 128;
/// Codes of "unreachable" and of "parameter problem".
const CODE_PROHIBITED: u8 = 1;
const CODE_PORT: u8 = 4;
const CODE_SOURCE_POLICY: u8 = 5;
const CODE_REJECT_ROUTE: u8 = 6;
const CODE_NEXT_HEADER: u8 = 1;
const PARAMETER_PROBLEM: u8 = 4;
const CHECKSUM_AT: usize = 2;

/// The message that a parsed packet carries, its checksum looked at: type, code, and all of its
/// bytes.
///
/// # Errors
/// It is no ICMPv6, too short, or damaged.
pub fn message<'a>(
    ip: &ipv6::Packet<'a>,
    checks: Checksums,
) -> Result<(u8, u8, &'a [u8]), Malformed> {
    if ip.header.protocol != ipv6::PROTOCOL_ICMPV6 {
        return Err(Malformed::Protocol);
    }
    let (header, _) = split::<4>(ip.payload)?;
    if checks == Checksums::Verify && sum(ip.addresses(), ip.payload).checksum() != 0 {
        return Err(Malformed::Checksum);
    }
    Ok((header[0], header[1], ip.payload))
}

/// Turns the L3 packet of an echo request into its reply, in place. Returns the length of the
/// reply, which leaves Ethernet padding out; an error if it is no whole, right echo request.
pub fn reply_in_place(packet: &mut [u8]) -> Result<usize, Malformed> {
    let ip = ipv6::Packet::parse(packet)?;
    let (kind, code, payload) = message(&ip, Checksums::Verify)?;
    split::<HEADER_LEN>(payload)?;
    if (kind, code) != (ECHO_REQUEST, 0) {
        return Err(Malformed::Protocol);
    }
    let (len, header_len) = (ip.bytes.len(), ip.bytes.len() - payload.len());
    // RFC 4443 section 4.2: the reply comes from the address that was asked. Extension headers of
    // the request stay as they are.
    let addresses = &mut packet[ipv6::SOURCE_AT..][..ipv6::ADDRESSES_LEN];
    let (source, destination) = addresses.split_at_mut(16);
    source.swap_with_slice(destination);
    packet[ipv6::HOP_LIMIT_AT] = ipv6::DEFAULT_HOP_LIMIT;
    packet[header_len] = ECHO_REPLY;
    finish(&mut packet[..len], header_len);
    Ok(len)
}

/// Whether a message of this type is an error.
#[inline]
#[must_use]
pub fn is_error(kind: u8) -> bool {
    kind < FIRST_INFORMATIONAL
}

/// Reads an error about a TCP segment of ours (RFC 4443 section 3; RFC 8201 for the MTU).
///
/// # Errors
/// It is damaged, cut off too early, or about something else.
pub fn parse_error(ip: &ipv6::Packet<'_>) -> Result<IcmpError, Malformed> {
    let (kind, code, bytes) = message(ip, Checksums::Verify)?;
    let (header, quoted) = split::<HEADER_LEN>(bytes)?;
    if !is_error(kind) {
        return Err(Malformed::Protocol);
    }
    // A quotation is cut off, so that its own length proves nothing. We send no extension headers.
    let (fixed, rest) = split::<{ ipv6::HEADER_LEN }>(quoted)?;
    if fixed[0] >> 4 != 6 {
        return Err(Malformed::Version);
    }
    if fixed[6] != ipv6::PROTOCOL_TCP {
        return Err(Malformed::Protocol);
    }
    let (tcp, _) = split::<8>(rest)?;
    let local = ipv6::address(fixed, ipv6::SOURCE_AT);
    let remote = ipv6::address(fixed, ipv6::SOURCE_AT + 16);
    // They would pass for a connection over IPv4.
    if local.to_ipv4_mapped().is_some() || remote.to_ipv4_mapped().is_some() {
        return Err(Malformed::Address);
    }
    let flow = Flow {
        local: Endpoint::new(local, be16(tcp, 0)),
        remote: Endpoint::new(remote, be16(tcp, 2)),
    };
    let kind = match (kind, code) {
        (PACKET_TOO_BIG, _) => {
            let mtu = be32(header, 4).clamp(1, u16::MAX.into());
            IcmpErrorKind::TooBig { mtu: mtu as u16 }
        }
        // RFC 5461 section 2.2 names their IPv6 forms. The others are a filter's word (RFC 4443
        // 3.1).
        (UNREACHABLE, CODE_PORT | CODE_PROHIBITED | CODE_SOURCE_POLICY | CODE_REJECT_ROUTE)
        | (PARAMETER_PROBLEM, CODE_NEXT_HEADER) => IcmpErrorKind::Hard,
        _ => IcmpErrorKind::Soft,
    };
    Ok(IcmpError { flow, seq: SeqNumber(be32(tcp, 4)), kind })
}

/// Fills in the checksum of the message that begins at `message_at` of an IPv6 packet and goes to
/// its end.
///
/// # Panics
/// If there is no IPv6 header, or no message of 4 bytes.
pub(super) fn finish(packet: &mut [u8], message_at: usize) {
    let (header, message) = packet.split_at_mut(message_at);
    let addresses = header[ipv6::SOURCE_AT..]
        .first_chunk()
        .expect("an IPv6 header holds two addresses behind its first 8 bytes");
    message[CHECKSUM_AT..CHECKSUM_AT + 2].fill(0);
    let checksum = sum(addresses, message).checksum();
    message[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&checksum.to_be_bytes());
}

fn sum(addresses: &[u8; ipv6::ADDRESSES_LEN], message: &[u8]) -> checksum::Sum {
    let len = message.len() as u16;
    let mut sum = checksum::pseudo_header_ipv6(addresses, ipv6::PROTOCOL_ICMPV6, len);
    sum.add(message);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const US: [u8; 16] = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    const PEER: [u8; 16] = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

    fn request(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        etherparse::PacketBuilder::ipv6(PEER, US, 3)
            .icmpv6_echo_request(7, 9)
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
            let (ip, rest) = etherparse::Ipv6Header::from_slice(&bytes[..len]).unwrap();
            prop_assert_eq!((ip.source, ip.destination), (US, PEER));
            prop_assert_eq!(ip.hop_limit, ipv6::DEFAULT_HOP_LIMIT);
            let (icmp, data) = etherparse::Icmpv6Header::from_slice(rest).unwrap();
            let reply = etherparse::IcmpEchoHeader { id: 7, seq: 9 };
            prop_assert_eq!(&icmp.icmp_type, &etherparse::Icmpv6Type::EchoReply(reply));
            let checksum = icmp.icmp_type.calc_checksum(ip.source, ip.destination, data).unwrap();
            prop_assert_eq!(checksum, icmp.checksum);
            prop_assert_eq!(data, &payload[..]);
        }

        #[test]
        fn any_bytes_are_safe(mut bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(reply_in_place(&mut bytes).is_err());
        }
    }

    /// An error of a router about a segment of 1500 bytes that we sent, as far as it is quoted.
    fn error(kind: u8, code: u8, word: u32, quoted: usize) -> Vec<u8> {
        let header = |source: [u8; 16], destination: [u8; 16], protocol| ipv6::Header {
            source: source.into(),
            destination: destination.into(),
            protocol,
            hop_limit: 60,
            traffic_class: 0,
            flow_label: 0,
        };
        let segment = header(US, PEER, ipv6::PROTOCOL_TCP).to_bytes(1460);
        let segment = [&segment[..], &[0, 80, 0xc3, 0x50, 1, 2, 3, 4, 9, 9]].concat();
        let message = [&[kind, code, 0, 0][..], &word.to_be_bytes(), &segment[..quoted]].concat();
        let ip = header([0xfe; 16], US, ipv6::PROTOCOL_ICMPV6).to_bytes(message.len() as u16);
        let mut bytes = [&ip[..], &message].concat();
        finish(&mut bytes, ipv6::HEADER_LEN);
        bytes
    }

    fn parsed(packet: &[u8]) -> Result<IcmpError, Malformed> {
        parse_error(&ipv6::Packet::parse(packet)?)
    }

    #[test]
    fn error_names_the_connection_and_what_became_of_the_segment() {
        for (kind, code, word, expected) in [
            (2, 0, 1400, IcmpErrorKind::TooBig { mtu: 1400 }),
            (2, 7, 1280, IcmpErrorKind::TooBig { mtu: 1280 }),
            (2, 0, 1 << 20, IcmpErrorKind::TooBig { mtu: u16::MAX }),
            (2, 0, 0, IcmpErrorKind::TooBig { mtu: 1 }),
            (1, 4, 0, IcmpErrorKind::Hard),
            (1, 1, 0, IcmpErrorKind::Hard),
            (1, 5, 0, IcmpErrorKind::Hard),
            (1, 6, 0, IcmpErrorKind::Hard),
            (1, 3, 0, IcmpErrorKind::Soft),
            (4, 1, 6, IcmpErrorKind::Hard),
            (1, 0, 0, IcmpErrorKind::Soft),
            (3, 0, 0, IcmpErrorKind::Soft),
        ] {
            let error = parsed(&error(kind, code, word, 50)).unwrap();
            assert_eq!(error.kind, expected);
            assert_eq!(error.seq, SeqNumber(0x0102_0304));
            assert_eq!(error.flow.local, Endpoint::new(std::net::Ipv6Addr::from(US), 80));
            assert_eq!(error.flow.remote, Endpoint::new(std::net::Ipv6Addr::from(PEER), 50_000));
        }
    }

    #[test]
    fn errors_about_others_and_damaged_ones_are_left_alone() {
        assert_eq!(parsed(&error(2, 0, 1400, 47)), Err(Malformed::Truncated));
        assert_eq!(parsed(&error(2, 0, 1400, 39)), Err(Malformed::Truncated));
        let mut damaged = error(2, 0, 1400, 50);
        damaged[47] ^= 1;
        assert_eq!(parsed(&damaged), Err(Malformed::Checksum));
        assert_eq!(parsed(&request(&[0; 60])), Err(Malformed::Protocol));
        let mut other = error(2, 0, 1400, 50);
        other[48 + 6] = ipv6::PROTOCOL_UDP;
        finish(&mut other, ipv6::HEADER_LEN);
        assert_eq!(parsed(&other), Err(Malformed::Protocol));
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
        bytes[48] ^= 1;
        let before = bytes.clone();
        assert_eq!(reply_in_place(&mut bytes), Err(Malformed::Checksum));
        assert_eq!(bytes, before);
    }
}
