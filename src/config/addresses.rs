//! The addresses of a file: each by itself, and how they fit together.

use std::net::IpAddr;

use worker::MAX_VIPS;

use super::{Cluster, Node, Peer, checker::Checker, types::Cidr};

/// What an address looks like.
pub const ADDRESS: &str = "an IP address, e.g. \"10.77.0.2\" or \"fd77::2\"";
const ADDRESS_AND_PREFIX: &str =
    "an IP address with prefix length, e.g. \"10.77.0.1/24\" or \"fd77::1/64\"";

/// The service addresses.
pub fn vips(texts: &[String], check: &mut Checker) -> Option<Vec<Cidr>> {
    if texts.is_empty() {
        let hint = "expected at least one service address, e.g. vip = [\"10.77.0.100/24\"]";
        check.fail("cluster.vip", "is empty", hint);
        return None;
    }
    let what = format!("has {} addresses", texts.len());
    let hint = format!("expected at most {MAX_VIPS}");
    check.require(texts.len() <= MAX_VIPS, "cluster.vip", what, &hint);
    let mut vips: Vec<Cidr> = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let key = format!("cluster.vip[{index}]");
        let vip: Cidr = check.parse(&key, text, ADDRESS_AND_PREFIX)?;
        let fresh = vips.iter().all(|earlier| earlier.address != vip.address);
        check.require(fresh, &key, format!("{} is listed twice", vip.address), "remove one");
        usable(&key, vip.address, check);
        vips.push(vip);
    }
    Some(vips)
}

/// The node's own addresses on the LAN, one of each IP version at most.
pub fn of_lan(texts: &[String], check: &mut Checker) -> Option<Vec<Cidr>> {
    let key = "node.lan.address";
    let hint = "expected one address of each IP version that cluster.vip has";
    check.require(!texts.is_empty(), key, "is empty", hint);
    let parsed = texts.iter().map(|text| check.parse::<Cidr>(key, text, ADDRESS_AND_PREFIX));
    let addresses: Vec<Cidr> = parsed.collect::<Option<_>>()?;
    let versions: Vec<IpAddr> = addresses.iter().map(|address| address.address).collect();
    one_of_each_version(key, &versions, check);
    (!addresses.is_empty()).then_some(addresses)
}

/// The LAN's routers, one of each IP version at most.
pub fn gateways(texts: &[String], check: &mut Checker) -> Option<Vec<IpAddr>> {
    let key = "node.lan.gateway";
    let parsed = texts.iter().map(|text| check.parse(key, text, ADDRESS));
    let gateways: Vec<IpAddr> = parsed.collect::<Option<_>>()?;
    one_of_each_version(key, &gateways, check);
    Some(gateways)
}

/// What the table of a link is called, of so many.
pub fn link_key(place: usize, links: usize) -> String {
    if links == 1 { "node.link".into() } else { format!("node.link[{place}]") }
}

/// The node's address on a link; `key` is the link's table.
pub fn of_link(key: &str, text: &str, check: &mut Checker) -> Option<Cidr> {
    check.parse(&format!("{key}.address"), text, ADDRESS_AND_PREFIX)
}

fn one_of_each_version(key: &str, addresses: &[IpAddr], check: &mut Checker) {
    let ipv4 = addresses.iter().filter(|address| address.is_ipv4()).count();
    let good = ipv4 <= 1 && addresses.len() - ipv4 <= 1;
    let what = format!("{} addresses of one IP version", ipv4.max(addresses.len() - ipv4));
    check.require(good, key, what, "expected one of each version at most");
}

fn usable(key: &str, address: IpAddr, check: &mut Checker) {
    let good = match address {
        IpAddr::V4(v4) => {
            !(v4.is_multicast() || v4.is_broadcast() || v4.is_unspecified() || v4.is_loopback())
        }
        // Link-local addresses the nodes give themselves; a mapped one would be an IPv4 address.
        IpAddr::V6(v6) => {
            !(v6.is_multicast()
                || v6.is_unspecified()
                || v6.is_loopback()
                || v6.is_unicast_link_local()
                || v6.to_ipv4_mapped().is_some())
        }
    };
    let hint = "expected a unicast address of the network";
    check.require(good, key, format!("{address} can't be a host's address"), hint);
}

/// Rules that take more than one section to see.
pub fn together(cluster: &Cluster, node: &Node, peers: &[Peer], check: &mut Checker) {
    let lan = &node.lan.addresses;
    for peer in peers {
        let hint = "a peer's name is the other node's node.name; all must differ";
        let what = format!("\"{}\" is this node's own name", peer.name);
        check.require(peer.name != node.name, "peer.name", what, hint);
        side(("peer.lan", "node.lan"), lan, peer.lan, check);
        of_links(node, peer, check);
    }
    apart(peers, check);
    links_apart(node, check);
    for gateway in &node.lan.gateways {
        let what = format!("{gateway} is not in the network of node.lan.address {}", list(lan));
        let hint = "expected a router on the service LAN";
        let found = reaches(lan, *gateway);
        check.require(found, "node.lan.gateway", what, hint);
    }
    for (index, vip) in cluster.vips.iter().enumerate() {
        let key = format!("cluster.vip[{index}]");
        let theirs = peers.iter().flat_map(|peer| peer.links.iter().copied().chain([peer.lan]));
        let links = node.links.iter().map(|link| link.address.address);
        let own = lan.iter().map(|lan| lan.address).chain(links);
        let taken = own.chain(theirs).any(|own| own == vip.address);
        let what = format!("{} is also a node's own address", vip.address);
        let hint = "the service address moves between the nodes: give it one of its own";
        check.require(!taken, &key, what, hint);
        let version = if vip.address.is_ipv4() { "IPv4" } else { "IPv6" };
        let spoken = lan.iter().any(|lan| lan.address.is_ipv4() == vip.address.is_ipv4());
        let what = format!("{} is {version}, and node.lan.address is not", vip.address);
        let hint = "add an address of that version to node.lan.address: \
                    the node asks for its neighbours in its own name";
        check.require(spoken, &key, what, hint);
    }
}

/// A peer's addresses on the links.
fn of_links(node: &Node, peer: &Peer, check: &mut Checker) {
    let (links, theirs) = (node.links.len(), peer.links.len());
    let what = format!("\"{}\" has {theirs} addresses for {links} links", peer.name);
    let hint = "expected its address on each node.link, in the same order";
    check.require(links == theirs, "peer.link", what, hint);
    for (place, (link, theirs)) in node.links.iter().zip(&peer.links).enumerate() {
        let keys = match links {
            1 => "peer.link".into(),
            _ => format!("peer.link[{place}]"),
        };
        side((&keys, &link_key(place, links)), &[link.address], *theirs, check);
    }
}

/// Each port has a network of its own, or a datagram would not go where it is sent.
fn links_apart(node: &Node, check: &mut Checker) {
    let links = node.links.len();
    for (place, link) in node.links.iter().enumerate() {
        let (key, link) = (format!("{}.address", link_key(place, links)), link.address);
        let hint = "give the link a network of its own, e.g. \"10.78.0.1/24\" or \"fd78::1/64\"";
        for lan in &node.lan.addresses {
            let what = format!("{link} overlaps the LAN's network {lan}");
            check.require(!lan.overlaps(&link), &key, what, hint);
        }
        for other in &node.links[..place] {
            let what = format!("{link} overlaps the first link's network {}", other.address);
            check.require(!other.address.overlaps(&link), &key, what, hint);
        }
    }
}

/// Other nodes must differ, and be heard by one IP version.
fn apart(peers: &[Peer], check: &mut Checker) {
    for (index, peer) in peers.iter().enumerate() {
        for other in &peers[..index] {
            let what = format!("\"{}\" is listed twice", peer.name);
            check.require(peer.name != other.name, "peer.name", what, "name each node once");
            let same = peer.lan == other.lan
                || peer.links.iter().zip(&other.links).any(|(one, other)| one == other);
            let what = format!("has an address of \"{}\"", other.name);
            check.require(!same, "peer", what, "expected addresses of its own");
        }
    }
}

/// Two nodes' own addresses on one port: the peer's key, and this node's table.
fn side((key, port): (&str, &str), ours: &[Cidr], theirs: IpAddr, check: &mut Checker) {
    let our_key = format!("{port}.address");
    let what = format!("{theirs} is not in the network of {our_key} {}", list(ours));
    let shared = ours.iter().any(|ours| ours.contains(theirs));
    check.require(shared, key, what, "both nodes must share that network");
    let what = format!("{theirs} is this node's own address");
    let other = ours.iter().all(|ours| ours.address != theirs);
    check.require(other, key, what, "expected the other node's address");
    usable(key, theirs, check);
    ours.iter().for_each(|ours| usable(&our_key, ours.address, check));
}

/// Routers of IPv6 mostly go by their link-local address.
fn reaches(lan: &[Cidr], gateway: IpAddr) -> bool {
    let link_local = match gateway {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    lan.iter().any(|lan| lan.contains(gateway) || link_local && lan.address.is_ipv6())
}

fn list(addresses: &[Cidr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(", ")
}
