//! What a member says about itself to operators.

use serde::{Deserialize, Serialize};

use crate::identity::NodeName;
use crate::timeline::Timeline;

/// What a node is right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Listens for its peers; holds no state.
    Starting,
    /// Proposed itself as primary and waits for the peers' acknowledgement.
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

/// What neighbours on a node's service LAN answer it. They are asked only while the LAN is silent
/// between nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LanState {
    /// None is asked, or the answer is awaited, or there is none to ask.
    #[default]
    Untested,
    /// One of them has just answered: both directions work.
    Answers,
    /// None has answered for two detection timeouts.
    Silent,
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
    /// Whether the service LAN works at this node.
    #[serde(default)]
    pub lan: LanState,
    /// The register.
    pub epoch: u64,
    pub primary: Option<String>,
    pub in_sync: Vec<String>,
    /// There is a backup, and all that are in sync are heard and agree on that.
    pub pair_in_sync: bool,
    /// The other nodes, in the order of the configuration.
    pub peers: Vec<PeerStatus>,
    /// Names of the shared keys that this node has, the one that it seals with first.
    #[serde(default)]
    pub keys: Vec<String>,
    /// This node's last takeover.
    pub takeover: Option<Timeline>,
    /// The last switchover that began here.
    pub switchover: Option<SwitchoverStatus>,
    /// An operator took this node out of the pair.
    pub drained: bool,
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
    pub drained: bool,
    /// What its binary understands; `None` if it was never heard.
    pub versions: Option<Versions>,
    /// Names of the shared keys that it has, the one that it seals with first.
    #[serde(default)]
    pub keys: Vec<String>,
    pub link: PathStatus,
    /// `None`: this node has one link.
    #[serde(default)]
    pub second_link: Option<PathStatus>,
    /// Which link what goes to this peer takes: 1 or 2.
    #[serde(default = "first_link")]
    pub active_link: u8,
    pub lan: PathStatus,
    /// Whether the service LAN works at the peer, by its own word.
    #[serde(default)]
    pub lan_state: LanState,
}

fn first_link() -> u8 {
    1
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

/// By what a peer is given the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handing {
    /// It holds the state already, having followed the log.
    Log,
    /// It gets the state while nobody serves.
    Snapshot,
}

/// Versions of what nodes say to each other, as a binary writes and understands it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// Heartbeats and what else the control plane sends.
    pub control: u16,
    /// Datagrams on the link.
    pub link: u16,
    /// What a record of the log does to a shard.
    pub log: u16,
    /// A shard as bytes.
    pub snapshot: u16,
}

/// A switchover as the node sees it that gave the service away. Times are µs of its clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchoverStatus {
    /// Counts the switchovers of this run of the node, from 1 on.
    pub attempt: u32,
    pub to: String,
    pub by: Handing,
    /// The last step was made; before that, the order was given.
    pub began_us: u64,
    /// All was confirmed, and had left.
    pub quiet_us: Option<u64>,
    /// The register said that the other node is the primary, in this epoch.
    pub handed_over_us: Option<u64>,
    pub epoch: Option<u64>,
    /// The other node was heard to serve.
    pub peer_serves_us: Option<u64>,
    /// Why it came to nothing; this node serves on.
    pub failed: Option<String>,
}

impl SwitchoverStatus {
    pub(crate) fn begun(attempt: u32, to: NodeName, by: Handing, now_us: u64) -> SwitchoverStatus {
        SwitchoverStatus {
            attempt,
            to: to.to_string(),
            by,
            began_us: now_us,
            quiet_us: None,
            handed_over_us: None,
            epoch: None,
            peer_serves_us: None,
            failed: None,
        }
    }

    /// Each step with the microseconds since the last step of the service here.
    #[must_use]
    pub fn steps(&self) -> [(&'static str, Option<u64>); 4] {
        let after = |at_us: u64| at_us.saturating_sub(self.began_us);
        [
            ("last step", Some(0)),
            ("all confirmed", self.quiet_us.map(after)),
            ("handed over", self.handed_over_us.map(after)),
            ("peer serves", self.peer_serves_us.map(after)),
        ]
    }
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
    pub unknown_key: u64,
    pub unauthentic: u64,
    pub strangers: u64,
    pub replayed: u64,
    pub former_run: u64,
    pub own_reflected: u64,
    pub own_stalls: u64,
    pub longest_stall_us: u64,
    /// How often what goes to a peer has taken another link than before.
    #[serde(default)]
    pub link_changes: u64,
    pub events_dropped: u64,
}
