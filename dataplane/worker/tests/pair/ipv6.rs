//! IPv6 beside IPv4: takeovers, neighbour discovery, and what switches are told.

use std::net::Ipv6Addr;

use engine::addr::{Endpoint, Flow};
use engine::config::Config;
use engine::seq::SeqNumber;
use engine::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV6, Header, Mac};
use engine::wire::ndp::{Advertisement, Message, Solicitation};
use engine::wire::segment::{MAX_HEADER_LEN, Segment, SegmentHeader, ip_header_len};
use engine::wire::{Checksums, checksum, icmpv6, ipv6, mld, tcp, udp};
use replication::Role;

use crate::client::{Client, Work};
use crate::network::{Place, Weather};
use crate::steward::DETECTION_US;
use crate::world::{self, VIP_V6, VMAC, World, own_v6};
use crate::{OPEN, STRANGER_MAC, frame};

const STRANGER: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x77);

/// Every kind of work, over both versions.
fn start_all(world: &mut World) {
    for client in 0..world.clients.len() {
        world.start_over_ipv6(client, Work::Echo(400_000));
        world.start_over_ipv6(client, Work::Download(1_500_000));
        world.start_over_ipv6(client, Work::Upload(800_000));
        world.start(client, Work::Echo(200_000));
    }
}

#[test]
fn clients_of_a_quiet_pair_get_every_byte() {
    let mut world = World::new(41, 2);
    start_all(&mut world);
    world.run_clients();
    let backup = world.counters(1);
    assert!(backup.records_applied > 100 && backup.digests_equal > 100, "{backup:?}");
    assert_eq!(world.network.spoken[1].frames, 0, "the backup is silent");
}

#[test]
fn clients_get_every_byte_when_the_primary_dies_at_any_moment() {
    for seed in 100..160 {
        let mut world = World::new(seed, 2);
        start_all(&mut world);
        let moment_us = world.random.below(20_000);
        world.run_for(moment_us);
        assert!(!world.clients.iter().any(Client::is_done), "there is something to lose");
        world.kill(0);
        world.run_clients();
        assert_eq!(world.role(1), OPEN, "seed {seed}");
    }
}

#[test]
fn clients_get_every_byte_when_the_primary_dies_in_bad_weather() {
    for seed in 1100..1140 {
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
        world.kill(0);
        world.run_clients();
        assert_eq!(world.role(1), OPEN, "seed {seed}");
    }
}

#[test]
fn workers_of_both_nodes_may_differ_in_number() {
    let shards = [world::shard_config(), world::shard_config()];
    let mut world = World::with(3100, 3, [3, 2], shards);
    start_all(&mut world);
    world.run_for(10_000);
    world.kill(0);
    world.run_clients();
    assert_eq!(world.role(1), OPEN);
}

/// A pair whose LAN and link have IPv6 alone.
fn without_ipv4(seed: u64, workers: [u16; 2]) -> World {
    let shard = || Config { vips: vec![VIP_V6.into()], ..world::shard_config() };
    World::with(seed, 1, workers, [shard(), shard()])
}

#[test]
fn lan_may_be_ipv6_alone_and_carries_the_heartbeats() {
    let mut world = without_ipv4(50, [1, 1]);
    world.start_over_ipv6(0, Work::Echo(400_000));
    world.run_clients();
    // Nothing passes the link any more: the backup knows by the LAN that the primary lives.
    world.weather(Weather { link_loss: 1000, ..Weather::default() });
    world.run_for(10 * DETECTION_US);
    assert_eq!((world.role(1), world.is_serving(0)), (Role::Backup, true));
    let counters = world.counters(0);
    assert_eq!((counters.arp_requests, counters.gratuitous_arps), (0, 0));
    world.weather(Weather::default());
    world.start_over_ipv6(0, Work::Download(1_500_000));
    world.run_for(10_000);
    world.kill(0);
    world.run_clients();
    assert_eq!(world.role(1), OPEN);
}

#[test]
fn datagrams_of_a_log_over_ipv6_fit_the_link_and_have_their_checksum() {
    let mut world = without_ipv4(55, [1, 1]);
    (0..4).for_each(|_| world.start_over_ipv6(0, Work::Upload(200_000)));
    world.network.watch(&world::mac(1, 2).0);
    world.run_clients();
    let log = world.network.watched();
    let longest = log.iter().map(Vec::len).max().unwrap();
    assert!((14 + 1480..=14 + 1500).contains(&longest), "{longest}");
    for frame in &log {
        let (link, packet) = Header::parse(frame).unwrap();
        assert_eq!(link.ethertype, ETHERTYPE_IPV6);
        let ip = ipv6::Packet::parse(packet).unwrap();
        if ip.header.protocol == ipv6::PROTOCOL_UDP {
            assert!(udp::Datagram::parse_ipv6(&ip, Checksums::Verify).is_ok());
        }
    }
}

#[test]
fn log_goes_over_ipv6_also_in_bad_weather() {
    for seed in 2100..2120 {
        let mut world = without_ipv4(seed, [2, 1]);
        let (link_loss, link_reorder) = (10 + world.random.below(200), 100);
        world.weather(Weather { link_loss, link_reorder, link_duplicate: 20, lan_loss: 10 });
        for work in [Work::Echo(400_000), Work::Download(1_500_000), Work::Upload(2_000_000)] {
            world.start_over_ipv6(0, work);
        }
        let moment_us = world.random.below(100_000);
        world.run_for(moment_us);
        world.kill(0);
        world.run_clients();
        assert_eq!(world.role(1), OPEN, "seed {seed}");
        assert!(world.counters(1).digests_equal > 0, "seed {seed}");
    }
}

#[test]
fn narrower_path_is_learned_by_both_nodes() {
    let mut world = World::new(51, 1);
    world.network.mtu = 1300;
    (0..2).for_each(|_| world.start_over_ipv6(0, Work::Download(1_500_000)));
    world.run_for(12_000);
    assert!(world.counters(0).icmp_errors > 0);
    world.kill(0);
    world.run_clients();
    let heir = world.counters(1);
    assert!(heir.digests_equal > 0 && heir.records_refused == 0, "{heir:?}");
}

fn messages(frames: &[Vec<u8>]) -> Vec<(Mac, Message)> {
    let parse = |frame: &Vec<u8>| {
        let (link, packet) = Header::parse(frame).ok()?;
        let ip = ipv6::Packet::parse(packet).ok()?;
        Some((link.source, Message::parse(&ip, Checksums::Verify).ok()?))
    };
    frames.iter().filter_map(parse).collect()
}

/// How a stranger asks for an address, by its group.
fn question(source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let group = ipv6::solicited_node(target.into());
    let source_mac = (!source.is_unspecified()).then_some(STRANGER_MAC);
    let mut packet = Solicitation { source, target, source_mac }.to_bytes(group).to_vec();
    if source_mac.is_none() {
        packet.truncate(packet.len() - 8);
        packet[5] -= 8;
        refill_checksum(&mut packet);
    }
    frame(Mac::of_group(group), ETHERTYPE_IPV6, &packet)
}

fn refill_checksum(packet: &mut [u8]) {
    packet[42..44].fill(0);
    let (addresses, len) = (packet[8..40].first_chunk().unwrap(), packet.len() - 40);
    let protocol = ipv6::PROTOCOL_ICMPV6;
    let mut sum = checksum::pseudo_header_ipv6(addresses, protocol, len as u16);
    sum.add(&packet[40..]);
    packet[42..44].copy_from_slice(&sum.checksum().to_be_bytes());
}

#[test]
fn node_answers_for_its_own_addresses_always_and_for_the_service_while_it_serves() {
    let mut world = World::new(42, 1);
    for node in [0, 1] {
        let mac = world::mac(node, 1);
        for (target, expected) in [
            (own_v6(node), Some(mac)),
            (ipv6::link_local(mac), Some(mac)),
            (VIP_V6, (node == 0).then_some(VMAC)),
            ("fd77::1:64".parse().unwrap(), None),
        ] {
            let replies = messages(&world.ask(node, &question(STRANGER, target)));
            let answer = expected.map(|mac| {
                let (target_mac, solicited, replaces) = (Some(mac), true, true);
                (
                    mac,
                    Message::Advertisement(Advertisement {
                        target,
                        target_mac,
                        solicited,
                        replaces,
                    }),
                )
            });
            assert_eq!(replies, Vec::from_iter(answer), "node {node}, {target}");
            let replies = world.ask(node, &echo_request(expected.unwrap_or(VMAC), target));
            let sources = replies.iter().map(|reply| {
                let (link, packet) = Header::parse(reply).unwrap();
                let ip = ipv6::Packet::parse(packet).unwrap();
                let (kind, _, _) = icmpv6::message(&ip, Checksums::Verify).unwrap();
                (kind, ip.header.source, link.source)
            });
            let expected = expected.map(|mac| (icmpv6::ECHO_REPLY, target, mac));
            assert_eq!(sources.collect::<Vec<_>>(), Vec::from_iter(expected), "{target}");
        }
    }
}

fn echo_request(to: Mac, destination: Ipv6Addr) -> Vec<u8> {
    let message = [icmpv6::ECHO_REQUEST, 0, 0, 0, 0, 1, 0, 1];
    icmpv6_frame(to, (STRANGER, destination), 64, &message)
}

fn icmpv6_frame(
    to: Mac,
    (source, destination): (Ipv6Addr, Ipv6Addr),
    hop_limit: u8,
    message: &[u8],
) -> Vec<u8> {
    let header = ipv6::Header {
        source,
        destination,
        protocol: ipv6::PROTOCOL_ICMPV6,
        hop_limit,
        traffic_class: 0,
        flow_label: 0,
    };
    let mut packet = [&header.to_bytes(message.len() as u16)[..], message].concat();
    refill_checksum(&mut packet);
    frame(to, ETHERTYPE_IPV6, &packet)
}

#[test]
fn routers_and_who_passes_for_one_tell_a_node_nothing() {
    let router: Ipv6Addr = "fe80::77".parse().unwrap();
    let prefix = [3, 4, 64, 0xc0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    let advertisement = [
        &[134, 0, 0, 0, 9, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0],
        &prefix[..],
        &"fd79::".parse::<Ipv6Addr>().unwrap().octets(),
        &[5, 1, 0, 0, 0, 0, 5, 0],
    ]
    .concat();
    let redirect = [&[137, 0, 0, 0, 0, 0, 0, 0], &router.octets()[..], &STRANGER.octets()].concat();
    let (all, group) = (ipv6::ALL_NODES, Mac::of_group(ipv6::ALL_NODES));
    let echo = [icmpv6::ECHO_REQUEST, 0, 0, 0, 0, 1, 0, 1];
    let mut world = World::new(53, 1);
    world.inject(Place::Lan(0), frame(VMAC, ETHERTYPE_IPV6, &syn(7)));
    world.run_for(2_000);
    let before = world.counters(0);
    for (to, ends, message) in [
        (group, (router, all), &advertisement),
        (VMAC, (router, VIP_V6), &redirect),
        (group, (router, all), &[133, 0, 0, 0, 0, 0, 0, 0].to_vec()),
        (group, (STRANGER, all), &echo.to_vec()),
    ] {
        let replies = world.ask(0, &icmpv6_frame(to, ends, 255, message));
        assert_eq!(replies, Vec::<Vec<u8>>::new(), "{}", message[0]);
    }
    let after = world.counters(0);
    assert_eq!(after.drop_protocol - before.drop_protocol, 4);
    // The SYN-ACK that nobody acknowledges goes where it went.
    world.network.watch(&STRANGER_MAC.0);
    world.run_for(1_500_000);
    assert!(world.network.watched().iter().any(|frame| frame[6..12] == VMAC.0));
}

#[test]
fn solicitations_that_crossed_a_router_are_dropped() {
    let mut world = World::new(54, 1);
    let mut question = question(STRANGER, VIP_V6);
    assert_eq!(messages(&world.ask(0, &question)).len(), 1);
    question[14 + 7] = 254;
    let before = world.counters(0).drop_malformed;
    assert_eq!(world.ask(0, &question), Vec::<Vec<u8>>::new());
    assert_eq!(world.counters(0).drop_malformed - before, 1);
}

#[test]
fn who_wants_to_take_the_service_address_is_told_together_with_all() {
    let mut world = World::new(43, 1);
    let probe = question(Ipv6Addr::UNSPECIFIED, VIP_V6);
    world.network.watch(&Mac::of_group(ipv6::ALL_NODES).0);
    world.inject(Place::Lan(0), probe);
    world.run_for(2_000);
    let told = messages(&world.network.watched());
    let target_mac = Some(VMAC);
    let taken = Advertisement { target: VIP_V6, target_mac, solicited: false, replaces: true };
    assert!(told.contains(&(VMAC, Message::Advertisement(taken))), "{told:?}");
}

#[test]
fn takeover_is_announced_in_both_versions_and_the_groups_are_reported() {
    let mut world = World::new(44, 1);
    start_all(&mut world);
    world.run_for(10_000);
    world.network.watch(&Mac::of_group(ipv6::ALL_NODES).0);
    world.kill(0);
    world.run(100_000, |world| world.is_serving(1));
    let before = world.counters(1);
    world.run_for(1_000);
    let told = messages(&world.network.watched());
    let expected =
        Advertisement { target: VIP_V6, target_mac: Some(VMAC), solicited: false, replaces: true };
    assert_eq!(told.last(), Some(&(VMAC, Message::Advertisement(expected))));
    assert!(before.unsolicited_advertisements >= 1 && before.gratuitous_arps >= 1);
    let first = world.network.spoken[1].first.clone().expect("it serves");
    let (link, _) = Header::parse(&first).unwrap();
    assert_eq!(link.ethertype, ETHERTYPE_ARP, "announcements come before any packet");
}

/// The groups in a report.
fn groups(frame: &[u8]) -> Vec<Ipv6Addr> {
    let (_, packet) = Header::parse(frame).unwrap();
    let ip = ipv6::Packet::parse(packet).unwrap();
    let (kind, _, message) = icmpv6::message(&ip, Checksums::Verify).unwrap();
    assert_eq!((kind, ip.header.hop_limit), (icmpv6::MULTICAST_LISTENER_REPORT, 1));
    let group = |record: &[u8]| <[u8; 16]>::try_from(&record[4..]).unwrap().into();
    message[8..].chunks(20).map(group).collect()
}

#[test]
fn switches_hear_which_groups_a_node_is_in() {
    let mut world = World::new(45, 1);
    let query = {
        let header = ipv6::Header {
            source: "fe80::77".parse().unwrap(),
            destination: ipv6::ALL_NODES,
            protocol: ipv6::PROTOCOL_ICMPV6,
            hop_limit: 1,
            traffic_class: 0,
            flow_label: 0,
        };
        let mut packet = [&header.to_bytes(28)[..], &[0; 28]].concat();
        packet[40] = icmpv6::MULTICAST_LISTENER_QUERY;
        refill_checksum(&mut packet);
        frame(Mac::of_group(ipv6::ALL_NODES), ETHERTYPE_IPV6, &packet)
    };
    for node in [0, 1] {
        world.network.watch(&Mac::of_group(mld::ALL_ROUTERS).0);
        world.inject(Place::Lan(node), query.clone());
        world.run_for(2_000);
        let reports = world.network.watched();
        let of_node = reports.iter().find(|frame| frame[6..12] == world::mac(node, 1).0);
        let groups = groups(of_node.expect("it reports"));
        let of = |address: Ipv6Addr| ipv6::solicited_node(address.into());
        assert!(
            groups.contains(&of(own_v6(node)))
                && groups.contains(&of(ipv6::link_local(world::mac(node, 1))))
        );
        assert_eq!(groups.contains(&of(VIP_V6)), node == 0, "only who serves");
    }
}

fn syn(port: u16) -> Vec<u8> {
    let flow = Flow { local: Endpoint::new(STRANGER, 4000), remote: Endpoint::new(VIP_V6, port) };
    let header = SegmentHeader {
        flow,
        seq: SeqNumber(1),
        ack: SeqNumber(0),
        flags: tcp::Flags::SYN,
        window: 1000,
        options: tcp::Options::default(),
    };
    let mut packet = vec![0; MAX_HEADER_LEN];
    let len = header.emit(0, &mut packet);
    packet.truncate(len);
    checksum::finish_tcp(&mut packet, ip_header_len(flow.local.addr), &[]);
    packet
}

#[test]
fn port_without_service_is_refused_by_the_primary_and_ignored_by_the_backup() {
    let mut world = World::new(46, 1);
    let syn = frame(VMAC, ETHERTYPE_IPV6, &syn(99));
    let replies = world.ask(0, &syn);
    assert_eq!(replies.len(), 1);
    let (link, packet) = Header::parse(&replies[0]).unwrap();
    assert_eq!((link.source, link.ethertype), (VMAC, ETHERTYPE_IPV6));
    let reset = Segment::parse(packet, Checksums::Verify).unwrap();
    assert!(reset.flags.rst() && reset.flags.ack());
    assert_eq!(world.ask(1, &syn), Vec::<Vec<u8>>::new());
}

#[test]
fn neighbour_that_was_silent_for_long_is_asked_directly() {
    let mut world = World::new(47, 1);
    world.inject(Place::Lan(0), frame(VMAC, ETHERTYPE_IPV6, &syn(7)));
    world.network.watch(&STRANGER_MAC.0);
    // Nobody acknowledges the SYN-ACK; when it is sent for the last time, the entry is old.
    world.run_for(40_000_000);
    let asked = messages(&world.network.watched());
    let (source, source_mac) = (own_v6(0), Some(world::mac(0, 1)));
    let question = Solicitation { source, target: STRANGER, source_mac };
    assert_eq!(asked, [(world::mac(0, 1), Message::Solicitation(question))]);
}

#[test]
fn backup_knows_the_clients_before_it_has_to_answer_them() {
    let mut world = World::new(48, 2);
    // What clients ask the whole LAN would tell the backup too; so let it have heard nothing.
    world.freeze(1, 30_000);
    (0..2).for_each(|client| world.start_over_ipv6(client, Work::Download(1_500_000)));
    world.run_for(10_000);
    world.forget_input(1);
    world.run_for(30_000);
    let before = world.counters(1).neighbour_solicitations;
    assert!(before > 0, "it has asked for them in its own name");
    world.kill(0);
    world.run(100_000, |world| world.is_serving(1));
    world.run_clients();
    let after = world.counters(1);
    assert_eq!((after.neighbour_solicitations, after.drop_neighbour_waiting), (before, 0));
}

#[test]
fn advertisements_replace_what_is_known_only_if_they_say_so() {
    const OTHER: Mac = Mac([2, 0, 0, 0, 7, 8]);
    let moves_to_other = |replaces| {
        let mut world = World::new(49, 1);
        world.inject(Place::Lan(0), frame(VMAC, ETHERTYPE_IPV6, &syn(7)));
        world.run_for(2_000);
        let (target_mac, solicited) = (Some(OTHER), true);
        let told = Advertisement { target: STRANGER, target_mac, solicited, replaces };
        let header =
            Header { destination: world::mac(0, 1), source: OTHER, ethertype: ETHERTYPE_IPV6 };
        let packet = told.to_bytes(own_v6(0));
        world.inject(Place::Lan(0), [&header.to_bytes()[..], &packet].concat());
        world.network.watch(&OTHER.0);
        // Nobody acknowledges the SYN-ACK, so it is sent again.
        world.run_for(1_500_000);
        world.network.watched().iter().any(|frame| frame[6..12] == VMAC.0)
    };
    assert!(!moves_to_other(false));
    assert!(moves_to_other(true));
}
