//! Opening: passive, active, simultaneous; options; initial numbers.

use engine::tcp::State;
use engine::wire::tcp::{Flags, Options, Timestamps};

use crate::support::peer::{ACK, Peer, RST_ACK, SYN, SYN_ACK, plain_options, sack_options};
use crate::support::{DISCARD, DISCARD_INDEX, ECHO, STREAM_N, config};

#[test]
fn syn_is_answered_and_the_third_segment_establishes() {
    let mut peer = Peer::new(config(), ECHO);
    let answer = peer.handshake(&sack_options());
    assert_eq!((answer.seq, answer.ack, answer.options.mss), (0, 1, Some(1460)));
    assert_eq!(peer.info().map(|info| info.state), Some(State::Established));
    assert_eq!(peer.shard.counters().established, 1);
}

#[test]
fn options_are_answered_only_when_offered() {
    let mut peer = Peer::new(config(), ECHO);
    let answer = peer.handshake(&plain_options());
    let only_mss = Options { mss: Some(1460), ..Options::default() };
    assert_eq!(answer.options, only_mss);

    let mut peer = Peer::new(config(), ECHO);
    peer.ts = Some(77);
    let all = Options { window_scale: Some(7), ..sack_options() };
    let answer = peer.handshake(&all).options;
    // 1 MiB of receive buffer needs a shift of 5 (RFC 7323 2.2).
    assert_eq!((answer.sack_permitted, answer.window_scale), (true, Some(5)));
    assert_eq!(answer.timestamps.map(|timestamps| timestamps.echo), Some(77));
}

#[test]
fn segment_size_follows_the_peer_and_leaves_room_for_timestamps() {
    let mut peer = Peer::new(config(), ECHO);
    peer.ts = Some(1);
    peer.handshake(&sack_options());
    assert_eq!(peer.info().map(|info| info.mss), Some(988));
    let mut peer = Peer::new(config(), ECHO);
    peer.handshake(&Options::default());
    // RFC 9293 3.7.1: 536 for a peer that names none.
    assert_eq!(peer.info().map(|info| info.mss), Some(536));
}

#[test]
fn repeated_syn_gets_the_same_answer_again() {
    let mut peer = Peer::new(config(), ECHO);
    let first = peer.send_with(SYN, 0, 0, &[], sack_options());
    let at_once = peer.send_with(SYN, 0, 0, &[], sack_options());
    peer.now_us += 200_000;
    let again = peer.send_with(SYN, 0, 0, &[], sack_options());
    assert_eq!((first.len(), at_once.len(), again.len()), (1, 0, 1));
    assert_eq!((again[0].seq, again[0].ack, again[0].flags), (0, 1, SYN_ACK));
    assert_eq!(peer.shard.memory().connections, 1);
}

#[test]
fn unanswered_syn_ack_is_repeated_with_backoff_and_given_up() {
    let mut peer = Peer::new(config(), ECHO);
    peer.send_with(SYN, 0, 0, &[], sack_options());
    assert_eq!(peer.wait(990_000).len(), 0);
    assert_eq!(peer.wait(20_000).len(), 1);
    assert_eq!(peer.wait(1_980_000).len(), 0);
    assert_eq!(peer.wait(40_000).len(), 1);
    assert!(peer.wait(200_000_000).iter().all(|reply| reply.flags == SYN_ACK));
    assert_eq!(peer.shard.memory().connections, 0);
    assert_eq!(peer.shard.counters().gave_up, 1);
}

#[test]
fn wrong_acknowledgment_of_the_syn_is_reset() {
    let mut peer = Peer::new(config(), ECHO);
    peer.send_with(SYN, 0, 0, &[], sack_options());
    let replies = peer.send(ACK, 1, 1000, &[]);
    assert_eq!(replies.len(), 1);
    assert_eq!((replies[0].flags, replies[0].seq), (Flags::RST, 1000));
    assert_eq!(peer.info().map(|info| info.state), Some(State::SynReceived));
}

#[test]
fn data_on_the_third_segment_is_delivered() {
    let mut peer = Peer::new(config(), ECHO);
    peer.send_with(SYN, 0, 0, &[], sack_options());
    let replies = peer.send(ACK, 1, 1, b"hello");
    assert_eq!(replies.len(), 1);
    assert_eq!((replies[0].ack, replies[0].payload.as_slice()), (6, &b"hello"[..]));
}

#[test]
fn active_open_completes_and_takes_options() {
    let mut peer = Peer::new(config(), DISCARD);
    let syn = peer.be_connected(DISCARD_INDEX);
    assert_eq!(syn.len(), 1);
    assert_eq!(syn[0].flags, SYN);
    assert!(syn[0].options.sack_permitted && syn[0].options.timestamps.is_some());
    let replies = peer.send_with(SYN_ACK, 0, 1, &[], sack_options());
    assert_eq!(replies.len(), 1);
    assert_eq!((replies[0].flags, replies[0].seq, replies[0].ack), (ACK, 1, 1));
    assert_eq!(peer.info().map(|info| info.state), Some(State::Established));
}

#[test]
fn window_of_a_syn_ack_is_not_scaled() {
    let mut peer = Peer::new(config(), DISCARD);
    peer.be_connected(DISCARD_INDEX);
    peer.window = 1000;
    let options = Options { window_scale: Some(7), ..sack_options() };
    peer.send_with(SYN_ACK, 0, 1, &[], options);
    assert_eq!(peer.info().map(|info| info.send_window), Some(1000));
}

#[test]
fn refused_active_open_is_forgotten() {
    let mut peer = Peer::new(config(), DISCARD);
    peer.be_connected(DISCARD_INDEX);
    let replies = peer.send(RST_ACK, 0, 1, &[]);
    assert_eq!((replies.len(), peer.shard.memory().connections), (0, 0));
}

#[test]
fn reset_that_does_not_acknowledge_our_syn_is_ignored() {
    let mut peer = Peer::new(config(), DISCARD);
    peer.be_connected(DISCARD_INDEX);
    peer.send(RST_ACK, 0, 77, &[]);
    assert_eq!(peer.info().map(|info| info.state), Some(State::SynSent));
}

/// RFC 9293 3.5, Figure 7.
#[test]
fn simultaneous_open_establishes_one_connection() {
    let mut peer = Peer::new(config(), DISCARD);
    peer.be_connected(DISCARD_INDEX);
    let replies = peer.send_with(SYN, 0, 0, &[], sack_options());
    assert_eq!(replies.len(), 1);
    assert_eq!((replies[0].flags, replies[0].seq, replies[0].ack), (SYN_ACK, 0, 1));
    peer.send_with(SYN_ACK, 0, 1, &[], sack_options());
    peer.send(ACK, 1, 1, &[]);
    assert_eq!(peer.info().map(|info| info.state), Some(State::Established));
}

#[test]
fn initial_numbers_differ_by_flow_and_grow_with_time() {
    let isn = |port, now_us| {
        let mut peer = Peer::new(config(), ECHO);
        peer.local.port = port;
        peer.now_us = now_us;
        peer.send_with(SYN, 0, 0, &[], sack_options());
        peer.their_isn
    };
    assert_ne!(isn(50_000, 1_000_000), isn(50_001, 1_000_000));
    // RFC 6528 3: a clock of 4 µs.
    assert_eq!(isn(50_000, 5_000_000) - isn(50_000, 1_000_000), 1_000_000);
}

#[test]
fn segment_for_no_connection_is_reset() {
    let mut peer = Peer::new(config(), 4444);
    let replies = peer.send_with(SYN, 0, 0, &[], sack_options());
    assert_eq!((replies.len(), replies[0].flags, replies[0].ack), (1, RST_ACK, 1));
    let mut peer = Peer::new(config(), ECHO);
    let replies = peer.send(ACK, 5, 99, b"late");
    assert_eq!((replies.len(), replies[0].flags, replies[0].seq), (1, Flags::RST, 99));
    assert!(peer.send(Flags::RST, 5, 0, &[]).is_empty(), "a reset is never answered");
}

#[test]
fn requested_stream_sends_the_pattern_and_closes() {
    let mut peer = Peer::established(config(), STREAM_N);
    let replies = peer.send(ACK, 1, 1, b"2500\n");
    let bytes: Vec<u8> = replies.iter().flat_map(|reply| reply.payload.clone()).collect();
    let expected: Vec<u8> = (0..2500).map(crate::support::pattern).collect();
    assert_eq!(bytes, expected);
    assert!(replies.last().is_some_and(|reply| reply.flags.fin()));
}

#[test]
fn timestamps_are_echoed() {
    let mut peer = Peer::new(config(), ECHO);
    peer.ts = Some(1000);
    peer.handshake(&sack_options());
    peer.ts = Some(1234);
    let replies = peer.send(ACK, 1, 1, b"x");
    let echoed = replies[0].options.timestamps.map(|t: Timestamps| t.echo);
    assert_eq!(echoed, Some(1234));
}
