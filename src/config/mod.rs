//! `node.toml`: read, checked, and turned into what the parts run with.
//!
//! [`schema`] is the file as written, [`validate`] makes a [`NodeConfig`] of it, [`parts`] builds
//! from that what engine, worker and member run with, and the manifest that two nodes compare.

mod addresses;
mod checker;
mod error;
mod etcd;
mod keys;
mod limits;
mod parts;
mod profiles;
mod register;
mod schema;
mod services;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod types;
mod validate;
pub mod versions;
pub mod witness;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use engine::config::{ServiceConfig, SourceLimits, TcpConfig};
use replication::KeyRing;
use serde::Serialize;

pub use error::ConfigError;
pub use etcd::Etcd;
pub use keys::KeySource;
pub use parts::content_manifest;
pub use profiles::Profiles;
pub use register::{Fence, Raft, Register};
pub use types::{Cidr, Encryption, MacAddress, Secret};

/// A checked `node.toml`.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    pub cluster: Cluster,
    /// Folders of the `http` services. Each node's own: the contents must match, not the paths.
    pub content_roots: Vec<ContentRoot>,
    pub node: Node,
    /// The other nodes, in the order of the file.
    pub peers: Vec<Peer>,
    pub register: Register,
    pub admin_socket: PathBuf,
    pub log: Log,
    pub profiles: Profiles,
    /// What the node shared with its peers when the file was read.
    pub keys: KeyRing,
    pub key_source: KeySource,
}

/// What all nodes must agree on. Its serialized form is what they compare.
#[derive(Debug, Clone, Serialize)]
pub struct Cluster {
    pub name: String,
    pub secret: Secret,
    /// Of the log on the link; control messages are always encrypted.
    pub encryption: Encryption,
    #[serde(rename = "vip")]
    pub vips: Vec<Cidr>,
    pub vmac: MacAddress,
    pub ingress: Ingress,
    pub detection_timeout_ms: u32,
    pub heartbeat_ms: u32,
    /// A primary whose service LAN fails gives the service to a node whose LAN works.
    pub lan_watch: bool,
    pub shards: u16,
    pub max_connections: u32,
    pub buffer_mib: u32,
    pub control_port: u16,
    pub mtu: u16,
    pub tcp: TcpConfig,
    pub commit: Commit,
    #[serde(rename = "per_source")]
    pub sources: SourceLimits,
    #[serde(rename = "service")]
    pub services: Vec<ServiceConfig>,
}

/// What lets a packet leave, and when the nodes that hold the log say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Commit {
    pub rule: Rule,
    pub confirm_bytes: u32,
    pub confirm_delay_us: u32,
}

/// Whose confirmation a packet waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// All nodes in sync.
    Swmu,
    /// A majority of them, where a service does not say otherwise.
    Quorum,
    /// Nobody's.
    None,
}

/// How what clients send gets to the node that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ingress {
    /// The switch learns where the virtual MAC is.
    Switch,
    /// The switch floods what is sent to the virtual MAC.
    Flood {
        /// For how long the node that does not serve keeps what it hears.
        keep_ms: u32,
        /// How many frames each of its workers keeps at most.
        keep_frames: u32,
    },
}

/// A folder that an `http` service serves.
#[derive(Debug, Clone, Serialize)]
pub struct ContentRoot {
    /// The service's name; the engine's configuration knows the root by it.
    pub name: String,
    pub folder: PathBuf,
    /// Whether folders answer, so that lists of their files are made.
    pub directory_index: bool,
}

/// This node.
#[derive(Debug, Clone, Serialize)]
pub struct Node {
    pub name: String,
    pub priority: u16,
    pub lone_start_ms: u32,
    pub handover_mbit: u32,
    pub cores: Vec<u16>,
    pub lan: Lan,
    /// One, or two.
    #[serde(rename = "link")]
    pub links: Vec<Link>,
}

/// The port that clients reach.
#[derive(Debug, Clone, Serialize)]
pub struct Lan {
    pub device: String,
    /// One of each IP version that the node speaks there, at least one in all.
    #[serde(rename = "address")]
    pub addresses: Vec<Cidr>,
    /// One of each IP version at most.
    #[serde(rename = "gateway")]
    pub gateways: Vec<IpAddr>,
}

/// The port of a replication link.
#[derive(Debug, Clone, Serialize)]
pub struct Link {
    pub device: String,
    pub address: Cidr,
    pub mtu: u16,
}

impl Link {
    /// What the link at this place of [`Node::links`] is called.
    pub fn name(place: usize) -> &'static str {
        if place == 0 { "link" } else { "second link" }
    }
}

/// The other node.
#[derive(Debug, Clone, Serialize)]
pub struct Peer {
    pub name: String,
    pub lan: IpAddr,
    /// On each of the node's links.
    #[serde(rename = "link")]
    pub links: Vec<IpAddr>,
}

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct Log {
    /// A level or directives, as [`tracing_subscriber::filter::Targets`] reads them.
    pub level: String,
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Reads and checks the file at `path`.
///
/// # Errors
/// The file can't be read, is no TOML, has unknown or missing keys, or holds wrong values; all
/// wrong values of a file are reported at once.
pub fn load(path: &Path) -> Result<NodeConfig, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.into(), source })?;
    parse(&text, path)
}

/// [`load`] for text at hand; `path` names it in messages and anchors relative paths.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, path: &Path) -> Result<NodeConfig, ConfigError> {
    let file: schema::NodeFile = hw_profiles::strict::from_toml(text, &path.display().to_string())?;
    let base = path.parent().unwrap_or(Path::new(""));
    let profiles = Profiles::load(&file.node, base)
        .map_err(|problem| ConfigError::Invalid { path: path.into(), problems: vec![problem] })?;
    validate::validate(&file, base, profiles)
        .map_err(|problems| ConfigError::Invalid { path: path.into(), problems })
}
