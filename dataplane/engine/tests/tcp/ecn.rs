//! Explicit congestion notification (RFC 3168).

use engine::config::{Config, Ecn};
use engine::wire::tcp::Flags;

use crate::support::link::{Quality, Shape};
use crate::support::pair::Pair;
use crate::support::peer::{ACK, Peer, SYN_ACK, sack_options};
use crate::support::{DISCARD_INDEX, STREAM, config, parse};

const ECN_SYN: Flags = Flags(Flags::SYN.0 | Flags::ECE.0 | Flags::CWR.0);
const ECE: Flags = Flags(Flags::ACK.0 | Flags::ECE.0);

fn with(ecn: Ecn) -> Config {
    let mut config = config();
    config.tcp.ecn = ecn;
    config
}

#[test]
fn is_accepted_when_asked_for_and_allowed() {
    for (ecn, asked, answer) in [
        (Ecn::Accept, ECN_SYN, SYN_ACK | Flags::ECE),
        (Ecn::Accept, Flags::SYN, SYN_ACK),
        (Ecn::Accept, Flags::SYN | Flags::ECE, SYN_ACK),
        (Ecn::Off, ECN_SYN, SYN_ACK),
    ] {
        let mut peer = Peer::new(with(ecn), STREAM);
        let replies = peer.send_with(asked, 0, 0, &[], sack_options());
        assert_eq!(replies[0].flags, answer, "{ecn:?} {asked:?}");
    }
}

#[test]
fn second_syn_of_ours_does_not_ask_any_more() {
    let mut peer = Peer::new(with(Ecn::Ask), STREAM);
    assert_eq!(peer.be_connected(DISCARD_INDEX)[0].flags, ECN_SYN);
    assert_eq!(peer.wait(2_000_000)[0].flags, Flags::SYN);
}

#[test]
fn echo_of_a_mark_lowers_the_window_once_in_a_round_trip() {
    let mut peer = Peer::new(config(), STREAM);
    peer.send_with(ECN_SYN, 0, 0, &[], sack_options());
    peer.now_us += 20_000;
    let sent = peer.send(ACK, 1, 1, &[]).len() as i64;
    let before = peer.info().expect("it lives");
    peer.now_us += 20_000;
    let mut flags = Vec::new();
    for segment in 1..=sent {
        let replies = peer.send(ECE, 1, 1 + segment * 1000, &[]);
        flags.extend(replies.iter().map(|reply| reply.flags.contains(Flags::CWR)));
    }
    let after = peer.info().expect("it lives");
    assert_eq!(peer.shard.counters().ecn_reductions, 1);
    assert!(after.ssthresh < before.cwnd && after.ssthresh >= before.cwnd / 2, "{after:?}");
    assert!(flags[0] && !flags[1..].contains(&true), "the first new segment says so: {flags:?}");
    assert_eq!(peer.shard.counters().retransmissions, 0);
}

#[test]
fn bulk_over_a_marking_bottleneck_loses_nothing_and_fills_it() {
    let pair = || Pair::unlike(with(Ecn::Ask), config(), Quality::perfect(10_000), 1);
    loses_nothing_and_fills_it(pair());
    loses_nothing_and_fills_it(pair().over_ipv6());
}

fn loses_nothing_and_fills_it(mut pair: Pair) {
    const RATE_BPS: u64 = 50_000_000;
    let shape = Shape { rate_bps: RATE_BPS, queue_bytes: 1 << 20, mark_bytes: Some(60_000) };
    pair.link.shape = Some(shape);
    let local = pair.connect(STREAM, DISCARD_INDEX);
    pair.run(6_000_000);
    let counters = pair.server.counters();
    assert!(pair.link.marked > 20 && counters.ecn_reductions > 2, "{}", pair.link.marked);
    assert!(counters.ecn_reductions < 100, "{}", counters.ecn_reductions);
    assert_eq!((pair.link.lost, counters.retransmissions), (0, 0));
    assert!(pair.client.counters().ecn_marks > 0);
    let bytes = pair.of_client(local).map_or(0, |info| info.bytes_in);
    assert!(bytes * 8 > RATE_BPS * 6 * 8 / 10, "{bytes}");
}

/// RFC 3168 6.1.4 to 6.1.6.
#[test]
fn only_new_data_may_be_marked() {
    let mut pair = Pair::unlike(with(Ecn::Ask), config(), Quality::lossy(5_000, 30), 3);
    pair.connect(STREAM, DISCARD_INDEX);
    pair.run(500_000);
    let mut next = None;
    let mut counts = [0; 2];
    for (_, packet) in &pair.sent {
        let segment = parse(packet);
        let end = segment.seq + segment.len_seq();
        let fresh = next.is_some_and(|next| end.gt(next)) && !segment.payload.is_empty();
        assert_eq!(packet[1] & 3, if fresh { 2 } else { 0 }, "{segment:?}");
        counts[usize::from(fresh)] += 1;
        next = Some(next.map_or(end, |next| end.max(next)));
    }
    assert!(counts[0] > 5 && counts[1] > 100, "{counts:?}");
}
