//! ICMP errors by the letter of RFC 792 and RFC 4443. One name stands for what both versions have.

use super::ip::{Family, IpFields, PROTOCOL_ICMP, PROTOCOL_ICMPV6, checksum};

/// Types and codes of an error, in ICMP and in ICMPv6, if there is one.
type Codes = (&'static str, Option<(u8, u8)>, Option<(u8, u8)>);

/// `source-route-failed` over IPv6: RFC 6550 20.18's "error in source routing header"; a protocol
/// that nobody speaks is an unknown next header there (RFC 5461 2.2).
const NAMES: [Codes; 12] = [
    ("net-unreachable", Some((3, 0)), Some((1, 0))),
    ("host-unreachable", Some((3, 1)), Some((1, 3))),
    ("protocol-unreachable", Some((3, 2)), Some((4, 1))),
    ("port-unreachable", Some((3, 3)), Some((1, 4))),
    ("frag-needed", Some((3, 4)), Some((2, 0))),
    ("packet-too-big", None, Some((2, 0))),
    ("source-route-failed", Some((3, 5)), Some((1, 7))),
    ("admin-prohibited", Some((3, 13)), Some((1, 1))),
    ("source-quench", Some((4, 0)), None),
    ("time-exceeded", Some((11, 0)), Some((3, 0))),
    ("reassembly-exceeded", Some((11, 1)), Some((3, 1))),
    ("parameter-problem", Some((12, 0)), Some((4, 0))),
];
/// The one with an MTU.
const PACKET_TOO_BIG: u8 = 2;

/// What an error says happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A place in the list of names.
    Named(usize),
    /// Type and code as they are.
    Numbers(u8, u8),
}

impl Kind {
    pub fn from_name(name: &str) -> Option<Kind> {
        NAMES.iter().position(|(known, _, _)| *known == name).map(Kind::Named)
    }

    /// Type and code.
    fn codes(self, family: Family) -> Result<(u8, u8), String> {
        match self {
            Kind::Numbers(kind, code) => Ok((kind, code)),
            Kind::Named(at) => {
                let (name, v4, v6) = NAMES[at];
                let codes = if family == Family::V4 { v4 } else { v6 };
                codes.ok_or_else(|| format!("{} has no {name}", family.name()))
            }
        }
    }
}

/// An error that quotes the first `quoted` bytes of `packet` behind its IP header.
pub fn encode(
    ip: &IpFields,
    kind: Kind,
    mtu: u32,
    packet: &[u8],
    quoted: usize,
) -> Result<Vec<u8>, String> {
    let family = ip.family();
    let (kind, code) = kind.codes(family)?;
    let len = packet.len().min(family.header_len() + quoted);
    let mut message = vec![kind, code, 0, 0];
    // RFC 1191 4 has the MTU in the lower half of the word, RFC 4443 3.2 has it take all of it.
    let word = if family == Family::V6 && kind != PACKET_TOO_BIG { 0 } else { mtu };
    message.extend(word.to_be_bytes());
    message.extend(&packet[..len]);
    let (protocol, sum) = match family {
        Family::V4 => (PROTOCOL_ICMP, checksum(&[&message])),
        Family::V6 => (PROTOCOL_ICMPV6, ip.checksum(PROTOCOL_ICMPV6, &message)),
    };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    Ok(ip.encode(protocol, &message))
}
