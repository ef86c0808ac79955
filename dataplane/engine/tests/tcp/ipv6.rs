//! What is not the same over IPv6, and that the rest is.

use std::sync::Arc;

use engine::addr::Endpoint;
use engine::config::{Config, ConfigError};
use engine::egress::CountingEgress;
use engine::shard::{ConnectError, Shard};
use engine::time::Instant;
use engine::wire::ipv6;
use engine::wire::tcp::Options;

use crate::support::link::Quality;
use crate::support::pair::Pair;
use crate::support::peer::{ACK, Peer, RST, SYN, SYN_ACK, sack_options};
use crate::support::{
    CLIENT, DISCARD, DISCARD_INDEX, ECHO, Recorder, SERVER, SERVER_V6, STREAM, config, content,
    parse, shard,
};

#[test]
fn mss_leaves_room_for_the_longer_header() {
    let mut peer = Peer::over_ipv6(config(), STREAM);
    let answer = peer.handshake(&Options { mss: Some(9000), ..Options::default() });
    assert_eq!(answer.options.mss, Some(1440));
    assert_eq!(peer.info().map(|info| info.mss), Some(1440));
}

#[test]
fn peer_that_names_no_mss_gets_1220_bytes_at_a_time() {
    let mut peer = Peer::over_ipv6(config(), STREAM);
    peer.handshake(&Options::default());
    assert_eq!(peer.info().map(|info| info.mss), Some(1220), "RFC 9293 3.7.1, MUST-15");
    let data = peer.wait(10_000_000);
    assert!(data.iter().any(|reply| reply.len() == 1220));
    let mut peer = Peer::new(config(), STREAM);
    peer.handshake(&Options::default());
    assert_eq!(peer.info().map(|info| info.mss), Some(536));
}

#[test]
fn full_packets_take_the_mtu() {
    let mut pair = Pair::new(config(), Quality::perfect(1_000), 1).over_ipv6();
    pair.connect(STREAM, DISCARD_INDEX);
    pair.run(100_000);
    assert_eq!(pair.sent.iter().map(|(_, packet)| packet.len()).max(), Some(1500));
}

#[test]
fn packets_of_a_connection_carry_one_flow_label_which_others_do_not() {
    let mut pair = Pair::new(config(), Quality::perfect(1_000), 1).over_ipv6();
    let labels = |pair: &mut Pair| {
        let local = pair.connect(STREAM, DISCARD_INDEX);
        pair.run(20_000);
        let of_it = |packet: &&Vec<u8>| parse(packet).flow.local == local;
        let packets = pair.sent.iter().map(|(_, packet)| packet).filter(of_it);
        let labels = packets.map(|p| ipv6::Packet::parse(p).expect("it is").header.flow_label);
        labels.collect::<std::collections::BTreeSet<_>>()
    };
    let (one, other) = (labels(&mut pair), labels(&mut pair));
    assert_eq!((one.len(), other.len()), (1, 1));
    assert!(one != other && !one.contains(&0));
}

#[test]
fn segment_for_nobody_is_reset() {
    let mut peer = Peer::over_ipv6(config(), ECHO);
    let replies = peer.send(ACK, 1, 1, b"who?");
    assert_eq!((replies.len(), replies[0].flags), (1, RST));
    let replies = peer.send(SYN, 0, 0, &[]);
    assert_eq!(replies[0].flags, SYN_ACK);
}

#[test]
fn connections_of_both_versions_with_equal_ports_are_two() {
    let mut pair = Pair::new(config(), Quality::perfect(1_000), 1);
    let over_ipv4 = pair.connect(DISCARD, 2);
    let mut pair = pair.over_ipv6();
    let over_ipv6 = pair.connect(DISCARD, 2);
    assert_eq!(over_ipv4.port, over_ipv6.port);
    pair.run(50_000);
    assert!(pair.is_established(over_ipv4) && pair.is_established(over_ipv6));
}

#[test]
fn both_ends_are_of_one_version() {
    let mut shard = shard(config());
    let (local, remote) = (Endpoint::new(CLIENT, 1), Endpoint::new(SERVER_V6, 7));
    let refused = shard.open(Instant::ZERO, local, remote, 0);
    assert_eq!(refused, Err(ConnectError::MixedVersions));
    let remote = Endpoint::new(SERVER, 7);
    assert!(shard.open(Instant::ZERO, local, remote, 0).is_ok());
}

#[test]
fn ipv6_wants_an_mtu_of_1280() {
    let with = |vip: &str, mtu| {
        let config = Config { vips: vec![vip.parse().expect("an address")], mtu, ..config() };
        config.validate()
    };
    assert_eq!(with("10.0.0.1", 576), Ok(()));
    assert_eq!(with("fd77::1", 1280), Ok(()));
    let refused = with("fd77::1", 1279);
    assert!(matches!(refused, Err(ConfigError::OutOfRange { value: 1279, .. })), "{refused:?}");
}

/// Clients of all kinds on a link that loses and reorders.
fn busy(seed: u64) -> Pair {
    let quality = Quality {
        delay_us: 2_000,
        loss_permille: 20,
        reorder_permille: 50,
        duplicate_permille: 20,
    };
    let mut pair = Pair::new(config(), quality, seed).over_ipv6();
    pair.connect(STREAM, DISCARD_INDEX);
    pair.connect(DISCARD, 2);
    pair.connect(ECHO, 2);
    pair
}

#[test]
fn replica_and_snapshot_are_equal_and_a_kick_goes_on_from_either() {
    for seed in 0..8 {
        let mut pair = busy(seed);
        pair.run(100_000 + 7_919 * seed);
        let mut replica = shard(config());
        let mut egress = CountingEgress::default();
        for (now_us, packets) in &pair.log {
            let segments: Vec<_> = packets.iter().map(|packet| parse(packet)).collect();
            replica.step(Instant::from_micros(*now_us), &segments, &mut egress);
        }
        assert_eq!(replica.digest(), pair.server.digest());
        assert_eq!(replica.full_digest(), pair.server.full_digest());
        let mut bytes = Vec::new();
        pair.server.save(&mut bytes);
        let mut restored =
            Shard::restore(Arc::new(config()), content(), &bytes).expect("it was saved");
        let now = Instant::from_micros(pair.now_us + 50_000);
        let [mut one, mut other] = [Recorder::default(), Recorder::default()];
        crate::support::kick(&mut replica, now, &mut one);
        crate::support::kick(&mut restored, now, &mut other);
        assert!(one.packets.len() >= 3 && one.packets == other.packets, "seed {seed}");
        pair.server = restored;
        let before = pair.server.counters().bytes_in;
        pair.run(2_000_000);
        assert!(pair.server.counters().bytes_in > before + 100_000, "seed {seed}");
        assert_eq!(pair.server.counters().resets_sent, 0);
    }
}

#[test]
fn handshake_with_sack_and_timestamps_is_the_same() {
    let mut peer = Peer::over_ipv6(config(), ECHO);
    peer.ts = Some(7);
    let answer = peer.handshake(&sack_options());
    assert!(answer.options.sack_permitted && answer.options.timestamps.is_some());
    let replies = peer.send(ACK, 1, 1, b"hello");
    assert!(replies.iter().any(|reply| reply.payload == b"hello"));
}
