//! IPv6 headers (RFC 8200) and the extension headers that a host has to walk. Fragments are refused
//! as those of IPv4 are: every peer that does path MTU discovery avoids them.

use std::net::Ipv6Addr;

use super::{Malformed, be16, ethernet::Mac, split};
use crate::addr::Addr;

/// Length of the fixed header, the only part that we emit.
pub const HEADER_LEN: usize = 40;
/// Next header value of hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// Next header value of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// Next header value of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// Next header value of a routing header.
pub const ROUTING: u8 = 43;
/// Next header value of a fragment header.
pub const FRAGMENT: u8 = 44;
/// Next header value of ICMPv6.
pub const PROTOCOL_ICMPV6: u8 = 58;
/// Next header value of destination options.
pub const DESTINATION_OPTIONS: u8 = 60;
/// Hop limit of what we emit, unless a protocol wants another.
pub const DEFAULT_HOP_LIMIT: u8 = 64;
/// Smallest MTU of a link with IPv6 (RFC 8200 section 5).
pub const MIN_MTU: u16 = 1280;

/// Offset of the byte with the last bits of the traffic class, of which two are ECN's (RFC 3168
/// section 5), before the flow label.
pub(super) const ECN_AT: usize = 1;
/// ECT(0) there: "this transport reacts to marks".
pub(super) const ECT_0: u8 = 0b10 << 4;
const ECN_BITS: u8 = 0b11;
/// Offset of the hop limit.
pub(super) const HOP_LIMIT_AT: usize = 7;
/// Offset of the source address, which the destination follows.
pub(super) const SOURCE_AT: usize = 8;
/// Both addresses, as they stand in a header.
pub(super) const ADDRESSES_LEN: usize = 32;

/// Extension headers of one packet at most. RFC 8200 section 4.1 knows of five in a row.
const MAX_EXTENSIONS: usize = 8;
const OFFSET_OR_MORE_FRAGMENTS: u16 = 0xfff9;
const OPTION_PAD1: u8 = 0;
/// The two bits of an option's type that say what to do when it is unknown, both zero: skip it.
const OPTION_ACTION: u8 = 0xc0;

/// The fields of a header that anybody here cares about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// What the packet carries, behind all extension headers.
    pub protocol: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Traffic class: DSCP, and ECN in the lowest two bits.
    pub traffic_class: u8,
    /// Flow label, 20 bits (RFC 6437); 0 for none.
    pub flow_label: u32,
}

/// A packet taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// Its header's fields.
    pub header: Header,
    /// The whole packet without the padding that Ethernet adds.
    pub bytes: &'a [u8],
    /// What follows the header and its extensions.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Takes `bytes` apart. Extension headers are walked and skipped; bytes beyond the payload
    /// length are cut off.
    ///
    /// # Errors
    /// The first thing that no host sends, or that a host must not take: a fragment, a routing
    /// header that is not at its end, an option that may not be skipped.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Packet<'a>, Malformed> {
        let (fixed, _) = split::<HEADER_LEN>(bytes)?;
        if fixed[0] >> 4 != 6 {
            return Err(Malformed::Version);
        }
        let total_len = HEADER_LEN + usize::from(be16(fixed, 4));
        let bytes = bytes.get(..total_len).ok_or(Malformed::Truncated)?;
        let next_header = fixed[6];
        let (protocol, payload) = match next_header {
            PROTOCOL_TCP | PROTOCOL_UDP | PROTOCOL_ICMPV6 => (next_header, &bytes[HEADER_LEN..]),
            _ => walk_extensions(next_header, &bytes[HEADER_LEN..])?,
        };
        let first_word = u32::from_be_bytes([fixed[0], fixed[1], fixed[2], fixed[3]]);
        let header = Header {
            source: address(fixed, SOURCE_AT),
            destination: address(fixed, SOURCE_AT + 16),
            protocol,
            hop_limit: fixed[HOP_LIMIT_AT],
            traffic_class: (first_word >> 20) as u8,
            flow_label: first_word & FLOW_LABEL,
        };
        Ok(Packet { header, bytes, payload })
    }

    /// Whether a router that was about to have to drop has marked it (CE of RFC 3168 section 5).
    #[inline]
    pub fn congestion_experienced(&self) -> bool {
        self.header.traffic_class & ECN_BITS == ECN_BITS
    }

    /// Source and destination as they stand in the header, for a pseudo-header.
    #[inline]
    pub(super) fn addresses(&self) -> &'a [u8; ADDRESSES_LEN] {
        self.bytes[SOURCE_AT..].first_chunk().expect("parse saw a whole header")
    }
}

/// The bits of a flow label in the header's first word.
const FLOW_LABEL: u32 = 0x000f_ffff;

/// The address at this place of a header.
#[inline]
pub(super) fn address(header: &[u8; HEADER_LEN], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&header[at..at + 16]);
    Ipv6Addr::from(octets)
}

/// Which protocol follows a chain of extension headers, and its bytes (RFC 8200 section 4).
fn walk_extensions(mut next: u8, mut rest: &[u8]) -> Result<(u8, &[u8]), Malformed> {
    for place in 0..=MAX_EXTENSIONS {
        match next {
            // Section 4.1: hop-by-hop options come first or not at all.
            HOP_BY_HOP if place > 0 => return Err(Malformed::ExtensionHeader),
            HOP_BY_HOP | DESTINATION_OPTIONS | ROUTING | FRAGMENT => {}
            _ => return Ok((next, rest)),
        }
        let (head, _) = split::<8>(rest)?;
        let len = if next == FRAGMENT { 8 } else { 8 + usize::from(head[1]) * 8 };
        let (extension, behind) = rest.split_at_checked(len).ok_or(Malformed::Truncated)?;
        match next {
            // RFC 6946: with no offset and nothing to follow it is a whole packet.
            FRAGMENT if be16(head, 2) & OFFSET_OR_MORE_FRAGMENTS != 0 => {
                return Err(Malformed::Fragment);
            }
            // RFC 5095 section 3 and RFC 8200 section 4.4: nobody is sent on from here; a header
            // whose segments are all behind it is skipped, whatever its type.
            ROUTING if head[3] != 0 => return Err(Malformed::RoutingHeader),
            HOP_BY_HOP | DESTINATION_OPTIONS => check_options(&extension[2..])?,
            _ => {}
        }
        (next, rest) = (head[0], behind);
    }
    Err(Malformed::ExtensionHeader)
}

/// RFC 8200 section 4.2: an unknown option says by its type whether it may be skipped.
fn check_options(mut bytes: &[u8]) -> Result<(), Malformed> {
    while let [kind, rest @ ..] = bytes {
        if *kind == OPTION_PAD1 {
            bytes = rest;
            continue;
        }
        if kind & OPTION_ACTION != 0 {
            return Err(Malformed::ExtensionHeader);
        }
        let len = usize::from(*rest.first().ok_or(Malformed::ExtensionHeader)?);
        bytes = rest.get(1 + len..).ok_or(Malformed::ExtensionHeader)?;
    }
    Ok(())
}

impl Header {
    /// The header of a packet with `payload_len` bytes behind it.
    #[inline]
    pub fn to_bytes(&self, payload_len: u16) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let first_word =
            6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & FLOW_LABEL;
        bytes[0..4].copy_from_slice(&first_word.to_be_bytes());
        bytes[4..6].copy_from_slice(&payload_len.to_be_bytes());
        bytes[6] = self.protocol;
        bytes[HOP_LIMIT_AT] = self.hop_limit;
        bytes[8..24].copy_from_slice(&self.source.octets());
        bytes[24..40].copy_from_slice(&self.destination.octets());
        bytes
    }
}

/// All nodes of a link, `ff02::1`.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The solicited-node multicast address of `address` (RFC 4291 section 2.7.1).
#[must_use]
pub fn solicited_node(address: Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    let (high, low) = (0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, high, low)
}

/// The link-local address that a card gives itself (RFC 4291 section 2.5.6 and appendix A).
#[must_use]
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 0x02, b, c, 0xff, 0xfe, d, e, f])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Vec<u8> {
        let header = Header {
            source: "2001:db8::1".parse().unwrap(),
            destination: "2001:db8::2".parse().unwrap(),
            protocol: PROTOCOL_UDP,
            hop_limit: 9,
            traffic_class: 0,
            flow_label: 5,
        };
        [&header.to_bytes(3)[..], b"abc"].concat()
    }

    /// The sample with extension headers before its payload: type and bytes from the length on.
    fn extended(extensions: &[(u8, &[u8])]) -> Vec<u8> {
        let mut chain = Vec::new();
        for (place, (_, body)) in extensions.iter().enumerate() {
            let next = extensions.get(place + 1).map_or(PROTOCOL_UDP, |(kind, _)| *kind);
            chain.push(next);
            chain.extend_from_slice(body);
        }
        let mut bytes = sample();
        bytes[6] = extensions[0].0;
        bytes[5] = 3 + u8::try_from(chain.len()).unwrap();
        bytes.splice(HEADER_LEN..HEADER_LEN, chain);
        bytes
    }

    const PADDING: &[u8] = &[0, 1, 4, 0, 0, 0, 0];

    #[test]
    fn padding_is_cut_off() {
        let padded = [sample(), vec![0; 30]].concat();
        let packet = Packet::parse(&padded).unwrap();
        assert_eq!((packet.payload, packet.bytes), (&b"abc"[..], &sample()[..]));
    }

    #[test]
    fn extension_headers_are_skipped() {
        let skippable: &[u8] = &[0, 0x1e, 2, 7, 7, 0, 0];
        let spent_route: &[u8] = &[0, 0, 0, 0, 0, 0, 0];
        let whole: &[u8] = &[0, 0, 0, 1, 2, 3, 4];
        let long = [&[1_u8, 1, 12][..], &[0; 12]].concat();
        for extensions in [
            vec![(HOP_BY_HOP, PADDING)],
            vec![(DESTINATION_OPTIONS, skippable)],
            vec![(DESTINATION_OPTIONS, &long[..])],
            vec![(ROUTING, spent_route)],
            vec![(FRAGMENT, whole)],
            vec![(HOP_BY_HOP, PADDING), (ROUTING, spent_route), (DESTINATION_OPTIONS, PADDING)],
            vec![(DESTINATION_OPTIONS, PADDING); MAX_EXTENSIONS],
        ] {
            let bytes = extended(&extensions);
            let packet = Packet::parse(&bytes).unwrap();
            assert_eq!((packet.header.protocol, packet.payload), (PROTOCOL_UDP, &b"abc"[..]));
        }
    }

    #[test]
    fn what_must_not_be_skipped_is_refused() {
        for (extensions, expected) in [
            (vec![(ROUTING, &[0, 0, 1, 0, 0, 0, 0][..])], Malformed::RoutingHeader),
            (vec![(FRAGMENT, &[0, 0, 1, 0, 0, 0, 0][..])], Malformed::Fragment),
            (vec![(FRAGMENT, &[0, 0, 8, 0, 0, 0, 0][..])], Malformed::Fragment),
            (vec![(HOP_BY_HOP, &[0, 0x5e, 4, 0, 0, 0, 0][..])], Malformed::ExtensionHeader),
            (
                vec![(DESTINATION_OPTIONS, &[0, 0xc2, 4, 0, 1, 0, 0][..])],
                Malformed::ExtensionHeader,
            ),
            (vec![(DESTINATION_OPTIONS, &[0, 1, 5, 0, 0, 0, 0][..])], Malformed::ExtensionHeader),
            (vec![(DESTINATION_OPTIONS, &[9, 1, 4, 0, 0, 0, 0][..])], Malformed::Truncated),
            (
                vec![(DESTINATION_OPTIONS, PADDING), (HOP_BY_HOP, PADDING)],
                Malformed::ExtensionHeader,
            ),
            (vec![(DESTINATION_OPTIONS, PADDING); MAX_EXTENSIONS + 1], Malformed::ExtensionHeader),
        ] {
            let bytes = extended(&extensions);
            assert_eq!(Packet::parse(&bytes), Err(expected), "{extensions:02x?}");
        }
    }

    #[test]
    fn version_and_length_are_checked() {
        let mut bytes = sample();
        bytes[0] = 0x45;
        assert_eq!(Packet::parse(&bytes), Err(Malformed::Version));
        let bytes = sample();
        assert_eq!(Packet::parse(&bytes[..42]), Err(Malformed::Truncated));
        assert_eq!(Packet::parse(&bytes[..39]), Err(Malformed::Truncated));
    }

    #[test]
    fn solicited_node_group_holds_the_last_three_bytes() {
        let address = "2001:db8::12:3456:789a".parse::<Addr>().unwrap();
        assert_eq!(solicited_node(address).to_string(), "ff02::1:ff56:789a");
    }

    #[test]
    fn a_card_has_a_link_local_address() {
        let mac = Mac([0x02, 0x48, 0x46, 0x00, 0x00, 0x64]);
        assert_eq!(link_local(mac).to_string(), "fe80::48:46ff:fe00:64");
    }

    proptest! {
        #[test]
        fn emit_agrees_with_etherparse(
            s: [u8; 16], d: [u8; 16], class: u8, label in 0u32..1 << 20, limit: u8, len: u16
        ) {
            let header = Header {
                source: s.into(),
                destination: d.into(),
                protocol: PROTOCOL_TCP,
                hop_limit: limit,
                traffic_class: class,
                flow_label: label,
            };
            let bytes = header.to_bytes(len);
            let (oracle, _) = etherparse::Ipv6Header::from_slice(&bytes).unwrap();
            prop_assert_eq!((oracle.source, oracle.destination), (s, d));
            prop_assert_eq!((oracle.next_header.0, oracle.hop_limit), (PROTOCOL_TCP, limit));
            prop_assert_eq!((oracle.traffic_class, oracle.flow_label.value()), (class, label));
            prop_assert_eq!(oracle.payload_length, len);
            let whole = [&bytes[..], &vec![0; len.into()]].concat();
            prop_assert_eq!(Packet::parse(&whole).unwrap().header, header);
        }

        #[test]
        fn extension_headers_are_walked_as_etherparse_walks_them(
            chain in prop::collection::vec((0usize..3, 0u8..3), 1..6)
        ) {
            let kinds = [DESTINATION_OPTIONS, ROUTING, FRAGMENT];
            let bodies: Vec<Vec<u8>> = chain.iter().map(|(kind, len)| match kinds[*kind] {
                FRAGMENT => vec![0; 7],
                _ => [&[*len][..], &vec![0; 6 + usize::from(*len) * 8]].concat(),
            }).collect();
            let extensions: Vec<(u8, &[u8])> =
                chain.iter().zip(&bodies).map(|((k, _), body)| (kinds[*k], &body[..])).collect();
            let bytes = extended(&extensions);
            let ours = Packet::parse(&bytes).unwrap();
            let theirs = etherparse::Ipv6Slice::from_slice(&bytes).unwrap();
            prop_assert_eq!(theirs.payload().ip_number.0, ours.header.protocol);
            prop_assert_eq!(theirs.payload().payload, ours.payload);
        }

        #[test]
        fn any_bytes_are_safe(
            mut bytes in prop::collection::vec(any::<u8>(), 0..160), shape: Option<[u8; 2]>
        ) {
            // Random bytes alone would hardly ever get to an extension header.
            if let (Some([kind, next]), true) = (shape, bytes.len() >= HEADER_LEN + 8) {
                let len = (bytes.len() - HEADER_LEN) as u8;
                let kinds = [HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS];
                bytes[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, len, kinds[kind as usize % 4], 9]);
                bytes[HEADER_LEN] = kinds[next as usize % 4];
                bytes[HEADER_LEN + 1] %= 4;
            }
            if let Ok(packet) = Packet::parse(&bytes) {
                prop_assert!(packet.bytes.len() >= HEADER_LEN + packet.payload.len());
            }
        }
    }
}
