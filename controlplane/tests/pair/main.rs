//! Two members in a simulated world: thousands of seeds, each a schedule of faults.
//!
//! Run one seed again with `PAIR_SEED=n cargo test -p controlplane --test pair`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checker;
mod clock;
mod etcd;
mod history;
mod in_etcd;
mod keepers;
mod quorum;
mod schedules;
mod switchover;
mod trio;
mod world;

use replication::{GateMode, Role};
use world::{Fault, LONE_START_US, Side, World};

/// Detection ceiling, a heartbeat on the way, and the loop's period.
const DETECTED_US: u64 = 115_000;

/// Runs `schedule` for many seeds, or for the one that the environment names.
fn for_seeds(count: u64, schedule: impl Fn(&mut World)) {
    for_worlds(count, World::new, schedule);
}

fn for_worlds(count: u64, make: impl Fn(u64) -> World, schedule: impl Fn(&mut World)) {
    let one = std::env::var("PAIR_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in one.map_or(0..count, |seed| seed..seed + 1) {
        let mut world = make(seed);
        run_world(seed, &mut world, &schedule, || {});
    }
}

/// Tells what happened in a world that breaks a promise, and calls `stop` before all ends.
fn run_world(seed: u64, world: &mut World, schedule: impl Fn(&mut World), stop: impl Fn()) {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| schedule(world)));
    if let Err(panic) = outcome {
        stop();
        eprintln!("seed {seed} at {} µs:\n{}", world.now_us, world.journal.join("\n"));
        std::panic::resume_unwind(panic);
    }
}

/// Both start at random moments and become a pair.
fn formed(world: &mut World) -> (Side, Side) {
    world.start(Side::A);
    world.run_random_us(0, 400_000);
    world.start(Side::B);
    world.run_us(if world.has_keepers() { 2_000_000 } else { 60_000 });
    assert_eq!(world.role(Side::A), Role::Primary(GateMode::Confirmed), "a ranks higher");
    assert_eq!(world.role(Side::B), Role::Backup);
    world.run_random_us(100_000, 200_000);
    (Side::A, Side::B)
}

#[track_caller]
fn assert_solo(world: &World, side: Side) {
    assert_eq!(world.role(side), Role::Primary(GateMode::Open), "{side:?} serves alone");
    assert!(!world.silent(side));
}

#[test]
fn a_pair_with_lossy_paths_stays_a_pair() {
    for_seeds(300, |world| {
        let (a, b) = formed(world);
        world.loss_percent = world.random(0, 3);
        world.run_us(2_000_000);
        assert_eq!(world.role(a), Role::Primary(GateMode::Confirmed));
        assert_eq!(world.role(b), Role::Backup);
    });
}

#[test]
fn backup_takes_over_when_the_primary_dies() {
    for_seeds(500, |world| {
        let (a, b) = formed(world);
        world.loss_percent = world.random(0, 1);
        world.inflict(Fault::Crash(a));
        world.run_us(DETECTED_US);
        assert_solo(world, b);
    });
}

#[test]
fn primary_opens_its_gate_when_the_backup_dies() {
    for_seeds(500, |world| {
        let (a, b) = formed(world);
        world.loss_percent = world.random(0, 1);
        world.inflict(Fault::Crash(b));
        world.run_us(DETECTED_US);
        assert_solo(world, a);
    });
}

#[test]
fn a_node_that_comes_back_is_a_backup_again_and_survives_the_other_one() {
    for_seeds(500, |world| {
        let (a, b) = formed(world);
        let (mut dead, mut survivor) = if world.random(0, 1) == 0 { (a, b) } else { (b, a) };
        for _ in 0..3 {
            world.inflict(Fault::Crash(dead));
            world.run_random_us(500, 300_000);
            world.start(dead);
            world.run_us(1_200_000);
            assert_eq!(world.role(survivor), Role::Primary(GateMode::Confirmed));
            assert_eq!(world.role(dead), Role::Backup);
            (dead, survivor) = (survivor, dead);
        }
    });
}

#[test]
fn faults_while_a_node_joins_lose_no_promise() {
    for_seeds(500, |world| {
        let (a, b) = formed(world);
        world.loss_percent = world.random(0, 3);
        world.inflict(Fault::Crash(a));
        world.run_us(DETECTED_US);
        world.start(a);
        world.run_random_us(0, 80_000);
        let length_us = world.random(1_000, 250_000);
        match world.random(0, 5) {
            0 => world.inflict(Fault::Freeze(a, length_us)),
            1 => world.inflict(Fault::Freeze(b, length_us)),
            2 => world.inflict(Fault::LinkDown { a_to_b: true, b_to_a: true }),
            3 => world.inflict(Fault::LanDown { a_to_b: true, b_to_a: false }),
            4 => world.inflict(Fault::Crash(a)),
            // Unless the other one is in sync already, this ends all connections.
            _ if world.role(b) == Role::Primary(GateMode::Confirmed)
                && world.role(a) == Role::Backup =>
            {
                world.inflict(Fault::Crash(b));
            }
            _ => return,
        }
        world.run_us(length_us);
        world.inflict(Fault::Heal);
        for side in [a, b] {
            if !world.runs(side) {
                world.start(side);
            }
        }
        world.run_us(6_000_000);
        let roles = [a, b].map(|side| world.role(side));
        assert!(roles.contains(&Role::Primary(GateMode::Confirmed)), "{roles:?}");
        assert!(roles.contains(&Role::Backup), "{roles:?}");
    });
}

#[test]
fn a_frozen_primary_steps_back_or_goes_on_but_there_is_one_at_the_end() {
    for_seeds(800, |world| {
        let (a, b) = formed(world);
        let frozen_us = world.random(1_000, 300_000);
        world.inflict(Fault::Freeze(a, frozen_us));
        world.run_us(frozen_us + DETECTED_US);
        let primaries = [a, b].map(|side| matches!(world.role(side), Role::Primary(_)));
        assert_eq!(primaries.iter().filter(|is| **is).count(), 1);
        let serving = if primaries[0] { a } else { b };
        assert!(!world.silent(serving));
        assert!(frozen_us < 110_000 || serving == b, "a long freeze is a takeover");
    });
}

#[test]
fn a_frozen_backup_is_removed_or_stays_but_never_takes_over() {
    for_seeds(800, |world| {
        let (a, b) = formed(world);
        let frozen_us = world.random(1_000, 300_000);
        world.inflict(Fault::Freeze(b, frozen_us));
        world.run_us(frozen_us + DETECTED_US);
        assert!(matches!(world.role(a), Role::Primary(_)));
        assert!(!matches!(world.role(b), Role::Primary(_)));
        world.run_us(1_500_000);
        assert_eq!(world.role(b), Role::Backup, "it stayed, or has come back");
    });
}

#[test]
fn a_backup_that_was_frozen_while_the_primary_served_alone_never_takes_over() {
    for_seeds(500, |world| {
        let (a, b) = formed(world);
        world.ring = 8; // Clients' frames and log fill it before the peer decides anything.
        world.inflict(Fault::Freeze(b, 300_000));
        world.run_random_us(150_000, 290_000);
        world.inflict(Fault::Crash(a));
        world.run_us(800_000);
        assert!(!matches!(world.role(b), Role::Primary(_)), "its state is old");
    });
}

#[test]
fn a_primary_that_was_frozen_while_the_backup_served_never_resumes() {
    for_seeds(500, |world| {
        let (a, b) = formed(world);
        world.ring = 8; // Clients' frames and log fill it before the peer decides anything.
        world.inflict(Fault::Freeze(a, 300_000));
        world.run_random_us(150_000, 290_000);
        world.inflict(Fault::Crash(b));
        world.run_us(800_000);
        assert!(!matches!(world.role(a), Role::Primary(_)) || world.silent(a), "state is old");
    });
}

#[test]
fn a_backup_that_stood_still_for_a_moment_takes_over_if_the_primary_died_in_it() {
    for_seeds(800, |world| {
        let (a, b) = formed(world);
        let frozen_us = world.random(35_000, 190_000);
        world.inflict(Fault::Freeze(b, frozen_us));
        let before_us = world.random(0, frozen_us);
        world.run_us(before_us);
        let removed = world.role(a) == Role::Primary(GateMode::Open);
        world.inflict(Fault::Crash(a));
        world.run_us(frozen_us - before_us + 2 * DETECTED_US);
        let took_over = world.role(b) == Role::Primary(GateMode::Open);
        assert_eq!(took_over, !removed, "unless the primary had served alone");
    });
}

#[test]
fn a_primary_that_stood_still_for_a_moment_goes_on_if_the_backup_died_in_it() {
    for_seeds(800, |world| {
        let (a, b) = formed(world);
        let frozen_us = world.random(35_000, 190_000);
        world.inflict(Fault::Freeze(a, frozen_us));
        let before_us = world.random(0, frozen_us);
        world.run_us(before_us);
        let taken_over = world.role(b) == Role::Primary(GateMode::Open);
        world.inflict(Fault::Crash(b));
        world.run_us(frozen_us - before_us + 2 * DETECTED_US);
        let serves = world.role(a) == Role::Primary(GateMode::Open) && !world.silent(a);
        assert_eq!(serves, !taken_over, "unless the backup had served");
    });
}

#[test]
fn link_loss_makes_the_backup_spare_and_the_primary_solo() {
    for_seeds(500, |world| {
        let (a, b) = formed(world);
        let directions = world.random(1, 3);
        world.inflict(Fault::LinkDown { a_to_b: directions & 1 != 0, b_to_a: directions & 2 != 0 });
        world.run_us(2 * DETECTED_US);
        assert_solo(world, a);
        assert_eq!(world.role(b), Role::Spare);
        world.inflict(Fault::Crash(a));
        world.run_us(LONE_START_US / 2);
        assert_eq!(world.role(b), Role::Spare, "it has no state to take over with");
    });
}

#[test]
fn lan_loss_changes_nothing() {
    for_seeds(500, |world| {
        let (a, b) = formed(world);
        let directions = world.random(1, 3);
        world.inflict(Fault::LanDown { a_to_b: directions & 1 != 0, b_to_a: directions & 2 != 0 });
        world.run_us(500_000);
        assert_eq!(world.role(a), Role::Primary(GateMode::Confirmed));
        assert_eq!(world.role(b), Role::Backup);
    });
}

#[test]
fn deaf_in_one_direction_on_all_paths_leaves_one_primary() {
    for_seeds(500, |world| {
        let (a, b) = formed(world);
        let a_to_b = world.random(0, 1) == 0;
        let faults = [
            Fault::LinkDown { a_to_b, b_to_a: !a_to_b },
            Fault::LanDown { a_to_b, b_to_a: !a_to_b },
        ];
        let order = world.random(0, 1) as usize;
        world.inflict(faults[order]);
        world.run_random_us(0, 60_000);
        world.inflict(faults[1 - order]);
        world.run_us(3 * DETECTED_US);
        let primaries = [a, b].map(|side| matches!(world.role(side), Role::Primary(_)));
        assert_eq!(primaries.iter().filter(|is| **is).count(), 1, "{primaries:?}");
    });
}

#[test]
fn a_healed_partition_leaves_one_primary() {
    for_seeds(500, |world| {
        let (a, b) = formed(world);
        world.checks_state = false; // Pair mode cannot keep both sides' promises in a partition.
        world.inflict(Fault::LinkDown { a_to_b: true, b_to_a: true });
        world.inflict(Fault::LanDown { a_to_b: true, b_to_a: true });
        world.run_random_us(10_000, 400_000);
        world.inflict(Fault::Heal);
        world.run_us(2 * DETECTED_US);
        let primaries = [a, b].map(|side| matches!(world.role(side), Role::Primary(_)));
        assert_eq!(primaries.iter().filter(|is| **is).count(), 1, "{primaries:?}");
    });
}

#[test]
fn a_backup_whose_state_differs_never_takes_over() {
    for_seeds(500, |world| {
        let (a, b) = formed(world);
        world.inflict(Fault::Diverge(b));
        world.run_random_us(0, 20_000);
        world.inflict(Fault::Crash(a));
        world.run_us(LONE_START_US / 2);
        assert_eq!(world.role(b), Role::Spare);
    });
}

#[test]
fn single_faults_in_a_row_lose_no_promise() {
    for_seeds(800, |world| {
        let (a, b) = formed(world);
        for _ in 0..world.random(1, 6) {
            let side = if world.random(0, 1) == 0 { a } else { b };
            let length_us = world.random(1_000, 250_000);
            match world.random(0, 4) {
                0 => world.inflict(Fault::Freeze(side, length_us)),
                1 => world.inflict(Fault::LinkDown { a_to_b: true, b_to_a: side == b }),
                2 => world.inflict(Fault::LanDown { a_to_b: side == a, b_to_a: true }),
                // Whoever serves alone holds the only state; its death ends all connections.
                3 if world.role(side) == Role::Primary(GateMode::Open) => return,
                3 => world.inflict(Fault::Crash(side)),
                _ => {}
            }
            world.run_us(length_us);
            world.inflict(Fault::Heal);
            if !world.runs(side) {
                world.start(side);
            }
            world.run_us(300_000);
        }
    });
}

#[test]
fn both_restarted_at_once_form_a_pair_again() {
    for_seeds(300, |world| {
        let (a, b) = formed(world);
        world.inflict(Fault::Crash(a));
        world.inflict(Fault::Crash(b));
        world.checks_state = false; // The connections are lost by definition.
        world.run_random_us(0, 50_000);
        world.start(b);
        world.start(a);
        world.run_us(100_000);
        assert_eq!(world.role(a), Role::Primary(GateMode::Confirmed));
        assert_eq!(world.role(b), Role::Backup);
    });
}
