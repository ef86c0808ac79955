//! The register of two nodes without a third vote.

use std::cmp::Ordering;

use replication::Epoch;

use super::{Observation, Proposal, Register, View};

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
            Ordering::Less => Observation::Older,
            Ordering::Equal => Observation::Conflict,
            Ordering::Greater => {
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
    use crate::identity::{NodeId, NodeName};
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
