//! The same world with a witness: here nothing may be lost in a partition either.

use controlplane::Order;
use replication::{GateMode, Role};

use crate::switchover::{SWITCHOVER, assert_pair};
use crate::trio::WITNESS;
use crate::world::{Fault, Side, World};
use crate::{DETECTED_US, formed};

/// A takeover or a removal has to be decided: round trips and writes, some of which are late.
const DECIDED_US: u64 = 60_000;

fn for_seeds(count: u64, schedule: impl Fn(&mut World)) {
    crate::for_worlds(count, World::with_witness, schedule);
}

fn serves_alone(world: &World, side: Side) -> bool {
    world.runs(side) && world.role(side) == Role::Primary(GateMode::Open)
}

fn primaries(world: &World) -> usize {
    let is_primary = |side: &Side| {
        world.runs(*side) && matches!(world.role(*side), Role::Primary(_)) && !world.silent(*side)
    };
    [Side::A, Side::B].iter().filter(|side| is_primary(side)).count()
}

fn cut_all_paths(world: &mut World) {
    world.inflict(Fault::LinkDown { a_to_b: true, b_to_a: true });
    world.inflict(Fault::LanDown { a_to_b: true, b_to_a: true });
}

#[test]
fn backup_takes_over_when_the_primary_dies() {
    for_seeds(40, |world| {
        let (a, b) = formed(world);
        world.inflict(Fault::Crash(a));
        world.run_us(DETECTED_US + DECIDED_US);
        assert!(serves_alone(world, b));
    });
}

#[test]
fn primary_opens_its_gate_when_the_backup_dies() {
    for_seeds(40, |world| {
        let (a, b) = formed(world);
        world.inflict(Fault::Crash(b));
        world.run_us(DETECTED_US + DECIDED_US);
        assert!(serves_alone(world, a));
    });
}

#[test]
fn witness_that_is_gone_disturbs_no_pair() {
    for_seeds(25, |world| {
        let (a, b) = formed(world);
        world.trio().crash(WITNESS);
        world.run_us(1_000_000);
        assert_eq!(world.role(a), Role::Primary(GateMode::Confirmed));
        assert_eq!(world.role(b), Role::Backup);
        // The pair decides as long as both of it live.
        world.inflict(Fault::LinkDown { a_to_b: true, b_to_a: true });
        world.run_us(3 * DETECTED_US + 1_000_000);
        assert!(serves_alone(world, a));
    });
}

#[test]
fn nothing_is_served_without_a_majority_until_the_witness_is_back() {
    for_seeds(25, |world| {
        let (a, b) = formed(world);
        world.trio().crash(WITNESS);
        world.run_random_us(0, 300_000);
        world.inflict(Fault::Crash(a));
        world.run_us(1_000_000);
        assert_eq!(world.role(b), Role::Backup);
        world.trio().start(WITNESS);
        world.run_us(1_500_000);
        assert!(serves_alone(world, b));
    });
}

#[test]
fn partition_of_all_paths_leaves_one_that_serves_and_no_promise_is_broken() {
    for_seeds(40, |world| {
        let (a, b) = formed(world);
        cut_all_paths(world);
        // The voters may be cut, too: one side from all, or nobody from the witness.
        match world.random(0, 3) {
            0 => world.trio().isolate(a as usize),
            1 => world.trio().isolate(b as usize),
            2 => {
                world.trio().cut[0][1] = true;
                world.trio().cut[1][0] = true;
            }
            _ => {}
        }
        world.run_us(DETECTED_US + 1_500_000);
        assert!(primaries(world) <= 1);
        assert!(serves_alone(world, a) || serves_alone(world, b));
        world.inflict(Fault::Heal);
        world.trio().heal();
        world.run_us(2_500_000);
        assert_eq!(primaries(world), 1);
    });
}

#[test]
fn any_faults_at_once_break_no_promise() {
    for_seeds(40, |world| {
        let _roles = formed(world);
        world.loss_percent = world.random(0, 3);
        world.trio().loss_percent = world.loss_percent * 3;
        for _ in 0..world.random(2, 12) {
            let side = if world.random(0, 1) == 0 { Side::A } else { Side::B };
            let (from, to) = (world.random(0, 2) as usize, world.random(0, 2) as usize);
            let length_us = world.random(1_000, 250_000);
            match world.random(0, 11) {
                0 => world.inflict(Fault::Freeze(side, length_us)),
                1 => world.inflict(Fault::LinkDown { a_to_b: true, b_to_a: side == Side::B }),
                2 => world.inflict(Fault::LanDown { a_to_b: side == Side::A, b_to_a: true }),
                3 => world.trio().cut[from][to] = true,
                4 => world.trio().isolate(from),
                5 => world.trio().crash(WITNESS),
                6 => world.trio().tear_next_write(from),
                7 => cut_all_paths(world),
                8 => world.order(side, SWITCHOVER),
                9 => world.order(side, Order::Drain),
                // Whoever serves alone holds the only state; its death ends all connections.
                _ if serves_alone(world, side) => {}
                _ => world.inflict(Fault::Crash(side)),
            }
            world.run_us(length_us);
            if world.random(0, 1) == 0 {
                world.recover();
            }
            world.run_random_us(0, 400_000);
        }
        world.recover();
        world.run_us(6_000_000);
        assert_eq!(primaries(world), 1, "somebody serves again");
    });
}

#[test]
fn both_restarted_at_once_form_a_pair_again() {
    for_seeds(30, |world| {
        let (a, b) = formed(world);
        world.checks_state = false; // The connections are lost by definition.
        world.inflict(Fault::Crash(a));
        world.inflict(Fault::Crash(b));
        world.run_random_us(0, 50_000);
        world.start(b);
        world.start(a);
        world.run_us(2_000_000);
        assert_eq!(world.role(a), Role::Primary(GateMode::Confirmed));
        assert_eq!(world.role(b), Role::Backup);
    });
}

#[test]
fn one_that_comes_back_alone_waits_for_the_other_one() {
    for_seeds(25, |world| {
        let (a, b) = formed(world);
        world.checks_state = false;
        world.inflict(Fault::Crash(a));
        world.inflict(Fault::Crash(b));
        world.start(a);
        world.run_us(5_000_000);
        assert_eq!(world.role(a), Role::Spare, "b may hold the connections");
        world.start(b);
        world.run_us(2_000_000);
        assert_eq!(primaries(world), 1);
    });
}

#[test]
fn the_service_goes_to_and_fro_with_a_witness_or_without() {
    for_seeds(40, |world| {
        let (a, b) = formed(world);
        if world.random(0, 1) == 0 {
            world.trio().crash(WITNESS);
        }
        for _ in 0..2 {
            world.order(a, SWITCHOVER);
            world.run_us(1_500_000);
            assert_pair(world, b);
            world.order(b, SWITCHOVER);
            world.run_us(1_500_000);
            assert_pair(world, a);
        }
    });
}

#[test]
fn faults_during_a_switchover_lose_no_promise() {
    for_seeds(40, |world| {
        let (a, b) = formed(world);
        world.loss_percent = world.random(0, 3);
        world.order(a, SWITCHOVER);
        world.run_random_us(0, 8_000);
        let side = if world.random(0, 1) == 0 { a } else { b };
        let length_us = world.random(1_000, 250_000);
        match world.random(0, 5) {
            0 => world.inflict(Fault::Freeze(side, length_us)),
            1 => world.inflict(Fault::LinkDown { a_to_b: true, b_to_a: side == a }),
            2 => cut_all_paths(world),
            3 => {
                cut_all_paths(world);
                world.trio().isolate(side as usize);
            }
            4 => world.trio().crash(WITNESS),
            _ => world.inflict(Fault::Crash(side)),
        }
        world.run_us(length_us);
        world.recover();
        world.run_us(6_000_000);
        let roles = [a, b].map(|side| world.role(side));
        let paired = Role::Primary(GateMode::Confirmed);
        assert!(roles.contains(&paired) && roles.contains(&Role::Backup), "{roles:?}");
    });
}
