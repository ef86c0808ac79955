//! Two replication links: a log goes over the one that the node is told, and on over the other one
//! as soon as it is told so, with all that the first one lost. The test decides, as a control plane
//! would.

use replication::{
    Directive, Epoch, GateMode, Incarnation, Link, Log, MAX_PEERS, PeerIndex, Role, Votes,
};
use worker::Event;

use crate::client::Work;
use crate::start_all;
use crate::world::{World, shard_config};

const CONFIRMED: Role = Role::Primary(GateMode::Confirmed);
/// How long a control plane takes to see that a link is lost.
const UNSEEN_US: u64 = 20_000;

/// How often [`cluster`] moves each log, to show it the way on both links.
const WARM_UP_MOVES: u64 = 2;

/// Of each of a primary and its backups: the logs with the others, all on the first link.
fn directives(nodes: usize) -> Vec<Directive> {
    let log = |node: usize, counts| {
        let (epoch, run) = (Epoch(1), Incarnation(100 + node as u64));
        Log {
            epoch,
            run,
            workers: 1,
            link: Link::First,
            counts,
            hands_over: false,
            votes: Votes::NONE,
        }
    };
    let directive = |node| {
        let (epoch, mut logs) = (Epoch(1), [None; MAX_PEERS]);
        if node == 0 {
            (1..nodes).for_each(|backup| logs[backup - 1] = Some(log(backup, true)));
        } else {
            logs[0] = Some(log(0, false));
        }
        let role = if node == 0 { CONFIRMED } else { Role::Backup };
        Directive { epoch, role, logs, ..Directive::SPARE }
    };
    (0..nodes).map(directive).collect()
}

/// Nodes with two links, the first of which serves.
fn cluster(seed: u64, nodes: usize) -> World {
    let nodes: Vec<_> = directives(nodes).into_iter().map(|directive| (1, directive)).collect();
    let mut world = World::told(seed, 1, 2, &shard_config(), &nodes);
    world.run(100_000, |world| world.is_serving(0));
    // Heartbeats would have shown the way on each link.
    for link in [Link::Second, Link::First] {
        (1..nodes.len()).for_each(|node| take_both(&world, node, link));
        world.start(0, Work::Echo(2_000));
        world.run_clients();
    }
    world
}

/// Lets what `node` sends to its peer at `place` take `link`.
fn take(world: &World, node: usize, place: PeerIndex, link: Link) {
    let told = world.nodes[node].told.as_ref().unwrap();
    let mut directive = told.directive();
    directive.logs[place.place()].as_mut().unwrap().link = link;
    told.say(directive);
}

/// Both ways between node 0 and one of its backups.
fn take_both(world: &World, backup: usize, link: Link) {
    take(world, 0, PeerIndex(backup as u8 - 1), link);
    take(world, backup, PeerIndex(0), link);
}

/// How often the logs of a node have moved since the test began.
fn moves(world: &mut World, node: usize) -> u64 {
    world.counters(node).logs_moved - WARM_UP_MOVES
}

fn cut(world: &mut World, link: Link, nodes: &[usize]) {
    world.network.cut.extend(nodes.iter().map(|node| (link, *node)));
}

/// All clients have all their bytes, both nodes the same state, and nobody's role has changed.
fn finish(world: &mut World, context: &str) {
    world.run_clients();
    world.run_for(3_000_000);
    let digests = |world: &mut World, node| {
        let shards = world.summaries(node).into_iter().flat_map(|summary| summary.shards);
        let mut digests: Vec<_> = shards.map(|shard| (shard.index, shard.digest)).collect();
        digests.sort_unstable();
        digests
    };
    for node in 1..world.nodes.len() {
        assert_eq!(digests(world, 0), digests(world, node), "{context}, node {node}");
    }
    assert!(world.is_serving(0) && world.role(1) == Role::Backup, "{context}");
    let fault =
        |event: &Event| matches!(event, Event::DigestMismatch(_) | Event::RecordRefused { .. });
    let faulty = |node: &crate::world::Node| node.happened.iter().any(fault);
    assert!(!world.nodes.iter().any(faulty), "{context}");
}

/// Packets that have left node 0.
fn released(world: &mut World) -> u64 {
    world.summaries(0).iter().map(|summary| summary.gate.released).sum()
}

#[test]
fn idle_link_costs_nothing() {
    let mut world = cluster(1, 2);
    start_all(&mut world);
    let before = world.network.crossed;
    world.run_clients();
    let after = world.network.crossed;
    assert!(after[0] > before[0] + 500, "the log takes the first link: {after:?}");
    assert_eq!(after[1], before[1], "and nothing of it the second");
}

#[test]
fn clients_get_every_byte_when_a_link_is_lost_in_either_way_or_both() {
    for (seed, nodes) in (0..12).flat_map(|seed| [&[0, 1][..], &[0], &[1]].map(|cut| (seed, cut))) {
        let mut world = cluster(seed, 2);
        start_all(&mut world);
        let moment_us = world.random.below(20_000);
        world.run_for(moment_us);
        cut(&mut world, Link::First, nodes);
        world.run_for(UNSEEN_US);
        // Each node learns from the other one, at a time of its own.
        for node in nodes {
            take(&world, *node, PeerIndex(0), Link::Second);
            world.run_for(1_000);
        }
        finish(&mut world, &format!("seed {seed}, cut for {nodes:?}"));
        for node in nodes {
            assert_eq!(moves(&mut world, *node), 1, "seed {seed}, {nodes:?}");
        }
    }
}

#[test]
fn all_that_a_lost_link_had_is_sent_again_at_once() {
    let mut world = cluster(7, 2);
    start_all(&mut world);
    world.run_for(5_000);
    cut(&mut world, Link::First, &[0, 1]);
    // The timer has backed off to its longest: without being told the log would wait for it.
    world.run_for(40_000);
    let stuck = released(&mut world);
    take_both(&world, 1, Link::Second);
    // There and back, and a few loops.
    world.run_for(300);
    assert!(released(&mut world) > stuck, "nothing has left within a round trip");
    finish(&mut world, "moved at once");
}

#[test]
fn nodes_may_take_different_links() {
    let mut world = cluster(3, 2);
    cut(&mut world, Link::First, &[1]);
    cut(&mut world, Link::Second, &[0]);
    take(&world, 1, PeerIndex(0), Link::Second);
    start_all(&mut world);
    finish(&mut world, "batches on one, confirmations on the other");
}

#[test]
fn links_that_come_and_go_lose_nothing() {
    for seed in 100..106 {
        let mut world = cluster(seed, 2);
        start_all(&mut world);
        let mut link = Link::First;
        for _ in 0..20 {
            world.network.cut.clear();
            cut(&mut world, link, &[0, 1]);
            link = link.other();
            let pause_us = world.random.below(UNSEEN_US);
            world.run_for(pause_us);
            take_both(&world, 1, link);
            let pause_us = world.random.below(UNSEEN_US);
            world.run_for(pause_us);
        }
        finish(&mut world, &format!("seed {seed}"));
    }
}

#[test]
fn nothing_leaves_while_both_links_are_lost() {
    let mut world = cluster(5, 2);
    start_all(&mut world);
    world.run_for(5_000);
    for link in Link::ALL {
        cut(&mut world, link, &[0, 1]);
    }
    world.run_for(5_000);
    let before = released(&mut world);
    take_both(&world, 1, Link::Second);
    world.run_for(200_000);
    assert_eq!(released(&mut world), before, "something left that the backup does not hold");
    world.network.cut.clear();
    finish(&mut world, "both came back");
}

#[test]
fn each_backup_has_a_link_of_its_own() {
    let mut world = cluster(9, 3);
    start_all(&mut world);
    world.run_for(5_000);
    // Node 2 is reached on the second link alone, node 1 on both.
    cut(&mut world, Link::First, &[2]);
    world.run_for(UNSEEN_US);
    take(&world, 2, PeerIndex(0), Link::Second);
    take(&world, 0, PeerIndex(1), Link::Second);
    world.run_for(1_000);
    finish(&mut world, "one backup moved");
    assert_eq!(world.counters(0).logs_moved, 2 * WARM_UP_MOVES + 1);
    assert_eq!((moves(&mut world, 1), moves(&mut world, 2)), (0, 1));
}
