//! Each rule, broken once: a checker that never complains proves nothing.

use super::*;

const CLIENT_ISN: u32 = 5_000;
const SERVICE_ISN: u32 = 9_000;
const FIRST: Speaker = Speaker { epoch: 1, run: 1 };
const HEIR: Speaker = Speaker { epoch: 2, run: 2 };

/// A connection whose handshake is done, with what the client has sent.
struct Told {
    connection: Connection,
    coverage: Coverage,
    now_ns: u64,
}

fn syn() -> Segment {
    Segment {
        seq: CLIENT_ISN,
        flags: flags::SYN,
        window: 10_000,
        mss: Some(1_000),
        scale: Some(0),
        sack_permitted: true,
        timestamps: Some((100, 0)),
        ..Segment::default()
    }
}

/// A segment of the client from its byte `seq` on; the SYN has number 0.
fn heard(seq: u32, len: usize, ack: u32) -> Segment {
    Segment {
        seq: CLIENT_ISN + seq,
        ack: SERVICE_ISN + ack,
        flags: flags::ACK,
        window: 10_000,
        timestamps: Some((100 + seq, 700)),
        payload: vec![7; len],
        ..Segment::default()
    }
}

/// A segment of the service, likewise.
fn said(seq: u32, payload: &[u8], ack: u32) -> Segment {
    Segment {
        seq: SERVICE_ISN + seq,
        ack: CLIENT_ISN + ack,
        flags: flags::ACK,
        window: 5_000,
        timestamps: Some((700 + seq, 100)),
        payload: payload.to_vec(),
        ..Segment::default()
    }
}

impl Told {
    fn new() -> Told {
        let connection = Connection::new(0, &syn(), FIRST);
        let mut told = Told { connection, coverage: Coverage::default(), now_ns: 0 };
        let answer = Segment {
            flags: flags::SYN | flags::ACK,
            mss: Some(1_460),
            scale: Some(0),
            sack_permitted: true,
            ..said(0, &[], 1)
        };
        assert_eq!(told.says(&answer), Ok(true));
        told.hears(&heard(1, 100, 1));
        assert_eq!(told.connection.state, State::Established);
        assert_eq!(told.says(&said(1, b"hello", 101)), Ok(true));
        told
    }

    fn hears(&mut self, segment: &Segment) {
        self.now_ns += MS;
        self.connection.client_heard(self.now_ns, segment);
    }

    fn says(&mut self, segment: &Segment) -> Result<bool, String> {
        self.says_as(FIRST, segment)
    }

    fn says_as(&mut self, speaker: Speaker, segment: &Segment) -> Result<bool, String> {
        self.now_ns += MS;
        let Told { connection, coverage, now_ns } = self;
        let news = connection.service_spoke(*now_ns, segment, speaker, coverage)?;
        Ok(news.acknowledged || news.said)
    }

    /// The service says what it must not.
    fn refuses(&mut self, segment: &Segment, because: &str) {
        let verdict = self.says(segment).expect_err("it must be wrong");
        assert!(verdict.contains(because), "{verdict}");
    }
}

#[test]
fn late_copy_of_a_syn_begins_another_connection_when_the_first_is_over() {
    let answer = |seq| Segment {
        seq,
        flags: flags::SYN | flags::ACK,
        mss: Some(1_460),
        scale: Some(0),
        sack_permitted: true,
        ..said(0, &[], 1)
    };
    let mut told = Told::new();
    told.hears(&syn());
    assert!(told.says(&answer(77)).is_err(), "it lives");
    let mut told = Told::new();
    told.hears(&Segment { flags: flags::ACK | flags::FIN, ..heard(101, 0, 6) });
    let fin = Segment { flags: flags::ACK | flags::FIN, ..said(6, &[], 102) };
    assert_eq!(told.says(&fin), Ok(true));
    told.hears(&heard(102, 0, 7));
    assert_eq!(told.connection.state, State::Closed);
    let mut without = told.connection.clone();
    let spoke = without.service_spoke(9 * MS, &answer(77), FIRST, &mut Coverage::default());
    assert!(spoke.is_err(), "no SYN came");
    told.hears(&syn());
    assert!(told.says(&answer(77)).is_ok());
    assert_eq!(told.connection.state, State::SynReceived);
}

#[test]
fn an_ack_of_what_never_came_is_seen() {
    Told::new().refuses(&said(6, &[], 102), "have received up to 101 only");
}

#[test]
fn an_ack_that_goes_back_is_seen_also_across_a_takeover() {
    Told::new().refuses(&said(6, &[], 100), "the ACK goes back from 101 to 100");
    let wrong = Told::new().says_as(HEIR, &said(1, b"hello", 51)).expect_err("it goes back");
    assert!(wrong.contains("the ACK goes back"), "{wrong}");
}

#[test]
fn what_an_old_primary_still_says_is_no_news_but_must_be_true() {
    let mut told = Told::new();
    told.hears(&heard(101, 100, 6));
    assert_eq!(told.says_as(HEIR, &said(6, &[], 201)), Ok(true));
    assert_eq!(told.says_as(FIRST, &said(6, &[], 101)), Ok(false));
    let wrong = told.says_as(FIRST, &said(1, b"jello", 101)).expect_err("another byte");
    assert!(wrong.contains("byte 0 left with two values"), "{wrong}");
}

#[test]
fn a_window_that_is_taken_back_is_seen() {
    Told::new().refuses(
        &Segment { window: 4_999, ..said(6, &[], 101) },
        "the window's edge goes back from 5101 to 5100",
    );
}

#[test]
fn a_repeated_syn_may_lack_what_a_scaled_window_was_rounded_up_by() {
    let scaled = |segment: Segment| Segment { scale: Some(7), ..segment };
    let answer = scaled(Segment {
        flags: flags::SYN | flags::ACK,
        window: 65_535,
        mss: Some(1_460),
        sack_permitted: true,
        ..said(0, &[], 1)
    });
    let window = |window| Segment { window, seq: SERVICE_ISN + 1, ..said(0, &[], 1) };
    let connection = Connection::new(0, &scaled(syn()), FIRST);
    let mut told = Told { connection, coverage: Coverage::default(), now_ns: 0 };
    for segment in [&answer, &window(512), &answer, &window(513)] {
        assert!(told.says(segment).is_ok());
    }
    told.refuses(&answer, "the window's edge goes back");
}

#[test]
fn data_beyond_the_clients_window_are_seen() {
    let mut told = Told::new();
    told.hears(&Segment { window: 20, ..heard(101, 0, 10_000 - 20) });
    // The edge is where the widest window was: 10001.
    assert_eq!(told.says(&said(9_981, &[1; 20], 101)), Ok(true));
    told.refuses(&said(10_001, &[1], 101), "data up to 10002, the window ends at 10001");
}

#[test]
fn a_segment_larger_than_the_clients_mss_is_seen() {
    let mut told = Told::new();
    assert_eq!(told.says(&said(6, &[1; 1_000], 101)), Ok(true));
    told.refuses(&said(1_006, &[1; 1_001], 101), "the client's MSS is 1000");
}

#[test]
fn a_byte_with_two_values_is_seen_whoever_says_it() {
    let mut told = Told::new();
    let wrong = told.says_as(HEIR, &said(3, b"lpo", 101)).expect_err("it was an l");
    assert!(wrong.contains("byte 3 left with two values"), "{wrong}");
}

#[test]
fn a_stream_that_ends_twice_is_seen() {
    let mut told = Told::new();
    let last = Segment { flags: flags::ACK | flags::FIN, ..said(6, b"bye", 101) };
    assert_eq!(told.says(&last), Ok(true));
    assert_eq!(told.connection.state, State::FinWait1);
    assert_eq!(told.says(&last), Ok(false));
    told.refuses(&said(9, b"!", 101), "the stream had ended at 9");
    let sooner = Segment {
        flags: flags::ACK | flags::FIN,
        timestamps: Some((709, 100)),
        ..said(6, b"by", 101)
    };
    told.refuses(&sooner, "the stream had ended at 9, and now goes to 8");
}

#[test]
fn a_second_initial_sequence_number_is_seen() {
    let again = Segment {
        seq: SERVICE_ISN + 1,
        flags: flags::SYN | flags::ACK,
        scale: Some(0),
        sack_permitted: true,
        ..said(0, &[], 1)
    };
    Told::new().refuses(&again, "the service's ISN was 9000, and is 9001 now");
}

#[test]
fn timestamps_that_go_back_or_vanish_are_seen_also_across_a_takeover() {
    let late = |value, echo| Segment { timestamps: Some((value, echo)), ..said(6, &[], 101) };
    Told::new().refuses(&late(700, 100), "TSval goes back from 701 to 700");
    let wrong = Told::new().says_as(HEIR, &late(3, 100)).expect_err("another clock");
    assert!(wrong.contains("TSval goes back"), "{wrong}");
    // The client's newest is 101.
    assert_eq!(Told::new().says(&late(702, 101)), Ok(false));
    Told::new().refuses(&late(702, 102), "TSecr 102 was never sent");
    let bare = Segment { timestamps: None, ..said(6, &[], 101) };
    Told::new().refuses(&bare, "a timestamp is missing");
}

#[test]
fn sack_of_what_never_came_is_seen() {
    let mut told = Told::new();
    told.hears(&heard(201, 100, 6));
    let block = |start, end| Segment {
        sack: vec![(CLIENT_ISN + start, CLIENT_ISN + end)],
        ..said(6, &[], 101)
    };
    assert_eq!(told.says(&block(201, 301)), Ok(false));
    told.refuses(&block(201, 302), "SACK of 201..302, of which something never came");
    told.refuses(&block(200, 301), "of which something never came");
}

#[test]
fn timeouts_that_do_not_back_off_are_seen() {
    let mut told = Told::new();
    told.now_ns = 0;
    let send_after = |told: &mut Told, ms: u64| {
        told.now_ns += (ms - 1) * MS;
        told.says(&said(1, b"hello", 101))
    };
    for ms in [10, 200, 400, 800] {
        assert_eq!(send_after(&mut told, ms), Ok(false), "{ms}");
    }
    let wrong = send_after(&mut told, 900).expect_err("800 ms come after 400 ms");
    assert!(wrong.contains("no backoff"), "{wrong}");
}
