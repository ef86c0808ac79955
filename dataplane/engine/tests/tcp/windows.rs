//! Flow control: closed and small windows, silly windows on both sides, Nagle, growth.

use engine::config::Config;
use engine::time::Instant;
use engine::wire::tcp::Options;

use crate::support::peer::{ACK, Peer, sack_options};
use crate::support::{DISCARD, ECHO, HTTP, STREAM, STREAM_N, config};

#[test]
fn closed_window_is_probed_with_backoff_until_it_opens() {
    let mut peer = Peer::new(config(), STREAM);
    peer.window = 0;
    peer.handshake(&sack_options());
    let mut probes = Vec::new();
    while probes.len() < 3 {
        let replies = peer.wait(10_000);
        for reply in replies {
            // Below the window: it takes no byte, and asks for an ACK.
            assert_eq!((reply.seq, reply.len()), (0, 0));
            probes.push(peer.now_us);
            peer.send(ACK, 1, 1, &[]);
        }
    }
    assert!(probes[2] - probes[1] > (probes[1] - probes[0]) * 19 / 10, "{probes:?}");
    peer.window = 5000;
    let replies = peer.send(ACK, 1, 1, &[]);
    assert_eq!(replies.iter().map(|reply| reply.len()).sum::<usize>(), 5000);
}

#[test]
fn sender_never_exceeds_the_window() {
    let mut peer = Peer::new(config(), STREAM);
    peer.window = 2500;
    let answer = peer.send_with(crate::support::peer::SYN, 0, 0, &[], sack_options());
    assert_eq!(answer.len(), 1);
    let replies = peer.send(ACK, 1, 1, &[]);
    let sent: usize = replies.iter().map(|reply| reply.len()).sum();
    assert!(sent <= 2500, "{sent}");
}

/// The peer sends an old segment again, with a new ACK and the window that is left.
#[test]
fn window_beside_an_ack_of_more_counts_in_a_retransmission_too() {
    let mut peer = Peer::new(config(), ECHO);
    peer.window = 4000;
    peer.handshake(&sack_options());
    let replies = peer.send(ACK, 1, 1, &[1; 1000]);
    assert_eq!(replies.iter().map(|reply| reply.len()).sum::<usize>(), 1000);
    // 1001 to 2000 is lost. What follows has the newest number so far.
    peer.window = 3000;
    peer.send(ACK, 2001, 1, &[1; 1000]);
    peer.window = 2000;
    peer.send(ACK, 1001, 1001, &[1; 1000]);
    assert_eq!(peer.info().map(|info| info.send_window), Some(2000));
}

/// RFC 9293 3.8.6.2.1: no small segments into a small opening.
#[test]
fn sender_waits_for_a_window_worth_a_segment() {
    let mut peer = Peer::new(config(), STREAM);
    peer.window = 10_000;
    peer.handshake(&sack_options());
    peer.window = 100;
    let replies = peer.send(ACK, 1, 10_001, &[]);
    assert!(replies.iter().all(|reply| reply.payload.is_empty()), "{replies:?}");
    // Unless nothing better comes for the time of the override.
    let replies = peer.wait(1_500_000);
    assert_eq!(replies.iter().map(|reply| reply.len()).max(), Some(100));
}

/// RFC 9293 3.8.6.2.2: the window opens in steps worth a segment, and never shrinks.
#[test]
fn receiver_closes_its_window_and_opens_it_in_large_steps() {
    let mut config = config();
    config.services[0].recv_buffer_bytes = 8192;
    config.services[0].send_buffer_bytes = 4096;
    let mut peer = Peer::established(config, ECHO);
    let (mut seq, mut edge) = (1, 1 + 8192);
    // The peer takes no echo, so that both buffers fill up.
    peer.window = 0;
    for _ in 0..20 {
        for reply in peer.send(ACK, seq, 1, &[1; 1000]) {
            let new_edge = reply.ack + i64::from(reply.window);
            assert!(new_edge >= edge, "the right edge moved back");
            seq = seq.max(reply.ack);
            edge = new_edge;
        }
    }
    assert!(edge - seq < 1000, "{edge} {seq}");
    // The peer takes all that was echoed: now there is room again, and the peer is told.
    peer.window = 65_535;
    let replies = peer.send(ACK, seq, 1, &[]);
    let sent: i64 = replies.iter().map(|reply| reply.len() as i64).sum();
    let replies = peer.send(ACK, seq, 1 + sent, &[]);
    let opened = replies.iter().map(|reply| reply.ack + i64::from(reply.window)).max();
    assert!(opened.is_some_and(|opened| opened - edge >= 1000), "{replies:?}");
}

/// The same, when room comes back in crumbs.
#[test]
fn receiver_offers_no_crumbs() {
    let mut config = config();
    config.services[0].recv_buffer_bytes = 8192;
    config.services[0].send_buffer_bytes = 4096;
    let mut peer = Peer::established(config, ECHO);
    peer.window = 8000;
    let mut seq = 1;
    for _ in 0..20 {
        let replies = peer.send(ACK, seq, 1, &[1; 1000]);
        seq = replies.iter().map(|reply| reply.ack).max().unwrap_or(seq).max(seq);
    }
    let edge = |peer: &Peer| seq + i64::from(peer.info().map_or(0, |info| info.recv_window));
    let (start, mut before) = (edge(&peer), edge(&peer));
    for crumb in 1..=40 {
        // Each acknowledgment of 100 bytes lets the service read 100 more.
        peer.send(ACK, seq, 1 + crumb * 100, &[]);
        let now = edge(&peer);
        assert!(now == before || now - before >= 1000, "{before} -> {now}");
        before = now;
    }
    assert!(before - start >= 1000, "but it opens");
}

#[test]
fn data_beyond_the_window_is_cut_off() {
    let mut config = config();
    config.services[0].recv_buffer_bytes = 4096;
    config.services[0].send_buffer_bytes = 4096;
    let mut peer = Peer::established(config, ECHO);
    peer.window = 0;
    let big: Vec<Vec<u8>> = (0..12)
        .map(|i| peer.packet(ACK, 1 + i * 1000, 1, &[0; 1000], Options::default()))
        .collect();
    let replies = peer.deliver(&big);
    let ack = replies.iter().map(|reply| reply.ack).max();
    assert!(ack.is_some_and(|ack| ack <= 1 + 8192), "{ack:?}");
}

#[test]
fn nagle_holds_small_segments_back_while_data_is_in_flight() {
    for (nagle, expected) in [(true, 0), (false, 5)] {
        let mut config = config();
        config.services[0].nagle = nagle;
        let mut peer = Peer::established(config, ECHO);
        let first = peer.send(ACK, 1, 1, b"hello");
        assert_eq!(first[0].len(), 5, "nothing is in flight: it leaves at once");
        let second = peer.send(ACK, 6, 1, b"world");
        assert_eq!(second.iter().map(|reply| reply.len()).sum::<usize>(), expected);
        let third = peer.send(ACK, 11, 6, &[]);
        assert_eq!(third.iter().map(|reply| reply.len()).sum::<usize>(), 5 - expected);
    }
}

#[test]
fn last_short_segment_leaves_at_once_when_closing_in_spite_of_nagle() {
    let mut config = config();
    config.services[3].nagle = true;
    let mut peer = Peer::established(config, STREAM_N);
    let replies = peer.send(ACK, 1, 1, b"2500\n");
    assert_eq!(replies.iter().map(|reply| reply.len()).sum::<usize>(), 2500);
}

#[test]
fn receive_window_grows_up_to_the_limit_of_the_service() {
    let mut peer = Peer::new(config(), DISCARD);
    peer.handshake(&Options { window_scale: Some(7), ..sack_options() });
    let mut seq = 1;
    let mut largest = 0;
    for _ in 0..3000 {
        for reply in peer.send(ACK, seq, 1, &[0; 1000]) {
            largest = largest.max(u32::from(reply.window) << 5);
        }
        seq += 1000;
    }
    assert!((900_000..=1 << 20).contains(&largest), "{largest}");
}

#[test]
fn window_without_scaling_stays_within_16_bits() {
    let mut peer = Peer::established(config(), DISCARD);
    let mut seq = 1;
    for _ in 0..500 {
        peer.send(ACK, seq, 1, &[0; 1000]);
        seq += 1000;
    }
    let window = peer.info().map(|info| info.recv_window);
    assert!(window.is_some_and(|window| window <= 65_535), "{window:?}");
}

/// Between the step that frees a block and the one that a write needs, there is nothing to do.
#[test]
fn starved_connection_waits_for_memory_that_it_can_use() {
    let mut peer = Peer::established(Config { pool_blocks: 16, ..config() }, HTTP);
    let request = b"GET /file.bin HTTP/1.1\r\nHost: h\r\nRange: bytes=0-0\r\n\r\n".repeat(15);
    let mut seq = 1;
    for piece in [&request, &request, &request] {
        peer.send(ACK, seq, 1, piece);
        seq += piece.len() as i64;
    }
    for ack in (1..2000).step_by(100) {
        peer.send(ACK, seq, ack, &[]);
        let now = Instant::from_micros(peer.now_us);
        assert!(peer.shard.next_deadline().is_none_or(|at| at > now), "busy at {ack}");
    }
}
