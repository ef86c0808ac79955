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
use crate::network::Place;
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
    world.summaries(0)[0].sessions[0].1.bytes_sent
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
