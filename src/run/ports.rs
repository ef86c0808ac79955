//! The node's ports, from profile and configuration to opened devices.

use anyhow::Context;
use dpdk::{Eal, EalConfig, Mempool, Offloads, Port, PortConfig};
use engine::hash::RSS_KEY;
use hw_profiles::{Attach, Profile};
use replication::MAX_LINKS;
use tracing::info;

use crate::config::{Ingress, NodeConfig};

/// All ports, opened and started.
#[derive(Debug)]
pub struct Ports {
    pub lan: OpenPort,
    /// In the order of the configuration.
    pub links: Vec<OpenPort>,
}

/// A port and the frames that it and its users share.
#[derive(Debug)]
pub struct OpenPort {
    pub port: Port,
    pub pool: Mempool,
}

/// Starts EAL with what all profiles ask for.
///
/// # Errors
/// EAL refuses; the error says what to do.
pub fn start_eal(config: &NodeConfig) -> anyhow::Result<Eal> {
    let (node, profiles) = (&config.node, &config.profiles);
    let devices = [&node.lan.device].into_iter().chain(node.links.iter().map(|link| &link.device));
    let pci = profiles
        .iter()
        .zip(devices)
        .filter(|(profile, _)| profile.device.attach == Attach::Pci)
        .map(|(profile, device)| profile.device.template.replace("{device}", device))
        .collect();
    let mut args: Vec<String> = Vec::new();
    for profile in profiles.iter() {
        let wanted = profile.eal.args.iter();
        let more: Vec<String> = wanted.filter(|arg| !args.contains(arg)).cloned().collect();
        args.extend(more);
    }
    let eal = EalConfig {
        file_prefix: format!("holdfast-{}-{}", config.cluster.name, config.node.name),
        hugepages: profiles.iter().any(|profile| profile.eal.hugepages),
        memory_mib: profiles.iter().map(|profile| profile.eal.memory_mib).max().unwrap_or(0),
        pci,
        args,
    };
    Eal::init(&eal).context("DPDK did not start")
}

/// What log lines and pools call the ports of the links.
const LINK_NAMES: [&str; MAX_LINKS] = ["link", "link2"];

/// Opens all ports with a queue pair for each worker, as far as the devices have them.
///
/// # Errors
/// A device can't be had, or not with this MTU; the error says what to do.
pub fn open(eal: &Eal, config: &NodeConfig) -> anyhow::Result<Ports> {
    let (node, profiles) = (&config.node, &config.profiles);
    let workers = u16::try_from(node.cores.len()).unwrap_or(u16::MAX);
    let kept = match config.cluster.ingress {
        Ingress::Switch => 0,
        Ingress::Flood { keep_frames, .. } => keep_frames,
    };
    let wanted = Wanted { index: 0, name: "lan", workers, mtu: config.cluster.mtu, kept };
    let mut lan = open_port(eal, &profiles.lan, &node.lan.device, &wanted)
        .with_context(|| format!("node.lan.device \"{}\"", node.lan.device))?;
    lan.port.add_mac(config.cluster.vmac.0)?;
    let mut links = Vec::new();
    for (index, ((link, profile), name)) in
        (1..).zip(node.links.iter().zip(&profiles.links).zip(LINK_NAMES))
    {
        let wanted = Wanted { index, name, workers, mtu: link.mtu, kept: 0 };
        let open = open_port(eal, profile, &link.device, &wanted)
            .with_context(|| format!("node.link: device \"{}\"", link.device))?;
        links.push(open);
    }
    Ok(Ports { lan, links })
}

struct Wanted {
    /// Number of the port in the process.
    index: u16,
    /// What log lines and pools call it.
    name: &'static str,
    workers: u16,
    /// Bytes.
    mtu: u16,
    /// Frames that each worker may keep, beside those that the profile counts.
    kept: u32,
}

fn open_port(
    eal: &Eal,
    profile: &Profile,
    device: &str,
    wanted: &Wanted,
) -> anyhow::Result<OpenPort> {
    let Wanted { index, name, workers, mtu, kept } = *wanted;
    let too_wide = || format!("profile {} does not carry an MTU of {mtu}", profile.name);
    let mut config =
        PortConfig::from_profile(profile, index, device, workers, mtu).with_context(too_wide)?;
    config.rss_key = profile.offloads.rss.then_some(RSS_KEY);
    let mut mempool = config.mempool(profile).with_context(too_wide)?;
    // The profile counts frames for each queue, but each worker holds frames, queue or not.
    mempool.mbufs = (mempool.mbufs.div_ceil(config.queues.into()) + kept) * u32::from(workers);
    let pool = Mempool::new(eal, name, &mempool)?;
    let port = Port::open(eal, &config, &pool)?;
    info!(
        port = name,
        device,
        driver = port.driver(),
        queues = config.queues,
        mtu = port.mtu(),
        offloads = offload_names(&port.offloads()),
        "port is open"
    );
    Ok(OpenPort { port, pool })
}

fn offload_names(offloads: &Offloads) -> String {
    let all = [
        ("rx_checksum", offloads.rx_checksum),
        ("tx_ipv4_checksum", offloads.tx_ipv4_checksum),
        ("tx_tcp_checksum", offloads.tx_tcp_checksum),
        ("tx_udp_checksum", offloads.tx_udp_checksum),
        ("rss", offloads.rss),
    ];
    let names: Vec<&str> = all.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    if names.is_empty() { "none".into() } else { names.join(",") }
}
