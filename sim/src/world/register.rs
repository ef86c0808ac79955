//! A register that binds all nodes, as they see it: it decides one change after another, and its
//! words take their time. How a majority of voters comes to that is simulated elsewhere, in the
//! tests of the control plane.

use std::collections::BTreeMap;

use controlplane::register::{Change, QuorumLines, QuorumRegister};
use controlplane::{AnyRegister, PairRegister, View};

use crate::plan;
use crate::random::Random;

/// A word on its way.
#[derive(Debug)]
enum Word {
    Asked(Change),
    Told { node: usize, view: View },
}

/// The register of a world.
#[derive(Debug)]
pub(super) struct Register {
    kind: plan::Register,
    random: Random,
    decided: View,
    /// What the disk of each node has of it, and the node's end.
    ends: Vec<(View, Option<QuorumLines>)>,
    /// Until when nothing passes to and from each node.
    mute_until_ns: Vec<u64>,
    /// By arrival.
    on_way: BTreeMap<(u64, u64), Word>,
    said: u64,
}

impl Register {
    pub fn new(kind: plan::Register, nodes: usize, random: Random) -> Register {
        Register {
            kind,
            random,
            decided: View::default(),
            ends: (0..nodes).map(|_| (View::default(), None)).collect(),
            mute_until_ns: vec![0; nodes],
            on_way: BTreeMap::new(),
            said: 0,
        }
    }

    pub fn is_binding(&self) -> bool {
        self.kind != plan::Register::Pair
    }

    /// What a run that starts on `node` has of it.
    pub fn start(&mut self, now_ns: u64, node: usize) -> AnyRegister {
        if !self.is_binding() {
            return AnyRegister::Pair(PairRegister::default());
        }
        let (disk, end) = &mut self.ends[node];
        let (register, lines) = QuorumRegister::new(disk.clone());
        *end = Some(lines);
        self.tell(now_ns, node);
        AnyRegister::Quorum(register)
    }

    /// The newest view.
    pub fn decided(&self) -> &View {
        &self.decided
    }

    pub fn mute(&mut self, node: usize, until_ns: u64) {
        self.mute_until_ns[node] = self.mute_until_ns[node].max(until_ns);
    }

    pub fn unmute(&mut self) {
        self.mute_until_ns.fill(0);
    }

    /// What has come to pass by now.
    pub fn work(&mut self, now_ns: u64) {
        for node in 0..self.ends.len() {
            while let Some(change) = self.ends[node].1.as_mut().and_then(next_change) {
                self.say(now_ns, node, Word::Asked(change));
            }
        }
        while let Some(entry) = self.on_way.first_entry().filter(|entry| entry.key().0 <= now_ns) {
            match entry.remove() {
                Word::Asked(change) => self.decide(now_ns, change),
                Word::Told { node, view } => {
                    let (disk, end) = &mut self.ends[node];
                    let listens = end.as_ref().filter(|lines| !lines.views.is_closed());
                    if let Some(lines) = listens.filter(|_| disk.epoch < view.epoch) {
                        *disk = view;
                        lines.views.send_replace(disk.clone());
                    }
                }
            }
        }
    }

    /// When the next word arrives.
    pub fn next_ns(&self) -> Option<u64> {
        self.on_way.first_key_value().map(|((at_ns, _), _)| *at_ns)
    }

    fn decide(&mut self, now_ns: u64, change: Change) {
        if change.expected == self.decided.epoch {
            self.decided = change.next;
        }
        // Who asked in vain hears it now at the latest.
        (0..self.ends.len()).for_each(|node| self.tell(now_ns, node));
    }

    fn tell(&mut self, now_ns: u64, node: usize) {
        let view = self.decided.clone();
        self.say(now_ns, node, Word::Told { node, view });
    }

    /// A word between the register and `node`. What cannot pass now does so later: who keeps the
    /// register goes on trying.
    fn say(&mut self, now_ns: u64, node: usize, word: Word) {
        let plan::Register::Binding { delay_ns } = self.kind else { return };
        let from_ns = now_ns.max(self.mute_until_ns[node]);
        let at_ns = from_ns + self.random.between(delay_ns / 2, delay_ns * 2);
        self.said += 1;
        self.on_way.insert((at_ns, self.said), word);
    }
}

fn next_change(lines: &mut QuorumLines) -> Option<Change> {
    lines.changes.try_recv().ok()
}
