//! IPv4 headers (RFC 791). Fragments are refused: every peer that does path MTU discovery avoids
//! them.

use std::net::Ipv4Addr;

use super::{Checksums, Malformed, be16, checksum, split};

/// Length of a header without options, the only kind that we emit.
pub const HEADER_LEN: usize = 20;
/// Protocol number of ICMP.
pub const PROTOCOL_ICMP: u8 = 1;
/// Protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// Protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// Time to live of what we emit.
pub const DEFAULT_TTL: u8 = 64;

/// Offset of the type of service, whose last two bits are ECN's (RFC 3168 section 5).
pub(super) const TOS_AT: usize = 1;
const ECN_BITS: u8 = 0b11;
/// ECT(0) there: "this transport reacts to marks".
pub(super) const ECT_0: u8 = 0b10;
/// Offset of the time to live.
pub(super) const TTL_AT: usize = 8;
/// Offset of the header checksum.
pub(super) const CHECKSUM_AT: usize = 10;
/// Offset of the source address, which the destination follows.
pub(super) const SOURCE_AT: usize = 12;

const FLAG_DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS_OR_OFFSET: u16 = 0x3fff;

/// The fields of a header that anybody here cares about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// What the packet carries.
    pub protocol: u8,
    /// Time to live in hops.
    pub ttl: u8,
}

/// A packet taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// Its header's fields.
    pub header: Header,
    /// The whole packet without the padding that Ethernet adds.
    pub bytes: &'a [u8],
    /// What follows the header and its options.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Takes `bytes` apart. Options are skipped; bytes beyond the total length are cut off.
    #[inline]
    pub fn parse(bytes: &'a [u8], checks: Checksums) -> Result<Packet<'a>, Malformed> {
        let (fixed, _) = split::<HEADER_LEN>(bytes)?;
        if fixed[0] >> 4 != 4 {
            return Err(Malformed::Version);
        }
        let header_len = usize::from(fixed[0] & 0x0f) * 4;
        let total_len = usize::from(be16(fixed, 2));
        if header_len < HEADER_LEN {
            return Err(Malformed::HeaderLength);
        }
        if total_len < header_len {
            return Err(Malformed::TotalLength);
        }
        let bytes = bytes.get(..total_len).ok_or(Malformed::Truncated)?;
        let (header, payload) = bytes.split_at(header_len);
        if be16(fixed, 6) & MORE_FRAGMENTS_OR_OFFSET != 0 {
            return Err(Malformed::Fragment);
        }
        if checks == Checksums::Verify && checksum::checksum(header) != 0 {
            return Err(Malformed::Checksum);
        }
        let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *fixed;
        let header = Header {
            source: Ipv4Addr::new(s0, s1, s2, s3),
            destination: Ipv4Addr::new(d0, d1, d2, d3),
            protocol: fixed[9],
            ttl: fixed[8],
        };
        Ok(Packet { header, bytes, payload })
    }

    /// Whether a router that was about to have to drop has marked it (CE of RFC 3168 section 5).
    #[inline]
    pub fn congestion_experienced(&self) -> bool {
        self.bytes[TOS_AT] & ECN_BITS == ECN_BITS
    }

    /// Source and destination as they stand in the header, for a pseudo-header.
    #[inline]
    pub(super) fn addresses(&self) -> &'a [u8; 8] {
        self.bytes[SOURCE_AT..].first_chunk().expect("parse saw a whole header")
    }
}

impl Header {
    /// The header of a packet with `payload_len` bytes behind it; the checksum field is zero.
    ///
    /// "Don't fragment" is set, which makes it an atomic datagram: its identification field may
    /// have any value (RFC 6864 section 4.1), so it is 0.
    #[inline]
    pub fn to_bytes_without_checksum(&self, payload_len: u16) -> [u8; HEADER_LEN] {
        debug_assert!(usize::from(payload_len) + HEADER_LEN <= usize::from(u16::MAX));
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = 4 << 4 | (HEADER_LEN / 4) as u8;
        bytes[2..4].copy_from_slice(&(HEADER_LEN as u16 + payload_len).to_be_bytes());
        bytes[6..8].copy_from_slice(&FLAG_DONT_FRAGMENT.to_be_bytes());
        bytes[8] = self.ttl;
        bytes[9] = self.protocol;
        bytes[12..16].copy_from_slice(&self.source.octets());
        bytes[16..20].copy_from_slice(&self.destination.octets());
        bytes
    }

    /// The header of a packet with `payload_len` bytes behind it.
    #[inline]
    pub fn to_bytes(&self, payload_len: u16) -> [u8; HEADER_LEN] {
        let mut bytes = self.to_bytes_without_checksum(payload_len);
        checksum::finish_ipv4(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Vec<u8> {
        let header = Header {
            source: Ipv4Addr::new(192, 0, 2, 1),
            destination: Ipv4Addr::new(192, 0, 2, 2),
            protocol: PROTOCOL_UDP,
            ttl: 9,
        };
        [&header.to_bytes(3)[..], b"abc"].concat()
    }

    fn parse(bytes: &[u8]) -> Result<Packet<'_>, Malformed> {
        Packet::parse(bytes, Checksums::Trusted)
    }

    #[test]
    fn padding_is_cut_off() {
        let padded = [sample(), vec![0; 30]].concat();
        let packet = Packet::parse(&padded, Checksums::Verify).unwrap();
        assert_eq!((packet.payload, packet.bytes), (&b"abc"[..], &sample()[..]));
    }

    #[test]
    fn options_are_skipped() {
        let mut bytes = sample();
        bytes[0] = 0x46;
        bytes[3] += 4;
        bytes.splice(20..20, [1, 1, 1, 0]);
        assert_eq!(parse(&bytes).unwrap().payload, b"abc");
    }

    #[test]
    fn each_broken_field_has_its_name() {
        for (at, value, expected) in [
            (0, 0x65, Malformed::Version),
            (0, 0x44, Malformed::HeaderLength),
            (3, 19, Malformed::TotalLength),
            (3, 24, Malformed::Truncated),
            (6, 0x20, Malformed::Fragment),
            (7, 0x01, Malformed::Fragment),
        ] {
            let mut bytes = sample();
            bytes[at] = value;
            assert_eq!(parse(&bytes), Err(expected), "byte {at} = {value:#x}");
        }
        let mut bytes = sample();
        bytes[8] ^= 1;
        assert_eq!(Packet::parse(&bytes, Checksums::Verify), Err(Malformed::Checksum));
        assert!(parse(&bytes).is_ok());
    }

    proptest! {
        #[test]
        fn emit_agrees_with_etherparse(
            s: [u8; 4], d: [u8; 4], protocol: u8, ttl: u8, payload_len in 0u16..1480
        ) {
            let header = Header { source: s.into(), destination: d.into(), protocol, ttl };
            let bytes = header.to_bytes(payload_len);
            let (oracle, _) = etherparse::Ipv4Header::from_slice(&bytes).unwrap();
            prop_assert_eq!(oracle.calc_header_checksum(), oracle.header_checksum);
            prop_assert_eq!((oracle.source, oracle.destination), (s, d));
            prop_assert_eq!((oracle.protocol.0, oracle.time_to_live), (protocol, ttl));
            prop_assert_eq!(oracle.payload_len().unwrap(), payload_len);
            prop_assert!(oracle.dont_fragment && !oracle.more_fragments);
        }

        #[test]
        fn any_bytes_are_safe(mut bytes in prop::collection::vec(any::<u8>(), 0..100), fix: bool) {
            if let (true, Some(first)) = (fix, bytes.first_mut()) {
                *first = 0x45;
            }
            if let Ok(packet) = parse(&bytes) {
                prop_assert!(packet.bytes.len() >= HEADER_LEN + packet.payload.len());
            }
        }
    }
}
