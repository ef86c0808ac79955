//! The register that a node runs with, and who keeps it.

use anyhow::Context;
use controlplane::{AnyRegister, FencedRegister, NodeName, PairRegister, QuorumRegister};
use quorum::{
    Key,
    keeper::{Keeper, Prepared, Setup},
};

use super::fence;
use crate::config::{Fence, NodeConfig, Raft, Register, Secret};

/// Opens the register of a node. A keeper works until it is dropped. `init`: its memory is made.
///
/// # Errors
/// Its memory or its socket cannot be had.
pub fn open(
    config: &NodeConfig,
    run: u64,
    init: bool,
) -> anyhow::Result<(AnyRegister, Option<Keeper>)> {
    let cluster = (config.cluster.name.as_str(), &config.cluster.secret);
    let raft = match &config.register {
        Register::Raft(raft) => raft,
        Register::Pair(fence) => {
            anyhow::ensure!(!init, "--init makes a voter's memory, but register.kind is \"pair\"");
            let peer = config.peers.first().map_or("", |peer| &peer.name);
            return Ok((pair(fence.as_ref(), peer)?, None));
        }
    };
    let voter = Prepared::new(setup(raft, cluster, run, init)?)
        .context("cannot take part in the register")?;
    let (register, lines) = QuorumRegister::new(voter.view().clone());
    let keeper = voter.start(Some(lines))?;
    Ok((AnyRegister::Quorum(register), Some(keeper)))
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
