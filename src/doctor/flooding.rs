//! A switch that is to flood what is for the service (`ingress = "flood"`): what can be seen of it,
//! when it is a bridge of this machine.

use super::{
    finding::Report,
    offloads::{OtherEnd, other_end},
    system::{System, output_of},
};
use crate::config::{Ingress, MacAddress, NodeConfig};

const AREA: &str = "flooding";

/// Looks at what the LAN port is plugged into.
pub fn lan(config: &NodeConfig, system: &System, report: &mut Report) {
    let Ingress::Flood { .. } = config.cluster.ingress else { return };
    let vmac = config.cluster.vmac;
    if vmac.is_group() {
        report.note(
            AREA,
            format!(
                "{vmac} is a group address: hosts and routers that keep RFC 1812 3.3.2 refuse it in \
                 an ARP reply, and need a static neighbour entry or another cluster.vmac"
            ),
        );
    }
    let device = &config.node.lan.device;
    let is_interface = config.profiles.lan.device.driver == "net_af_packet";
    match other_end(device, system).filter(|_| is_interface) {
        Some(end) => bridge_port(&end, vmac, report),
        None => report.note(
            AREA,
            "the switch can't be seen from here; a backup that does not hear what its primary hears \
             logs `not_flooded`",
        ),
    }
}

fn bridge_port(end: &OtherEnd, vmac: MacAddress, report: &mut Report) {
    let name = &end.name;
    let place = end.namespace.as_ref().map_or(String::new(), |space| format!(" -n {space}"));
    let run = |command: &str| {
        let words: Vec<&str> = command.split_whitespace().collect();
        output_of(words[0], &words[1..])
    };
    let Some(details) = run(&format!("ip{place} -d link show dev {name}")) else {
        report.note(AREA, format!("could not be looked at: {name}"));
        return;
    };
    let kind = if vmac.is_group() { "mcast_flood" } else { "flood" };
    match port_floods(&details, kind) {
        Some(true) => report.ok(AREA, format!("the bridge floods to {name}")),
        Some(false) => {
            let message =
                format!("the bridge does not flood to {name}: a backup there hears nobody");
            report.error(AREA, message, format!("bridge{place} link set dev {name} {kind} on"));
        }
        None => report.note(AREA, format!("{name} is no port of a bridge")),
    }
    let table = run(&format!("bridge{place} fdb show")).unwrap_or_default();
    if let Some(port) = learned(&table, vmac) {
        let message = format!("the bridge has learned {vmac} at {port}, and floods nothing for it");
        report.error(AREA, message, format!("bridge{place} fdb del {vmac} dev {port} master"));
    }
}

/// Whether a bridge's port has this kind of flooding on, by `ip -d link show`; nothing for what is no
/// port.
fn port_floods(details: &str, kind: &str) -> Option<bool> {
    let (_, port) = details.split_once("bridge_slave ")?;
    let words: Vec<&str> = port.split_whitespace().collect();
    words.windows(2).find(|pair| pair[0] == kind).map(|pair| pair[1] == "on")
}

/// The port behind which a bridge believes this address to be, by `bridge fdb show`.
fn learned(table: &str, vmac: MacAddress) -> Option<String> {
    let vmac = vmac.to_string();
    table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [mac, "dev", port, ..] = words[..] else { return None };
        (mac == vmac).then(|| port.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_bridge_says_of_its_port() {
        let port = "5: lan-a@if2: <UP> mtu 1500 master lan\n    veth\n    bridge_slave state forwarding \
                    learning on flood off mcast_flood on bcast_flood on vlan_tunnel off";
        assert_eq!(port_floods(port, "flood"), Some(false));
        assert_eq!(port_floods(port, "mcast_flood"), Some(true));
        assert_eq!(port_floods("5: eth0: <UP> mtu 1500 flood off", "flood"), None);
    }

    #[test]
    fn finds_a_learned_address() {
        let vmac: MacAddress = "02:48:46:4d:00:64".parse().unwrap();
        let table =
            "33:33:00:00:00:01 dev lan self permanent\n02:48:46:4d:00:64 dev lan-a master lan\n";
        assert_eq!(learned(table, vmac).as_deref(), Some("lan-a"));
        assert_eq!(learned("02:48:46:4d:00:65 dev lan-a master lan\n", vmac), None);
    }
}
