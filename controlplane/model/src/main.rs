//! Visits the states of a model within bounds of your own, and shows the first broken promise.

use std::fmt::Debug;
use std::hash::Hash;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use controlplane_model::{Begin, Cluster, Faults, Kind, Majority, MajorityPlant, Plant};
use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};

/// Visit every state of a model of register, roles and gate.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    #[arg(long, global = true, default_value_t = 2)]
    threads: usize,
    /// Give up after this time.
    #[arg(long, global = true, default_value_t = 600)]
    seconds: u64,
}

#[derive(Subcommand)]
enum What {
    /// Two nodes with a register that is never wrong, and late or silent.
    Quorum(Bounds),
    /// Two nodes that decide between themselves.
    Pair(Bounds),
    /// Three or four nodes of which a majority is waited for.
    Majority(MajorityBounds),
}

#[derive(Args)]
struct Bounds {
    #[arg(long, default_value = "fresh")]
    begin: Begin,
    /// A rule to break.
    #[arg(long)]
    plant: Option<Plant>,
    #[arg(long, default_value_t = 1)]
    crashes: u8,
    /// How often a node stands still (pair).
    #[arg(long, default_value_t = 0)]
    stalls: u8,
    /// How often a direction of a path is cut (pair).
    #[arg(long, default_value_t = 0)]
    cuts: u8,
    /// Cut the LAN too, so that nodes can be cut off from each other.
    #[arg(long)]
    lan: bool,
    /// How many heartbeats are lost (pair).
    #[arg(long, default_value_t = 0)]
    losses: u8,
    /// How often a backup finds its state to be another one than the primary's.
    #[arg(long, default_value_t = 0)]
    withdrawals: u8,
    #[arg(long, default_value_t = 0)]
    switchovers: u8,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=4))]
    inputs: u8,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=5))]
    epochs: u8,
}

#[derive(Args)]
struct MajorityBounds {
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=4))]
    nodes: u8,
    /// How many of them are in sync at the beginning.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=4))]
    in_sync: u8,
    /// A rule to break.
    #[arg(long)]
    plant: Option<MajorityPlant>,
    #[arg(long, default_value_t = 0)]
    crashes: u8,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=4))]
    inputs: u8,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=5))]
    epochs: u8,
}

fn main() {
    let Arguments { what, threads, seconds } = Arguments::parse();
    match what {
        What::Quorum(bounds) => visit(cluster(Kind::Quorum, &bounds), threads, seconds),
        What::Pair(bounds) => visit(cluster(Kind::Pair, &bounds), threads, seconds),
        What::Majority(bounds) => {
            let MajorityBounds { nodes, in_sync, plant, crashes, inputs, epochs } = bounds;
            let (nodes, in_sync) = (nodes.into(), in_sync.min(nodes).into());
            visit(Majority { nodes, in_sync, crashes, inputs, epochs, plant }, threads, seconds);
        }
    }
}

fn cluster(kind: Kind, bounds: &Bounds) -> Cluster {
    let Bounds { begin, plant, crashes, stalls, cuts, lan, .. } = *bounds;
    let Bounds { losses, withdrawals, switchovers, inputs, epochs, .. } = *bounds;
    let faults = Faults {
        begin,
        crashes,
        stalls,
        cuts,
        lan,
        losses,
        withdrawals,
        switchovers,
        inputs,
        epochs,
    };
    Cluster { kind, faults, plant }
}

fn visit<M>(model: M, threads: usize, seconds: u64)
where
    M: Model + Send + Sync + 'static,
    M::State: Copy + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Copy + Debug + PartialEq,
{
    let begun = Instant::now();
    let limit = Duration::from_secs(seconds);
    let checked = model
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .timeout(limit)
        .spawn_bfs()
        .join();
    let (states, depth) = (checked.unique_state_count(), checked.max_depth());
    let seconds = begun.elapsed().as_secs();
    let partly = if begun.elapsed() >= limit { ", not all of them" } else { "" };
    println!("{states} states{partly}, up to {depth} actions deep, in {seconds} s");
    for property in checked.model().properties() {
        let found = checked.discovery(property.name);
        match (property.expectation, found) {
            (Expectation::Sometimes, Some(_)) => println!("seen: {}", property.name),
            (Expectation::Sometimes, None) => println!("never seen: {}", property.name),
            (_, None) => println!("kept: {}", property.name),
            (_, Some(path)) => tell(property.name, path),
        }
    }
}

fn tell<State: Copy + Debug + PartialEq, Action: Debug + PartialEq>(
    promise: &str,
    path: Path<State, Action>,
) {
    println!("BROKEN: {promise}");
    let last = *path.last_state();
    for (number, action) in path.into_actions().iter().enumerate() {
        println!("{:4} {action:?}", number + 1);
    }
    println!("{last:#?}");
}
