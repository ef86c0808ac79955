//! The shape of `node.toml`, as it is written: names, optional keys, nothing checked yet.
//!
//! Strings stay strings here, so that [`super::validate`] can report every wrong value of a file
//! at once, each with its key. Units are part of the key's name.

use std::collections::BTreeMap;

use hw_profiles::strict::OneOrMore;
use serde::Deserialize;

/// A whole `node.toml`.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeFile {
    /// What all nodes must agree on, word for word.
    pub cluster: ClusterSection,
    /// This node alone.
    pub node: NodeSection,
    /// Where the other nodes are, each in a `[peer]` or, if there are several, `[[peer]]`.
    pub peer: OneOrMore<PeerSection>,
    /// Who decides which node is primary.
    #[serde(default)]
    pub register: RegisterSection,
    /// How `holdfast status` and its kin reach this node.
    #[serde(default)]
    pub admin: AdminSection,
    /// What is logged, and how.
    #[serde(default)]
    pub log: LogSection,
}

/// `[cluster]`: replicated, must be identical on all nodes.
#[derive(Debug, Clone, Deserialize)]
pub struct ClusterSection {
    pub name: String,
    /// 64 hexadecimal digits; keys the initial sequence numbers, and without `node.key_file` all
    /// that the nodes say to each other.
    pub secret: String,
    /// `aes-256-gcm` or `none`: of the log on the link.
    #[serde(default = "default::encryption")]
    pub encryption: String,
    /// Service addresses with their prefix length.
    pub vip: Vec<String>,
    /// Virtual MAC; derived from `name` and `vip` when absent.
    pub vmac: Option<String>,
    /// `switch` or `flood`: how what clients send gets to the node that serves.
    #[serde(default = "default::ingress")]
    pub ingress: String,
    /// Of `flood`: for how long the other node keeps what clients send.
    pub flood_keep_ms: Option<u32>,
    /// Of `flood`: how many frames each of its workers keeps at most.
    pub flood_keep_frames: Option<u32>,
    #[serde(default = "default::shards")]
    pub shards: u16,
    /// Connections of the whole cluster, spread over its shards.
    #[serde(default = "default::max_connections")]
    pub max_connections: u32,
    /// Memory for send and receive buffers, all shards together.
    #[serde(default = "default::buffer_mib")]
    pub buffer_mib: u32,
    /// Silence after which the peer counts as dead; the profile's when absent.
    pub detection_timeout_ms: Option<u32>,
    /// Distance of two heartbeats; the profile's when absent.
    pub heartbeat_ms: Option<u32>,
    /// Whether a primary whose service LAN fails gives the service to a node whose LAN works.
    #[serde(default = "default::lan_watch")]
    pub lan_watch: bool,
    /// UDP port of heartbeats; the link sessions use the ports after it.
    #[serde(default = "default::control_port")]
    pub control_port: u16,
    /// MTU of the service LAN in bytes.
    #[serde(default = "default::mtu")]
    pub mtu: u16,
    #[serde(default)]
    pub tcp: TcpSection,
    #[serde(default)]
    pub commit: CommitSection,
    #[serde(default)]
    pub per_source: PerSourceSection,
    #[serde(default, rename = "service")]
    pub services: Vec<ServiceSection>,
}

/// `[cluster.tcp]`: timers and limits of every connection; absent keys keep the engine's values.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct TcpSection {
    pub min_rto_ms: Option<u32>,
    pub delayed_ack_ms: Option<u32>,
    /// Maximum segment lifetime; TIME-WAIT lasts twice this.
    pub msl_ms: Option<u32>,
    /// Explicit congestion notification, when a client asks for it.
    pub ecn: Option<bool>,
    /// Time to live of what is sent.
    pub ttl: Option<u8>,
}

/// `[cluster.commit]`: what lets a packet leave, and how the log is confirmed.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct CommitSection {
    /// `swmu`, `quorum` or `none`.
    pub rule: Option<String>,
    /// Bytes of the log that a busy node confirms at the latest.
    pub confirm_bytes: Option<u32>,
    /// Time after which it does.
    pub confirm_delay_us: Option<u32>,
}

/// `[cluster.per_source]`: what one source may take of all services together.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct PerSourceSection {
    /// Length of the address prefix that makes a source.
    pub ipv4_prefix: Option<u8>,
    pub ipv6_prefix: Option<u8>,
    /// Connections at once.
    pub max_connections: Option<u32>,
    /// New connections in each second.
    pub connections_per_s: Option<u32>,
    /// New connections at once after a pause; as many as in a second when absent.
    pub connections_burst: Option<u32>,
}

/// `[[cluster.service]]`: one listening port.
#[derive(Debug, Clone, Deserialize)]
pub struct ServiceSection {
    pub name: String,
    /// `echo`, `discard`, `stream` or `http`.
    pub kind: String,
    pub port: u16,
    /// Of `http`: the folder whose files are served.
    pub root: Option<String>,
    /// Of `stream`: `endless` or `requested`.
    pub length: Option<String>,
    /// Of `stream`: pace in bit/s; unpaced when absent.
    pub rate_bps: Option<u64>,
    /// Of `stream`: offset of the pattern's first byte.
    pub seed: Option<u64>,
    /// Of `http`: whether a folder's URL answers, with `index.html` or a list of its files.
    pub directory_index: Option<bool>,
    /// `swmu`, `swfr` or `quorum`: what its packets wait for.
    pub commit: Option<String>,
    /// Hold back small segments while data is in flight (RFC 9293, 3.7.4).
    pub nagle: Option<bool>,
    /// Differentiated Services codepoint of what is sent.
    pub dscp: Option<u8>,
    /// `cubic` or `newreno`.
    pub congestion: Option<String>,
    /// Idle time before the first keepalive probe; no probes when absent.
    pub keepalive_s: Option<u32>,
    /// Idle time after which a connection is closed; never when absent.
    pub idle_timeout_s: Option<u32>,
    pub send_buffer_kib: Option<u32>,
    pub recv_buffer_kib: Option<u32>,
    /// Half-open connections that may wait at once.
    pub backlog: Option<u32>,
    /// Half-open connections from which on SYNs are answered with cookies.
    pub syn_cookies_above: Option<u32>,
    /// Connections at once.
    pub max_connections: Option<u32>,
    /// Memory that its connections' buffers may take together.
    pub max_buffer_mib: Option<u32>,
    /// New connections in each second.
    pub connections_per_s: Option<u32>,
    /// New connections at once after a pause; as many as in a second when absent.
    pub connections_burst: Option<u32>,
    /// `drop` or `reset`: what becomes of a client beyond a limit.
    pub at_limit: Option<String>,
}

/// `[node]`: this machine.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeSection {
    pub name: String,
    /// The higher one becomes primary when both start for the first time.
    #[serde(default = "default::priority")]
    pub priority: u16,
    /// How long a node that starts and hears nobody waits before it serves alone.
    #[serde(default = "default::lone_start_ms")]
    pub lone_start_ms: u32,
    /// Mbit/s of the link that this node's state may take on its way to a node that joins.
    #[serde(default = "default::handover_mbit")]
    pub handover_mbit: u32,
    /// Name of a built-in hardware profile; see `holdfast profiles`.
    pub profile: String,
    /// File whose keys replace those of the profile.
    pub profile_file: Option<String>,
    /// File with the keys that the nodes share, one on each line; `cluster.secret` when absent.
    pub key_file: Option<String>,
    /// One worker thread per core.
    #[serde(default = "default::cores")]
    pub cores: Vec<u16>,
    pub lan: LanSection,
    /// `[node.link]`, or `[[node.link]]` twice.
    pub link: OneOrMore<LinkSection>,
}

/// `[node.lan]`: the port that clients reach.
#[derive(Debug, Clone, Deserialize)]
pub struct LanSection {
    /// Interface name, PCI address or socket path, as the profile asks for.
    pub device: String,
    /// One of each IP version that the node speaks there.
    pub address: OneOrMore<String>,
    /// One of each IP version at most.
    #[serde(default)]
    pub gateway: OneOrMore<String>,
}

/// `[node.link]`: a dedicated replication link.
#[derive(Debug, Clone, Deserialize)]
pub struct LinkSection {
    /// Profile of this port; the node's (with its file) when absent.
    pub profile: Option<String>,
    /// File whose keys replace those of this port's profile.
    pub profile_file: Option<String>,
    pub device: String,
    pub address: String,
    #[serde(default = "default::mtu")]
    pub mtu: u16,
}

/// `[peer]`: another node's own addresses.
#[derive(Debug, Clone, Deserialize)]
pub struct PeerSection {
    pub name: String,
    pub lan: String,
    /// On each of the links, in the order of `node.link`.
    pub link: OneOrMore<String>,
}

/// A whole `witness.toml`. Its `[cluster]` and `[register]` are written as in a `node.toml`.
#[derive(Debug, Clone, Deserialize)]
pub struct WitnessFile {
    pub cluster: WitnessClusterSection,
    pub register: RegisterSection,
    pub witness: WitnessSection,
    #[serde(default)]
    pub log: LogSection,
}

/// What a witness needs of `[cluster]`.
#[derive(Debug, Clone, Deserialize)]
pub struct WitnessClusterSection {
    pub name: String,
    pub secret: String,
}

/// `[witness]`
#[derive(Debug, Clone, Deserialize)]
pub struct WitnessSection {
    /// Its name among the voters.
    pub name: String,
}

/// `[register]`: who decides which node is primary.
#[derive(Debug, Clone, Deserialize)]
pub struct RegisterSection {
    /// `pair`, `raft` or `etcd`.
    #[serde(default = "default::register")]
    pub kind: String,
    /// Of `raft`: the voters' names and UDP addresses; all nodes, and a witness if these are an even
    /// number.
    #[serde(default)]
    pub voters: BTreeMap<String, String>,
    /// Of `raft`: where this voter keeps its memory.
    pub folder: Option<String>,
    /// Of `etcd`: where its members answer.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// Of `etcd`: what the keys of all clusters begin with.
    pub prefix: Option<String>,
    /// Of `etcd`: who asks, if it wants to know, and the file with the password.
    pub user: Option<String>,
    pub password_file: Option<String>,
    /// Of `etcd`, in PEM: whose certificates it has, and this node's own with its key.
    pub ca_file: Option<String>,
    pub cert_file: Option<String>,
    pub key_file: Option<String>,
    /// Of `etcd`: how long an answer may take.
    pub timeout_ms: Option<u32>,
    /// Of `pair`: a command that switches the peer off, run before this node goes on without a
    /// peer that is not heard. Exit code 0 means that it is off.
    #[serde(default)]
    pub fence: Vec<String>,
    /// How long that command may take.
    #[serde(default = "default::fence_timeout_ms")]
    pub fence_timeout_ms: u32,
}

impl Default for RegisterSection {
    fn default() -> Self {
        Self {
            kind: default::register(),
            voters: BTreeMap::new(),
            folder: None,
            endpoints: Vec::new(),
            prefix: None,
            user: None,
            password_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            timeout_ms: None,
            fence: Vec::new(),
            fence_timeout_ms: default::fence_timeout_ms(),
        }
    }
}

/// `[admin]`
#[derive(Debug, Clone, Default, Deserialize)]
pub struct AdminSection {
    /// Unix socket, mode 0600; `/run/holdfast/<node name>.sock` when absent.
    pub socket: Option<String>,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
pub struct LogSection {
    /// A level (`error` to `trace`) or directives such as `info,worker=debug`.
    #[serde(default = "default::log_level")]
    pub level: String,
    /// `text` or `json`.
    #[serde(default = "default::log_format")]
    pub format: String,
}

impl Default for LogSection {
    fn default() -> Self {
        Self { level: default::log_level(), format: default::log_format() }
    }
}

mod default {
    pub(super) fn encryption() -> String {
        "aes-256-gcm".into()
    }
    pub(super) fn ingress() -> String {
        "switch".into()
    }
    pub(super) fn shards() -> u16 {
        4
    }
    pub(super) fn max_connections() -> u32 {
        20_000
    }
    pub(super) fn buffer_mib() -> u32 {
        256
    }
    pub(super) fn lan_watch() -> bool {
        true
    }
    pub(super) fn control_port() -> u16 {
        7400
    }
    pub(super) fn mtu() -> u16 {
        1500
    }
    pub(super) fn priority() -> u16 {
        100
    }
    pub(super) fn handover_mbit() -> u32 {
        800
    }
    pub(super) fn lone_start_ms() -> u32 {
        10_000
    }
    pub(super) fn fence_timeout_ms() -> u32 {
        10_000
    }
    pub(super) fn register() -> String {
        "pair".into()
    }
    pub(super) fn cores() -> Vec<u16> {
        vec![0]
    }
    pub(super) fn log_level() -> String {
        "info".into()
    }
    pub(super) fn log_format() -> String {
        "text".into()
    }
}
