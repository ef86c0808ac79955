//! What a received frame is: decided once, from its bytes and this node's addresses alone.
//! Whatever is malformed or not ours ends here and never reaches a log.

use std::net::Ipv4Addr;
use std::ops::Range;

use arrayvec::ArrayVec;
use engine::wire::ethernet::{self, Mac};
use engine::wire::segment::Segment;
use engine::wire::{Checksums, Malformed, arp, icmpv4, ipv4, udp};
use replication::Path;

use crate::config::PortConfig;
use crate::counters::Counters;
use crate::nic::RxChecksum;

/// Service addresses of a node at most.
pub const MAX_VIPS: usize = 16;
/// EtherTypes of IEEE 802.1Q and 802.1ad tags.
const ETHERTYPE_VLAN: [u16; 2] = [0x8100, 0x88a8];

/// What this node answers to on one port.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    pub path: Path,
    pub mac: Mac,
    pub vmac: Mac,
    pub net: PortConfig,
    /// Empty on the link.
    pub vips: ArrayVec<Ipv4Addr, MAX_VIPS>,
    pub control_port: u16,
}

/// What a frame is. Ranges are within the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Drop(Drop),
    Arp(arp::Packet),
    /// ICMP for one of our addresses; `service` when for a service address.
    Icmp {
        service: bool,
    },
    /// An ICMP error for a service address, which may be about a segment of ours.
    IcmpError {
        packet: Range<usize>,
    },
    /// A datagram for the control plane.
    Control {
        source: Ipv4Addr,
        payload: Range<usize>,
    },
    /// A datagram for a session channel.
    Session {
        channel: u16,
        payload: Range<usize>,
    },
    /// A TCP segment for a service address.
    Segment {
        hash: u32,
        port: u16,
        packet: Range<usize>,
    },
}

/// Why a frame goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drop {
    NotForUs,
    Malformed,
    Vlan,
    Fragment,
    Checksum,
    EtherType,
    Protocol,
    UdpPort,
    Martian,
}

impl Drop {
    pub fn count(self, counters: &mut Counters) {
        let counter = match self {
            Drop::NotForUs => &mut counters.drop_not_for_us,
            Drop::Malformed => &mut counters.drop_malformed,
            Drop::Vlan => &mut counters.drop_vlan,
            Drop::Fragment => &mut counters.drop_fragment,
            Drop::Checksum => &mut counters.drop_checksum,
            Drop::EtherType => &mut counters.drop_ethertype,
            Drop::Protocol => &mut counters.drop_protocol,
            Drop::UdpPort => &mut counters.drop_udp_port,
            Drop::Martian => &mut counters.drop_martian,
        };
        *counter += 1;
    }
}

impl From<Malformed> for Drop {
    fn from(malformed: Malformed) -> Drop {
        match malformed {
            Malformed::Fragment => Drop::Fragment,
            Malformed::Checksum => Drop::Checksum,
            Malformed::Protocol => Drop::Protocol,
            Malformed::Address => Drop::Martian,
            _ => Drop::Malformed,
        }
    }
}

/// Classifies one frame. `checksum` is what the card found out about it.
pub(crate) fn classify(frame: &[u8], checksum: RxChecksum, local: &Local) -> Class {
    parse(frame, checksum, local).unwrap_or_else(Class::Drop)
}

fn parse(frame: &[u8], checksum: RxChecksum, local: &Local) -> Result<Class, Drop> {
    let (header, packet) = ethernet::Header::parse(frame)?;
    let to_us = header.destination == local.mac
        || header.destination == local.vmac && !local.vips.is_empty();
    match header.ethertype {
        ethernet::ETHERTYPE_IPV4 if to_us => parse_ipv4(packet, checksum, local),
        ethernet::ETHERTYPE_ARP if to_us || header.destination == Mac::BROADCAST => {
            let packet = arp::Packet::parse(packet)?;
            // RFC 826 names the sender twice; who lies in one place is not believed in the other.
            let honest = packet.sender_mac == header.source && header.source.is_unicast();
            if honest { Ok(Class::Arp(packet)) } else { Err(Drop::Malformed) }
        }
        tag if ETHERTYPE_VLAN.contains(&tag) => Err(Drop::Vlan),
        ethernet::ETHERTYPE_IPV4 | ethernet::ETHERTYPE_ARP => Err(Drop::NotForUs),
        _ => Err(Drop::EtherType),
    }
}

fn parse_ipv4(packet: &[u8], checksum: RxChecksum, local: &Local) -> Result<Class, Drop> {
    let checks = match checksum {
        RxChecksum::Good => Checksums::Trusted,
        RxChecksum::Bad => return Err(Drop::Checksum),
        RxChecksum::Unknown => Checksums::Verify,
    };
    let ip = ipv4::Packet::parse(packet, checks)?;
    let (source, destination) = (ip.header.source, ip.header.destination);
    let service = local.vips.contains(&destination);
    if !service && destination != local.net.address {
        return Err(Drop::NotForUs);
    }
    if is_martian(source, local) {
        return Err(Drop::Martian);
    }
    match ip.header.protocol {
        ipv4::PROTOCOL_TCP if service => {
            let segment = Segment::parse_ipv4(&ip, checks)?;
            let packet = ethernet::HEADER_LEN..ethernet::HEADER_LEN + ip.bytes.len();
            let (hash, port) = (segment.hash, segment.flow.local.port);
            Ok(Class::Segment { hash, port, packet })
        }
        // ICMPv6 errors (RFC 4443 3) end in the same class.
        ipv4::PROTOCOL_ICMP if service && icmpv4::is_error(ip.payload) => {
            let packet = ethernet::HEADER_LEN..ethernet::HEADER_LEN + ip.bytes.len();
            Ok(Class::IcmpError { packet })
        }
        ipv4::PROTOCOL_ICMP => Ok(Class::Icmp { service }),
        ipv4::PROTOCOL_UDP if !service => parse_udp(&ip, checks, local),
        _ => Err(Drop::Protocol),
    }
}

fn parse_udp(ip: &ipv4::Packet<'_>, checks: Checksums, local: &Local) -> Result<Class, Drop> {
    let datagram = udp::Datagram::parse(ip, checks)?;
    let header_len = ip.bytes.len() - ip.payload.len() + udp::HEADER_LEN;
    let start = ethernet::HEADER_LEN + header_len;
    let payload = start..start + datagram.payload.len();
    let source = ip.header.source;
    match datagram.destination_port.checked_sub(local.control_port) {
        Some(0) => Ok(Class::Control { source, payload }),
        Some(channel) if local.path == Path::Link && source == local.net.peer => {
            Ok(Class::Session { channel: channel - 1, payload })
        }
        _ => Err(Drop::UdpPort),
    }
}

/// RFC 1122 3.2.1.3: no packet may come from such an address.
fn is_martian(source: Ipv4Addr, local: &Local) -> bool {
    source.octets()[0] == 0
        || source.is_loopback()
        || source.is_multicast()
        || source.is_broadcast()
        || source == local.net.address
        || local.vips.contains(&source)
}

#[cfg(test)]
mod tests {
    use engine::addr::{Endpoint, Flow};
    use engine::seq::SeqNumber;
    use engine::wire::segment::SegmentHeader;
    use engine::wire::{checksum, tcp};
    use proptest::prelude::*;

    use super::*;

    const NODE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
    const PEER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
    const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
    const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 9);
    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const VMAC: Mac = Mac([2, 0, 0, 0, 0, 0x64]);
    const CLIENT_MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn local(path: Path) -> Local {
        let net = PortConfig { address: NODE, prefix_len: 24, gateway: None, peer: PEER };
        let vips = if path == Path::Lan { [VIP].into_iter().collect() } else { ArrayVec::new() };
        Local { path, mac: MAC, vmac: VMAC, net, vips, control_port: 7400 }
    }

    fn frame(destination: Mac, ethertype: u16, packet: &[u8]) -> Vec<u8> {
        let header = ethernet::Header { destination, source: CLIENT_MAC, ethertype };
        [&header.to_bytes()[..], packet].concat()
    }

    fn segment(source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
        let flow =
            Flow { local: Endpoint::new(source, 40_000), remote: Endpoint::new(destination, 7) };
        let header = SegmentHeader {
            flow,
            seq: SeqNumber(1),
            ack: SeqNumber(0),
            flags: tcp::Flags::SYN,
            window: 1000,
            options: tcp::Options::default(),
        };
        let mut packet = vec![0; 60];
        let len = header.emit(0, &mut packet);
        packet.truncate(len);
        checksum::finish_tcp(&mut packet, ipv4::HEADER_LEN, &[]);
        packet
    }

    fn datagram(source: Ipv4Addr, port: u16) -> Vec<u8> {
        let ip = ipv4::Header {
            source,
            destination: NODE,
            protocol: ipv4::PROTOCOL_UDP,
            ttl: ipv4::DEFAULT_TTL,
        };
        let mut packet = vec![0; 28];
        udp::emit(&ip, (7400, port), &[b"hello"], &mut packet);
        packet.extend_from_slice(b"hello");
        packet
    }

    fn of(bytes: &[u8]) -> Class {
        classify(bytes, RxChecksum::Unknown, &local(Path::Lan))
    }

    #[test]
    fn segment_for_the_service_is_found_without_the_padding() {
        let packet = segment(CLIENT, VIP);
        let mut bytes = frame(VMAC, ethernet::ETHERTYPE_IPV4, &packet);
        bytes.resize(60, 0xee);
        let Class::Segment { port, packet: range, .. } = of(&bytes) else {
            panic!("{:?}", of(&bytes));
        };
        assert_eq!((port, &bytes[range]), (7, &packet[..]));
    }

    #[test]
    fn what_is_not_ours_is_dropped_for_its_own_reason() {
        let ipv4 = ethernet::ETHERTYPE_IPV4;
        let good = segment(CLIENT, VIP);
        let mut corrupted = good.clone();
        corrupted[25] ^= 1;
        let mut fragment = good.clone();
        fragment[6..8].copy_from_slice(&0x2000_u16.to_be_bytes());
        for (bytes, reason) in [
            (frame(Mac([2, 0, 0, 0, 0, 5]), ipv4, &good), Drop::NotForUs),
            (frame(Mac::BROADCAST, ipv4, &good), Drop::NotForUs),
            (frame(VMAC, ipv4, &segment(CLIENT, PEER)), Drop::NotForUs),
            (frame(VMAC, ipv4, &segment(CLIENT, NODE)), Drop::Protocol),
            (frame(VMAC, ipv4, &segment(VIP, VIP)), Drop::Martian),
            (frame(VMAC, ipv4, &segment(Ipv4Addr::BROADCAST, VIP)), Drop::Martian),
            (frame(VMAC, ipv4, &corrupted), Drop::Checksum),
            (frame(VMAC, ipv4, &fragment), Drop::Fragment),
            (frame(VMAC, ipv4, &good[..30]), Drop::Malformed),
            (frame(VMAC, 0x8100, &good), Drop::Vlan),
            (frame(VMAC, 0x86dd, &good), Drop::EtherType),
            (frame(MAC, ipv4, &datagram(CLIENT, 9)), Drop::UdpPort),
            (vec![0; 13], Drop::Malformed),
        ] {
            assert_eq!(of(&bytes), Class::Drop(reason), "{bytes:02x?}");
        }
    }

    #[test]
    fn card_decides_about_checksums_when_it_looked() {
        let mut packet = segment(CLIENT, VIP);
        packet[25] ^= 1;
        let bytes = frame(VMAC, ethernet::ETHERTYPE_IPV4, &packet);
        let trusted = classify(&bytes, RxChecksum::Good, &local(Path::Lan));
        assert!(matches!(trusted, Class::Segment { .. }));
        let refused = classify(&bytes, RxChecksum::Bad, &local(Path::Lan));
        assert_eq!(refused, Class::Drop(Drop::Checksum));
    }

    #[test]
    fn sessions_are_heard_on_the_link_and_from_the_peer_only() {
        let from = |source, path| {
            let bytes = frame(MAC, ethernet::ETHERTYPE_IPV4, &datagram(source, 7403));
            let class = classify(&bytes, RxChecksum::Unknown, &local(path));
            if let Class::Session { payload, .. } = &class {
                assert_eq!(&bytes[payload.clone()], b"hello");
            }
            class
        };
        assert!(matches!(from(PEER, Path::Link), Class::Session { channel: 2, .. }));
        assert_eq!(from(CLIENT, Path::Link), Class::Drop(Drop::UdpPort));
        assert_eq!(from(PEER, Path::Lan), Class::Drop(Drop::UdpPort));
    }

    #[test]
    fn arp_must_name_its_sender_honestly() {
        let packet = arp::Packet::request(CLIENT_MAC, CLIENT, VIP);
        let bytes = frame(Mac::BROADCAST, ethernet::ETHERTYPE_ARP, &packet.to_bytes());
        assert_eq!(of(&bytes), Class::Arp(packet));
        let liar = arp::Packet::request(MAC, CLIENT, VIP);
        let bytes = frame(Mac::BROADCAST, ethernet::ETHERTYPE_ARP, &liar.to_bytes());
        assert_eq!(of(&bytes), Class::Drop(Drop::Malformed));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            of(&bytes);
            of(&frame(VMAC, ethernet::ETHERTYPE_IPV4, &bytes));
            of(&frame(MAC, ethernet::ETHERTYPE_ARP, &bytes));
        }
    }
}
