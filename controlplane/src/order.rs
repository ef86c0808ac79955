//! What operators can order a node to do about its role.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::identity::NodeName;

/// An operator's wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "order", deny_unknown_fields)]
pub enum Order {
    /// Give the service to the other node.
    Switchover {
        /// The node that shall serve; the one that does not when absent.
        to: Option<NodeName>,
    },
    /// Leave the in-sync set and stay out of it, after a switchover if this node serves.
    Drain,
    /// End that: join again.
    Undrain,
}

/// What comes of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "accepted")]
pub enum Accepted {
    /// A switchover began; the node's status tells of this attempt how it goes.
    Began {
        /// Counts the switchovers of this run of the node, from 1 on.
        attempt: u32,
    },
    /// It is so from now on.
    Done,
    /// It was so already.
    NothingToDo,
}

/// Why an order cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OrderRefused {
    #[error("there is no node {node} in this pair; name one of its two nodes, or none")]
    UnknownNode { node: NodeName },
    #[error(
        "this node does not serve{}; a switchover is ordered at the node that serves",
        .primary.map(|node| format!(", {node} does")).unwrap_or_default()
    )]
    NotPrimary { primary: Option<NodeName> },
    #[error("a change of roles is under way; look at `holdfast status` and order again after it")]
    Busy,
    #[error(
        "{peer} is not heard well on both link and service LAN, so it cannot be given the service; \
         check both paths"
    )]
    PeerNotHeard { peer: NodeName },
    #[error(
        "{peer} does not hold the state, so it cannot be given the service; order again when \
         `holdfast status` says `in sync`"
    )]
    PeerNotInSync { peer: NodeName },
    #[error("{peer} is drained; run `holdfast undrain` there first")]
    PeerDrained { peer: NodeName },
    #[error(
        "{peer} cannot take this node's state, since the two differ in their {}; see `holdfast \
         upgrade-check`",
        .differences.join(" and ")
    )]
    PeerUnfit { peer: NodeName, differences: Vec<String> },
}
