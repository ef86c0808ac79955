//! Packets for the targets: right checksums on whatever bytes, and headers from plain values.

use engine::addr::{Endpoint, Flow};
use engine::seq::SeqNumber;
use engine::wire::checksum::{self, finish_tcp};
use engine::wire::segment::{MAX_HEADER_LEN, SegmentHeader, ip_header_len};
use engine::wire::tcp::{Flags, Options};
use engine::wire::{ipv4, ipv6, udp};

/// One segment of a peer.
#[derive(Clone, Debug)]
pub struct Segment {
    pub from: Endpoint,
    pub to: Endpoint,
    pub seq: SeqNumber,
    pub ack: SeqNumber,
    pub flags: Flags,
    pub window: u16,
    pub options: Options,
    pub payload: Vec<u8>,
}

impl Segment {
    /// The L3 packet.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let header = SegmentHeader {
            flow: Flow { local: self.from, remote: self.to },
            seq: self.seq,
            ack: self.ack,
            flags: self.flags,
            window: self.window,
            options: self.options.clone(),
        };
        let mut bytes = vec![0; MAX_HEADER_LEN];
        let len = header.emit(self.payload.len() as u16, &mut bytes);
        bytes.truncate(len);
        finish_tcp(&mut bytes, ip_header_len(self.from.addr), &[&self.payload]);
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}

/// Does [`mend_ipv4`] or the same for IPv6, as the first bits have it.
pub fn mend(packet: &mut [u8]) {
    match packet.first() {
        Some(first) if first >> 4 == 6 => mend_ipv6(packet),
        _ => mend_ipv4(packet),
    }
}

/// Mends what follows the header, or the extension headers where they are acceptable.
pub fn mend_ipv6(packet: &mut [u8]) {
    let Some(len) = packet.len().checked_sub(ipv6::HEADER_LEN) else { return };
    let len = len.min(usize::from(u16::MAX)) as u16;
    packet[4..6].copy_from_slice(&len.to_be_bytes());
    let Ok(ip) = ipv6::Packet::parse(packet) else { return };
    let (protocol, len) = (ip.header.protocol, ip.payload.len() as u16);
    let start = ip.bytes.len() - ip.payload.len();
    let (header, body) = packet.split_at_mut(start);
    let at = match protocol {
        ipv6::PROTOCOL_TCP => 16,
        ipv6::PROTOCOL_UDP => 6,
        ipv6::PROTOCOL_ICMPV6 => 2,
        _ => return,
    };
    let body = &mut body[..len.into()];
    if body.len() < at + 2 {
        return;
    }
    if protocol == ipv6::PROTOCOL_UDP && body.len() >= udp::HEADER_LEN {
        body[4..6].copy_from_slice(&len.to_be_bytes());
    }
    body[at..at + 2].fill(0);
    let addresses = header[8..].first_chunk().expect("a header holds two addresses");
    let mut sum = checksum::pseudo_header_ipv6(addresses, protocol, len);
    sum.add(body);
    body[at..at + 2].copy_from_slice(&sum.checksum().to_be_bytes());
}

/// Makes the lengths and checksums of an IPv4 packet right as far as its other bytes permit, so
/// that a mutation is not lost at the first check.
pub fn mend_ipv4(packet: &mut [u8]) {
    if packet.len() < ipv4::HEADER_LEN {
        return;
    }
    packet[0] = 0x40 | packet[0].clamp(0x45, 0x4f) & 0x0f;
    let header_len = usize::from(packet[0] & 0x0f) * 4;
    if packet.len() < header_len {
        return;
    }
    let total = packet.len().min(usize::from(u16::MAX)) as u16;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    // No fragment: the bit that forbids them is left as it is.
    packet[6] &= 0x40;
    packet[7] = 0;
    packet[10..12].fill(0);
    let sum = checksum::checksum(&packet[..header_len]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    mend_transport(packet, header_len);
}

fn mend_transport(packet: &mut [u8], header_len: usize) {
    let (header, body) = packet.split_at_mut(header_len);
    let protocol = header[9];
    let at = match protocol {
        ipv4::PROTOCOL_TCP => 16,
        ipv4::PROTOCOL_UDP => 6,
        ipv4::PROTOCOL_ICMP => 2,
        _ => return,
    };
    if body.len() < at + 2 {
        return;
    }
    let mut len = body.len();
    if protocol == ipv4::PROTOCOL_UDP && len >= udp::HEADER_LEN {
        len = len.min(usize::from(u16::MAX));
        body[4..6].copy_from_slice(&(len as u16).to_be_bytes());
    }
    body[at..at + 2].fill(0);
    let mut sum = match protocol {
        ipv4::PROTOCOL_ICMP => checksum::Sum::new(),
        _ => {
            let addresses = header[12..].first_chunk().expect("a header holds two addresses");
            checksum::pseudo_header_ipv4(addresses, protocol, len as u16)
        }
    };
    sum.add(&body[..len]);
    body[at..at + 2].copy_from_slice(&sum.checksum().to_be_bytes());
}
