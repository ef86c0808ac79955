//! Behaviour of the simple services.

use proptest::prelude::*;

use super::mock::{Mock, pattern};
use super::*;
use crate::config::StreamLength;

fn config(kind: ServiceKind) -> ServiceConfig {
    ServiceConfig::new("test", 1, kind)
}

fn stream(length: StreamLength, rate_bps: Option<u64>, seed: u64) -> ServiceConfig {
    config(ServiceKind::Stream { length, rate_bps, seed })
}

#[test]
fn echo_closes_once_all_is_sent_back() {
    let (config, content) = (config(ServiceKind::Echo), Content::default());
    let mut mock = Mock::with_room(&config, &content, 10, 0);
    mock.feed(b"hello, world");
    assert_eq!(mock.wire.readable(), 2, "what finds no room waits");
    mock.finish();
    assert!(!mock.wire.closed);
    assert_eq!(mock.drain(), b"hello, world");
    assert!(mock.wire.closed);
}

#[test]
fn discard_takes_everything_and_closes_after_the_peer() {
    let (config, content) = (config(ServiceKind::Discard), Content::default());
    let mut mock = Mock::new(&config, &content);
    mock.feed(b"nothing");
    assert_eq!(mock.wire.readable(), 0);
    assert!(!mock.wire.closed);
    mock.finish();
    assert!(mock.wire.closed);
    assert_eq!(mock.drain(), b"");
}

#[test]
fn requested_stream_sends_the_pattern_and_closes() {
    let (config, content) = (stream(StreamLength::Requested, None, 0), Content::default());
    let mut mock = Mock::new(&config, &content);
    mock.feed(b"10");
    assert_eq!(mock.drain(), b"");
    mock.feed(b"00\r\n");
    let expected: Vec<u8> = (0..1000).map(pattern).collect();
    assert_eq!(mock.drain(), expected);
    assert!(mock.wire.closed);
}

#[test]
fn requested_stream_of_no_bytes_closes_at_once() {
    let (config, content) = (stream(StreamLength::Requested, None, 0), Content::default());
    let mut mock = Mock::new(&config, &content);
    mock.feed(b"0\n");
    assert!(mock.wire.closed && mock.wire.queue.is_empty());
}

#[test]
fn bad_request_line_aborts() {
    let (config, content) = (stream(StreamLength::Requested, None, 0), Content::default());
    let lines: [&[u8]; 6] =
        [b"\n", b"-1\n", b"1 2\n", b"+1\n", b"99999999999999999999\n", b"0000000000000000000000"];
    for line in lines {
        let mut mock = Mock::new(&config, &content);
        mock.feed(line);
        assert!(mock.wire.aborted, "{line:?}");
    }
}

#[test]
fn peer_that_goes_before_it_asked_gets_a_fin() {
    let (config, content) = (stream(StreamLength::Requested, None, 0), Content::default());
    let mut mock = Mock::new(&config, &content);
    mock.finish();
    assert!(mock.wire.closed && !mock.wire.aborted);
    let mut mock = Mock::new(&config, &content);
    mock.feed(b"12");
    mock.finish();
    assert!(mock.wire.aborted, "half a number is no request");
}

#[test]
fn endless_stream_stays_ahead_even_of_a_peer_that_shut_down() {
    let (config, content) = (stream(StreamLength::Endless, None, u64::MAX), Content::default());
    let mut mock = Mock::new(&config, &content);
    mock.feed(b"ignored");
    mock.finish();
    assert_eq!(mock.wire.readable(), 0);
    let mut at = u64::MAX;
    for _ in 0..3 {
        let ahead = mock.wire.queued();
        assert!(ahead > 0 && !mock.wire.closed);
        assert!(matches!(mock.wire.queue[0], mock::Extent::Pattern { offset, .. } if offset == at));
        mock.wire.queue.clear();
        mock.state.writable(&config, &content, &mut mock.wire);
        at = at.wrapping_add(ahead);
    }
}

#[test]
fn paced_stream_keeps_its_average_rate() {
    let (config, content) = (stream(StreamLength::Endless, Some(8_000_000), 7), Content::default());
    let mut mock = Mock::new(&config, &content);
    assert_eq!(mock.drain(), b"");
    let mut bytes = Vec::new();
    for _ in 0..10 {
        mock.fire();
        mock.restart();
        bytes.extend(mock.drain());
    }
    let elapsed_us = usize::try_from(mock.wire.now.as_micros()).unwrap();
    assert_eq!(bytes.len(), elapsed_us, "8 Mbit/s is a byte for each microsecond");
    assert_eq!(bytes, (7..7 + bytes.len() as u64).map(pattern).collect::<Vec<u8>>());
}

#[test]
fn slow_stream_waits_until_a_tick_is_worth_a_byte() {
    let (config, content) = (stream(StreamLength::Requested, Some(8), 0), Content::default());
    let mut mock = Mock::new(&config, &content);
    mock.feed(b"2\n");
    mock.fire();
    assert_eq!(mock.wire.now, Instant::from_micros(1_000_000));
    assert_eq!(mock.drain().len(), 1);
    mock.fire();
    assert!(mock.wire.closed);
    assert_eq!(mock.wire.timer, None);
}

#[test]
fn stream_without_a_free_extent_tries_again() {
    let (config, content) = (stream(StreamLength::Requested, None, 0), Content::default());
    let mut mock = Mock::with_room(&config, &content, 0, 0);
    mock.feed(b"5\n");
    assert!(mock.wire.queue.is_empty() && !mock.wire.closed);
    mock.wire.extents = 1;
    assert!(mock.acknowledge().is_empty(), "nothing was queued yet");
    assert_eq!(mock.drain().len(), 5);
    assert!(mock.wire.closed);
}

#[test]
fn restore_refuses_what_no_state_is() {
    let content = Content::default();
    let restore = |bytes: &[u8]| ServiceState::restore(&mut Reader::new(bytes), &content);
    assert!(restore(&[]).is_err());
    assert!(restore(&[9]).is_err());
    assert!(restore(&[2, 1, 0, 0]).is_err());
    let mut past_its_end = vec![2, 1];
    past_its_end.extend([0, 1, 0].map(u64::to_le_bytes).concat());
    assert!(restore(&past_its_end).is_err());
    let file_that_is_not_there = [&[3, 1][..], &[0; 23]].concat();
    assert!(restore(&file_that_is_not_there).is_err());
}

proptest! {
    #[test]
    fn restore_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = ServiceState::restore(&mut Reader::new(&bytes), &Content::default());
    }

    #[test]
    fn echo_returns_every_byte_however_little_room_there_is(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..6),
        room in 1_usize..5000,
    ) {
        let (config, content) = (config(ServiceKind::Echo), Content::default());
        let mut mock = Mock::with_room(&config, &content, room, 0);
        let mut back = Vec::new();
        for piece in &pieces {
            mock.feed(piece);
            back.extend(mock.acknowledge());
        }
        mock.finish();
        back.extend(mock.drain());
        prop_assert_eq!(back, pieces.concat());
        prop_assert!(mock.wire.closed);
    }
}
