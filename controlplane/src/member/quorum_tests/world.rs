//! Members over a register that others keep, joined by perfect paths that can be cut.

use replication::{Directive, GateMode, Incarnation, Path, PeerIndex, Report, Role, Solicited};

use crate::config::MemberConfig;
use crate::events::Event;
use crate::identity::{Identity, NodeId, NodeName};
use crate::member::Member;
use crate::register::{Change, QuorumLines, QuorumRegister, View};

const MOST: usize = 3;
const NAMES: [&str; MOST] = ["a", "b", "c"];
pub const LONE_START_MS: u64 = 3_000;

pub fn id(side: usize, run: u64) -> NodeId {
    let name = NodeName::new(NAMES[side]).unwrap();
    NodeId { name, incarnation: Incarnation(run) }
}

pub struct Node {
    pub member: Member<QuorumRegister>,
    pub lines: QuorumLines,
    pub waiting: Vec<Change>,
    pub directive: Directive,
    pub report: Report,
    pub events: Vec<Event>,
}

/// Some members and a register that decides what reaches it.
pub struct World {
    pub now_us: u64,
    /// How many members there are.
    pub size: usize,
    pub nodes: [Option<Node>; MOST],
    pub decided: View,
    /// The register hears no changes of that side, and is not heard.
    pub unreached: [bool; MOST],
    /// The register hears changes of that side, and is not heard.
    pub unheard: [bool; MOST],
    pub cut: bool,
    /// Sides whose service LAN carries nothing.
    pub unplugged: [bool; MOST],
    /// Packets wait for a majority.
    pub by_majority: bool,
    /// From, to.
    pub sent: Vec<(usize, usize, Path, Vec<u8>)>,
}

impl Default for World {
    fn default() -> World {
        World {
            now_us: 0,
            size: 2,
            nodes: Default::default(),
            decided: View::default(),
            unreached: [false; MOST],
            unheard: [false; MOST],
            cut: false,
            unplugged: [false; MOST],
            by_majority: false,
            sent: Vec::new(),
        }
    }
}

/// The place of each other side among `side`'s peers.
fn others(side: usize, size: usize) -> impl Iterator<Item = usize> {
    (0..size).filter(move |other| *other != side)
}

impl World {
    pub fn start(&mut self, side: usize, run: u64) {
        let peers = others(side, self.size).map(|other| NAMES[other]);
        let identity = Identity::sample(NAMES[side], run, peers);
        let (lone_start_us, by_majority) = (LONE_START_MS * 1_000, self.by_majority);
        let config = MemberConfig { lone_start_us, by_majority, ..MemberConfig::default() };
        let (register, lines) = QuorumRegister::new(View::default());
        let member = Member::with_register(config, identity, register, self.now_us).unwrap();
        let directive = member.directive();
        let (waiting, report, events) = (Vec::new(), Report::default(), Vec::new());
        let node = Node { member, lines, waiting, directive, report, events };
        self.nodes[side] = Some(node);
    }

    /// Both run, a serves and b is in sync.
    pub fn formed() -> World {
        World::formed_of(2)
    }

    /// All of so many run, a serves and the others are in sync.
    pub fn formed_of(size: usize) -> World {
        World::formed_with(World { size, ..World::default() })
    }

    /// The same of a world in which nothing has happened yet.
    pub fn formed_with(mut world: World) -> World {
        let size = world.size;
        (0..size).for_each(|side| world.start(side, side as u64 + 1));
        world.run_ms(50);
        assert_eq!(world.role(0), Role::Primary(GateMode::Confirmed));
        (1..size).for_each(|side| assert_eq!(world.role(side), Role::Backup));
        world
    }

    pub fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now_us += 1_000;
            for (from, to, path, bytes) in std::mem::take(&mut self.sent) {
                let unplugged = path == Path::Lan && (self.unplugged[from] || self.unplugged[to]);
                let lost = self.cut || unplugged;
                if let Some(node) = self.nodes[to].as_mut().filter(|_| !lost) {
                    let _refused = node.member.receive(self.now_us, path, &bytes);
                }
            }
            (0..self.size).for_each(|side| self.decide(side));
            (0..self.size).for_each(|side| self.ask_neighbours(side));
            (0..self.size).for_each(|side| self.turn(side));
        }
    }

    fn decide(&mut self, side: usize) {
        let Some(node) = &mut self.nodes[side] else { return };
        node.waiting.extend(node.lines.changes.try_recv());
        if self.unreached[side] {
            return;
        }
        for change in node.waiting.drain(..) {
            if change.expected == self.decided.epoch {
                self.decided = change.next;
            }
        }
        if !self.unheard[side] {
            node.lines.views.send_if_modified(|view| {
                let news = view.epoch < self.decided.epoch;
                view.clone_from(&self.decided);
                news
            });
        }
    }

    fn ask_neighbours(&mut self, side: usize) {
        let answered = !self.unplugged[side];
        let now_us = self.now_us;
        let Some(node) = self.nodes[side].as_mut() else { return };
        let before = node.report.lan.and_then(|lan| lan.unanswered_since_us);
        let unanswered_since_us = (!answered).then_some(before.unwrap_or(now_us));
        let told = Solicited { neighbours: 3, answered, unanswered_since_us };
        node.report.lan = node.directive.solicits.then_some(told);
    }

    fn turn(&mut self, side: usize) {
        let Some(node) = &mut self.nodes[side] else { return };
        let (sent, size) = (&mut self.sent, self.size);
        let mut emit = |path, to: PeerIndex, bytes: &[u8]| {
            let to = others(side, size).nth(to.place()).unwrap();
            sent.push((side, to, path, bytes.to_vec()));
        };
        node.directive = node.member.poll(self.now_us, &node.report, &mut emit);
        node.events.extend(std::iter::from_fn(|| node.member.next_event()).map(|(_, event)| event));
    }

    #[track_caller]
    pub fn node(&self, side: usize) -> &Node {
        self.nodes[side].as_ref().expect("runs")
    }

    #[track_caller]
    pub fn role(&self, side: usize) -> Role {
        self.node(side).directive.role
    }

    pub fn report(&mut self, side: usize) -> &mut Report {
        &mut self.nodes[side].as_mut().expect("runs").report
    }

    pub fn happened(&self, side: usize, event: impl Fn(&Event) -> bool) -> bool {
        self.node(side).events.iter().any(event)
    }

    pub fn reason(&self, side: usize) -> String {
        self.node(side).member.status(self.now_us).reason.unwrap_or_default()
    }
}
