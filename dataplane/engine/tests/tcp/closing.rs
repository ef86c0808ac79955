//! Closing: in either order, at once, half; TIME-WAIT; aborts.

use engine::config::Config;
use engine::tcp::State;
use engine::wire::tcp::{Flags, Options};

use crate::support::peer::{ACK, FIN_ACK, Peer, SYN, SYN_ACK, sack_options};
use crate::support::{DISCARD, DISCARD_INDEX, ECHO, HTTP, STREAM_N, config};

fn state(peer: &Peer) -> Option<State> {
    peer.info().map(|info| info.state)
}

#[test]
fn peer_closes_first() {
    let mut peer = Peer::established(config(), ECHO);
    let replies = peer.send(FIN_ACK, 1, 1, &[]);
    assert_eq!(replies.len(), 1, "the ACK rides on our FIN: {replies:?}");
    assert_eq!((replies[0].flags.fin(), replies[0].ack), (true, 2));
    assert_eq!(state(&peer), Some(State::LastAck));
    assert!(peer.send(ACK, 2, 2, &[]).is_empty());
    assert_eq!(state(&peer), None);
    assert_eq!(peer.shard.counters().closed, 1);
}

#[test]
fn we_close_first_and_wait_out_late_segments() {
    let mut peer = Peer::established(config(), STREAM_N);
    let replies = peer.send(ACK, 1, 1, b"10\n");
    assert!(replies[0].flags.fin());
    assert_eq!(state(&peer), Some(State::FinWait1));
    peer.send(ACK, 4, 12, &[]);
    assert_eq!(state(&peer), Some(State::FinWait2));
    let replies = peer.send(FIN_ACK, 4, 12, &[]);
    assert_eq!((replies.len(), replies[0].ack), (1, 5));
    assert_eq!(state(&peer), Some(State::TimeWait));
    // The last ACK was lost: the FIN comes again.
    assert_eq!(peer.send(FIN_ACK, 4, 12, &[]).len(), 1);
    // 2 MSL of a second each, from the last FIN on.
    peer.wait(1_990_000);
    assert_eq!(state(&peer), Some(State::TimeWait));
    peer.wait(20_000);
    assert_eq!(state(&peer), None);
}

#[test]
fn both_close_at_once() {
    let mut peer = Peer::established(config(), STREAM_N);
    peer.send(ACK, 1, 1, b"10\n");
    // Their FIN crosses ours.
    peer.send(FIN_ACK, 4, 11, &[]);
    assert_eq!(state(&peer), Some(State::Closing));
    peer.send(ACK, 5, 12, &[]);
    assert_eq!(state(&peer), Some(State::TimeWait));
}

#[test]
fn fin_that_acknowledges_our_fin_leads_straight_to_time_wait() {
    let mut peer = Peer::established(config(), STREAM_N);
    peer.send(ACK, 1, 1, b"10\n");
    peer.send(FIN_ACK, 4, 12, &[]);
    assert_eq!(state(&peer), Some(State::TimeWait));
}

/// The peer has closed its direction and still gets all that it asked for.
#[test]
fn data_flows_to_a_peer_that_has_closed() {
    let mut peer = Peer::established(config(), STREAM_N);
    let replies = peer.send(FIN_ACK, 1, 1, b"100000\n");
    let mut got: i64 = replies.iter().map(|reply| reply.len() as i64).sum();
    assert_eq!((replies[0].ack, got), (9, 10_000));
    let mut fin = false;
    while !fin {
        let replies = peer.send(ACK, 9, 1 + got, &[]);
        assert!(!replies.is_empty(), "stalled at {got}");
        got += replies.iter().map(|reply| reply.len() as i64).sum::<i64>();
        fin = replies.iter().any(|reply| reply.flags.fin());
    }
    assert_eq!(got, 100_000);
    assert_eq!(state(&peer), Some(State::LastAck));
}

/// We have closed our direction, and the peer goes on sending.
#[test]
fn data_from_a_peer_is_taken_after_our_fin() {
    let mut peer = Peer::established(config(), STREAM_N);
    peer.send(ACK, 1, 1, b"10\n");
    peer.send(ACK, 4, 12, &[]);
    assert_eq!(state(&peer), Some(State::FinWait2));
    let mut seq = 4;
    for _ in 0..50 {
        let replies = peer.send(ACK, seq, 12, &[7; 1000]);
        seq += 1000;
        assert!(replies.iter().all(|reply| reply.ack == seq));
    }
    assert_eq!(peer.info().map(|info| info.bytes_in), Some(50_003));
    peer.send(FIN_ACK, seq, 12, &[]);
    assert_eq!(state(&peer), Some(State::TimeWait));
}

#[test]
fn fin_before_its_turn_waits_for_the_data_before_it() {
    let mut peer = Peer::established(config(), ECHO);
    peer.send(FIN_ACK, 4, 1, b"def");
    assert_eq!(state(&peer), Some(State::Established));
    let replies = peer.send(ACK, 1, 1, b"abc");
    let bytes: Vec<u8> = replies.iter().flat_map(|reply| reply.payload.clone()).collect();
    assert_eq!((bytes.as_slice(), replies[0].ack), (&b"abcdef"[..], 8));
    assert_eq!(state(&peer), Some(State::LastAck));
}

#[test]
fn lost_fin_is_sent_again() {
    let mut peer = Peer::established(config(), ECHO);
    peer.send(FIN_ACK, 1, 1, &[]);
    let replies = peer.wait(1_200_000);
    assert!(!replies.is_empty());
    assert!(replies.iter().all(|reply| reply.flags.fin() && reply.seq == 1), "{replies:?}");
}

#[test]
fn peer_that_never_closes_is_forgotten_in_fin_wait_2() {
    let mut peer = Peer::established(config(), STREAM_N);
    peer.send(ACK, 1, 1, b"10\n");
    peer.send(ACK, 4, 12, &[]);
    peer.wait(59_000_000);
    assert_eq!(state(&peer), Some(State::FinWait2));
    peer.wait(2_000_000);
    assert_eq!(state(&peer), None);
}

#[test]
fn newer_syn_takes_over_a_flow_in_time_wait() {
    let mut peer = Peer::established(config(), STREAM_N);
    peer.send(ACK, 1, 1, b"10\n");
    peer.send(FIN_ACK, 4, 12, &[]);
    assert_eq!(state(&peer), Some(State::TimeWait));
    let last = peer.their_isn + 12;
    // An old SYN is answered with an ACK and opens nothing.
    let replies = peer.send_with(SYN, 0, 0, &[], sack_options());
    assert_eq!((replies[0].flags, state(&peer)), (ACK, Some(State::TimeWait)));
    let replies = peer.send_with(SYN, 1000, 0, &[], sack_options());
    assert_eq!((replies.len(), replies[0].flags), (1, SYN_ACK));
    assert!(peer.their_isn.gt(last), "numbers go on from where the old connection ended");
    assert_eq!(state(&peer), Some(State::SynReceived));
    assert_eq!(peer.shard.memory().connections, 1);
}

#[test]
fn reset_does_not_end_time_wait() {
    let mut peer = Peer::established(config(), STREAM_N);
    peer.send(ACK, 1, 1, b"10\n");
    peer.send(FIN_ACK, 4, 12, &[]);
    peer.send(Flags::RST, 5, 0, &[]);
    assert_eq!(state(&peer), Some(State::TimeWait));
}

#[test]
fn time_waits_make_room_for_new_connections() {
    let mut config = config();
    config.max_connections = 2;
    let mut peer = Peer::new(config, STREAM_N);
    for port in 50_000..50_010 {
        peer.local.port = port;
        peer.handshake(&sack_options());
        peer.send(ACK, 1, 1, b"10\n");
        peer.send(FIN_ACK, 4, 12, &[]);
        assert_eq!(state(&peer), Some(State::TimeWait));
    }
    assert_eq!(peer.shard.memory().connections, 2);
    assert_eq!(peer.shard.counters().time_wait_recycled, 8);
}

#[test]
fn service_that_aborts_resets_the_connection() {
    let mut peer = Peer::established(config(), STREAM_N);
    let replies = peer.send(ACK, 1, 1, b"no number\n");
    assert_eq!(replies.len(), 1);
    assert!(replies[0].flags.rst());
    assert_eq!((replies[0].seq, state(&peer)), (1, None));
}

#[test]
fn active_side_closes_when_its_peer_has() {
    let mut peer = Peer::new(config(), DISCARD);
    peer.be_connected(DISCARD_INDEX);
    peer.send_with(SYN_ACK, 0, 1, &[], Options::default());
    let replies = peer.send(FIN_ACK, 1, 1, &[]);
    assert!(replies[0].flags.fin());
    peer.send(ACK, 2, 2, &[]);
    assert_eq!(state(&peer), None);
}

/// Each answer is a head in a block and a byte of a file: more pieces than a packet is made of.
#[test]
fn fin_comes_behind_all_pieces_however_small() {
    let mut peer = Peer::new(Config { mtu: 9000, ..config() }, HTTP);
    peer.handshake(&Options { mss: Some(8000), ..sack_options() });
    let line = "GET /file.bin HTTP/1.1\r\nHost: h\r\nRange: bytes=0-0\r\n";
    let requests = [format!("{line}\r\n").repeat(7), format!("{line}Connection: close\r\n\r\n")];
    let replies = peer.send(ACK, 1, 1, requests.concat().as_bytes());
    let bytes: Vec<u8> = replies.iter().flat_map(|reply| reply.payload.clone()).collect();
    assert_eq!(String::from_utf8_lossy(&bytes).matches("HTTP/1.1 206 ").count(), 8);
    assert!(bytes.len() < 8000, "room for all of it in one packet");
    let (last, others) = replies.split_last().expect("answers");
    assert!(last.flags.fin() && last.seq + last.len() as i64 == 1 + bytes.len() as i64);
    assert!(others.iter().all(|reply| !reply.flags.fin()), "{replies:?}");
}
