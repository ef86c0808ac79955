//! How our own clients find the service's MAC address, and answer who asks for theirs: ARP, and
//! neighbour discovery.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use engine::wire::ethernet::{self, Mac};
use engine::wire::ndp::{Advertisement, Message, Solicitation};
use engine::wire::{Checksums, arp, ipv6};

use super::Address;

/// What a frame of a neighbour means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The service is there.
    Service(Mac),
    /// Somebody asks for us, and gets this frame.
    Question(Vec<u8>),
}

/// What the machine at `own` learns from a packet about itself and the service at `vip`.
pub(super) fn hear(
    own: Address,
    vip: IpAddr,
    header: &ethernet::Header,
    packet: &[u8],
) -> Option<Heard> {
    match (own.ip, vip) {
        (IpAddr::V4(ip), IpAddr::V4(vip)) if header.ethertype == ethernet::ETHERTYPE_ARP => {
            hear_arp(own, ip, vip, &arp::Packet::parse(packet).ok()?)
        }
        (IpAddr::V6(ip), IpAddr::V6(vip)) if header.ethertype == ethernet::ETHERTYPE_IPV6 => {
            let packet = ipv6::Packet::parse(packet).ok()?;
            let message = Message::parse(&packet, Checksums::Verify).ok()?;
            hear_neighbour(own, ip, vip, header.source, &message)
        }
        _ => None,
    }
}

fn hear_arp(own: Address, ip: Ipv4Addr, vip: Ipv4Addr, packet: &arp::Packet) -> Option<Heard> {
    if packet.operation == arp::Operation::Request && packet.target_ip == ip {
        let reply = packet.reply(own.mac).to_bytes();
        let frame = framed(packet.sender_mac, own, ethernet::ETHERTYPE_ARP, &reply);
        return Some(Heard::Question(frame));
    }
    (packet.sender_ip == vip).then_some(Heard::Service(packet.sender_mac))
}

fn hear_neighbour(
    own: Address,
    ip: Ipv6Addr,
    vip: Ipv6Addr,
    from: Mac,
    message: &Message,
) -> Option<Heard> {
    match message {
        Message::Advertisement(told) if told.target == vip => told.target_mac.map(Heard::Service),
        Message::Solicitation(asked) if asked.target == ip && !asked.source.is_unspecified() => {
            let target_mac = Some(own.mac);
            let (solicited, replaces) = (true, true);
            let answer = Advertisement { target: ip, target_mac, solicited, replaces };
            Some(Heard::Question(frame(from, own, &answer.to_bytes(asked.source))))
        }
        _ => None,
    }
}

/// The frame in which the machine at `own` asks where `vip` is.
pub(super) fn ask(own: Address, vip: IpAddr) -> Vec<u8> {
    match (own.ip, vip) {
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            let group = ipv6::solicited_node(target.into());
            let question = Solicitation { source, target, source_mac: Some(own.mac) };
            frame(Mac::of_group(group), own, &question.to_bytes(group))
        }
        (IpAddr::V4(ip), IpAddr::V4(vip)) => {
            let question = arp::Packet::request(own.mac, ip, vip).to_bytes();
            framed(Mac::BROADCAST, own, ethernet::ETHERTYPE_ARP, &question)
        }
        (ip, vip) => unreachable!("a machine at {ip} has no work with {vip}"),
    }
}

/// An IP packet of either version on its way to `hop`.
pub(super) fn frame(hop: Mac, own: Address, packet: &[u8]) -> Vec<u8> {
    let is_ipv6 = packet.first().is_some_and(|first| first >> 4 == 6);
    let ethertype = if is_ipv6 { ethernet::ETHERTYPE_IPV6 } else { ethernet::ETHERTYPE_IPV4 };
    framed(hop, own, ethertype, packet)
}

fn framed(destination: Mac, own: Address, ethertype: u16, packet: &[u8]) -> Vec<u8> {
    let header = ethernet::Header { destination, source: own.mac, ethertype };
    [&header.to_bytes(), packet].concat()
}
