//! A TCP segment as the engine sees it, and the way back onto the wire.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Checksums, Malformed, checksum, ipv4, ipv6, tcp};
use crate::addr::{Addr, Endpoint, Flow};
use crate::hash::{flow_hash, flow_label};
use crate::seq::SeqNumber;

/// Longest IP and TCP header that we emit.
pub const MAX_HEADER_LEN: usize = ipv6::HEADER_LEN + tcp::HEADER_LEN + tcp::MAX_OPTIONS_LEN;

/// Length of the IP header that we emit for a packet to or from `addr`: it tells the version.
#[inline]
pub fn ip_header_len(addr: Addr) -> usize {
    if addr.is_ipv4() { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN }
}

/// One TCP segment that came in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment<'a> {
    /// `local` is where the segment went to, `remote` where it came from.
    pub flow: Flow,
    /// [`flow_hash`] of `flow`.
    pub hash: u32,
    /// Sequence number (SEG.SEQ).
    pub seq: SeqNumber,
    /// Acknowledgment number (SEG.ACK); means something only with ACK.
    pub ack: SeqNumber,
    /// Control bits.
    pub flags: tcp::Flags,
    /// Window as it stands in the header, not scaled.
    pub window: u16,
    /// A router has marked its packet: congestion experienced (RFC 3168 section 5).
    pub congestion_experienced: bool,
    /// Urgent pointer, counted from `seq`; means something only with URG.
    pub urgent: u16,
    /// Options.
    pub options: tcp::Options,
    /// Data.
    pub payload: &'a [u8],
    /// The whole L3 packet without Ethernet padding: what gets logged.
    pub packet: &'a [u8],
    /// Where the shard has its connection, if that was looked up; a hint that may be outdated.
    pub(crate) place: u32,
}

/// Of a segment whose connection was not looked up, or is not there.
pub(crate) const NO_PLACE: u32 = u32::MAX;

impl<'a> Segment<'a> {
    /// Takes an L3 packet apart, of the version that its first bits name; bytes after its total
    /// length are ignored.
    #[inline]
    pub fn parse(packet: &'a [u8], checks: Checksums) -> Result<Segment<'a>, Malformed> {
        if packet.first().is_some_and(|first| first >> 4 == 6) {
            let ip = ipv6::Packet::parse(packet)?;
            if ip.header.protocol != ipv6::PROTOCOL_TCP {
                return Err(Malformed::Protocol);
            }
            return Segment::parse_ipv6(&ip, checks);
        }
        let ip = ipv4::Packet::parse(packet, checks)?;
        if ip.header.protocol != ipv4::PROTOCOL_TCP {
            return Err(Malformed::Protocol);
        }
        Segment::parse_ipv4(&ip, checks)
    }

    /// Takes the payload of a parsed IPv4 packet apart; the caller saw that its protocol is TCP.
    #[inline]
    pub fn parse_ipv4(ip: &ipv4::Packet<'a>, checks: Checksums) -> Result<Segment<'a>, Malformed> {
        if !is_host_ipv4(ip.header.source) || !is_host_ipv4(ip.header.destination) {
            return Err(Malformed::Address);
        }
        let len = ip.payload.len() as u16;
        let pseudo = || checksum::pseudo_header_ipv4(ip.addresses(), ipv4::PROTOCOL_TCP, len);
        let addresses = (ip.header.source.into(), ip.header.destination.into());
        let marked = ip.congestion_experienced();
        Segment::parse_tcp(addresses, ip.payload, ip.bytes, checks, marked, pseudo)
    }

    /// Takes the payload of a parsed IPv6 packet apart; the caller saw that it is TCP.
    pub fn parse_ipv6(ip: &ipv6::Packet<'a>, checks: Checksums) -> Result<Segment<'a>, Malformed> {
        if !is_host_ipv6(ip.header.source) || !is_host_ipv6(ip.header.destination) {
            return Err(Malformed::Address);
        }
        let len = ip.payload.len() as u16;
        let pseudo = || checksum::pseudo_header_ipv6(ip.addresses(), ipv6::PROTOCOL_TCP, len);
        let addresses = (ip.header.source.into(), ip.header.destination.into());
        let marked = ip.congestion_experienced();
        Segment::parse_tcp(addresses, ip.payload, ip.bytes, checks, marked, pseudo)
    }

    /// What both versions have in common: `addresses` are source and destination, `bytes` a TCP
    /// header and its data, `packet` all of it.
    #[inline]
    fn parse_tcp(
        (source, destination): (Addr, Addr),
        bytes: &'a [u8],
        packet: &'a [u8],
        checks: Checksums,
        congestion_experienced: bool,
        pseudo_header: impl FnOnce() -> checksum::Sum,
    ) -> Result<Segment<'a>, Malformed> {
        let (header, payload) = tcp::Header::parse(bytes)?;
        if checks == Checksums::Verify {
            let mut sum = pseudo_header();
            sum.add(bytes);
            if sum.checksum() != 0 {
                return Err(Malformed::Checksum);
            }
        }
        let flow = Flow {
            local: Endpoint::new(destination, header.destination_port),
            remote: Endpoint::new(source, header.source_port),
        };
        Ok(Segment {
            flow,
            hash: flow_hash(&flow),
            seq: header.seq,
            ack: header.ack,
            flags: header.flags,
            window: header.window,
            congestion_experienced,
            urgent: header.urgent,
            options: header.options,
            payload,
            packet,
            place: NO_PLACE,
        })
    }

    /// Whether no connection was found for it, as [`Shard::look_up`] left it.
    ///
    /// [`Shard::look_up`]: crate::shard::Shard::look_up
    #[inline]
    pub fn is_stranger(&self) -> bool {
        self.place == NO_PLACE
    }

    /// The sequence space that it takes (SEG.LEN): data, SYN and FIN.
    #[inline]
    pub fn len_seq(&self) -> u32 {
        self.payload.len() as u32 + u32::from(self.flags.syn()) + u32::from(self.flags.fin())
    }
}

/// An address that one host can have: not "this network", broadcast or multicast.
#[inline]
fn is_host_ipv4(addr: Ipv4Addr) -> bool {
    addr.octets()[0] != 0 && !addr.is_broadcast() && !addr.is_multicast()
}

/// The same for IPv6. An IPv4-mapped address is none that may be seen on a wire: here it would pass
/// for the IPv4 address in it.
#[inline]
fn is_host_ipv6(addr: Ipv6Addr) -> bool {
    !addr.is_multicast() && !addr.is_unspecified() && addr.to_ipv4_mapped().is_none()
}

/// What the headers of a segment to send say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentHeader {
    /// From `local` to `remote`.
    pub flow: Flow,
    /// Sequence number.
    pub seq: SeqNumber,
    /// Acknowledgment number; put 0 without ACK.
    pub ack: SeqNumber,
    /// Control bits.
    pub flags: tcp::Flags,
    /// Window as it stands in the header, already scaled.
    pub window: u16,
    /// Options.
    pub options: tcp::Options,
}

impl SegmentHeader {
    /// Writes IP and TCP header for `payload_len` bytes of data, with zeros in the checksum fields.
    /// Returns the length of both together; the IP header takes the first [`ip_header_len`] of it.
    ///
    /// # Panics
    /// If the flow's addresses are not of one version, or `out` is shorter than the headers.
    #[inline]
    pub fn emit(&self, payload_len: u16, out: &mut [u8]) -> usize {
        let (Some(source), Some(destination)) =
            (self.flow.local.addr.as_ipv4(), self.flow.remote.addr.as_ipv4())
        else {
            return self.emit_ipv6(payload_len, out);
        };
        let tcp_len = self.tcp().emit(&mut out[ipv4::HEADER_LEN..]);
        let (protocol, ttl) = (ipv4::PROTOCOL_TCP, ipv4::DEFAULT_TTL);
        let ip = ipv4::Header { source, destination, protocol, ttl };
        out[..ipv4::HEADER_LEN]
            .copy_from_slice(&ip.to_bytes_without_checksum(tcp_len as u16 + payload_len));
        ipv4::HEADER_LEN + tcp_len
    }

    fn emit_ipv6(&self, payload_len: u16, out: &mut [u8]) -> usize {
        let (local, remote) = (self.flow.local.addr, self.flow.remote.addr);
        assert!(!local.is_ipv4() && !remote.is_ipv4(), "both ends of a flow are of one version");
        let tcp_len = self.tcp().emit(&mut out[ipv6::HEADER_LEN..]);
        let ip = ipv6::Header {
            source: local.octets().into(),
            destination: remote.octets().into(),
            protocol: ipv6::PROTOCOL_TCP,
            hop_limit: ipv6::DEFAULT_HOP_LIMIT,
            traffic_class: 0,
            flow_label: flow_label(&self.flow),
        };
        out[..ipv6::HEADER_LEN].copy_from_slice(&ip.to_bytes(tcp_len as u16 + payload_len));
        ipv6::HEADER_LEN + tcp_len
    }

    #[inline]
    fn tcp(&self) -> tcp::Header {
        tcp::Header {
            source_port: self.flow.local.port,
            destination_port: self.flow.remote.port,
            seq: self.seq,
            ack: self.ack,
            flags: self.flags,
            window: self.window,
            urgent: 0,
            options: self.options.clone(),
        }
    }
}

/// Declares an emitted packet to be of an ECN-capable transport, so that routers may mark it
/// instead of dropping it: ECT(0) of RFC 3168 section 5. Before an IPv4 header's checksum is filled
/// in.
#[inline]
pub fn allow_marks(header: &mut [u8]) {
    if header[0] >> 4 == 6 {
        header[ipv6::ECN_AT] |= ipv6::ECT_0;
    } else {
        header[ipv4::TOS_AT] |= ipv4::ECT_0;
    }
}

/// Puts time to live and Differentiated Services codepoint (0 to 63) into an emitted packet of
/// either IP version, before the IP header's checksum is filled in. The ECN bits stay as they are.
#[inline]
pub fn set_ttl_and_dscp(header: &mut [u8], ttl: u8, dscp: u8) {
    if header[0] >> 4 == 4 {
        header[ipv4::TTL_AT] = ttl;
        header[1] |= dscp << 2;
    } else {
        // RFC 8200 3: the traffic class lies across the first two bytes.
        header[ipv6::HOP_LIMIT_AT] = ttl;
        header[0] |= dscp >> 2;
        header[1] |= dscp << 6;
    }
}

/// Length of what [`reset_for`] writes at most.
pub const RESET_LEN: usize = ipv6::HEADER_LEN + tcp::HEADER_LEN;

/// Writes the reset that answers a segment for which there is no connection, as an L3 packet with
/// checksums, and returns its length; 0 for a segment that must not be answered: a reset itself
/// (RFC 9293 section 3.10.7.1).
///
/// # Panics
/// If `out` is shorter than [`RESET_LEN`].
pub fn reset_for(segment: &Segment<'_>, out: &mut [u8]) -> usize {
    if segment.flags.rst() {
        return 0;
    }
    let (seq, ack, flags) = if segment.flags.ack() {
        (segment.ack, SeqNumber(0), tcp::Flags::RST)
    } else {
        let ack = segment.seq + segment.len_seq();
        (SeqNumber(0), ack, tcp::Flags::RST | tcp::Flags::ACK)
    };
    let options = tcp::Options::default();
    let header = SegmentHeader { flow: segment.flow, seq, ack, flags, window: 0, options };
    let len = header.emit(0, out);
    checksum::finish_tcp(&mut out[..len], ip_header_len(segment.flow.local.addr), &[]);
    len
}

#[cfg(test)]
mod tests;
