//! From what is written to what is meant: every value checked, every problem of a file reported
//! at once.

use std::path::{Path, PathBuf};

use engine::config::{Ecn, TcpConfig};
use hw_profiles::Profile;
use replication::{KeyRing, MAX_LINKS, MAX_PEERS};

use super::{
    Cluster, Commit, ContentRoot, Ingress, KeySource, Lan, Link, Log, LogFormat, Node, NodeConfig,
    Peer, Profiles, Rule,
    addresses::{self, ADDRESS, link_key},
    checker::Checker,
    error::Problem,
    limits, register,
    schema::{
        ClusterSection, CommitSection, LogSection, NodeFile, NodeSection, PeerSection, TcpSection,
    },
    services,
    types::{Cidr, Encryption, MacAddress, Secret},
};

/// Smallest MTU of a link with IPv6 (RFC 8200 section 5).
const MIN_MTU_IPV6: u16 = 1280;

/// Checks `file`, found in folder `base`.
///
/// # Errors
/// All problems found, in the order of the file.
pub fn validate(
    file: &NodeFile,
    base: &Path,
    profiles: Profiles,
) -> Result<NodeConfig, Vec<Problem>> {
    let mut check = Checker::default();
    let cluster = cluster(&file.cluster, base, &profiles, &mut check);
    let node = node(&file.node, &mut check);
    let peers = peers(&file.peer.0, &mut check);
    let admin_socket = file.admin.socket.as_ref().map_or_else(
        || PathBuf::from(format!("/run/holdfast/{}.sock", file.node.name)),
        |socket| base.join(socket),
    );
    let others: Vec<&str> = file.peer.0.iter().map(|peer| peer.name.as_str()).collect();
    let nodes =
        register::Nodes { cluster: &file.cluster.name, me: &file.node.name, others: &others };
    let register = register::of_node(&file.register, &nodes, base, &mut check);
    let log = log(&file.log, &mut check);
    let key_file = file.node.key_file.as_ref().map(|path| base.join(path));
    let keys = cluster.as_ref().and_then(|(cluster, _)| keys(cluster, key_file, &mut check));
    let (Some(cluster), Some(node), Some(peers), Some(register), Some(log), Some(keys)) =
        (cluster, node, peers, register, log, keys)
    else {
        return Err(check.problems);
    };
    let ((cluster, content_roots), (keys, key_source)) = (cluster, keys);
    addresses::together(&cluster, &node, &peers, &mut check);
    let lone_start_ms = node.lone_start_ms;
    let what = format!("{lone_start_ms} ms: a node would serve alone before it hears its peer");
    let hint = "expected at least ten times cluster.detection_timeout_ms";
    let patient = lone_start_ms >= cluster.detection_timeout_ms * 10;
    check.require(patient, "node.lone_start_ms", what, hint);
    workers(&cluster, &node, &mut check);
    frames("cluster.mtu", cluster.mtu, &profiles.lan, &mut check);
    for (place, (link, profile)) in node.links.iter().zip(&profiles.links).enumerate() {
        let key = format!("{}.mtu", link_key(place, node.links.len()));
        frames(&key, link.mtu, profile, &mut check);
    }
    if !check.problems.is_empty() {
        return Err(check.problems);
    }
    Ok(NodeConfig {
        cluster,
        content_roots,
        node,
        peers,
        register,
        admin_socket,
        log,
        profiles,
        keys,
        key_source,
    })
}

/// The keys as they are now, and where they come from.
fn keys(
    cluster: &Cluster,
    file: Option<PathBuf>,
    check: &mut Checker,
) -> Option<(KeyRing, KeySource)> {
    let (cluster, secret) = (cluster.name.clone(), cluster.secret.clone());
    let source = KeySource { cluster, secret, file };
    match source.read() {
        Ok(keys) => Some((keys, source)),
        Err(error) => {
            check.fail("node.key_file", error.to_string(), "both nodes need the same keys");
            None
        }
    }
}

fn cluster(
    section: &ClusterSection,
    base: &Path,
    profiles: &Profiles,
    check: &mut Checker,
) -> Option<(Cluster, Vec<ContentRoot>)> {
    let name = check.name("cluster.name", &section.name);
    let secret = secret(&section.secret, check);
    let encryption = check.choice("cluster.encryption", &section.encryption, &Encryption::CHOICES);
    let vips = addresses::vips(&section.vip, check);
    let detection_timeout_ms =
        section.detection_timeout_ms.unwrap_or(profiles.lan.timers.detection_timeout_ms);
    let detection_timeout_ms =
        check.range("cluster.detection_timeout_ms", detection_timeout_ms, 5, 60_000);
    let ingress = ingress(section, detection_timeout_ms, &profiles.lan, check);
    let vmac = match &section.vmac {
        Some(text) => vmac(text, ingress, check),
        None => vips.as_ref().map(|vips| derived_vmac(&name, vips)),
    };
    let heartbeat_ms = section
        .heartbeat_ms
        .unwrap_or_else(|| profiles.lan.timers.heartbeat_ms.min((detection_timeout_ms / 4).max(1)));
    let heartbeat_ms = check.range("cluster.heartbeat_ms", heartbeat_ms, 1, 10_000);
    let what = format!("{heartbeat_ms} ms: two lost heartbeats would look like a crash");
    let hint = "expected at most a quarter of cluster.detection_timeout_ms";
    check.require(heartbeat_ms * 4 <= detection_timeout_ms, "cluster.heartbeat_ms", what, hint);
    let shards = check.range("cluster.shards", section.shards, 1, 4096);
    let max_connections =
        check.range("cluster.max_connections", section.max_connections, 1, 16_000_000);
    let buffer_mib = check.range("cluster.buffer_mib", section.buffer_mib, 1, 1 << 20);
    memory(buffer_mib, shards, check);
    let control_port = check.range("cluster.control_port", section.control_port, 1, 65_000);
    let mtu = check.range("cluster.mtu", section.mtu, 576, 9216);
    let ipv6 = vips.iter().flatten().any(|vip| vip.address.is_ipv6());
    let what = format!("{mtu} is out of range for the IPv6 address of cluster.vip");
    let enough = !ipv6 || mtu >= MIN_MTU_IPV6;
    check.require(enough, "cluster.mtu", what, "expected 1280 to 9216");
    let tcp = tcp(&section.tcp, check);
    let commit = commit(&section.commit, check);
    let sources = limits::sources(&section.per_source, check);
    let rule = commit.map_or(Rule::Swmu, |commit| commit.rule);
    let (services, roots) = services::services(&section.services, rule, base, check);
    let cluster = Cluster {
        name,
        secret: secret?,
        encryption: encryption?,
        vips: vips?,
        vmac: vmac?,
        ingress: ingress?,
        detection_timeout_ms,
        heartbeat_ms,
        lan_watch: section.lan_watch,
        shards,
        max_connections,
        buffer_mib,
        control_port,
        mtu,
        tcp,
        commit: commit?,
        sources,
        services,
    };
    Some((cluster, roots))
}

pub fn secret(text: &str, check: &mut Checker) -> Option<Secret> {
    let secret = text.parse::<Secret>().ok();
    if secret.is_none() {
        // The value itself is not repeated: it may be a mistyped real secret.
        let what = format!("has {} characters that do not fit", text.chars().count());
        let hint = "expected 64 hexadecimal digits; make one with: openssl rand -hex 32";
        check.fail("cluster.secret", what, hint);
    }
    secret
}

/// What a shard's share of the buffers may be.
fn memory(buffer_mib: u32, shards: u16, check: &mut Checker) {
    let share_kib = (u64::from(buffer_mib) << 10) / u64::from(shards);
    let what = format!("{buffer_mib} MiB are {share_kib} KiB for each of {shards} shards");
    let hint = "expected 32 KiB to 128 GiB for each shard";
    check.require((32..=128 << 20).contains(&share_kib), "cluster.buffer_mib", what, hint);
}

/// How long a takeover may take, for the default of `flood_keep_ms`: so many detection timeouts.
const KEEP_TIMEOUTS: u32 = 4;
const DEFAULT_KEEP_FRAMES: u32 = 8192;

fn ingress(
    section: &ClusterSection,
    detection_timeout_ms: u32,
    lan: &Profile,
    check: &mut Checker,
) -> Option<Ingress> {
    let floods =
        check.choice("cluster.ingress", &section.ingress, &[("switch", false), ("flood", true)])?;
    let (keep_ms, keep_frames) = (section.flood_keep_ms, section.flood_keep_frames);
    if !floods {
        let hint = "expected ingress = \"flood\" beside it";
        for (key, value) in
            [("cluster.flood_keep_ms", keep_ms), ("cluster.flood_keep_frames", keep_frames)]
        {
            check.require(value.is_none(), key, "has no meaning here", hint);
        }
        return Some(Ingress::Switch);
    }
    let what = format!("profile \"{}\" is for networks that never flood", lan.name);
    let hint = "expected \"switch\" there: such a network delivers by address alone";
    check.require(lan.device.flooded, "cluster.ingress", what, hint);
    let keep_ms = keep_ms.unwrap_or(detection_timeout_ms.saturating_mul(KEEP_TIMEOUTS));
    let keep_ms = check.range("cluster.flood_keep_ms", keep_ms, 1, 240_000);
    let what = format!("{keep_ms} ms: a takeover may take longer");
    let hint = "expected at least twice cluster.detection_timeout_ms";
    let enough = keep_ms >= detection_timeout_ms.saturating_mul(2);
    check.require(enough, "cluster.flood_keep_ms", what, hint);
    let keep_frames = keep_frames.unwrap_or(DEFAULT_KEEP_FRAMES);
    let keep_frames = check.range("cluster.flood_keep_frames", keep_frames, 64, 1 << 20);
    Some(Ingress::Flood { keep_ms, keep_frames })
}

/// Group addresses that mean something to switches: IPv4 and IPv6 multicast, which they forward by
/// who listens, and what no bridge forwards (RFC 1112 6.4, RFC 2464 7, IEEE 802.1D 7.12.6).
const GROUPS_IN_USE: [&[u8]; 4] =
    [&[0x01, 0x00, 0x5e], &[0x33, 0x33], &[0x01, 0x80, 0xc2], &[0xff, 0xff]];

fn vmac(text: &str, ingress: Option<Ingress>, check: &mut Checker) -> Option<MacAddress> {
    let expected = "six bytes in hex, e.g. \"02:48:46:00:00:64\"";
    let mac: MacAddress = check.parse("cluster.vmac", text, expected)?;
    if mac.is_group() && matches!(ingress, Some(Ingress::Flood { .. })) {
        let in_use = GROUPS_IN_USE.iter().any(|prefix| mac.0.starts_with(prefix));
        let what = format!("{mac} is a group address that switches have a use for");
        let hint = "expected one of nobody's, e.g. \"03:48:46:00:00:64\"";
        check.require(!in_use, "cluster.vmac", what, hint);
    } else {
        let what = format!("{mac} is a group address");
        let hint =
            "expected an even first byte, e.g. \"02:48:46:00:00:64\", or ingress = \"flood\"";
        check.require(!mac.is_group(), "cluster.vmac", what, hint);
    }
    Some(mac)
}

/// `02:48:46` (locally administered, "HF") and three bytes that differ from cluster to cluster.
fn derived_vmac(name: &str, vips: &[Cidr]) -> MacAddress {
    let vips: Vec<String> = vips.iter().map(ToString::to_string).collect();
    let hash = blake3::hash(format!("{name} {}", vips.join(" ")).as_bytes());
    let [a, b, c, ..] = *hash.as_bytes();
    MacAddress([0x02, 0x48, 0x46, a, b, c])
}

fn tcp(section: &TcpSection, check: &mut Checker) -> TcpConfig {
    let mut tcp = TcpConfig::default();
    let keys = [
        ("cluster.tcp.min_rto_ms", section.min_rto_ms, 1, 10_000, &mut tcp.min_rto_us),
        ("cluster.tcp.delayed_ack_ms", section.delayed_ack_ms, 0, 499, &mut tcp.delayed_ack_us),
        ("cluster.tcp.msl_ms", section.msl_ms, 1, 240_000, &mut tcp.msl_us),
    ];
    for (key, value_ms, min, max, into_us) in keys {
        if let Some(value_ms) = value_ms {
            *into_us = u64::from(check.range(key, value_ms, min, max)) * 1000;
        }
    }
    if section.ecn == Some(false) {
        tcp.ecn = Ecn::Off;
    }
    if let Some(ttl) = section.ttl {
        tcp.ttl = check.range("cluster.tcp.ttl", ttl, 1, 255);
    }
    tcp
}

fn node(section: &NodeSection, check: &mut Checker) -> Option<Node> {
    let name = check.name("node.name", &section.name);
    let lone_start_ms = check.range("node.lone_start_ms", section.lone_start_ms, 100, 3_600_000);
    let handover_mbit = check.range("node.handover_mbit", section.handover_mbit, 1, 1_000_000);
    let lan_device = device(&section.lan.device, "node.lan.device", check);
    let addresses = addresses::of_lan(&section.lan.address.0, check);
    let gateways = addresses::gateways(&section.lan.gateway.0, check);
    let links = links(section, &lan_device, check);
    let lan = Lan { device: lan_device, addresses: addresses?, gateways: gateways? };
    let (priority, cores) = (section.priority, section.cores.clone());
    Some(Node { name, priority, lone_start_ms, handover_mbit, cores, lan, links: links? })
}

fn device(device: &str, key: &str, check: &mut Checker) -> String {
    let hint = "expected an interface name, a PCI address or a socket, as the profile wants";
    check.require(!device.trim().is_empty(), key, "is empty", hint);
    device.to_owned()
}

/// The replication links; each needs a port of its own.
fn links(section: &NodeSection, lan_device: &str, check: &mut Checker) -> Option<Vec<Link>> {
    let sections = &section.link.0;
    let what = format!("has {}", sections.len());
    let hint = format!("expected 1 to {MAX_LINKS} links");
    check.require((1..=MAX_LINKS).contains(&sections.len()), "node.link", what, &hint);
    let mut links: Vec<Link> = Vec::new();
    for (place, section) in sections.iter().enumerate() {
        let key = link_key(place, sections.len());
        let device_key = format!("{key}.device");
        let device = device(&section.device, &device_key, check);
        let what = format!("\"{device}\" is the LAN's device too");
        let hint = "the link needs a port of its own, so that two paths can fail independently";
        check.require(lan_device != device, &device_key, what, hint);
        let what = format!("\"{device}\" is the first link's device too");
        let fresh = links.iter().all(|other| other.device != device);
        check.require(fresh, &device_key, what, hint);
        let mtu = check.range(&format!("{key}.mtu"), section.mtu, 1280, 9600);
        let address = addresses::of_link(&key, &section.address, check)?;
        links.push(Link { device, address, mtu });
    }
    Some(links)
}

fn commit(section: &CommitSection, check: &mut Checker) -> Option<Commit> {
    let usual = worker::Commit::default();
    let rules = [("swmu", Rule::Swmu), ("quorum", Rule::Quorum), ("none", Rule::None)];
    let word = section.rule.as_deref().unwrap_or("swmu");
    let rule = check.choice("cluster.commit.rule", word, &rules);
    let confirm_bytes = section.confirm_bytes.unwrap_or(usual.confirm_every_bytes as u32);
    let confirm_delay_us = section.confirm_delay_us.unwrap_or(usual.confirm_delay_us as u32);
    Some(Commit {
        rule: rule?,
        confirm_bytes: check.range("cluster.commit.confirm_bytes", confirm_bytes, 1, 1 << 20),
        confirm_delay_us: check.range(
            "cluster.commit.confirm_delay_us",
            confirm_delay_us,
            1,
            10_000,
        ),
    })
}

fn peers(sections: &[PeerSection], check: &mut Checker) -> Option<Vec<Peer>> {
    let what = format!("has {}", sections.len());
    let hint = format!("expected 1 to {MAX_PEERS} other nodes");
    check.require((1..=MAX_PEERS).contains(&sections.len()), "peer", what, &hint);
    sections.iter().map(|section| peer(section, check)).collect()
}

fn peer(section: &PeerSection, check: &mut Checker) -> Option<Peer> {
    let name = check.name("peer.name", &section.name);
    let lan = check.parse("peer.lan", &section.lan, ADDRESS);
    let link = section.link.0.iter().map(|link| check.parse("peer.link", link, ADDRESS));
    let links: Option<Vec<_>> = link.collect();
    Some(Peer { name, lan: lan?, links: links? })
}

pub fn log(section: &LogSection, check: &mut Checker) -> Option<Log> {
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let format = check.choice("log.format", &section.format, &formats);
    let directives = section.level.parse::<tracing_subscriber::filter::Targets>().is_ok();
    let what = format!("\"{}\" does not fit", section.level);
    let hint = "expected error, warn, info, debug or trace, or e.g. \"info,worker=debug\"";
    check.require(directives, "log.level", what, hint);
    Some(Log { level: section.level.clone(), format: format? })
}

/// A port can't carry more than its profile's device.
fn frames(key: &str, mtu: u16, profile: &Profile, check: &mut Checker) {
    let device = &profile.device;
    let largest = device.jumbo.as_ref().unwrap_or(&device.standard).mtu;
    let what = format!("{mtu} bytes are more than profile \"{}\" carries", profile.name);
    let hint = format!("expected at most {largest}");
    check.require(device.frames(mtu).is_some(), key, what, &hint);
}

fn workers(cluster: &Cluster, node: &Node, check: &mut Checker) {
    let hint = "expected at least one core number, e.g. cores = [1]";
    check.require(!node.cores.is_empty(), "node.cores", "is empty", hint);
    for (index, core) in node.cores.iter().enumerate() {
        let what = format!("core {core} is listed twice");
        let fresh = !node.cores[..index].contains(core);
        check.require(fresh, "node.cores", what, "give every worker a core of its own");
    }
    let what = format!("{} cores but only {} shards", node.cores.len(), cluster.shards);
    let hint = "raise cluster.shards (on both nodes) or list fewer cores";
    check.require(node.cores.len() <= usize::from(cluster.shards), "node.cores", what, hint);
}
