//! `holdfast check`: is the configuration right, and what would run.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use engine::{
    config::{Commit, ServiceConfig, ServiceKind, StreamLength},
    content::Content,
};
use serde::Serialize;

use crate::{
    cli::CheckArgs,
    config::{self, Encryption, Ingress, Link, NodeConfig, Register, content_manifest},
    content_loader, text,
};

/// Reads the file and the content that it names, and prints what would run.
///
/// # Errors
/// The file is wrong, a content folder can't be loaded, or standard output can't be written.
pub fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let config = config::load(&args.config).context("the configuration is wrong")?;
    let content = content_loader::load(&config.content_roots)?;
    let text = if args.manifest {
        format!("{}{}", config.manifest().text(), content_manifest(&content).text())
    } else if args.json {
        serde_json::to_string_pretty(&Plan::of(&config, &content))? + "\n"
    } else {
        render(&config, &content)
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// What `--json` prints.
#[derive(Serialize)]
struct Plan<'a> {
    cluster: &'a config::Cluster,
    node: &'a config::Node,
    peers: &'a [config::Peer],
    admin_socket: &'a PathBuf,
    profile: &'a str,
    link_profiles: Vec<&'a str>,
    content_roots: &'a [config::ContentRoot],
    content_files: usize,
    content_bytes: u64,
    /// Equal on all nodes, or they do not work together.
    manifest_digest: String,
    /// Names of the shared keys, the one that seals first.
    keys: Vec<String>,
    content_digest: String,
}

impl<'a> Plan<'a> {
    fn of(config: &'a NodeConfig, content: &Content) -> Self {
        Self {
            cluster: &config.cluster,
            node: &config.node,
            peers: &config.peers,
            admin_socket: &config.admin_socket,
            profile: &config.profiles.lan.name,
            link_profiles: config.profiles.links.iter().map(|link| link.name.as_str()).collect(),
            content_roots: &config.content_roots,
            content_files: content.len(),
            content_bytes: content.size(),
            manifest_digest: hex(config.manifest().digest()),
            keys: config.keys.ids().map(|key| key.to_string()).collect(),
            content_digest: hex(content_manifest(content).digest()),
        }
    }
}

fn commit(cluster: &config::Cluster) -> String {
    let commit = &cluster.commit;
    let rule = match commit.rule {
        config::Rule::Swmu | config::Rule::Quorum => "packets wait for all nodes in sync",
        config::Rule::None => "packets wait for NOBODY: a crash loses what clients were told",
    };
    let (bytes, delay_us) = (commit.confirm_bytes, commit.confirm_delay_us);
    let with = |rule: Commit| {
        let services = cluster.services.iter().filter(move |service| service.commit == rule);
        services.map(|service| service.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let but = match (with(Commit::Swfr), with(Commit::Quorum)) {
        (early, majority) if early.is_empty() && majority.is_empty() => String::new(),
        (early, majority) if majority.is_empty() => format!(", but for payload of {early}"),
        (early, majority) if early.is_empty() => {
            format!(", those of {majority} for a majority of these")
        }
        (early, majority) => {
            format!(", but for payload of {early}, and those of {majority} for a majority of these")
        }
    };
    format!("{rule}{but}; confirmed after {bytes} bytes or {delay_us} µs, or when idle")
}

fn register(register: &Register) -> String {
    match register {
        Register::Pair(None) => {
            "the pair alone: two nodes that cannot hear each other both serve".into()
        }
        Register::Pair(Some(fence)) => {
            format!("the pair alone, a silent peer is fenced: {}", fence.command.join(" "))
        }
        Register::Raft(raft) => {
            let others: Vec<String> =
                raft.others.iter().map(|(name, address)| format!("{name} at {address}")).collect();
            let folder = raft.folder.display();
            format!("votes at {} with {}, memory in {folder}", raft.address, others.join(", "))
        }
        Register::Etcd(etcd) => {
            let endpoints: Vec<String> = etcd.endpoints.iter().map(ToString::to_string).collect();
            let user = etcd.login.as_ref().map(|login| format!(" as {}", login.user));
            let user = user.unwrap_or_default();
            format!("{} in etcd at {}{user}", etcd.key, endpoints.join(", "))
        }
    }
}

fn render(config: &NodeConfig, content: &Content) -> String {
    let (cluster, node) = (&config.cluster, &config.node);
    let (lan, profiles) = (&node.lan, &config.profiles);
    let vips: Vec<String> = cluster.vips.iter().map(ToString::to_string).collect();
    let cores: Vec<String> = node.cores.iter().map(ToString::to_string).collect();
    let mut table = text::Table::default();
    let mut line = |name: &str, value: String| table.row([name.into(), value]);
    line("node", format!("{} of cluster {}, priority {}", node.name, cluster.name, node.priority));
    for peer in &config.peers {
        let links: Vec<String> = peer.links.iter().map(ToString::to_string).collect();
        let links = links.join(", ");
        line("peer", format!("{} at {} (LAN) and {links} (link)", peer.name, peer.lan));
    }
    line("serves", format!("{} from {}", vips.join(", "), cluster.vmac));
    line("ingress", ingress(cluster.ingress));
    line("commit", commit(cluster));
    let addresses: Vec<String> = lan.addresses.iter().map(ToString::to_string).collect();
    let addresses = addresses.join(", ");
    line("lan", format!("{} by {}, {addresses}", lan.device, profiles.lan.name));
    for (place, (link, profile)) in node.links.iter().zip(&profiles.links).enumerate() {
        let Link { device, address, mtu } = link;
        line(Link::name(place), format!("{device} by {}, {address}, MTU {mtu}", profile.name));
    }
    let workers = format!("{} on core {}", node.cores.len(), cores.join(","));
    line("workers", format!("{workers}, {} shards", cluster.shards));
    line("connections", text::count(cluster.max_connections.into()));
    line("buffers", text::bytes(u64::from(cluster.buffer_mib) << 20));
    let timers = format!("after {} ms of silence", cluster.detection_timeout_ms);
    line("takeover", format!("{timers}, a heartbeat every {} ms", cluster.heartbeat_ms));
    line("register", register(&config.register));
    let keys: Vec<String> = config.keys.ids().map(|key| key.to_string()).collect();
    let log = match cluster.encryption {
        Encryption::Aes256Gcm => "log encrypted",
        Encryption::None => "log NOT encrypted",
    };
    line("keys", format!("{}, the first one seals; {log}", keys.join(", ")));
    line("admin", config.admin_socket.display().to_string());
    let mut text = table.render(0) + "\n";
    text.push_str(&services(config));
    text.push_str(&format!(
        "\nmanifest  {}\ncontent   {}  (files: {}, {})\n",
        hex(config.manifest().digest()),
        hex(content_manifest(content).digest()),
        text::count(content.len() as u64),
        text::bytes(content.size()),
    ));
    text.push_str("Both digests must be the same on the other node.\n");
    text
}

fn services(config: &NodeConfig) -> String {
    let mut table = text::Table::with_headings(&["PORT", "SERVICE", "WHAT IT DOES"]);
    for service in &config.cluster.services {
        let what = what_it_does(service, config);
        table.row([service.port.to_string(), service.name.clone(), what]);
    }
    table.render(0)
}

fn ingress(ingress: Ingress) -> String {
    match ingress {
        Ingress::Switch => "by a switch that learns".into(),
        Ingress::Flood { keep_ms, keep_frames } => format!(
            "by a switch that floods; the last {keep_ms} ms are kept, up to {} frames a worker",
            text::count(keep_frames.into())
        ),
    }
}

fn what_it_does(service: &ServiceConfig, config: &NodeConfig) -> String {
    match &service.kind {
        ServiceKind::Echo => "sends back what it receives".into(),
        ServiceKind::Discard => "throws away what it receives".into(),
        ServiceKind::Stream { length, rate_bps, .. } => {
            let length = match length {
                StreamLength::Endless => "an endless pattern",
                StreamLength::Requested => "as many bytes of the pattern as asked for",
            };
            let pace = rate_bps.map(|rate| format!(" at {} bit/s", text::count(rate)));
            format!("sends {length}{}", pace.unwrap_or_default())
        }
        ServiceKind::Http { root, .. } => {
            let folder = config.content_roots.iter().find(|place| place.name == *root);
            let folder = folder.map_or("?".into(), |place| place.folder.display().to_string());
            format!("serves {folder} over HTTP")
        }
        ServiceKind::External => "is left to another program".into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
