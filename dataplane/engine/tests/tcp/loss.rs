//! Repair: fast retransmit, RACK, tail loss probes, timeouts, recovery without SACK.

use engine::wire::tcp::Options;

use crate::support::peer::{ACK, Peer, Reply, SYN, plain_options, sack_options};
use crate::support::{DISCARD, STREAM, STREAM_N, config};

const MSS: i64 = 1000;

/// Sequence numbers of the segments with data.
fn data(replies: &[Reply]) -> Vec<i64> {
    replies.iter().filter(|reply| !reply.payload.is_empty()).map(|reply| reply.seq).collect()
}

/// An endless stream with its first 10 segments in flight and a round trip of 20 ms.
fn streaming(options: &engine::wire::tcp::Options) -> Peer {
    let mut peer = Peer::new(config(), STREAM);
    peer.send_with(crate::support::peer::SYN, 0, 0, &[], options.clone());
    peer.now_us += 20_000;
    let replies = peer.send(ACK, 1, 1, &[]);
    assert_eq!(data(&replies).len(), 10, "RFC 6928: ten segments");
    peer.now_us += 20_000;
    peer
}

#[test]
fn window_doubles_in_slow_start() {
    let mut peer = streaming(&sack_options());
    let replies = peer.send(ACK, 1, 1 + 10 * MSS, &[]);
    assert_eq!(data(&replies).len(), 20);
}

#[test]
fn three_sacked_segments_trigger_fast_retransmit_of_the_hole() {
    let mut peer = streaming(&sack_options());
    let cwnd = peer.info().map_or(0, |info| info.cwnd);
    let replies = peer.sack(1, 1, &[(1 + MSS, 1 + 4 * MSS)]);
    assert_eq!(data(&replies)[0], 1, "the hole goes first: {:?}", data(&replies));
    let info = peer.info().expect("it lives");
    assert!(info.ssthresh < cwnd && info.ssthresh >= cwnd / 2, "{info:?}");
    assert_eq!(peer.shard.counters().recoveries, 1);
    // When the hole is filled the recovery ends at the reduced window.
    peer.now_us += 20_000;
    peer.send(ACK, 1, 1 + 10 * MSS, &[]);
    peer.send(ACK, 1, 1 + 20 * MSS, &[]);
    let info = peer.info().expect("it lives");
    assert!(info.cwnd <= cwnd, "{info:?}");
    assert_eq!(peer.shard.counters().timeouts, 0);
}

#[test]
fn several_holes_are_repaired_without_a_timeout() {
    let mut peer = streaming(&sack_options());
    let at = |segment: i64| 1 + segment * MSS;
    let mut resent = data(&peer.sack(1, 1, &[(at(1), at(2)), (at(3), at(4)), (at(5), at(10))]));
    peer.now_us += 20_000;
    for _ in 0..4 {
        peer.now_us += 10_000;
        resent.extend(data(&peer.sack(1, at(1), &[(at(3), at(4)), (at(5), at(10))])));
    }
    for hole in [at(0), at(2), at(4)] {
        assert!(resent.contains(&hole), "{hole} in {resent:?}");
    }
    assert_eq!(peer.shard.counters().timeouts, 0);
}

#[test]
fn late_segment_within_the_reordering_window_is_not_resent() {
    let mut peer = streaming(&sack_options());
    // Segment 0 is overtaken by segment 1 alone, and comes 2 ms later.
    assert!(!data(&peer.sack(1, 1, &[(1 + MSS, 1 + 2 * MSS)])).contains(&1));
    assert!(!data(&peer.wait(2_000)).contains(&1));
    peer.send(ACK, 1, 1 + 2 * MSS, &[]);
    peer.wait(10_000);
    assert_eq!(peer.shard.counters().retransmissions, 0);
}

#[test]
fn missing_segment_is_resent_after_the_reordering_window() {
    let mut peer = streaming(&sack_options());
    peer.sack(1, 1, &[(1 + MSS, 1 + 2 * MSS)]);
    // A quarter of the round trip (RFC 8985 6.2 step 4), and the wheel's tick.
    let replies = peer.wait(7_000);
    assert_eq!(data(&replies).first(), Some(&1));
}

#[test]
fn lost_tail_is_probed_after_two_round_trips() {
    let mut peer = streaming(&sack_options());
    peer.window = 10_000;
    let replies = peer.send(ACK, 1, 1 + 8 * MSS, &[]);
    let last = data(&replies).last().copied().expect("more was sent");
    let start = peer.now_us;
    let probe = loop {
        let replies = peer.wait(1_000);
        if let Some(&seq) = data(&replies).first() {
            break seq;
        }
    };
    let waited = peer.now_us - start;
    assert!((35_000..60_000).contains(&waited), "{waited}");
    assert_eq!(probe, last, "the last segment again, for the window has no room for new data");
    assert_eq!(peer.shard.counters().tail_loss_probes, 1);
    assert_eq!(peer.shard.counters().timeouts, 0);
}

#[test]
fn lost_repair_of_the_last_hole_is_probed_before_the_timeout() {
    let mut peer = streaming(&sack_options());
    // All but the first segment are there.
    peer.window = 10_000;
    let resent = data(&peer.sack(1, 1, &[(1 + MSS, 1 + 10 * MSS)]));
    assert_eq!(resent, [1], "the hole, for the window has no room for more");
    let (start, window) = (peer.now_us, peer.info().map(|info| info.ssthresh));
    let again = loop {
        if let Some(&seq) = data(&peer.wait(1_000)).first() {
            break seq;
        }
    };
    assert_eq!(again, 1);
    assert!(peer.now_us - start < 60_000, "two round trips, not a timeout");
    // One probe, then the timeout.
    assert_eq!(data(&peer.wait(100_000)), []);
    peer.send(ACK, 1, 1 + 10 * MSS, &[]);
    assert_eq!(peer.shard.counters().timeouts, 0);
    assert_eq!(peer.info().map(|info| info.ssthresh), window, "one loss, one reduction");
}

#[test]
fn probe_that_repaired_a_loss_lowers_the_window() {
    let mut peer = Peer::new(config(), STREAM_N);
    peer.handshake(&sack_options());
    peer.send(ACK, 1, 1, b"5000\n");
    let cwnd = peer.info().map_or(0, |info| info.cwnd);
    peer.now_us += 20_000;
    peer.send(ACK, 6, 1 + 4 * MSS, &[]);
    let replies = peer.wait(400_000);
    assert_eq!(data(&replies)[0], 1 + 4 * MSS);
    peer.send(ACK, 6, 1 + 5 * MSS + 1, &[]);
    let info = peer.info().expect("it lives");
    assert!(info.cwnd <= cwnd, "{info:?}");
}

#[test]
fn silence_leads_to_timeout_with_exponential_backoff() {
    let mut peer = streaming(&plain_options());
    let mut times = Vec::new();
    while times.len() < 4 {
        let replies = peer.wait(1_000);
        if data(&replies).first() == Some(&1) {
            times.push(peer.now_us);
            assert_eq!(data(&replies), [1], "one segment after a timeout");
        }
    }
    let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for pair in gaps.windows(2) {
        assert!(pair[1] > pair[0] * 19 / 10 && pair[1] < pair[0] * 21 / 10, "{gaps:?}");
    }
    // Full segments that vanish may be too large for the path (RFC 4821 7.7).
    assert_eq!(peer.info().map(|info| (info.cwnd, info.mss)), Some((512, 512)));
}

#[test]
fn peer_that_never_answers_is_given_up_with_a_reset() {
    let mut config = config();
    config.tcp.max_data_retries = 4;
    let mut peer = Peer::established(config, STREAM);
    let replies = peer.wait(60_000_000);
    assert!(replies.last().is_some_and(|reply| reply.flags.rst()));
    assert_eq!(peer.shard.memory().connections, 0);
    assert_eq!(peer.shard.memory().pool_used, 0);
    assert_eq!(peer.shard.memory().sent_used, 0);
}

#[test]
fn three_duplicate_acks_resend_the_first_segment_to_a_peer_without_sack() {
    let mut peer = streaming(&plain_options());
    assert!(data(&peer.send(ACK, 1, 1, &[])).iter().all(|seq| *seq != 1));
    assert!(data(&peer.send(ACK, 1, 1, &[])).iter().all(|seq| *seq != 1));
    let replies = peer.send(ACK, 1, 1, &[]);
    assert_eq!(data(&replies).first(), Some(&1));
}

/// RFC 6582 3.2: an ACK within the recovery names the next hole.
#[test]
fn partial_acknowledgment_resends_the_next_hole_without_sack() {
    let mut peer = streaming(&plain_options());
    for _ in 0..3 {
        peer.send(ACK, 1, 1, &[]);
    }
    peer.now_us += 20_000;
    let replies = peer.send(ACK, 1, 1 + 3 * MSS, &[]);
    assert_eq!(data(&replies).first(), Some(&(1 + 3 * MSS)));
}

#[test]
fn recovery_after_a_timeout_resends_everything_in_slow_start() {
    let mut peer = streaming(&sack_options());
    // All ten are lost, and the probe too.
    let mut resent = data(&peer.wait(500_000));
    assert!(resent.contains(&1), "{resent:?}");
    // F-RTO (RFC 5682) asks first, with new data, which says nothing for a needless timeout.
    peer.now_us += 20_000;
    let fresh = data(&peer.send(ACK, 1, 1 + MSS, &[]));
    assert_eq!(fresh.len(), 2);
    assert!(fresh[0] > 10 * MSS, "{fresh:?}");
    peer.now_us += 20_000;
    resent.extend(data(&peer.sack(1, 1 + MSS, &[(fresh[0], fresh[1])])));
    for segment in 2..=10 {
        peer.now_us += 10_000;
        resent.extend(data(&peer.send(ACK, 1, 1 + segment * MSS, &[])));
    }
    for segment in 0..10 {
        assert!(resent.contains(&(1 + segment * MSS)), "{segment} in {resent:?}");
    }
    assert_eq!(peer.shard.counters().timeouts, 1);
    assert!(peer.shard.counters().retransmissions >= 10);
}

#[test]
fn data_the_peer_took_back_is_sent_again_after_a_timeout() {
    let mut peer = streaming(&sack_options());
    peer.sack(1, 1, &[(1 + MSS, 1 + 10 * MSS)]);
    // The hole is filled, but the peer has thrown away what it had sacked (RFC 2018 8).
    peer.now_us += 20_000;
    peer.send(ACK, 1, 1 + MSS, &[]);
    let mut resent = Vec::new();
    for _ in 0..20 {
        resent.extend(data(&peer.wait(400_000)));
    }
    assert!(resent.contains(&(1 + MSS)), "{resent:?}");
}

/// RFC 5682 2.1: the answers were only late.
#[test]
fn needless_timeout_is_undone_when_originals_are_acknowledged() {
    let mut peer = streaming(&plain_options());
    let before = peer.info().expect("it lives");
    let resent = data(&peer.wait(400_000));
    assert_eq!(resent, [1]);
    peer.send(ACK, 1, 1 + MSS, &[]);
    peer.now_us += 1_000;
    let replies = data(&peer.send(ACK, 1, 1 + 2 * MSS, &[]));
    assert!(replies.iter().all(|seq| *seq > 10 * MSS), "nothing more is resent: {replies:?}");
    let after = peer.info().expect("it lives");
    assert!(after.cwnd >= before.cwnd && after.ssthresh == u32::MAX, "{after:?}");
    assert_eq!(peer.shard.counters().undone, 1);
}

/// RFC 3522 3.2: the echo of the original's timestamp tells at once.
#[test]
fn needless_retransmission_is_undone_by_the_echo_of_the_original() {
    let mut peer = Peer::new(config(), STREAM);
    peer.ts = Some(1);
    peer.handshake(&sack_options());
    let (before, original) = (peer.info().expect("it lives"), peer.their_ts);
    let mss = i64::from(before.mss);
    peer.now_us += 20_000;
    peer.sack(1, 1, &[(1 + mss, 1 + 4 * mss)]);
    assert_eq!(peer.shard.counters().recoveries, 1);
    peer.now_us += 2_000;
    peer.their_ts = original;
    peer.send(ACK, 1, 1 + 4 * mss, &[]);
    let after = peer.info().expect("it lives");
    assert!(after.cwnd >= before.cwnd && after.ssthresh == u32::MAX, "{after:?}");
    assert_eq!(peer.shard.counters().undone, 1);
}

/// RFC 2883 5: the peer had everything.
#[test]
fn needless_retransmission_is_undone_by_a_report_of_the_duplicate() {
    let mut peer = streaming(&sack_options());
    let before = peer.info().expect("it lives");
    peer.sack(1, 1, &[(1 + MSS, 1 + 4 * MSS)]);
    assert_eq!(peer.shard.counters().retransmissions, 1);
    peer.now_us += 1_000;
    peer.send(ACK, 1, 1 + 10 * MSS, &[]);
    assert!(peer.info().is_some_and(|info| info.ssthresh < before.cwnd));
    peer.now_us += 19_000;
    peer.sack(1, 1 + 10 * MSS, &[(1, 1 + MSS)]);
    let after = peer.info().expect("it lives");
    assert!(after.cwnd >= before.cwnd && after.ssthresh == u32::MAX, "{after:?}");
    assert_eq!(peer.shard.counters().undone, 1);
}

/// Else much of what did arrive would have to be sent again.
#[test]
fn flight_of_which_one_segment_in_twenty_is_lost_is_kept_but_for_these() {
    const SEGMENTS: i64 = 2000;
    let mut config = config();
    config.pool_blocks = 4096;
    for service in &mut config.services {
        (service.recv_buffer_bytes, service.initial_recv_buffer_bytes) = (4 << 20, 4 << 20);
    }
    let mut peer = Peer::new(config, DISCARD);
    peer.send_with(SYN, 0, 0, &[], Options { window_scale: Some(7), ..sack_options() });
    peer.send(ACK, 1, 1, &[0; 1000]);
    let seq = |segment: i64| 1001 + segment * 1000;
    let is_lost = |segment: &i64| segment % 20 == 0;
    for segment in (0..SEGMENTS).filter(|segment| !is_lost(segment)) {
        peer.send(ACK, seq(segment), 1, &[0; 1000]);
    }
    assert_eq!(peer.shard.counters().reassembly_full, 0);
    for segment in (0..SEGMENTS).filter(is_lost) {
        peer.send(ACK, seq(segment), 1, &[0; 1000]);
    }
    let bytes = peer.info().map(|info| info.bytes_in);
    assert_eq!(bytes, Some(1000 * (SEGMENTS as u64 + 1)));
}
