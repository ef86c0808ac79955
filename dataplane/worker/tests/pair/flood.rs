//! Floods: what strangers send must cost neither log nor memory, and clients must not notice.

use engine::addr::{Endpoint, Flow};
use engine::config::Config;
use engine::seq::SeqNumber;
use engine::wire::ethernet::ETHERTYPE_IPV4;
use engine::wire::segment::SegmentHeader;
use engine::wire::{checksum, ipv4, tcp};
use replication::Role;
use worker::query::{ServiceSummary, Summary};

use crate::client::Work;
use crate::network::{Place, Random};
use crate::world::{VIP, VMAC, World, shard_config};
use crate::{OPEN, frame, kill_in_the_middle, start_all};

const FLOOD: u32 = 100_000;
/// What one loop of a worker takes from its card.
const BURST: u32 = 32;
const PER_BURST_US: u64 = 40;
/// Of each service and shard.
const COOKIES_ABOVE: u32 = 4;

fn config() -> Config {
    let mut config = shard_config();
    config.services.iter_mut().for_each(|service| {
        service.cookies_above = COOKIES_ABOVE;
        service.backlog = 16;
    });
    config
}

fn world(seed: u64, clients: usize) -> World {
    World::with(seed, clients, [1, 1], [config(), config()])
}

/// A segment of a sender that does not exist.
fn forged(number: u32, port: u16, flags: tcp::Flags) -> Vec<u8> {
    let address = std::net::Ipv4Addr::from_bits(0x6440_0000 | number & 0x3f_ffff);
    let header = SegmentHeader {
        flow: Flow {
            local: Endpoint::new(address, 1024 + (number >> 8) as u16),
            remote: Endpoint::new(VIP, port),
        },
        seq: SeqNumber(number.wrapping_mul(2_654_435_761)),
        ack: SeqNumber(number.wrapping_mul(40_503)),
        flags,
        window: 1024,
        options: tcp::Options { mss: Some(1460), ..tcp::Options::default() },
    };
    let mut packet = vec![0; 80];
    let len = header.emit(0, &mut packet);
    packet.truncate(len);
    checksum::finish_tcp(&mut packet, ipv4::HEADER_LEN, &[]);
    frame(VMAC, ETHERTYPE_IPV4, &packet)
}

/// As fast as a worker can take them.
fn flood(world: &mut World, count: u32, mut segment: impl FnMut(u32) -> Vec<u8>) {
    for number in 0..count {
        world.inject(Place::Lan(0), segment(number));
        if number % BURST == BURST - 1 {
            world.run_for(PER_BURST_US);
        }
    }
}

fn log_bytes(world: &mut World) -> u64 {
    world.summaries(0)[0].sessions[0].counters.bytes_sent
}

fn digests(world: &mut World, node: usize) -> Vec<(u16, u64)> {
    let shards = world.summaries(node).into_iter().flat_map(|summary| summary.shards);
    shards.map(|shard| (shard.index, shard.digest)).collect()
}

fn services(summaries: &[Summary]) -> impl Iterator<Item = &ServiceSummary> {
    summaries.iter().flat_map(|summary| &summary.shards).flat_map(|shard| &shard.services)
}

fn cookies_accepted(world: &mut World, node: usize) -> u64 {
    let summaries = world.summaries(node);
    let shards = summaries.iter().flat_map(|summary| &summary.shards);
    shards.map(|shard| shard.counters.cookies_accepted).sum()
}

#[test]
fn forged_syns_cost_neither_log_nor_memory() {
    let mut world = world(1, 1);
    flood(&mut world, 1000, |number| forged(number, 7, tcp::Flags::SYN));
    let before = (log_bytes(&mut world), world.now_us);
    flood(&mut world, FLOOD, |number| forged(1000 + number, 7, tcp::Flags::SYN));
    let after = log_bytes(&mut world);
    // Half-open connections that send their SYN-ACK again, and the link's own frames.
    let (bytes, us) = (after - before.0, world.now_us - before.1);
    assert!(bytes < 2_000 + us / 2, "{bytes} bytes in {us} us");
    let summaries = world.summaries(0);
    let sent: u64 = services(&summaries).map(|service| service.guard.cookies_sent).sum();
    assert!(sent > u64::from(FLOOD), "{sent}");
    assert!(services(&summaries).all(|service| service.half_open <= COOKIES_ABOVE));
    let connections: u32 = summaries[0].shards.iter().map(|shard| shard.memory.connections).sum();
    assert!(connections <= 4 * COOKIES_ABOVE, "{connections}");
    assert!(summaries[0].neighbours < 40, "{} neighbours", summaries[0].neighbours);
    assert_eq!(summaries[0].counters.drop_back_pressure, 0);
    // The half-open connections come to their end.
    world.run_for(70_000_000);
    assert_eq!(digests(&mut world, 0), digests(&mut world, 1));
}

#[test]
fn clients_work_and_come_during_a_flood() {
    let mut world = world(2, 2);
    start_all(&mut world);
    world.run_for(10_000);
    flood(&mut world, FLOOD / 10, |number| forged(number, 7, tcp::Flags::SYN));
    for client in 0..2 {
        (0..3).for_each(|_| world.start(client, Work::Echo(3_000)));
    }
    flood(&mut world, FLOOD, |number| forged(FLOOD + number, 7, tcp::Flags::SYN));
    assert!(cookies_accepted(&mut world, 0) >= 6, "the late ones came by cookie");
    world.run_clients();
    world.run_for(20_000);
    assert_eq!(digests(&mut world, 0), digests(&mut world, 1));
    assert_eq!(cookies_accepted(&mut world, 0), cookies_accepted(&mut world, 1));
}

/// The SYN is answered by a primary that dies at any moment of the handshake, and leaves nothing.
#[test]
fn cookie_of_the_old_primary_opens_a_connection_at_the_new_one() {
    let mut at_the_new_one = 0;
    for moment_us in (0..1_500).step_by(100) {
        let mut world = world(3 + moment_us, 1);
        world.run_for(2_000_000);
        flood(&mut world, 2_000, |number| forged(number, 7, tcp::Flags::SYN));
        world.start(0, Work::Echo(20_000));
        world.run_for(moment_us);
        kill_in_the_middle(&mut world, 0);
        world.run(1_000_000, |world| world.is_serving(1));
        // The client's SYN-ACK came from the old primary; its first data reaches the new one.
        world.run_clients();
        assert_eq!(world.role(1), OPEN);
        at_the_new_one += u32::from(cookies_accepted(&mut world, 1) > 0);
    }
    assert!(at_the_new_one >= 8, "{at_the_new_one}");
}

#[test]
fn segments_of_no_connection_are_not_logged_whatever_their_flags() {
    let mut world = world(20, 1);
    world.start(0, Work::Idle(20_000));
    world.run_for(100_000);
    let (before, counted) = ((log_bytes(&mut world), world.now_us), world.counters(0));
    let syn = tcp::Flags::SYN;
    let rest = |number: u32| match tcp::Flags(number as u8) {
        flags if flags.syn() && !flags.ack() && !flags.rst() => tcp::Flags::ACK,
        flags => flags,
    };
    for port in [7, 9, 20] {
        flood(&mut world, FLOOD / 10, |number| forged(number, port, rest(number)));
    }
    // Nobody listens there.
    flood(&mut world, FLOOD / 10, |number| forged(number, 99, tcp::Flags(number as u8)));
    flood(&mut world, FLOOD / 10, |number| forged(number, 99, syn));
    let (after, counters) = ((log_bytes(&mut world), world.now_us), world.counters(0));
    let (bytes, us) = (after.0 - before.0, after.1 - before.1);
    assert!(bytes < 1_000 + us / 2, "{bytes} bytes in {us} us");
    assert_eq!(counters.segments, counted.segments);
    assert_eq!(counters.strangers, u64::from(3 * FLOOD / 10));
    // RESETS_PER_SECOND, a tenth of it at once.
    assert!(counters.resets <= us / 100 + 1_000, "{} in {us} us", counters.resets);
    assert!(counters.resets >= 1_000 && counters.drop_rate_limited > 10_000, "{counters:?}");
    world.clients[0].wake();
    world.run_clients();
}

/// A segment that pretends to be the first client's, of one of its connections.
fn of_a_connection(random: &mut Random, (from, to): (u16, u16), flags: tcp::Flags) -> Vec<u8> {
    let client = std::net::Ipv4Addr::new(10, 77, 0, 10);
    let header = SegmentHeader {
        flow: Flow { local: Endpoint::new(client, from), remote: Endpoint::new(VIP, to) },
        seq: SeqNumber(random.next() as u32),
        ack: SeqNumber(random.next() as u32),
        flags,
        window: 512,
        options: tcp::Options::default(),
    };
    let data = [0x66; 20];
    let data = if random.permille(500) { &data[..] } else { &[] };
    let mut packet = vec![0; 80];
    let len = header.emit(data.len() as u16, &mut packet);
    packet.truncate(len);
    checksum::finish_tcp(&mut packet, ipv4::HEADER_LEN, &[data]);
    packet.extend_from_slice(data);
    let mut frame = frame(VMAC, ETHERTYPE_IPV4, &packet);
    // So that what is answered goes to the client.
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 9, 10]);
    frame
}

/// Who guesses numbers on a connection's own addresses and ports costs the log no more than twice
/// the challenges that he may get, whatever his flags; and the connection goes on.
#[test]
fn guesses_on_a_connection_are_logged_up_to_the_limit_of_challenges() {
    for handshake_is_done in [true, false] {
        let mut world = world(40, 1);
        world.start(0, Work::Idle(20_000));
        world.run_for(if handshake_is_done { 50_000 } else { 600 });
        let ports = world.clients[0].ports()[0];
        let per_second = u64::from(config().tcp.challenge_acks_per_second);
        let mut random = Random(7);
        let before = (world.counters(0), log_bytes(&mut world), world.now_us);
        flood(&mut world, FLOOD, |number| {
            of_a_connection(&mut random, ports, tcp::Flags((number / 16) as u8))
        });
        let after = (world.counters(0), log_bytes(&mut world), world.now_us);
        // As many that are ignored, as many that are challenged, and what is in one poll with them.
        let most = ((after.2 - before.2) / 1_000_000 + 2) * (per_second * 5 / 2 + 64);
        let logged = after.0.segments - before.0.segments;
        assert!(logged >= per_second && logged <= most, "{logged} of {FLOOD}, {most} allowed");
        let kept = after.0.suspects - before.0.suspects;
        assert!(kept + logged >= u64::from(FLOOD), "{kept} kept out, {logged} logged");
        assert!(after.1 - before.1 < most * 150, "{} bytes", after.1 - before.1);
        world.clients[0].wake();
        world.run_clients();
        world.run_for(20_000);
        assert_eq!(digests(&mut world, 0), digests(&mut world, 1));
    }
}

/// The client's own segments come through among them, at their full rate, once the challenges of
/// this second are used up: these look like duplicate ACKs to a client.
#[test]
fn bulk_on_the_connection_that_is_attacked_goes_on() {
    let bytes_per_ms = |attacked: bool| {
        let mut world = world(41, 1);
        world.start(0, Work::Upload(200_000_000));
        world.run_for(3_000);
        let (ports, mut random) = (world.clients[0].ports()[0], Random(8));
        let mut go_on = |world: &mut World, bursts: u32| {
            for number in 0..bursts * BURST {
                let forged = of_a_connection(&mut random, ports, tcp::Flags((number * 8) as u8));
                if attacked {
                    world.inject(Place::Lan(0), forged);
                }
                if number % BURST == 0 {
                    world.run_for(PER_BURST_US);
                }
            }
        };
        let received = |world: &mut World| -> u64 {
            let shards = world.summaries(0).into_iter().flat_map(|summary| summary.shards);
            shards.map(|shard| shard.counters.bytes_in).sum()
        };
        go_on(&mut world, 500);
        let before = (received(&mut world), world.now_us);
        go_on(&mut world, 2_000);
        let suspects = world.counters(0).suspects;
        assert_eq!(suspects > 60_000, attacked, "{suspects}");
        (received(&mut world) - before.0) * 1000 / (world.now_us - before.1)
    };
    let (alone, attacked) = (bytes_per_ms(false), bytes_per_ms(true));
    assert!(attacked * 10 >= alone * 9, "{attacked} bytes/ms, {alone} in peace");
}

/// What waits for the peer's confirmation must not be crowded out by what waits for nothing.
#[test]
fn flood_is_turned_away_while_the_peer_is_late_to_confirm() {
    let mut world = world(30, 8);
    for client in 0..8 {
        (0..14).for_each(|_| world.start(client, Work::Download(400_000)));
    }
    world.run_for(4_000);
    // What the downloads have under way fills the gate.
    world.freeze(1, 45_000);
    world.run_for(10_000);
    let before = world.counters(0);
    flood(&mut world, 20 * BURST, |number| forged(number, 7, tcp::Flags::FIN));
    let after = world.counters(0);
    assert!(after.back_pressure_loops > before.back_pressure_loops, "{after:?}");
    // As far as the shards' own segments leave them a place to wait in.
    assert!(after.strangers >= before.strangers + 64, "{after:?}");
    assert_eq!(after.segments, before.segments, "nothing was logged");
    world.run_clients();
    assert_eq!(world.role(1), Role::Backup);
}
