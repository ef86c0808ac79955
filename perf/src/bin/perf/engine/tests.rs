//! The generator against a server's shard, with a wire in memory between them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use engine::config::{Config, ServiceConfig, ServiceKind, StreamLength};
use engine::content::Content;
use engine::egress::{Egress, Outgoing};
use engine::shard::Shard;
use engine::time::Instant;
use engine::wire::ethernet::{self, Mac};
use engine::wire::segment::Segment;
use engine::wire::{Checksums, arp, checksum, ipv6, ndp};
use hw_profiles::{Idle, IdleStrategy};
use worker::{MemoryNic, Wire};

use super::generator::Generator;
use super::rest::Rest;
use super::{Plan, Unreachable};
use crate::args::{BackendArgs, Cli, Command};
use crate::load::transport::{Events, Failure, Notice, Stream, Transport};
use engine::buffer::pattern;

const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
const THEIRS: Mac = Mac([2, 0, 0, 0, 0, 2]);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x100);
const ECHO: u16 = 7;
const STREAM: u16 = 19;
/// Far more polls than anything here needs.
const MANY: usize = 100_000;

/// The server: a shard behind a wire, that answers ARP and neighbour solicitations.
struct Server {
    wire: Wire,
    shard: Shard,
    out: Vec<Vec<u8>>,
}

impl Egress for Server {
    const WANTS_PAYLOAD: bool = true;

    fn emit(&mut self, packet: &Outgoing<'_>) {
        let ethertype = match packet.remote.is_ipv4() {
            true => ethernet::ETHERTYPE_IPV4,
            false => ethernet::ETHERTYPE_IPV6,
        };
        let link = ethernet::Header { destination: OURS, source: THEIRS, ethertype };
        let mut header = packet.header.to_vec();
        checksum::finish_tcp(&mut header, packet.ip_header_len.into(), packet.payload);
        let payload = packet.payload.concat();
        self.out.push([&link.to_bytes(), header.as_slice(), &payload].concat());
    }
}

impl Server {
    fn new(wire: Wire) -> Server {
        let endless = StreamLength::Endless;
        let stream = ServiceKind::Stream { length: endless, rate_bps: None, seed: 0 };
        let services = vec![
            ServiceConfig::new("echo", ECHO, ServiceKind::Echo),
            ServiceConfig::new("stream", STREAM, stream),
        ];
        let config = Config { services, isn_key: [3; 16], ..Config::default() };
        let shard = Shard::new(0, Arc::new(config), Arc::new(Content::default()));
        Server { wire, shard, out: Vec::new() }
    }

    /// Takes what has come and answers it.
    fn run(&mut self, now_ns: u64) {
        let frames: Vec<Vec<u8>> = std::iter::from_fn(|| self.wire.take()).collect();
        let mut segments = Vec::new();
        for frame in &frames {
            let (header, packet) = ethernet::Header::parse(frame).unwrap();
            if header.ethertype == ethernet::ETHERTYPE_ARP {
                let question = arp::Packet::parse(packet).unwrap();
                assert_eq!((question.target_ip, header.destination), (SERVER, Mac::BROADCAST));
                self.wire.deliver(arp_frame(THEIRS, OURS, &question.reply(THEIRS)));
            } else if let Some(ndp::Message::Solicitation(asked)) = neighbours_message(packet) {
                assert_eq!(asked.target, SERVER_V6);
                self.wire.deliver(advertisement());
            } else {
                assert_eq!((header.destination, header.source), (THEIRS, OURS));
                segments.push(Segment::parse(packet, Checksums::Verify).unwrap());
            }
        }
        let now = Instant::from_micros(5_000_000 + now_ns / 1000);
        let empty = Shard::new(0, Arc::new(Config::default()), Arc::new(Content::default()));
        let mut shard = std::mem::replace(&mut self.shard, empty);
        shard.step(now, &segments, self);
        self.shard = shard;
        self.out.drain(..).for_each(|frame| self.wire.deliver(frame));
    }
}

fn arp_frame(source: Mac, destination: Mac, packet: &arp::Packet) -> Vec<u8> {
    let ethertype = ethernet::ETHERTYPE_ARP;
    let link = ethernet::Header { destination, source, ethertype };
    [link.to_bytes().as_slice(), &packet.to_bytes()].concat()
}

fn neighbours_message(packet: &[u8]) -> Option<ndp::Message> {
    ndp::Message::parse(&ipv6::Packet::parse(packet).ok()?, Checksums::Verify).ok()
}

/// Says where the server is.
fn advertisement() -> Vec<u8> {
    let (target, target_mac) = (SERVER_V6, Some(THEIRS));
    let answer = ndp::Advertisement { target, target_mac, solicited: true, replaces: true };
    let ethertype = ethernet::ETHERTYPE_IPV6;
    let link = ethernet::Header { destination: OURS, source: THEIRS, ethertype };
    [&link.to_bytes()[..], &answer.to_bytes("fd77::2".parse().unwrap())].concat()
}

fn args(more: &str) -> BackendArgs {
    args_with("10.0.0.2/24", more)
}

fn args_with(address: &str, more: &str) -> BackendArgs {
    use clap::Parser;
    let line = format!(
        "holdfast-perf rpc --target {SERVER}:7 --device x --profile memif --address {address} {more}"
    );
    match Cli::parse_from(line.split_whitespace()).command {
        Command::Rpc(args) => args.common.backend,
        other => panic!("{other:?}"),
    }
}

struct World {
    generator: Generator<MemoryNic>,
    server: Server,
    notices: Vec<Notice>,
}

impl World {
    fn new(port: u16, connections: u32, more: &str) -> World {
        let question = arp::Packet::request(OURS, Ipv4Addr::new(10, 0, 0, 2), SERVER);
        let answer = arp_frame(THEIRS, OURS, &question.reply(THEIRS));
        World::with(&args(more), (SERVER, port).into(), connections, answer)
    }

    fn over_ipv6(port: u16, connections: u32, more: &str) -> World {
        let args = args_with("fd77::2/64", more);
        World::with(&args, (SERVER_V6, port).into(), connections, advertisement())
    }

    /// `answer` is what tells the generator where the server is.
    fn with(args: &BackendArgs, target: SocketAddr, connections: u32, answer: Vec<u8>) -> World {
        let (nic, wire) = MemoryNic::new(OURS, 1500);
        let plan = Plan::new(args, target, connections).unwrap();
        let idle = Idle {
            strategy: IdleStrategy::Spin,
            spin_polls: 0,
            yield_polls: 0,
            sleep_us: 1,
            coalesce_us: 0,
        };
        let mut generator = plan.generator(nic, Rest::new(idle), "memory".to_owned());
        let server = Server::new(wire);
        assert!(!generator.find_way(Duration::ZERO), "nobody has answered yet");
        server.wire.deliver(answer);
        assert!(generator.find_way(Duration::from_secs(1)));
        World { generator, server, notices: Vec::new() }
    }

    /// Polls until `act`, which sees every notice, says that it is done.
    fn run(&mut self, mut act: impl FnMut(&mut Generator<MemoryNic>, Notice) -> bool) {
        for _ in 0..MANY {
            self.generator.poll(0, &mut self.notices).unwrap();
            for notice in std::mem::take(&mut self.notices) {
                if act(&mut self.generator, notice) {
                    return;
                }
            }
            self.server.run(self.generator.now_ns());
        }
        panic!("it never came to that");
    }
}

#[test]
fn connections_from_all_sources_exchange_and_close() {
    const CONNECTIONS: u32 = 600;
    let mut world =
        World::new(ECHO, CONNECTIONS, "--sources 10.0.0.3-10.0.0.8 --ports 65436-65535");
    assert_eq!(
        world.generator.local_ends(),
        "10.0.0.3-10.0.0.8, ports 65436-65535: 600 connections"
    );
    for index in 0..CONNECTIONS {
        world.generator.open(index).unwrap();
    }
    assert_eq!(world.generator.open(CONNECTIONS), Err(Failure::NoPorts));
    let (mut opened, mut over) = (0, 0);
    world.run(|generator, notice| {
        let index = notice.index;
        let text = index.to_string();
        if notice.events.has(Events::OPENED) {
            opened += 1;
            assert_eq!(generator.stream(index).unwrap().write(text.as_bytes()), text.len());
        }
        assert!(!notice.events.has(Events::WRITABLE), "nothing was cut short");
        if notice.events.has(Events::READABLE) {
            let mut stream = generator.stream(index).unwrap();
            let len = stream.read(|bytes| assert_eq!(bytes, text.as_bytes()));
            assert_eq!(len, text.len());
            stream.shut_down();
        }
        if notice.events.has(Events::OVER) {
            assert_eq!(notice.failure, None);
            assert!(generator.stream(index).is_none());
            over += 1;
        }
        over == CONNECTIONS
    });
    assert_eq!(opened, CONNECTIONS);
    for _ in 0..CONNECTIONS {
        world.generator.poll(0, &mut world.notices).unwrap();
        world.server.run(world.generator.now_ns());
    }
    assert_eq!(world.server.shard.memory().connections, 0);
}

#[test]
fn pattern_goes_up_and_comes_back_whole() {
    up_and_back(World::new(ECHO, 1, ""));
}

#[test]
fn pattern_goes_up_and_comes_back_whole_over_ipv6() {
    up_and_back(World::over_ipv6(ECHO, 1, ""));
}

fn up_and_back(mut world: World) {
    const TOTAL: u64 = 5_000_000;
    world.generator.open(0).unwrap();
    let (mut up, mut down) = (0, 0);
    world.run(|generator, notice| {
        if notice.events.has(Events::OVER) {
            assert_eq!(notice.failure, None);
            return true;
        }
        let mut stream = generator.stream(0).unwrap();
        if notice.events.has(Events::OPENED.and(Events::WRITABLE)) && up < TOTAL {
            up += stream.write_pattern(up, TOTAL - up);
            if up == TOTAL {
                stream.shut_down();
            }
        }
        if notice.events.has(Events::READABLE) {
            stream.read(|bytes| {
                assert_eq!(pattern::matching(down, bytes), bytes.len());
                down += bytes.len() as u64;
            });
        }
        false
    });
    assert_eq!((up, down), (TOTAL, TOTAL));
}

#[test]
fn abort_ends_it_there_and_frees_the_port_here() {
    let mut world = World::new(STREAM, 1, "--ports 5000-5000");
    world.generator.open(0).unwrap();
    assert_eq!(world.generator.open(1), Err(Failure::NoPorts));
    world.run(|generator, notice| {
        generator.stream(notice.index).unwrap().abort();
        assert!(generator.stream(notice.index).is_none());
        true
    });
    world.generator.poll(0, &mut world.notices).unwrap();
    world.server.run(world.generator.now_ns());
    assert_eq!(world.server.shard.memory().connections, 0);
    world.generator.open(1).unwrap();
    world.run(|_, notice| notice.index == 1 && notice.events.has(Events::OPENED));
}

#[test]
fn closed_port_refuses() {
    let mut world = World::new(8, 1, "");
    world.generator.open(0).unwrap();
    world.run(|_, notice| {
        assert_eq!((notice.index, notice.failure), (0, Some(Failure::Refused)));
        true
    });
}

#[test]
fn connections_of_an_earlier_run_are_reset() {
    let mut world = World::new(STREAM, 1, "");
    world.generator.open(0).unwrap();
    world.run(|_, notice| notice.events.has(Events::READABLE));
    let (nic, wire) = MemoryNic::new(OURS, 1500);
    let plan = Plan::new(&args(""), (SERVER, ECHO).into(), 1).unwrap();
    let idle = Idle {
        strategy: IdleStrategy::Spin,
        spin_polls: 0,
        yield_polls: 0,
        sleep_us: 1,
        coalesce_us: 0,
    };
    world.generator = plan.generator(nic, Rest::new(idle), "memory".to_owned());
    world.server.wire = wire;
    let question = arp::Packet::request(OURS, Ipv4Addr::new(10, 0, 0, 2), SERVER);
    world.server.wire.deliver(arp_frame(THEIRS, OURS, &question.reply(THEIRS)));
    for round in 0..10 {
        world.generator.poll(0, &mut world.notices).unwrap();
        // The server's timers need time to pass.
        world.server.run(1_000_000_000 * (round + 1));
    }
    assert_eq!(world.server.shard.memory().connections, 0);
}

#[test]
fn damaged_and_foreign_frames_are_counted() {
    let mut world = World::new(ECHO, 1, "");
    world.generator.open(0).unwrap();
    world.run(|_, notice| notice.events.has(Events::OPENED));
    world.server.wire.deliver(vec![0; 5]);
    let mut lldp = vec![0; 60];
    lldp[12..14].copy_from_slice(&[0x88, 0xcc]);
    world.server.wire.deliver(lldp);
    world.generator.poll(0, &mut world.notices).unwrap();
    let remarks = world.generator.remarks();
    assert!(remarks[0].starts_with("1 frames came in that are malformed"), "{remarks:?}");
    assert!(remarks[1].starts_with("1 frames came in that are for somebody else"), "{remarks:?}");
}

#[test]
fn what_cannot_work_is_refused_before_a_device_is_opened() {
    let refused = |more: &str, connections| {
        Plan::new(&args(more), (SERVER, ECHO).into(), connections).err().unwrap().to_string()
    };
    assert!(refused("--ports 1-10", 11).contains("10.0.0.2, ports 1-10: 10 connections"));
    assert!(refused("--sources 10.0.0.90-10.0.0.110", 1).contains("--sources"));
    let v6 = Plan::new(&args(""), "[::1]:7".parse().unwrap(), 1).err().unwrap();
    assert!(v6.to_string().contains("two IP versions"), "{v6}");
}

#[test]
fn connections_over_ipv6_from_many_addresses_are_opened_and_answered() {
    let mut world = World::over_ipv6(ECHO, 60, "--sources fd77::10-fd77::15 --ports 5000-5009");
    (0..60).for_each(|index| world.generator.open(index).unwrap());
    let mut opened = 0;
    world.run(|_, notice| {
        opened += u32::from(notice.events.has(Events::OPENED));
        opened == 60
    });
    assert_eq!(world.generator.local_ends(), "fd77::10-fd77::15, ports 5000-5009: 60 connections");
}

#[test]
fn silence_names_who_was_asked() {
    let unreachable = |hop| {
        let hop = IpAddr::from([10, 0, 0, hop]);
        Unreachable { hop, target: SERVER.into(), device: "eth0".to_owned() }.to_string()
    };
    assert!(unreachable(100).starts_with("the target 10.0.0.100 did not answer ARP"));
    assert!(unreachable(1).starts_with("the gateway 10.0.0.1 did not answer ARP"));
}
