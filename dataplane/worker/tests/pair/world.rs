//! The nodes, their clients, the wires between them, and one clock.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crossbeam::channel::{Receiver, Sender};
use engine::addr::Addr;
use engine::config::{Config, ServiceConfig, ServiceKind, StreamLength};
use engine::content::Content;
use engine::wire::ethernet::Mac;
use hw_profiles::{Idle, IdleStrategy};
use replication::{Directive, Incarnation, KeyRing, Protection, Role};
use worker::latency::Latency;
use worker::query::{AfterReading, Summary};
use worker::{
    AddressConfig, At, Commit, Counters, Crew, Event, Ingress, MemoryNic, NodeConfig, PortConfig,
    Query, Shares, Steward, Wire, Worker, crew,
};

use crate::client::{Client, Work};
use crate::network::{Network, Place, Random, Weather};
use crate::steward::{DETECTION_US, TestSteward};
use crate::told::{AnySteward, Told};

/// The numbers of the links' cards in their MAC addresses.
pub const LINK_CARDS: [u8; 2] = [2, 3];
pub const VMAC: Mac = Mac([2, 0x48, 0x46, 0, 0, 0x64]);
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
pub const VIP_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x64);
/// Nodes' clocks have nothing in common.
const CLOCK_ORIGIN_US: [u64; 3] = [1_000, 7_000_000_000, 300_000_000];
/// Time that a loop with work takes.
const BUSY_LOOP_US: u64 = 10;
const LONGEST_STEP_US: u64 = 1_000;

pub struct Node {
    pub workers: Vec<Worker<MemoryNic, AnySteward>>,
    queries: Vec<Sender<Query>>,
    pub events: Receiver<(u16, u64, Event)>,
    lan: Wire,
    /// One of each link.
    links: Vec<Wire>,
    pub alive: bool,
    frozen_until_us: u64,
    pub happened: Vec<Event>,
    /// To its steward.
    order: Arc<AtomicU8>,
    /// By which the test decides for it.
    pub told: Option<Told>,
}

pub struct World {
    pub now_us: u64,
    pub nodes: Vec<Node>,
    pub clients: Vec<Client>,
    pub network: Network,
    pub random: Random,
    ingress: Ingress,
}

pub fn shard_config() -> Config {
    let requested =
        ServiceKind::Stream { length: StreamLength::Requested, rate_bps: None, seed: 0 };
    Config {
        vips: vec![VIP.into(), VIP_V6.into()],
        shards: 4,
        max_connections: 64,
        pool_blocks: 2048,
        tx_segments: 4096,
        max_packets_per_step: 64,
        services: vec![
            ServiceConfig::new("echo", 7, ServiceKind::Echo),
            ServiceConfig::new("discard", 9, ServiceKind::Discard),
            ServiceConfig::new("stream-n", 20, requested),
        ],
        ..Config::default()
    }
}

/// A node's own address on the LAN.
pub fn own_v6(node: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1 + node as u16)
}

pub fn mac(node: usize, port: u8) -> Mac {
    Mac([2, 0, 0, 0, port, 1 + node as u8])
}

/// A node's own address on the link, where that speaks IPv6.
fn link_v6(node: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, 1 + node as u16)
}

/// How nodes of these tests protect their log.
pub fn protection() -> Protection {
    Protection::Sealed(KeyRing::single("lab", b"secret"))
}

/// Of one of two nodes.
pub fn config_of(index: usize, incarnation: Incarnation, shard: Config) -> NodeConfig {
    config_among(2, 1, index, incarnation, shard)
}

/// LAN and link have IPv6 alone if the service has.
fn config_among(
    nodes: usize,
    links: usize,
    index: usize,
    incarnation: Incarnation,
    shard: Config,
) -> NodeConfig {
    let others = || (0..nodes).filter(move |node| *node != index);
    let own = |net: u8, node: usize| Ipv4Addr::new(10, net, 0, 1 + node as u8);
    let port = |net| {
        let place =
            AddressConfig { address: own(net, index).into(), prefix_len: 24, gateway: None };
        PortConfig::new(place, others().map(|node| own(net, node)))
    };
    let v6 = |own: fn(usize) -> Ipv6Addr| {
        let address = own(index).into();
        PortConfig::new(AddressConfig { address, prefix_len: 64, gateway: None }, others().map(own))
    };
    let (lan, first) = if shard.vips.iter().any(Addr::is_ipv4) {
        let mut both = port(77);
        both.addresses.extend(v6(own_v6).addresses);
        (both, port(78))
    } else {
        (v6(own_v6), v6(link_v6))
    };
    NodeConfig {
        incarnation,
        vmac: VMAC,
        ingress: Ingress::Switch,
        lan,
        links: [first, port(79)].into_iter().take(links).collect(),
        control_port: 7400,
        protection: protection(),
        commit: Commit::default(),
        detection_timeout_us: DETECTION_US,
        idle: Idle {
            strategy: IdleStrategy::Spin,
            spin_polls: 0,
            yield_polls: 0,
            sleep_us: 0,
            coalesce_us: 0,
        },
        shard: Arc::new(shard),
        content: Arc::new(Content::new([]).unwrap()),
        pending_log_bytes: 0,
        handover_bytes_per_second: 20 << 20,
        gate_frames: 1024,
    }
}

/// A node's workers, of which only the first has queues, and the wires to them.
pub fn crew_of<S: Steward>(
    index: usize,
    incarnation: Incarnation,
    workers: u16,
    shard: Config,
    steward: S,
) -> (Crew<MemoryNic, S>, Wire, Wire) {
    let config = config_of(index, incarnation, shard);
    let (crew, lan, mut links) = crew_from(config, index, workers, steward);
    (crew, lan, links.remove(0))
}

/// The same, of another configuration.
pub fn crew_from<S: Steward>(
    config: NodeConfig,
    index: usize,
    workers: u16,
    steward: S,
) -> (Crew<MemoryNic, S>, Wire, Vec<Wire>) {
    let (lan, lan_wire) = MemoryNic::new(mac(index, 1), 1500);
    let cards = LINK_CARDS.iter().take(config.links.len());
    let (links, link_wires): (Vec<_>, Vec<_>) =
        cards.map(|card| MemoryNic::new(mac(index, *card), 1500)).unzip();
    let without_queues = || Shares {
        lan: lan.without_queues(),
        links: links.iter().map(MemoryNic::without_queues).collect(),
    };
    let mut shares: Vec<_> = (1..workers).map(|_| without_queues()).collect();
    shares.insert(0, Shares { lan, links: links.into_iter().collect() });
    (crew(config, shares, steward).unwrap(), lan_wire, link_wires)
}

fn run_of(
    index: usize,
    incarnation: Incarnation,
    workers: u16,
    shard: Config,
    ingress: Ingress,
) -> Node {
    let order = Arc::new(AtomicU8::new(0));
    let steward = TestSteward::new(index, workers, incarnation, Arc::clone(&order));
    let steward = AnySteward::Own(steward);
    let config = NodeConfig { ingress, ..config_of(index, incarnation, shard) };
    node_of(crew_from(config, index, workers, steward), order)
}

type TestCrew = (Crew<MemoryNic, AnySteward>, Wire, Vec<Wire>);

fn node_of((crew, lan, links): TestCrew, order: Arc<AtomicU8>) -> Node {
    Node {
        workers: crew.workers,
        queries: crew.queries,
        events: crew.events,
        lan,
        links,
        alive: true,
        frozen_until_us: 0,
        happened: Vec::new(),
        order,
        told: None,
    }
}

/// One of several nodes, for which the test decides.
fn told_node(config: NodeConfig, index: usize, workers: u16, directive: Directive) -> Node {
    let told = Told::new(directive);
    let crew = crew_from(config, index, workers, AnySteward::Told(told.clone()));
    Node { told: Some(told), ..node_of(crew, Arc::default()) }
}

/// The first run of a node.
fn incarnation_of(index: usize) -> Incarnation {
    Incarnation(100 + index as u64)
}

impl Node {
    /// Clients' frames that it keeps.
    pub fn kept(&self) -> usize {
        self.workers.iter().map(Worker::kept_frames).sum()
    }
}

impl World {
    /// A pair that is in sync.
    pub fn new(seed: u64, clients: usize) -> World {
        World::with(seed, clients, [1, 1], [shard_config(), shard_config()])
    }

    pub fn with(seed: u64, clients: usize, workers: [u16; 2], shards: [Config; 2]) -> World {
        World::made(seed, clients, workers, shards, Ingress::Switch)
    }

    pub fn made(
        seed: u64,
        clients: usize,
        workers: [u16; 2],
        shards: [Config; 2],
        ingress: Ingress,
    ) -> World {
        let [first, second] = shards;
        let node = |index: usize, shard| {
            run_of(index, incarnation_of(index), workers[index], shard, ingress)
        };
        World::of_nodes(seed, clients, vec![node(0, first), node(1, second)], ingress)
    }

    /// A pair without clients.
    pub fn of_crews(crews: [TestCrew; 2]) -> World {
        let nodes = crews.map(|crew| node_of(crew, Arc::default()));
        World::of_nodes(0, 0, nodes.into(), Ingress::Switch)
    }

    /// Nodes with so many workers each, and one or two links, for which the test decides.
    pub fn told(
        seed: u64,
        clients: usize,
        links: usize,
        shard: &Config,
        nodes: &[(u16, Directive)],
    ) -> World {
        let told = |(index, (workers, directive)): (usize, &(u16, Directive))| {
            let config =
                config_among(nodes.len(), links, index, incarnation_of(index), shard.clone());
            told_node(config, index, *workers, *directive)
        };
        let nodes = nodes.iter().enumerate().map(told).collect();
        World::at_start(seed, clients, nodes, Ingress::Switch)
    }

    fn at_start(seed: u64, clients: usize, nodes: Vec<Node>, ingress: Ingress) -> World {
        let mut random = Random(seed);
        World {
            now_us: 0,
            clients: (0..clients).map(|index| Client::new(index, random.next())).collect(),
            network: Network::new(random.next(), nodes.len(), clients, VMAC.0),
            nodes,
            random,
            ingress,
        }
    }

    fn of_nodes(seed: u64, clients: usize, nodes: Vec<Node>, ingress: Ingress) -> World {
        let mut world = World::at_start(seed, clients, nodes, ingress);
        world.run(100_000, |world| world.is_serving(0) && world.role(1) == Role::Backup);
        world.run_for(20_000);
        world
    }

    pub fn weather(&mut self, weather: Weather) {
        self.network.weather = weather;
    }

    pub fn start(&mut self, client: usize, work: Work) {
        self.clients[client].start(work, VIP.into(), &mut self.random);
    }

    pub fn start_over_ipv6(&mut self, client: usize, work: Work) {
        self.clients[client].start(work, VIP_V6.into(), &mut self.random);
    }

    /// Runs until `until` holds; fails after `limit_us`.
    pub fn run(&mut self, limit_us: u64, until: impl Fn(&World) -> bool) {
        let limit_us = self.now_us + limit_us;
        while !until(self) {
            assert!(self.now_us < limit_us, "not done in time:\n{}", self.describe());
            self.step();
        }
    }

    pub fn run_for(&mut self, time_us: u64) {
        let end_us = self.now_us + time_us;
        while self.now_us < end_us {
            self.step();
        }
    }

    pub fn run_clients(&mut self) {
        self.run(120_000_000, |world| world.clients.iter().all(Client::is_done));
    }

    fn step(&mut self) {
        let now_us = self.now_us;
        while let Some((place, frame)) = self.network.arrived(now_us) {
            match place {
                Place::Client(client) => self.clients[client].deliver(frame),
                // A dead or frozen node's card still fills its ring.
                Place::Lan(node) => self.nodes[node].lan.deliver(frame),
                Place::Link(node) => self.nodes[node].links[0].deliver(frame),
                Place::SecondLink(node) => self.nodes[node].links[1].deliver(frame),
            }
        }
        let mut next_us = now_us + LONGEST_STEP_US;
        for index in 0..self.nodes.len() {
            next_us = next_us.min(self.run_node(index));
        }
        for (index, client) in self.clients.iter_mut().enumerate() {
            for frame in client.poll(now_us) {
                self.network.send(now_us, Place::Client(index), frame);
            }
            next_us = next_us.min(client.next_deadline_us(now_us).unwrap_or(u64::MAX));
        }
        next_us = next_us.min(self.network.next_arrival_us().unwrap_or(u64::MAX));
        self.now_us = next_us.max(now_us + 1);
    }

    fn run_node(&mut self, index: usize) -> u64 {
        let now_us = self.now_us;
        let node = &mut self.nodes[index];
        if !node.alive || node.frozen_until_us > now_us {
            return u64::MAX;
        }
        let origin_us = CLOCK_ORIGIN_US[index];
        let mut next_us = u64::MAX;
        for worker in &mut node.workers {
            let turn = worker.run_once(&mut At(now_us + origin_us));
            if turn.busy {
                next_us = next_us.min(now_us + BUSY_LOOP_US);
            }
            let deadline_us = turn.deadline_us.map(|at| at.saturating_sub(origin_us));
            next_us = next_us.min(deadline_us.unwrap_or(u64::MAX));
        }
        node.happened.extend(node.events.try_iter().map(|(_, _, event)| event));
        while let Some(frame) = node.lan.take() {
            self.network.send(now_us, Place::Lan(index), frame);
        }
        for (wire, place) in node.links.iter().zip([Place::Link, Place::SecondLink]) {
            while let Some(frame) = wire.take() {
                self.network.send(now_us, place(index), frame);
            }
        }
        next_us.max(now_us + 1)
    }

    /// Ends a node between two loops, with some of what its card had not sent yet.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].alive = false;
        self.network.lose_last_on_link(node);
    }

    /// Starts a node again that was killed; the other one will give it its state.
    pub fn revive(&mut self, index: usize, workers: u16) {
        let incarnation = Incarnation(200 + self.random.below(1_000_000));
        self.nodes[index] = run_of(index, incarnation, workers, shard_config(), self.ingress);
    }

    /// Wants something of a node's steward.
    pub fn order(&mut self, node: usize, order: u8) {
        self.nodes[node].order.store(order, Ordering::Relaxed);
    }

    pub fn freeze(&mut self, node: usize, time_us: u64) {
        self.nodes[node].frozen_until_us = self.now_us + time_us;
    }

    /// Loses what waits for a node on the LAN.
    pub fn forget_input(&mut self, node: usize) {
        self.nodes[node].lan.forget_input();
    }

    /// The same of its first link.
    pub fn forget_link_input(&mut self, node: usize) {
        self.nodes[node].links[0].forget_input();
    }

    /// Lets a frame come out of a node's port as if it had been on the wire.
    pub fn inject(&mut self, place: Place, frame: Vec<u8>) {
        match place {
            Place::Lan(node) => self.nodes[node].lan.deliver(frame),
            Place::Link(node) => self.nodes[node].links[0].deliver(frame),
            Place::SecondLink(node) => self.nodes[node].links[1].deliver(frame),
            Place::Client(client) => self.clients[client].deliver(frame),
        }
    }

    /// What a node answers to a frame on the LAN, to whoever sent it.
    pub fn ask(&mut self, node: usize, frame: &[u8]) -> Vec<Vec<u8>> {
        self.inject(Place::Lan(node), frame.to_vec());
        self.network.watch(&frame[6..12]);
        self.run_for(2_000);
        self.network.watched()
    }

    pub fn role(&self, node: usize) -> Role {
        let happened = self.nodes[node].happened.iter().rev();
        let directives = happened.filter_map(|event| match event {
            Event::Directive(directive) => Some(directive.role),
            _ => None,
        });
        directives.into_iter().next().unwrap_or(Role::Spare)
    }

    pub fn is_serving(&self, node: usize) -> bool {
        let claimed = |event: &Event| matches!(event, Event::Claimed { .. });
        matches!(self.role(node), Role::Primary(_)) && self.nodes[node].happened.iter().any(claimed)
    }

    /// What each worker of a node says of itself.
    pub fn summaries(&mut self, node: usize) -> Vec<Summary> {
        self.question(node, Query::Summary)
    }

    /// The latencies of a node, all workers together.
    pub fn latency(&mut self, node: usize) -> Latency {
        let mut sum = Latency::default();
        let ask = |answer| Query::Latency(AfterReading::GoOn, answer);
        self.question(node, ask).iter().for_each(|worker| sum.add(&worker.latency));
        sum
    }

    pub fn question<T>(&mut self, node: usize, question: impl Fn(Sender<T>) -> Query) -> Vec<T> {
        let answers: Vec<_> = self.nodes[node]
            .queries
            .iter()
            .map(|queries| {
                let (sender, receiver) = crossbeam::channel::bounded(1);
                queries.send(question(sender)).unwrap();
                receiver
            })
            .collect();
        let mut found = Vec::new();
        for _ in 0..200 {
            self.step();
            found.extend(answers.iter().flat_map(Receiver::try_iter));
        }
        assert_eq!(found.len(), answers.len());
        found
    }

    pub fn counters(&mut self, node: usize) -> Counters {
        let mut sum = Counters::default();
        self.summaries(node).iter().for_each(|summary| sum.add(&summary.counters));
        sum
    }

    fn describe(&self) -> String {
        let mut text = format!("at {} us\n", self.now_us);
        for node in &self.nodes {
            for worker in &node.workers {
                text += &format!("{worker:?}\n");
            }
            text += &format!("{:?}\n", node.happened);
        }
        self.clients.iter().for_each(|client| text += &client.describe());
        text
    }
}
