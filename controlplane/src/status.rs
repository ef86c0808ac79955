//! What a member says about itself to operators.

use serde::{Deserialize, Serialize};

use crate::timeline::Timeline;

/// What a node is right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Listens for its peer; holds no state.
    Starting,
    /// Proposed itself as primary and waits for the peer's acknowledgement.
    Forming,
    Primary,
    Backup,
    /// Takes in the primary's state.
    Joining,
    Spare,
}

/// What the primary's packets wait for; `None` in [`MemberStatus::gate`] on any other node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    Confirmed,
    Open,
}

/// The control plane's part of a node's status. Times are µs of the node's monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    pub node: String,
    pub incarnation: String,
    pub standing: Standing,
    pub since_us: u64,
    /// What this node waits for or why it is spare, in words.
    pub reason: Option<String>,
    pub gate: Option<Gate>,
    /// It serves nothing at the moment, since it suspects itself after a stall.
    pub silent: bool,
    /// The register.
    pub epoch: u64,
    pub primary: Option<String>,
    pub in_sync: Vec<String>,
    /// Primary and backup hold the same state and both know it.
    pub pair_in_sync: bool,
    pub peer: PeerStatus,
    /// This node's last takeover.
    pub takeover: Option<Timeline>,
    pub refusals: Vec<Refusal>,
    pub counters: MemberCounters,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    pub name: String,
    /// Of the run that was heard last; `None` if none was heard.
    pub incarnation: Option<String>,
    /// The peer's own word; `None` if it was never heard.
    pub standing: Option<String>,
    pub in_sync: bool,
    pub link: PathStatus,
    pub lan: PathStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStatus {
    /// Not silent for longer than the detection timeout.
    pub heard: bool,
    /// `None`: never.
    pub last_heard_us_ago: Option<u64>,
    /// The adaptive detection timeout of this path.
    pub timeout_us: u64,
}

/// Something that this node and its peer must have in common, and have not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub what: String,
    /// Lines: `- ` only here, `+ ` only at the peer.
    pub diff: String,
}

/// Counted since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberCounters {
    pub heartbeats_sent: u64,
    pub messages_received: u64,
    pub malformed: u64,
    pub other_version: u64,
    pub unauthentic: u64,
    pub strangers: u64,
    pub replayed: u64,
    pub former_run: u64,
    pub own_reflected: u64,
    pub own_stalls: u64,
    pub longest_stall_us: u64,
    pub events_dropped: u64,
}
