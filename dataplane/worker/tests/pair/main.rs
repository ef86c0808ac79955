//! A pair of nodes under a clock that the test turns: the very same workers that run on a
//! machine, with clients whose TCP is smoltcp's.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is its job")]

mod client;
mod cluster;
mod flood;
mod ingress;
mod ipv6;
mod keys;
mod lan;
mod latency;
mod links;
mod majority;
mod network;
mod rejoin;
mod scripted;
mod several;
mod steward;
mod switchover;
mod told;
mod world;

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use engine::addr::{Endpoint, Flow};
use engine::config::Config;
use engine::seq::SeqNumber;
use engine::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, Header, Mac};
use engine::wire::segment::{Segment, SegmentHeader};
use engine::wire::{Checksums, arp, checksum, ipv4, tcp};
use replication::{Directive, Epoch, GateMode, Incarnation, Path, PeerIndex, Report, Role};
use worker::{Event, MonotonicClock, Steward, spawn};

use client::{Client, Work};
use network::{Place, Random, Weather};
use steward::DETECTION_US;
use world::{VIP, VMAC, World, shard_config};

const OPEN: Role = Role::Primary(GateMode::Open);

const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 77);
const STRANGER_MAC: Mac = Mac([2, 0, 0, 0, 7, 7]);

fn frame(destination: Mac, ethertype: u16, packet: &[u8]) -> Vec<u8> {
    let header = Header { destination, source: STRANGER_MAC, ethertype };
    [&header.to_bytes()[..], packet].concat()
}

fn echo_request(destination: Ipv4Addr) -> Vec<u8> {
    let message = [8, 0, 0xf7, 0xfd, 0, 1, 0, 1];
    let protocol = ipv4::PROTOCOL_ICMP;
    let header = ipv4::Header { source: STRANGER, destination, protocol, ttl: 64 };
    [&header.to_bytes(8)[..], &message].concat()
}

fn syn(port: u16) -> Vec<u8> {
    syn_from(4000, port)
}

fn syn_from(from: u16, port: u16) -> Vec<u8> {
    let flow = Flow { local: Endpoint::new(STRANGER, from), remote: Endpoint::new(VIP, port) };
    let header = SegmentHeader {
        flow,
        seq: SeqNumber(1),
        ack: SeqNumber(0),
        flags: tcp::Flags::SYN,
        window: 1000,
        options: tcp::Options::default(),
    };
    let mut packet = vec![0; 60];
    let len = header.emit(0, &mut packet);
    packet.truncate(len);
    checksum::finish_tcp(&mut packet, ipv4::HEADER_LEN, &[]);
    packet
}

/// Every kind of work, in sizes that are under way for some tenths of a second.
fn start_all(world: &mut World) {
    for client in 0..world.clients.len() {
        world.start(client, Work::Echo(400_000));
        world.start(client, Work::Download(1_500_000));
        world.start(client, Work::Upload(800_000));
    }
}

fn kill_in_the_middle(world: &mut World, node: usize) {
    assert!(!world.clients.iter().any(Client::is_done), "there is something to lose");
    world.kill(node);
}

#[test]
fn clients_of_a_quiet_pair_get_every_byte() {
    let mut world = World::new(1, 2);
    start_all(&mut world);
    world.run_clients();
    let backup = world.counters(1);
    assert!(backup.records_applied > 100 && backup.digests_equal > 100, "{backup:?}");
    assert_eq!(world.role(0), Role::Primary(GateMode::Confirmed));
    assert_eq!(world.network.spoken[1].frames, 0, "the backup is silent");
    let digests = |world: &mut World, node| {
        let shards = world.summaries(node).into_iter().flat_map(|summary| summary.shards);
        shards.map(|shard| (shard.index, shard.digest)).collect::<Vec<_>>()
    };
    world.run_for(3_000_000);
    assert_eq!(digests(&mut world, 0), digests(&mut world, 1));
}

#[test]
fn clients_get_every_byte_when_the_primary_dies_at_any_moment() {
    for seed in 0..120 {
        let mut world = World::new(seed, 2);
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
    for seed in 1000..1100 {
        let mut world = World::new(seed, 1);
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
fn clients_get_every_byte_when_the_backup_dies() {
    for seed in 2000..2040 {
        let mut world = World::new(seed, 1);
        start_all(&mut world);
        let moment_us = world.random.below(20_000);
        world.run_for(moment_us);
        kill_in_the_middle(&mut world, 1);
        world.run_clients();
        assert_eq!(world.role(0), OPEN, "seed {seed}");
    }
}

#[test]
fn workers_of_both_nodes_may_differ_in_number() {
    for (seed, workers) in [[2, 1], [1, 3], [3, 2], [2, 4]].into_iter().enumerate() {
        let shards = [shard_config(), shard_config()];
        let mut world = World::with(3000 + seed as u64, 3, workers, shards);
        start_all(&mut world);
        world.run_for(10_000);
        kill_in_the_middle(&mut world, 0);
        world.run_clients();
        assert_eq!(world.role(1), OPEN);
    }
}

#[test]
fn frozen_primary_steps_back_and_disturbs_nobody() {
    for seed in 4000..4040 {
        let mut world = World::new(seed, 1);
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

/// Until it has heard its peer it cannot know what it is; to speak to the peer is how it learns
/// that.
#[test]
fn node_that_stood_still_says_nothing_but_to_its_peer() {
    let mut world = World::new(6, 1);
    start_all(&mut world);
    world.run_for(5_000);
    // The peer dies, too: so the doubt lasts.
    world.freeze(0, 200_000);
    world.kill(1);
    let own = Ipv4Addr::new(10, 77, 0, 1);
    let questions = [
        frame(
            Mac::BROADCAST,
            ETHERTYPE_ARP,
            &arp::Packet::request(STRANGER_MAC, STRANGER, own).to_bytes(),
        ),
        frame(
            Mac::BROADCAST,
            ETHERTYPE_ARP,
            &arp::Packet::request(STRANGER_MAC, STRANGER, VIP).to_bytes(),
        ),
        frame(world::mac(0, 1), ETHERTYPE_IPV4, &echo_request(own)),
        frame(VMAC, ETHERTYPE_IPV4, &echo_request(VIP)),
        frame(VMAC, ETHERTYPE_IPV4, &syn(7)),
        frame(VMAC, ETHERTYPE_IPV4, &syn(99)),
    ];
    world.network.tap(Place::Lan(0));
    for at_us in [0, 100_000, 200_000, 400_000] {
        questions.iter().for_each(|question| world.inject(Place::Lan(0), question.clone()));
        world.run_for(at_us);
    }
    let said = world.network.tapped();
    assert!(!said.is_empty(), "heartbeats");
    let peer = world::mac(1, 1);
    for frame in said {
        assert!(frame[..6] == peer.0 && frame[6..12] == world::mac(0, 1).0, "{frame:02x?}");
    }
}

#[test]
fn idle_connections_live_on_after_the_takeover() {
    for idle_us in [1_000, 400_000, 90_000_000] {
        let mut world = World::new(5, 2);
        (0..2).for_each(|client| world.start(client, Work::Idle(20_000)));
        world.run_for(100_000);
        world.kill(0);
        world.run(1_000_000, |world| world.is_serving(1));
        world.run_for(idle_us);
        world.clients.iter_mut().for_each(Client::wake);
        world.run_clients();
    }
}

#[test]
fn new_connections_wait_for_the_takeover() {
    let mut world = World::new(10, 1);
    world.kill(0);
    start_all(&mut world);
    world.run_clients();
}

#[test]
fn pause_is_the_detection_timeout_and_little_more() {
    for seed in 5000..5020 {
        let mut world = World::new(seed, 1);
        start_all(&mut world);
        let moment_us = world.random.below(15_000);
        world.run_for(moment_us);
        world.kill(0);
        let killed_us = world.now_us;
        world.run(1_000_000, |world| world.is_serving(1));
        let served_us = world.now_us - killed_us;
        assert!(served_us < DETECTION_US + 2_000, "seed {seed}: {served_us} us");
        world.run_clients();
    }
}

#[test]
fn backup_with_another_state_says_so_and_never_serves() {
    let other = Config { isn_key: [7; 16], ..shard_config() };
    let mut world = World::with(6, 1, [1, 1], [shard_config(), other]);
    start_all(&mut world);
    world.run_clients();
    let told = |event: &Event| matches!(event, Event::DigestMismatch(_));
    assert!(world.nodes[1].happened.iter().any(told));
    assert_eq!((world.role(0), world.role(1)), (OPEN, Role::Spare));
    world.kill(0);
    world.run_for(500_000);
    assert_eq!(world.network.spoken[1].frames, 0);
}

#[test]
fn backup_knows_the_clients_before_it_has_to_answer_them() {
    let mut world = World::new(13, 2);
    // What clients ask the whole LAN would tell the backup too; so let it have heard nothing.
    world.freeze(1, 30_000);
    start_all(&mut world);
    world.run_for(10_000);
    world.forget_input(1);
    world.run_for(30_000);
    let before = world.counters(1).arp_requests;
    kill_in_the_middle(&mut world, 0);
    world.run(100_000, |world| world.is_serving(1));
    world.run_clients();
    let after = world.counters(1);
    assert_eq!((after.arp_requests, after.drop_neighbour_waiting), (before, 0));
}

#[test]
fn service_address_is_announced_only_by_who_holds_the_state() {
    let mut world = World::new(7, 1);
    start_all(&mut world);
    world.run_for(10_000);
    world.kill(0);
    world.run_for(40_000);
    assert_eq!(world.network.spoken[1].frames, 0, "before the timeout the backup is silent");
    world.run(100_000, |world| world.is_serving(1));
    world.run_for(1_000);
    let first = world.network.spoken[1].first.clone().expect("it serves");
    let packet = arp::Packet::parse(&first[14..]).expect("the announcement comes first");
    assert_eq!(packet, arp::Packet::announcement(VMAC, VIP));
    let order = |event: &Event| match event {
        Event::LogApplied { .. } => Some(1),
        Event::Claimed { .. } => Some(2),
        Event::FirstPacket { .. } => Some(3),
        _ => None,
    };
    let steps: Vec<_> = world.nodes[1].happened.iter().filter_map(order).collect();
    assert_eq!(steps, [1, 2, 3]);
}

#[test]
fn garbage_on_every_port_harms_nobody() {
    let mut world = World::new(8, 1);
    start_all(&mut world);
    let mut random = Random(99);
    for _ in 0..300 {
        for place in [Place::Lan(0), Place::Lan(1), Place::Link(0), Place::Link(1)] {
            let mut frame: Vec<u8> = (0..random.below(200)).map(|_| random.next() as u8).collect();
            if random.permille(700) && frame.len() > 14 {
                frame[..6].copy_from_slice(&VMAC.0);
                frame[12..14].copy_from_slice(&[8, (random.below(2) * 6) as u8]);
            }
            world.inject(place, frame);
        }
        world.run_for(500);
    }
    world.run_clients();
    assert_eq!(world.role(1), Role::Backup);
    let counters = world.counters(0);
    assert!(counters.drop_malformed + counters.drop_not_for_us > 100, "{counters:?}");
}

#[test]
fn node_answers_for_its_own_address_always_and_for_the_service_while_it_serves() {
    let mut world = World::new(11, 1);
    for node in [0, 1] {
        let own = Ipv4Addr::new(10, 77, 0, 1 + node as u8);
        for (address, expected) in
            [(own, Some(world::mac(node, 1))), (VIP, (node == 0).then_some(VMAC))]
        {
            let request = arp::Packet::request(STRANGER_MAC, STRANGER, address);
            let replies =
                world.ask(node, &frame(Mac::BROADCAST, ETHERTYPE_ARP, &request.to_bytes()));
            let macs =
                replies.iter().map(|reply| arp::Packet::parse(&reply[14..]).unwrap().sender_mac);
            assert_eq!(macs.collect::<Vec<_>>(), Vec::from_iter(expected), "{address}");
            let destination = expected.unwrap_or(VMAC);
            let replies =
                world.ask(node, &frame(destination, ETHERTYPE_IPV4, &echo_request(address)));
            let sources = replies.iter().map(|reply| Header::parse(reply).unwrap().0.source);
            assert_eq!(sources.collect::<Vec<_>>(), Vec::from_iter(expected), "{address}");
        }
    }
}

#[test]
fn port_without_service_is_refused_by_the_primary_and_ignored_by_the_backup() {
    let mut world = World::new(12, 1);
    let syn = frame(VMAC, ETHERTYPE_IPV4, &syn(99));
    let replies = world.ask(0, &syn);
    assert_eq!(replies.len(), 1);
    let (link, packet) = Header::parse(&replies[0]).unwrap();
    assert_eq!(link.source, VMAC);
    let reset = Segment::parse(packet, Checksums::Verify).unwrap();
    assert!(reset.flags.rst() && reset.flags.ack());
    assert_eq!(world.ask(1, &syn), Vec::<Vec<u8>>::new());
    assert_eq!(world.counters(1).drop_not_serving, 1);
}

#[test]
fn replayed_and_corrupted_log_changes_nothing() {
    let mut world = World::new(9, 1);
    let weather = Weather { link_duplicate: 500, link_reorder: 500, ..Weather::default() };
    world.weather(weather);
    start_all(&mut world);
    world.run_clients();
    assert_eq!(world.role(1), Role::Backup);
    let duplicates = world.counters(1);
    assert_eq!(duplicates.records_refused, 0);
}

#[test]
fn narrower_path_is_learned_by_both_nodes() {
    let mut world = World::new(17, 2);
    world.network.mtu = 1000;
    start_all(&mut world);
    world.run_for(12_000);
    assert!(world.counters(0).icmp_errors > 0);
    kill_in_the_middle(&mut world, 0);
    world.run_clients();
    let heir = world.counters(1);
    assert!(heir.digests_equal > 0 && heir.records_refused == 0, "{heir:?}");
}

#[test]
fn icmp_about_what_is_not_in_flight_never_reaches_the_log() {
    const FLOOD: u64 = 500;
    let mut world = World::new(18, 1);
    start_all(&mut world);
    world.run_for(5_000);
    let before = world.counters(0).batches;
    let forged = frame(STRANGER_MAC, ETHERTYPE_IPV4, &syn(7));
    for number in 0..FLOOD {
        let mut quoted = forged.clone();
        quoted[6..12].copy_from_slice(&VMAC.0);
        quoted[26..34].copy_from_slice(&[10, 77, 0, 100, 10, 77, 0, 10]);
        quoted[34..36].copy_from_slice(&[0, 7]);
        quoted[36..38].copy_from_slice(&(40_000 + number as u16).to_be_bytes());
        world.inject(Place::Lan(0), network::fragmentation_needed(&quoted, 600));
    }
    world.run_for(3_000);
    let counters = world.counters(0);
    assert_eq!((counters.icmp_errors, counters.drop_icmp_error), (0, FLOOD));
    assert!(counters.batches > before, "and it serves on");
    world.run_clients();
}

/// A primary without a peer.
#[derive(Debug)]
struct Alone;

impl Steward for Alone {
    fn receive(&mut self, _now_us: u64, _path: Path, _datagram: &[u8]) {}

    fn poll(
        &mut self,
        _now_us: u64,
        _report: &Report,
        _emit: &mut impl FnMut(Path, PeerIndex, &[u8]),
    ) -> Directive {
        Directive { epoch: Epoch(1), role: OPEN, ..Directive::SPARE }
    }

    fn next_deadline_us(&self) -> Option<u64> {
        None
    }
}

/// The one test with threads and a real clock: followers hear the lead, frames change workers.
#[test]
fn workers_on_threads_serve_together() {
    let (crew, lan, _link) = world::crew_of(0, Incarnation(100), 3, shard_config(), Alone);
    let stop = Arc::new(AtomicBool::new(false));
    let clock = MonotonicClock::since(Instant::now());
    let threads: Vec<_> = crew
        .workers
        .into_iter()
        .map(|worker| spawn(worker, None, clock, Arc::clone(&stop), || ()).unwrap())
        .collect();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut answered = HashSet::new();
    while answered.len() < 40 && Instant::now() < deadline {
        for port in 1..=40 {
            lan.deliver(frame(VMAC, ETHERTYPE_IPV4, &syn_from(5000 + port, 7)));
        }
        std::thread::sleep(Duration::from_millis(5));
        while let Some(reply) = lan.take() {
            let (link, packet) = Header::parse(&reply).unwrap();
            if link.ethertype == ETHERTYPE_IPV4 {
                let segment = Segment::parse(packet, Checksums::Verify).unwrap();
                assert!(segment.flags.syn() && segment.flags.ack());
                answered.insert(segment.flow.local.port);
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    let workers: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(answered.len(), 40, "{workers:?}");
}
