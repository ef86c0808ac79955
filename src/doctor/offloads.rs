//! Offloads of whoever sends to an AF_PACKET port.
//!
//! A kernel hands frames over a veth as it finds them: checksums not filled in, many segments
//! glued into one frame larger than the ring takes. Both must be switched off at the *sending*
//! end. On a real interface it is this end's receive offload that glues.

use super::{
    finding::Report,
    system::{System, output_of},
};
use crate::config::NodeConfig;

const AREA: &str = "offloads";

/// What a sender's kernel must not leave to a device.
const SENDER: [(&str, &str); 4] = [
    ("tx", "tx-checksumming"),
    ("tso", "tcp-segmentation-offload"),
    ("gso", "generic-segmentation-offload"),
    ("gro", "generic-receive-offload"),
];
/// What a receiver's device must not glue together.
const RECEIVER: [(&str, &str); 2] =
    [("gro", "generic-receive-offload"), ("lro", "large-receive-offload")];

/// Looks at the LAN port, when it is a kernel interface.
pub fn lan(config: &NodeConfig, system: &System, report: &mut Report) {
    let device = &config.node.lan.device;
    if config.profiles.lan.device.driver != "net_af_packet"
        || !system.exists(&format!("/sys/class/net/{device}"))
    {
        return;
    }
    if output_of("ethtool", &["--version"]).is_none() {
        let message = "the tool ethtool is missing: offloads could not be looked at";
        report.warn(AREA, message, "apt-get install ethtool");
        return;
    }
    if system.exists(&format!("/sys/class/net/{device}/device")) {
        judge(&RECEIVER, device, "", report);
        return;
    }
    match other_end(device, system) {
        Some(OtherEnd { name, namespace }) => {
            let prefix = namespace.map(|name| format!("ip netns exec {name} "));
            judge(&SENDER, &name, &prefix.unwrap_or_default(), report);
        }
        None => {
            let index = system.number(&format!("/sys/class/net/{device}/iflink")).unwrap_or(0);
            report.note(
                AREA,
                format!(
                    "the other end of {device} (interface number {index}) is out of sight; \
                     run there: ethtool -K NAME tx off tso off gso off gro off"
                ),
            );
        }
    }
}

/// `prefix` is put before commands that must run in another namespace.
fn judge(wanted_off: &[(&str, &str)], interface: &str, prefix: &str, report: &mut Report) {
    let command = format!("{prefix}ethtool -k {interface}");
    let words: Vec<&str> = command.split_whitespace().collect();
    let Some(features) = output_of(words[0], &words[1..]) else {
        report.note(AREA, format!("could not be read: {command}"));
        return;
    };
    let on = features_on(&features, wanted_off);
    let place = if prefix.is_empty() { "" } else { " (in its namespace)" };
    if on.is_empty() {
        report.ok(AREA, format!("{interface}{place} hands over plain frames"));
        return;
    }
    let message = format!(
        "{interface}{place} has {} on: frames arrive unfinished or too large, and are dropped",
        on.join(", ")
    );
    let switches: Vec<String> = on.iter().map(|name| format!("{name} off")).collect();
    report.error(AREA, message, format!("{prefix}ethtool -K {interface} {}", switches.join(" ")));
}

fn features_on<'a>(features: &str, wanted_off: &[(&'a str, &str)]) -> Vec<&'a str> {
    let is_on = |name: &str| {
        features.lines().any(|line| {
            line.strip_prefix(name)
                .and_then(|rest| rest.strip_prefix(": "))
                .is_some_and(|state| state.starts_with("on"))
        })
    };
    wanted_off.iter().filter(|(_, name)| is_on(name)).map(|(switch, _)| *switch).collect()
}

/// The other end of a veth.
pub(super) struct OtherEnd {
    pub name: String,
    /// Nothing: the same namespace as ours.
    pub namespace: Option<String>,
}

/// Finds a veth's other end here or in a named namespace.
pub(super) fn other_end(device: &str, system: &System) -> Option<OtherEnd> {
    let own = system.number(&format!("/sys/class/net/{device}/ifindex"))?;
    let other = system.number(&format!("/sys/class/net/{device}/iflink"))?;
    for name in system.names("/sys/class/net") {
        let index = system.number(&format!("/sys/class/net/{name}/ifindex"));
        let link = system.number(&format!("/sys/class/net/{name}/iflink"));
        if index == Some(other) && link == Some(own) && other != own {
            return Some(OtherEnd { name, namespace: None });
        }
    }
    let in_namespace = |namespace: &String| {
        let links = output_of("ip", &["-n", namespace, "-o", "link", "show"])?;
        links.lines().find_map(|line| veth_end(line, other, own))
    };
    system.names("/run/netns").into_iter().find_map(|namespace| {
        let name = in_namespace(&namespace)?;
        Some(OtherEnd { name, namespace: Some(namespace) })
    })
}

/// The name in a line `5: lan-a@if4: <…`, when the numbers are the wanted ones.
fn veth_end(line: &str, index: u64, link: u64) -> Option<String> {
    let (number, rest) = line.split_once(": ")?;
    let (name, rest) = rest.split_once("@if")?;
    let (other, _) = rest.split_once(':')?;
    let fits = number.parse() == Ok(index) && other.parse() == Ok(link);
    fits.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ethtools_list() {
        let features = "Features for lan-a:\nrx-checksumming: on\ntx-checksumming: off\n\
                        \ttx-checksum-ip-generic: on\ntcp-segmentation-offload: on\n\
                        generic-segmentation-offload: off [requested on]\n\
                        generic-receive-offload: on [fixed]\n";
        assert_eq!(features_on(features, &SENDER), ["tso", "gro"]);
    }

    #[test]
    fn finds_the_other_end_by_its_numbers() {
        let line = "5: lan-a@if4: <BROADCAST,UP> mtu 1500 qdisc noqueue state UP";
        assert_eq!(veth_end(line, 5, 4).as_deref(), Some("lan-a"));
        assert_eq!(veth_end(line, 5, 3), None);
        assert_eq!(veth_end("1: lo: <LOOPBACK>", 1, 1), None);
    }
}
