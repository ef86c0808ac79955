//! Acknowledging: when, how many, with which blocks.

use engine::wire::tcp::Options;

use crate::support::peer::{ACK, Peer, plain_options, sack_options};
use crate::support::{DISCARD, config};

/// A connection past its quick ACKs.
fn settled(options: &Options) -> (Peer, i64) {
    let mut peer = Peer::new(config(), DISCARD);
    peer.handshake(options);
    let mut seq = 1;
    for _ in 0..20 {
        peer.send(ACK, seq, 1, &[0; 1000]);
        seq += 1000;
    }
    peer.wait(100_000);
    (peer, seq)
}

#[test]
fn first_segments_are_acknowledged_at_once() {
    let mut peer = Peer::established(config(), DISCARD);
    for i in 0..10 {
        assert_eq!(peer.send(ACK, 1 + i * 1000, 1, &[0; 1000]).len(), 1);
    }
}

#[test]
fn lone_segment_is_acknowledged_after_the_delay() {
    let (mut peer, seq) = settled(&sack_options());
    assert!(peer.send(ACK, seq, 1, &[0; 1000]).is_empty());
    assert!(peer.wait(38_000).is_empty());
    let replies = peer.wait(4_000);
    assert_eq!((replies.len(), replies[0].ack), (1, seq + 1000));
}

#[test]
fn every_second_full_segment_is_acknowledged() {
    let (mut peer, seq) = settled(&sack_options());
    assert!(peer.send(ACK, seq, 1, &[0; 1000]).is_empty());
    let replies = peer.send(ACK, seq + 1000, 1, &[0; 1000]);
    assert_eq!((replies.len(), replies[0].ack), (1, seq + 2000));
}

#[test]
fn one_step_acknowledges_all_its_segments_together() {
    let (mut peer, seq) = settled(&sack_options());
    let burst: Vec<Vec<u8>> = (0..6)
        .map(|i| peer.packet(ACK, seq + i * 1000, 1, &[0; 1000], Options::default()))
        .collect();
    let replies = peer.deliver(&burst);
    assert_eq!((replies.len(), replies[0].ack), (1, seq + 6_000));
}

#[test]
fn last_segments_of_a_bulk_transfer_are_acknowledged_after_the_delay() {
    let (mut peer, seq) = settled(&sack_options());
    let burst: Vec<Vec<u8>> = (0..16)
        .map(|i| peer.packet(ACK, seq + i * 1000, 1, &[0; 1000], Options::default()))
        .collect();
    let replies = peer.deliver(&burst);
    assert_eq!((replies.len(), replies[0].ack), (1, seq + 13_000));
    assert!(peer.wait(3_000).is_empty());
    let replies = peer.wait(3_000);
    assert_eq!((replies.len(), replies[0].ack), (1, seq + 16_000));
}

#[test]
fn out_of_order_data_is_sacked_at_once_the_latest_block_first() {
    let (mut peer, seq) = settled(&sack_options());
    let replies = peer.send(ACK, seq + 1000, 1, &[0; 1000]);
    assert_eq!(replies.len(), 1);
    assert_eq!((replies[0].ack, replies[0].sack(peer.isn)), (seq, vec![(seq + 1000, seq + 2000)]));
    let replies = peer.send(ACK, seq + 3000, 1, &[0; 1000]);
    let expected = vec![(seq + 3000, seq + 4000), (seq + 1000, seq + 2000)];
    assert_eq!(replies[0].sack(peer.isn), expected);
    // The first gap is filled: acknowledged at once (RFC 5681 4.2).
    let replies = peer.send(ACK, seq, 1, &[0; 1000]);
    assert_eq!((replies[0].ack, replies[0].sack(peer.isn).len()), (seq + 2000, 1));
    let replies = peer.send(ACK, seq + 2000, 1, &[0; 1000]);
    assert_eq!((replies[0].ack, replies[0].sack(peer.isn).len()), (seq + 4000, 0));
}

#[test]
fn peer_without_sack_gets_a_duplicate_ack_for_each_segment_out_of_order() {
    let (mut peer, seq) = settled(&plain_options());
    let burst: Vec<Vec<u8>> = (1..4)
        .map(|i| peer.packet(ACK, seq + i * 1000, 1, &[0; 1000], Options::default()))
        .collect();
    let replies = peer.deliver(&burst);
    assert_eq!(replies.iter().map(|reply| reply.ack).collect::<Vec<_>>(), [seq; 3]);
    assert!(replies.iter().all(|reply| reply.options.sack.is_empty()));
}

/// RFC 2883: the first block tells what came twice.
#[test]
fn duplicate_data_is_reported() {
    let (mut peer, seq) = settled(&sack_options());
    let replies = peer.send(ACK, seq - 1000, 1, &[0; 1000]);
    assert_eq!(replies.len(), 1);
    assert_eq!((replies[0].ack, replies[0].sack(peer.isn)), (seq, vec![(seq - 1000, seq)]));
    assert_eq!(peer.info().map(|info| info.bytes_in), Some(20_000));
}

#[test]
fn overlapping_segments_deliver_each_byte_once() {
    let mut peer = Peer::established(config(), crate::support::ECHO);
    peer.send(ACK, 4, 1, b"defg");
    peer.send(ACK, 3, 1, b"cd");
    let replies = peer.send(ACK, 1, 1, b"abcdef");
    let bytes: Vec<u8> = replies.iter().flat_map(|reply| reply.payload.clone()).collect();
    assert_eq!(bytes, b"abcdefg");
}

#[test]
fn acknowledgment_rides_on_data() {
    let mut peer = Peer::established(config(), crate::support::ECHO);
    let replies = peer.send(ACK, 1, 1, b"ping");
    assert_eq!((replies.len(), replies[0].ack, replies[0].len()), (1, 5, 4));
    assert!(peer.wait(100_000).iter().all(|reply| !reply.payload.is_empty()), "no bare ACK");
}

#[test]
fn probe_below_the_window_is_answered() {
    let (mut peer, seq) = settled(&sack_options());
    let replies = peer.send(ACK, seq - 1, 1, &[]);
    assert_eq!((replies.len(), replies[0].ack), (1, seq));
    let replies = peer.send(ACK, seq - 1, 1, &[0]);
    assert_eq!((replies.len(), replies[0].ack), (1, seq));
}
