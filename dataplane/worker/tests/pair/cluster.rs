//! Several nodes, for which the test decides, as a control plane would: node 0 serves at first.

use engine::config::Config;
use replication::{Directive, Epoch, GateMode, Incarnation, Link, Log, PeerIndex, Role, Votes};
use worker::Event;

use crate::client::Work;
use crate::network::Weather;
use crate::start_all;
use crate::told::Told;
use crate::world::{World, shard_config};

pub const FIRST: Epoch = Epoch(1);
pub const CONFIRMED: Role = Role::Primary(GateMode::Confirmed);
pub const WEATHER: Weather =
    Weather { lan_loss: 20, link_loss: 50, link_reorder: 100, link_duplicate: 20 };

pub fn directive(role: Role) -> Directive {
    Directive { epoch: FIRST, role, ..Directive::SPARE }
}

/// The place of `node` among the peers of another one.
pub fn place(node: usize, at: usize) -> PeerIndex {
    PeerIndex(if node < at { node } else { node - 1 } as u8)
}

/// A log with `node`, which has so many workers.
pub fn log_with(node: usize, workers: u16, epoch: Epoch) -> Log {
    let run = Incarnation(100 + node as u64);
    let votes = Votes::steady(true);
    Log { epoch, run, workers, link: Link::First, counts: true, hands_over: false, votes }
}

/// Node 0 serves, and the others follow as far as they are `in_sync`.
pub fn cluster(seed: u64, clients: usize, workers: &[u16], in_sync: &[usize]) -> World {
    cluster_of(&shard_config(), seed, clients, workers, in_sync)
}

/// The same, of another configuration.
pub fn cluster_of(
    shard: &Config,
    seed: u64,
    clients: usize,
    workers: &[u16],
    in_sync: &[usize],
) -> World {
    let directive = |node: usize| match node {
        0 => {
            let mut primary = directive(CONFIRMED);
            for &backup in in_sync {
                let log = log_with(backup, workers[backup], FIRST);
                primary.logs[place(backup, 0).place()] = Some(log);
            }
            primary
        }
        node if in_sync.contains(&node) => {
            let mut backup = directive(Role::Backup);
            let log = Log { counts: false, ..log_with(0, workers[0], FIRST) };
            backup.logs[place(0, node).place()] = Some(log);
            backup
        }
        _ => directive(Role::Spare),
    };
    let nodes: Vec<_> = workers.iter().copied().zip((0..workers.len()).map(directive)).collect();
    let mut world = World::told(seed, clients, 1, shard, &nodes);
    world.run(100_000, |world| world.is_serving(0));
    world.run_for(5_000);
    world
}

pub fn told(world: &World, node: usize) -> &Told {
    world.nodes[node].told.as_ref().unwrap()
}

/// Changes what a node is told.
pub fn tell(world: &World, node: usize, change: impl FnOnce(&mut Directive)) {
    let mut directive = told(world, node).directive();
    change(&mut directive);
    told(world, node).say(directive);
}

/// Changes what node 0 is told of its log with `backup`.
pub fn tell_of(world: &World, backup: usize, change: impl FnOnce(&mut Option<Log>)) {
    tell(world, 0, |primary| change(&mut primary.logs[place(backup, 0).place()]));
}

/// Packets that wait at node 0, and those that ever left there.
pub fn gate(world: &mut World) -> (usize, u64) {
    let summaries = world.summaries(0);
    let waiting = summaries.iter().map(|summary| summary.gate_len).sum();
    (waiting, summaries.iter().map(|summary| summary.gate.released).sum())
}

pub fn digests(world: &mut World, node: usize) -> Vec<(u16, u64)> {
    let shards = world.summaries(node).into_iter().flat_map(|summary| summary.shards);
    let mut digests: Vec<_> = shards.map(|shard| (shard.index, shard.digest)).collect();
    digests.sort_unstable();
    digests
}

/// Once clients and timers are at rest, all nodes hold the same.
#[track_caller]
pub fn assert_equal_state(world: &mut World, nodes: &[usize]) {
    world.run_for(3_000_000);
    let expected = digests(world, nodes[0]);
    for &node in &nodes[1..] {
        assert_eq!(digests(world, node), expected, "node {node}");
    }
    assert_no_fault(world);
}

#[track_caller]
pub fn assert_no_fault(world: &World) {
    let fault =
        |event: &Event| matches!(event, Event::DigestMismatch(_) | Event::RecordRefused { .. });
    for node in &world.nodes {
        let faults: Vec<_> = node.happened.iter().filter(|event| fault(event)).collect();
        assert!(faults.is_empty(), "{faults:?}");
    }
}

pub fn ask_much(world: &mut World) {
    for client in 0..world.clients.len() {
        world.start(client, Work::Ask(20_000));
    }
    start_all(world);
}
