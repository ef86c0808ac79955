//! The ports: does the device exist, is it bound, up, and wide enough.

use hw_profiles::{Attach, Profile};

use super::{finding::Report, system::System};
use crate::config::{Link, NodeConfig};

/// One port of the node, as its checks need it.
struct Port<'a> {
    area: &'static str,
    device: &'a str,
    mtu: u16,
    profile: &'a Profile,
}

/// Looks at all ports' devices.
pub fn ports(config: &NodeConfig, system: &System, report: &mut Report) {
    let (node, profiles) = (&config.node, &config.profiles);
    let lan = Port {
        area: "lan",
        device: &node.lan.device,
        mtu: config.cluster.mtu,
        profile: &profiles.lan,
    };
    let links = node.links.iter().zip(&profiles.links).enumerate();
    let links = links.map(|(place, (link, profile))| {
        let Link { device, mtu, .. } = link;
        Port { area: Link::name(place), device, mtu: *mtu, profile }
    });
    for port in [lan].into_iter().chain(links) {
        match (port.profile.device.attach, port.profile.device.driver.as_str()) {
            (Attach::Pci, _) => pci(&port, config, system, report),
            (Attach::Vdev, "net_af_packet") => interface(&port, system, report),
            (Attach::Vdev, "net_tap") => tap(&port, system, report),
            (Attach::Vdev, driver) => {
                let message = format!("{driver} \"{}\" is made at start", port.device);
                report.note(port.area, message);
            }
        }
    }
}

fn interface(port: &Port<'_>, system: &System, report: &mut Report) {
    let (area, device) = (port.area, port.device);
    let folder = format!("/sys/class/net/{device}");
    if !system.exists(&folder) {
        let there = system.names("/sys/class/net").join(", ");
        let message = format!("interface {device} does not exist here; there are: {there}");
        report.error(area, message, "correct the device, or run in its network namespace");
        return;
    }
    const IFF_UP: u64 = 1;
    let flags = system.read(&format!("{folder}/flags")).unwrap_or_default();
    let flags = u64::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap_or(0);
    if flags & IFF_UP == 0 {
        let fix = format!("ip link set {device} up");
        report.error(area, format!("interface {device} is down"), fix);
    } else if system.number(&format!("{folder}/carrier")) == Some(0) {
        let message = format!("interface {device} has no carrier");
        report.error(area, message, "plug the cable in, or set the other end of the veth up");
    } else {
        report.ok(area, format!("interface {device} is up"));
    }
    let mtu = system.number(&format!("{folder}/mtu")).unwrap_or(0);
    if mtu < u64::from(port.mtu) {
        let message = format!("interface {device} has MTU {mtu}, the node wants {}", port.mtu);
        report.error(area, message, format!("ip link set {device} mtu {}", port.mtu));
    } else {
        report.ok(area, format!("MTU {mtu} carries {}", port.mtu));
    }
}

fn tap(port: &Port<'_>, system: &System, report: &mut Report) {
    if system.exists("/dev/net/tun") {
        report.ok(port.area, format!("tap {} is made at start", port.device));
    } else {
        let fix = "modprobe tun; mkdir -p /dev/net; mknod /dev/net/tun c 10 200";
        report.error(port.area, "/dev/net/tun is missing", fix);
    }
}

fn pci(port: &Port<'_>, config: &NodeConfig, system: &System, report: &mut Report) {
    let (area, device) = (port.area, port.device);
    let folder = format!("/sys/bus/pci/devices/{device}");
    if !system.exists(&folder) {
        let fix = match system.link_name(&format!("/sys/class/net/{device}/device")) {
            Some(address) => format!("{device} is an interface's name; set device = \"{address}\""),
            None => "dpdk-devbind.py --status-dev net    # lists the addresses".to_owned(),
        };
        let profile = &port.profile.name;
        let message = format!("no PCI device {device}; profile {profile} wants a PCI address");
        report.error(area, message, fix);
        return;
    }
    let wanted = port.profile.device.kernel_driver.as_str();
    match system.link_name(&format!("{folder}/driver")) {
        Some(bound) if bound == wanted || wanted.is_empty() => {
            report.ok(area, format!("{device} is bound to {bound}"));
        }
        bound => {
            let bound = bound.unwrap_or_else(|| "no driver".into());
            let message = format!("{device} is bound to {bound}, expected {wanted}");
            let fix = format!("modprobe {wanted} && dpdk-devbind.py --bind={wanted} {device}");
            report.error(area, message, fix);
        }
    }
    if wanted == "vfio-pci" && !system.exists(&format!("{folder}/iommu_group")) {
        let fix = "add intel_iommu=on iommu=pt to the kernel command line\n\
                   or: echo 1 > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
        report.error(area, format!("{device} has no IOMMU group, which vfio-pci needs"), fix);
    }
    numa(&folder, port, config, system, report);
}

fn numa(folder: &str, port: &Port<'_>, config: &NodeConfig, system: &System, report: &mut Report) {
    // -1 where there is only one memory node.
    let Some(node) = system.number(&format!("{folder}/numa_node")) else { return };
    let far: Vec<String> = config
        .node
        .cores
        .iter()
        .filter(|core| !system.exists(&format!("/sys/devices/system/cpu/cpu{core}/node{node}")))
        .map(ToString::to_string)
        .collect();
    if !far.is_empty() {
        let local = format!("/sys/devices/system/node/node{node}/cpulist");
        let local = system.read(&local).unwrap_or_default();
        let message =
            format!("{} hangs on memory node {node}, core {} does not", port.device, far.join(","));
        report.warn(port.area, message, format!("set node.cores to some of: {local}"));
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::*;
    use crate::{config::testing, doctor::finding::Severity};

    fn interface(root: &Path, name: &str, flags: &str, mtu: u32) {
        let folder = root.join("sys/class/net").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("flags"), flags).unwrap();
        fs::write(folder.join("mtu"), mtu.to_string()).unwrap();
        fs::write(folder.join("carrier"), "1").unwrap();
    }

    fn examine(root: &Path, profile: &str) -> Report {
        let mut report = Report::default();
        ports(&testing::config_with_profile(profile), &System::under(root), &mut report);
        report
    }

    fn errors(report: &Report) -> Vec<&str> {
        let is_error = |finding: &&super::super::Finding| finding.severity == Severity::Error;
        report.findings.iter().filter(is_error).map(|finding| finding.message.as_str()).collect()
    }

    #[test]
    fn interfaces_must_be_there_up_and_wide_enough() {
        let root = tempfile::tempdir().unwrap();
        interface(root.path(), "lan0", "0x1002", 1500);
        interface(root.path(), "link0", "0x1003", 1500);
        let report = examine(root.path(), "af_packet");
        assert_eq!(
            errors(&report),
            ["interface lan0 is down", "interface link0 has MTU 1500, the node wants 9000"]
        );
        fs::remove_dir_all(root.path().join("sys/class/net/lan0")).unwrap();
        let report = examine(root.path(), "af_packet");
        assert!(errors(&report)[0].contains("lan0 does not exist here; there are: link0"));
    }

    #[test]
    fn an_interface_name_where_a_pci_address_is_wanted_is_translated() {
        let root = tempfile::tempdir().unwrap();
        interface(root.path(), "lan0", "0x1003", 1500);
        let device = root.path().join("sys/class/net/lan0/device");
        symlink("../../../0000:3b:00.0", device).unwrap();
        let report = examine(root.path(), "ixgbe");
        let fix = report.findings[0].fix.as_deref().unwrap();
        assert!(fix.contains("set device = \"0000:3b:00.0\""), "{fix}");
    }
}
