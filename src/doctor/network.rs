//! Addresses that the kernel must leave alone, and the way to the peer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hw_profiles::Profile;

use super::{
    finding::Report,
    system::{System, output_of},
};
use crate::config::{Link, NodeConfig};

const ADDRESSES: &str = "addresses";
const PEER: &str = "peer";

/// No address of the node may belong to this machine's kernel as well.
pub fn addresses(config: &NodeConfig, system: &System, report: &mut Report) {
    let mut local = local_addresses(&system.read("/proc/net/fib_trie").unwrap_or_default());
    local.extend(local_addresses_ipv6(&system.read("/proc/net/if_inet6").unwrap_or_default()));
    let vips = config.cluster.vips.iter().map(|vip| ("service address", vip));
    let own = config.node.lan.addresses.iter().map(|address| ("node.lan.address", address));
    let own = own.chain(config.node.links.iter().map(|link| ("node.link.address", &link.address)));
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
    let (profiles, node) = (&config.profiles, &config.node);
    let is_shared = |profile: &Profile| profile.device.driver == "net_af_packet";
    let ipv6 = node.lan.addresses.iter().any(|address| address.address.is_ipv6());
    if is_shared(&profiles.lan) {
        forwarding(ipv6, system, report);
    }
    let links = node.links.iter().map(|link| (&link.device, link.address.address.is_ipv6()));
    let ports = profiles.iter().zip([(&node.lan.device, ipv6)].into_iter().chain(links));
    for (_, (device, _)) in ports.filter(|(port, (_, ipv6))| is_shared(port) && *ipv6) {
        speaks_ipv6(device, system, report);
    }
}

fn setting(version: &str, key: &str, system: &System) -> Option<u64> {
    system.number(&format!("/proc/sys/net/{version}/{key}"))
}

/// What the kernel would do with frames that it gets to see as well.
fn forwarding(ipv6: bool, system: &System, report: &mut Report) {
    let message = "the kernel forwards packets: it may send on what is meant for the node";
    if setting("ipv4", "ip_forward", system) == Some(1) {
        report.warn(ADDRESSES, message, "sysctl -w net.ipv4.ip_forward=0");
    }
    if ipv6 && setting("ipv6", "conf/all/forwarding", system) == Some(1) {
        report.warn(ADDRESSES, message, "sysctl -w net.ipv6.conf.all.forwarding=0");
    }
}

/// Both would give themselves the same link-local address, and one take it from the other.
fn speaks_ipv6(device: &str, system: &System, report: &mut Report) {
    if setting("ipv6", &format!("conf/{device}/disable_ipv6"), system) == Some(0) {
        let message = format!("the kernel speaks IPv6 on {device}, and so does the node");
        report.warn(ADDRESSES, message, format!("sysctl -w net.ipv6.conf.{device}.disable_ipv6=1"));
    }
}

/// Addresses in `fib_trie` that end in `/32 host LOCAL`.
fn local_addresses(trie: &str) -> Vec<IpAddr> {
    let mut last: Option<IpAddr> = None;
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

/// Addresses in `if_inet6`: 32 hexadecimal digits at the start of each line.
fn local_addresses_ipv6(table: &str) -> Vec<IpAddr> {
    let address = |line: &str| u128::from_str_radix(line.get(..32)?, 16).ok();
    table.lines().filter_map(address).map(|bits| Ipv6Addr::from_bits(bits).into()).collect()
}

/// Asks the peers for an echo, if this kernel has a way to its network at all.
pub fn peer(config: &NodeConfig, system: &System, report: &mut Report) {
    let routes = system.read("/proc/net/route").unwrap_or_default();
    let routes_ipv6 = system.read("/proc/net/ipv6_route").unwrap_or_default();
    let (lan, links) = (&config.node.lan.device, &config.node.links);
    let ways = config.peers.iter().flat_map(|peer| {
        let of_links = peer.links.iter().zip(links).enumerate();
        let of_links =
            of_links.map(|(place, (theirs, link))| (Link::name(place), *theirs, &link.device));
        [("LAN", peer.lan, lan)].into_iter().chain(of_links)
    });
    for (path, address, device) in ways {
        let reachable = match address {
            IpAddr::V4(v4) => has_route(&routes, device, v4),
            IpAddr::V6(v6) => has_route_ipv6(&routes_ipv6, device, v6),
        };
        if !reachable {
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

/// Whether `/proc/net/ipv6_route` (network and its prefix's length first, the device last) leads to
/// `address` by `device`.
fn has_route_ipv6(routes: &str, device: &str, address: Ipv6Addr) -> bool {
    routes.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [network, prefix_len, .., name] = fields[..] else { return false };
        let (Ok(network), Ok(prefix_len)) =
            (u128::from_str_radix(network, 16), u32::from_str_radix(prefix_len, 16))
        else {
            return false;
        };
        let inside = (address.to_bits() ^ network).leading_zeros() >= prefix_len;
        name == device && prefix_len != 0 && inside
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{GOOD, read};

    #[test]
    fn kernel_that_speaks_ipv6_on_a_port_that_does_so_is_found() {
        let root = tempfile::tempdir().unwrap();
        for device in ["lan0", "link0"] {
            let folder = root.path().join("proc/sys/net/ipv6/conf").join(device);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("disable_ipv6"), "0\n").unwrap();
        }
        let fixes = |text: &str| {
            let mut report = Report::default();
            addresses(&read(text).unwrap(), &System::under(root.path()), &mut report);
            report.findings.into_iter().filter_map(|finding| finding.fix).collect::<Vec<_>>()
        };
        let fix = |device| format!("sysctl -w net.ipv6.conf.{device}.disable_ipv6=1");
        assert_eq!(fixes(GOOD), Vec::<String>::new());
        let link = GOOD.replace("10.78.0.1/24", "fd78::1/64").replace("10.78.0.2", "fd78::2");
        assert_eq!(fixes(&link), [fix("link0")]);
        let both = link
            .replace("10.77.0.100/24", "fd77::100/64")
            .replace("10.77.0.1/24", "fd77::1/64")
            .replace("10.77.0.2", "fd77::2");
        assert_eq!(fixes(&both), [fix("lan0"), fix("link0")]);
        let settings = root.path().join("proc/sys/net/ipv6/conf/lan0/disable_ipv6");
        std::fs::write(settings, "1\n").unwrap();
        assert_eq!(fixes(&both), [fix("link0")]);
    }

    #[test]
    fn finds_the_kernels_own_addresses() {
        let trie = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.77.0.1\n        /32 host LOCAL\n     \
                    |-- 10.77.0.255\n        /32 link BROADCAST\n";
        assert_eq!(local_addresses(trie), [IpAddr::from([10, 77, 0, 1])]);
    }

    #[test]
    fn finds_addresses_and_routes_of_ipv6() {
        let table = "fd770000000000000000000000000001 02 40 00 80     lan0\n\
                     00000000000000000000000000000001 01 80 10 80       lo\n";
        let found = local_addresses_ipv6(table);
        assert_eq!(found, ["fd77::1", "::1"].map(|text| text.parse::<IpAddr>().unwrap()));
        let routes = "fd770000000000000000000000000000 40 00000000000000000000000000000000 00 \
                      00000000000000000000000000000000 00000100 00000001 00000000 00000001     lan0\n\
                      00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
                      00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n";
        let leads =
            |device, address: &str| has_route_ipv6(routes, device, address.parse().unwrap());
        assert!(leads("lan0", "fd77::2"));
        assert!(!leads("lan0", "fd78::2") && !leads("lo", "fd77::2"));
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
