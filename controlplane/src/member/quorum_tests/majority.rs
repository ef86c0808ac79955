//! Where packets leave as soon as a majority of the in-sync set holds what they depend on.

use replication::{Epoch, GateMode, Role, Votes};

use crate::events::{Event, SpareReason};
use crate::order::Order;

use super::world::{World, id};

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;
const CONFIRMED: Role = Role::Primary(GateMode::Confirmed);

fn formed() -> World {
    World::formed_with(World { size: 3, by_majority: true, ..World::default() })
}

fn has(world: &World, side: usize) -> bool {
    world.decided.in_sync.iter().any(|node| node.name == id(side, 1).name)
}

fn is_sealed(world: &World, side: usize) -> bool {
    world.node(side).directive.majority.sealed
}

/// The workers of that backup have all that the only one it exchanges with holds.
fn gather(world: &mut World, side: usize) {
    let tails = world.node(side).directive.majority.tails;
    assert_eq!(tails.iter().flatten().count(), 1, "there is one to exchange with");
    world.report(side).gathered = tails.map(|tail| tail.map(|log| log.epoch));
}

/// The workers of that primary say that a majority of the rest holds all that has left.
fn part(world: &mut World, side: usize) {
    world.report(side).parted = world.node(side).directive.majority.parting;
}

fn votes(world: &World, of: usize) -> Option<Votes> {
    let mut logs = world.node(A).directive.logs.into_iter().flatten();
    logs.find(|log| log.run == id(of, of as u64 + 1).incarnation).map(|log| log.votes)
}

#[test]
fn nobody_takes_over_before_it_has_what_another_backup_holds() {
    let mut world = formed();
    world.nodes[A] = None;
    world.run_ms(200);
    for side in [B, C] {
        assert_eq!(world.role(side), Role::Backup);
        assert!(is_sealed(&world, side) && has(&world, side));
        assert!(world.happened(side, |e| matches!(e, Event::Sealed { .. })));
    }
    let tails = |side: usize| world.node(side).directive.majority.tails.into_iter().flatten();
    let (of_b, of_c) = (tails(B).next().unwrap(), tails(C).next().unwrap());
    assert_eq!((of_b.run, of_c.run), (id(C, 3).incarnation, id(B, 2).incarnation));
    assert_eq!((of_b.epoch, of_c.epoch), (world.decided.epoch, world.decided.epoch));
    world.report(B).gathered = [None, Some(Epoch(of_b.epoch.0 - 1)), None];
    world.run_ms(50);
    assert_eq!(world.role(B), Role::Backup, "that was of an earlier view");
    gather(&mut world, B);
    world.run_ms(50);
    assert_eq!(world.role(B), Role::Primary(GateMode::Open));
    assert!(!has(&world, C) && world.role(C) != Role::Backup, "it joins");
    assert!(!is_sealed(&world, C));
}

#[test]
fn one_survivor_of_three_waits_and_says_so() {
    let mut world = formed();
    (world.nodes[A], world.nodes[C]) = (None, None);
    world.run_ms(2_000);
    assert_eq!(world.role(B), Role::Backup);
    assert!(world.happened(B, |e| matches!(e, Event::AwaitsOthers { needed: 1 })));
    assert!(world.reason(B).contains("1 of the other backups"), "{}", world.reason(B));
    // What it may lack is gone with the runs that held it: the service begins anew.
    world.start(A, 4);
    world.start(C, 5);
    world.run_ms(100);
    let gave_up =
        |event: &Event| matches!(event, Event::BecameSpare { reason: SpareReason::Incomplete, .. });
    assert!(world.happened(B, gave_up));
    world.run_ms(2 * super::world::LONE_START_MS);
    let serves = |side: &usize| matches!(world.role(*side), Role::Primary(_));
    assert_eq!([A, B, C].iter().filter(|side| serves(side)).count(), 1);
}

#[test]
fn register_is_asked_to_leave_a_backup_out_when_the_rest_holds_what_left() {
    let mut world = formed();
    assert_eq!(votes(&world, C), Some(Votes::steady(true)));
    let epoch = world.decided.epoch;
    world.nodes[C] = None;
    world.run_ms(200);
    assert_eq!(world.decided.epoch, epoch, "nothing is asked for yet");
    assert_ne!(world.node(A).directive.majority.parting, 0);
    assert_eq!(votes(&world, C), Some(Votes { now: true, next: false }));
    assert_eq!(votes(&world, B), Some(Votes::steady(true)));
    // The register does not answer: the votes stay what they are.
    world.unheard[A] = true;
    part(&mut world, A);
    world.run_ms(1);
    assert_eq!(votes(&world, C), Some(Votes { now: true, next: false }));
    world.unheard[A] = false;
    world.run_ms(20);
    assert!(!has(&world, C) && has(&world, B));
    assert_eq!((world.role(A), votes(&world, C)), (CONFIRMED, None));
    assert_eq!(world.node(A).directive.majority.parting, 0);
    // Of two nodes each holds what left: nobody else is asked.
    world.nodes[A] = None;
    world.run_ms(200);
    assert_eq!(world.role(B), Role::Primary(GateMode::Open));
}

#[test]
fn all_that_are_lost_leave_at_once() {
    let mut world = formed();
    world.nodes[C] = None;
    world.run_ms(200);
    let first = world.node(A).directive.majority.parting;
    world.nodes[B] = None;
    world.run_ms(200);
    assert_ne!(world.node(A).directive.majority.parting, first, "it is another plan");
    world.report(A).parted = first;
    world.run_ms(20);
    assert_eq!(world.decided.in_sync.len(), 3, "the word on the first plan does not count");
    part(&mut world, A);
    world.run_ms(20);
    assert_eq!(world.decided.in_sync.len(), 1);
    assert_eq!(world.role(A), Role::Primary(GateMode::Open));
}

#[test]
fn wrong_suspicion_costs_a_rejoin() {
    let mut world = formed();
    world.cut = true;
    world.run_ms(110);
    assert!(is_sealed(&world, B) && is_sealed(&world, C));
    world.cut = false;
    world.run_ms(20);
    part(&mut world, A);
    world.run_ms(20);
    assert_eq!(world.role(A), Role::Primary(GateMode::Open), "it serves on");
    for side in [B, C] {
        assert!(!has(&world, side) && !is_sealed(&world, side));
        assert!(world.happened(side, |e| matches!(e, Event::BecameSpare { .. })));
        assert!(!world.happened(side, |e| matches!(e, Event::TookOver { .. })));
    }
}

#[test]
fn drained_backup_holds_the_state_until_it_is_left_out() {
    let mut world = formed();
    let now_us = world.now_us;
    world.nodes[B].as_mut().unwrap().member.order(now_us, &Order::Drain).unwrap();
    world.run_ms(100);
    assert_eq!(world.role(B), Role::Backup, "others may need what it holds");
    part(&mut world, A);
    world.run_ms(20);
    assert_eq!((world.role(B), has(&world, B)), (Role::Spare, false));
    assert!(
        world.happened(B, |e| matches!(e, Event::BecameSpare { reason: SpareReason::Drained, .. }))
    );
}
