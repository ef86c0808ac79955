//! How the register fares, for operators.

use controlplane::admin::{EtcdStatus, RegisterStatus, VoterStatus, VotingStatus};
use quorum::Role;
use tokio::sync::watch;

/// Follows a keeper, from any thread.
#[derive(Debug)]
pub enum Health {
    Raft(watch::Receiver<quorum::keeper::KeeperStatus>),
    Etcd(watch::Receiver<etcd::keeper::KeeperStatus>),
}

impl Health {
    /// How it is now.
    pub fn status(&self) -> RegisterStatus {
        match self {
            Self::Raft(voter) => RegisterStatus::Raft(voting(&voter.borrow())),
            Self::Etcd(keeper) => RegisterStatus::Etcd(in_etcd(&keeper.borrow())),
        }
    }
}

fn voting(voter: &quorum::keeper::KeeperStatus) -> VotingStatus {
    let standing = &voter.standing;
    let role = match standing.role {
        Role::Leader => "leader",
        Role::Candidate => "candidate",
        Role::Follower => "follower",
    };
    let other = |(name, heard): &(controlplane::NodeName, bool)| VoterStatus {
        name: name.to_string(),
        heard: *heard,
    };
    VotingStatus {
        role: role.into(),
        leader: standing.leader.map(|leader| leader.to_string()),
        term: standing.term,
        others: voter.others.iter().map(other).collect(),
        datagrams_refused: voter.datagrams_refused,
    }
}

fn in_etcd(keeper: &etcd::keeper::KeeperStatus) -> EtcdStatus {
    EtcdStatus {
        key: keeper.key.clone(),
        endpoint: keeper.endpoint.clone(),
        problem: keeper.problem.clone(),
        answered_us_ago: keeper.answered.map(|at| at.elapsed().as_micros() as u64),
        watches: keeper.watches,
        view: keeper.view.to_json(),
        requests: keeper.requests,
        failures: keeper.failures,
    }
}
