//! The member's end of a register that others keep: a majority of voters, or a service.
//!
//! Who keeps it works elsewhere, on a thread of its own, and may take its time. Here is what the
//! poll loop may touch: a mailbox each way, neither of which is ever waited for.

use replication::Epoch;
use tokio::sync::{mpsc, watch};

use super::{Observation, Proposal, Register, View};

/// Changes on their way to the register. A member asks for one at a time.
const CHANGES: usize = 4;

/// A compare-and-set on its way to the register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub expected: Epoch,
    pub next: View,
}

/// A register whose views were all decided by a majority, so that they bind every node.
#[derive(Debug)]
pub struct QuorumRegister {
    view: View,
    views: watch::Receiver<View>,
    changes: mpsc::Sender<Change>,
    /// The change that was sent last.
    sent: Option<View>,
}

/// The other end of a [`QuorumRegister`], for whoever keeps the register.
#[derive(Debug)]
pub struct QuorumLines {
    /// Takes each view once it is decided, and only then.
    pub views: watch::Sender<View>,
    /// What the member asks for. Each is to be pursued until a view of its epoch is decided: the
    /// member asks only once, and does nothing else meanwhile.
    pub changes: mpsc::Receiver<Change>,
}

impl QuorumRegister {
    /// A register that begins with `view`, which was decided at some time.
    #[must_use]
    pub fn new(view: View) -> (QuorumRegister, QuorumLines) {
        let (views, their_views) = watch::channel(view.clone());
        let (changes, their_changes) = mpsc::channel(CHANGES);
        let register = QuorumRegister { view, views: their_views, changes, sent: None };
        (register, QuorumLines { views, changes: their_changes })
    }
}

impl Register for QuorumRegister {
    fn view(&self) -> &View {
        &self.view
    }

    fn refresh(&mut self) -> bool {
        if !self.views.has_changed().unwrap_or(false) {
            return false;
        }
        let newest = self.views.borrow_and_update();
        let is_news = newest.epoch > self.view.epoch;
        if is_news {
            self.view.clone_from(&newest);
        }
        is_news
    }

    fn compare_and_set(&mut self, expected: Epoch, next: &View) -> Proposal {
        if self.view == *next {
            return Proposal::Won;
        }
        if self.view.epoch != expected || next.epoch != expected.next() {
            return Proposal::Lost;
        }
        if self.sent.as_ref() != Some(next) {
            let change = Change { expected, next: next.clone() };
            if self.changes.try_send(change).is_ok() {
                self.sent = Some(next.clone());
            }
        }
        Proposal::Pending
    }

    /// A peer sends only what was decided, so it can be believed before our own voter has heard.
    fn observe(&mut self, peer: &View) -> Observation {
        if *peer == self.view {
            return Observation::Same;
        }
        if peer.epoch > self.view.epoch {
            self.view.clone_from(peer);
            return Observation::Adopted;
        }
        if peer.epoch == self.view.epoch { Observation::Conflict } else { Observation::Older }
    }

    /// Two decided views of one epoch cannot be: there is nothing to give up.
    fn yield_to(&mut self, _winner: &View) {}

    /// What was decided stays.
    fn begin_anew(&mut self) {}

    fn is_binding(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{NodeId, NodeName};
    use replication::Incarnation;

    fn node(name: &str) -> NodeId {
        NodeId { name: NodeName::new(name).unwrap(), incarnation: Incarnation(1) }
    }

    #[test]
    fn change_is_pending_until_it_is_decided() {
        let (mut register, mut lines) = QuorumRegister::new(View::default());
        let next = register.view().next(node("a"), &[]);
        for _ in 0..3 {
            assert_eq!(register.compare_and_set(Epoch(0), &next), Proposal::Pending);
        }
        let asked = lines.changes.try_recv().unwrap();
        assert_eq!(asked, Change { expected: Epoch(0), next: next.clone() });
        assert!(lines.changes.try_recv().is_err(), "it is asked for once");
        assert!(!register.refresh());
        lines.views.send_replace(next.clone());
        assert!(register.refresh());
        assert_eq!(register.compare_and_set(Epoch(0), &next), Proposal::Won);
    }

    #[test]
    fn change_is_lost_when_another_one_was_decided() {
        let (mut register, lines) = QuorumRegister::new(View::default());
        let ours = register.view().next(node("a"), &[]);
        let theirs = register.view().next(node("b"), &[]);
        assert_eq!(register.compare_and_set(Epoch(0), &ours), Proposal::Pending);
        lines.views.send_replace(theirs.clone());
        register.refresh();
        assert_eq!(register.compare_and_set(Epoch(0), &ours), Proposal::Lost);
        assert_eq!(*register.view(), theirs);
    }

    #[test]
    fn older_views_change_nothing() {
        let (mut register, lines) = QuorumRegister::new(View::default());
        let first = register.view().next(node("a"), &[]);
        let second = first.next(node("b"), &[]);
        assert_eq!(register.observe(&second), Observation::Adopted);
        lines.views.send_replace(first.clone());
        assert!(!register.refresh());
        assert_eq!(register.observe(&first), Observation::Older);
        assert_eq!(*register.view(), second);
    }
}
