//! The path's MTU, told by ICMP or found out by what vanishes, and other ICMP errors.

use engine::addr::Flow;
use engine::config::Config;
use engine::seq::SeqNumber;
use engine::time::Instant;
use engine::wire::icmp_error::{IcmpError, IcmpErrorKind};

use crate::support::link::{Quality, Shape};
use crate::support::pair::Pair;
use crate::support::peer::{ACK, Peer, sack_options};
use crate::support::{DISCARD_INDEX, Recorder, STREAM, config, parse};

/// Payload of a packet of 1500, 1400 and 1280 bytes beside timestamps.
const FULL: u16 = 1448;
const NARROW: u16 = 1348;
const BLIND: u16 = 1228;

/// A download over 4 Mbit/s whose first hop takes less than the ends think.
fn narrow() -> Pair {
    // Windows that the queue has room for: nothing is lost but what is too large.
    let mut config = config();
    config.services.iter_mut().for_each(|service| service.recv_buffer_bytes = 65_536);
    let mut pair = Pair::new(config, Quality::perfect(5_000), 1);
    let (rate_bps, queue_bytes) = (4_000_000, 1 << 20);
    pair.link.shape = Some(Shape { rate_bps, queue_bytes, mark_bytes: None });
    pair.link.mtu = 1400;
    pair
}

/// Runs for `us`, and has a router tell of what was too large.
fn run_with_icmp(pair: &mut Pair, us: u64) {
    let end_us = pair.now_us + us;
    while pair.now_us < end_us {
        pair.run(1_000);
        for (_, packet) in std::mem::take(&mut pair.link.too_large) {
            let segment = parse(&packet);
            let flow = Flow { local: segment.flow.remote, remote: segment.flow.local };
            let kind = IcmpErrorKind::TooBig { mtu: 1400 };
            let error = IcmpError { flow, seq: segment.seq, kind };
            if pair.server.heeds(&error) {
                let mut out = Recorder::default();
                pair.server.icmp_error(Instant::from_micros(pair.now_us), &error, &mut out);
                let now_us = pair.now_us;
                out.packets.into_iter().for_each(|packet| pair.link.send(now_us, false, packet));
            }
        }
    }
}

#[test]
fn router_s_word_lowers_the_segment_size_and_what_it_dropped_is_sent_again_at_once() {
    let mut pair = narrow();
    let local = pair.connect(STREAM, DISCARD_INDEX);
    run_with_icmp(&mut pair, 60_000);
    let info = pair.of_server(local).expect("it lives");
    let counters = pair.server.counters();
    assert_eq!(info.mss, NARROW);
    assert_eq!((counters.timeouts, counters.recoveries), (0, 0), "{counters:?}");
    assert_eq!(counters.path_mtu_told, 1, "the rest of the flight says nothing new");
    assert_eq!(info.ssthresh, u32::MAX, "that is no congestion");
    pair.run(300_000);
    assert!(pair.of_client(local).is_some_and(|info| info.bytes_in > 100_000));
}

#[test]
fn black_hole_is_passed_with_smaller_segments() {
    let mut pair = narrow();
    let local = pair.connect(STREAM, DISCARD_INDEX);
    pair.run(5_000_000);
    let info = pair.of_server(local).expect("it lives");
    assert_eq!((info.mss, pair.server.counters().black_holes), (BLIND, 1));
    assert!(pair.of_client(local).is_some_and(|info| info.bytes_in > 1_000_000), "{info:?}");
}

#[test]
fn path_that_gets_wider_is_used_again() {
    let mut pair = narrow();
    let local = pair.connect(STREAM, DISCARD_INDEX);
    pair.run(5_000_000);
    pair.link.mtu = usize::MAX;
    pair.run(70_000_000);
    let counters = pair.server.counters();
    assert_eq!(pair.of_server(local).map(|info| info.mss), Some(FULL), "{counters:?}");
    assert_eq!(counters.mtu_probes, 5, "1400, 1420, 1480, 1492 and 1500");
}

#[test]
fn probe_that_is_lost_costs_no_window() {
    let mut pair = narrow();
    let local = pair.connect(STREAM, DISCARD_INDEX);
    pair.run(5_000_000);
    let before = pair.server.counters().clone();
    pair.run(60_000_000);
    let counters = pair.server.counters();
    // 1400 passes, 1420 does not, and the next one is far away.
    assert_eq!(pair.of_server(local).map(|info| info.mss), Some(NARROW));
    assert_eq!(counters.mtu_probes - before.mtu_probes, 2);
    assert_eq!(counters.timeouts, before.timeouts);
    let repaired = counters.retransmissions - before.retransmissions;
    assert_eq!((counters.recoveries - before.recoveries, repaired), (0, 2));
}

fn error(peer: &Peer, offset: u32, kind: IcmpErrorKind) -> IcmpError {
    let flow = Flow { local: peer.remote, remote: peer.local };
    IcmpError { flow, seq: peer.their_isn + offset, kind }
}

/// RFC 5927 4.1.
#[test]
fn only_a_segment_in_flight_can_have_been_too_large() {
    let mut peer = Peer::established(config(), STREAM);
    peer.send(ACK, 1, 5001, &[]);
    let too_big = IcmpErrorKind::TooBig { mtu: 900 };
    for (offset, heeded) in [(1, false), (4001, false), (5001, true), (1 << 20, false)] {
        assert_eq!(peer.shard.heeds(&error(&peer, offset, too_big)), heeded, "{offset}");
    }
    let mut other = error(&peer, 5001, too_big);
    other.flow.remote.port += 1;
    assert!(!peer.shard.heeds(&other), "no such connection");
    // Larger than what we send anyway, and smaller than any path.
    assert!(!peer.shard.heeds(&error(&peer, 5001, IcmpErrorKind::TooBig { mtu: 1040 })));
    let liar = error(&peer, 5001, IcmpErrorKind::TooBig { mtu: 68 });
    let mut out = Recorder::default();
    peer.shard.icmp_error(Instant::from_micros(peer.now_us), &liar, &mut out);
    assert_eq!(peer.info().map(|info| info.mss), Some(512));
    assert_eq!(parse(&out.packets[0]).payload.len(), 512);
}

/// RFC 1122 4.2.3.9, RFC 5927 5.2.
#[test]
fn hard_errors_end_only_what_is_not_open_yet() {
    let mut peer = Peer::new(Config::clone(&config()), STREAM);
    peer.be_connected(DISCARD_INDEX);
    let mut out = Recorder::default();
    let now = Instant::from_micros(peer.now_us);
    peer.shard.icmp_error(now, &error(&peer, 0, IcmpErrorKind::Soft), &mut out);
    assert_eq!(peer.shard.memory().connections, 1);
    let stale = IcmpError { seq: SeqNumber(1), ..error(&peer, 0, IcmpErrorKind::Hard) };
    peer.shard.icmp_error(now, &stale, &mut out);
    assert_eq!(peer.shard.memory().connections, 1);
    peer.shard.icmp_error(now, &error(&peer, 0, IcmpErrorKind::Hard), &mut out);
    assert_eq!(peer.shard.memory().connections, 0);
    let mut peer = Peer::new(config(), STREAM);
    peer.handshake(&sack_options());
    peer.shard.icmp_error(now, &error(&peer, 1, IcmpErrorKind::Hard), &mut out);
    assert_eq!(peer.shard.memory().connections, 1);
    assert!(out.packets.is_empty());
}

#[test]
fn over_ipv6_the_header_counts_and_less_than_1280_bytes_is_no_router_s_word() {
    let mut pair = narrow().over_ipv6();
    let local = pair.connect(STREAM, DISCARD_INDEX);
    run_with_icmp(&mut pair, 60_000);
    assert_eq!(pair.of_server(local).expect("it lives").mss, NARROW - 20);
    let segment =
        pair.sent.iter().rev().map(|(_, packet)| parse(packet)).find(|s| s.payload.len() > 1000);
    let segment = segment.expect("it has sent some");
    let flow = Flow { local: segment.flow.remote, remote: segment.flow.local };
    let now = Instant::from_micros(pair.now_us);
    for (mtu, mss) in [(600, NARROW - 20), (1279, NARROW - 20), (1280, BLIND - 20)] {
        let error = IcmpError { flow, seq: segment.seq, kind: IcmpErrorKind::TooBig { mtu } };
        assert_eq!(pair.server.heeds(&error), mtu == 1280);
        pair.server.icmp_error(now, &error, &mut Recorder::default());
        assert_eq!(pair.of_server(local).expect("it lives").mss, mss, "RFC 8201 4");
    }
}

#[test]
fn black_hole_is_passed_over_ipv6_with_the_least_mtu() {
    let mut pair = narrow().over_ipv6();
    let local = pair.connect(STREAM, DISCARD_INDEX);
    pair.run(5_000_000);
    let info = pair.of_server(local).expect("it lives");
    assert_eq!((info.mss, pair.server.counters().black_holes), (BLIND - 20, 1));
    assert!(pair.of_client(local).is_some_and(|info| info.bytes_in > 1_000_000), "{info:?}");
}
