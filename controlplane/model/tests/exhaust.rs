//! Every state within small bounds is visited, and every planted error is found.
//!
//! `cargo run -p controlplane-model -- quorum --crashes 2` goes further.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use controlplane_model::{Begin, Cluster, Faults, Kind, Plant};
use stateright::{Checker, Expectation, HasDiscoveries, Model};

const FRESH: Faults = Faults {
    begin: Begin::Fresh,
    crashes: 0,
    stalls: 0,
    cuts: 0,
    lan: false,
    losses: 0,
    withdrawals: 0,
    switchovers: 0,
    inputs: 1,
    epochs: 3,
};
const FORMED: Faults = Faults { begin: Begin::Formed, ..FRESH };
const ALONE: Faults = Faults { begin: Begin::Alone, inputs: 2, epochs: 4, ..FRESH };
const PAIR: Faults = Faults { inputs: 2, epochs: 4, ..FORMED };

/// Every state of these is visited.
const QUORUM_BOUNDS: [Faults; 6] = [
    FRESH,
    Faults { crashes: 1, ..FORMED },
    ALONE,
    Faults { switchovers: 1, epochs: 4, ..FORMED },
    Faults { switchovers: 1, inputs: 1, ..ALONE },
    Faults { withdrawals: 1, ..FORMED },
];
const PAIR_BOUNDS: [Faults; 6] = [
    Faults { begin: Begin::Fresh, crashes: 1, cuts: 1, epochs: 3, ..PAIR },
    Faults { begin: Begin::Fresh, crashes: 1, stalls: 1, epochs: 3, inputs: 1, ..PAIR },
    Faults { stalls: 1, cuts: 1, switchovers: 1, ..PAIR },
    Faults { crashes: 1, switchovers: 1, ..PAIR },
    Faults { crashes: 1, cuts: 1, losses: 1, epochs: 3, ..PAIR },
    Faults { crashes: 1, withdrawals: 1, ..PAIR },
];

/// Each rule that is broken on purpose, and the bounds that show it.
const QUORUM_PLANTS: [(Plant, Faults); 18] = [
    (Plant::ReleasesBeforeConfirmation, FORMED),
    (Plant::OpensBeforeCommit, FORMED),
    (Plant::TakesOverWithoutRegister, FORMED),
    (Plant::WritesBlindly, FORMED),
    (Plant::RemovedTakesOver, FORMED),
    (Plant::ConfirmsAfterTakeover, FORMED),
    (Plant::ServesWithoutState, Faults { withdrawals: 1, ..FORMED }),
    (Plant::HandsOverUnsettled, Faults { switchovers: 1, inputs: 2, epochs: 4, ..FORMED }),
    (Plant::ServesBesideTheEnded, Faults { crashes: 1, switchovers: 1, ..FORMED }),
    (Plant::ServesBesideTheFormer, Faults { switchovers: 1, epochs: 4, ..FORMED }),
    (Plant::ServesWhenCountedInUnheard, Faults { switchovers: 1, inputs: 1, ..ALONE }),
    (Plant::CountsInUnsettled, ALONE),
    (Plant::AbandonsWhileCountingIn, ALONE),
    (Plant::AsksAsSpare, Faults { crashes: 1, inputs: 1, epochs: 3, ..ALONE }),
    (Plant::AsksUnsaid, FRESH),
    (Plant::JoinsWhileAsking, FRESH),
    (Plant::AnotherRunMeansEnded, Faults { crashes: 1, epochs: 2, ..FRESH }),
    (Plant::ConfirmsAnyLog, Faults { inputs: 1, epochs: 5, ..ALONE }),
];
const PAIR_PLANTS: [(Plant, Faults); 7] = [
    (Plant::ReleasesBeforeConfirmation, Faults { crashes: 1, ..PAIR }),
    (Plant::NeverDoubts, Faults { stalls: 1, cuts: 1, ..PAIR }),
    (Plant::RemovedTakesOver, Faults { stalls: 1, cuts: 1, ..PAIR }),
    (Plant::OpensUnacknowledged, Faults { crashes: 1, cuts: 1, losses: 1, ..PAIR }),
    (Plant::HandsOverUnsettled, Faults { crashes: 1, switchovers: 1, ..PAIR }),
    (Plant::CountsInUnsettled, Faults { crashes: 1, cuts: 1, ..ALONE }),
    (Plant::FormerRunReturns, Faults { begin: Begin::Fresh, crashes: 1, cuts: 1, ..PAIR }),
];

struct Outcome {
    broken: Option<&'static str>,
    seen: Vec<&'static str>,
}

/// Visits every state, or as many as it takes to break a promise. Says how many, and which promise.
fn check(kind: Kind, faults: Faults, plant: Option<Plant>) -> Outcome {
    let cluster = Cluster { kind, faults, plant };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = cluster.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    let checked = checker.spawn_bfs().join();
    let (states, depth) = (checked.unique_state_count(), checked.max_depth());
    let promises = cluster.properties().into_iter();
    let (broken, seen): (Vec<_>, Vec<_>) = promises
        .map(|property| (property.name, property.expectation))
        .filter(|(name, _)| checked.discovery(name).is_some())
        .partition(|(_, expectation)| *expectation == Expectation::Always);
    println!("{kind:?} {faults:?} {plant:?}: {states} states, {depth} deep");
    println!("    {broken:?} {seen:?}");
    Outcome {
        broken: broken.first().map(|(name, _)| *name),
        seen: seen.into_iter().map(|(name, _)| name).collect(),
    }
}

fn keeps_every_promise(kind: Kind, bounds: &[Faults]) {
    let mut seen = BTreeSet::new();
    for faults in bounds {
        let outcome = check(kind, *faults, None);
        assert_eq!(outcome.broken, None);
        seen.extend(outcome.seen);
    }
    assert_eq!(seen.len(), 3, "what is to be protected must happen at all: {seen:?}");
}

fn are_found(kind: Kind, plants: &[(Plant, Faults)]) {
    for (plant, faults) in plants {
        assert!(check(kind, *faults, Some(*plant)).broken.is_some(), "{plant:?} was not found");
    }
}

#[test]
fn quorum_keeps_every_promise_in_every_state() {
    keeps_every_promise(Kind::Quorum, &QUORUM_BOUNDS);
}

#[test]
fn pair_keeps_every_promise_while_the_nodes_hear_each_other_on_one_path() {
    keeps_every_promise(Kind::Pair, &PAIR_BOUNDS);
}

/// The known limit of two nodes without a third vote.
#[test]
fn pair_that_is_cut_in_two_serves_twice() {
    let cut = Faults { cuts: 4, lan: true, epochs: 3, ..PAIR };
    assert!(check(Kind::Pair, cut, None).broken.is_some());
}

#[test]
fn planted_errors_are_found_with_a_quorum() {
    are_found(Kind::Quorum, &QUORUM_PLANTS);
}

#[test]
fn planted_errors_are_found_in_a_pair() {
    are_found(Kind::Pair, &PAIR_PLANTS);
}
