//! What a received frame is: decided once, from its bytes and this node's addresses alone.
//! Whatever is malformed or not ours ends here and never reaches a log.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use arrayvec::ArrayVec;
use engine::addr::Addr;
use engine::wire::ethernet::{self, Mac};
use engine::wire::segment::Segment;
use engine::wire::{Checksums, Malformed, arp, icmpv4, icmpv6, ipv4, ipv6, mld, ndp, udp};
use replication::{MAX_PEERS, Path, PeerIndex};

use crate::counters::Counters;
use crate::nic::RxChecksum;

/// Service addresses of a node at most.
pub const MAX_VIPS: usize = 16;
/// A node's own addresses on one port at most: one of each IP version, and a link-local one.
pub(crate) const MAX_OWN: usize = 3;
/// EtherTypes of IEEE 802.1Q and 802.1ad tags.
const ETHERTYPE_VLAN: [u16; 2] = [0x8100, 0x88a8];

/// What this node answers to on one port.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    pub path: Path,
    pub mac: Mac,
    pub vmac: Mac,
    /// This node's own addresses.
    pub own: ArrayVec<Addr, MAX_OWN>,
    /// One of these, if the node speaks IPv6 here (RFC 4291 section 2.8).
    pub link_local: Option<Ipv6Addr>,
    /// The other nodes' addresses, in the order of [`PeerIndex`].
    pub peers: ArrayVec<Addr, MAX_PEERS>,
    /// Empty on the link.
    pub vips: ArrayVec<Addr, MAX_VIPS>,
    pub control_port: u16,
}

/// What a frame is. Ranges are within the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Drop(Drop),
    Arp(arp::Packet),
    /// Neighbour discovery; `service` when it asks for a service address. `from` is who sent it.
    Neighbour {
        from: Mac,
        service: bool,
        message: ndp::Message,
    },
    /// A router or switch asks which multicast groups we are in.
    ListenerQuery,
    /// ICMP or ICMPv6 for one of our addresses; `service` when for a service address.
    Icmp {
        service: bool,
    },
    /// An ICMP error for a service address, which may be about a segment of ours.
    IcmpError {
        packet: Range<usize>,
    },
    /// A datagram for the control plane.
    Control {
        source: Addr,
        payload: Range<usize>,
    },
    /// A datagram of another node for a session channel.
    Session {
        peer: PeerIndex,
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
    ExtensionHeader,
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
            Drop::ExtensionHeader => &mut counters.drop_extension_header,
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
            Malformed::RoutingHeader | Malformed::ExtensionHeader => Drop::ExtensionHeader,
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
        ethernet::ETHERTYPE_IPV6 if to_us || is_ipv6_group(header.destination) => {
            parse_ipv6(packet, checksum, &header, local)
        }
        ethernet::ETHERTYPE_ARP if to_us || header.destination == Mac::BROADCAST => {
            let packet = arp::Packet::parse(packet)?;
            // RFC 826 names the sender twice; who lies in one place is not believed in the other.
            // The serving node may name the service's address, which it need not send from.
            let serving =
                packet.sender_mac == local.vmac && local.vips.contains(&packet.sender_ip.into());
            let honest = packet.sender_mac == header.source || serving;
            if honest && header.source.is_unicast() {
                Ok(Class::Arp(packet))
            } else {
                Err(Drop::Malformed)
            }
        }
        tag if ETHERTYPE_VLAN.contains(&tag) => Err(Drop::Vlan),
        ethernet::ETHERTYPE_IPV4 | ethernet::ETHERTYPE_IPV6 | ethernet::ETHERTYPE_ARP => {
            Err(Drop::NotForUs)
        }
        _ => Err(Drop::EtherType),
    }
}

/// RFC 2464 section 7.
fn is_ipv6_group(mac: Mac) -> bool {
    mac.0[..2] == [0x33, 0x33]
}

fn checks_of(checksum: RxChecksum) -> Result<Checksums, Drop> {
    match checksum {
        RxChecksum::Good => Ok(Checksums::Trusted),
        RxChecksum::Bad => Err(Drop::Checksum),
        RxChecksum::Unknown => Ok(Checksums::Verify),
    }
}

fn parse_ipv4(packet: &[u8], checksum: RxChecksum, local: &Local) -> Result<Class, Drop> {
    let checks = checks_of(checksum)?;
    let ip = ipv4::Packet::parse(packet, checks)?;
    let (source, destination) = (ip.header.source.into(), ip.header.destination.into());
    let service = is_service(destination, local)?;
    if is_martian_ipv4(ip.header.source) || local.is_ours(source) {
        return Err(Drop::Martian);
    }
    match ip.header.protocol {
        ipv4::PROTOCOL_TCP if service => Ok(segment(Segment::parse_ipv4(&ip, checks)?)),
        ipv4::PROTOCOL_ICMP if service && icmpv4::is_error(ip.payload) => {
            Ok(Class::IcmpError { packet: range_of(ip.bytes) })
        }
        ipv4::PROTOCOL_ICMP => Ok(Class::Icmp { service }),
        ipv4::PROTOCOL_UDP if !service => {
            let header_len = ip.bytes.len() - ip.payload.len();
            datagram(source, header_len, &udp::Datagram::parse(&ip, checks)?, local)
        }
        _ => Err(Drop::Protocol),
    }
}

fn parse_ipv6(
    packet: &[u8],
    checksum: RxChecksum,
    link: &ethernet::Header,
    local: &Local,
) -> Result<Class, Drop> {
    let checks = checks_of(checksum)?;
    let ip = ipv6::Packet::parse(packet)?;
    let (source, destination) = (ip.header.source.into(), ip.header.destination.into());
    if ip.header.destination.is_multicast() {
        return if local.is_in(ip.header.destination) {
            parse_icmpv6(&ip, link, false, local)
        } else {
            Err(Drop::NotForUs)
        };
    }
    let service = is_service(destination, local)?;
    if !link.destination.is_unicast() && link.destination != local.vmac {
        return Err(Drop::NotForUs);
    }
    if ip.header.protocol == ipv6::PROTOCOL_ICMPV6 {
        return parse_icmpv6(&ip, link, service, local);
    }
    if is_martian_ipv6(ip.header.source) || local.is_ours(source) {
        return Err(Drop::Martian);
    }
    match ip.header.protocol {
        ipv6::PROTOCOL_TCP if service => Ok(segment(Segment::parse_ipv6(&ip, checks)?)),
        ipv6::PROTOCOL_UDP if !service => {
            let header_len = ip.bytes.len() - ip.payload.len();
            datagram(source, header_len, &udp::Datagram::parse_ipv6(&ip, checks)?, local)
        }
        _ => Err(Drop::Protocol),
    }
}

/// Cards do not look at the checksum of ICMPv6, so it is verified whatever they say.
fn parse_icmpv6(
    ip: &ipv6::Packet<'_>,
    link: &ethernet::Header,
    service: bool,
    local: &Local,
) -> Result<Class, Drop> {
    let source = ip.header.source;
    let (kind, _, _) = icmpv6::message(ip, Checksums::Verify)?;
    // Only who is about to take an address may have none (RFC 4862 section 5.4.2).
    let probes = kind == icmpv6::NEIGHBOUR_SOLICITATION && source.is_unspecified();
    // The serving node tells where a service address is; others hear that.
    let tells = kind == icmpv6::NEIGHBOUR_ADVERTISEMENT && local.vips.contains(&source.into());
    let ours = local.is_ours(source.into()) && !tells;
    if !probes && is_martian_ipv6(source) || ours {
        return Err(Drop::Martian);
    }
    match kind {
        icmpv6::NEIGHBOUR_SOLICITATION | icmpv6::NEIGHBOUR_ADVERTISEMENT => {
            neighbour(ndp::Message::parse(ip, Checksums::Trusted)?, source, link, local)
        }
        icmpv6::MULTICAST_LISTENER_QUERY => {
            mld::check_query(ip, Checksums::Trusted)?;
            Ok(Class::ListenerQuery)
        }
        icmpv6::ECHO_REQUEST if !ip.header.destination.is_multicast() => {
            Ok(Class::Icmp { service })
        }
        kind if service && icmpv6::is_error(kind) => {
            Ok(Class::IcmpError { packet: range_of(ip.bytes) })
        }
        _ => Err(Drop::Protocol),
    }
}

fn neighbour(
    message: ndp::Message,
    source: Ipv6Addr,
    link: &ethernet::Header,
    local: &Local,
) -> Result<Class, Drop> {
    let (target, mac) = match message {
        ndp::Message::Solicitation(asked) => (asked.target.into(), asked.source_mac),
        ndp::Message::Advertisement(told) => (told.target.into(), told.target_mac),
    };
    let service = local.vips.contains(&target);
    let told = matches!(message, ndp::Message::Advertisement(_));
    let serving = told && service && mac == Some(local.vmac);
    // As with ARP: who lies in one place is not believed in the other.
    let honest = mac.is_none_or(|mac| mac == link.source) || serving;
    if !link.source.is_unicast() || !honest {
        return Err(Drop::Malformed);
    }
    match (told, local.is_ours(target)) {
        (false, false) => Err(Drop::NotForUs),
        // Nobody else tells us where our own addresses are, or speaks from there.
        (true, ours) if (ours || local.is_ours(source.into())) && !serving => Err(Drop::Martian),
        _ => Ok(Class::Neighbour { from: link.source, service, message }),
    }
}

/// Where in the frame a packet stands.
fn range_of(packet: &[u8]) -> Range<usize> {
    ethernet::HEADER_LEN..ethernet::HEADER_LEN + packet.len()
}

fn segment(segment: Segment<'_>) -> Class {
    let packet = range_of(segment.packet);
    let (hash, port) = (segment.hash, segment.flow.local.port);
    Class::Segment { hash, port, packet }
}

fn datagram(
    source: Addr,
    ip_header_len: usize,
    datagram: &udp::Datagram<'_>,
    local: &Local,
) -> Result<Class, Drop> {
    let start = ethernet::HEADER_LEN + ip_header_len + udp::HEADER_LEN;
    let payload = start..start + datagram.payload.len();
    match datagram.destination_port.checked_sub(local.control_port) {
        Some(0) => Ok(Class::Control { source, payload }),
        Some(channel) if matches!(local.path, Path::Link(_)) => {
            let sender = PeerIndex::all().zip(&local.peers).find(|(_, peer)| **peer == source);
            let (peer, _) = sender.ok_or(Drop::UdpPort)?;
            Ok(Class::Session { peer, channel: channel - 1, payload })
        }
        _ => Err(Drop::UdpPort),
    }
}

/// Whether a packet for `destination` is for a service address, or for the node.
fn is_service(destination: Addr, local: &Local) -> Result<bool, Drop> {
    let service = local.vips.contains(&destination);
    if service || local.own.contains(&destination) { Ok(service) } else { Err(Drop::NotForUs) }
}

impl Local {
    fn is_ours(&self, address: Addr) -> bool {
        self.own.contains(&address) || self.vips.contains(&address)
    }

    /// Whether we listen to a multicast group, be it only while we serve.
    fn is_in(&self, group: Ipv6Addr) -> bool {
        group == ipv6::ALL_NODES && self.link_local.is_some()
            || self
                .own
                .iter()
                .chain(&self.vips)
                .any(|address| !address.is_ipv4() && ipv6::solicited_node(*address) == group)
    }
}

/// RFC 1122 3.2.1.3: no packet may come from such an address.
fn is_martian_ipv4(source: Ipv4Addr) -> bool {
    source.octets()[0] == 0
        || source.is_loopback()
        || source.is_multicast()
        || source.is_broadcast()
}

/// RFC 4291 2.5.2, 2.5.3, 2.5.5 and 2.7: the same for IPv6.
fn is_martian_ipv6(source: Ipv6Addr) -> bool {
    source.is_unspecified()
        || source.is_loopback()
        || source.is_multicast()
        || source.to_ipv4_mapped().is_some()
}

#[cfg(test)]
mod tests {
    use engine::addr::{Endpoint, Flow};
    use engine::seq::SeqNumber;
    use engine::wire::segment::{MAX_HEADER_LEN, SegmentHeader, ip_header_len};
    use engine::wire::{checksum, tcp};
    use proptest::prelude::*;

    use super::*;

    const NODE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);
    const PEER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
    const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
    const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 9);
    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const VMAC: Mac = Mac([2, 0, 0, 0, 0, 0x64]);
    const CLIENT_MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

    const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 9);
    const NODE_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
    const VIP_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x64);

    fn local(path: Path) -> Local {
        let vips = if path == Path::Lan {
            [Addr::from(VIP), Addr::from(VIP_V6)].into_iter().collect()
        } else {
            ArrayVec::new()
        };
        let link_local = ipv6::link_local(MAC);
        let own = [NODE.into(), NODE_V6.into(), link_local.into()].into();
        let (link_local, peers) =
            (Some(link_local), [OTHER, PEER].map(Addr::from).into_iter().collect());
        Local { path, mac: MAC, vmac: VMAC, own, link_local, peers, vips, control_port: 7400 }
    }

    fn frame(destination: Mac, ethertype: u16, packet: &[u8]) -> Vec<u8> {
        let header = ethernet::Header { destination, source: CLIENT_MAC, ethertype };
        [&header.to_bytes()[..], packet].concat()
    }

    fn segment(source: impl Into<Addr>, destination: impl Into<Addr>) -> Vec<u8> {
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
        let mut packet = vec![0; MAX_HEADER_LEN];
        let len = header.emit(0, &mut packet);
        packet.truncate(len);
        checksum::finish_tcp(&mut packet, ip_header_len(flow.local.addr), &[]);
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
            (frame(VMAC, 0x88cc, &good), Drop::EtherType),
            (frame(VMAC, 0x86dd, &good), Drop::Malformed),
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
    fn sessions_are_heard_on_the_link_and_from_the_peers_only() {
        let from = |source, path| {
            let bytes = frame(MAC, ethernet::ETHERTYPE_IPV4, &datagram(source, 7403));
            let class = classify(&bytes, RxChecksum::Unknown, &local(path));
            if let Class::Session { payload, .. } = &class {
                assert_eq!(&bytes[payload.clone()], b"hello");
            }
            class
        };
        for (peer, place) in [(OTHER, 0), (PEER, 1)] {
            let peer_is = |peer: PeerIndex| peer == PeerIndex(place);
            let class = from(peer, Path::Link(replication::Link::First));
            assert!(matches!(class, Class::Session { peer, channel: 2, .. } if peer_is(peer)));
        }
        assert_eq!(from(CLIENT, Path::Link(replication::Link::First)), Class::Drop(Drop::UdpPort));
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

    #[test]
    fn serving_node_may_tell_of_the_service_from_an_address_of_its_own() {
        let packet = arp::Packet::announcement(VMAC, VIP);
        let bytes = frame(Mac::BROADCAST, ethernet::ETHERTYPE_ARP, &packet.to_bytes());
        assert_eq!(of(&bytes), Class::Arp(packet));
        let told = |target, target_mac| {
            let (target_mac, solicited, replaces) = (Some(target_mac), false, true);
            let told = ndp::Advertisement { target, target_mac, solicited, replaces };
            of(&frame(Mac::of_group(ipv6::ALL_NODES), IPV6, &told.to_bytes(ipv6::ALL_NODES)))
        };
        assert!(matches!(told(VIP_V6, VMAC), Class::Neighbour { service: true, .. }));
        assert_eq!(told(NODE_V6, VMAC), Class::Drop(Drop::Martian));
        assert_eq!(told(VIP_V6, CLIENT_MAC), Class::Drop(Drop::Martian));
    }

    #[test]
    fn group_address_of_the_service_is_heard() {
        let vmac = Mac([3, 0, 0, 0, 0, 0x64]);
        for (ethertype, packet) in
            [(ethernet::ETHERTYPE_IPV4, segment(CLIENT, VIP)), (IPV6, segment(CLIENT_V6, VIP_V6))]
        {
            let local = Local { vmac, ..local(Path::Lan) };
            let class = classify(&frame(vmac, ethertype, &packet), RxChecksum::Unknown, &local);
            assert!(matches!(class, Class::Segment { port: 7, .. }), "{class:?}");
            let other = Mac([3, 0, 0, 0, 0, 0x65]);
            let class = classify(&frame(other, ethertype, &packet), RxChecksum::Unknown, &local);
            assert_eq!(class, Class::Drop(Drop::NotForUs));
        }
    }

    const IPV6: u16 = ethernet::ETHERTYPE_IPV6;

    #[test]
    fn segment_over_ipv6_is_found_behind_extension_headers() {
        let mut packet = segment(CLIENT_V6, VIP_V6);
        packet[6] = ipv6::DESTINATION_OPTIONS;
        packet[5] += 8;
        packet.splice(40..40, [ipv6::PROTOCOL_TCP, 0, 1, 4, 0, 0, 0, 0]);
        let mut bytes = frame(VMAC, IPV6, &packet);
        bytes.extend([0xee; 4]);
        let Class::Segment { port, packet: range, .. } = of(&bytes) else {
            panic!("{:?}", of(&bytes));
        };
        assert_eq!((port, &bytes[range]), (7, &packet[..]));
    }

    #[test]
    fn what_is_not_ours_over_ipv6_is_dropped_for_its_own_reason() {
        let good = segment(CLIENT_V6, VIP_V6);
        let with = |at: usize, value: u8| {
            let mut packet = good.clone();
            packet[at] = value;
            packet
        };
        let extended = |kind: u8, body: [u8; 8]| {
            let mut packet = with(6, kind);
            packet[5] += 8;
            packet.splice(40..40, body);
            packet
        };
        let stranger: Ipv6Addr = "fd77::77".parse().unwrap();
        let mapped = CLIENT.to_ipv6_mapped().octets();
        let mut from_mapped = good.clone();
        from_mapped[8..24].copy_from_slice(&mapped);
        let all_nodes = Mac::of_group(ipv6::ALL_NODES);
        for (bytes, reason) in [
            (frame(Mac([2, 0, 0, 0, 0, 5]), IPV6, &good), Drop::NotForUs),
            (frame(all_nodes, IPV6, &good), Drop::NotForUs),
            (frame(VMAC, IPV6, &segment(CLIENT_V6, stranger)), Drop::NotForUs),
            (frame(VMAC, IPV6, &segment(CLIENT_V6, NODE_V6)), Drop::Protocol),
            (frame(VMAC, IPV6, &segment(VIP_V6, VIP_V6)), Drop::Martian),
            (frame(VMAC, IPV6, &segment(Ipv6Addr::LOCALHOST, VIP_V6)), Drop::Martian),
            (frame(VMAC, IPV6, &from_mapped), Drop::Martian),
            (frame(VMAC, IPV6, &with(45, 9)), Drop::Checksum),
            (frame(VMAC, IPV6, &extended(44, [6, 0, 0, 1, 0, 0, 0, 1])), Drop::Fragment),
            (frame(VMAC, IPV6, &extended(43, [6, 0, 0, 1, 0, 0, 0, 0])), Drop::ExtensionHeader),
            (frame(VMAC, IPV6, &extended(60, [6, 0, 0xc2, 4, 0, 0, 0, 0])), Drop::ExtensionHeader),
            (frame(VMAC, IPV6, &good[..50]), Drop::Malformed),
        ] {
            assert_eq!(of(&bytes), Class::Drop(reason), "{bytes:02x?}");
        }
    }

    fn solicitation(source: Ipv6Addr, target: Ipv6Addr) -> ndp::Solicitation {
        let source_mac = (!source.is_unspecified()).then_some(CLIENT_MAC);
        ndp::Solicitation { source, target, source_mac }
    }

    #[test]
    fn solicitations_for_our_addresses_are_heard_by_group_and_directly() {
        for (target, service) in [(VIP_V6, true), (NODE_V6, false), (ipv6::link_local(MAC), false)]
        {
            let asked = solicitation(CLIENT_V6, target);
            let group = ipv6::solicited_node(target.into());
            let message = ndp::Message::Solicitation(asked);
            let expected = Class::Neighbour { from: CLIENT_MAC, service, message };
            assert_eq!(of(&frame(Mac::of_group(group), IPV6, &asked.to_bytes(group))), expected);
            let to = if service { VMAC } else { MAC };
            assert_eq!(of(&frame(to, IPV6, &asked.to_bytes(target))), expected);
        }
        let other = "fd77::1:0:64".parse().unwrap();
        let group = ipv6::solicited_node(other);
        let asked = solicitation(CLIENT_V6, other.as_ipv6().unwrap());
        let bytes = frame(Mac::of_group(group), IPV6, &asked.to_bytes(group));
        assert_eq!(of(&bytes), Class::Drop(Drop::NotForUs), "in the same group, but not ours");
    }

    #[test]
    fn neighbours_that_lie_or_speak_for_us_are_not_believed() {
        let group = ipv6::solicited_node(VIP_V6.into());
        let mut asked = solicitation(CLIENT_V6, VIP_V6);
        asked.source_mac = Some(VMAC);
        let bytes = frame(Mac::of_group(group), IPV6, &asked.to_bytes(group));
        assert_eq!(of(&bytes), Class::Drop(Drop::Malformed));
        let all_nodes = Mac::of_group(ipv6::ALL_NODES);
        let told = |target| ndp::Advertisement {
            target,
            target_mac: Some(CLIENT_MAC),
            solicited: false,
            replaces: true,
        };
        let bytes = frame(all_nodes, IPV6, &told(VIP_V6).to_bytes(ipv6::ALL_NODES));
        assert_eq!(of(&bytes), Class::Drop(Drop::Martian));
        let bytes = frame(all_nodes, IPV6, &told(CLIENT_V6).to_bytes(ipv6::ALL_NODES));
        assert!(matches!(of(&bytes), Class::Neighbour { service: false, .. }));
        let serving = ndp::Advertisement { target_mac: Some(VMAC), ..told(VIP_V6) };
        let link = ethernet::Header { destination: all_nodes, source: VMAC, ethertype: IPV6 };
        let bytes = [&link.to_bytes()[..], &serving.to_bytes(ipv6::ALL_NODES)].concat();
        assert!(matches!(of(&bytes), Class::Neighbour { service: true, .. }));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            of(&bytes);
            of(&frame(VMAC, IPV6, &bytes));
            of(&frame(Mac::of_group(ipv6::ALL_NODES), IPV6, &bytes));
            of(&frame(VMAC, ethernet::ETHERTYPE_IPV4, &bytes));
            of(&frame(MAC, ethernet::ETHERTYPE_ARP, &bytes));
        }
    }
}
