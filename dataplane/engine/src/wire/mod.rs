//! Wire formats: parse what the network says, emit what we say. Nothing here keeps state.
//!
//! All input is untrusted: parsing gives a value or a [`Malformed`], never a panic.

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod icmp_error;
pub mod icmpv4;
pub mod ipv4;
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
    #[error("IP version is not 4")]
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
    /// (RFC 1122 sections 3.2.1.3 and 4.2.3.10).
    #[error("address is not allowed")]
    Address,
    /// A TCP option's length is below 2 or reaches beyond the header (RFC 9293 MUST-7).
    #[error("TCP option has an impossible length")]
    Option,
}

impl Malformed {
    /// All of them, in the order of [`Malformed::index`].
    pub const ALL: [Malformed; 9] = [
        Malformed::Truncated,
        Malformed::Version,
        Malformed::HeaderLength,
        Malformed::TotalLength,
        Malformed::Fragment,
        Malformed::Protocol,
        Malformed::Checksum,
        Malformed::Address,
        Malformed::Option,
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
