//! What an ICMP error says of a TCP segment of ours, whatever the IP version: ICMPv6's "packet too
//! big", "destination unreachable", "time exceeded" and "parameter problem" (RFC 4443 3) give the
//! same values as ICMP's.

use super::{Checksums, Malformed, icmpv4, icmpv6, ipv4, ipv6};
use crate::addr::Flow;
use crate::seq::SeqNumber;

/// An error about one segment. Anybody can send it: whether it is believed depends on whether the
/// segment can have been sent (RFC 5927 4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpError {
    /// The connection that the quoted segment belongs to; `local` is where it came from.
    pub flow: Flow,
    /// Its sequence number.
    pub seq: SeqNumber,
    /// What became of it.
    pub kind: IcmpErrorKind,
}

impl IcmpError {
    /// Reads an L3 packet of either version, all its checksums verified.
    ///
    /// # Errors
    /// It is damaged, no error, cut off too early, or about something else than a TCP segment.
    pub fn parse(packet: &[u8]) -> Result<IcmpError, Malformed> {
        if packet.first().is_some_and(|first| first >> 4 == 6) {
            return icmpv6::parse_error(&ipv6::Packet::parse(packet)?);
        }
        icmpv4::parse_error(&ipv4::Packet::parse(packet, Checksums::Verify)?)
    }
}

/// What became of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IcmpErrorKind {
    /// It was longer than the next hop takes, and must not be fragmented.
    TooBig {
        /// What the next hop takes in bytes, IP header included; not 0.
        mtu: u16,
    },
    /// Nobody can take it there: protocol or port unreachable (RFC 1122 4.2.3.9), or nobody may, as
    /// a filter says.
    Hard,
    /// It did not get there this time.
    Soft,
}
