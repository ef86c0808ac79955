//! A register of three voters for the world: both nodes and a witness, with disks that tear and a
//! network of their own.

use std::collections::BTreeMap;
use std::io;

use controlplane::{NodeName, QuorumLines, QuorumRegister, View};
use quorum::{Disk, Voter, Voters};
use replication::Epoch;

pub const WITNESS: usize = 2;
const NAMES: [&str; 3] = ["a", "b", "w"];
const TICK_US: u64 = 10_000;

fn name(index: usize) -> NodeName {
    NodeName::new(NAMES[index]).unwrap()
}

#[derive(Default)]
struct SimDisk {
    memory: Option<Vec<u8>>,
    /// The process dies in the middle of the next write, which is on the disk then, or not.
    dies: Option<bool>,
}

impl Disk for SimDisk {
    fn save(&mut self, memory: &[u8]) -> io::Result<()> {
        let dies = self.dies.take();
        if dies != Some(false) {
            self.memory = Some(memory.to_vec());
        }
        match dies {
            Some(_) => Err(io::Error::other("died")),
            None => Ok(()),
        }
    }
}

pub struct Trio {
    random: u64,
    pub loss_percent: u64,
    /// How long a few messages take, the disk's part of it included.
    pub latest_us: u64,
    voters: [Option<Voter>; 3],
    disks: [SimDisk; 3],
    lines: [Option<QuorumLines>; 2],
    /// `cut[from][to]`
    pub cut: [[bool; 3]; 3],
    wire: BTreeMap<(u64, u64), (usize, usize, Vec<u8>)>,
    sent: u64,
    next_tick_us: [u64; 3],
    tick_us: [u64; 3],
    frozen_until_us: [u64; 3],
    /// Something happened since its last turn.
    has_work: [bool; 3],
    /// Each view that was ever decided.
    decided: BTreeMap<Epoch, View>,
}

impl Trio {
    pub fn new(seed: u64) -> Trio {
        let mut trio = Trio {
            random: seed ^ 0x7219_f00d,
            loss_percent: 0,
            latest_us: 40_000,
            voters: [None, None, None],
            disks: Default::default(),
            lines: [None, None],
            cut: [[false; 3]; 3],
            wire: BTreeMap::new(),
            sent: 0,
            next_tick_us: [0; 3],
            tick_us: [TICK_US; 3],
            frozen_until_us: [0; 3],
            has_work: [true; 3],
            decided: BTreeMap::new(),
        };
        trio.start(WITNESS);
        trio
    }

    fn random(&mut self, low: u64, high: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        low + (z ^ (z >> 31)) % (high - low + 1)
    }

    pub fn start(&mut self, index: usize) {
        let others = (0..3).filter(|other| *other != index).map(name).collect();
        let voters = Voters::new("sim", name(index), others, Some(name(WITNESS)));
        let voter = Voter::new(voters, self.disks[index].memory.as_deref()).unwrap();
        self.disks[index].memory.get_or_insert_with(|| voter.memory());
        self.voters[index] = Some(voter);
        self.frozen_until_us[index] = 0;
        self.has_work[index] = true;
    }

    /// The voter's clock goes wrong by so much from now on.
    pub fn drift(&mut self, index: usize, ppm: i64) {
        self.tick_us[index] = TICK_US.saturating_add_signed(TICK_US as i64 * -ppm / 1_000_000);
    }

    /// The voter does nothing until then.
    pub fn freeze(&mut self, index: usize, until_us: u64) {
        self.frozen_until_us[index] = until_us;
    }

    /// Starts the voter of a node; its member's end of the register.
    pub fn start_node(&mut self, index: usize) -> QuorumRegister {
        self.start(index);
        let view = self.voters[index].as_ref().unwrap().view().clone();
        let (register, lines) = QuorumRegister::new(view);
        self.lines[index] = Some(lines);
        register
    }

    pub fn crash(&mut self, index: usize) {
        self.voters[index] = None;
        if let Some(lines) = self.lines.get_mut(index) {
            *lines = None;
        }
    }

    pub fn runs(&self, index: usize) -> bool {
        self.voters[index].is_some()
    }

    pub fn view(&self, epoch: Epoch) -> Option<&View> {
        self.decided.get(&epoch)
    }

    /// The voter's process dies in its next write. A node dies with it.
    pub fn tear_next_write(&mut self, index: usize) {
        self.disks[index].dies = Some(self.random(0, 1) == 0);
    }

    pub fn isolate(&mut self, index: usize) {
        for other in 0..3 {
            self.cut[index][other] = true;
            self.cut[other][index] = true;
        }
    }

    /// All messages arrive again, and the witness runs.
    pub fn recover(&mut self) {
        self.heal();
        if !self.runs(WITNESS) {
            self.start(WITNESS);
        }
    }

    pub fn heal(&mut self) {
        self.cut = [[false; 3]; 3];
        self.disks.iter_mut().for_each(|disk| disk.dies = None);
    }

    /// What the voters do in a moment; frozen ones nothing.
    pub fn step(&mut self, now_us: u64) {
        while let Some(first) = self.wire.first_entry() {
            if first.key().0 > now_us {
                break;
            }
            let (from, to, bytes) = first.remove();
            let thaws_us = self.frozen_until_us[to];
            if thaws_us > now_us {
                // It waits in the socket.
                self.sent += 1;
                self.wire.insert((thaws_us, self.sent), (from, to, bytes));
            } else if let Some(voter) = self.voters[to].as_mut() {
                voter.receive(name(from), &bytes);
                self.has_work[to] = true;
            }
        }
        for index in 0..3 {
            if self.frozen_until_us[index] <= now_us {
                self.turn(now_us, index);
            }
        }
    }

    fn turn(&mut self, now_us: u64, index: usize) {
        let Some(voter) = &mut self.voters[index] else { return };
        if now_us >= self.next_tick_us[index] {
            self.next_tick_us[index] = now_us + self.tick_us[index];
            voter.tick();
            self.has_work[index] = true;
        }
        let lines = self.lines.get_mut(index).and_then(Option::as_mut);
        if let Some(lines) = lines {
            while let Ok(change) = lines.changes.try_recv() {
                voter.want(change);
                self.has_work[index] = true;
            }
        }
        if !std::mem::take(&mut self.has_work[index]) {
            return;
        }
        let mut out = Vec::new();
        let mut send = |to: NodeName, bytes: &[u8]| out.push((to, bytes.to_vec()));
        if voter.act(&mut self.disks[index], &mut send).is_err() {
            self.crash(index);
        } else if let Some(Some(lines)) = self.lines.get_mut(index) {
            lines.views.send_if_modified(|view| {
                let is_news = voter.view().epoch > view.epoch;
                if is_news {
                    view.clone_from(voter.view());
                }
                is_news
            });
        }
        if let Some(voter) = &self.voters[index] {
            let view = voter.view();
            let first = self.decided.entry(view.epoch).or_insert_with(|| view.clone());
            assert_eq!(*first, *view, "two views of one epoch");
        }
        for (to, bytes) in out {
            let to = (0..3).find(|other| name(*other) == to).unwrap();
            self.transmit(now_us, index, to, bytes);
        }
    }

    fn transmit(&mut self, now_us: u64, from: usize, to: usize, bytes: Vec<u8>) {
        if self.cut[from][to] || self.random(0, 99) < self.loss_percent {
            return;
        }
        let copies = if self.random(0, 49) == 0 { 2 } else { 1 };
        for _ in 0..copies {
            let late = self.random(0, 49) == 0;
            // The disk's part of it included.
            let delay_us =
                if late { self.random(2_000, self.latest_us) } else { self.random(100, 1_500) };
            self.sent += 1;
            self.wire.insert((now_us + delay_us, self.sent), (from, to, bytes.clone()));
        }
    }
}
