//! Nodes that ask one etcd, in memory: requests that come late, answers that are lost, nodes that
//! are started anew. Thousands of schedules, each a seed; `ETCD_SEED=n` runs one again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use controlplane::register::{Proposal, Register as _};
use controlplane::{NodeId, NodeName, QuorumLines, QuorumRegister, View};
use etcd::{Answer, Ask, Scribe};
use replication::{Epoch, Incarnation};

const SEEDS: u64 = 6_000;
const NODES: usize = 3;

struct Random(u64);

impl Random {
    /// Uniform in `0..end` (splitmix64).
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

/// The key, and each value that it ever had.
struct Etcd {
    value: Vec<u8>,
    history: BTreeMap<Epoch, View>,
}

impl Etcd {
    fn new() -> Etcd {
        let view = View::default();
        Etcd { value: view.to_json().into_bytes(), history: [(view.epoch, view)].into() }
    }

    fn serve(&mut self, ask: &Ask) -> Answer {
        match ask {
            Ask::Swap { held, next } if *held == self.value => {
                let last = self.history.last_key_value().map(|(epoch, _)| epoch.next());
                assert_eq!(last, Some(next.epoch), "an epoch is left out, or comes again");
                self.history.insert(next.epoch, next.clone());
                self.value = next.to_json().into_bytes();
                Answer::Made
            }
            _ => Answer::Holds(Some(self.value.clone())),
        }
    }
}

struct Node {
    id: NodeId,
    scribe: Scribe,
    register: QuorumRegister,
    lines: QuorumLines,
    /// What the member asks for until it has an outcome.
    asked: Option<View>,
    /// The request that is waited for.
    waits: Option<u64>,
}

impl Node {
    fn start(place: usize, run: u64) -> Node {
        let name = NodeName::new(["a", "b", "c"][place]).unwrap();
        let (register, lines) = QuorumRegister::new(View::default());
        let id = NodeId { name, incarnation: Incarnation(run) };
        Node { id, scribe: Scribe::default(), register, lines, asked: None, waits: None }
    }

    fn learn(&mut self, ask: &Ask, answer: Answer) {
        self.scribe.learn(ask, answer);
        assert!(self.scribe.trouble().is_none(), "{:?}", self.scribe.trouble());
        self.lines.views.send_if_modified(|view| {
            let is_news = self.scribe.view().epoch > view.epoch;
            view.clone_from(self.scribe.view());
            is_news
        });
    }
}

/// A request, or its answer, on its way.
struct Flight {
    number: u64,
    from: usize,
    ask: Ask,
    answer: Option<Answer>,
}

struct World {
    random: Random,
    etcd: Etcd,
    nodes: Vec<Node>,
    wire: Vec<Flight>,
    sent: u64,
    runs: u64,
    won: usize,
}

impl World {
    fn new(seed: u64) -> World {
        let nodes = (0..NODES).map(|place| Node::start(place, place as u64 + 1)).collect();
        World {
            random: Random(seed),
            etcd: Etcd::new(),
            nodes,
            wire: Vec::new(),
            sent: 0,
            runs: NODES as u64,
            won: 0,
        }
    }

    fn step(&mut self) {
        let place = self.random.below(NODES);
        match self.random.below(16) {
            0..=4 => self.member(place),
            5..=8 => self.send(place),
            9..=12 => self.carry(),
            // Its patience is at an end.
            13 => self.nodes[place].waits = None,
            14 => self.nodes[place].scribe.look(),
            _ if self.random.below(8) == 0 => {
                self.runs += 1;
                self.nodes[place] = Node::start(place, self.runs);
            }
            _ => self.hear(place),
        }
    }

    /// What the member does in a turn: it asks for one change until that has an outcome.
    fn member(&mut self, place: usize) {
        let others = self.random.below(2);
        let node = &mut self.nodes[place];
        node.register.refresh();
        let beside = NodeId { name: NodeName::new("x").unwrap(), ..node.id };
        let view = node.register.view();
        let next = node.asked.take().unwrap_or_else(|| view.next(node.id, &[beside][..others]));
        match node.register.compare_and_set(next.epoch.previous(), &next) {
            Proposal::Pending => node.asked = Some(next),
            // So it cannot come true any more. If it has, that was undone before this node knew.
            Proposal::Lost => {
                let decided = self.etcd.history.get(&next.epoch);
                let known = self.nodes[place].register.view().epoch;
                assert!(decided.is_some(), "lost, and nothing was decided");
                assert!(decided != Some(&next) || known > next.epoch, "lost what stands");
            }
            Proposal::Won => {
                assert_eq!(self.etcd.history.get(&next.epoch), Some(&next), "won without etcd");
                self.won += 1;
            }
        }
        let view = self.nodes[place].register.view();
        assert_eq!(self.etcd.history.get(&view.epoch), Some(view), "was never decided");
    }

    fn send(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        while let Ok(change) = node.lines.changes.try_recv() {
            node.scribe.want(change);
        }
        if let (None, Some(ask)) = (node.waits, node.scribe.next()) {
            self.sent += 1;
            node.waits = Some(self.sent);
            self.wire.push(Flight { number: self.sent, from: place, ask, answer: None });
        }
    }

    /// Any request or answer comes to its end, or is lost. Who does not wait hears no answer.
    fn carry(&mut self) {
        if self.wire.is_empty() {
            return;
        }
        let mut flight = self.wire.swap_remove(self.random.below(self.wire.len()));
        if self.random.below(6) == 0 {
            return;
        }
        let Some(answer) = flight.answer.take() else {
            flight.answer = Some(self.etcd.serve(&flight.ask));
            self.wire.push(flight);
            return;
        };
        let node = &mut self.nodes[flight.from];
        if node.waits == Some(flight.number) {
            node.waits = None;
            node.learn(&flight.ask, answer);
        }
    }

    /// A heartbeat brings the view of another node.
    fn hear(&mut self, place: usize) {
        let from = self.random.below(NODES);
        let view = self.nodes[from].register.view().clone();
        self.nodes[place].register.observe(&view);
    }
}

#[test]
fn every_node_sees_the_same_history_whatever_is_lost() {
    let one = std::env::var("ETCD_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut won = 0;
    for seed in one.map_or(0..SEEDS, |seed| seed..seed + 1) {
        let mut world = World::new(seed);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..400).for_each(|_| world.step());
        }));
        if let Err(panic) = outcome {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
        won += world.won;
    }
    assert!(one.is_some() || won > SEEDS as usize, "too little happens: {won} changes");
}
