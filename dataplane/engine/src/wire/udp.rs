//! UDP datagrams (RFC 768) over IPv4 and IPv6.

use super::{Checksums, Malformed, be16, checksum, ipv4, ipv6, split};

/// Length of the header.
pub const HEADER_LEN: usize = 8;

const CHECKSUM_AT: usize = 6;

/// A datagram taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datagram<'a> {
    /// Source port; 0 if the sender expects no answer.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Data.
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Takes the payload of a parsed IPv4 packet apart; bytes after the datagram's own length are
    /// ignored.
    #[inline]
    pub fn parse(ip: &ipv4::Packet<'a>, checks: Checksums) -> Result<Datagram<'a>, Malformed> {
        if ip.header.protocol != ipv4::PROTOCOL_UDP {
            return Err(Malformed::Protocol);
        }
        let (datagram, checksum, bytes) = Datagram::split(ip.payload)?;
        // A zero field means that the sender made no checksum.
        if checks == Checksums::Verify && checksum != 0 {
            let len = bytes.len() as u16;
            let mut sum = checksum::pseudo_header_ipv4(ip.addresses(), ipv4::PROTOCOL_UDP, len);
            sum.add(bytes);
            if sum.checksum() != 0 {
                return Err(Malformed::Checksum);
            }
        }
        Ok(datagram)
    }

    /// The same for IPv6, where there is no datagram without a checksum (RFC 8200 section 8.1).
    pub fn parse_ipv6(ip: &ipv6::Packet<'a>, checks: Checksums) -> Result<Datagram<'a>, Malformed> {
        if ip.header.protocol != ipv6::PROTOCOL_UDP {
            return Err(Malformed::Protocol);
        }
        let (datagram, checksum, bytes) = Datagram::split(ip.payload)?;
        if checks == Checksums::Verify {
            let len = bytes.len() as u16;
            let mut sum = checksum::pseudo_header_ipv6(ip.addresses(), ipv6::PROTOCOL_UDP, len);
            sum.add(bytes);
            if checksum == 0 || sum.checksum() != 0 {
                return Err(Malformed::Checksum);
            }
        }
        Ok(datagram)
    }

    /// The datagram, its checksum field, and all of its bytes.
    #[inline]
    fn split(payload: &'a [u8]) -> Result<(Datagram<'a>, u16, &'a [u8]), Malformed> {
        let (header, _) = split::<HEADER_LEN>(payload)?;
        let len = be16(header, 4);
        if usize::from(len) < HEADER_LEN {
            return Err(Malformed::TotalLength);
        }
        let bytes = payload.get(..len.into()).ok_or(Malformed::Truncated)?;
        let datagram = Datagram {
            source_port: be16(header, 0),
            destination_port: be16(header, 2),
            payload: &bytes[HEADER_LEN..],
        };
        Ok((datagram, be16(header, CHECKSUM_AT), bytes))
    }
}

/// Writes IP and UDP header for a payload in parts, with both checksums; returns their length.
/// `ip.protocol` must be UDP.
///
/// # Panics
/// If `out` is shorter than both headers, or the datagram is longer than IPv4 allows.
#[inline]
pub fn emit(ip: &ipv4::Header, ports: (u16, u16), payload: &[&[u8]], out: &mut [u8]) -> usize {
    const LEN: usize = ipv4::HEADER_LEN + HEADER_LEN;
    debug_assert_eq!(ip.protocol, ipv4::PROTOCOL_UDP);
    let payload_len: usize = payload.iter().map(|part| part.len()).sum();
    let len = u16::try_from(LEN + payload_len).expect("a datagram fits into an IPv4 packet")
        - ipv4::HEADER_LEN as u16;
    out[..ipv4::HEADER_LEN].copy_from_slice(&ip.to_bytes(len));
    let (ip_header, header) = out[..LEN].split_at_mut(ipv4::HEADER_LEN);
    let addresses = ip_header[ipv4::SOURCE_AT..]
        .first_chunk()
        .expect("an IPv4 header holds two addresses behind its first 12 bytes");
    let sum = checksum::pseudo_header_ipv4(addresses, ipv4::PROTOCOL_UDP, len);
    emit_header(header, ports, len, sum, payload);
    LEN
}

/// The same for IPv6.
///
/// # Panics
/// If `out` is shorter than both headers, or the datagram is longer than 65,535 bytes.
pub fn emit_ipv6(ip: &ipv6::Header, ports: (u16, u16), payload: &[&[u8]], out: &mut [u8]) -> usize {
    const LEN: usize = ipv6::HEADER_LEN + HEADER_LEN;
    debug_assert_eq!(ip.protocol, ipv6::PROTOCOL_UDP);
    let payload_len: usize = payload.iter().map(|part| part.len()).sum();
    let len = u16::try_from(HEADER_LEN + payload_len).expect("a datagram fits into a packet");
    out[..ipv6::HEADER_LEN].copy_from_slice(&ip.to_bytes(len));
    let (ip_header, header) = out[..LEN].split_at_mut(ipv6::HEADER_LEN);
    let addresses = ip_header[ipv6::SOURCE_AT..]
        .first_chunk()
        .expect("an IPv6 header holds two addresses behind its first 8 bytes");
    let sum = checksum::pseudo_header_ipv6(addresses, ipv6::PROTOCOL_UDP, len);
    emit_header(header, ports, len, sum, payload);
    LEN
}

/// `sum` is the pseudo-header's, `len` that of header and payload.
#[inline]
fn emit_header(
    header: &mut [u8],
    ports: (u16, u16),
    len: u16,
    mut sum: checksum::Sum,
    payload: &[&[u8]],
) {
    header[0..2].copy_from_slice(&ports.0.to_be_bytes());
    header[2..4].copy_from_slice(&ports.1.to_be_bytes());
    header[4..6].copy_from_slice(&len.to_be_bytes());
    header[6..8].fill(0);
    sum.add(header);
    payload.iter().for_each(|part| sum.add(part));
    // Zero would mean "no checksum"; all ones is the same sum.
    let checksum = if sum.checksum() == 0 { 0xffff } else { sum.checksum() };
    header[CHECKSUM_AT..].copy_from_slice(&checksum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip_header() -> ipv4::Header {
        ipv4::Header {
            source: [192, 0, 2, 1].into(),
            destination: [192, 0, 2, 2].into(),
            protocol: ipv4::PROTOCOL_UDP,
            ttl: ipv4::DEFAULT_TTL,
        }
    }

    fn packet(payload: &[&[u8]]) -> Vec<u8> {
        let mut header = [0xaa; ipv4::HEADER_LEN + HEADER_LEN];
        let len = emit(&ip_header(), (7400, 7401), payload, &mut header);
        [&header[..len], &payload.concat()].concat()
    }

    fn parse(bytes: &[u8]) -> Result<Datagram<'_>, Malformed> {
        Datagram::parse(&ipv4::Packet::parse(bytes, Checksums::Trusted)?, Checksums::Verify)
    }

    proptest! {
        #[test]
        fn etherparse_finds_our_datagrams_right(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..4)
        ) {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let (bytes, payload) = (packet(&parts), parts.concat());
            let (ip, rest) = etherparse::Ipv4Header::from_slice(&bytes).unwrap();
            let (udp, data) = etherparse::UdpHeader::from_slice(rest).unwrap();
            prop_assert_eq!(udp.calc_checksum_ipv4(&ip, data).unwrap(), udp.checksum);
            prop_assert_eq!((udp.source_port, udp.destination_port), (7400, 7401));
            prop_assert_eq!(parse(&bytes).unwrap().payload, &payload[..]);
        }

        #[test]
        fn etherparse_finds_our_datagrams_over_ipv6_right(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..4)
        ) {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let bytes = packet_ipv6(&parts);
            let (ip, rest) = etherparse::Ipv6Header::from_slice(&bytes).unwrap();
            let (udp, data) = etherparse::UdpHeader::from_slice(rest).unwrap();
            prop_assert_eq!(udp.calc_checksum_ipv6(&ip, data).unwrap(), udp.checksum);
            prop_assert_eq!((udp.source_port, udp.destination_port), (7400, 7401));
            prop_assert_eq!(parse_ipv6(&bytes).unwrap().payload, &parts.concat()[..]);
        }

        #[test]
        fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let over_ipv6 = [&ipv6_header().to_bytes(bytes.len() as u16)[..], &bytes].concat();
            let _ = parse_ipv6(&over_ipv6);
            let bytes = [&ip_header().to_bytes(bytes.len() as u16)[..], &bytes].concat();
            let _ = parse(&bytes);
        }
    }

    fn ipv6_header() -> ipv6::Header {
        ipv6::Header {
            source: "fd77::1".parse().unwrap(),
            destination: "fd77::2".parse().unwrap(),
            protocol: ipv6::PROTOCOL_UDP,
            hop_limit: ipv6::DEFAULT_HOP_LIMIT,
            traffic_class: 0,
            flow_label: 0,
        }
    }

    fn packet_ipv6(payload: &[&[u8]]) -> Vec<u8> {
        let mut header = [0xaa; ipv6::HEADER_LEN + HEADER_LEN];
        let len = emit_ipv6(&ipv6_header(), (7400, 7401), payload, &mut header);
        [&header[..len], &payload.concat()].concat()
    }

    fn parse_ipv6(bytes: &[u8]) -> Result<Datagram<'_>, Malformed> {
        Datagram::parse_ipv6(&ipv6::Packet::parse(bytes)?, Checksums::Verify)
    }

    #[test]
    fn over_ipv6_a_checksum_must_be_there_and_right() {
        let mut bytes = packet_ipv6(&[b"abc"]);
        bytes[50] ^= 1;
        assert_eq!(parse_ipv6(&bytes), Err(Malformed::Checksum));
        bytes[46..48].fill(0);
        assert_eq!(parse_ipv6(&bytes), Err(Malformed::Checksum));
    }

    #[test]
    fn a_wrong_checksum_is_refused_and_a_missing_one_is_not() {
        let mut bytes = packet(&[b"abc"]);
        bytes[30] ^= 1;
        assert_eq!(parse(&bytes), Err(Malformed::Checksum));
        bytes[26..28].fill(0);
        assert!(parse(&bytes).is_ok());
    }

    #[test]
    fn the_length_field_counts() {
        let mut bytes = packet(&[b"abc"]);
        bytes[26..28].fill(0);
        for (len, expected) in [
            (7, Err(Malformed::TotalLength)),
            (10, Ok(&b"ab"[..])),
            (12, Err(Malformed::Truncated)),
        ] {
            bytes[25] = len;
            assert_eq!(parse(&bytes).map(|datagram| datagram.payload), expected, "{len}");
        }
    }
}
