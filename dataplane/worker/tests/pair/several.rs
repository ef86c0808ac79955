//! More than one backup: what clients are told waits for each of them, and each may go or come
//! while the others stay.

use replication::{Directive, Epoch, GateMode, Log, MAX_PEERS, Role, Transfer};
use worker::Counters;

use crate::client::{Client, Work};
use crate::cluster::{
    CONFIRMED, WEATHER, ask_much, assert_equal_state, assert_no_fault, cluster, directive, gate,
    log_with, place, tell, tell_of, told,
};
use crate::start_all;
use crate::world::World;

#[test]
fn packets_wait_for_the_slower_of_two_backups() {
    for slow in [1, 2] {
        let mut world = cluster(900, 2, &[1, 1, 1], &[1, 2]);
        ask_much(&mut world);
        world.run_for(5_000);
        let (_, before) = gate(&mut world);
        assert!(before > 20);
        world.freeze(slow, 30_000);
        // What was confirmed until then leaves.
        world.run_for(1_000);
        let (waiting, left) = gate(&mut world);
        assert!(waiting > 0);
        world.run_for(10_000);
        let (_, later) = gate(&mut world);
        assert_eq!(later, left, "node {slow} has not confirmed it");
        let unconfirmed = told(&world, 0).report().unconfirmed_since_us;
        let quick = 3 - slow;
        assert!(unconfirmed[place(slow, 0).place()].is_some());
        assert_eq!(unconfirmed[place(quick, 0).place()], None);
        world.run_for(30_000);
        assert!(gate(&mut world).1 > later);
        world.run_clients();
        assert_equal_state(&mut world, &[0, 1, 2]);
        for backup in [1, 2] {
            assert!(world.counters(backup).digests_equal > 100);
        }
    }
}

#[test]
fn both_backups_follow_in_bad_weather_whatever_their_numbers_of_workers() {
    for (seed, workers) in (910..).zip([[1, 1, 1], [2, 1, 3], [3, 2, 2], [1, 2, 1]]) {
        let mut world = cluster(seed, 2, &workers, &[1, 2]);
        world.weather(WEATHER);
        start_all(&mut world);
        world.run_clients();
        assert_equal_state(&mut world, &[0, 1, 2]);
    }
}

#[test]
fn packets_of_a_removed_backup_leave_once_the_other_one_has_confirmed() {
    for (seed, removed) in (920..).zip([1, 2, 1, 2]) {
        let other = 3 - removed;
        let mut world = cluster(seed, 2, &[1, 1, 1], &[1, 2]);
        ask_much(&mut world);
        world.run_for(5_000);
        world.kill(removed);
        world.freeze(other, 20_000);
        world.run_for(5_000);
        let (waiting, left) = gate(&mut world);
        assert!(waiting > 0);
        tell_of(&world, removed, |log| *log = None);
        world.run_for(5_000);
        assert_eq!(gate(&mut world), (waiting, left), "the other one has not confirmed it");
        world.run_for(12_000);
        let (_, later) = gate(&mut world);
        assert!(later >= left + waiting as u64, "{later} of {left} + {waiting}");
        assert_eq!(world.counters(0).drop_gate_discarded, 0);
        world.run_clients();
        assert_equal_state(&mut world, &[0, other]);
    }
}

#[test]
fn packets_leave_when_the_last_backup_is_removed() {
    let mut world = cluster(930, 2, &[1, 1, 1], &[1, 2]);
    ask_much(&mut world);
    world.run_for(5_000);
    [1, 2].into_iter().for_each(|backup| world.kill(backup));
    world.run_for(5_000);
    let (waiting, left) = gate(&mut world);
    assert!(waiting > 0);
    tell(&world, 0, |primary| {
        primary.logs = [None; MAX_PEERS];
        primary.role = Role::Primary(GateMode::Open);
    });
    world.run_for(1_000);
    assert_eq!(gate(&mut world), (0, left + waiting as u64));
    world.run_clients();
}

/// Begins the handover to node 2, which has so many workers, while node 1 is in sync.
fn begin_to_join(world: &World, workers: &[u16], epoch: Epoch) {
    let log = Log { counts: false, hands_over: true, ..log_with(2, workers[2], epoch) };
    tell_of(world, 2, |own| *own = Some(log));
    tell(world, 2, |joining| {
        joining.role = Role::Joining;
        let log = Log { counts: false, ..log_with(0, workers[0], epoch) };
        joining.logs[place(0, 2).place()] = Some(log);
    });
}

fn transfer(world: &World, node: usize) -> Transfer {
    told(world, node).report().transfer
}

/// Counts node 2 in once it has all.
fn finish_joining(world: &mut World) {
    world.run(1_000_000, |world| {
        [0, 2].iter().all(|node| transfer(world, *node) == Transfer::Complete)
    });
    tell_of(world, 2, |log| log.as_mut().unwrap().counts = true);
    world.run(1_000_000, |world| transfer(world, 0) == Transfer::Settled);
    tell(world, 2, |joining| joining.role = Role::Backup);
}

#[test]
fn node_is_not_in_sync_before_it_has_what_left_without_it() {
    let mut world = cluster(935, 2, &[1, 1, 1], &[1]);
    ask_much(&mut world);
    begin_to_join(&world, &[1, 1, 1], Epoch(2));
    world.run(1_000_000, |world| {
        [0, 2].iter().all(|node| transfer(world, *node) == Transfer::Complete)
    });
    world.freeze(2, 20_000);
    let (_, before) = gate(&mut world);
    world.run_for(5_000);
    let (_, left) = gate(&mut world);
    assert!(left > before, "nobody waits for it yet");
    tell_of(&world, 2, |log| log.as_mut().unwrap().counts = true);
    world.run_for(5_000);
    assert!(gate(&mut world).0 > 0);
    assert_eq!(transfer(&world, 0), Transfer::Complete, "but not settled");
    world.run_for(15_000);
    assert_eq!(transfer(&world, 0), Transfer::Settled);
    world.run_clients();
}

#[test]
fn node_that_joined_beside_a_backup_takes_over() {
    let all_workers = [[1, 1, 1], [2, 1, 2], [1, 3, 2], [3, 1, 2]];
    for seed in 940..960 {
        let workers = all_workers[seed as usize % 4];
        let mut world = cluster(seed, 2, &workers, &[1]);
        if seed % 3 == 0 {
            world.weather(WEATHER);
        }
        ask_much(&mut world);
        let moment_us = world.random.below(5_000);
        world.run_for(moment_us);
        begin_to_join(&world, &workers, Epoch(2));
        finish_joining(&mut world);
        let moment_us = world.random.below(10_000);
        world.run_for(moment_us);
        assert!(world.counters(2).digests_equal > 0, "seed {seed}");
        assert!(!world.clients.iter().all(Client::is_done), "there is something to lose");
        world.kill(0);
        world.kill(1);
        tell(&world, 2, |heir| {
            heir.epoch = Epoch(3);
            heir.role = Role::Primary(GateMode::Open);
            heir.logs = [None; MAX_PEERS];
        });
        world.run_clients();
        assert!(world.is_serving(2), "seed {seed}");
        assert_no_fault(&world);
    }
}

#[test]
fn all_hold_the_same_when_a_node_has_joined_beside_a_backup() {
    let mut world = cluster(971, 2, &[2, 1, 3], &[1]);
    start_all(&mut world);
    world.run_for(5_000);
    let (_, before) = gate(&mut world);
    begin_to_join(&world, &[2, 1, 3], Epoch(2));
    finish_joining(&mut world);
    let (_, after) = gate(&mut world);
    assert!(after > before + 20, "clients are served meanwhile, through the gate");
    // From here on it is waited for.
    world.freeze(2, 10_000);
    world.run_for(1_000);
    let (waiting, left) = gate(&mut world);
    world.run_for(5_000);
    assert!(waiting > 0);
    assert_eq!(gate(&mut world).1, left);
    world.run_clients();
    assert_equal_state(&mut world, &[0, 1, 2]);
    assert!(world.counters(2).digests_equal > 100);
}

#[test]
fn node_that_dies_while_it_joins_holds_nobody_up() {
    for seed in 980..990 {
        let mut world = cluster(seed, 2, &[1, 1, 1], &[1]);
        ask_much(&mut world);
        world.run_for(5_000);
        begin_to_join(&world, &[1, 1, 1], Epoch(2));
        let moment_us = world.random.below(2_000);
        world.run_for(moment_us);
        world.kill(2);
        let (_, before) = gate(&mut world);
        world.run_for(20_000);
        assert!(gate(&mut world).1 > before + 20, "seed {seed}");
        tell_of(&world, 2, |log| *log = None);
        world.run_clients();
        let Counters { drop_gate_discarded, drop_back_pressure, .. } = world.counters(0);
        assert_eq!((drop_gate_discarded, drop_back_pressure), (0, 0));
        assert_equal_state(&mut world, &[0, 1]);
    }
}

/// Its log goes on for so long that there is no room left in it.
#[test]
fn joiner_that_stands_still_fails_alone() {
    let mut world = cluster(991, 2, &[1, 1, 1], &[1]);
    begin_to_join(&world, &[1, 1, 1], Epoch(2));
    world.run(1_000_000, |world| transfer(world, 0) == Transfer::Complete);
    world.kill(2);
    for client in 0..2 {
        world.start(client, Work::Upload(8_000_000));
    }
    world.run_clients();
    assert_eq!(transfer(&world, 0), Transfer::Failed);
    assert_eq!(told(&world, 0).report().unconfirmed_since_us[place(1, 0).place()], None);
    assert_equal_state(&mut world, &[0, 1]);
}

/// From node 0 to node 2, with node 1 in sync until then: it has to join anew.
#[test]
fn service_goes_to_one_of_two_backups_and_what_comes_late_is_passed_on_to_it() {
    let mut passed_on = 0;
    for seed in 1000..1012 {
        let mut world = cluster(seed, 2, &[1, 1, 1], &[1, 2]);
        start_all(&mut world);
        let moment_us = 600 + world.random.below(8_000);
        world.run_for(moment_us);
        tell(&world, 0, |primary| primary.quiesce = 1);
        world.run(200_000, |world| told(world, 0).report().quiet);
        let epoch = Epoch(2);
        tell(&world, 1, |other| *other = directive(Role::Spare));
        tell(&world, 0, |old| {
            *old = Directive { epoch, ..directive(Role::Backup) };
            let log = Log { counts: false, ..log_with(2, 1, epoch) };
            old.logs[place(2, 0).place()] = Some(log);
        });
        tell(&world, 2, |new| {
            *new = Directive { epoch, ..directive(CONFIRMED) };
            new.logs[place(0, 2).place()] = Some(log_with(0, 1, epoch));
        });
        world.run(200_000, |world| world.is_serving(2));
        tell(&world, 0, |old| old.passes_on = Some(place(2, 0)));
        world.run_clients();
        passed_on += world.counters(0).passed_on;
        let lost = [0, 1].map(|node| world.counters(node).drop_not_serving);
        assert_eq!(lost, [0, 0], "seed {seed}: it goes on to the right one");
        assert_equal_state(&mut world, &[2, 0]);
    }
    assert!(passed_on > 10, "frames came to who had served before: {passed_on}");
}
