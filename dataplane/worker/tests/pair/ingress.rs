//! A switch that floods what is for the service: both nodes hear the clients, and the one that takes
//! over needs nothing of them twice.

use std::net::Ipv4Addr;

use engine::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, Header, Mac};
use engine::wire::segment::Segment;
use engine::wire::{Checksums, arp};
use replication::{GateMode, Incarnation, Role};
use worker::{Event, Ingress, Keep};

use crate::client::Work;
use crate::network::{Place, Weather};
use crate::steward::{DETECTION_US, TestSteward};
use crate::told::AnySteward;
use crate::world::{self, VIP, VMAC, World, shard_config};
use crate::{
    OPEN, STRANGER, STRANGER_MAC, echo_request, frame, kill_in_the_middle, start_all, syn,
};

const KEEP: Keep = Keep { for_us: 200_000, frames: 4096 };
const FLOOD: Ingress = Ingress::Flood(KEEP);
/// What a takeover may take beyond the detection timeout: heartbeats' distance, the way there and
/// back, a few loops.
const TAKEOVER_US: u64 = 2_000;

fn flooded(seed: u64, clients: usize, workers: [u16; 2]) -> World {
    World::made(seed, clients, workers, [shard_config(), shard_config()], FLOOD)
}

#[test]
fn clients_of_a_quiet_pair_get_every_byte_and_hear_one_node() {
    let mut world = flooded(1, 2, [1, 1]);
    start_all(&mut world);
    world.run_clients();
    assert_eq!(world.network.spoken[1].frames, 0, "the backup is silent");
    let backup = world.counters(1);
    assert!(backup.kept > 1000 && backup.digests_equal > 100, "{backup:?}");
    assert_eq!((backup.replayed, backup.drop_not_serving), (0, 0));
    world.run_for(2 * KEEP.for_us);
    assert_eq!(world.nodes[1].kept(), 0, "nothing is kept longer than that");
}

#[test]
fn clients_get_every_byte_when_the_primary_dies_at_any_moment() {
    for seed in 0..30 {
        let mut world = flooded(seed, 2, [1, 1]);
        start_all(&mut world);
        let moment_us = world.random.below(20_000);
        world.run_for(moment_us);
        kill_in_the_middle(&mut world, 0);
        world.run_clients();
        assert_eq!(world.role(1), OPEN, "seed {seed}");
    }
}

#[test]
fn clients_get_every_byte_when_the_primary_dies_in_bad_weather() {
    for seed in 1000..1025 {
        let mut world = flooded(seed, 1, [1, 1]);
        let weather = Weather {
            lan_loss: 10 + world.random.below(40),
            link_loss: 10 + world.random.below(200),
            link_reorder: 100,
            link_duplicate: 20,
        };
        world.weather(weather);
        start_all(&mut world);
        let moment_us = world.random.below(300_000);
        world.run_for(moment_us);
        kill_in_the_middle(&mut world, 0);
        world.run_clients();
        assert_eq!(world.role(1), OPEN, "seed {seed}");
    }
}

#[test]
fn workers_of_both_nodes_may_differ_in_number() {
    for (seed, workers) in (3000..).zip([[2, 1], [1, 3], [3, 2], [2, 4]]) {
        let mut world = flooded(seed, 3, workers);
        start_all(&mut world);
        world.run_for(10_000);
        kill_in_the_middle(&mut world, 0);
        world.run_clients();
        let heir = world.counters(1);
        assert!(heir.replayed > 0 && heir.drop_back_pressure == 0, "{heir:?}");
    }
}

/// The pause that all clients see, from the primary's last word on.
fn pause_us(seed: u64, ingress: Ingress, work: Work) -> u64 {
    let shards = [shard_config(), shard_config()];
    let mut world = World::made(seed, 2, [1, 1], shards, ingress);
    (0..2).for_each(|client| world.start(client, work));
    let moment_us = 5_000 + world.random.below(15_000);
    world.run_for(moment_us);
    world.kill(0);
    let killed_us = world.now_us;
    // What the primary has said last is still under way.
    world.run_for(1_000);
    let before: Vec<_> = world.clients.iter_mut().map(|client| client.progress()).collect();
    let went_on = |world: &World| {
        world.clients.iter().zip(&before).all(|(client, before)| {
            client.progress().iter().zip(before).all(|(now, before)| now > before)
        })
    };
    world.run(10_000_000, went_on);
    let pause_us = world.now_us - killed_us;
    world.run_clients();
    pause_us
}

#[test]
fn uploads_and_questions_go_on_with_the_takeover() {
    for work in [Work::Upload(4_000_000), Work::Ask(400_000), Work::Echo(2_000_000)] {
        for seed in 5000..5008 {
            let pause_us = pause_us(seed, FLOOD, work);
            assert!(pause_us < DETECTION_US + TAKEOVER_US, "{work:?}, seed {seed}: {pause_us} us");
        }
    }
}

#[test]
fn without_flooding_questions_wait_for_the_clients_own_timer() {
    let mut pauses: Vec<_> =
        (5000..5009).map(|seed| pause_us(seed, Ingress::Switch, Work::Ask(400_000))).collect();
    pauses.sort_unstable();
    assert!(pauses[pauses.len() / 2] > 2 * DETECTION_US, "{pauses:?}");
}

#[test]
fn connections_begun_in_between_are_accepted_at_the_takeover() {
    let mut world = flooded(20, 2, [1, 1]);
    // Addresses are known already.
    (0..2).for_each(|client| world.start(client, Work::Ask(64)));
    world.run_clients();
    world.kill(0);
    world.run_for(10_000);
    let begun_us = world.now_us;
    (0..2).for_each(|client| world.start(client, Work::Ask(6_400)));
    world.run_clients();
    let took_us = world.now_us - begun_us;
    assert!(took_us < DETECTION_US + 150_000, "{took_us} us");
    assert!(world.counters(1).replayed > 0);
}

#[test]
fn what_the_log_has_is_not_taken_in_again() {
    let mut world = flooded(21, 2, [1, 1]);
    (0..2).for_each(|client| world.start(client, Work::Upload(20_000_000)));
    world.run_for(60_000);
    kill_in_the_middle(&mut world, 0);
    world.run(1_000_000, |world| world.is_serving(1));
    world.run_for(2_000);
    let heir = world.counters(1);
    assert!(heir.replayed > 0 && heir.drop_kept_logged > heir.replayed, "{heir:?}");
    let told = |event: &Event| matches!(event, Event::Replayed { .. });
    assert_eq!(world.nodes[1].happened.iter().filter(|event| told(event)).count(), 1);
    world.run_clients();
}

#[test]
fn small_store_keeps_the_newest_and_costs_no_byte() {
    for seed in 4000..4010 {
        let ingress = Ingress::Flood(Keep { frames: 8, ..KEEP });
        let mut world = World::made(seed, 2, [1, 1], [shard_config(), shard_config()], ingress);
        start_all(&mut world);
        world.run_for(8_000);
        kill_in_the_middle(&mut world, 0);
        world.run_clients();
        let heir = world.counters(1);
        assert!(heir.drop_kept_full > 0 && heir.replayed <= 16, "{heir:?}");
    }
}

#[test]
fn clients_get_every_byte_when_both_nodes_die_one_after_the_other() {
    for seed in 6000..6010 {
        let mut world = flooded(seed, 2, [1, 1]);
        start_all(&mut world);
        let moment_us = world.random.below(20_000);
        world.run_for(moment_us);
        kill_in_the_middle(&mut world, 0);
        world.run(1_000_000, |world| world.role(1) == OPEN);
        world.revive(0, 1);
        world.run(3_000_000, |world| world.role(0) == Role::Backup);
        assert_eq!(world.role(1), Role::Primary(GateMode::Confirmed));
        start_all(&mut world);
        let moment_us = 2_000 + world.random.below(20_000);
        world.run_for(moment_us);
        world.kill(1);
        world.run_clients();
        assert_eq!(world.role(0), OPEN, "seed {seed}");
    }
}

#[test]
fn frozen_primary_steps_back_and_disturbs_nobody() {
    for seed in 7000..7010 {
        let mut world = flooded(seed, 1, [1, 1]);
        start_all(&mut world);
        let moment_us = world.random.below(20_000);
        world.run_for(moment_us);
        world.freeze(0, 200_000);
        world.run_for(60_000);
        let before = world.network.spoken[0].frames;
        world.run_for(300_000);
        assert_eq!((world.role(0), world.role(1)), (Role::Spare, OPEN), "seed {seed}");
        assert_eq!(world.network.spoken[0].frames, before, "a sleeper speaks, seed {seed}");
        world.run_clients();
    }
}

#[test]
fn switch_never_sees_the_services_address_as_a_source() {
    let mut world = flooded(22, 1, [1, 1]);
    start_all(&mut world);
    world.run_for(10_000);
    kill_in_the_middle(&mut world, 0);
    world.run_clients();
    assert!(world.network.spoken[1].frames > 100);
    assert_eq!(world.network.learned(VMAC), None);
}

/// Somebody has sent from the service's address, or the switch is not of the flooding kind.
#[test]
fn switch_that_has_learned_the_address_is_noticed_and_told_better() {
    let mut world = flooded(23, 1, [1, 1]);
    world.network.teach(VMAC, Place::Lan(0));
    world.start(0, Work::Ask(200_000));
    world.start(0, Work::Upload(20_000_000));
    world.run(5_000_000, |world| world.nodes[1].happened.contains(&Event::NotFlooded));
    kill_in_the_middle(&mut world, 0);
    world.run(1_000_000, |world| world.is_serving(1));
    world.run_for(1_000);
    assert_eq!(world.network.learned(VMAC), Some(Place::Lan(1)));
    world.run_for(1_500_000);
    // From now on nothing keeps the switch from forgetting.
    world.network.forget(VMAC);
    world.run_for(3_000_000);
    assert_eq!(world.network.learned(VMAC), None);
    world.run_clients();
}

#[test]
fn service_may_have_a_group_address() {
    const GROUP: Mac = Mac([3, 0x48, 0x46, 0, 0, 0x64]);
    let mut world = World::of_crews([0, 1].map(|index| {
        let incarnation = Incarnation(100 + index as u64);
        let mut config = world::config_of(index, incarnation, shard_config());
        (config.vmac, config.ingress) = (GROUP, FLOOD);
        world::crew_from(
            config,
            index,
            1,
            AnySteward::Own(TestSteward::new(index, 1, incarnation, Default::default())),
        )
    }));
    let question = arp::Packet::request(STRANGER_MAC, STRANGER, VIP);
    let answers = world.ask(0, &frame(Mac::BROADCAST, ETHERTYPE_ARP, &question.to_bytes()));
    let (link, packet) = Header::parse(&answers[0]).unwrap();
    assert_eq!(link.source, world::mac(0, 1), "no frame comes from a group");
    assert_eq!(arp::Packet::parse(packet).unwrap().sender_mac, GROUP);
    for packet in [syn(7), syn(99), echo_request(VIP)] {
        let answers = world.ask(0, &frame(GROUP, ETHERTYPE_IPV4, &packet));
        let (link, packet) = Header::parse(&answers[0]).unwrap();
        assert_eq!((answers.len(), link.source), (1, world::mac(0, 1)));
        let from: [u8; 4] = packet[12..16].try_into().unwrap();
        assert_eq!(Ipv4Addr::from(from), VIP);
    }
    // The other node has the question, too, and answers it when it serves.
    world.kill(0);
    world.network.watch(&STRANGER_MAC.0);
    world.inject(Place::Lan(1), frame(GROUP, ETHERTYPE_IPV4, &syn(99)));
    world.run(1_000_000, |world| world.is_serving(1));
    world.run_for(2_000);
    let answers = world.network.watched();
    let segments = answers.iter().filter_map(|answer| {
        Segment::parse(&answer[14..], Checksums::Verify).ok().filter(|segment| segment.flags.rst())
    });
    assert_eq!(segments.count(), 1);
}
