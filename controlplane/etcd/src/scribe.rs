//! What to ask etcd next, and what its answer means.
//!
//! A request whose answer does not come may take effect at any time, or never. Nothing follows from
//! that: the same is asked again, and the transaction finds out. If the first one was made after
//! all, the second one is not, and etcd answers with the very view that was wanted.

use controlplane::View;
use controlplane::register::{Change, ViewError};
use replication::Epoch;
use thiserror::Error;

/// A request to etcd, about the cluster's key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Ask {
    /// What the key holds, by a linearizable read.
    Read,
    /// If there is no such key: make it, with the view of a cluster that was never formed.
    Create,
    /// If the key holds exactly these bytes: put `next` in their place.
    Swap { held: Vec<u8>, next: View },
}

/// What etcd says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The write was made.
    Made,
    /// What the key holds; of a write, that it was not made.
    Holds(Option<Vec<u8>>),
}

/// Why nothing can change although etcd answers.
#[derive(Debug, Error)]
pub enum Trouble {
    #[error(
        "there is no such key; a new cluster's is made by the option --init, once, at one node"
    )]
    Missing,
    #[error("the key was deleted; put back the view of epoch {0}: see \"etcd that forgot\"")]
    Deleted(Epoch),
    #[error("{0}; it was not written by Holdfast: put the cluster's view back")]
    Foreign(#[from] ViewError),
    #[error(
        "the key holds the view of epoch {found}, and {known} was decided: etcd was restored from an \
         old backup, or the key was written by hand; see \"etcd that forgot\""
    )]
    WentBack { found: Epoch, known: Epoch },
    #[error(
        "the key holds another view of epoch {0} than was decided: it was written by hand; see \
         \"etcd that forgot\""
    )]
    Rewritten(Epoch),
}

/// One node's way to the register in etcd.
#[derive(Debug)]
pub struct Scribe {
    /// The newest view that is known to be decided.
    view: View,
    /// The same as the key holds it, unless there is trouble.
    held: Option<Vec<u8>>,
    /// What the node asks for.
    wanted: Option<Change>,
    /// An answer came since then, so the next one is to a question that was asked since then, too.
    heard_since: bool,
    /// The key may hold something else by now.
    looks: bool,
    trouble: Option<Trouble>,
}

impl Default for Scribe {
    /// A scribe that knows nothing yet.
    fn default() -> Self {
        Scribe {
            view: View::default(),
            held: None,
            wanted: None,
            heard_since: false,
            looks: true,
            trouble: None,
        }
    }
}

impl Scribe {
    /// The newest view that is known to be decided.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// What is in the way, by the last answer.
    #[must_use]
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// A change is asked for and has no outcome yet.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.wanted.is_some()
    }

    /// The node asks for a change. It is pursued until a view of its epoch is decided.
    pub fn want(&mut self, change: Change) {
        self.wanted = Some(change);
        self.heard_since = false;
        self.look();
        self.settle();
    }

    /// The key may have changed.
    pub fn look(&mut self) {
        self.looks = true;
    }

    /// What is to be asked now. It stays the same until there is an answer.
    #[must_use]
    pub fn next(&self) -> Option<Ask> {
        let change = self.wanted.as_ref().filter(|change| change.expected == self.view.epoch);
        if let (Some(change), Some(held)) = (change, &self.held) {
            return Some(Ask::Swap { held: held.clone(), next: change.next.clone() });
        }
        self.looks.then_some(Ask::Read)
    }

    /// Takes up the answer to `ask`.
    pub fn learn(&mut self, ask: &Ask, answer: Answer) {
        self.looks = false;
        match (ask, answer) {
            (Ask::Swap { next, .. }, Answer::Made) => self.take(next.to_json().into_bytes()),
            (Ask::Create, Answer::Made) => self.take(View::default().to_json().into_bytes()),
            (Ask::Read, Answer::Made) => {}
            (_, Answer::Holds(Some(bytes))) => self.take(bytes),
            (_, Answer::Holds(None)) => {
                let known = self.known();
                let new = known == Epoch::default();
                self.refuse(if new { Trouble::Missing } else { Trouble::Deleted(known) });
            }
        }
        self.heard_since = true;
        self.settle();
    }

    /// The highest epoch that was decided, as far as this node knows: its change follows it.
    fn known(&self) -> Epoch {
        let expected = self.wanted.as_ref().map(|change| change.expected);
        self.view.epoch.max(expected.unwrap_or_default())
    }

    fn take(&mut self, bytes: Vec<u8>) {
        let view = match View::from_json(&bytes) {
            Ok(view) => view,
            Err(error) => return self.refuse(error.into()),
        };
        let (found, known) = (view.epoch, self.known());
        if found < self.view.epoch || (found < known && self.heard_since) {
            return self.refuse(Trouble::WentBack { found, known });
        }
        self.looks = found < known;
        if found == self.view.epoch && view != self.view {
            return self.refuse(Trouble::Rewritten(found));
        }
        self.view = view;
        self.held = Some(bytes);
        self.trouble = None;
    }

    fn refuse(&mut self, trouble: Trouble) {
        self.held = None;
        self.trouble = Some(trouble);
    }

    /// A change has an outcome once a view of its epoch is decided, be it that one or another.
    fn settle(&mut self) {
        let epoch = self.view.epoch;
        self.wanted.take_if(|change| change.expected < epoch);
    }
}

#[cfg(test)]
mod tests;
