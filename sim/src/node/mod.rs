//! A machine with its runs of the appliance: the very workers, replication and control plane that
//! ship, behind cards and a clock of the world.

pub mod card;
pub mod fuse;
mod steward;

use std::rc::Rc;
use std::sync::Arc;

use controlplane::{AnyRegister, Identity, Manifest, Member, MemberConfig, NodeName, Order};
use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded};
use engine::addr::Flow;
use engine::shard::{SNAPSHOT_VERSION, ServiceUse, Shard, Standing};
use engine::wire::ethernet::Mac;
use replication::{Directive, Incarnation, KeyRing, Link, Protection, Role, frame};
use worker::query::{Place, Summary};
use worker::{
    AddressConfig, Clock, Event, Ingress, LOG_VERSION, NodeConfig, PortConfig, Query, Shares,
    Worker, crew,
};

use crate::net;
use crate::plan::mistakes::Mistake;
use crate::plan::{LAN, LINKS, MAX_NODES, Machine, Version};
use crate::time::{DriftingClock, MS, US};
use card::{Card, CardEnd};
use fuse::{Fuse, Point};
use steward::{MemberSteward, MemberView};

/// The most that an idle node sleeps.
const LONGEST_SLEEP_NS: u64 = MS;
/// How soon a node looks again that waits for its peer.
const WAITING_LOOK_NS: u64 = 30 * US;
/// Frames that wait, at any time, for a neighbour on each line that does not answer: those for one
/// peer that is dead.
const WAITING_FRAMES: usize = 8;
/// What the nodes are called.
pub const NAMES: [&str; MAX_NODES] = ["a", "b", "c", "d"];
/// Loops within which a worker answers a question.
const ANSWER_LOOPS: u32 = 70;

/// One run of the appliance: from the start of the process to its end.
#[derive(Debug)]
pub struct Run {
    workers: Vec<Worker<Card, MemberSteward>>,
    queries: Vec<Sender<Query>>,
    events: Receiver<(u16, u64, Event)>,
    member: MemberView,
    /// The world's ends of the cards.
    pub lan: CardEnd,
    /// As above, by the places of the links.
    pub links: Vec<CardEnd>,
    /// Where it will stop.
    pub fuse: Rc<Fuse>,
    /// Its time.
    pub clock: DriftingClock,
    /// Which run this is.
    pub incarnation: Incarnation,
    /// It stands still until then.
    pub frozen_until_ns: u64,
    /// When it looks around again by itself.
    wake_ns: u64,
    /// When the last loop was done.
    busy_until_ns: u64,
    last_local_ns: u64,
    /// What a loop costs.
    pub loop_ns: u64,
}

/// What a loop did to the world.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Frames, with when they left.
    pub sent: Vec<(u64, net::Place, Vec<u8>)>,
    /// What the control plane tells.
    pub decisions: Vec<controlplane::Event>,
    /// What the workers tell.
    pub events: Vec<Event>,
    /// The fuse has burnt down here.
    pub blown_at: Option<Point>,
}

/// The clock of one loop: every look at it finds that the loop has taken time.
struct LoopClock<'a> {
    begin_ns: u64,
    clock: DriftingClock,
    fuse: &'a Fuse,
    looks: u64,
    step_ns: u64,
    last_ns: &'a mut u64,
}

impl Clock for LoopClock<'_> {
    fn now_ns(&mut self) -> u64 {
        self.fuse.pass(Point::Clock);
        let world_ns = self.begin_ns + self.looks * self.step_ns + self.fuse.late_ns();
        self.looks += 1;
        *self.last_ns = (*self.last_ns).max(self.clock.local_ns(world_ns));
        *self.last_ns
    }
}

impl Run {
    /// Starts the appliance on a machine, with a mistake in what it is told or without.
    ///
    /// # Panics
    /// When the plan's configuration cannot run, which is the plan's fault.
    #[must_use]
    pub fn start(
        now_ns: u64,
        machine: &Machine,
        register: AnyRegister,
        clock: DriftingClock,
        run: u64,
        mistake: Option<Mistake>,
    ) -> Run {
        let fuse = Rc::new(Fuse::default());
        let index = machine.index;
        let incarnation = Incarnation(run);
        let (lan, lan_end) = Card::new(mac(index, 1), machine.mtu, false, Rc::clone(&fuse));
        let links = Link::ALL.into_iter().take(machine.links());
        let (links, link_ends): (Vec<_>, Vec<_>) = links
            .map(|link| Card::new(link_mac(link, index), machine.link_mtu, true, Rc::clone(&fuse)))
            .unzip();
        let without_queues = |_| Shares {
            lan: lan.without_queues(),
            links: links.iter().map(Card::without_queues).collect(),
        };
        let mut shares: Vec<_> = (1..machine.workers).map(without_queues).collect();
        shares.insert(0, Shares { lan, links: links.into_iter().collect() });
        let member = Member::with_register(
            machine.member.clone(),
            identity(machine, incarnation, mistake),
            register,
            clock_us(clock, now_ns),
        )
        .expect("a plan's timing can work");
        let (steward, view) = MemberSteward::new(member, Rc::clone(&fuse));
        let crew = crew(config(machine, incarnation, mistake), shares, steward)
            .expect("a plan's node can work");
        Run {
            workers: crew.workers,
            queries: crew.queries,
            events: crew.events,
            member: view,
            lan: lan_end,
            links: link_ends,
            fuse,
            clock,
            incarnation,
            frozen_until_ns: 0,
            wake_ns: now_ns,
            busy_until_ns: now_ns,
            last_local_ns: 0,
            loop_ns: machine.loop_ns,
        }
    }

    /// What the node is told to be.
    #[must_use]
    pub fn directive(&self) -> Directive {
        self.member.directive.get()
    }

    /// An operator wants something of it; it hears that in its next loop.
    pub fn order(&self, order: Order) {
        self.member.orders.borrow_mut().push_back(order);
    }

    /// Whether it holds the state of the service, as far as it knows.
    #[must_use]
    pub fn holds_state(&self) -> bool {
        self.directive().role != Role::Spare
    }

    /// Whether it serves, and has the means to: what a router says then must not be lost on it.
    #[must_use]
    pub fn heeds_routers(&self) -> bool {
        let directive = self.directive();
        matches!(directive.role, Role::Primary(_)) && !directive.silent && self.lan.is_usual()
    }

    /// When its next loop begins.
    #[must_use]
    pub fn next_ns(&self) -> u64 {
        let input = self.lan.has_input() || self.links.iter().any(CardEnd::has_input);
        let wake_ns = if input { 0 } else { self.wake_ns };
        wake_ns.max(self.busy_until_ns).max(self.frozen_until_ns)
    }

    /// One loop of each worker.
    pub fn turn(&mut self, now_ns: u64, index: usize) -> Outcome {
        let mut outcome = Outcome::default();
        let mut wake_ns = now_ns + LONGEST_SLEEP_NS;
        self.fuse.awake();
        for worker in &mut self.workers {
            let mut clock = LoopClock {
                begin_ns: now_ns,
                clock: self.clock,
                fuse: &self.fuse,
                looks: 0,
                step_ns: self.loop_ns / 2,
                last_ns: &mut self.last_local_ns,
            };
            let turn = worker.run_once(&mut clock);
            let deadline_ns = turn.deadline_us.map(|at_us| self.clock.world_ns(at_us * US));
            let waits = deadline_ns.is_some_and(|at_ns| at_ns <= now_ns);
            let next_ns = match (turn.busy, waits) {
                (true, _) => now_ns,
                (false, true) => now_ns + WAITING_LOOK_NS,
                (false, false) => deadline_ns.unwrap_or(u64::MAX),
            };
            wake_ns = wake_ns.min(next_ns);
        }
        outcome.blown_at = self.fuse.blown_at();
        let left_ns = now_ns + self.loop_ns;
        let links = Link::ALL.into_iter().map(|link| net::Place::of_link(link, index));
        let links = self.links.iter().zip(links);
        for (end, place) in links.chain([(&self.lan, net::Place::Lan(index))]) {
            let sent = end.take_sent().into_iter();
            outcome.sent.extend(sent.map(|(late_ns, bytes)| (left_ns + late_ns, place, bytes)));
        }
        if !self.fuse.dead() {
            outcome.events.extend(self.events.try_iter().map(|(_, _, event)| event));
            outcome.decisions.extend(self.member.events.take().into_iter().map(|(_, event)| event));
        }
        self.frozen_until_ns = self.frozen_until_ns.max(now_ns + self.fuse.late_ns());
        self.wake_ns = wake_ns;
        self.busy_until_ns = left_ns;
        outcome
    }

    /// Asks each worker how it fares. Runs as many loops as that takes, at one moment of the world;
    /// what they do is as real as any other loop's.
    pub fn summaries(&mut self, now_ns: u64, index: usize) -> (Vec<Summary>, Vec<Outcome>) {
        let ask = |queries: &Sender<Query>| {
            let (sender, receiver) = bounded(1);
            let asked = queries.try_send(Query::Summary(sender));
            asked.ok().map(|()| receiver)
        };
        let answers: Vec<Receiver<Summary>> = self.queries.iter().filter_map(ask).collect();
        let (mut found, mut outcomes) = (Vec::new(), Vec::new());
        for _ in 0..ANSWER_LOOPS {
            outcomes.push(self.turn(now_ns, index));
        }
        for answer in answers {
            match answer.try_recv() {
                Ok(summary) => found.push(summary),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
            }
        }
        (found, outcomes)
    }

    /// The shards that it holds.
    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.workers.iter().flat_map(Worker::shards)
    }

    /// How far it has come with the connection of `flow`, if it holds one.
    #[must_use]
    pub fn standing(&self, flow: &Flow) -> Option<Standing> {
        self.shards().find_map(|shard| shard.standing(flow))
    }

    /// How far it would be if it took over now: with all that it has received applied.
    #[must_use]
    pub fn foresee(&self, flow: &Flow) -> Option<Standing> {
        let shards = self.workers.iter().filter_map(Worker::foresee).flatten();
        shards.into_iter().find_map(|shard| shard.standing(flow))
    }

    /// Whether its lists, timers and memory are what its connections account for.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self) -> Result<(), String> {
        self.shards().try_for_each(|shard| {
            shard.check().map_err(|what| format!("shard {}: {what} is wrong", shard.index()))
        })
    }

    /// Whether its shards can be written down, and read again to the same.
    ///
    /// # Errors
    /// What is not so.
    pub fn check_snapshots(&self) -> Result<(), String> {
        for worker in self.workers.iter().filter(|worker| worker.pending_log_bytes() == 0) {
            let Some(copies) = worker.foresee() else {
                return Err("a snapshot of its shards is refused".to_owned());
            };
            if !worker.shards().map(Shard::full_digest).eq(copies.iter().map(Shard::full_digest)) {
                return Err("a snapshot of its shards is not what they are".to_owned());
            }
        }
        Ok(())
    }

    /// What it still holds of connections, although all of them are over, while so many of its
    /// peers are `dead`.
    #[must_use]
    pub fn leftover(&self, dead: usize) -> Option<String> {
        let rest = dead * WAITING_FRAMES;
        let links = self.links.iter().map(|card| (card, "link"));
        for (card, name) in [(&self.lan, "LAN")].into_iter().chain(links) {
            if card.in_use() > rest {
                return Some(format!("{} frames of the {name} card", card.in_use()));
            }
        }
        let log: usize = self.workers.iter().map(Worker::pending_log_bytes).sum();
        if log > 0 {
            return Some(format!("{log} bytes of log that it has not applied"));
        }
        self.shards().find_map(leftover)
    }

    /// Each connection that it holds, as the appliance lists them, and the memory of its shards.
    pub fn listing(&mut self, now_ns: u64, index: usize) -> Vec<String> {
        let ask = |queries: &Sender<Query>| {
            let (sender, receiver) = bounded(1);
            queries.try_send(Query::Connections(Place::default(), sender)).ok().map(|()| receiver)
        };
        let answers: Vec<_> = self.queries.iter().filter_map(ask).collect();
        let (summaries, _) = self.summaries(now_ns, index);
        let shards = summaries.iter().flat_map(|summary| &summary.shards);
        let shards = shards.map(|shard| format!("shard {}: {:?}", shard.index, shard.memory));
        let pieces = answers.iter().filter_map(|answer| answer.try_recv().ok());
        let connections = pieces.flat_map(|piece| piece.connections);
        let connections = connections.map(|(shard, info)| format!("shard {shard}: {info:?}"));
        shards.chain(connections).collect()
    }
}

/// What a shard holds without a connection to hold it for.
#[must_use]
pub fn leftover(shard: &Shard) -> Option<String> {
    let memory = shard.memory();
    let used = (memory.connections, memory.half_open, memory.pool_used, memory.sent_used);
    if used != (0, 0, 0, 0) {
        return Some(format!("{memory:?}"));
    }
    let services = shard.services().iter();
    let busy = |service: &ServiceUse| service.connections + service.half_open > 0;
    if let Some(at) = services.clone().position(busy) {
        return Some(format!("connections of service {at}: {:?}", shard.services()[at]));
    }
    let blocks = services.enumerate().map(|(at, _)| shard.blocks_of(at)).sum::<u32>();
    if blocks > 0 {
        return Some(format!("{blocks} blocks of its services"));
    }
    shard.next_deadline().map(|at| format!("a timer for {at:?}"))
}

fn clock_us(clock: DriftingClock, now_ns: u64) -> u64 {
    clock.local_ns(now_ns) / US
}

/// Address of a node's port: 1 for the service LAN, 2 for the link.
#[must_use]
pub fn mac(node: usize, port: u8) -> Mac {
    Mac([2, 0, 0, 0, port, 1 + node as u8])
}

/// The MAC address of a node's port on a link.
#[must_use]
pub fn link_mac(link: Link, node: usize) -> Mac {
    mac(node, 2 + link as u8)
}

fn keys(mistake: Option<Mistake>) -> KeyRing {
    KeyRing::single("sim", if mistake == Some(Mistake::Key) { b"another" } else { b"sim" })
}

fn identity(machine: &Machine, incarnation: Incarnation, mistake: Option<Mistake>) -> Identity {
    let name = |index: usize| NodeName::new(NAMES[index]).expect("a letter is a name");
    let manifest =
        |is: Mistake, usual| Manifest::new(if mistake == Some(is) { "another\n" } else { usual });
    Identity {
        name: name(machine.index),
        incarnation,
        peers: machine.others().map(name).collect(),
        keys: keys(mistake),
        config: manifest(Mistake::Configuration, "the same for both\n"),
        content: manifest(Mistake::Content, ""),
        log_version: LOG_VERSION,
        link_version: frame::VERSION.into(),
        snapshot_version: SNAPSHOT_VERSION,
        workers: machine.workers,
    }
}

fn config(machine: &Machine, incarnation: Incarnation, mistake: Option<Mistake>) -> NodeConfig {
    let own = |version: Version, net: u8, node: usize| version.address(net, 1 + node as u8);
    let port = |versions: &[Version], net| {
        let address = |version: &Version| AddressConfig {
            address: own(*version, net, machine.index).into(),
            prefix_len: version.prefix_len(),
            gateway: None,
        };
        PortConfig {
            addresses: versions.iter().map(address).collect(),
            peers: machine.others().map(|other| own(versions[0], net, other).into()).collect(),
        }
    };
    NodeConfig {
        incarnation,
        vmac: crate::plan::VMAC,
        ingress: machine.keep.map_or(Ingress::Switch, Ingress::Flood),
        lan: port(&machine.lan, LAN),
        links: LINKS.iter().take(machine.links()).map(|net| port(&[machine.link], *net)).collect(),
        control_port: 7400,
        commit: machine.commit,
        protection: Protection::Sealed(keys(mistake)),
        detection_timeout_us: machine.member.self_doubt_us(),
        idle: hw_profiles::Idle {
            strategy: hw_profiles::IdleStrategy::Spin,
            spin_polls: 0,
            yield_polls: 0,
            sleep_us: 0,
            coalesce_us: 0,
        },
        shard: Arc::clone(&machine.shard),
        content: Arc::clone(&machine.content),
        pending_log_bytes: machine.pending_log_bytes,
        handover_bytes_per_second: NodeConfig::DEFAULT_HANDOVER_BYTES_PER_SECOND,
        gate_frames: machine.gate_frames,
    }
}

/// How quickly nodes of the simulation notice that one is dead.
#[must_use]
pub fn member_config() -> MemberConfig {
    MemberConfig { lone_start_us: 600_000, ..MemberConfig::default() }
}
