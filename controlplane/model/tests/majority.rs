//! Every state of the commit rule "quorum" within small bounds, and every planted error.

use std::collections::BTreeSet;

use controlplane_model::{Majority, MajorityPlant as Plant};
use stateright::{Checker, Expectation, HasDiscoveries, Model};

const THREE: Majority =
    Majority { nodes: 3, in_sync: 3, crashes: 0, inputs: 2, epochs: 3, plant: None };
const JOINING: Majority = Majority { in_sync: 2, ..THREE };
const ALONE: Majority = Majority { in_sync: 1, ..THREE };
/// A fourth one joins.
const GROWING: Majority = Majority { nodes: 4, inputs: 1, epochs: 2, ..THREE };

const BOUNDS: [Majority; 5] =
    [THREE, Majority { crashes: 1, inputs: 1, ..THREE }, JOINING, ALONE, GROWING];

/// Each rule that is broken on purpose, and the bounds that show it.
const PLANTS: [(Plant, Majority); 8] = [
    (Plant::AsksNobody, THREE),
    (Plant::ConfirmsSealed, THREE),
    (Plant::LeavesOutTooEarly, THREE),
    (Plant::PartsByTheOldRule, THREE),
    (Plant::PartsByTheNewRule, THREE),
    (Plant::CountsInTooEarly, ALONE),
    (Plant::AdmitsByTheOldRule, Majority { epochs: 3, ..GROWING }),
    (Plant::AdmitsByTheNewRule, JOINING),
];

/// The promises that are broken, and what has been seen.
fn check(model: Majority) -> (Vec<&'static str>, Vec<&'static str>) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = model.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    let checked = checker.spawn_bfs().join();
    let (states, depth) = (checked.unique_state_count(), checked.max_depth());
    let found =
        model.properties().into_iter().filter(|promise| checked.discovery(promise.name).is_some());
    let (seen, broken): (Vec<_>, Vec<_>) =
        found.partition(|promise| promise.expectation == Expectation::Sometimes);
    let names = |promises: Vec<stateright::Property<Majority>>| -> Vec<_> {
        promises.iter().map(|promise| promise.name).collect()
    };
    let (broken, seen) = (names(broken), names(seen));
    println!("{model:?}: {states} states, {depth} deep");
    println!("    {broken:?} {seen:?}");
    (broken, seen)
}

#[test]
fn majority_keeps_every_promise_in_every_state() {
    let mut all = BTreeSet::new();
    for model in BOUNDS {
        let (broken, seen) = check(model);
        assert!(broken.is_empty(), "{broken:?}");
        all.extend(seen);
    }
    assert_eq!(all.len(), 3, "what is to be protected must happen at all: {all:?}");
}

#[test]
fn planted_errors_are_found() {
    for (plant, model) in PLANTS {
        let (broken, _) = check(Majority { plant: Some(plant), ..model });
        assert!(!broken.is_empty(), "{plant:?} was not found");
    }
}
