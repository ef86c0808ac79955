//! With whom a log is shared.

use arrayvec::ArrayVec;
use replication::{Epoch, Link, Log, MAX_PEERS, PeerIndex, Votes};

use crate::identity::NodeId;

/// The other end of a log: a backup or a joining node of a primary, or their primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Partner {
    pub id: NodeId,
    pub at: PeerIndex,
    pub workers: u16,
    /// The epoch in which the log between the two began.
    pub log: Epoch,
    /// The state was handed over at the beginning of that log.
    pub was_given: bool,
    /// When it became what it is for this node.
    pub since_us: u64,
}

impl Partner {
    /// What a worker is told of it.
    pub fn log(&self, link: Link, counts: bool, votes: Votes) -> Log {
        Log {
            epoch: self.log,
            run: self.id.incarnation,
            workers: self.workers,
            link,
            counts,
            hands_over: self.was_given,
            votes,
        }
    }
}

/// Some of the other nodes, by their places.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Partners([Option<Partner>; MAX_PEERS]);

impl Partners {
    pub fn iter(&self) -> impl Iterator<Item = Partner> {
        self.0.into_iter().flatten()
    }

    pub fn at(&self, place: PeerIndex) -> Option<Partner> {
        self.0.get(place.place()).copied().flatten()
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    pub fn with(mut self, partner: Partner) -> Partners {
        self.0[partner.at.place()] = Some(partner);
        self
    }

    pub fn without(mut self, partner: Partner) -> Partners {
        self.0[partner.at.place()] = None;
        self
    }

    pub fn ids(&self) -> ArrayVec<NodeId, MAX_PEERS> {
        self.iter().map(|partner| partner.id).collect()
    }
}

impl FromIterator<Partner> for Partners {
    fn from_iter<I: IntoIterator<Item = Partner>>(partners: I) -> Partners {
        partners.into_iter().fold(Partners::default(), Partners::with)
    }
}
