//! A program that drives connections itself, with the shard in the client's role.

use engine::config::{Config, ServiceConfig, ServiceKind};
use engine::service::ByteStream;
use engine::service::external::Events;
use engine::shard::{ConnectError, ConnectionId, End, Ready, Shard};
use engine::time::Instant;
use engine::wire::segment::Segment;

use super::support::{DISCARD, ECHO, Recorder, STREAM_N, client, config, parse, server, shard};

/// Far more steps than anything here needs.
const MANY: usize = 10_000;

/// The program: a client shard with one service, a server, and nothing between them.
struct Program {
    now_us: u64,
    client: Shard,
    server: Shard,
    to_client: Vec<Vec<u8>>,
    /// Whether packets reach the server.
    connected: bool,
    told: Vec<Ready>,
}

impl Program {
    fn new() -> Program {
        let external = ServiceConfig::new("load", 1, ServiceKind::External);
        let client = Config { services: vec![external], isn_key: [7; 16], ..config() };
        Program {
            now_us: 1_000_000,
            client: shard(client),
            server: shard(config()),
            to_client: Vec::new(),
            connected: true,
            told: Vec::new(),
        }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.now_us)
    }

    fn open(&mut self, local: u16, port: u16) -> ConnectionId {
        self.client.open(self.now(), client(local), server(port), 0).expect("there is room")
    }

    /// One poll of the program, `act` for each connection that is ready.
    fn poll(&mut self, act: &mut impl FnMut(&mut Shard, Ready)) {
        self.now_us += 10;
        let mut out = Recorder::default();
        let arrived = std::mem::take(&mut self.to_client);
        let segments: Vec<Segment<'_>> = arrived.iter().map(|packet| parse(packet)).collect();
        self.client.take_in(Instant::from_micros(self.now_us), &segments, &mut out);
        while let Some(ready) = self.client.next_ready() {
            self.told.push(ready);
            act(&mut self.client, ready);
        }
        self.client.flush(&mut out);
        if self.connected {
            let segments: Vec<Segment<'_>> =
                out.packets.iter().map(|packet| parse(packet)).collect();
            let mut back = Recorder::default();
            self.server.step(self.now(), &segments, &mut back);
            self.to_client = back.packets;
        }
    }

    fn run(&mut self, done: impl Fn(&Program) -> bool, mut act: impl FnMut(&mut Shard, Ready)) {
        for _ in 0..MANY {
            if done(self) {
                return;
            }
            self.poll(&mut act);
            let deadline = self.client.next_deadline().map_or(0, Instant::as_micros);
            if self.to_client.is_empty() && deadline > self.now_us {
                self.now_us = deadline;
            }
        }
        panic!("it never came to that: {:?}", self.told);
    }

    /// Runs until a connection has ended.
    fn end(&mut self, act: impl FnMut(&mut Shard, Ready)) -> End {
        self.run(|program| program.told.iter().any(|ready| ready.end.is_some()), act);
        self.told.iter().find_map(|ready| ready.end).expect("just seen")
    }
}

fn write(shard: &mut Shard, id: ConnectionId, bytes: &[u8]) -> usize {
    shard.stream(id).expect("it lives").write(bytes)
}

fn read(shard: &mut Shard, id: ConnectionId) -> Vec<u8> {
    let mut stream = shard.stream(id).expect("it lives");
    let mut bytes = vec![0; stream.readable()];
    let len = stream.peek(0, &mut bytes);
    stream.consume(len);
    bytes
}

#[test]
fn request_response_and_close_are_told_once_each() {
    let mut program = Program::new();
    let id = program.open(4000, ECHO);
    let mut answer = Vec::new();
    let end = program.end(|shard, ready| {
        assert_eq!(ready.id, id);
        if ready.events.has(Events::OPENED) {
            assert_eq!(write(shard, id, b"hello"), 5);
        }
        if ready.events.has(Events::READABLE) {
            answer.extend(read(shard, id));
            shard.stream(id).expect("it lives").close();
        }
    });
    assert_eq!((end, answer.as_slice()), (End::Closed, b"hello".as_slice()));
    let times = |events| program.told.iter().filter(|ready| ready.events.has(events)).count();
    assert_eq!((times(Events::OPENED), times(Events::READABLE)), (1, 1));
    assert_eq!(times(Events::PEER_CLOSED), 1);

    // TIME-WAIT and what comes after it are no business of the program's.
    let told = program.told.len();
    program.run(|program| program.client.memory().connections == 0, |_, _| {});
    assert_eq!(program.told.len(), told);
}

#[test]
fn last_bytes_can_be_read_although_the_end_came_with_them() {
    let mut program = Program::new();
    let id = program.open(4000, STREAM_N);
    let mut bytes = 0;
    let end = program.end(|shard, ready| {
        if ready.events.has(Events::OPENED) {
            write(shard, id, b"1000\n");
            shard.stream(id).expect("it lives").close();
        }
        if ready.events.has(Events::READABLE) {
            assert_eq!(ready.end, Some(End::Closed), "data and FIN come in one burst");
            bytes += read(shard, id).len();
        }
    });
    assert_eq!((end, bytes), (End::Closed, 1000));
    assert_eq!(program.client.memory().pool_used, 0);
}

#[test]
fn bytes_are_there_to_be_read_when_both_have_closed() {
    let mut program = Program::new();
    let id = program.open(4000, STREAM_N);
    let end = program.end(|shard, ready| {
        if ready.events.has(Events::OPENED) {
            write(shard, id, b"1000\n");
        }
        if ready.events.has(Events::PEER_CLOSED) && ready.end.is_none() {
            shard.stream(id).expect("it lives").close();
        }
    });
    assert_eq!(end, End::Closed);
    assert_eq!(read(&mut program.client, id).len(), 1000);
    program.run(|program| program.client.memory().connections == 0, |_, _| {});
}

#[test]
fn port_without_a_service_is_refused() {
    let mut program = Program::new();
    program.open(4000, 4);
    assert_eq!(program.end(|_, _| {}), End::Refused);
}

#[test]
fn peer_that_never_answers_is_given_up() {
    let mut program = Program::new();
    program.connected = false;
    program.open(4000, ECHO);
    assert_eq!(program.end(|_, _| {}), End::TimedOut);
}

#[test]
fn peer_that_stops_answering_is_given_up() {
    let mut program = Program::new();
    let id = program.open(4000, ECHO);
    program.run(|program| !program.told.is_empty(), |_, _| {});
    program.connected = false;
    write(&mut program.client, id, b"anybody there?");
    assert_eq!(program.end(|_, _| {}), End::TimedOut);
}

#[test]
fn reset_by_the_peer_is_told() {
    let mut program = Program::new();
    let id = program.open(4000, STREAM_N);
    let end = program.end(|shard, ready| {
        if ready.events.has(Events::OPENED) {
            write(shard, id, b"no number\n");
        }
    });
    assert_eq!(end, End::Reset);
}

#[test]
fn abort_resets_the_peer_and_frees_the_flow() {
    let mut program = Program::new();
    let id = program.open(4000, ECHO);
    program.run(|program| !program.told.is_empty(), |_, _| {});
    program.client.stream(id).expect("it lives").abort();
    assert!(program.client.stream(id).is_none());
    assert_eq!(program.end(|_, _| {}), End::Aborted);
    assert_eq!(program.server.memory().connections, 0);
    program.open(4000, ECHO);
}

#[test]
fn flow_is_busy_until_its_time_wait_is_over() {
    let mut program = Program::new();
    let id = program.open(4000, DISCARD);
    let end = program.end(|shard, ready| {
        if ready.events.has(Events::OPENED) {
            shard.stream(id).expect("it lives").close();
        }
    });
    assert_eq!(end, End::Closed);
    let again = program.client.open(program.now(), client(4000), server(DISCARD), 0);
    assert_eq!(again, Err(ConnectError::FlowInUse));
}

#[test]
fn upload_goes_on_whenever_there_is_room() {
    const TOTAL: usize = 3_000_000;
    let mut program = Program::new();
    let id = program.open(4000, DISCARD);
    let mut left = TOTAL;
    let end = program.end(|shard, ready| {
        if ready.end.is_some() || !ready.events.has(Events::OPENED | Events::WRITABLE) {
            return;
        }
        let mut stream = shard.stream(id).expect("it lives");
        while left > 0 {
            let taken = stream.write(&[1; 10_000][..left.min(10_000)]);
            left -= taken;
            if taken == 0 {
                return;
            }
        }
        stream.close();
    });
    assert_eq!((end, left), (End::Closed, 0));
    assert_eq!(program.server.counters().bytes_in, TOTAL as u64);
}

#[test]
fn two_halves_make_a_step() {
    let (mut whole, mut halves) = (Program::new(), shard(config()));
    let id = whole.open(4000, ECHO);
    let mut packets = Vec::new();
    for round in 0..20_u64 {
        let mut sent = Recorder::default();
        let now = Instant::from_micros(2_000_000 + round * 10);
        let segments: Vec<Segment<'_>> =
            packets.iter().map(|packet: &Vec<u8>| parse(packet)).collect();
        whole.client.take_in(now, &segments, &mut sent);
        while whole.client.next_ready().is_some() {}
        if let Some(mut stream) = whole.client.stream(id) {
            stream.write(b"all the same");
        }
        whole.client.flush(&mut sent);
        let segments: Vec<Segment<'_>> = sent.packets.iter().map(|packet| parse(packet)).collect();
        let (mut one, mut two) = (Recorder::default(), Recorder::default());
        whole.server.step(now, &segments, &mut one);
        halves.take_in(now, &segments, &mut two);
        halves.flush(&mut two);
        assert_eq!(one.packets, two.packets);
        packets = one.packets;
    }
    assert_eq!(whole.server.full_digest(), halves.full_digest());
    assert!(whole.server.counters().bytes_in > 0);
}

#[test]
fn snapshot_keeps_what_was_not_told() {
    let mut program = Program::new();
    let id = program.open(4000, ECHO);
    program.run(|program| !program.to_client.is_empty(), |_, _| {});
    let mut out = Recorder::default();
    let arrived = std::mem::take(&mut program.to_client);
    let segments: Vec<Segment<'_>> = arrived.iter().map(|packet| parse(packet)).collect();
    program.client.take_in(program.now(), &segments, &mut out);
    let mut bytes = Vec::new();
    program.client.save(&mut bytes);
    let external = ServiceConfig::new("load", 1, ServiceKind::External);
    let config = Config { services: vec![external], isn_key: [7; 16], ..config() };
    let content = super::support::content();
    let mut copy = Shard::restore(config.into(), content, &bytes).expect("a snapshot of ours");
    let ready = copy.next_ready().expect("the opening was not told");
    assert_eq!((ready.id, ready.end), (id, None));
    assert!(ready.events.has(Events::OPENED));
}
