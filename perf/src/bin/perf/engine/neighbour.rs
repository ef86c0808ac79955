//! ARP (RFC 826) and neighbour discovery (RFC 4861): who is asked for the way to the target, and
//! what we answer.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use arrayvec::ArrayVec;
use engine::addr::Addr;
use engine::wire::ethernet::{self, Mac};
use engine::wire::{arp, ipv6, ndp};

use crate::args::Network;
use crate::ranges::AddressRange;

/// Our addresses on the network, and the host that takes our packets.
#[derive(Debug, Clone)]
pub(super) struct Neighbour {
    /// Our own address.
    own: Addr,
    /// Addresses that connections come from.
    sources: RangeInclusive<Addr>,
    /// The next hop towards the target.
    hop: Addr,
    /// Its address on the network, once it is known. It may change: after a takeover.
    pub mac: Option<Mac>,
}

/// A question or an answer on its way to the card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub destination: Mac,
    pub ethertype: u16,
    pub packet: ArrayVec<u8, { ndp::PACKET_LEN }>,
}

impl Note {
    fn arp(destination: Mac, packet: &arp::Packet) -> Note {
        let packet = packet.to_bytes().into_iter().collect();
        Note { destination, ethertype: ethernet::ETHERTYPE_ARP, packet }
    }

    fn ndp(destination: Mac, packet: [u8; ndp::PACKET_LEN]) -> Note {
        Note { destination, ethertype: ethernet::ETHERTYPE_IPV6, packet: packet.into() }
    }
}

impl Neighbour {
    /// The way to `target`.
    ///
    /// # Errors
    /// There is none, or an address is not ours to use; says what to change.
    pub fn new(
        network: Network,
        sources: AddressRange,
        gateway: Option<IpAddr>,
        target: IpAddr,
    ) -> anyhow::Result<Neighbour> {
        let own = network.address;
        for (name, other) in [("the target", target), ("--sources", sources.first)] {
            anyhow::ensure!(
                other.is_ipv4() == own.is_ipv4(),
                "{name} {other} and --address {own} are of two IP versions: make them one"
            );
        }
        let hop = match gateway {
            _ if network.contains(target) => target,
            Some(gateway) if network.contains(gateway) => gateway,
            Some(gateway) => anyhow::bail!(
                "--gateway {gateway} is not in the network of --address {own}/{}: name one that is",
                network.prefix_len
            ),
            None => anyhow::bail!(
                "the target {target} is not in the network of --address {own}/{}: set --gateway, or \
                 another --address",
                network.prefix_len
            ),
        };
        let sources = sources.first.into()..=sources.last.into();
        let neighbour = Neighbour { own: own.into(), sources, hop: hop.into(), mac: None };
        for (name, taken) in [("the target", target), ("the gateway", hop)] {
            anyhow::ensure!(
                !neighbour.is_ours(taken.into()),
                "{taken} is {name} and cannot be one of our own addresses as well: change --address \
                 or --sources"
            );
        }
        Ok(neighbour)
    }

    /// The next hop towards the target.
    pub fn hop(&self) -> IpAddr {
        self.hop.to_ip()
    }

    /// Whether we answer for this address.
    #[inline]
    pub fn is_ours(&self, address: Addr) -> bool {
        address == self.own || self.sources.contains(&address)
    }

    /// Asks for the next hop.
    pub fn question(&self, mac: Mac) -> Note {
        match (self.own.as_ipv4(), self.hop.as_ipv4()) {
            (Some(own), Some(hop)) => {
                Note::arp(Mac::BROADCAST, &arp::Packet::request(mac, own, hop))
            }
            _ => {
                let (source, target) = (self.own.octets().into(), self.hop.octets().into());
                let group = ipv6::solicited_node(self.hop);
                let question = ndp::Solicitation { source, target, source_mac: Some(mac) };
                Note::ndp(Mac::of_group(group), question.to_bytes(group))
            }
        }
    }

    /// Learns from a packet; gives the answer if it wants one from us, who have `mac`.
    pub fn receive_arp(&mut self, packet: &arp::Packet, mac: Mac) -> Option<Note> {
        if Addr::from(packet.sender_ip) == self.hop && packet.sender_mac.is_unicast() {
            self.mac = Some(packet.sender_mac);
        }
        let request = packet.operation == arp::Operation::Request;
        let asks = request && packet.sender_ip != packet.target_ip;
        (asks && self.is_ours(packet.target_ip.into()))
            .then(|| Note::arp(packet.sender_mac, &packet.reply(mac)))
    }

    /// The same for IPv6; `from` is who sent the message.
    pub fn receive_ndp(&mut self, from: Mac, message: &ndp::Message, mac: Mac) -> Option<Note> {
        match message {
            ndp::Message::Advertisement(told) => {
                if Addr::from(told.target) == self.hop {
                    self.mac = told.target_mac.filter(|mac| mac.is_unicast()).or(self.mac);
                }
                None
            }
            ndp::Message::Solicitation(asked) => {
                if Addr::from(asked.source) == self.hop {
                    self.mac = asked.source_mac.filter(|mac| mac.is_unicast()).or(self.mac);
                }
                let asks = !asked.source.is_unspecified() && self.is_ours(asked.target.into());
                asks.then(|| {
                    let answer = ndp::Advertisement {
                        target: asked.target,
                        target_mac: Some(mac),
                        solicited: true,
                        replaces: true,
                    };
                    Note::ndp(asked.source_mac.unwrap_or(from), answer.to_bytes(asked.source))
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::wire::Checksums;

    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const PEER: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn neighbour(gateway: Option<&str>, target: &str) -> anyhow::Result<Neighbour> {
        let (network, sources) = ("10.0.0.2/24".parse(), "10.0.0.16-10.0.0.31".parse());
        Neighbour::new(network.unwrap(), sources.unwrap(), gateway.map(ip), ip(target))
    }

    fn neighbour_ipv6(gateway: Option<&str>, target: &str) -> anyhow::Result<Neighbour> {
        let (network, sources) = ("fd77::2/64".parse(), "fd77::10-fd77::1f".parse());
        Neighbour::new(network.unwrap(), sources.unwrap(), gateway.map(ip), ip(target))
    }

    #[test]
    fn next_hop_is_the_target_or_the_gateway() {
        assert_eq!(neighbour(None, "10.0.0.100").unwrap().hop(), ip("10.0.0.100"));
        assert_eq!(neighbour(Some("10.0.0.1"), "10.0.0.100").unwrap().hop(), ip("10.0.0.100"));
        assert_eq!(neighbour(Some("10.0.0.1"), "10.9.0.100").unwrap().hop(), ip("10.0.0.1"));
        assert_eq!(neighbour_ipv6(None, "fd77::100").unwrap().hop(), ip("fd77::100"));
        assert_eq!(neighbour_ipv6(Some("fe80::1"), "fd79::100").unwrap().hop(), ip("fe80::1"));
    }

    #[test]
    fn impossible_addresses_are_refused_with_a_way_out() {
        let refused = |gateway, target| neighbour(gateway, target).unwrap_err().to_string();
        assert!(refused(None, "10.9.0.100").contains("set --gateway"));
        assert!(refused(Some("10.8.0.1"), "10.9.0.100").contains("--gateway 10.8.0.1"));
        assert!(refused(None, "10.0.0.20").contains("change --address or --sources"));
        assert!(refused(None, "fd77::100").contains("two IP versions"));
        assert!(neighbour_ipv6(None, "fd77::1a").unwrap_err().to_string().contains("--sources"));
    }

    #[test]
    fn answers_for_all_sources_and_learns_the_hop_again_and_again() {
        let v4 = |text: &str| text.parse().unwrap();
        let mut neighbour = neighbour(None, "10.0.0.100").unwrap();
        for (address, ours) in [("10.0.0.2", true), ("10.0.0.31", true), ("10.0.0.32", false)] {
            let question = arp::Packet::request(PEER, v4("10.0.0.50"), v4(address));
            let answer = neighbour.receive_arp(&question, MAC);
            let expected = ours.then(|| Note::arp(PEER, &question.reply(MAC)));
            assert_eq!(answer, expected, "{address}");
        }
        assert_eq!(neighbour.mac, None);
        let question = arp::Packet::parse(&neighbour.question(MAC).packet).unwrap();
        let answer = question.reply(PEER);
        assert_eq!((neighbour.receive_arp(&answer, MAC), neighbour.mac), (None, Some(PEER)));
        neighbour.receive_arp(&arp::Packet::announcement(MAC, v4("10.0.0.100")), MAC);
        assert_eq!(neighbour.mac, Some(MAC));
    }

    fn message(note: &Note) -> ndp::Message {
        let ip = ipv6::Packet::parse(&note.packet).unwrap();
        ndp::Message::parse(&ip, Checksums::Verify).unwrap()
    }

    #[test]
    fn over_ipv6_it_answers_and_learns_alike() {
        let v6 = |text: &str| text.parse().unwrap();
        let mut neighbour = neighbour_ipv6(None, "fd77::100").unwrap();
        let question = neighbour.question(MAC);
        assert_eq!(question.destination.to_string(), "33:33:ff:00:01:00");
        let ndp::Message::Solicitation(asked) = message(&question) else { panic!() };
        assert_eq!((asked.target, asked.source_mac), (v6("fd77::100"), Some(MAC)));
        for (address, ours) in [("fd77::2", true), ("fd77::1f", true), ("fd77::20", false)] {
            let (source, target) = (v6("fd77::50"), v6(address));
            let asked = ndp::Solicitation { source, target, source_mac: Some(PEER) };
            let answer = neighbour.receive_ndp(PEER, &ndp::Message::Solicitation(asked), MAC);
            assert_eq!(answer.is_some(), ours, "{address}");
            if let Some(note) = answer {
                let ndp::Message::Advertisement(told) = message(&note) else { panic!() };
                assert_eq!((note.destination, told.target), (PEER, target));
                assert_eq!(told.target_mac, Some(MAC));
            }
        }
        assert_eq!(neighbour.mac, None);
        for mac in [PEER, MAC] {
            let told = ndp::Advertisement {
                target: v6("fd77::100"),
                target_mac: Some(mac),
                solicited: false,
                replaces: true,
            };
            let answer = neighbour.receive_ndp(mac, &ndp::Message::Advertisement(told), MAC);
            assert_eq!((answer, neighbour.mac), (None, Some(mac)));
        }
    }
}
