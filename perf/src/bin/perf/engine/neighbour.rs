//! ARP (RFC 826): who is asked for the way to the target, and what we answer.

use std::net::Ipv4Addr;

use engine::wire::arp::{Operation, Packet};
use engine::wire::ethernet::Mac;

use crate::args::Network;
use crate::ranges::AddressRange;

/// Our addresses on the network, and the host that takes our packets.
#[derive(Debug, Clone)]
pub(super) struct Neighbour {
    /// Our own address.
    pub own: Ipv4Addr,
    /// Addresses that connections come from.
    pub sources: AddressRange,
    /// The next hop towards the target.
    pub hop: Ipv4Addr,
    /// Its address on the network, once it is known. It may change: after a takeover.
    pub mac: Option<Mac>,
}

impl Neighbour {
    /// The way to `target`.
    ///
    /// # Errors
    /// There is none, or an address is not ours to use; says what to change.
    pub fn new(
        network: Network,
        sources: AddressRange,
        gateway: Option<Ipv4Addr>,
        target: Ipv4Addr,
    ) -> anyhow::Result<Neighbour> {
        let own = network.address;
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
        let neighbour = Neighbour { own, sources, hop, mac: None };
        for (name, taken) in [("the target", target), ("the gateway", hop)] {
            anyhow::ensure!(
                !neighbour.is_ours(taken),
                "{taken} is {name} and cannot be one of our own addresses as well: change --address \
                 or --sources"
            );
        }
        Ok(neighbour)
    }

    /// Whether we answer for this address.
    pub fn is_ours(&self, address: Ipv4Addr) -> bool {
        address == self.own || (self.sources.first..=self.sources.last).contains(&address)
    }

    /// Asks for the next hop.
    pub fn question(&self, mac: Mac) -> Packet {
        Packet::request(mac, self.own, self.hop)
    }

    /// Learns from a packet; gives the answer if it wants one from us, who have `mac`.
    pub fn receive(&mut self, packet: &Packet, mac: Mac) -> Option<Packet> {
        if packet.sender_ip == self.hop && packet.sender_mac.is_unicast() {
            self.mac = Some(packet.sender_mac);
        }
        let asks = packet.operation == Operation::Request && packet.sender_ip != packet.target_ip;
        (asks && self.is_ours(packet.target_ip)).then(|| packet.reply(mac))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const PEER: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    fn neighbour(gateway: Option<&str>, target: &str) -> anyhow::Result<Neighbour> {
        let (network, sources) = ("10.0.0.2/24".parse(), "10.0.0.16-10.0.0.31".parse());
        Neighbour::new(network.unwrap(), sources.unwrap(), gateway.map(ip), ip(target))
    }

    #[test]
    fn next_hop_is_the_target_or_the_gateway() {
        assert_eq!(neighbour(None, "10.0.0.100").unwrap().hop, ip("10.0.0.100"));
        assert_eq!(neighbour(Some("10.0.0.1"), "10.0.0.100").unwrap().hop, ip("10.0.0.100"));
        assert_eq!(neighbour(Some("10.0.0.1"), "10.9.0.100").unwrap().hop, ip("10.0.0.1"));
    }

    #[test]
    fn impossible_addresses_are_refused_with_a_way_out() {
        let refused = |gateway, target| neighbour(gateway, target).unwrap_err().to_string();
        assert!(refused(None, "10.9.0.100").contains("set --gateway"));
        assert!(refused(Some("10.8.0.1"), "10.9.0.100").contains("--gateway 10.8.0.1"));
        assert!(refused(None, "10.0.0.20").contains("change --address or --sources"));
    }

    #[test]
    fn answers_for_all_sources_and_learns_the_hop_again_and_again() {
        let mut neighbour = neighbour(None, "10.0.0.100").unwrap();
        for (address, ours) in [("10.0.0.2", true), ("10.0.0.31", true), ("10.0.0.32", false)] {
            let question = Packet::request(PEER, ip("10.0.0.50"), ip(address));
            let answer = neighbour.receive(&question, MAC);
            assert_eq!(answer, ours.then(|| question.reply(MAC)), "{address}");
        }
        assert_eq!(neighbour.mac, None);
        let answer = neighbour.question(MAC).reply(PEER);
        assert_eq!((neighbour.receive(&answer, MAC), neighbour.mac), (None, Some(PEER)));
        neighbour.receive(&Packet::announcement(MAC, ip("10.0.0.100")), MAC);
        assert_eq!(neighbour.mac, Some(MAC));
    }
}
