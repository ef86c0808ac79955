//! Blind attacks (RFC 5961), old duplicates (RFC 7323), keepalive, limits.

use engine::config::Keepalive;
use engine::seq::SeqNumber;
use engine::tcp::State;
use engine::wire::tcp::{Flags, Options};

use crate::support::peer::{ACK, Peer, RST, SYN, plain_options, sack_options};
use crate::support::{DISCARD, ECHO, STREAM, config};

fn state(peer: &Peer) -> Option<State> {
    peer.info().map(|info| info.state)
}

#[test]
fn reset_with_the_very_next_number_ends_the_connection() {
    let mut peer = Peer::established(config(), ECHO);
    assert!(peer.send(RST, 1, 0, &[]).is_empty());
    assert_eq!(state(&peer), None);
    assert_eq!(peer.shard.counters().resets_received, 1);
}

/// RFC 5961 3.2.
#[test]
fn reset_elsewhere_in_the_window_is_challenged() {
    let mut peer = Peer::established(config(), ECHO);
    let replies = peer.send(RST, 100, 0, &[]);
    assert_eq!((replies.len(), replies[0].flags, replies[0].ack), (1, ACK, 1));
    assert_eq!(state(&peer), Some(State::Established));
    assert!(peer.send(RST, 200_000, 0, &[]).is_empty(), "outside of the window: nothing");
}

/// RFC 5961 4.2.
#[test]
fn syn_on_a_connection_is_challenged() {
    let mut peer = Peer::established(config(), ECHO);
    for seq in [0, 1, 100, 200_000] {
        let replies = peer.send_with(SYN, seq, 0, &[], sack_options());
        assert_eq!((replies.len(), replies[0].flags), (1, ACK), "{seq}");
    }
    assert_eq!(state(&peer), Some(State::Established));
}

/// RFC 5961 5.2.
#[test]
fn data_with_an_impossible_acknowledgment_is_not_taken() {
    let mut peer = Peer::established(config(), ECHO);
    for ack in [2, 100_000, -70_000] {
        let replies = peer.send(ACK, 1, ack, b"evil");
        assert!(replies.iter().all(|reply| reply.payload.is_empty()), "{replies:?}");
    }
    assert_eq!(peer.info().map(|info| info.bytes_in), Some(0));
}

/// RFC 5961 7.
#[test]
fn challenge_acks_are_limited_in_each_second() {
    let mut config = config();
    config.tcp.challenge_acks_per_second = 5;
    let mut peer = Peer::established(config, ECHO);
    let answers =
        |peer: &mut Peer| -> usize { (0..20).map(|_| peer.send(RST, 100, 0, &[]).len()).sum() };
    assert_eq!(answers(&mut peer), 5);
    peer.now_us += 1_000_000;
    assert_eq!(answers(&mut peer), 5);
    assert_eq!(peer.shard.counters().challenge_acks_limited, 30);
}

#[test]
fn segment_with_an_old_timestamp_is_dropped_and_acknowledged() {
    let mut peer = Peer::new(config(), ECHO);
    peer.ts = Some(1000);
    peer.handshake(&sack_options());
    peer.ts = Some(2000);
    peer.send(ACK, 1, 1, b"a");
    peer.ts = Some(1999);
    let replies = peer.send(ACK, 2, 1, b"b");
    assert_eq!((replies.len(), replies[0].ack, replies[0].len()), (1, 2, 0));
    assert_eq!(peer.shard.counters().paws_rejected, 1);
    peer.ts = Some(2000);
    assert_eq!(peer.send(ACK, 2, 1, b"b")[0].payload, b"b");
}

/// RFC 7323 5.5: after 24 days the timestamp says nothing.
#[test]
fn old_timestamp_is_believed_again_after_24_days() {
    let mut config = config();
    config.tcp.max_data_retries = 100;
    let mut peer = Peer::new(config, DISCARD);
    peer.ts = Some(1000);
    peer.handshake(&sack_options());
    peer.now_us += 25 * 24 * 3600 * 1_000_000;
    peer.ts = Some(5);
    peer.send(ACK, 1, 1, b"after a long silence");
    assert_eq!(peer.info().map(|info| info.bytes_in), Some(20));
}

#[test]
fn segment_without_the_negotiated_timestamp_is_dropped() {
    let mut peer = Peer::new(config(), ECHO);
    peer.ts = Some(1000);
    peer.handshake(&sack_options());
    peer.ts = None;
    assert!(peer.send(ACK, 1, 1, b"a").is_empty());
    peer.send(RST, 1, 0, &[]);
    assert_eq!(state(&peer), None, "but a reset needs none");
}

#[test]
fn silent_peer_is_probed_and_then_reset() {
    let mut config = config();
    config.services[1].keepalive =
        Some(Keepalive { idle_us: 10_000_000, interval_us: 1_000_000, probes: 3 });
    let mut peer = Peer::established(config, DISCARD);
    assert!(peer.wait(9_900_000).is_empty());
    let probe = peer.wait(200_000);
    assert_eq!((probe.len(), probe[0].seq, probe[0].len()), (1, 0, 0));
    // An answer starts the clock anew.
    peer.send(ACK, 1, 1, &[]);
    assert!(peer.wait(9_800_000).is_empty());
    let replies = peer.wait(10_000_000);
    let resets = replies.iter().filter(|reply| reply.flags.rst()).count();
    assert_eq!((replies.len(), resets), (4, 1));
    assert_eq!(state(&peer), None);
    assert_eq!(peer.shard.counters().keepalive_timeouts, 1);
}

#[test]
fn idle_connection_is_aborted_after_the_timeout_of_its_service() {
    let mut config = config();
    config.services[1].idle_timeout_us = Some(5_000_000);
    let mut peer = Peer::established(config, DISCARD);
    peer.wait(4_000_000);
    peer.send(ACK, 1, 1, b"x");
    peer.wait(4_900_000);
    assert_eq!(state(&peer), Some(State::Established));
    let replies = peer.wait(200_000);
    assert!(replies.iter().any(|reply| reply.flags.rst()));
    assert_eq!(state(&peer), None);
}

/// RFC 4987 3.3.
#[test]
fn backlog_of_a_service_is_bounded_and_the_oldest_makes_room() {
    let mut config = config();
    config.services[0].backlog = 3;
    let mut peer = Peer::new(config, ECHO);
    let mut answered = 0;
    for port in 50_000..50_010 {
        peer.local.port = port;
        answered += peer.send_with(SYN, 0, 0, &[], plain_options()).len();
    }
    assert_eq!((answered, peer.shard.memory().half_open), (10, 3));
    assert_eq!(peer.shard.counters().half_open_recycled, 7);
    // The newest one completes its handshake, which makes room for one more.
    peer.send(ACK, 1, 1, &[]);
    assert_eq!((state(&peer), peer.shard.memory().half_open), (Some(State::Established), 2));
    peer.local.port = 50_005;
    peer.send_with(SYN, 0, 0, &[], plain_options());
    assert_eq!(peer.shard.counters().half_open_recycled, 7);
}

#[test]
fn connections_are_bounded() {
    let mut config = config();
    config.max_connections = 3;
    let mut peer = Peer::new(config, ECHO);
    for port in 50_000..50_010 {
        peer.local.port = port;
        peer.send_with(SYN, 0, 0, &[], plain_options());
    }
    assert_eq!(peer.shard.memory().connections, 3);
    let refused: Vec<_> = peer.shard.services()[0].refused.iter().filter(|r| r.1 > 0).collect();
    assert_eq!(refused, [("full", 7)]);
}

#[test]
fn exhausted_pool_drops_data_and_takes_it_when_it_comes_again() {
    let mut config = config();
    config.pool_blocks = 16;
    let mut peer = Peer::established(config, ECHO);
    peer.window = 0;
    let mut seq = 1;
    for _ in 0..60 {
        let replies = peer.send(ACK, seq, 1, &[1; 1000]);
        seq = replies.iter().map(|reply| reply.ack).max().unwrap_or(seq).max(seq);
    }
    assert!(peer.shard.counters().pool_exhausted > 0);
    assert!(peer.shard.memory().pool_used <= 16);
    // The peer takes what was echoed, bit by bit, and everything moves on.
    peer.window = 65_535;
    let (mut got, end) = (1, seq + 20_000);
    for _ in 0..500 {
        let replies = if seq < end {
            peer.send(ACK, seq, got, &[1; 1000])
        } else {
            peer.send(ACK, seq, got, &[])
        };
        for reply in replies {
            seq = seq.max(reply.ack);
            if reply.seq == got {
                got += reply.len() as i64;
            }
        }
        peer.now_us += 1000;
    }
    assert!(seq >= end && got == seq, "{seq} {got} {end}");
}

/// Turns the peer to another one of its connections.
fn turn_to(peer: &mut Peer, (port, their_isn): (u16, SeqNumber), window: u16) {
    (peer.local.port, peer.their_isn, peer.window) = (port, their_isn, window);
}

/// Connections of one peer with the echo service, on a shard with a small pool.
fn connections(count: u16, pool_blocks: u32) -> (Peer, Vec<(u16, SeqNumber)>) {
    let mut config = config();
    config.pool_blocks = pool_blocks;
    let mut peer = Peer::new(config, ECHO);
    let mut all = Vec::new();
    for _ in 0..count {
        peer.local.port += 1;
        peer.handshake(&sack_options());
        all.push((peer.local.port, peer.their_isn));
    }
    (peer, all)
}

/// Sends to a service that cannot answer, until it takes no more; returns where that is.
fn fill(peer: &mut Peer, connection: (u16, SeqNumber)) -> i64 {
    turn_to(peer, connection, 0);
    let mut seq = 1;
    for _ in 0..300 {
        let replies = peer.send(ACK, seq, 1, &[1; 1000]);
        seq = replies.iter().map(|reply| reply.ack).max().unwrap_or(seq).max(seq);
    }
    seq
}

#[test]
fn an_echo_goes_on_while_other_connections_take_what_it_frees() {
    let (mut peer, all) = connections(8, 64);
    let seq = fill(&mut peer, all[0]);
    let mut others: Vec<_> =
        all[1..].iter().map(|other| (*other, fill(&mut peer, *other))).collect();
    let mut got = 1;
    for _ in 0..200 {
        turn_to(&mut peer, all[0], 1_000);
        for reply in peer.send(ACK, seq, got, &[]) {
            if reply.seq == got {
                got += reply.len() as i64;
            }
        }
        for (other, other_seq) in &mut others {
            turn_to(&mut peer, *other, 0);
            for reply in peer.send(ACK, *other_seq, 1, &[2; 1000]) {
                *other_seq = reply.ack.max(*other_seq);
            }
        }
        peer.now_us += 1000;
    }
    assert!(peer.shard.memory().pool_used > 60, "{:?}", peer.shard.memory());
    assert_eq!(got, seq, "all that was taken comes back");
}

#[test]
fn a_gap_is_filled_even_if_what_waits_behind_it_must_go() {
    let (mut peer, all) = connections(2, 16);
    turn_to(&mut peer, all[0], 65_535);
    for number in 1..20 {
        peer.send(ACK, 1 + 1000 * number, 1, &[2; 1000]);
    }
    fill(&mut peer, all[1]);
    assert!(peer.shard.memory().pool_used >= 15);
    turn_to(&mut peer, all[0], 65_535);
    let replies = peer.send(ACK, 1, 1, &[2; 1000]);
    assert_eq!(replies.iter().map(|reply| reply.ack).max(), Some(1001), "{replies:?}");
}

#[test]
fn exhausted_scoreboard_slows_down_but_stops_nobody() {
    let mut config = config();
    config.tx_segments = 64;
    let mut peer = Peer::new(config, STREAM);
    let mut first = None;
    for port in 50_000..50_008 {
        peer.local.port = port;
        peer.handshake(&plain_options());
        first.get_or_insert(peer.their_isn);
    }
    let first = first.expect("there were some");
    assert!(peer.shard.memory().sent_used <= 64);
    assert!(peer.shard.counters().scoreboard_exhausted > 0);
    // All have something in flight; what one acknowledges goes to the one that waits longest.
    let in_flight = |peer: &Peer| -> Vec<u32> {
        peer.shard.connections(0).map(|info| info.in_flight).collect()
    };
    assert!(in_flight(&peer).iter().all(|bytes| *bytes > 0), "{:?}", in_flight(&peer));
    peer.local.port = 50_000;
    peer.their_isn = first;
    let before = in_flight(&peer)[6];
    peer.send(ACK, 1, 1 + 10_000, &[]);
    assert!(in_flight(&peer)[6] > before, "{:?}", in_flight(&peer));
}

#[test]
fn one_bulk_stream_does_not_starve_the_others() {
    let mut config = config();
    config.max_packets_per_step = 32;
    config.tcp.quantum_packets = 8;
    config.tcp.initial_cwnd = 1000;
    let mut peer = Peer::new(config, STREAM);
    let syns: Vec<Vec<u8>> = (0..4)
        .map(|i| {
            peer.local.port = 50_000 + i;
            peer.packet(SYN, 0, 0, &[], Options { window_scale: Some(7), ..sack_options() })
        })
        .collect();
    peer.deliver(&syns);
    peer.now_us += 200_000;
    let mut isns: Vec<_> = Vec::new();
    for i in 0..4 {
        peer.local.port = 50_000 + i;
        let replies = peer.send_with(SYN, 0, 0, &[], sack_options());
        assert_eq!(replies.len(), 1);
        isns.push(peer.their_isn);
    }
    let acks: Vec<Vec<u8>> = (0..4)
        .map(|i| {
            peer.local.port = 50_000 + i;
            peer.their_isn = isns[usize::from(i)];
            peer.packet(ACK, 1, 1, &[], Options::default())
        })
        .collect();
    let replies = peer.deliver(&acks);
    assert_eq!(replies.len(), 32, "the budget of a step");
    let sent: Vec<u64> = peer.shard.connections(0).map(|info| u64::from(info.in_flight)).collect();
    assert_eq!(sent, [8000; 4]);
    assert_eq!(peer.shard.next_deadline(), Some(peer.shard.now()), "there is more to send");
}

#[test]
fn idle_connection_costs_less_than_a_kibibyte() {
    let mut config = config();
    config.max_connections = 10_000;
    let peer = Peer::new(config, ECHO);
    let memory = peer.shard.memory();
    assert!(memory.bytes_per_connection <= 1024, "{memory:?}");
}

#[test]
fn garbage_never_panics() {
    let mut chance = crate::support::Chance(1);
    let mut peer = Peer::established(config(), ECHO);
    for _ in 0..20_000 {
        let flags = Flags(chance.next() as u8);
        let near = |chance: &mut crate::support::Chance| {
            let span = 1 << chance.below(33);
            chance.below(span) as i64 - (span / 2) as i64
        };
        let (seq, ack) = (near(&mut chance), near(&mut chance));
        let data = vec![0; chance.below(100) as usize];
        let block =
            (peer.their_isn + near(&mut chance) as u32, peer.their_isn + near(&mut chance) as u32);
        let mut options = Options::default();
        if chance.one_in(3) {
            options.sack.push(block);
        }
        if chance.one_in(5) {
            options.mss = Some(chance.next() as u16);
            options.window_scale = Some(chance.next() as u8);
        }
        peer.window = chance.next() as u16;
        peer.send_with(flags, seq, ack, &data, options);
        if chance.one_in(10) {
            peer.wait(chance.below(1_000_000));
        }
        if chance.one_in(50) {
            peer.local.port = 50_000 + chance.below(4) as u16;
        }
    }
}

/// What one service may hold is no other's loss, and its own connections go on once it has room.
#[test]
fn memory_of_a_service_is_bounded() {
    let mut config = config();
    config.services[0].limits.max_blocks = Some(32);
    let mut peer = Peer::established(config, ECHO);
    // Whoever reads nothing makes the echo keep what it cannot send.
    peer.window = 0;
    let mut seq = 1;
    for _ in 0..100 {
        let replies = peer.send(ACK, seq, 1, &[1; 1000]);
        seq = replies.iter().map(|reply| reply.ack).max().unwrap_or(seq).max(seq);
    }
    let held = peer.shard.blocks_of(0);
    assert!((20..=32).contains(&held), "{held}");
    assert_eq!(held, peer.shard.memory().pool_used);
    let (greedy, iss) = (peer.local.port, peer.their_isn);
    peer.local.port += 1;
    assert!(peer.send_with(SYN, 0, 0, &[], plain_options()).is_empty());
    let refused: Vec<_> = peer.shard.services()[0].refused.iter().filter(|r| r.1 > 0).collect();
    assert_eq!(refused, [("memory", 1)]);
    // Another service.
    peer.remote.port = DISCARD;
    peer.window = 65_535;
    peer.handshake(&sack_options());
    peer.send(ACK, 1, 1, &[2; 1000]);
    assert_eq!(peer.info().map(|info| (info.bytes_in, info.recv_queue)), Some((1000, 0)));
    // The first one begins to read.
    (peer.local.port, peer.remote.port, peer.their_isn) = (greedy, ECHO, iss);
    let (mut read, end) = (1, seq);
    let mut replies = peer.send(ACK, seq, 1, &[]);
    for _ in 0..1000 {
        for reply in &replies {
            read = read.max(reply.seq + reply.len() as i64);
        }
        replies = peer.send(ACK, seq, read, &[]);
        replies.extend(peer.wait(100_000));
    }
    assert_eq!((read, peer.shard.blocks_of(0)), (end, 0));
}
