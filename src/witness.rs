//! `holdfast witness`: the third vote. It holds no connections and needs no DPDK.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use quorum::keeper::Prepared;
use tracing::info;

use crate::{
    cli::WitnessArgs,
    config::witness,
    run::{EndSignals, incarnation, install_log, register},
};

/// How often to look whether the voter has ended by itself.
const CHECK: Duration = Duration::from_millis(200);

/// Runs a witness until SIGTERM or SIGINT.
///
/// # Errors
/// The configuration is wrong, or the witness cannot vote, or cannot any more.
pub fn witness(args: &WitnessArgs) -> anyhow::Result<ExitCode> {
    let config = witness::load(&args.config).context("the configuration is wrong")?;
    install_log(&config.log, args.log_level.as_deref())?;
    let mut signals = EndSignals::catch()?;
    let cluster = (config.cluster.as_str(), &config.secret);
    let setup = register::setup(&config.raft, cluster, incarnation()?.0, args.init)?;
    let keeper = Prepared::new(setup)?.start(None)?;
    info!(
        witness = config.raft.name,
        cluster = config.cluster,
        address = %config.raft.address,
        "witness votes"
    );
    while !keeper.has_ended() && !signals.came_within(CHECK) {}
    keeper.end()?;
    info!("witness ended");
    Ok(ExitCode::SUCCESS)
}
