//! The one place that says who is primary: (epoch, primary, in-sync set).
//!
//! It changes by compare-and-set only. [`PairRegister`] is its form for two nodes without a third
//! vote: each keeps a copy and heartbeats exchange them. It cannot be both safe and live when all
//! paths between the nodes fail while both run; it chooses to stay live, and heals by epoch, then
//! priority. [`QuorumRegister`] has a majority of voters behind it and never has to choose: what
//! it says *binds* all nodes.

mod fenced;
mod pair;
mod quorum;
mod view;

use replication::Epoch;

pub use fenced::{FenceLines, FencedRegister};
pub use pair::PairRegister;
pub use quorum::{Change, QuorumLines, QuorumRegister};
pub use view::{MAX_IN_SYNC, View, ViewError};

/// How a proposal went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proposal {
    /// The register holds, or held, what was proposed.
    Won,
    /// The outcome is not known yet. Propose the same again, and nothing that contradicts it: it
    /// may come true long after.
    Pending,
    /// Another view stands; [`Register::view`] has it.
    Lost,
}

/// Whether a peer that is not heard is known to be off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assurance {
    /// It is, or nobody can tell and the register's user goes on without knowing.
    Given,
    /// Somebody is at it. Ask again.
    Pending,
    /// It could not be switched off.
    Failed,
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

    /// Takes up what has become known since the last call; whether there was anything.
    fn refresh(&mut self) -> bool {
        false
    }

    /// Makes sure that the peer, which is not heard, is off, before a change leaves it out.
    fn assure(&mut self) -> Assurance {
        Assurance::Given
    }

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

    /// Whether a view that was won holds for every node, also for one that is not heard: nobody
    /// can act on an older view any more.
    fn is_binding(&self) -> bool {
        false
    }
}

/// The register that a node's configuration asks for.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a node has one of them, as long as it runs")]
pub enum AnyRegister {
    Pair(PairRegister),
    Fenced(FencedRegister),
    Quorum(QuorumRegister),
}

impl AnyRegister {
    fn inner(&self) -> &dyn Register {
        match self {
            AnyRegister::Pair(register) => register,
            AnyRegister::Fenced(register) => register,
            AnyRegister::Quorum(register) => register,
        }
    }

    fn inner_mut(&mut self) -> &mut dyn Register {
        match self {
            AnyRegister::Pair(register) => register,
            AnyRegister::Fenced(register) => register,
            AnyRegister::Quorum(register) => register,
        }
    }
}

impl Register for AnyRegister {
    fn view(&self) -> &View {
        self.inner().view()
    }

    fn refresh(&mut self) -> bool {
        self.inner_mut().refresh()
    }

    fn assure(&mut self) -> Assurance {
        self.inner_mut().assure()
    }

    fn compare_and_set(&mut self, expected: Epoch, next: &View) -> Proposal {
        self.inner_mut().compare_and_set(expected, next)
    }

    fn observe(&mut self, peer: &View) -> Observation {
        self.inner_mut().observe(peer)
    }

    fn yield_to(&mut self, winner: &View) {
        self.inner_mut().yield_to(winner);
    }

    fn begin_anew(&mut self) {
        self.inner_mut().begin_anew();
    }

    fn is_binding(&self) -> bool {
        self.inner().is_binding()
    }
}
