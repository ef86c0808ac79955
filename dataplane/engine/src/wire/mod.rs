//! Wire formats: parse what the network says, emit what we say. Nothing here keeps state.
//!
//! All input is untrusted: parsing gives a value or a [`Malformed`], never a panic.

pub mod arp;
pub mod checksum;
pub mod edit;
pub mod ethernet;
pub mod icmp_error;
pub mod icmpv4;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod mld;
pub mod ndp;
pub mod segment;
pub mod tcp;
pub mod udp;

use thiserror::Error;

/// Whether checksums still have to be checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksums {
    /// Check them.
    Verify,
    /// The NIC has checked them, or a node that logged the packet has.
    Trusted,
}

/// Why a packet was not understood.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Error)]
#[repr(u8)]
pub enum Malformed {
    /// It ends within a header, or before the length that a header promises.
    #[error("packet is truncated")]
    Truncated,
    /// The version field is not the expected one.
    #[error("IP version is not the expected one")]
    Version,
    /// A header length below the minimum or beyond the packet.
    #[error("header length is impossible")]
    HeaderLength,
    /// A total length that contradicts the header length.
    #[error("total length is impossible")]
    TotalLength,
    /// A fragment; this stack does not reassemble.
    #[error("packet is a fragment")]
    Fragment,
    /// Not the protocol that was asked for.
    #[error("protocol is not the expected one")]
    Protocol,
    /// A checksum does not match.
    #[error("checksum is wrong")]
    Checksum,
    /// An address that no packet may come from or that no TCP packet may go to
    /// (RFC 1122 sections 3.2.1.3 and 4.2.3.10, RFC 4291 sections 2.5.2 and 2.7).
    #[error("address is not allowed")]
    Address,
    /// A TCP option's length is below 2 or reaches beyond the header (RFC 9293 MUST-7); one of
    /// neighbour discovery has no length or reaches beyond the message (RFC 4861 section 4.6).
    #[error("option has an impossible length")]
    Option,
    /// An IPv6 routing header that wants the packet sent on (RFC 5095 section 3).
    #[error("routing header has segments left")]
    RoutingHeader,
    /// IPv6 extension headers out of order, too many, or with an option that must not be skipped
    /// (RFC 8200 sections 4.1 and 4.2).
    #[error("IPv6 extension header is not acceptable")]
    ExtensionHeader,
    /// A hop limit that shows that a packet which must not leave its link came from another
    /// (RFC 4861 section 7.1).
    #[error("hop limit is not that of a neighbour")]
    HopLimit,
}

impl Malformed {
    /// All of them, in the order of [`Malformed::index`].
    pub const ALL: [Malformed; 12] = [
        Malformed::Truncated,
        Malformed::Version,
        Malformed::HeaderLength,
        Malformed::TotalLength,
        Malformed::Fragment,
        Malformed::Protocol,
        Malformed::Checksum,
        Malformed::Address,
        Malformed::Option,
        Malformed::RoutingHeader,
        Malformed::ExtensionHeader,
        Malformed::HopLimit,
    ];

    /// A stable index, for an array of counters of `ALL.len()`.
    #[inline]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// A name for a counter, in snake case.
    pub const fn name(self) -> &'static str {
        match self {
            Malformed::Truncated => "truncated",
            Malformed::Version => "version",
            Malformed::HeaderLength => "header_length",
            Malformed::TotalLength => "total_length",
            Malformed::Fragment => "fragment",
            Malformed::Protocol => "protocol",
            Malformed::Checksum => "checksum",
            Malformed::Address => "address",
            Malformed::Option => "option",
            Malformed::RoutingHeader => "routing_header",
            Malformed::ExtensionHeader => "extension_header",
            Malformed::HopLimit => "hop_limit",
        }
    }
}

/// The first `N` bytes of `bytes` and what follows them.
#[inline]
fn split<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8]), Malformed> {
    bytes.split_first_chunk().ok_or(Malformed::Truncated)
}

#[inline]
fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[inline]
fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_follow_the_list() {
        for (index, kind) in Malformed::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), index);
        }
    }
}
