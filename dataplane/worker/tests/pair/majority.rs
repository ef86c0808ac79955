//! Commit rule "quorum": packets leave as soon as a majority holds what they follow from, and an
//! heir is given what it lacks before it serves.

use engine::config::{Commit, Config};
use replication::{
    Directive, Epoch, GateMode, Log, MAX_PEERS, Majority, PeerIndex, Report, Role, Votes,
};

use crate::client::Client;
use crate::cluster::{
    FIRST, ask_much, assert_equal_state, assert_no_fault, cluster_of, directive, gate, log_with,
    place, tell, tell_of, told,
};
use crate::world::{World, shard_config};

/// Node 0 serves, nodes 1 and 2 follow, and a client of each kind of work is under way.
fn trio(seed: u64, workers: [u16; 3]) -> World {
    let mut shard: Config = shard_config();
    shard.services.iter_mut().for_each(|service| service.commit = Commit::Quorum);
    let mut world = cluster_of(&shard, seed, 2, &workers, &[1, 2]);
    ask_much(&mut world);
    world.run_for(5_000);
    world
}

fn left(world: &mut World) -> u64 {
    gate(world).1
}

/// Neither confirms anything more, and they give each other what they hold.
fn seal_both(world: &World, workers: [u16; 3]) {
    for (backup, other) in [(1, 2), (2, 1)] {
        let log = Log { counts: false, votes: Votes::NONE, ..log_with(other, workers[0], FIRST) };
        let mut tails = [None; MAX_PEERS];
        tails[place(other, backup).place()] = Some(log);
        tell(world, backup, |own| own.majority = Majority { sealed: true, tails, ..own.majority });
    }
}

fn report(world: &World, node: usize) -> Report {
    told(world, node).report()
}

fn has_gathered(world: &World, node: usize, from: usize) -> bool {
    report(world, node).gathered[place(from, node).place()] == Some(FIRST)
}

/// `heir` serves alone, in the state that it has.
fn take_over(world: &mut World, heir: usize) {
    tell(world, heir, |own| {
        let role = Role::Primary(GateMode::Open);
        *own = Directive { epoch: Epoch(2), ..directive(role) };
    });
    world.run(200_000, |world| world.is_serving(heir));
}

#[test]
fn packets_wait_for_the_quicker_of_two_backups() {
    for (seed, slow) in (1100..).zip([1, 2]) {
        let mut world = trio(seed, [1, 1, 1]);
        world.freeze(slow, 30_000);
        world.run_for(1_000);
        let before = left(&mut world);
        world.run_for(10_000);
        assert!(left(&mut world) > before + 20, "node {slow} holds nobody up");
        world.freeze(3 - slow, 10_000);
        world.run_for(1_000);
        let (waiting, before) = gate(&mut world);
        assert!(waiting > 0);
        world.run_for(5_000);
        assert_eq!(left(&mut world), before, "nobody else holds it");
        world.run_clients();
        assert_equal_state(&mut world, &[0, 1, 2]);
    }
}

#[test]
fn heir_is_given_what_it_lacks() {
    for (seed, workers) in (1110..).zip([[1, 1, 1], [2, 1, 3], [3, 2, 1], [1, 2, 2]]) {
        for (heir, other) in [(1, 2), (2, 1)] {
            let mut world = trio(seed, workers);
            world.freeze(heir, 5_000);
            world.run_for(4_000);
            assert!(!world.clients.iter().all(Client::is_done), "there is something to lose");
            world.kill(0);
            world.run_for(500);
            world.forget_link_input(heir);
            seal_both(&world, workers);
            world.run(200_000, |world| has_gathered(world, heir, other));
            assert!(world.counters(heir).records_gathered > 0, "it lacked something");
            take_over(&mut world, heir);
            world.run_clients();
            assert_no_fault(&world);
        }
    }
}

#[test]
fn heir_that_lacks_nothing_takes_nothing_twice() {
    let workers = [1, 1, 1];
    let mut world = trio(1120, workers);
    world.freeze(2, 5_000);
    world.run_for(4_000);
    world.kill(0);
    world.run_for(500);
    world.forget_link_input(2);
    seal_both(&world, workers);
    world.run(200_000, |world| has_gathered(world, 1, 2));
    assert_eq!(world.counters(1).records_gathered, 0);
    take_over(&mut world, 1);
    world.run_clients();
    assert_no_fault(&world);
}

#[test]
fn sealed_backup_confirms_nothing_more() {
    let mut world = trio(1130, [1, 1, 1]);
    tell(&world, 1, |own| own.majority.sealed = true);
    world.run_for(5_000);
    let waits = |world: &World, backup: usize| {
        let PeerIndex(at) = place(backup, 0);
        report(world, 0).unconfirmed_since_us[usize::from(at)].is_some()
    };
    assert!(waits(&world, 1));
    let before = left(&mut world);
    world.run_for(5_000);
    assert!(left(&mut world) > before, "the other one does");
    tell(&world, 2, |own| own.majority.sealed = true);
    world.run_for(1_000);
    let before = left(&mut world);
    world.run_for(10_000);
    assert_eq!(left(&mut world), before);
    assert!(waits(&world, 2));
}

#[test]
fn backup_is_left_out_once_the_rest_holds_what_has_left() {
    let mut world = trio(1140, [1, 1, 1]);
    world.freeze(1, 20_000);
    world.run_for(5_000);
    tell_of(&world, 2, |log| log.as_mut().unwrap().votes.next = false);
    tell(&world, 0, |own| own.majority.parting = 7);
    world.run_for(5_000);
    assert_eq!(report(&world, 0).parted, 0, "node 2 alone holds what has left");
    world.run(50_000, |world| report(world, 0).parted == 7);
    tell_of(&world, 2, |log| *log = None);
    tell(&world, 0, |own| own.majority = Majority::NONE);
    world.kill(2);
    world.run_clients();
    assert_equal_state(&mut world, &[0, 1]);
}
