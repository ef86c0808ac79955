//! What is kept from the step would have changed nothing in it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::addr::{Endpoint, Flow};
use crate::config::{Config, ServiceConfig, ServiceKind, StreamLength};
use crate::content::Content;
use crate::digest::Digest;
use crate::egress::{Egress, Outgoing};
use crate::guard::{Guard, Verdict};
use crate::seq::SeqNumber;
use crate::tcp::{ChallengeLimit, State};
use crate::wire::segment::{MAX_HEADER_LEN, SegmentHeader, ip_header_len};
use crate::wire::tcp::{Flags, Options, Timestamps};
use crate::wire::{Checksums, checksum};

const ECHO: u16 = 7;
const STREAM: u16 = 20;
/// The peer's own number of its SYN.
const ISN: u32 = 5000;

#[derive(Default)]
struct Packets(Vec<Vec<u8>>);

impl Egress for Packets {
    const WANTS_PAYLOAD: bool = false;

    fn emit(&mut self, packet: &Outgoing<'_>) {
        self.0.push(packet.header.to_vec());
    }
}

fn config() -> Arc<Config> {
    let requested =
        ServiceKind::Stream { length: StreamLength::Requested, rate_bps: None, seed: 0 };
    let services = vec![
        ServiceConfig::new("echo", ECHO, ServiceKind::Echo),
        ServiceConfig::new("stream-n", STREAM, requested),
    ];
    let (max_connections, pool_blocks, tx_segments) = (8, 256, 256);
    Arc::new(Config { max_connections, pool_blocks, tx_segments, services, ..Config::default() })
}

fn flow(port: u16) -> Flow {
    Flow {
        local: Endpoint::new(Ipv4Addr::new(10, 0, 0, 9), 4000),
        remote: Endpoint::new(Ipv4Addr::new(10, 0, 0, 1), port),
    }
}

/// A segment of the peer's.
#[derive(Clone, Debug)]
struct Sent {
    port: u16,
    flags: Flags,
    seq: SeqNumber,
    ack: SeqNumber,
    timestamp: Option<u32>,
    payload: Vec<u8>,
}

impl Sent {
    fn to_bytes(&self) -> Vec<u8> {
        let mss = self.flags.syn().then_some(1000);
        let timestamps = self.timestamp.map(|value| Timestamps { value, echo: 0 });
        let header = SegmentHeader {
            flow: flow(self.port),
            seq: self.seq,
            ack: self.ack,
            flags: self.flags,
            window: 3000,
            options: Options { mss, timestamps, ..Options::default() },
        };
        let mut bytes = vec![0; MAX_HEADER_LEN];
        let len = header.emit(self.payload.len() as u16, &mut bytes);
        bytes.truncate(len);
        checksum::finish_tcp(&mut bytes, ip_header_len(header.flow.local.addr), &[&self.payload]);
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}

/// A shard with one connection.
struct One {
    shard: Shard,
    port: u16,
    timestamp: Option<u32>,
    now_us: u64,
}

impl One {
    fn new(port: u16, timestamp: Option<u32>) -> One {
        let shard = Shard::new(0, config(), Arc::new(Content::default()));
        let mut one = One { shard, port, timestamp, now_us: 9_000_000 };
        one.send(Flags::SYN, ISN, b"");
        one
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.now_us)
    }

    fn tcb(&self) -> &crate::tcp::tcb::Tcb {
        &self.shard.slots[0].as_ref().expect("there is one connection").tcb
    }

    /// The peer sends, acknowledging all that has come.
    fn send(&mut self, flags: Flags, seq: u32, payload: &[u8]) {
        self.now_us += 1000;
        let ack = self.shard.slots.first().map_or(SeqNumber(0), |_| self.tcb().snd_nxt);
        let (port, timestamp, payload) = (self.port, self.timestamp, payload.to_vec());
        let sent = Sent { port, flags, seq: SeqNumber(seq), ack, timestamp, payload };
        let bytes = sent.to_bytes();
        let segment = Segment::parse(&bytes, Checksums::Verify).expect("well-formed");
        self.shard.step(self.now(), &[segment], &mut Packets::default());
    }

    /// A connection in each state that a peer can bring it to, and with data in flight.
    fn in_state(number: u8, timestamp: Option<u32>) -> One {
        let fin = Flags::ACK | Flags::FIN;
        let mut one = One::new(if number < 3 { ECHO } else { STREAM }, timestamp);
        if number > 0 {
            one.send(Flags::ACK, ISN + 1, b"");
        }
        match number {
            0 => assert_eq!(one.tcb().state, State::SynReceived),
            1 => one.send(Flags::ACK, ISN + 1, b"some bytes that come back"),
            2 => {
                one.send(fin, ISN + 1, b"");
                assert_eq!(one.tcb().state, State::LastAck);
            }
            3 => {
                one.send(Flags::ACK, ISN + 1, b"9000\n");
                assert_eq!(one.tcb().state, State::Established);
                assert!(one.tcb().sent.count > 0 && one.tcb().unsent() > 0);
            }
            _ => {
                one.send(Flags::ACK, ISN + 1, b"10\n");
                assert_eq!(one.tcb().state, State::FinWait1);
                one.send(Flags::ACK, ISN + 4, b"");
                assert_eq!(one.tcb().state, State::FinWait2);
                if number == 5 {
                    one.send(fin, ISN + 4, b"");
                    assert_eq!(one.tcb().state, State::TimeWait);
                }
            }
        }
        one
    }

    fn copy(&self) -> Shard {
        let mut bytes = Vec::new();
        self.shard.save(&mut bytes);
        Shard::restore(config(), Arc::new(Content::default()), &bytes).expect("it was saved")
    }

    /// No challenge is left in this second.
    fn use_up_challenges(&mut self) {
        let per_second = config().tcp.challenge_acks_per_second;
        let second = self.now_us / 1_000_000;
        self.shard.shared.challenges =
            ChallengeLimit { second, allowed: 5, sent: 5, suspects: per_second };
        assert!(self.shard.is_beset(self.now()));
    }
}

/// All but what is counted.
fn state_of(mut shard: Shard) -> Vec<u8> {
    shard.shared.counters = crate::counters::Counters::default();
    shard.shared.challenges = ChallengeLimit::default();
    shard.shared.digest = Digest::default();
    let mut bytes = Vec::new();
    shard.save(&mut bytes);
    bytes
}

/// A number near one of those that matter, or anywhere.
fn near(places: [SeqNumber; 4], (place, distance, anywhere): (usize, i8, u32)) -> SeqNumber {
    let at = places.get(place).copied().unwrap_or(SeqNumber(anywhere));
    SeqNumber(at.0.wrapping_add_signed(distance.into()))
}

fn number() -> impl Strategy<Value = (usize, i8, u32)> {
    (0..5_usize, -3..4_i8, any::<u32>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn what_is_kept_from_the_step_would_change_nothing(
        state in 0..6_u8,
        stamped: bool,
        flags: u8,
        (seq, ack) in (number(), number()),
        stamp in prop::option::of(-2..3_i32),
        payload in prop::collection::vec(any::<u8>(), 0..5),
        used_up: bool,
    ) {
        let mut one = One::in_state(state, stamped.then_some(700));
        if used_up {
            one.use_up_challenges();
        }
        let tcb = one.tcb();
        let oldest = tcb.snd_una - tcb.max_window;
        let sent = Sent {
            port: one.port,
            flags: Flags(flags),
            seq: near([tcb.rcv_nxt, tcb.last_ack, tcb.rcv_adv, SeqNumber(ISN)], seq),
            ack: near([tcb.snd_una, tcb.snd_nxt, oldest, tcb.snd_una - 1], ack),
            timestamp: stamp.map(|back| 700_u32.wrapping_add_signed(back)),
            payload,
        };
        let bytes = sent.to_bytes();
        let mut segments = [Segment::parse(&bytes, Checksums::Verify).expect("well-formed")];
        prop_assert!(!one.shard.look_up(&mut segments));
        let guard = Guard::new(&config(), 1);
        let verdict = guard.screen_known(&one.shard, one.now(), &segments[0], true);
        prop_assert!(!matches!(verdict, Verdict::Answer(_)));
        if verdict == Verdict::Log {
            return Ok(());
        }
        let (mut stepped, mut idle) = (one.copy(), one.copy());
        let (mut said, mut said_anyway) = (Packets::default(), Packets::default());
        stepped.step(one.now(), &segments, &mut said);
        idle.step(one.now(), &[], &mut said_anyway);
        // The answer to a stray is the door's.
        let answers = usize::from(verdict == Verdict::Reset);
        prop_assert_eq!(said.0.len(), said_anyway.0.len() + answers);
        prop_assert_eq!(state_of(stepped), state_of(idle));
    }
}

/// Else the flood would have its way after all.
#[test]
fn forgeries_are_kept_out_and_the_peers_own_segments_are_not() {
    let mut one = One::in_state(1, None);
    one.use_up_challenges();
    let (now, guard) = (one.now(), Guard::new(&config(), 1));
    let (seq, ack) = (one.tcb().rcv_nxt, one.tcb().snd_nxt);
    let verdict = |flags: Flags, seq: SeqNumber, ack: SeqNumber, payload: &[u8], first: bool| {
        let (port, payload) = (one.port, payload.to_vec());
        let bytes = Sent { port, flags, seq, ack, timestamp: None, payload }.to_bytes();
        let mut segments = [Segment::parse(&bytes, Checksums::Verify).expect("well-formed")];
        assert!(!one.shard.look_up(&mut segments));
        guard.screen_known(&one.shard, now, &segments[0], first)
    };
    let (log, drop) = (Verdict::Log, Verdict::Drop);
    let far = seq + (1 << 30);
    for flags in 0..=255 {
        let flags = Flags(flags);
        assert_eq!(verdict(flags, far, ack, b"forged", true), drop, "{flags:?}");
    }
    assert_eq!(verdict(Flags::ACK, seq, ack + 1, b"", true), drop, "acknowledges the future");
    assert_eq!(verdict(Flags::SYN, seq, ack, b"", true), drop);
    assert_eq!(verdict(Flags::RST, seq + 1, ack, b"", true), drop);
    assert_eq!(verdict(Flags::RST, seq + 1, ack, b"", false), log, "there may be a byte before it");
    assert_eq!(verdict(Flags::RST, seq, ack, b"", true), log);
    assert_eq!(verdict(Flags::ACK, seq, ack, b"new", true), log);
    assert_eq!(verdict(Flags::ACK, seq - 5, ack, b"again", true), log, "our ACK was lost");
    assert_eq!(verdict(Flags::ACK, seq - 1, ack, b"", true), log, "a keepalive");
    assert_eq!(verdict(Flags::ACK | Flags::FIN, seq, ack, b"", true), log);
}

#[test]
fn nobody_is_screened_in_peace_and_in_the_next_second() {
    let mut one = One::in_state(1, None);
    assert!(!one.shard.is_beset(one.now()));
    let limit = config().tcp.challenge_acks_per_second;
    for number in 0..limit {
        assert!(!one.shard.is_beset(one.now()), "{number}");
        let seq = one.tcb().rcv_nxt + 70_000 + number;
        let before = one.now_us;
        one.send(Flags::RST, seq.0, b"");
        one.now_us = before;
    }
    assert!(one.shard.is_beset(one.now()));
    one.now_us += 1_000_000;
    assert!(!one.shard.is_beset(one.now()));
}
