//! Who a node is, and what it must have in common with its peers.

use std::fmt;
use std::str::FromStr;

use arrayvec::{ArrayString, ArrayVec};
use replication::{Incarnation, KeyRing, MAX_PEERS};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::manifest::Manifest;

/// The longest node name, in bytes.
pub const MAX_NAME_BYTES: usize = 32;

/// A node's name: 1 to 32 bytes of ASCII letters, digits, `-`, `_` and `.`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(ArrayString<MAX_NAME_BYTES>);

/// A string that is no node name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} is no node name: 1 to 32 ASCII letters, digits, '-', '_' and '.' are expected, for \
     example \"a\" or \"rack3-left\""
)]
pub struct NameError(String);

impl NodeName {
    /// # Errors
    /// `name` is empty, longer than 32 bytes, or has other characters than those allowed.
    pub fn new(name: &str) -> Result<NodeName, NameError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if name.is_empty() || !name.bytes().all(allowed) {
            return Err(NameError(name.chars().take(64).collect()));
        }
        let text = ArrayString::from(name).map_err(|_| NameError(name.chars().take(64).collect()));
        text.map(NodeName)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for NodeName {
    type Error = NameError;
    fn try_from(name: String) -> Result<Self, NameError> {
        NodeName::new(&name)
    }
}

impl FromStr for NodeName {
    type Err = NameError;
    fn from_str(name: &str) -> Result<Self, NameError> {
        NodeName::new(name)
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> String {
        name.as_str().to_owned()
    }
}

/// One run of one node. A node that came back has the same name and another incarnation: it does
/// not hold what the register says the former run held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId {
    pub name: NodeName,
    pub incarnation: Incarnation,
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)
    }
}

/// What a node knows about itself at start.
#[derive(Debug, Clone)]
pub struct Identity {
    pub name: NodeName,
    /// Random for each process start, never zero.
    pub incarnation: Incarnation,
    /// The other nodes, in the order of their places. Messages of anybody else are refused.
    pub peers: ArrayVec<NodeName, MAX_PEERS>,
    /// What both share. Its first key seals what this node says.
    pub keys: KeyRing,
    /// The replicated configuration, without secrets: the peer may ask for it to explain a
    /// difference.
    pub config: Manifest,
    /// The files that the services send.
    pub content: Manifest,
    /// Version of the input log that this binary writes and applies.
    pub log_version: u16,
    /// Version of the link's datagrams that this binary sends and takes.
    pub link_version: u16,
    /// Version of the snapshots that this binary writes and reads.
    pub snapshot_version: u16,
    /// Workers of this node, each with a session channel of its own. At least 1.
    pub workers: u16,
}

impl Identity {
    #[must_use]
    pub fn id(&self) -> NodeId {
        NodeId { name: self.name, incarnation: self.incarnation }
    }
}

#[cfg(test)]
impl Identity {
    /// A node of the smallest cluster that tests have use for.
    pub(crate) fn sample<'a>(
        name: &str,
        run: u64,
        peers: impl IntoIterator<Item = &'a str>,
    ) -> Identity {
        let name_of = |name: &str| NodeName::new(name).unwrap();
        Identity {
            name: name_of(name),
            incarnation: Incarnation(run),
            peers: peers.into_iter().map(name_of).collect(),
            keys: KeyRing::single("lab", b"secret"),
            config: Manifest::new("shards = 4\n"),
            content: Manifest::new(""),
            log_version: 1,
            link_version: 1,
            snapshot_version: 1,
            workers: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_names_of_1_to_32_plain_characters() {
        assert!(NodeName::new("a").is_ok());
        assert!(NodeName::new("Rack-3_left.example").is_ok());
        assert!(NodeName::new(&"x".repeat(32)).is_ok());
        for wrong in ["", "a b", "ä", "a\n", "a/b"] {
            assert!(NodeName::new(wrong).is_err(), "{wrong:?}");
        }
        assert!(NodeName::new(&"x".repeat(33)).is_err());
    }
}
