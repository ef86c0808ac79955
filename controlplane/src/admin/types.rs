//! What the admin API answers with.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::status::{MemberStatus, Versions};

/// Counters by name. New ones may appear in any release.
pub type Counters = BTreeMap<String, u64>;

/// Everything about a node at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// What it understands of other nodes.
    #[serde(default)]
    pub versions: Versions,
    pub cluster: String,
    pub pid: u32,
    /// The node's monotonic clock; every other time of it is on this clock.
    pub now_us: u64,
    pub uptime_us: u64,
    pub member: MemberStatus,
    pub vips: Vec<VipStatus>,
    pub connections: ConnectionCounts,
    pub memory: MemoryStatus,
    /// In the order of the configuration.
    #[serde(default)]
    pub services: Vec<ServiceStatus>,
    pub link: LinkStatus,
    #[serde(default)]
    pub handover: HandoverStatus,
    /// How the register fares, as this node sees it; `None`: the pair keeps it alone.
    #[serde(default)]
    pub register: Option<RegisterStatus>,
    pub workers: Vec<WorkerStatus>,
}

/// A service address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipStatus {
    pub address: String,
    pub mac: String,
    /// This node owns it now.
    pub owned: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionCounts {
    /// All that have a place in the connection table.
    pub open: u64,
    /// Of these, those whose handshake is not complete.
    pub half_open: u64,
    pub limit: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryStatus {
    /// What the engine keeps for a connection without data in flight, everything included.
    pub bytes_per_idle_connection: u64,
    pub pool_blocks: u64,
    pub pool_blocks_used: u64,
    pub block_bytes: u64,
    /// All memory of the engine, used or reserved.
    pub engine_bytes: u64,
}

/// One service, all shards together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    pub name: String,
    pub port: u16,
    /// TIME-WAIT not counted.
    pub connections: u64,
    /// Of these, those whose handshake is not complete.
    pub half_open: u64,
    /// What their buffers take.
    pub buffer_bytes: u64,
    /// SYNs are answered with cookies now, in one shard at least.
    pub syn_cookies: bool,
    /// `refused_*` says which limit a new connection met.
    pub counters: Counters,
}

/// Replication over the link, all workers together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStatus {
    pub sessions: u64,
    pub sessions_open: u64,
    /// Packets that wait for a confirmation.
    pub gate_waiting: u64,
    /// Age of the oldest batch that is not confirmed.
    pub unconfirmed_us: Option<u64>,
    pub counters: Counters,
}

/// State that went to a node that joined, or came from one while this node joined; all workers
/// together, since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoverStatus {
    pub shards_given: u64,
    pub shards_taken: u64,
    /// The longest that a connection waited because its shard was saved.
    pub longest_pause_us: u64,
}

/// The register, as this node's part in it sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum RegisterStatus {
    Raft(VotingStatus),
    Etcd(EtcdStatus),
}

/// A key in etcd.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdStatus {
    pub key: String,
    /// Who was asked last.
    pub endpoint: String,
    /// Why nothing can change; `None`: all is well.
    pub problem: Option<String>,
    /// `None`: never.
    pub answered_us_ago: Option<u64>,
    /// Changes are heard of at once.
    pub watches: bool,
    /// The newest view that this node knows, as the key's value.
    pub view: String,
    pub requests: u64,
    /// Of these, those without an answer.
    pub failures: u64,
}

/// A vote among others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VotingStatus {
    /// `leader`, `follower` or `candidate`.
    pub role: String,
    /// Whom this node knows to lead the voters.
    pub leader: Option<String>,
    pub term: u64,
    /// The other voters.
    pub others: Vec<VoterStatus>,
    pub datagrams_refused: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoterStatus {
    pub name: String,
    /// Within the last second.
    pub heard: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    pub index: u16,
    pub core: Option<u32>,
    pub shards: Vec<u16>,
    pub connections: u64,
    pub counters: Counters,
}

/// State of a connection (RFC 9293 3.3.2), written like `ss` writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TcpState {
    Closed,
    SynSent,
    SynRecv,
    Established,
    #[serde(rename = "fin-wait-1")]
    FinWait1,
    #[serde(rename = "fin-wait-2")]
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
}

impl TcpState {
    pub const ALL: [TcpState; 10] = [
        TcpState::Closed,
        TcpState::SynSent,
        TcpState::SynRecv,
        TcpState::Established,
        TcpState::FinWait1,
        TcpState::FinWait2,
        TcpState::CloseWait,
        TcpState::Closing,
        TcpState::LastAck,
        TcpState::TimeWait,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TcpState::Closed => "closed",
            TcpState::SynSent => "syn-sent",
            TcpState::SynRecv => "syn-recv",
            TcpState::Established => "established",
            TcpState::FinWait1 => "fin-wait-1",
            TcpState::FinWait2 => "fin-wait-2",
            TcpState::CloseWait => "close-wait",
            TcpState::Closing => "closing",
            TcpState::LastAck => "last-ack",
            TcpState::TimeWait => "time-wait",
        }
    }
}

impl fmt::Display for TcpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnRow {
    pub shard: u16,
    pub state: TcpState,
    /// The appliance's side.
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// Name of the service in the configuration.
    pub service: String,
    /// Bytes received in order that the service has not taken.
    pub recv_queue: u64,
    /// Bytes queued for sending or in flight.
    pub send_queue: u64,
    /// Smoothed round-trip time and its variation (RFC 6298), once measured.
    pub rtt_us: Option<u64>,
    pub rtt_var_us: Option<u64>,
    pub rto_us: u64,
    /// In bytes.
    pub cwnd: u64,
    pub mss: u32,
    /// Segments sent again since the connection was opened.
    pub retransmissions: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Since the last segment of either direction.
    pub idle_us: Option<u64>,
}

/// Connections that a filter selects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnPage {
    pub rows: Vec<ConnRow>,
    /// How many the filter selects; more than `rows` if the limit cut them.
    pub matched: u64,
    /// How many there are.
    pub total: u64,
}

/// Something that was worth a log line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Grows by one with each event of a run.
    pub seq: u64,
    pub unix_ms: u64,
    /// `info`, `warning` or `error`.
    pub severity: String,
    pub name: String,
    pub text: String,
}

/// Names of the shared keys that a node has, the one that it seals with first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyNames {
    pub keys: Vec<String>,
}

/// Why a request was not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    pub error: String,
    /// Where in the filter expression, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_names_are_those_of_the_json() {
        for state in TcpState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
        }
    }
}
