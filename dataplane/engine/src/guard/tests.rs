//! A guard and its shard, as a worker uses them.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::addr::{Addr, Endpoint};
use crate::config::{AtLimit, Rate, ServiceConfig, ServiceKind};
use crate::content::Content;
use crate::egress::{Egress, Outgoing};
use crate::seq::SeqNumber;
use crate::tcp::State;
use crate::wire::segment::SegmentHeader;
use crate::wire::tcp::{Flags, Options, Timestamps};
use crate::wire::{Checksums, ipv4};

const PORT: u16 = 7;
const CLOSED_PORT: u16 = 8;

struct Door {
    shard: Shard,
    guard: Guard,
    now_us: u64,
    /// Segments that were logged.
    logged: u64,
}

#[derive(Default)]
struct Packets(Vec<Vec<u8>>);

impl Egress for Packets {
    const WANTS_PAYLOAD: bool = true;

    fn emit(&mut self, packet: &Outgoing<'_>) {
        let mut bytes = packet.header.to_vec();
        packet.payload.iter().for_each(|part| bytes.extend_from_slice(part));
        self.0.push(bytes);
    }
}

/// What came back.
#[derive(Debug, PartialEq)]
enum Answer {
    Nothing,
    Reset,
    /// From the guard, and from the shard.
    Cookie(Vec<u8>),
    Packets(Vec<Vec<u8>>),
}

fn config() -> Config {
    let mut service = ServiceConfig::new("echo", PORT, ServiceKind::Echo);
    service.backlog = 100;
    service.cookies_above = 10;
    Config {
        max_connections: 200,
        pool_blocks: 256,
        tx_segments: 512,
        isn_key: *b"a key for tests.",
        services: vec![service],
        ..Config::default()
    }
}

fn always_cookies() -> Config {
    let mut config = config();
    config.services[0].cookies_above = 0;
    config
}

fn flow(client: u32) -> Flow {
    let address = Ipv4Addr::from_bits(0x0a00_0000 + client);
    Flow {
        local: Endpoint::new(address, 4000),
        remote: Endpoint::new(Ipv4Addr::new(192, 0, 2, 1), PORT),
    }
}

fn options() -> Options {
    Options {
        mss: Some(1400),
        window_scale: Some(9),
        sack_permitted: true,
        timestamps: Some(Timestamps { value: 77, echo: 0 }),
        ..Options::default()
    }
}

fn packet(header: &SegmentHeader, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; MAX_HEADER_LEN];
    let len = header.emit(data.len() as u16, &mut bytes);
    bytes.truncate(len);
    checksum::finish_tcp(&mut bytes, ip_header_len(header.flow.local.addr), &[data]);
    bytes.extend_from_slice(data);
    bytes
}

fn syn(client: u32, options: Options) -> Vec<u8> {
    let (seq, ack) = (SeqNumber(client * 1000), SeqNumber(0));
    let flags = Flags::SYN;
    packet(&SegmentHeader { flow: flow(client), seq, ack, flags, window: 8000, options }, &[])
}

/// The client's next segment after a SYN-ACK.
fn answer_to(syn_ack: &[u8], data: &[u8]) -> Vec<u8> {
    let theirs = Segment::parse(syn_ack, Checksums::Trusted).expect("it is well-formed");
    assert!(theirs.flags.syn() && theirs.flags.ack());
    let echo = |t: Timestamps| Timestamps { value: 78, echo: t.value };
    let options = Options { timestamps: theirs.options.timestamps.map(echo), ..Options::default() };
    let (flow, seq, ack) = (theirs.flow, theirs.ack, theirs.seq + 1);
    packet(&SegmentHeader { flow, seq, ack, flags: Flags::ACK, window: 8000, options }, data)
}

impl Door {
    fn new(config: Config) -> Door {
        let config = Arc::new(config);
        let shard = Shard::new(0, Arc::clone(&config), Arc::new(Content::default()));
        Door { shard, guard: Guard::new(&config, 64), now_us: 5_000_000, logged: 0 }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.now_us)
    }

    fn step(&mut self, segments: &[Segment<'_>]) -> Vec<Vec<u8>> {
        let mut out = Packets::default();
        self.logged += segments.len() as u64;
        self.shard.step(self.now(), segments, &mut out);
        self.guard.stepped();
        out.0
    }

    fn give(&mut self, packet: &[u8]) -> Answer {
        if self.guard.wants_step(&self.shard, self.now()) {
            self.step(&[]);
        }
        let mut segments = [Segment::parse(packet, Checksums::Verify).expect("well-formed")];
        if self.shard.look_up(&mut segments) {
            let mut out = [0; MAX_ANSWER_LEN];
            let now = self.now();
            match self.guard.screen(&self.shard, now, &segments[0], &mut out) {
                Verdict::Log => {}
                Verdict::Answer(len) => return Answer::Cookie(out[..len].to_vec()),
                Verdict::Reset => return Answer::Reset,
                Verdict::Drop => return Answer::Nothing,
            }
        }
        Answer::Packets(self.step(&segments))
    }

    fn cookie(&mut self, client: u32, options: Options) -> Vec<u8> {
        match self.give(&syn(client, options)) {
            Answer::Cookie(packet) => packet,
            other => panic!("expected a cookie: {other:?}"),
        }
    }

    fn counters(&self) -> GuardCounters {
        self.guard.of_service(0).0
    }

    fn established(&self) -> usize {
        self.shard.count_in(State::Established)
    }

    /// Lets time pass, with a step whenever the shard wants one.
    fn wait(&mut self, us: u64) {
        let end = self.now_us + us;
        while let Some(at) = self.shard.next_deadline().filter(|at| at.as_micros() <= end) {
            self.now_us = self.now_us.max(at.as_micros());
            self.step(&[]);
        }
        self.now_us = end;
    }
}

fn refused(door: &Door, refusal: Refusal) -> u64 {
    door.counters().refused.0[refusal as usize]
}

#[test]
fn below_the_threshold_a_syn_is_the_shards() {
    let mut door = Door::new(config());
    for client in 0..10 {
        assert!(matches!(door.give(&syn(client, options())), Answer::Packets(_)), "{client}");
    }
    let cookie = door.cookie(10, options());
    assert_eq!(door.shard.services()[0].half_open, 10);
    assert_eq!(door.shard.services()[0].connections, 10);
    assert!(matches!(door.give(&answer_to(&cookie, b"")), Answer::Packets(_)));
    assert_eq!(door.established(), 1);
    assert_eq!(door.counters().cookie_periods, 1);
}

/// RFC 4987 3.6, with what Linux and FreeBSD keep in the timestamp.
#[test]
fn cookie_brings_back_the_options() {
    let mut door = Door::new(always_cookies());
    let cookie = door.cookie(1, options());
    let segment = Segment::parse(&cookie, Checksums::Verify).unwrap();
    assert_eq!(segment.options.mss, Some(1460));
    assert_eq!(segment.options.window_scale, Some(5));
    assert!(segment.options.sack_permitted);
    assert_eq!(segment.options.timestamps.map(|t| t.echo), Some(77));
    door.now_us += 30_000;
    let Answer::Packets(replies) = door.give(&answer_to(&cookie, b"hello")) else {
        panic!("the cookie is good");
    };
    let reply = Segment::parse(&replies[0], Checksums::Trusted).unwrap();
    assert_eq!(reply.payload, b"hello");
    // RFC 7323: no timestamp is below the cookie's.
    let (first, next) = (segment.options.timestamps, reply.options.timestamps);
    assert!(first.unwrap().value <= next.unwrap().value);
    let info = door.shard.connections(0).next().unwrap();
    assert_eq!((info.state, info.mss), (State::Established, 1360 - 12));
    assert_eq!(info.send_window, 8000 << 9);
    assert_eq!((info.srtt_us, info.retransmissions), (0, 0), "a cookie's clock is not exact");
}

#[test]
fn cookie_goes_over_ipv6_as_well() {
    let address = |last: u16| Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last);
    let flow =
        Flow { local: Endpoint::new(address(9), 4000), remote: Endpoint::new(address(1), PORT) };
    let (seq, ack, flags) = (SeqNumber(1), SeqNumber(0), Flags::SYN);
    // Such a client names no size, and so gets what RFC 9293 3.7.1 says of IPv6.
    let options = Options { mss: None, ..options() };
    let syn = packet(&SegmentHeader { flow, seq, ack, flags, window: 8000, options }, &[]);
    let mut door = Door::new(always_cookies());
    let Answer::Cookie(cookie) = door.give(&syn) else { panic!("cookies are always made") };
    let segment = Segment::parse(&cookie, Checksums::Verify).unwrap();
    assert_eq!(segment.options.mss, Some(1440));
    assert!(matches!(door.give(&answer_to(&cookie, b"")), Answer::Packets(_)));
    let info = door.shard.connections(0).next().unwrap();
    assert_eq!((info.state, info.mss), (State::Established, 1220 - 12));
}

#[test]
fn client_without_timestamps_gets_no_option_but_its_segment_size() {
    let mut door = Door::new(always_cookies());
    let cookie = door.cookie(1, Options { timestamps: None, ..options() });
    let segment = Segment::parse(&cookie, Checksums::Verify).unwrap();
    assert_eq!(segment.options, Options { mss: Some(1460), ..Options::default() });
    assert!(matches!(door.give(&answer_to(&cookie, b"")), Answer::Packets(_)));
    let info = door.shard.connections(0).next().unwrap();
    assert_eq!((info.mss, info.send_window), (1360, 8000));
}

#[test]
fn cookies_leave_neither_memory_nor_log() {
    let mut door = Door::new(config());
    (0..10).for_each(|client| drop(door.give(&syn(client, options()))));
    let (digest, memory) = (door.shard.full_digest(), door.shard.memory());
    for client in 10..100_010 {
        door.cookie(client, options());
    }
    assert_eq!((door.shard.full_digest(), door.shard.memory()), (digest, memory));
    assert_eq!(door.logged, 10);
    assert_eq!(door.counters().cookies_sent, 100_000);
}

#[test]
fn cookie_is_good_for_its_client_and_its_time_only() {
    let mut door = Door::new(always_cookies());
    let cookie = door.cookie(1, options());
    let good = answer_to(&cookie, b"");
    for (at, what) in [(7, "sequence"), (11, "acknowledgment"), (3, "port")] {
        let mut wrong = good.clone();
        let at = if what == "port" { 20 + 1 } else { 20 + at };
        wrong[at] ^= 2;
        refresh_checksum(&mut wrong);
        assert_eq!(door.give(&wrong), Answer::Reset, "{what}");
    }
    // The echo with the options.
    let mut wrong = good.clone();
    let last = wrong.len() - 1;
    wrong[last] ^= 1;
    refresh_checksum(&mut wrong);
    assert_eq!(door.give(&wrong), Answer::Reset);
    assert_eq!(door.counters().cookies_invalid, 4);
    door.now_us += 32_000_000;
    assert!(matches!(door.give(&good), Answer::Packets(_)), "after one tick");
    let mut door = Door::new(always_cookies());
    let good = answer_to(&door.cookie(1, options()), b"");
    door.now_us += 68_000_000;
    door.cookie(2, options());
    assert_eq!(door.give(&good), Answer::Reset, "after two ticks");
    assert_eq!(door.established(), 0);
}

fn refresh_checksum(packet: &mut [u8]) {
    packet[20 + 16..20 + 18].fill(0);
    packet[10..12].fill(0);
    checksum::finish_tcp(packet, ipv4::HEADER_LEN, &[]);
}

/// Whoever guesses must guess during an attack.
#[test]
fn cookie_is_taken_only_while_some_are_out() {
    let mut door = Door::new(config());
    let mut other = Door::new(always_cookies());
    let good = answer_to(&other.cookie(1, options()), b"");
    assert_eq!(door.give(&good), Answer::Reset);
    assert_eq!(door.counters().strays, 1);
    // But the one that takes over can't know whether its predecessor has made some.
    door.guard.take_over(door.now());
    assert!(matches!(door.give(&good), Answer::Packets(_)));
    assert_eq!(door.established(), 1);
}

#[test]
fn node_that_takes_over_accepts_what_its_predecessor_made() {
    let mut old = Door::new(always_cookies());
    old.give(&syn(1, options()));
    // Nothing but cookies for a long time: still the log tells the time.
    for second in 0..3600 {
        old.now_us += 1_000_000;
        old.cookie(1000 + second, options());
    }
    old.now_us += 900_000;
    let good = answer_to(&old.cookie(2, options()), b"data");
    let logged = old.shard.now();
    assert!(old.now().since_us(logged) < PULSE_US);
    let mut new = Door::new(always_cookies());
    // The last that it got of the log is a little older.
    new.now_us = logged.as_micros() - 900_000;
    new.step(&[]);
    new.guard.take_over(new.now());
    let Answer::Packets(replies) = new.give(&good) else { panic!("it must be good there too") };
    let reply = Segment::parse(&replies[0], Checksums::Trusted).unwrap();
    let cookie_clock = Segment::parse(&good, Checksums::Trusted).unwrap().options.timestamps;
    assert!(reply.options.timestamps.unwrap().value >= cookie_clock.unwrap().echo);
}

#[test]
fn segments_behind_an_answer_belong_to_its_connection() {
    let mut door = Door::new(always_cookies());
    let cookie = door.cookie(1, options());
    let ack = answer_to(&cookie, b"");
    let first = answer_to(&cookie, b"first");
    let later = {
        let segment = Segment::parse(&first, Checksums::Trusted).unwrap();
        let header = SegmentHeader {
            flow: Flow { local: segment.flow.remote, remote: segment.flow.local },
            seq: segment.seq + 5,
            ack: segment.ack,
            flags: segment.flags,
            window: segment.window,
            options: segment.options.clone(),
        };
        packet(&header, b" and second")
    };
    // Alone it proves nothing, and is not refused either: the other may still come.
    assert_eq!(door.give(&later), Answer::Nothing);
    let mut segments: Vec<_> =
        [&ack, &later].map(|packet| Segment::parse(packet, Checksums::Verify).unwrap()).into();
    assert!(door.shard.look_up(&mut segments));
    let (now, mut out) = (door.now(), [0; MAX_ANSWER_LEN]);
    for segment in &segments {
        assert_eq!(door.guard.screen(&door.shard, now, segment, &mut out), Verdict::Log);
    }
    door.step(&segments);
    drop(segments);
    let Answer::Packets(replies) = door.give(&first) else { panic!("it has a connection") };
    let echoed: Vec<u8> = replies
        .iter()
        .flat_map(|reply| Segment::parse(reply, Checksums::Trusted).unwrap().payload.to_vec())
        .collect();
    assert_eq!(echoed, b"first and second");
}

#[test]
fn the_end_of_a_stream_whose_beginning_was_lost_is_not_refused() {
    let mut door = Door::new(always_cookies());
    let cookie = door.cookie(1, options());
    let ack = answer_to(&cookie, b"");
    let segment = Segment::parse(&ack, Checksums::Trusted).unwrap();
    let header = |flags| SegmentHeader {
        flow: Flow { local: segment.flow.remote, remote: segment.flow.local },
        seq: segment.seq + 5,
        ack: segment.ack,
        flags,
        window: segment.window,
        options: segment.options.clone(),
    };
    let fin = packet(&header(segment.flags | Flags::FIN), b"");
    assert_eq!(door.give(&fin), Answer::Nothing);
    assert_eq!(door.give(&packet(&header(segment.flags), b"")), Answer::Reset);
}

#[test]
fn strangers_other_than_clients_are_refused_and_not_logged() {
    let mut door = Door::new(config());
    for flags in 0..=255_u8 {
        let flags = Flags(flags);
        let (seq, ack, options) = (SeqNumber(1), SeqNumber(2), Options::default());
        let segment =
            packet(&SegmentHeader { flow: flow(1), seq, ack, flags, window: 100, options }, &[]);
        let refused = flags.ack() && !flags.rst();
        let expected = if refused { Answer::Reset } else { Answer::Nothing };
        let opens = is_opening(&Segment::parse(&segment, Checksums::Verify).unwrap());
        if !opens {
            assert_eq!(door.give(&segment), expected, "{flags:?}");
        }
        let mut closed = flow(1);
        closed.remote.port = CLOSED_PORT;
        let segment = packet(
            &SegmentHeader {
                flow: closed,
                seq,
                ack,
                flags,
                window: 9,
                options: Options::default(),
            },
            &[],
        );
        assert_eq!(door.give(&segment), Answer::Reset);
    }
    assert_eq!((door.logged, door.shard.memory().connections), (0, 0));
}

#[test]
fn backlog_pushes_out_the_oldest() {
    let mut config = config();
    config.services[0].cookies_above = config.services[0].backlog;
    let mut door = Door::new(config);
    for client in 0..150 {
        door.now_us += 1000;
        door.give(&syn(client, options()));
    }
    assert_eq!(door.shard.services()[0].half_open, 100);
    assert_eq!(door.shard.counters().half_open_recycled, 50);
    let oldest = door.shard.connections(0).map(|info| info.flow.remote).min();
    assert_eq!(oldest, Some(flow(50).local));
}

#[test]
fn service_has_no_more_connections_than_it_may() {
    for (at_limit, expected) in [(AtLimit::Drop, Answer::Nothing), (AtLimit::Reset, Answer::Reset)]
    {
        let mut config = config();
        config.services[0].limits.max_connections = Some(3);
        config.services[0].limits.at_limit = at_limit;
        let mut door = Door::new(config);
        for client in 0..3 {
            assert!(matches!(door.give(&syn(client, options())), Answer::Packets(_)));
        }
        assert_eq!(door.give(&syn(4, options())), expected);
        assert_eq!(refused(&door, Refusal::Connections), 1);
        // One gives up.
        door.wait(120_000_000);
        assert!(matches!(door.give(&syn(5, options())), Answer::Packets(_)));
    }
}

/// What waits for late segments only keeps nobody out.
#[test]
fn time_wait_does_not_count() {
    let mut config = always_cookies();
    config.services[0].limits.max_connections = Some(1);
    config.sources.max_connections = Some(1);
    config.services[0].kind = ServiceKind::Stream {
        length: crate::config::StreamLength::Requested,
        rate_bps: None,
        seed: 0,
    };
    let mut door = Door::new(config);
    let cookie = door.cookie(1, Options { timestamps: None, ..options() });
    assert!(matches!(door.give(&answer_to(&cookie, b"0\n")), Answer::Packets(_)));
    assert_eq!(door.shard.services()[0].connections, 1);
    let theirs = Segment::parse(&cookie, Checksums::Trusted).unwrap();
    let fin = SegmentHeader {
        flow: theirs.flow,
        seq: theirs.ack + 2,
        ack: theirs.seq + 2,
        flags: Flags::FIN | Flags::ACK,
        window: 8000,
        options: Options::default(),
    };
    door.give(&packet(&fin, &[]));
    assert_eq!(door.shard.count_in(State::TimeWait), 1);
    assert_eq!(door.shard.services()[0].connections, 0);
    let mut other = syn(1, options());
    other[20] ^= 1;
    refresh_checksum(&mut other);
    assert!(matches!(door.give(&other), Answer::Cookie(_)));
}

/// The guard sees none of them in the shard yet; the step must count.
#[test]
fn limit_holds_within_one_step() {
    let mut config = config();
    config.services[0].limits.max_connections = Some(3);
    config.sources.max_connections = Some(2);
    let mut door = Door::new(config);
    let packets: Vec<_> = (0..8).map(|client| syn(client / 3, options())).collect();
    let mut packets = packets;
    for (at, packet) in packets.iter_mut().enumerate() {
        packet[20..22].copy_from_slice(&(5000 + at as u16).to_be_bytes());
        refresh_checksum(packet);
    }
    let segments: Vec<_> =
        packets.iter().map(|p| Segment::parse(p, Checksums::Verify).unwrap()).collect();
    door.step(&segments);
    let usage = &door.shard.services()[0];
    assert_eq!(usage.connections, 3);
    let refused = |refusal: Refusal| usage.refused.0[refusal as usize];
    assert_eq!((refused(Refusal::SourceConnections), refused(Refusal::Connections)), (1, 4));
}

#[test]
fn source_has_no_more_connections_than_it_may() {
    let mut config = config();
    config.sources.max_connections = Some(2);
    config.sources.ipv4_prefix = 31;
    let mut door = Door::new(config);
    for client in [0, 1, 2] {
        assert!(matches!(door.give(&syn(client, options())), Answer::Packets(_)));
    }
    let mut third = syn(0, options());
    third[20] ^= 1;
    refresh_checksum(&mut third);
    assert_eq!(door.give(&third), Answer::Nothing, "10.0.0.0/31 has two");
    assert!(matches!(door.give(&syn(3, options())), Answer::Packets(_)));
    assert_eq!(refused(&door, Refusal::SourceConnections), 1);
}

#[test]
fn new_connections_come_at_the_rate_of_service_and_source() {
    let mut config = config();
    config.services[0].limits.rate = Some(Rate { per_second: 2, burst: 4 });
    config.sources.rate = Some(Rate { per_second: 1, burst: 2 });
    let mut door = Door::new(config);
    let syn_of = |door: &mut Door, client: u32, port: u16| {
        let mut packet = syn(client, options());
        packet[20..22].copy_from_slice(&port.to_be_bytes());
        refresh_checksum(&mut packet);
        matches!(door.give(&packet), Answer::Packets(_))
    };
    let greedy: Vec<_> = (0..4).map(|port| syn_of(&mut door, 1, 5000 + port)).collect();
    assert_eq!(greedy, [true, true, false, false]);
    let others: Vec<_> = (2..6).map(|client| syn_of(&mut door, client, 5000)).collect();
    assert_eq!(others, [true, true, false, false]);
    assert_eq!((refused(&door, Refusal::SourceRate), refused(&door, Refusal::Rate)), (2, 2));
    door.now_us += 1_000_000;
    assert!(syn_of(&mut door, 1, 6000) && !syn_of(&mut door, 1, 6001));
}

/// Forged SYNs must not use up what clients may have.
#[test]
fn cookies_cost_no_rate_and_their_answers_do() {
    let mut config = always_cookies();
    config.services[0].limits.rate = Some(Rate { per_second: 1, burst: 3 });
    let mut door = Door::new(config);
    for client in 100..1100 {
        door.cookie(client, options());
    }
    let cookies: Vec<_> = (0..4).map(|client| door.cookie(client, options())).collect();
    for cookie in &cookies[..3] {
        assert!(matches!(door.give(&answer_to(cookie, b"")), Answer::Packets(_)));
    }
    assert_eq!(door.give(&answer_to(&cookies[3], b"")), Answer::Reset);
    assert_eq!((door.established(), refused(&door, Refusal::Rate)), (3, 1));
}

#[test]
fn snapshot_keeps_what_is_counted() {
    let mut config = config();
    config.sources.max_connections = Some(3);
    config.services[0].limits.max_connections = Some(6);
    let shared = Arc::new(config.clone());
    let mut door = Door::new(config);
    let packets: Vec<_> = (0..16_u32)
        .map(|number| {
            let mut packet = syn(number / 5, options());
            packet[20..22].copy_from_slice(&(5000 + number as u16).to_be_bytes());
            refresh_checksum(&mut packet);
            packet
        })
        .collect();
    let segments: Vec<_> =
        packets.iter().map(|p| Segment::parse(p, Checksums::Verify).unwrap()).collect();
    door.step(&segments);
    assert_eq!(door.shard.services()[0].connections, 6);
    assert_ne!(door.shard.services()[0].refused, Refusals::default());
    let mut bytes = Vec::new();
    door.shard.save(&mut bytes);
    let restored = Shard::restore(shared, Arc::new(Content::default()), &bytes).unwrap();
    assert_eq!(restored.services(), door.shard.services());
    assert_eq!(restored.full_digest(), door.shard.full_digest());
    for client in 0..8 {
        let address: Addr = flow(client).local.addr;
        assert_eq!(restored.refusal(0, address), door.shard.refusal(0, address));
    }
}

proptest! {
    /// Whatever comes, a step after the guard does what a step of a replica without one does.
    #[test]
    fn replica_needs_the_log_only(
        steps in prop::collection::vec((0u32..30, 0u8..6, 0u64..4_000_000), 1..120)
    ) {
        let mut door = Door::new(config());
        let mut replica = Door::new(config());
        let mut cookies: Vec<Vec<u8>> = Vec::new();
        for (client, what, us) in steps {
            door.now_us += us;
            let sent = match what {
                0..=3 => syn(client, options()),
                _ => match cookies.pop() {
                    Some(cookie) => answer_to(&cookie, b"x"),
                    None => continue,
                },
            };
            let before = door.logged;
            let stale = door.guard.wants_step(&door.shard, door.now());
            match door.give(&sent) {
                Answer::Cookie(packet) => cookies.push(packet),
                Answer::Packets(packets) => {
                    let syn_acks = packets.into_iter().filter(|packet| {
                        let segment = Segment::parse(packet, Checksums::Trusted).unwrap();
                        segment.flags.syn() && segment.flags.ack()
                    });
                    cookies.extend(syn_acks);
                }
                Answer::Nothing | Answer::Reset => {}
            }
            replica.now_us = door.now_us;
            if stale {
                replica.step(&[]);
            }
            if door.logged > before {
                replica.step(&[Segment::parse(&sent, Checksums::Trusted).unwrap()]);
            }
            prop_assert_eq!(replica.shard.digest(), door.shard.digest());
        }
        prop_assert_eq!(replica.shard.full_digest(), door.shard.full_digest());
    }
}
