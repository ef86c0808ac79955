//! More than one backup.

use replication::{GateMode, Log, Role, Transfer};

use crate::events::Event;
use crate::order::{Accepted, Order};
use crate::status::LanState;

use super::world::{World, id};

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;
const CONFIRMED: Role = Role::Primary(GateMode::Confirmed);

fn logs(world: &World, side: usize) -> Vec<Log> {
    world.node(side).directive.logs.into_iter().flatten().collect()
}

fn is_in_sync(world: &World, side: usize) -> bool {
    world.decided.in_sync.iter().any(|node| node.name == id(side, 1).name)
}

fn run_until_it_joins(world: &mut World, side: usize) {
    while world.role(side) != Role::Joining {
        assert!(world.now_us < 5_000_000);
        world.run_ms(1);
    }
}

/// Until the node that joins is in sync; its shards are handed over at once.
fn run_until_in_sync(world: &mut World, primary: usize, joining: usize) {
    for _ in 0..5_000 {
        world.run_ms(1);
        let transfer = match world.role(joining) {
            Role::Backup => break,
            Role::Joining => Transfer::Complete,
            _ => Transfer::Incomplete,
        };
        world.report(joining).transfer = transfer;
        let closed = logs(world, primary).iter().all(|log| log.counts);
        let settled = if closed { Transfer::Settled } else { transfer };
        world.report(primary).transfer = settled;
    }
    assert_eq!(world.role(joining), Role::Backup);
    (world.report(primary).transfer, world.report(joining).transfer) = Default::default();
    assert!(is_in_sync(world, joining));
}

#[test]
fn all_that_start_together_are_in_sync() {
    let world = World::formed_of(3);
    assert_eq!(world.decided.in_sync.len(), 3);
    let logs = logs(&world, A);
    assert_eq!(logs.len(), 2);
    assert!(logs.iter().all(|log| log.counts && !log.hands_over));
    for side in [A, B, C] {
        let status = world.node(side).member.status(world.now_us);
        assert!(status.pair_in_sync && status.peers.len() == 2);
    }
}

#[test]
fn backup_that_dies_leaves_the_other_one_in_sync() {
    let mut world = World::formed_of(3);
    let before = world.node(C).directive;
    world.nodes[B] = None;
    world.run_ms(200);
    assert_eq!((world.role(A), world.role(C)), (CONFIRMED, Role::Backup));
    assert!(is_in_sync(&world, C) && !is_in_sync(&world, B));
    assert_eq!(world.node(C).directive.logs, before.logs, "its log goes on");
    assert!(!world.happened(A, |e| matches!(e, Event::GateOpened { .. })));
}

#[test]
fn one_backup_takes_over_and_the_other_joins_it() {
    let mut world = World::formed_of(3);
    world.nodes[A] = None;
    world.run_ms(100);
    let serves = |side: &usize| matches!(world.role(*side), Role::Primary(_));
    let primaries: Vec<usize> = [B, C].into_iter().filter(serves).collect();
    let [primary] = primaries[..] else { panic!("{primaries:?} serve") };
    let other = B + C - primary;
    assert!(!is_in_sync(&world, other), "it may have applied more than the new primary");
    assert_ne!(world.role(other), Role::Backup);
    run_until_in_sync(&mut world, primary, other);
    // And again, with whoever comes back.
    world.start(A, 4);
    run_until_in_sync(&mut world, primary, A);
    assert_eq!(world.role(other), Role::Backup, "undisturbed");
    assert_eq!(world.decided.in_sync.len(), 3);
    assert!(logs(&world, primary).iter().all(|log| log.counts));
}

#[test]
fn backup_without_its_lan_lets_the_other_one_take_over() {
    for unplugged in [B, C] {
        let mut world = World::formed_of(3);
        world.unplugged[unplugged] = true;
        world.run_ms(500);
        let lan = |side| world.node(side).member.status(world.now_us).lan;
        assert_eq!((lan(A), lan(unplugged)), (LanState::Answers, LanState::Silent));
        world.nodes[A] = None;
        world.run_ms(100);
        let other = B + C - unplugged;
        assert!(matches!(world.role(other), Role::Primary(_)), "{other} has its LAN");
        // It takes over all the same if there is nobody better.
        let mut world = World::formed_of(3);
        world.unplugged[unplugged] = true;
        world.run_ms(500);
        (world.nodes[A], world.nodes[B + C - unplugged]) = (None, None);
        world.run_ms(300);
        assert!(matches!(world.role(unplugged), Role::Primary(_)));
    }
}

#[test]
fn service_goes_to_a_backup_that_has_its_lan() {
    for ordered in [false, true] {
        let mut world = World::formed_of(3);
        (world.unplugged[A], world.unplugged[B]) = (!ordered, true);
        world.report(A).quiet = true;
        [B, C].into_iter().for_each(|side| world.report(side).log_applied = true);
        if ordered {
            world.run_ms(500);
            let (now_us, order) = (world.now_us, Order::Switchover { to: None });
            let member = &mut world.nodes[A].as_mut().unwrap().member;
            assert_eq!(member.order(now_us, &order), Ok(Accepted::Began { attempt: 1 }));
        }
        world.run_ms(500);
        assert!(matches!(world.role(C), Role::Primary(_)), "ordered: {ordered}");
    }
}

#[test]
fn node_joins_while_another_one_is_in_sync() {
    let mut world = World { size: 3, ..World::default() };
    world.start(A, 1);
    world.start(B, 2);
    world.run_ms(50);
    assert_eq!((world.role(A), world.role(B)), (CONFIRMED, Role::Backup));
    let of_b = world.node(B).directive.logs;
    world.start(C, 3);
    run_until_it_joins(&mut world, C);
    assert_eq!(world.role(A), CONFIRMED, "for the backup that it has");
    let counting = |world: &World| logs(world, A).iter().filter(|log| log.counts).count();
    assert_eq!((logs(&world, A).len(), counting(&world)), (2, 1));
    run_until_in_sync(&mut world, A, C);
    assert_eq!(counting(&world), 2);
    assert_eq!((world.role(B), world.node(B).directive.logs), (Role::Backup, of_b));
    // One that had joined takes over as well as one of the first.
    (world.nodes[A], world.nodes[B]) = (None, None);
    world.run_ms(200);
    assert!(matches!(world.role(C), Role::Primary(_)));
}

#[test]
fn backup_that_dies_while_another_node_joins_disturbs_neither() {
    let mut world = World { size: 3, ..World::default() };
    world.start(A, 1);
    world.start(B, 2);
    world.run_ms(50);
    world.start(C, 3);
    run_until_it_joins(&mut world, C);
    let log = logs(&world, C)[0];
    world.nodes[B] = None;
    world.run_ms(200);
    assert_eq!(world.role(A), Role::Primary(GateMode::Open), "nobody else is in sync");
    assert!(world.happened(A, |e| matches!(e, Event::GateOpened { .. })));
    assert_eq!((world.role(C), logs(&world, C)[0]), (Role::Joining, log));
    run_until_in_sync(&mut world, A, C);
    assert_eq!(world.role(A), CONFIRMED);
}

#[test]
fn service_goes_to_the_node_that_is_asked_for() {
    let mut world = World::formed_of(3);
    let order = Order::Switchover { to: Some(id(C, 3).name) };
    let now_us = world.now_us;
    let member = &mut world.nodes[A].as_mut().unwrap().member;
    assert_eq!(member.order(now_us, &order), Ok(Accepted::Began { attempt: 1 }));
    for side in [A, B, C] {
        world.report(side).log_applied = true;
    }
    world.run_ms(20);
    assert_ne!(world.node(A).directive.quiesce, 0);
    world.report(A).quiet = true;
    world.run_ms(20);
    assert_eq!((world.role(C), world.role(A)), (CONFIRMED, Role::Backup));
    world.report(A).quiet = false;
    assert!(!is_in_sync(&world, B));
    run_until_in_sync(&mut world, C, B);
    assert_eq!(world.role(A), Role::Backup);
    assert_eq!(world.decided.in_sync.len(), 3);
}
