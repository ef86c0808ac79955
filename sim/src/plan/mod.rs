//! What happens in a world: all of it follows from a seed, before the world begins.

mod clients;
mod clusters;
mod divergence;
mod early;
mod faults;
mod internet;
mod lan;
mod links;
mod majority;
pub mod mistakes;

use std::sync::Arc;

use controlplane::MemberConfig;
use engine::addr::Addr;
use engine::config::{
    self, Config, CongestionControl, Keepalive, ServiceConfig, ServiceKind, StreamLength,
};
use engine::content::{Content, SourceFile};
use engine::wire::ethernet::Mac;
use replication::MAX_PEERS;
use worker::{Commit, Keep};

use crate::host::work::{self, FILES};
use crate::net::{LineId, Place, Router, Way, Weather};
use crate::node;
use crate::random::Random;
use crate::time::{MS, S, US};

pub use clients::{Congestion, HostPlan, JobPlan, Stack};
pub use faults::{Fault, Timed};
pub use internet::{LAN, LINKS, Version, features, is_vip};

/// The service's MAC address.
pub const VMAC: Mac = Mac([2, 0x48, 0x46, 0, 0, 0x64]);
/// More half-open connections than a world has.
const COOKIES_NEVER: u32 = 1024;
/// Nodes of a pair, which most clusters are.
pub const NODES: usize = 2;
/// Nodes of a cluster at most.
pub const MAX_NODES: usize = MAX_PEERS + 1;

/// What a node is made of.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its number: 0 is preferred as the first primary.
    pub index: usize,
    /// Nodes of its cluster.
    pub cluster: usize,
    /// Worker threads of the appliance, all of which share one queue of each card.
    pub workers: u16,
    /// The shards' configuration.
    pub shard: Arc<Config>,
    /// Files that are served.
    pub content: Arc<Content>,
    /// Timing of the control plane.
    pub member: MemberConfig,
    /// IP versions of the service LAN, the heartbeats' one first.
    pub lan: Vec<Version>,
    /// IP version of the link.
    pub link: Version,
    /// MTU of the service LAN.
    pub mtu: u16,
    /// MTU of the link.
    pub link_mtu: u16,
    /// Received log that may wait.
    pub pending_log_bytes: usize,
    /// When the log is confirmed.
    pub commit: Commit,
    /// Packets that may wait for the log.
    pub gate_frames: usize,
    /// What it keeps of what the switch floods; nothing where the switch learns.
    pub keep: Option<Keep>,
    /// What a loop costs.
    pub loop_ns: u64,
    /// What its clock shows at the start of the world.
    pub clock_ns: u64,
    /// How much too fast that runs.
    pub drift_ppm: i64,
    /// When it starts.
    pub start_ns: u64,
}

impl Machine {
    /// How many replication links it has.
    #[must_use]
    pub fn links(&self) -> usize {
        self.member.links.into()
    }

    /// The numbers of the other nodes, in the order in which this one names them.
    pub fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let own = self.index;
        (0..self.cluster).filter(move |other| *other != own)
    }
}

/// Who decides which node is primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// The two nodes between themselves.
    Pair,
    /// Somebody else, whose word binds all: a majority of voters, or a service.
    Binding {
        /// How long a word takes to it, and from it.
        delay_ns: u64,
    },
}

/// All that will happen in a world.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where it comes from.
    pub seed: u64,
    /// The nodes.
    pub machines: Vec<Machine>,
    /// What makes one of them the primary.
    pub register: Register,
    /// The clients' machines, and what they do.
    pub hosts: Vec<HostPlan>,
    /// Everyday weather of each line.
    pub lines: Vec<(LineId, Weather)>,
    /// What goes wrong, in order. Times count from the moment that the pair has formed.
    pub faults: Vec<Timed>,
    /// When everything is mended, from the same moment on.
    pub calm_ns: u64,
    /// The backup was built with another configuration; this must be noticed.
    pub diverges: Option<&'static str>,
}

impl Plan {
    /// Whether services may answer SYNs with cookies.
    #[must_use]
    pub fn is_stateless(&self) -> bool {
        let services = self.machines.iter().flat_map(|machine| &machine.shard.services);
        services.into_iter().any(|service| service.cookies_above < COOKIES_NEVER)
    }

    /// Ports of the services whose payload does not wait for the log (commit rule SWFR).
    pub fn early_ports(&self) -> impl Iterator<Item = u16> {
        let services = self.machines[0].shard.services.iter();
        services
            .filter(|service| service.commit == config::Commit::Swfr)
            .map(|service| service.port)
    }

    /// Whether packets that the cards allow vanish on a path without a word, for ever.
    #[must_use]
    pub fn has_black_holes(&self) -> bool {
        let narrow = |weather: &Weather| weather.mtu < self.machines[0].mtu;
        self.lines.iter().any(|(_, weather)| narrow(weather) && weather.router == Router::Silent)
    }

    /// Ports of the services whose packets wait for a majority (commit rule quorum).
    pub fn majority_ports(&self) -> impl Iterator<Item = u16> {
        let services = self.machines[0].shard.services.iter();
        services
            .filter(|service| service.commit == config::Commit::Quorum)
            .map(|service| service.port)
    }

    /// The plan of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Plan {
        let mut plan = Plan::by_all(seed);
        majority::add(&mut plan, &mut Random::new(seed, 13));
        mistakes::add(&mut plan, &mut Random::new(seed, 14));
        divergence::add(&mut plan, &mut Random::new(seed, 15));
        plan
    }

    /// The same with nothing that waits for a majority, with nobody who makes a mistake, and without
    /// backups of another configuration where nothing else is wrong.
    #[must_use]
    pub fn by_all(seed: u64) -> Plan {
        let mut plan = Plan::plugged(seed);
        lan::add(&mut plan, &mut Random::new(seed, 12));
        plan
    }

    /// The same where the service LAN fails at no node for longer than a moment, but by chance.
    #[must_use]
    pub fn plugged(seed: u64) -> Plan {
        let mut plan = Plan::linked_once(seed);
        links::add(&mut plan, &mut Random::new(seed, 10));
        plan
    }

    /// The same with one link.
    #[must_use]
    pub fn linked_once(seed: u64) -> Plan {
        let mut plan = Plan::paired(seed);
        clusters::add(&mut plan, &mut Random::new(seed, 9));
        early::add(&mut plan, &mut Random::new(seed, 10));
        plan
    }

    /// A world of two links in which nothing fails but one of them at a time: nobody may notice.
    #[must_use]
    pub fn spared(seed: u64) -> Plan {
        let mut plan = Plan::plain(seed);
        links::spare(&mut plan, &mut Random::new(seed, 11));
        plan
    }

    /// A world in which nothing fails but the service LAN at one node.
    #[must_use]
    pub fn unplugged(seed: u64, node: usize) -> Plan {
        let mut plan = Plan::plain(seed);
        lan::unplug(&mut plan, &mut Random::new(seed, 13), node);
        plan
    }

    /// The same with two nodes that decide between themselves.
    #[must_use]
    pub fn paired(seed: u64) -> Plan {
        let mut plan = Plan::learning(seed);
        flood(&mut plan, &mut Random::new(seed, 8));
        plan
    }

    /// The same with a switch that learns.
    #[must_use]
    pub fn learning(seed: u64) -> Plan {
        let mut plan = Plan::plain(seed);
        clients::close_early(&mut plan.hosts, &mut Random::new(seed, 7));
        internet::add(&mut plan, &mut Random::new(seed, 6));
        faults::add_orders(&mut plan.faults, &mut Random::new(seed, 8));
        plan
    }

    /// Whether the switch floods what is for the service.
    #[must_use]
    pub fn floods(&self) -> bool {
        self.machines.iter().any(|machine| machine.keep.is_some())
    }

    /// The same with IPv4 alone, with paths that take all that Ethernet takes and mark nothing, and
    /// with clients that close when they are done. What worlds are to have from now on is drawn
    /// beside this, so that these stay what they are.
    #[must_use]
    pub fn plain(seed: u64) -> Plan {
        let mut random = Random::new(seed, 1);
        let hosts = clients::plan(&mut Random::new(seed, 2));
        let (machines, diverges) = machines(&mut random);
        let lines = lines(&mut Random::new(seed, 3), hosts.len());
        let faults = faults::plan(&mut Random::new(seed, 4), hosts.len());
        let last_ns = faults.iter().map(|timed| timed.at_ns).max().unwrap_or(0);
        let calm_ns = last_ns + random.between(200, 2500) * MS;
        let register = Register::Pair;
        Plan { seed, machines, register, hosts, lines, faults, calm_ns, diverges }
    }
}

fn machines(random: &mut Random) -> (Vec<Machine>, Option<&'static str>) {
    let shard = shard_config(random);
    let content = Arc::new(content());
    let link_mtu = random.pick(&[1500, 1500, 9000]);
    let (pending_log_bytes, gate_frames) = (random.pick(&[0, 1 << 20]), random.pick(&[64, 4096]));
    let workers = random.pick(&[[1, 1], [1, 1], [1, 1], [2, 2], [2, 1], [1, 3]]);
    let mut machines: Vec<Machine> = (0..NODES)
        .map(|index| Machine {
            index,
            cluster: NODES,
            workers: workers[index],
            shard: Arc::new(shard.clone()),
            content: Arc::clone(&content),
            member: node::member_config(),
            lan: vec![Version::V4],
            link: Version::V4,
            mtu: 1500,
            link_mtu,
            pending_log_bytes,
            commit: Commit::default(),
            gate_frames,
            keep: None,
            loop_ns: random.magnitude(2, 60) * US,
            clock_ns: random.magnitude(S, 1 << 45),
            drift_ppm: random.between(0, 400) as i64 - 200,
            start_ns: random.below(100) * MS,
        })
        .collect();
    let diverges = random.permille(40).then(|| divergence::diverge(random, &mut machines[1].shard));
    (machines, diverges)
}

/// In some worlds both nodes hear the clients.
fn flood(plan: &mut Plan, random: &mut Random) {
    if !random.permille(300) {
        return;
    }
    let keep = Keep {
        for_us: random.magnitude(5_000, 2_000_000),
        frames: random.magnitude(4, 4096) as usize,
    };
    plan.machines.iter_mut().for_each(|machine| machine.keep = Some(keep));
}

fn shard_config(random: &mut Random) -> Config {
    let requested =
        ServiceKind::Stream { length: StreamLength::Requested, rate_bps: None, seed: 0 };
    let paced = ServiceKind::Stream {
        length: StreamLength::Requested,
        rate_bps: Some(random.magnitude(200_000, 20_000_000)),
        seed: 77,
    };
    let http = ServiceKind::Http { root: "www".to_owned(), directory_index: false };
    let mut services = vec![
        ServiceConfig::new("echo", work::ECHO_PORT, ServiceKind::Echo),
        ServiceConfig::new("discard", work::DISCARD_PORT, ServiceKind::Discard),
        ServiceConfig::new("stream-n", work::STREAM_PORT, requested),
        ServiceConfig::new("paced", work::PACED_PORT, paced),
        ServiceConfig::new("http", work::HTTP_PORT, http),
    ];
    let newreno = random.permille(300);
    let cookies_above = random.pick(&[COOKIES_NEVER, COOKIES_NEVER, 2, 0]);
    for service in &mut services {
        service.nagle = random.permille(200);
        service.cookies_above = cookies_above;
        if newreno {
            service.congestion = CongestionControl::NewReno;
        }
        service.keepalive =
            Some(Keepalive { idle_us: 3_000_000, interval_us: 1_000_000, probes: 6 });
        service.send_buffer_bytes = random.pick(&[8 << 10, 64 << 10, 256 << 10]);
        service.recv_buffer_bytes = random.pick(&[16 << 10, 64 << 10, 1 << 20]);
    }
    let mut config = Config {
        vips: vec![Addr::from(Version::V4.vip())],
        shards: random.pick(&[1, 4, 4, 7]),
        max_connections: 128,
        pool_blocks: random.pick(&[128, 512, 4096, 4096]),
        tx_segments: random.pick(&[128, 4096, 4096]),
        max_packets_per_step: random.pick(&[16, 64, 256]),
        mtu: 1500,
        isn_key: [9; 16],
        services,
        ..Config::default()
    };
    config.tcp.msl_us = random.magnitude(20_000, 1_000_000);
    config.tcp.fin_wait_2_us = 20_000_000;
    config.tcp.max_data_retries = 9;
    config.tcp.timestamps = !random.permille(150);
    config.tcp.sack = !random.permille(150);
    config.tcp.window_scaling = !random.permille(150);
    config
}

fn content() -> Content {
    let file = |(path, len): &(&str, u64)| {
        SourceFile::new("www", path, work::file_bytes(path, *len).into(), 1_700_000_000)
    };
    Content::new(FILES.iter().map(file)).expect("the paths differ")
}

fn lines(random: &mut Random, hosts: usize) -> Vec<(LineId, Weather)> {
    let mut lines = Vec::new();
    for node in 0..NODES {
        let link = Weather { delay_ns: random.magnitude(5, 300) * US, ..Weather::FAIR };
        lines.push(((Place::Link(node), Way::Out), link));
        for way in [Way::Out, Way::In] {
            lines.push(((Place::Lan(node), way), Weather::FAIR));
        }
    }
    for host in 0..hosts {
        // To each of them from across the room to across an ocean.
        let delay_ns = random.magnitude(10, 60_000) * US;
        let rate = random.magnitude(2_000_000, 10_000_000_000);
        // From a router with too little memory to one with too much.
        let product = rate / 8 * delay_ns.max(MS) / S;
        let queue_bytes = (product * random.between(1, 8) / 2).max(20_000);
        for way in [Way::Out, Way::In] {
            let jitter_ns = if random.permille(300) { delay_ns / random.between(4, 50) } else { 0 };
            let weather =
                Weather { delay_ns, jitter_ns, bits_per_s: rate, queue_bytes, ..Weather::FAIR };
            lines.push(((Place::Host(host), way), weather));
        }
    }
    lines
}
