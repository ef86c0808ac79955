//! Addresses that the kernel must leave alone, and the way to the peer.

use std::net::Ipv4Addr;

use super::{
    finding::Report,
    system::{System, output_of},
};
use crate::config::NodeConfig;

const ADDRESSES: &str = "addresses";
const PEER: &str = "peer";

/// No address of the node may belong to this machine's kernel as well.
pub fn addresses(config: &NodeConfig, system: &System, report: &mut Report) {
    let local = local_addresses(&system.read("/proc/net/fib_trie").unwrap_or_default());
    let vips = config.cluster.vips.iter().map(|vip| ("service address", vip));
    let own = [
        ("node.lan.address", &config.node.lan.address),
        ("node.link.address", &config.node.link.address),
    ];
    let mut clean = true;
    for (what, cidr) in vips.chain(own) {
        if local.contains(&cidr.address) {
            clean = false;
            let message = format!(
                "the kernel owns the {what} {} too: it would answer and reset connections",
                cidr.address
            );
            let fix = format!("ip address del {cidr} dev DEVICE    # ip address show finds DEVICE");
            report.error(ADDRESSES, message, fix);
        }
    }
    if clean {
        report.ok(ADDRESSES, "none of the node's addresses belongs to the kernel");
    }
    let shared = config.profiles.lan.device.driver == "net_af_packet";
    if shared && system.read("/proc/sys/net/ipv4/ip_forward").as_deref() == Some("1") {
        let message = "the kernel forwards packets: it may send on what is meant for the node";
        report.warn(ADDRESSES, message, "sysctl -w net.ipv4.ip_forward=0");
    }
}

/// Addresses in `fib_trie` that end in `/32 host LOCAL`.
fn local_addresses(trie: &str) -> Vec<Ipv4Addr> {
    let mut last: Option<Ipv4Addr> = None;
    let mut found = Vec::new();
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line.starts_with("/32 host LOCAL") {
            found.extend(last);
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Asks the peer for an echo, if this kernel has a way to its network at all.
pub fn peer(config: &NodeConfig, system: &System, report: &mut Report) {
    let routes = system.read("/proc/net/route").unwrap_or_default();
    let ways = [
        ("LAN", config.peer.lan, &config.node.lan.device),
        ("link", config.peer.link, &config.node.link.device),
    ];
    for (path, address, device) in ways {
        if !has_route(&routes, device, address) {
            let message = format!(
                "{address} ({path}) can't be asked from here: only the node itself has an address \
                 in that network; `holdfast status` shows its paths once it runs"
            );
            report.note(PEER, message);
        } else if output_of("ping", &["-c1", "-W1", &address.to_string()]).is_some() {
            report.ok(PEER, format!("{address} ({path}) answers"));
        } else {
            let message = format!("{address} ({path}) does not answer");
            let fix = "start the peer's node; check cable, VLAN and peer.* addresses";
            report.warn(PEER, message, fix);
        }
    }
}

/// Whether `/proc/net/route` (addresses as little-endian hex) leads to `address` by `device`.
fn has_route(routes: &str, device: &str, address: Ipv4Addr) -> bool {
    let number = |digits: &str| u32::from_str_radix(digits, 16).map(u32::swap_bytes).ok();
    routes.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [name, destination, _, _, _, _, _, mask, ..] = fields[..] else { return false };
        let (Some(destination), Some(mask)) = (number(destination), number(mask)) else {
            return false;
        };
        name == device && mask != 0 && address.to_bits() & mask == destination
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_kernels_own_addresses() {
        let trie = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.77.0.1\n        /32 host LOCAL\n     \
                    |-- 10.77.0.255\n        /32 link BROADCAST\n";
        assert_eq!(local_addresses(trie), [Ipv4Addr::new(10, 77, 0, 1)]);
    }

    #[test]
    fn finds_a_route_by_its_device() {
        let routes = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n\
                      lan0\t00004D0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\n";
        assert!(has_route(routes, "lan0", Ipv4Addr::new(10, 77, 0, 2)));
        assert!(!has_route(routes, "lan0", Ipv4Addr::new(10, 78, 0, 2)));
        assert!(!has_route(routes, "eth0", Ipv4Addr::new(10, 77, 0, 2)));
    }
}
