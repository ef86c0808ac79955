//! The service goes from one node to the other, and no client can tell when.

use replication::{GateMode, Role};
use worker::Event;

use crate::client::Work;
use crate::network::Weather;
use crate::steward::{SWITCH_OVER, SWITCH_OVER_BY_SNAPSHOT};
use crate::world::{World, shard_config};
use crate::{OPEN, kill_in_the_middle, start_all};

const PAIRED: Role = Role::Primary(GateMode::Confirmed);

/// Hands the service from node `from` to the other one.
fn switch_over(world: &mut World, from: usize) {
    world.order(from, SWITCH_OVER);
    world.run(200_000, |world| world.role(from) == Role::Backup);
    world.run(200_000, |world| world.is_serving(1 - from));
    assert_eq!(world.role(1 - from), PAIRED);
}

fn digests(world: &mut World, node: usize) -> Vec<(u16, u64)> {
    let shards = world.summaries(node).into_iter().flat_map(|summary| summary.shards);
    let mut digests: Vec<_> = shards.map(|shard| (shard.index, shard.digest)).collect();
    digests.sort_unstable();
    digests
}

fn go_to_and_fro(seed: u64, workers: [u16; 2], weather: Option<Weather>) -> World {
    let mut world = World::with(seed, 2, workers, [shard_config(), shard_config()]);
    if let Some(weather) = weather {
        world.weather(weather);
    }
    start_all(&mut world);
    for turn in 0..6 {
        // What is passed on has arrived by then, and is not passed on again.
        let moment_us = 600 + world.random.below(3_000);
        world.run_for(moment_us);
        switch_over(&mut world, turn % 2);
    }
    assert!(!world.clients.iter().all(crate::Client::is_done), "there was something to lose");
    world.run_clients();
    world.run_for(3_000_000);
    assert_eq!(digests(&mut world, 0), digests(&mut world, 1), "seed {seed}");
    let told = |event: &Event| matches!(event, Event::DigestMismatch(_));
    assert!(!world.nodes.iter().any(|node| node.happened.iter().any(told)), "seed {seed}");
    world
}

#[test]
fn service_goes_to_and_fro_and_no_frame_is_lost() {
    let mut passed_on = 0;
    for seed in 0..20 {
        let mut world = go_to_and_fro(seed, [1, 1], None);
        for node in 0..2 {
            let counters = world.counters(node);
            passed_on += counters.passed_on;
            let lost = counters.drop_not_serving + counters.drop_back_pressure;
            let waiting = counters.drop_neighbour_waiting + counters.drop_gate_discarded;
            assert_eq!((lost, waiting), (0, 0), "seed {seed}, node {node}");
            let kicked = |event: &Event| matches!(event, Event::LastKick { .. });
            assert!(!world.nodes[node].happened.iter().any(kicked), "nobody had to be woken");
        }
    }
    assert!(passed_on > 50, "frames came to who had served before: {passed_on}");
}

#[test]
fn service_goes_to_and_fro_between_several_workers() {
    for (seed, workers) in (100..).zip([[2, 2], [1, 2], [3, 3], [1, 3]]) {
        go_to_and_fro(seed, workers, None);
    }
}

#[test]
fn service_goes_to_and_fro_in_bad_weather() {
    for seed in 200..220 {
        let weather =
            Weather { lan_loss: 20, link_loss: 50, link_reorder: 100, link_duplicate: 20 };
        go_to_and_fro(seed, [1, 1], Some(weather));
    }
}

#[test]
fn pause_is_a_few_ways_over_the_link() {
    for seed in 300..320 {
        let mut world = World::new(seed, 2);
        start_all(&mut world);
        let moment_us = world.random.below(8_000);
        world.run_for(moment_us);
        let begin_us = world.now_us;
        switch_over(&mut world, 0);
        let paused_us = world.now_us - begin_us;
        assert!(paused_us < 400, "seed {seed}: {paused_us} us");
        world.run_clients();
    }
}

#[test]
fn clients_get_every_byte_when_a_node_dies_at_any_moment_of_it() {
    for seed in 400..460 {
        let mut world = World::new(seed, 2);
        start_all(&mut world);
        let moment_us = world.random.below(8_000);
        world.run_for(moment_us);
        world.order(0, SWITCH_OVER);
        let moment_us = world.random.below(600);
        world.run_for(moment_us);
        let dead = world.random.below(2) as usize;
        world.kill(dead);
        world.run_clients();
        assert_eq!(world.role(1 - dead), Role::Primary(GateMode::Open), "seed {seed}");
    }
}

#[test]
fn node_that_gave_the_service_away_takes_over_when_the_other_one_dies() {
    for seed in 600..620 {
        let mut world = World::new(seed, 2);
        start_all(&mut world);
        let moment_us = world.random.below(8_000);
        world.run_for(moment_us);
        switch_over(&mut world, 0);
        let moment_us = world.random.below(8_000);
        world.run_for(moment_us);
        world.kill(1);
        world.run_clients();
        assert_eq!(world.role(0), Role::Primary(GateMode::Open), "seed {seed}");
    }
}

#[test]
fn clients_that_come_during_a_switchover_get_in_at_once() {
    for seed in 700..720 {
        let mut world = World::new(seed, 2);
        world.order(0, SWITCH_OVER);
        let moment_us = world.random.below(300);
        world.run_for(moment_us);
        for client in 0..2 {
            world.start(client, Work::Echo(2_000));
        }
        // Less than what a SYN waits for its answer until it is sent again.
        world.run(900_000, |world| world.clients.iter().all(crate::Client::is_done));
        assert!(world.is_serving(1), "seed {seed}");
    }
}

/// A node whose successor cannot follow its log: it gives the state away while it does not serve.
#[test]
fn connections_go_with_the_state_to_a_node_that_cannot_follow() {
    for (seed, workers) in (800..).zip([1, 1, 1, 1, 1, 1, 2, 2, 3]) {
        let mut world = World::with(seed, 2, [1, 1], [shard_config(), shard_config()]);
        start_all(&mut world);
        world.run_for(5_000);
        kill_in_the_middle(&mut world, 1);
        world.run(1_000_000, |world| world.role(0) == OPEN);
        let moment_us = world.random.below(60_000);
        world.run_for(moment_us);
        world.order(0, SWITCH_OVER_BY_SNAPSHOT);
        world.revive(1, workers);
        world.run(3_000_000, |world| world.is_serving(1));
        assert_eq!((world.role(0), world.role(1)), (Role::Spare, OPEN), "seed {seed}");
        world.run_clients();
    }
}
