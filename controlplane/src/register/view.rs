//! What the register says, and its text form.

use arrayvec::ArrayVec;
use replication::{Epoch, Incarnation};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::identity::{NodeId, NodeName};

/// The most nodes that can hold the state at once, the primary among them.
pub const MAX_IN_SYNC: usize = 4;

/// Version of the text form.
const VERSION: u16 = 1;

/// What the register says. The default is a cluster that was never formed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    pub epoch: Epoch,
    pub primary: Option<NodeId>,
    /// Who holds the state, the primary among them.
    pub in_sync: ArrayVec<NodeId, MAX_IN_SYNC>,
}

/// A text that is no view.
#[derive(Debug, Error)]
pub enum ViewError {
    #[error("the register's content is no view: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error(
        "the register's content has version {0}, this release reads version {VERSION}; run the \
         same release on all nodes"
    )]
    Version(u16),
    #[error("the register's content names a run or a number of nodes that cannot be")]
    Impossible,
}

/// The text form, as an operator may read it with the tools of a register.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u16,
    epoch: u64,
    primary: Option<WrittenNode>,
    in_sync: Vec<WrittenNode>,
}

#[derive(Serialize, Deserialize)]
struct WrittenNode {
    name: NodeName,
    /// 16 hexadecimal digits.
    run: String,
}

impl View {
    /// The view after this one.
    #[must_use]
    pub fn next(&self, primary: NodeId, others: &[NodeId]) -> View {
        let members = [primary].into_iter().chain(others.iter().copied());
        View {
            epoch: self.epoch.next(),
            primary: Some(primary),
            in_sync: members.take(MAX_IN_SYNC).collect(),
        }
    }

    /// The primary's name, if there is one.
    #[must_use]
    pub fn primary_name(&self) -> Option<NodeName> {
        self.primary.map(|node| node.name)
    }

    #[must_use]
    pub fn has(&self, node: NodeId) -> bool {
        self.in_sync.contains(&node)
    }

    /// The view as JSON, for registers that keep text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let written = Written {
            version: VERSION,
            epoch: self.epoch.0,
            primary: self.primary.map(WrittenNode::of),
            in_sync: self.in_sync.iter().copied().map(WrittenNode::of).collect(),
        };
        serde_json::to_string(&written).expect("plain data with string keys")
    }

    /// Reads what [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// The text is no JSON of that shape, of another version, or says what cannot be.
    pub fn from_json(text: &[u8]) -> Result<View, ViewError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u16,
        }
        let Versioned { version } = serde_json::from_slice(text)?;
        if version != VERSION {
            return Err(ViewError::Version(version));
        }
        let written: Written = serde_json::from_slice(text)?;
        let primary = written.primary.map(WrittenNode::read).transpose()?;
        let mut in_sync = ArrayVec::new();
        for node in written.in_sync {
            in_sync.try_push(node.read()?).map_err(|_| ViewError::Impossible)?;
        }
        Ok(View { epoch: Epoch(written.epoch), primary, in_sync })
    }
}

impl WrittenNode {
    fn of(node: NodeId) -> WrittenNode {
        WrittenNode { name: node.name, run: node.incarnation.to_string() }
    }

    fn read(self) -> Result<NodeId, ViewError> {
        let run = u64::from_str_radix(&self.run, 16).ok().filter(|run| *run != 0);
        let incarnation = Incarnation(run.ok_or(ViewError::Impossible)?);
        Ok(NodeId { name: self.name, incarnation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_keeps_a_view() {
        let node = |name, run| NodeId {
            name: NodeName::new(name).unwrap(),
            incarnation: Incarnation(run),
        };
        let view = View::default().next(node("left", u64::MAX), &[node("right", 1)]);
        for view in [View::default(), view] {
            assert_eq!(View::from_json(view.to_json().as_bytes()).unwrap(), view);
        }
    }

    #[test]
    fn refuses_what_is_no_view() {
        let refused = |text: &str| View::from_json(text.as_bytes()).unwrap_err();
        assert!(matches!(refused("{"), ViewError::Malformed(_)));
        let newer = r#"{"version":2,"epoch":"?"}"#;
        assert!(matches!(refused(newer), ViewError::Version(2)));
        let no_run = r#"{"version":1,"epoch":1,"primary":{"name":"a","run":"0"},"in_sync":[]}"#;
        assert!(matches!(refused(no_run), ViewError::Impossible));
    }
}
