//! The rules over a register that others keep: what waits for its answer, and what it decides.

mod majority;
mod many;
mod world;

use replication::{Epoch, GateMode, Incarnation, Role, Transfer};

use crate::events::{Event, SpareReason};
use crate::order::{Accepted, Order, OrderRefused};

use world::{LONE_START_MS, World, id};

const A: usize = 0;
const B: usize = 1;

#[test]
fn pair_forms_when_the_register_has_decided_it() {
    let mut world = World { unreached: [true; 3], ..World::default() };
    world.start(A, 1);
    world.start(B, 2);
    world.run_ms(500);
    assert_eq!((world.role(A), world.role(B)), (Role::Spare, Role::Spare));
    assert!(world.reason(A).contains("to form a pair"), "{}", world.reason(A));
    assert!(world.happened(A, |e| matches!(e, Event::RegisterDelays { .. })));
    world.unreached = [false; 3];
    world.run_ms(20);
    assert_eq!(world.role(A), Role::Primary(GateMode::Confirmed));
    assert_eq!(world.role(B), Role::Backup);
}

#[test]
fn takeover_waits_for_the_register() {
    let mut world = World::formed();
    world.nodes[A] = None;
    world.unreached[B] = true;
    world.run_ms(2_000);
    assert_eq!(world.role(B), Role::Backup);
    assert!(world.reason(B).contains("to take over"), "{}", world.reason(B));
    world.unreached[B] = false;
    world.run_ms(2);
    assert_eq!(world.role(B), Role::Primary(GateMode::Open));
    let timeline = world.node(B).member.status(world.now_us).takeover.unwrap();
    assert!(timeline.epoch_won_us >= timeline.suspected_us + 1_900_000);
}

#[test]
fn gate_opens_when_the_removal_is_decided_and_not_before() {
    let mut world = World::formed();
    world.nodes[B] = None;
    world.unreached[A] = true;
    world.run_ms(2_000);
    assert_eq!(world.role(A), Role::Primary(GateMode::Confirmed));
    assert!(world.node(A).directive.silent, "b may serve by now");
    world.unreached[A] = false;
    world.run_ms(2);
    assert_eq!(world.role(A), Role::Primary(GateMode::Open));
    assert!(!world.node(A).directive.silent);
}

#[test]
fn decided_removal_needs_no_acknowledgement() {
    let mut world = World::formed();
    let now_us = world.now_us;
    world.report(A).unconfirmed_since_us[0] = Some(now_us);
    let removed = |world: &World| world.happened(A, |e| matches!(e, Event::BackupRemoved { .. }));
    while !removed(&world) {
        assert_eq!(world.role(A), Role::Primary(GateMode::Confirmed));
        world.run_ms(1);
    }
    assert_eq!(world.role(A), Role::Primary(GateMode::Open), "at once");
    world.run_ms(5);
    assert!(matches!(world.role(B), Role::Spare | Role::Joining));
}

#[test]
fn of_two_nodes_that_do_not_hear_each_other_one_serves() {
    let mut world = World::formed();
    world.cut = true;
    for _ in 0..300 {
        world.run_ms(1);
        let serves = |side| world.role(side) == Role::Primary(GateMode::Open);
        assert!(!(serves(A) && serves(B)));
    }
    let roles = [world.role(A), world.role(B)];
    assert!(roles.contains(&Role::Primary(GateMode::Open)) && roles.contains(&Role::Spare));
}

#[test]
fn node_that_the_register_does_not_reach_gives_way_when_it_hears_of_it() {
    let mut world = World::formed();
    world.cut = true;
    world.unreached[A] = true;
    world.run_ms(200);
    assert_eq!(world.role(A), Role::Primary(GateMode::Confirmed));
    assert!(world.node(A).directive.silent);
    assert_eq!(world.role(B), Role::Primary(GateMode::Open));
    world.cut = false;
    world.run_ms(10);
    assert!(matches!(world.role(A), Role::Spare | Role::Joining));
    let reason = SpareReason::Superseded;
    assert!(world.happened(A, |e| *e == Event::BecameSpare { epoch: Epoch(2), reason }));
}

#[test]
fn takeover_that_was_decided_is_carried_out_though_the_primary_is_heard_again() {
    let mut world = World::formed();
    world.cut = true;
    world.unheard[B] = true;
    world.unreached[A] = true;
    world.run_ms(70);
    assert_eq!(world.decided.primary, Some(id(B, 2)));
    assert_eq!((world.role(A), world.role(B)), (Role::Primary(GateMode::Confirmed), Role::Backup));
    world.cut = false;
    world.unreached[A] = false;
    world.unheard[B] = false;
    world.run_ms(10);
    assert_eq!(world.role(B), Role::Primary(GateMode::Open));
    assert_ne!(world.role(A), Role::Primary(GateMode::Confirmed));
}

#[test]
fn gate_stays_closed_while_the_register_may_count_the_joining_node_in() {
    let mut world = World::formed();
    world.nodes[A] = None;
    world.run_ms(200);
    world.start(A, 7);
    world.run_ms(100);
    world.report(A).transfer = Transfer::Complete;
    world.report(B).transfer = Transfer::Complete;
    world.run_ms(20);
    assert_eq!(world.role(B), Role::Primary(GateMode::Confirmed));
    world.unreached[B] = true;
    world.report(B).transfer = Transfer::Settled;
    world.run_ms(20);
    world.nodes[A] = None;
    world.run_ms(500);
    assert_eq!(world.role(B), Role::Primary(GateMode::Confirmed), "a may be in sync");
    world.unreached[B] = false;
    world.run_ms(20);
    assert_eq!(world.role(B), Role::Primary(GateMode::Open), "it was counted in, and removed");
}

#[test]
fn stalled_backup_whose_primary_served_alone_never_takes_over() {
    let mut world = World::formed();
    world.cut = true;
    world.unreached[B] = true;
    world.report(B).stalled_for_us = 5_000_000;
    world.run_ms(1);
    world.report(B).stalled_for_us = 0;
    world.run_ms(300);
    assert_eq!(world.role(A), Role::Primary(GateMode::Open));
    world.nodes[A] = None;
    world.unreached[B] = false;
    world.run_ms(300);
    assert_eq!(world.role(B), Role::Spare);
}

#[test]
fn stalled_backup_takes_over_if_the_register_lets_it() {
    let mut world = World::formed();
    world.nodes[A] = None;
    world.report(B).stalled_for_us = 5_000_000;
    world.run_ms(1);
    world.report(B).stalled_for_us = 0;
    world.run_ms(200);
    assert_eq!(world.role(B), Role::Primary(GateMode::Open), "however long the stall was");
    assert!(!world.node(B).directive.silent);
}

#[test]
fn restarted_node_waits_for_a_run_that_may_hold_the_connections() {
    let mut world = World::formed();
    world.nodes = [None, None, None];
    world.start(A, 7);
    world.run_ms(10 * LONE_START_MS);
    assert_eq!(world.role(A), Role::Spare);
    assert!(world.reason(A).contains("--assume-ended 0000000000000002"), "{}", world.reason(A));
    let holder = id(B, 2);
    assert!(world.happened(A, |e| *e == Event::AwaitsHolder { holder }));
    // Its end is proven by the next run of it.
    world.start(B, 8);
    world.run_ms(100);
    assert_eq!(world.role(A), Role::Primary(GateMode::Confirmed));
    assert_eq!(world.role(B), Role::Backup);
}

#[test]
fn operator_can_vouch_that_a_run_has_ended() {
    let mut world = World::formed();
    world.nodes = [None, None, None];
    world.start(A, 7);
    world.nodes[A].as_mut().unwrap().member.assume_ended(Incarnation(2));
    world.run_ms(LONE_START_MS + 10);
    assert_eq!(world.role(A), Role::Primary(GateMode::Open));
    assert_eq!(world.decided.in_sync.as_slice(), [id(A, 7)]);
}

#[test]
fn node_that_served_alone_may_start_alone_again() {
    let mut world = World::formed();
    world.nodes[B] = None;
    world.run_ms(200);
    world.nodes[A] = None;
    world.start(A, 7);
    world.run_ms(LONE_START_MS + 10);
    assert_eq!(world.role(A), Role::Primary(GateMode::Open));
}

#[test]
fn former_backup_does_not_start_while_the_primary_that_removed_it_may_live() {
    let mut world = World::formed();
    world.nodes[B] = None;
    world.run_ms(200);
    world.cut = true;
    world.start(B, 8);
    world.run_ms(10 * LONE_START_MS);
    assert_eq!(world.role(B), Role::Spare);
    assert!(world.reason(B).contains("waits for a"), "{}", world.reason(B));
    world.cut = false;
    world.run_ms(50);
    assert_eq!(world.role(B), Role::Joining);
}

#[test]
fn spare_starts_afresh_when_every_holder_has_ended() {
    let mut world = World::formed();
    let now_us = world.now_us;
    world.report(A).unconfirmed_since_us[0] = Some(now_us);
    world.run_ms(60);
    assert_eq!(world.role(A), Role::Primary(GateMode::Open), "b is removed");
    world.nodes[A] = None;
    world.run_ms(LONE_START_MS / 2);
    assert_eq!(world.role(B), Role::Spare, "a may still run");
    world.start(A, 7);
    world.run_ms(100);
    assert!(world.happened(B, |e| matches!(e, Event::StartsAfresh { .. })));
    assert_eq!(world.role(A), Role::Primary(GateMode::Confirmed));
    assert_eq!(world.role(B), Role::Backup);
}

/// That it starts, and holds nothing, says little of a node that has asked to serve.
#[test]
fn node_that_has_asked_to_start_alone_is_no_proof_that_nobody_serves() {
    let mut world = World { cut: true, unheard: [false, true, false], ..World::default() };
    world.start(B, 2);
    world.run_ms(20);
    world.start(A, 1);
    while world.decided.epoch == Epoch(0) {
        world.run_ms(1);
    }
    assert_eq!(world.decided.in_sync.as_slice(), [id(B, 2)]);
    // For a moment b is heard, which does not know the decision yet.
    world.cut = false;
    while !world.happened(A, |e| matches!(e, Event::PeerHeard { .. })) {
        world.run_ms(1);
    }
    world.cut = true;
    world.run_ms(2 * LONE_START_MS);
    assert_eq!(world.role(A), Role::Spare);
    world.unheard[B] = false;
    world.run_ms(10);
    assert_eq!(world.role(B), Role::Primary(GateMode::Open));
    assert_eq!(world.decided.in_sync.as_slice(), [id(B, 2)]);
}

const SWITCHOVER: Order = Order::Switchover { to: None };

impl World {
    fn order(&mut self, side: usize, order: &Order) -> Result<Accepted, OrderRefused> {
        let now_us = self.now_us;
        self.nodes[side].as_mut().expect("runs").member.order(now_us, order)
    }

    /// A has asked for b to be the primary.
    fn handing_over() -> World {
        let mut world = World::formed();
        world.report(B).log_applied = true;
        world.run_ms(20);
        world.order(A, &SWITCHOVER).unwrap();
        world
    }

    /// The register has b as primary, and a rests: not all is confirmed.
    fn resting() -> World {
        let mut world = World::handing_over();
        world.run_ms(10);
        assert_eq!(world.decided.primary, Some(id(B, 2)));
        assert_ne!(world.node(A).directive.quiesce, 0);
        world
    }

    fn rest(&mut self) {
        self.report(A).quiet = true;
        self.run_ms(10);
        self.report(A).quiet = false;
    }
}

#[test]
fn primary_serves_until_the_register_has_decided_a_switchover() {
    let mut world = World::handing_over();
    world.unreached = [true; 3];
    world.run_ms(2_000);
    let a = world.node(A).directive;
    assert_eq!((a.role, a.quiesce, a.silent), (Role::Primary(GateMode::Confirmed), 0, false));
    assert!(world.reason(A).contains("to hand the service over"), "{}", world.reason(A));
    assert_eq!(world.order(A, &SWITCHOVER), Err(OrderRefused::Busy));
    world.unreached = [false; 3];
    world.run_ms(10);
    assert_ne!(world.node(A).directive.quiesce, 0);
    world.rest();
    assert_eq!((world.role(A), world.role(B)), (Role::Backup, Role::Primary(GateMode::Confirmed)));
    assert_eq!(world.decided.in_sync.as_slice(), [id(B, 2), id(A, 1)]);
    assert_eq!(world.decided.epoch, Epoch(2), "one change");
}

#[test]
fn successor_serves_when_it_hears_that_the_primary_rests_and_not_before() {
    let mut world = World::resting();
    world.run_ms(50);
    assert_eq!((world.role(A), world.role(B)), (Role::Primary(GateMode::Confirmed), Role::Backup));
    world.cut = true;
    world.report(A).quiet = true;
    world.run_ms(5);
    assert_eq!((world.role(A), world.role(B)), (Role::Backup, Role::Backup), "it was not heard");
    world.cut = false;
    world.run_ms(10);
    assert_eq!((world.role(A), world.role(B)), (Role::Backup, Role::Primary(GateMode::Confirmed)));
    assert!(!world.happened(B, |e| matches!(e, Event::TookOver { .. })));
}

#[test]
fn primary_that_does_not_come_to_rest_has_the_register_name_it_again() {
    let mut world = World::resting();
    world.unreached[A] = true;
    world.run_ms(150);
    let a = world.node(A).directive;
    assert_eq!((a.role, a.quiesce), (Role::Primary(GateMode::Confirmed), 0), "it serves on");
    assert!(world.reason(A).contains("to stay primary"), "{}", world.reason(A));
    assert_eq!(world.role(B), Role::Backup);
    world.unreached[A] = false;
    world.run_ms(10);
    assert_eq!(world.decided.in_sync.as_slice(), [id(A, 1), id(B, 2)]);
    assert!(world.happened(A, |e| matches!(e, Event::SwitchoverFailed { .. })));
    assert_eq!((world.role(A), world.role(B)), (Role::Primary(GateMode::Confirmed), Role::Backup));
    // The next one goes well.
    world.order(A, &SWITCHOVER).unwrap();
    world.run_ms(10);
    world.rest();
    assert_eq!((world.role(A), world.role(B)), (Role::Backup, Role::Primary(GateMode::Confirmed)));
}

#[test]
fn either_node_may_die_before_the_old_primary_rests() {
    let mut world = World::resting();
    world.nodes[A] = None;
    world.run_ms(300);
    assert_eq!(world.role(B), Role::Primary(GateMode::Open));
    assert_eq!(world.decided.in_sync.as_slice(), [id(B, 2)], "it takes a change to serve alone");

    let mut world = World::resting();
    world.nodes[B] = None;
    world.unreached[A] = true;
    world.run_ms(100);
    let a = world.node(A).directive;
    assert_eq!((a.role, a.quiesce), (Role::Primary(GateMode::Confirmed), 0));
    assert!(a.silent, "b may have taken over");
    world.unreached[A] = false;
    world.run_ms(10);
    assert_eq!(world.role(A), Role::Primary(GateMode::Open));
    assert!(!world.node(A).directive.silent);
}

#[test]
fn either_node_may_die_when_the_old_primary_rests() {
    let mut world = World::resting();
    world.rest();
    world.nodes[A] = None;
    world.run_ms(300);
    assert_eq!(world.role(B), Role::Primary(GateMode::Open));

    let mut world = World::resting();
    world.nodes[B] = None;
    world.rest();
    assert!(world.happened(A, |e| matches!(e, Event::HandedOver { epoch: Epoch(2), .. })));
    world.run_ms(300);
    assert!(world.happened(A, |e| matches!(e, Event::TookOver { epoch: Epoch(3), .. })));
    assert_eq!(world.role(A), Role::Primary(GateMode::Open));
}

/// It holds the state, and was told neither that it is in sync nor that it is to serve.
#[test]
fn successor_that_was_counted_in_unheard_waits_for_the_old_primary_to_rest() {
    let mut world = World::formed();
    world.nodes[B] = None;
    world.run_ms(200);
    world.start(B, 7);
    world.run_ms(1_100);
    assert_eq!(world.role(B), Role::Joining);
    world.report(A).transfer = Transfer::Complete;
    world.report(B).transfer = Transfer::Complete;
    world.run_ms(20);
    world.unheard[B] = true;
    world.report(A).transfer = Transfer::Settled;
    while !world.decided.in_sync.contains(&id(B, 7)) {
        assert!(world.now_us < 3_000_000);
        world.run_ms(1);
    }
    world.cut = true;
    world.order(A, &SWITCHOVER).unwrap();
    world.run_ms(5);
    assert_eq!((world.decided.primary, world.role(B)), (Some(id(B, 7)), Role::Joining));
    world.unheard[B] = false;
    world.run_ms(5);
    assert_eq!((world.role(A), world.role(B)), (Role::Primary(GateMode::Confirmed), Role::Backup));
    world.cut = false;
    world.rest();
    assert_eq!((world.role(A), world.role(B)), (Role::Backup, Role::Primary(GateMode::Confirmed)));
}

#[test]
fn of_a_switchover_and_a_takeover_one_is_decided() {
    let mut world = World::handing_over();
    (world.unreached[A], world.cut) = (true, true);
    world.run_ms(300);
    assert_eq!(world.decided.in_sync.as_slice(), [id(B, 2)], "it took over");
    assert_eq!(world.role(B), Role::Primary(GateMode::Open));
    assert!(world.node(A).directive.silent);
    world.unreached[A] = false;
    world.run_ms(10);
    assert_eq!(world.role(A), Role::Spare);
}

#[test]
fn drained_backup_stays_while_it_may_be_made_primary() {
    let mut world = World::formed();
    world.cut = true;
    world.unreached = [true; 3];
    world.run_ms(100);
    assert!(world.reason(B).contains("to take over"), "{}", world.reason(B));
    world.order(B, &Order::Drain).unwrap();
    world.cut = false;
    world.run_ms(100);
    assert_eq!(world.role(B), Role::Backup);
    world.unreached[B] = false;
    world.run_ms(2);
    assert_eq!(world.role(B), Role::Primary(GateMode::Open));
}

#[test]
fn node_that_withdrew_serves_nothing_when_the_removal_that_it_asked_for_is_decided() {
    let mut world = World::resting();
    world.rest();
    assert_eq!(world.role(B), Role::Primary(GateMode::Confirmed));
    world.nodes[A] = None;
    world.unreached[B] = true;
    world.run_ms(200);
    assert!(world.reason(B).contains("to remove a backup"), "{}", world.reason(B));
    // What was left of the log does not fit.
    world.report(B).refused_log = true;
    world.run_ms(2);
    assert_eq!(world.role(B), Role::Spare);
    world.unreached[B] = false;
    world.run_ms(10);
    assert_eq!(world.decided.in_sync.as_slice(), [id(B, 2)]);
    assert_eq!(world.role(B), Role::Spare);
}

#[test]
fn service_that_was_handed_over_to_a_late_node_is_not_served_beside_a_view_that_it_missed() {
    let mut world = World::handing_over();
    world.report(A).quiet = true;
    world.unheard[B] = true;
    while world.decided.primary != Some(id(B, 2)) {
        world.run_ms(1);
    }
    let handed_over = world.decided.clone();
    world.cut = true;
    world.run_ms(200);
    assert_eq!(world.decided.in_sync.as_slice(), [id(A, 1)], "it took the service back");
    world.nodes[A] = None;
    world.unheard[A] = true;
    world.start(A, 7);
    world.cut = false;
    world.run_ms(20);
    assert!(world.happened(B, |e| matches!(e, Event::PeerRestarted { .. })));
    world.nodes[B].as_ref().unwrap().lines.views.send_replace(handed_over);
    world.run_ms(20);
    assert_ne!(world.role(B), Role::Primary(GateMode::Open), "clients know more than it does");
    world.unheard[B] = false;
    world.run_ms(2);
    assert_eq!(world.role(B), Role::Spare);
}
