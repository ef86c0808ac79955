//! A node takes over from one that let payload leave early (commit rule SWFR): its peers have, and
//! acknowledge, what it has not produced yet.

use engine::config::{Commit, Config, Ecn};
use engine::egress::CountingEgress;
use engine::shard::Shard;
use engine::tcp::State;
use engine::time::Instant;

use crate::support::link::Quality;
use crate::support::pair::Pair;
use crate::support::peer::{ACK, FIN_ACK, Peer, RST_ACK};
use crate::support::{
    DISCARD_INDEX, ECHO, HTTP, STREAM, STREAM_N, config, content, parse, pattern, shard,
};

fn swift() -> Config {
    let mut config = config();
    config.services.iter_mut().for_each(|service| service.commit = Commit::Swfr);
    config
}

/// The predecessor has died, and nothing that it did since the handshake is known.
fn heir(config: Config, port: u16) -> Peer {
    let mut peer = Peer::established(config, port);
    peer.now_us += 60_000;
    peer.shard.take_over(Instant::from_micros(peer.now_us));
    peer.kick();
    peer
}

#[test]
fn answer_that_the_peer_has_already_is_produced_and_not_sent() {
    let mut peer = heir(swift(), ECHO);
    // It had its six bytes back, but no acknowledgment of them: so it sends them again.
    let replies = peer.send(ACK, 1, 7, b"abcdef");
    assert_eq!(replies.len(), 1, "{replies:?}");
    assert_eq!((replies[0].seq, replies[0].ack, replies[0].len()), (7, 7, 0));
    assert_eq!(peer.shard.check(), Ok(()));
    let replies = peer.send(ACK, 7, 7, b"xyz");
    assert_eq!((replies[0].seq, replies[0].payload.as_slice()), (7, &b"xyz"[..]));
    assert_eq!(peer.shard.counters().bytes_out, 3);
}

#[test]
fn only_what_the_peer_lacks_is_sent() {
    let mut peer = heir(swift(), ECHO);
    let replies = peer.send(ACK, 1, 5, b"abcdef");
    assert_eq!((replies[0].seq, replies[0].payload.as_slice()), (5, &b"ef"[..]));
    assert_eq!(peer.shard.check(), Ok(()));
}

#[test]
fn request_may_come_in_pieces_and_acknowledgments_grow() {
    let mut peer = heir(swift(), ECHO);
    for (seq, ack, piece) in [(1, 5, b"ab"), (3, 6, b"cd"), (5, 7, b"ef")] {
        let replies = peer.send(ACK, seq, ack, piece);
        assert!(replies.iter().all(|reply| reply.len() == 0 && reply.seq == ack), "{replies:?}");
        assert_eq!(peer.shard.check(), Ok(()));
    }
    peer.wait(300_000);
    let replies = peer.send(ACK, 7, 7, b"g");
    assert_eq!((replies[0].seq, replies[0].payload.as_slice()), (7, &b"g"[..]));
}

/// What the service has in store is longer than what may wait to be sent: it is asked for more as
/// often as it takes.
#[test]
fn far_lead_is_made_up_within_a_step() {
    let lead = 3_000_000;
    let mut peer = heir(swift(), STREAM_N);
    let replies = peer.send(ACK, 1, 1 + lead, b"5000000\n");
    let first = replies.iter().find(|reply| reply.len() > 0).expect("there is more to come");
    assert_eq!((first.seq, first.payload[0]), (1 + lead, pattern(lead as u64)));
    assert_eq!(peer.shard.check(), Ok(()));
}

#[test]
fn nobody_else_is_believed() {
    // Another rule, no takeover, and a takeover long ago.
    let mut others = heir(config(), ECHO);
    let mut never = Peer::established(swift(), ECHO);
    let mut late = heir(swift(), ECHO);
    late.wait(1_000_000_000);
    let mut young = heir(swift(), ECHO);
    young.local.port += 1;
    young.now_us += 1;
    young.handshake(&crate::support::peer::sack_options());
    for peer in [&mut others, &mut never, &mut late, &mut young] {
        let replies = peer.send(ACK, 1, 7, b"abcdef");
        assert!(replies.iter().all(|reply| (reply.ack, reply.len()) == (1, 0)), "{replies:?}");
        let info = peer.info().expect("it lives");
        assert_eq!(info.bytes_in, 0);
    }
}

#[test]
fn snapshot_keeps_the_lead() {
    let mut peer = heir(swift(), ECHO);
    peer.send(ACK, 1, 7, b"abc");
    let mut bytes = Vec::new();
    peer.shard.save(&mut bytes);
    let restored = Shard::restore(std::sync::Arc::new(swift()), content(), &bytes).unwrap();
    assert_eq!(restored.full_digest(), peer.shard.full_digest());
    peer.shard = restored;
    let replies = peer.send(ACK, 4, 7, b"defgh");
    assert_eq!((replies[0].seq, replies[0].payload.as_slice()), (7, &b"gh"[..]));
}

#[test]
fn stream_that_ends_before_what_the_peer_has_is_reset() {
    let mut peer = heir(swift(), STREAM_N);
    let replies = peer.send(ACK, 1, 101, b"10\n");
    assert_eq!((replies[0].flags, replies[0].seq), (RST_ACK, 101));
}

#[test]
fn peer_that_closes_while_it_is_ahead_gets_its_end() {
    let mut peer = heir(swift(), ECHO);
    let replies = peer.send(FIN_ACK, 1, 4, b"abcdef");
    let last = replies.last().expect("an answer");
    assert_eq!((replies[0].seq, replies[0].payload.as_slice()), (4, &b"def"[..]));
    assert!(last.flags.contains(FIN_ACK));
    assert_eq!(peer.info().map(|info| info.state), Some(State::LastAck));
}

/// RFC 9110 15.5.9 lets a server just close. The refusal would come where another node, which has
/// not waited as long, puts the answer.
#[test]
fn head_that_never_ends_is_answered_by_a_close_alone() {
    let mut peer = Peer::established(swift(), HTTP);
    peer.send(ACK, 1, 1, b"GET / HTTP/1.1\r\n");
    let replies = peer.wait(60_000_000);
    let closing: Vec<_> = replies.iter().filter(|reply| reply.flags.contains(FIN_ACK)).collect();
    assert!(!closing.is_empty() && replies.iter().all(|reply| reply.len() == 0), "{replies:?}");
}

/// A replica that lacks the last steps, while their packets have arrived.
fn behind(pair: &Pair, lost_us: u64) -> Shard {
    let mut replica = shard(swift());
    let until_us = pair.now_us - lost_us;
    for (now_us, packets) in pair.log.iter().filter(|(at_us, _)| *at_us < until_us) {
        let segments: Vec<_> = packets.iter().map(|packet| parse(packet)).collect();
        replica.step(Instant::from_micros(*now_us), &segments, &mut CountingEgress::default());
    }
    replica
}

#[test]
fn download_goes_on_from_a_state_of_some_time_ago() {
    for seed in 0..8 {
        let mut pair = Pair::new(swift(), Quality::lossy(2_000, 5 * (seed % 3)), seed);
        let local = pair.connect(STREAM, DISCARD_INDEX);
        pair.run(150_000 + 3_301 * seed);
        let lost_us = 5_000 + 4_000 * seed;
        let replica = behind(&pair, lost_us);
        assert_ne!(replica.full_digest(), pair.server.full_digest());
        pair.server = replica;
        pair.now_us += 60_000;
        pair.server.take_over(Instant::from_micros(pair.now_us));
        pair.kick_server();
        let got = pair.of_client(local).map_or(0, |info| info.bytes_in);
        let done = pair.run_until(5_000_000, |pair| {
            pair.of_client(local).is_some_and(|info| info.bytes_in > got + (1 << 20))
        });
        assert!(done, "seed {seed}");
        let counters = pair.server.counters();
        assert_eq!((counters.timeouts, counters.resets_sent), (0, 0), "seed {seed}");
        assert_eq!(pair.server.check(), Ok(()));
    }
}

/// RFC 3168 6.1.5: what the predecessor may have sent already is a retransmission, though the heir
/// sends it for the first time.
#[test]
fn nothing_that_an_heir_sends_may_be_marked() {
    let asks = |mut config: Config| {
        config.tcp.ecn = Ecn::Ask;
        config
    };
    for (server, marked_after) in [(asks(config()), true), (asks(swift()), false)] {
        let mut pair = Pair::unlike(asks(config()), server, Quality::perfect(2_000), 1);
        pair.connect(STREAM, DISCARD_INDEX);
        let marked = |pair: &Pair| pair.sent.iter().any(|(_, packet)| packet[1] & 3 != 0);
        pair.run(100_000);
        assert!(marked(&pair));
        pair.server.take_over(Instant::from_micros(pair.now_us));
        pair.sent.clear();
        pair.run(100_000);
        assert_eq!((marked(&pair), pair.sent.len() > 20), (marked_after, true));
    }
}
