//! Ethernet II frames (RFC 894).

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::{Malformed, be16, split};

/// Length of the header: two addresses and the type.
pub const HEADER_LEN: usize = 14;
/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// A MAC address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Mac = Mac([0xff; 6]);

    /// The group that frames for an IPv6 multicast address go to (RFC 2464 section 7).
    #[must_use]
    pub const fn of_group(group: Ipv6Addr) -> Mac {
        let [.., a, b, c, d] = group.octets();
        Mac([0x33, 0x33, a, b, c, d])
    }

    /// Addresses one station: neither multicast nor broadcast.
    #[inline]
    pub const fn is_unicast(self) -> bool {
        self.0[0] & 1 == 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no MAC address.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("\"{0}\" is not a MAC address: write six bytes in hex, like 02:48:46:00:00:64")]
pub struct NotAMac(String);

impl FromStr for Mac {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Mac, NotAMac> {
        let mut mac = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut mac {
            *byte = parts
                .next()
                .filter(|part| part.len() == 2 && part.bytes().all(|c| c.is_ascii_hexdigit()))
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or_else(|| NotAMac(text.to_owned()))?;
        }
        if parts.next().is_some() {
            return Err(NotAMac(text.to_owned()));
        }
        Ok(Mac(mac))
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Mac, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The header of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Where it goes.
    pub destination: Mac,
    /// Where it comes from.
    pub source: Mac,
    /// What it carries. A VLAN tag is left alone: it shows up as type 0x8100.
    pub ethertype: u16,
}

impl Header {
    /// The header and what follows it, padding included.
    #[inline]
    pub fn parse(frame: &[u8]) -> Result<(Header, &[u8]), Malformed> {
        let (header, payload) = split::<HEADER_LEN>(frame)?;
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, ..] = *header;
        let header = Header {
            destination: Mac([d0, d1, d2, d3, d4, d5]),
            source: Mac([s0, s1, s2, s3, s4, s5]),
            ethertype: be16(header, 12),
        };
        Ok((header, payload))
    }

    /// The header as it goes onto the wire.
    #[inline]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..6].copy_from_slice(&self.destination.0);
        bytes[6..12].copy_from_slice(&self.source.0);
        bytes[12..].copy_from_slice(&self.ethertype.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mac_keeps_its_text_form_and_refuses_others() {
        let mac: Mac = "02:48:46:00:00:64".parse().unwrap();
        assert_eq!(mac.to_string(), "02:48:46:00:00:64");
        assert!(mac.is_unicast() && !Mac::BROADCAST.is_unicast());
        for text in ["", "02:48:46:00:00", "02:48:46:00:00:64:00", "02:48:46:00:00:+4", "2:4"] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn groups_of_ipv6_have_a_mac() {
        let all_nodes = Mac::of_group("ff02::1".parse().unwrap());
        assert_eq!(all_nodes.to_string(), "33:33:00:00:00:01");
        assert!(!all_nodes.is_unicast());
    }

    proptest! {
        #[test]
        fn emit_and_parse_agree_with_etherparse(d: [u8; 6], s: [u8; 6], ethertype: u16) {
            let header = Header { destination: Mac(d), source: Mac(s), ethertype };
            let oracle = etherparse::Ethernet2Header {
                source: s,
                destination: d,
                ether_type: etherparse::EtherType(ethertype),
            };
            let bytes = header.to_bytes();
            prop_assert_eq!(bytes, oracle.to_bytes());
            prop_assert_eq!(Header::parse(&bytes), Ok((header, &[][..])));
        }

        #[test]
        fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(Header::parse(&bytes).is_ok(), bytes.len() >= HEADER_LEN);
        }
    }
}
