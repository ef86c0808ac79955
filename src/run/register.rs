//! The register that a node runs with, and who keeps it.

mod health;

use anyhow::Context;
use controlplane::{AnyRegister, FencedRegister, NodeName, PairRegister, QuorumRegister, View};
use quorum::{
    Key,
    keeper::{Prepared, Setup},
};

use super::fence;
use crate::config::{Etcd, Fence, NodeConfig, Raft, Register, Secret};
pub use health::Health;

/// Who keeps a register that is not the pair's own, on a thread of its own.
#[derive(Debug)]
pub enum Keeper {
    Raft(quorum::keeper::Keeper),
    Etcd(etcd::keeper::Keeper),
}

impl Keeper {
    /// Follows how the register fares.
    pub fn health(&self) -> Health {
        match self {
            Self::Raft(keeper) => Health::Raft(keeper.status()),
            Self::Etcd(keeper) => Health::Etcd(keeper.status()),
        }
    }

    /// Ends the thread.
    ///
    /// # Errors
    /// It had ended by itself before, for this reason.
    pub fn end(self) -> anyhow::Result<()> {
        match self {
            Self::Raft(keeper) => Ok(keeper.end()?),
            Self::Etcd(keeper) => Ok(keeper.end()?),
        }
    }
}

/// Opens the register of a node. A keeper works until it is dropped. `init`: its memory is made.
///
/// # Errors
/// Its memory or its socket cannot be had.
pub fn open(
    config: &NodeConfig,
    run: u64,
    init: bool,
) -> anyhow::Result<(AnyRegister, Option<Keeper>)> {
    match &config.register {
        Register::Pair(fence) => {
            anyhow::ensure!(
                !init,
                "--init makes a register's memory, but register.kind is \"pair\""
            );
            let peer = config.peers.first().map_or("", |peer| &peer.name);
            Ok((pair(fence.as_ref(), peer)?, None))
        }
        Register::Raft(raft) => {
            let cluster = (config.cluster.name.as_str(), &config.cluster.secret);
            let voter = Prepared::new(setup(raft, cluster, run, init)?)
                .context("cannot take part in the register")?;
            let (register, lines) = QuorumRegister::new(voter.view().clone());
            let keeper = voter.start(Some(lines))?;
            Ok((AnyRegister::Quorum(register), Some(Keeper::Raft(keeper))))
        }
        Register::Etcd(etcd) => {
            let (register, keeper) = in_etcd(etcd, init).context("cannot use the register")?;
            Ok((AnyRegister::Quorum(register), Some(Keeper::Etcd(keeper))))
        }
    }
}

/// What etcd says is not waited for: until then the node knows of no view, and can change none.
fn in_etcd(
    config: &Etcd,
    init: bool,
) -> Result<(QuorumRegister, etcd::keeper::Keeper), etcd::keeper::KeeperError> {
    let setup = config.setup();
    if init {
        etcd::keeper::make(&setup)?;
    }
    let (register, lines) = QuorumRegister::new(View::default());
    Ok((register, setup.start(lines)?))
}

fn pair(fence: Option<&Fence>, peer: &str) -> anyhow::Result<AnyRegister> {
    let Some(fence) = fence else { return Ok(AnyRegister::Pair(PairRegister::default())) };
    let (register, lines) = FencedRegister::new();
    fence::start(fence.clone(), peer.to_owned(), lines).context("cannot start the fence thread")?;
    Ok(AnyRegister::Fenced(register))
}

/// What a voter of this cluster is made with.
///
/// # Errors
/// A name that no voter can have.
pub fn setup(
    raft: &Raft,
    (cluster, secret): (&str, &Secret),
    run: u64,
    init: bool,
) -> anyhow::Result<Setup> {
    let other = |(name, address): &(String, _)| Ok((NodeName::new(name)?, *address));
    let others: Result<Vec<_>, controlplane::NameError> = raft.others.iter().map(other).collect();
    Ok(Setup {
        cluster: cluster.to_owned(),
        key: Key::derive(cluster, &secret.derive("register datagrams")),
        me: NodeName::new(&raft.name)?,
        address: raft.address,
        others: others?,
        witness: raft.witness.as_deref().map(NodeName::new).transpose()?,
        folder: raft.folder.clone(),
        init,
        run,
    })
}
