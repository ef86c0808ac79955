//! The same world with a register in etcd: the promises are those of voters.

use controlplane::Order;
use replication::{GateMode, Role};

use crate::switchover::{SWITCHOVER, assert_pair};
use crate::world::{Fault, Side, World};
use crate::{DETECTED_US, formed};

/// A takeover or a removal has to be decided: a request that may be late, and once more.
const DECIDED_US: u64 = 250_000;

fn for_seeds(count: u64, schedule: impl Fn(&mut World)) {
    crate::for_worlds(count, World::with_etcd, schedule);
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
fn whoever_is_left_serves() {
    for_seeds(60, |world| {
        let (a, b) = formed(world);
        let (dead, survivor) = if world.random(0, 1) == 0 { (a, b) } else { (b, a) };
        world.inflict(Fault::Crash(dead));
        world.run_us(DETECTED_US + DECIDED_US);
        assert!(serves_alone(world, survivor));
    });
}

#[test]
fn nothing_changes_without_etcd_until_it_is_back() {
    for_seeds(40, |world| {
        let (a, b) = formed(world);
        world.etcd().is_down = true;
        world.run_us(1_000_000);
        assert_pair(world, a);
        world.inflict(Fault::Crash(a));
        world.run_us(1_000_000);
        assert_eq!(world.role(b), Role::Backup);
        world.recover_register();
        world.run_us(DECIDED_US);
        assert!(serves_alone(world, b));
    });
}

#[test]
fn partition_of_all_paths_leaves_one_that_serves_and_no_promise_is_broken() {
    for_seeds(60, |world| {
        let (a, b) = formed(world);
        cut_all_paths(world);
        let cut = world.random(0, 2) as usize;
        if cut < 2 {
            world.etcd().cut[cut] = true;
        }
        world.run_us(DETECTED_US + DECIDED_US);
        assert!(primaries(world) <= 1);
        let allowed = |side: Side| cut == 2 || cut != side as usize;
        assert!([a, b].iter().any(|side| serves_alone(world, *side) && allowed(*side)));
        world.recover();
        world.run_us(2_500_000);
        assert_eq!(primaries(world), 1);
    });
}

#[test]
fn the_service_goes_to_and_fro() {
    for_seeds(40, |world| {
        let (a, b) = formed(world);
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
fn any_faults_at_once_break_no_promise() {
    for_seeds(80, |world| {
        let _roles = formed(world);
        world.loss_percent = world.random(0, 3);
        world.etcd().loss_percent = world.loss_percent * 5;
        world.etcd().latest_us = world.random(5_000, 400_000);
        for _ in 0..world.random(2, 12) {
            let side = if world.random(0, 1) == 0 { Side::A } else { Side::B };
            let length_us = world.random(1_000, 250_000);
            match world.random(0, 10) {
                0 => world.inflict(Fault::Freeze(side, length_us)),
                1 => world.inflict(Fault::LinkDown { a_to_b: true, b_to_a: side == Side::B }),
                2 => world.inflict(Fault::LanDown { a_to_b: side == Side::A, b_to_a: true }),
                3 => world.etcd().cut[side as usize] = true,
                4 => world.etcd().is_down = true,
                5 => {
                    let until_us = world.now_us + length_us;
                    world.etcd().stall(until_us);
                }
                6 => cut_all_paths(world),
                7 => world.order(side, SWITCHOVER),
                8 => world.order(side, Order::Drain),
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
