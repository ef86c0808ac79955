//! Visits the states of a model within bounds of your own, and shows the first broken promise.

use std::time::{Duration, Instant};

use clap::Parser;
use controlplane_model::{Begin, Cluster, Faults, Kind, Plant};
use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};

/// Visit every state of the model of register, roles and gate.
#[derive(Parser)]
struct Arguments {
    kind: Kind,
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
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Give up after this time.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
}

fn main() {
    let arguments = Arguments::parse();
    let Arguments { kind, begin, plant, crashes, stalls, cuts, lan, .. } = arguments;
    let Arguments { losses, withdrawals, switchovers, inputs, epochs, .. } = arguments;
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
    let begun = Instant::now();
    let limit = Duration::from_secs(arguments.seconds);
    let checked = Cluster { kind, faults, plant }
        .checker()
        .threads(arguments.threads)
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

fn tell(promise: &str, path: Path<controlplane_model::World, controlplane_model::Action>) {
    println!("BROKEN: {promise}");
    let last = *path.last_state();
    for (number, action) in path.into_actions().iter().enumerate() {
        println!("{:4} {action:?}", number + 1);
    }
    println!("{last:#?}");
}
