//! A node comes back while the other one serves, and is worth as much as the first one was.

use replication::{GateMode, Role};

use crate::network::Weather;
use crate::world::World;
use crate::{OPEN, kill_in_the_middle, start_all};

const PAIRED: Role = Role::Primary(GateMode::Confirmed);

/// Node 0 has died and come back; node 1 serves, and both are a pair again.
fn come_back(world: &mut World, workers: u16) {
    world.revive(0, workers);
    world.run(3_000_000, |world| world.role(0) == Role::Backup);
    assert_eq!(world.role(1), PAIRED);
}

fn survive_both(seed: u64, workers: [u16; 2], back: u16, weather: Option<Weather>) {
    let shards = [crate::shard_config(), crate::shard_config()];
    let mut world = World::with(seed, 2, workers, shards);
    if let Some(weather) = weather {
        world.weather(weather);
    }
    start_all(&mut world);
    let moment_us = world.random.below(20_000);
    world.run_for(moment_us);
    kill_in_the_middle(&mut world, 0);
    world.run(1_000_000, |world| world.role(1) == OPEN);
    let moment_us = world.random.below(100_000);
    world.run_for(moment_us);
    come_back(&mut world, back);
    start_all(&mut world);
    let moment_us = world.random.below(20_000);
    world.run_for(moment_us);
    world.kill(1);
    world.run_clients();
    assert_eq!(world.role(0), OPEN, "seed {seed}");
}

#[test]
fn clients_get_every_byte_when_both_nodes_die_one_after_the_other() {
    for seed in 0..40 {
        survive_both(seed, [1, 1], 1, None);
    }
}

#[test]
fn nodes_with_other_numbers_of_workers_can_come_back() {
    for (seed, (workers, back)) in (100..).zip([([2, 1], 2), ([1, 3], 2), ([3, 2], 3), ([2, 3], 1)])
    {
        survive_both(seed, workers, back, None);
    }
}

#[test]
fn state_is_handed_over_in_bad_weather() {
    for seed in 200..220 {
        let weather =
            Weather { lan_loss: 20, link_loss: 50, link_reorder: 100, link_duplicate: 20 };
        survive_both(seed, [1, 1], 1, Some(weather));
    }
}

#[test]
fn digests_are_equal_after_a_handover() {
    let mut world = World::new(300, 2);
    start_all(&mut world);
    world.run_for(5_000);
    kill_in_the_middle(&mut world, 0);
    world.run(1_000_000, |world| world.role(1) == OPEN);
    come_back(&mut world, 1);
    world.run_clients();
    world.run_for(3_000_000);
    let digests = |world: &mut World, node| {
        let shards = world.summaries(node).into_iter().flat_map(|summary| summary.shards);
        let mut digests: Vec<_> = shards.map(|shard| (shard.index, shard.digest)).collect();
        digests.sort_unstable();
        digests
    };
    assert_eq!(digests(&mut world, 0), digests(&mut world, 1));
    assert!(world.counters(0).digests_equal > 100);
}

#[test]
fn node_that_dies_while_it_joins_costs_nothing() {
    for seed in 400..440 {
        let mut world = World::new(seed, 2);
        start_all(&mut world);
        world.run_for(5_000);
        kill_in_the_middle(&mut world, 0);
        world.run(1_000_000, |world| world.role(1) == OPEN);
        world.revive(0, 1);
        let moment_us = world.random.below(40_000);
        world.run_for(moment_us);
        world.kill(0);
        world.run_clients();
        come_back(&mut world, 1);
        start_all(&mut world);
        world.run_for(5_000);
        world.kill(1);
        world.run_clients();
    }
}
