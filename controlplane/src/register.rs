//! The one place that says who is primary: (epoch, primary, in-sync set).
//!
//! It changes by compare-and-set only. [`PairRegister`] is its form for two nodes without a third
//! vote: each keeps a copy and heartbeats exchange them. It cannot be both safe and live when all
//! paths between the nodes fail while both run; it chooses to stay live, and heals by epoch, then
//! priority. A register with a quorum behind it implements the same trait and never has to choose.

use arrayvec::ArrayVec;
use replication::Epoch;

use crate::identity::{NodeId, NodeName};

/// The most nodes that can hold the state at once, the primary among them.
pub const MAX_IN_SYNC: usize = 4;

/// What the register says. The default is a cluster that was never formed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    pub epoch: Epoch,
    pub primary: Option<NodeId>,
    /// Who holds the state, the primary among them.
    pub in_sync: ArrayVec<NodeId, MAX_IN_SYNC>,
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
}

/// How a proposal went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proposal {
    /// The register now holds what was proposed.
    Won,
    /// A quorum has not answered yet. Propose the same again; [`Register::view`] tells if the
    /// answer came in the meantime.
    Pending,
    /// Another view stands; [`Register::view`] has it.
    Lost,
}

/// What a peer's view means to ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observation {
    Same,
    /// The peer is behind; it will learn from our heartbeats.
    Older,
    /// It was newer and is ours now.
    Adopted,
    /// The same epoch with another content: both sides of a partition changed their copy.
    Conflict,
}

/// A register as one member sees it. No call blocks.
pub trait Register {
    /// The newest view that this node knows.
    fn view(&self) -> &View;

    /// Replaces the view of epoch `expected` by `next`, whose epoch must be the one after it.
    fn compare_and_set(&mut self, expected: Epoch, next: &View) -> Proposal;

    /// Takes note of the view that a peer sent.
    fn observe(&mut self, peer: &View) -> Observation;

    /// Gives up a view that lost against `winner`, which has the same epoch.
    fn yield_to(&mut self, winner: &View);

    /// A node that holds nothing begins as if it had just been started. Where only the nodes
    /// themselves know the views, its own copy is empty from then on: should a primary still
    /// serve behind a partition, that one's epoch is the higher one.
    fn begin_anew(&mut self);
}

/// Both nodes keep the register, and exchange it in heartbeats.
#[derive(Debug, Clone, Default)]
pub struct PairRegister {
    view: View,
}

impl Register for PairRegister {
    fn view(&self) -> &View {
        &self.view
    }

    fn compare_and_set(&mut self, expected: Epoch, next: &View) -> Proposal {
        if self.view.epoch != expected || next.epoch != expected.next() {
            return Proposal::Lost;
        }
        self.view = next.clone();
        Proposal::Won
    }

    fn observe(&mut self, peer: &View) -> Observation {
        if *peer == self.view {
            return Observation::Same;
        }
        match peer.epoch.cmp(&self.view.epoch) {
            std::cmp::Ordering::Less => Observation::Older,
            std::cmp::Ordering::Equal => Observation::Conflict,
            std::cmp::Ordering::Greater => {
                self.view = peer.clone();
                Observation::Adopted
            }
        }
    }

    fn yield_to(&mut self, winner: &View) {
        if winner.epoch == self.view.epoch {
            self.view = winner.clone();
        }
    }

    fn begin_anew(&mut self) {
        self.view = View::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use replication::Incarnation;

    fn node(name: &str) -> NodeId {
        NodeId { name: NodeName::new(name).unwrap(), incarnation: Incarnation(name.len() as u64) }
    }

    #[test]
    fn changes_only_from_the_expected_epoch_to_the_next() {
        let mut register = PairRegister::default();
        let first = register.view().next(node("a"), &[node("bb")]);
        assert_eq!(register.compare_and_set(Epoch(1), &first), Proposal::Lost);
        assert_eq!(register.compare_and_set(Epoch(0), &first), Proposal::Won);
        assert_eq!(register.compare_and_set(Epoch(0), &first), Proposal::Lost);
        assert!(register.view().has(node("bb")) && register.view().has(node("a")));
        let mut skipping = first.next(node("a"), &[]);
        skipping.epoch = Epoch(3);
        assert_eq!(register.compare_and_set(Epoch(1), &skipping), Proposal::Lost);
    }

    #[test]
    fn adopts_newer_views_and_tells_conflicts() {
        let mut ours = PairRegister::default();
        let first = View::default().next(node("a"), &[]);
        assert_eq!(ours.observe(&first), Observation::Adopted);
        assert_eq!(ours.observe(&first), Observation::Same);
        assert_eq!(ours.observe(&View::default()), Observation::Older);
        let rival = View::default().next(node("bb"), &[]);
        assert_eq!(ours.observe(&rival), Observation::Conflict);
        assert_eq!(*ours.view(), first);
        ours.yield_to(&rival);
        assert_eq!(*ours.view(), rival);
    }
}
