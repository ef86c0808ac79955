//! Switchovers and drains, with faults at any moment of them.

use controlplane::Order;
use replication::{GateMode, Role};

use crate::world::{Fault, Side, World};
use crate::{assert_solo, for_seeds, formed};

const PAIRED: Role = Role::Primary(GateMode::Confirmed);
pub const SWITCHOVER: Order = Order::Switchover { to: None };

#[track_caller]
pub fn assert_pair(world: &World, primary: Side) {
    let roles = (world.role(primary), world.role(primary.other()));
    assert_eq!(roles, (PAIRED, Role::Backup), "{primary:?} serves, the other one follows");
}

#[test]
fn the_service_goes_to_and_fro() {
    for_seeds(150, |world| {
        let (a, b) = formed(world);
        world.loss_percent = world.random(0, 3);
        for _ in 0..3 {
            world.order(a, SWITCHOVER);
            world.run_us(60_000);
            assert_pair(world, b);
            world.order(b, SWITCHOVER);
            world.run_us(60_000);
            assert_pair(world, a);
        }
    });
}

#[test]
fn faults_during_a_switchover_lose_no_promise() {
    for_seeds(500, |world| {
        let (a, b) = formed(world);
        world.loss_percent = world.random(0, 3);
        world.order(a, SWITCHOVER);
        world.run_random_us(0, 4_000);
        let side = if world.random(0, 1) == 0 { a } else { b };
        let length_us = world.random(1_000, 250_000);
        match world.random(0, 4) {
            0 => world.inflict(Fault::Freeze(side, length_us)),
            1 => world.inflict(Fault::LinkDown { a_to_b: true, b_to_a: side == a }),
            2 => world.inflict(Fault::LanDown { a_to_b: side == a, b_to_a: true }),
            _ => world.inflict(Fault::Crash(side)),
        }
        world.run_us(length_us);
        world.inflict(Fault::Heal);
        if !world.runs(side) {
            world.start(side);
        }
        world.run_us(6_000_000);
        let roles = [a, b].map(|side| world.role(side));
        assert!(roles.contains(&PAIRED) && roles.contains(&Role::Backup), "{roles:?}");
    });
}

#[test]
fn a_drained_node_leaves_and_comes_back_when_it_may() {
    for_seeds(100, |world| {
        let (a, b) = formed(world);
        world.loss_percent = world.random(0, 2);
        let drained = if world.random(0, 1) == 0 { a } else { b };
        world.order(drained, Order::Drain);
        world.run_us(1_500_000);
        assert_solo(world, drained.other());
        assert_eq!(world.role(drained), Role::Spare);
        world.order(drained, Order::Undrain);
        world.run_us(1_500_000);
        assert_pair(world, drained.other());
    });
}

#[test]
fn a_peer_with_another_log_is_given_the_state_with_the_service() {
    for_seeds(100, |world| {
        let (a, b) = formed(world);
        world.loss_percent = world.random(0, 2);
        // The backup is upgraded.
        world.inflict(Fault::Crash(b));
        world.run_us(200_000);
        world.log_versions = [2; 2];
        world.start(b);
        world.run_us(1_500_000);
        assert_solo(world, a);
        world.order(a, SWITCHOVER);
        world.run_us(200_000);
        assert_solo(world, b);
        assert_eq!(world.role(a), Role::Spare);
        // The other node, too.
        world.inflict(Fault::Crash(a));
        world.run_us(200_000);
        world.start(a);
        world.run_us(1_500_000);
        assert_pair(world, b);
    });
}

#[test]
fn a_peer_with_another_log_may_fail_while_it_takes_the_state() {
    for_seeds(200, |world| {
        let (a, b) = formed(world);
        world.inflict(Fault::Crash(b));
        world.run_us(200_000);
        world.log_versions = [2; 2];
        world.start(b);
        world.run_us(1_500_000);
        world.order(a, SWITCHOVER);
        world.run_random_us(0, 15_000);
        match world.random(0, 2) {
            0 => world.inflict(Fault::Freeze(b, 300_000)),
            1 => world.inflict(Fault::LinkDown { a_to_b: true, b_to_a: true }),
            _ => world.inflict(Fault::Crash(b)),
        }
        world.run_us(400_000);
        assert_solo(world, a);
    });
}
