//! What each part of the appliance runs with, taken from a checked configuration.

use std::{net::IpAddr, sync::Arc};

use controlplane::{Identity, Manifest, MemberConfig, NodeName};
use engine::{buffer::BLOCK_BYTES, content::Content, wire::ethernet::Mac};
use replication::{CommitRule, Incarnation, Protection};
use worker::{AddressConfig, PortConfig};

use serde::Serialize;

use super::{
    Cidr, Cluster, Commit, Encryption, Ingress, NodeConfig, Rule, limits, register::Common,
    versions,
};

/// The detector may raise its timeout to this many times the configured one when heartbeats
/// arrive irregularly.
const DETECTION_CEILING: u64 = 2;

/// What all nodes must have in common.
#[derive(Serialize)]
struct Compared<'a> {
    cluster: &'a Cluster,
    register: Common,
}

impl Cluster {
    /// Whether packets of any service wait for a majority of the nodes in sync.
    pub fn waits_for_majority(&self) -> bool {
        self.services.iter().any(|service| service.commit == engine::config::Commit::Quorum)
    }

    /// The shards' configuration. It follows from the cluster's alone: equal on all nodes.
    pub fn engine(&self) -> engine::config::Config {
        let shards = u32::from(self.shards);
        let mut isn_key = [0; 16];
        isn_key.copy_from_slice(&self.secret.derive("initial sequence numbers")[..16]);
        let blocks_per_mib = (1 << 20) / BLOCK_BYTES as u32;
        engine::config::Config {
            vips: self.vips.iter().map(|vip| vip.address.into()).collect(),
            shards: self.shards,
            max_connections: shard_connections(self.max_connections, shards),
            pool_blocks: self.buffer_mib * blocks_per_mib / shards,
            mtu: self.mtu,
            isn_key,
            tcp: self.tcp.clone(),
            services: self
                .services
                .iter()
                .map(|service| limits::service_of_shard(service, shards))
                .collect(),
            sources: limits::sources_of_shard(&self.sources, shards),
            ..Default::default()
        }
    }
}

/// A shard's share of the connections. The flow hash spreads them unevenly, so each shard gets
/// half as many again, and the cluster's number is reached before a shard's.
fn shard_connections(total: u32, shards: u32) -> u32 {
    if shards == 1 { total } else { total.div_ceil(shards) * 3 / 2 + 16 }
}

impl NodeConfig {
    /// The lines that two nodes compare: one for each setting, by its path in the file, the secret
    /// as a fingerprint.
    pub fn manifest(&self) -> Manifest {
        let compared = Compared { cluster: &self.cluster, register: self.register.common() };
        Manifest::of(&compared).expect("plain data with string keys")
    }

    /// How the node decides about its role.
    pub fn member(&self) -> MemberConfig {
        let us = |ms: u32| u64::from(ms) * 1000;
        let detection_timeout_us = us(self.cluster.detection_timeout_ms);
        MemberConfig {
            heartbeat_us: us(self.cluster.heartbeat_ms),
            detection_timeout_us,
            detection_ceiling_us: detection_timeout_us * DETECTION_CEILING,
            lone_start_us: us(self.node.lone_start_ms),
            priority: self.node.priority,
            links: u8::try_from(self.node.links.len()).unwrap_or(u8::MAX),
            lan_watch: self.cluster.lan_watch,
            by_majority: self.cluster.waits_for_majority(),
        }
    }

    /// Who the node is in this run, and what it must have in common with its peers.
    ///
    /// # Errors
    /// A name that no node can have.
    pub fn identity(
        &self,
        incarnation: Incarnation,
        content: &Content,
    ) -> Result<Identity, controlplane::NameError> {
        let versions = versions::own();
        Ok(Identity {
            name: NodeName::new(&self.node.name)?,
            incarnation,
            peers: self
                .peers
                .iter()
                .map(|peer| NodeName::new(&peer.name))
                .collect::<Result<_, _>>()?,
            keys: self.keys.clone(),
            config: self.manifest(),
            content: content_manifest(content),
            log_version: versions.log,
            link_version: versions.link,
            snapshot_version: versions.snapshot,
            workers: u16::try_from(self.node.cores.len()).unwrap_or(u16::MAX),
        })
    }

    /// What the workers are made with.
    pub fn worker(&self, incarnation: Incarnation, content: Arc<Content>) -> worker::NodeConfig {
        worker::NodeConfig {
            incarnation,
            vmac: Mac(self.cluster.vmac.0),
            ingress: self.cluster.ingress.into(),
            lan: self.lan_port(),
            links: self.link_ports().collect(),
            control_port: self.cluster.control_port,
            commit: self.cluster.commit.into(),
            protection: match self.cluster.encryption {
                Encryption::Aes256Gcm => Protection::Sealed(self.keys.clone()),
                Encryption::None => Protection::Checksum,
            },
            detection_timeout_us: self.member().self_doubt_us(),
            idle: self.profiles.lan.idle,
            shard: Arc::new(self.cluster.engine()),
            content,
            pending_log_bytes: worker::NodeConfig::DEFAULT_PENDING_LOG_BYTES,
            handover_bytes_per_second: self.handover_bytes_per_second(),
            gate_frames: worker::NodeConfig::DEFAULT_GATE_FRAMES,
        }
    }

    /// Each worker's share: they hand over side by side.
    fn handover_bytes_per_second(&self) -> u64 {
        u64::from(self.node.handover_mbit) * 1_000_000 / 8 / self.node.cores.len().max(1) as u64
    }

    /// The node's addresses on the service LAN.
    fn lan_port(&self) -> PortConfig {
        let lan = &self.node.lan;
        let gateway_beside = |address: &Cidr| {
            let same = |gateway: &&IpAddr| gateway.is_ipv4() == address.address.is_ipv4();
            lan.gateways.iter().find(same).copied()
        };
        let addresses =
            lan.addresses.iter().map(|address| on_network(address, gateway_beside(address)));
        let peers = self.peers.iter().map(|peer| peer.lan.into());
        PortConfig { addresses: addresses.collect(), peers: peers.collect() }
    }

    fn link_ports(&self) -> impl Iterator<Item = PortConfig> {
        self.node.links.iter().enumerate().map(|(place, link)| {
            let peers = self.peers.iter().map(|peer| peer.links[place]);
            PortConfig::new(on_network(&link.address, None), peers)
        })
    }
}

impl From<Commit> for worker::Commit {
    fn from(commit: Commit) -> Self {
        Self {
            rule: match commit.rule {
                // Of each service by itself.
                Rule::Swmu | Rule::Quorum => CommitRule::Swmu,
                Rule::None => CommitRule::None,
            },
            confirm_every_bytes: commit.confirm_bytes as usize,
            confirm_delay_us: commit.confirm_delay_us.into(),
        }
    }
}

impl From<Ingress> for worker::Ingress {
    fn from(ingress: Ingress) -> Self {
        match ingress {
            Ingress::Switch => Self::Switch,
            Ingress::Flood { keep_ms, keep_frames } => Self::Flood(worker::Keep {
                for_us: u64::from(keep_ms) * 1000,
                frames: keep_frames as usize,
            }),
        }
    }
}

fn on_network(address: &Cidr, gateway: Option<IpAddr>) -> AddressConfig {
    AddressConfig {
        address: address.address.into(),
        prefix_len: address.prefix,
        gateway: gateway.map(Into::into),
    }
}

/// The files that services send, as the lines that two nodes compare.
pub fn content_manifest(content: &Content) -> Manifest {
    let text: String = content.manifest().map(|line| line + "\n").collect();
    Manifest::new(text)
}
