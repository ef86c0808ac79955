//! What clients see of a takeover: a replica is fed from the log, kicked, and goes on.

use std::sync::Arc;

use engine::config::Config;
use engine::egress::CountingEgress;
use engine::seq::SeqNumber;
use engine::shard::Shard;
use engine::tcp::State;
use engine::time::Instant;

use crate::support::link::Quality;
use crate::support::pair::Pair;
use crate::support::peer::{ACK, FIN_ACK, Peer, Reply, SYN, SYN_ACK, sack_options};
use crate::support::{
    DISCARD, DISCARD_INDEX, ECHO, Recorder, STREAM, STREAM_N, config, content, parse, shard,
};

/// A shard that was given the same steps.
fn replica(pair: &Pair) -> Shard {
    let mut replica = shard(config());
    let mut egress = CountingEgress::default();
    for (now_us, packets) in &pair.log {
        let segments: Vec<_> = packets.iter().map(|packet| parse(packet)).collect();
        replica.step(Instant::from_micros(*now_us), &segments, &mut egress);
    }
    assert_eq!(replica.digest(), pair.server.digest());
    assert_eq!(replica.full_digest(), pair.server.full_digest());
    replica
}

/// The server dies: what is on its way from it and to it is lost for `pause_us`, then the replica
/// takes over.
fn take_over(pair: &mut Pair, pause_us: u64) {
    pair.server = replica(pair);
    let end = pair.now_us + pause_us;
    pair.link.cut(false);
    while pair.now_us < end {
        let client = pair.client.next_deadline().map_or(end, Instant::as_micros).min(end);
        let arrival = pair.link.next_arrival_us().unwrap_or(end).min(end);
        pair.now_us = pair.now_us.max(client.min(arrival));
        pair.link.arrivals(pair.now_us);
        if pair.now_us < end {
            pair.step_client(Vec::new());
        }
        pair.link.cut(true);
    }
    pair.kick_server();
}

#[test]
fn download_goes_on_within_a_few_round_trips_and_keeps_its_window() {
    let mut pair = Pair::new(config(), Quality::perfect(5_000), 1);
    let local = pair.connect(STREAM, DISCARD_INDEX);
    pair.run(200_000);
    let before = pair.of_server(local).expect("it lives");
    let got = pair.of_client(local).map_or(0, |info| info.bytes_in);
    take_over(&mut pair, 60_000);
    let flight = u64::from(before.in_flight);
    assert!(flight > 50_000, "{before:?}");
    let start = pair.now_us;
    assert!(pair.run_until(1_000_000, |pair| {
        pair.of_client(local).is_some_and(|info| info.bytes_in >= got + flight)
    }));
    let us = pair.now_us - start;
    assert!(us <= 40_000, "{us} us for a flight of {flight} bytes, round trip 10 ms");
    let after = pair.of_server(local).expect("it lives");
    assert!(after.cwnd >= before.cwnd, "{} -> {}", before.cwnd, after.cwnd);
    assert_eq!(pair.server.counters().timeouts, 0);
}

#[test]
fn upload_goes_on_after_takeover() {
    let mut pair = Pair::new(config(), Quality::perfect(5_000), 1);
    let local = pair.connect(DISCARD, 2);
    pair.run(200_000);
    take_over(&mut pair, 60_000);
    let before = pair.of_server(local).map_or(0, |info| info.bytes_in);
    assert!(pair.run_until(2_000_000, |pair| {
        pair.of_server(local).is_some_and(|info| info.bytes_in > before + (1 << 20))
    }));
    // The kick's ACK had news, so the client learned of its loss without waiting for its own timer.
    assert_eq!(pair.client.counters().timeouts, 0);
}

#[test]
fn takeovers_at_random_moments_under_loss_lose_no_connection() {
    for seed in 0..12 {
        let mut pair = Pair::new(config(), Quality::lossy(2_000, 10), seed);
        let down = pair.connect(STREAM, DISCARD_INDEX);
        let up = pair.connect(DISCARD, 2);
        pair.run(50_000 + 7_919 * seed);
        take_over(&mut pair, 55_000);
        let (d, u) = (pair.of_client(down), pair.of_server(up));
        let (d, u) = (d.map_or(0, |i| i.bytes_in), u.map_or(0, |i| i.bytes_in));
        let done = pair.run_until(20_000_000, |pair| {
            pair.of_client(down).is_some_and(|info| info.bytes_in > d + (1 << 18))
                && pair.of_server(up).is_some_and(|info| info.bytes_in > u + (1 << 18))
        });
        assert!(done, "seed {seed}");
        assert_eq!(pair.server.counters().resets_sent, 0);
    }
}

#[test]
fn kick_sends_the_first_unacknowledged_segment() {
    let mut peer = Peer::established(config(), STREAM);
    peer.now_us += 30_000;
    let cwnd = peer.info().map(|info| info.cwnd);
    let replies = peer.kick();
    assert_eq!((replies.len(), replies[0].seq, replies[0].len()), (1, 1, 1000));
    assert_eq!(peer.info().map(|info| info.cwnd), cwnd);
}

#[test]
fn kick_sends_an_ack_when_nothing_is_in_flight_and_takes_delayed_ones_along() {
    let mut peer = Peer::established(config(), DISCARD);
    let mut seq = 1;
    for _ in 0..21 {
        peer.send(ACK, seq, 1, &[0; 1000]);
        seq += 1000;
    }
    let replies = peer.kick();
    assert_eq!((replies.len(), replies[0].ack, replies[0].len()), (1, seq, 0));
    assert!(peer.wait(100_000).is_empty(), "the delayed ACK has gone with it");
}

#[test]
fn kick_goes_to_the_most_recently_active_first_and_is_paced() {
    let mut config = config();
    config.max_packets_per_step = 4;
    let mut peer = Peer::new(config, DISCARD);
    let mut isns = Vec::new();
    for port in 0..10 {
        peer.local.port = 50_000 + port;
        peer.now_us += 1000;
        peer.handshake(&sack_options());
        isns.push(peer.their_isn);
    }
    let mut out = Recorder::default();
    let now = Instant::from_micros(peer.now_us + 50_000);
    peer.shard.kick(now, &mut out);
    assert!(out.packets.is_empty(), "others may have more active ones");
    while peer.shard.kicks_next().is_some() {
        let before = out.packets.len();
        peer.shard.kick(now, &mut out);
        assert!(out.packets.len() - before <= 4);
    }
    let ports: Vec<u16> =
        out.packets.iter().map(|packet| parse(packet).flow.local.port - 50_000).collect();
    assert_eq!(ports, (0..10).rev().collect::<Vec<u16>>());
}

/// More than one portion looks at.
const MANY: u16 = 9000;

fn roomy() -> Config {
    let mut config = Config { max_connections: 2 * u32::from(MANY), ..config() };
    config.services.iter_mut().for_each(|service| service.backlog = MANY.into());
    config
}

/// A shard with so many connections, on ports from 1 on, of which every tenth is active.
struct Crowd {
    peer: Peer,
    isns: Vec<SeqNumber>,
}

impl Crowd {
    fn new() -> Crowd {
        let mut crowd = Crowd { peer: Peer::new(roomy(), DISCARD), isns: vec![SeqNumber(0)] };
        for port in 1..=MANY {
            crowd.peer.local.port = port;
            crowd.peer.handshake(&sack_options());
            crowd.isns.push(crowd.peer.their_isn);
        }
        crowd.peer.now_us += 3_000_000;
        (10..=MANY).step_by(10).for_each(|port| drop(crowd.say_something(port)));
        crowd.peer.wait(100_000);
        crowd
    }

    fn say_something(&mut self, port: u16) -> Vec<Reply> {
        self.peer.local.port = port;
        self.peer.their_isn = self.isns[usize::from(port)];
        self.peer.send(ACK, 1, 1, b"x")
    }

    /// The ports that one portion of a kick goes to.
    fn kick(&mut self) -> Vec<u16> {
        let mut out = Recorder::default();
        self.peer.now_us += 10;
        self.peer.shard.kick(Instant::from_micros(self.peer.now_us), &mut out);
        out.packets.iter().map(|packet| parse(packet).flow.local.port).collect()
    }
}

#[test]
fn kick_of_many_connections_takes_many_portions_and_loses_none() {
    let mut crowd = Crowd::new();
    let mut order = crowd.kick();
    let mut portions = 1;
    while crowd.peer.shard.kicks_next().is_some() {
        order.extend(crowd.kick());
        portions += 1;
    }
    assert!(portions > MANY / 256, "{portions}");
    let (active, idle) = order.split_at(usize::from(MANY / 10));
    assert!(active.iter().all(|port| port % 10 == 0) && idle.iter().all(|port| port % 10 != 0));
    order.sort_unstable();
    assert_eq!(order, (1..=MANY).collect::<Vec<u16>>());
    assert_eq!(crowd.peer.shard.counters().kicks, u64::from(MANY));
}

#[test]
fn connection_that_has_something_to_do_is_kicked_with_it_and_not_again() {
    let mut crowd = Crowd::new();
    assert_eq!(crowd.kick(), [], "this portion only looks");
    assert_eq!(crowd.say_something(7).len(), 1);
    assert_eq!(crowd.peer.shard.counters().kicks, 1);
    // One that comes after the takeover needs no kick.
    crowd.peer.local.port = MANY + 1;
    crowd.peer.handshake(&sack_options());
    let mut order = Vec::new();
    while crowd.peer.shard.kicks_next().is_some() {
        order.extend(crowd.kick());
        assert!(crowd.peer.deliver(&[]).is_empty());
    }
    order.sort_unstable();
    let others: Vec<u16> = (1..=MANY).filter(|&port| port != 7).collect();
    assert_eq!(order, others);
}

#[test]
fn kick_under_way_goes_on_in_a_restored_shard() {
    let mut crowd = Crowd::new();
    for portion in 0..20 {
        let mut bytes = Vec::new();
        crowd.peer.shard.save(&mut bytes);
        let mut copy =
            Shard::restore(Arc::new(roomy()), content(), &bytes).expect("a snapshot of ours");
        crowd.kick();
        copy.kick(Instant::from_micros(crowd.peer.now_us), &mut CountingEgress::default());
        assert_eq!(copy.kicks_next(), crowd.peer.shard.kicks_next());
        assert_eq!(copy.full_digest(), crowd.peer.shard.full_digest(), "portion {portion}");
    }
}

#[test]
fn kick_repeats_syn_acks_and_fins_but_leaves_time_wait_alone() {
    let mut peer = Peer::new(config(), ECHO);
    peer.send_with(SYN, 0, 0, &[], sack_options());
    let replies = peer.kick();
    assert_eq!((replies.len(), replies[0].flags), (1, SYN_ACK));

    let mut peer = Peer::established(config(), ECHO);
    peer.send(FIN_ACK, 1, 1, &[]);
    let replies = peer.kick();
    assert_eq!((replies.len(), replies[0].flags.fin(), replies[0].seq), (1, true, 1));

    let mut peer = Peer::established(config(), STREAM_N);
    peer.send(ACK, 1, 1, b"10\n");
    peer.send(FIN_ACK, 4, 12, &[]);
    assert_eq!(peer.info().map(|info| info.state), Some(State::TimeWait));
    assert!(peer.kick().is_empty());
}

#[test]
fn kick_resets_the_backoff_of_the_timeout() {
    let mut peer = Peer::established(config(), STREAM);
    peer.wait(20_000_000);
    let before = peer.info().map_or(0, |info| info.rto_us);
    peer.kick();
    let after = peer.info().map_or(0, |info| info.rto_us);
    assert!(before > 4_000_000 && after <= 1_000_000, "{before} {after}");
}

#[test]
fn flight_lost_in_the_takeover_is_resent_when_the_kick_is_acknowledged() {
    let mut peer = Peer::new(config(), STREAM);
    peer.send_with(SYN, 0, 0, &[], sack_options());
    peer.now_us += 20_000;
    assert_eq!(peer.send(ACK, 1, 1, &[]).len(), 10);
    peer.now_us += 80_000;
    let cwnd = peer.info().map_or(0, |info| info.cwnd);
    peer.kick();
    peer.now_us += 20_000;
    let replies = peer.send(ACK, 1, 1001, &[]);
    let seqs: Vec<i64> = replies.iter().map(|reply| reply.seq).collect();
    let expected: Vec<i64> = (1..10).map(|i| 1 + i * 1000).collect();
    assert_eq!(seqs[..9], expected, "all of the flight at once");
    assert!(peer.info().is_some_and(|info| info.cwnd >= cwnd));
    assert_eq!(peer.shard.counters().recoveries, 0, "losing a node is not congestion");
}

#[test]
fn peer_that_has_everything_gets_no_more_than_the_kick_again() {
    let mut peer = Peer::new(config(), STREAM);
    peer.send_with(SYN, 0, 0, &[], sack_options());
    peer.now_us += 80_000;
    peer.send(ACK, 1, 1, &[]);
    peer.now_us += 80_000;
    peer.kick();
    peer.now_us += 20_000;
    peer.send(ACK, 1, 1 + 10_000, &[]);
    assert_eq!(peer.shard.counters().retransmissions, 1);
}

#[test]
fn out_of_order_data_after_the_takeover_is_sacked_at_once() {
    let mut peer = Peer::established(config(), DISCARD);
    peer.kick();
    let replies = peer.send(ACK, 2001, 1, &[0; 1000]);
    assert_eq!((replies.len(), replies[0].ack), (1, 1));
    assert_eq!(replies[0].sack(peer.isn), [(2001, 3001)]);
}

#[test]
fn idle_connections_work_after_the_takeover() {
    let mut pair = Pair::new(config(), Quality::perfect(1_000), 1);
    let idle = pair.connect(ECHO, DISCARD_INDEX);
    pair.run(5_000_000);
    take_over(&mut pair, 60_000);
    pair.run(10_000_000);
    assert!(pair.is_established(idle));
    let fresh = pair.connect(ECHO, DISCARD_INDEX);
    pair.run(100_000);
    assert!(pair.is_established(fresh));
}
