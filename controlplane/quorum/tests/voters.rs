//! Three voters over a network that loses, delays, repeats and cuts, on disks that tear: thousands
//! of seeds. For each epoch one view is ever decided, and what was decided is never forgotten.
//!
//! Run one seed again with `VOTER_SEED=n cargo test -p quorum --test voters`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io;

use controlplane::register::Change;
use controlplane::{NodeId, NodeName, View};
use quorum::{Disk, Role, Voter, Voters};
use replication::{Epoch, Incarnation};

const NAMES: [&str; 3] = ["a", "b", "witness"];
const A: usize = 0;
const B: usize = 1;
const WITNESS: usize = 2;

fn name(index: usize) -> NodeName {
    NodeName::new(NAMES[index]).unwrap()
}

fn voters(index: usize, witness: Option<usize>) -> Voters {
    let others = (0..3).filter(|other| *other != index).map(name).collect();
    Voters::new("sim", name(index), others, witness.map(name))
}

/// What is on a disk, and what becomes of the next write.
#[derive(Debug, Default, Clone)]
struct SimDisk {
    durable: Option<Vec<u8>>,
    /// The machine dies in the middle of the next write.
    dies: bool,
    /// Says that it holds what it does not: no voter can bear that.
    lies: bool,
}

impl Disk for SimDisk {
    fn save(&mut self, memory: &[u8]) -> io::Result<()> {
        if self.dies {
            return Err(io::Error::other("the machine died"));
        }
        if !self.lies {
            self.durable = Some(memory.to_vec());
        }
        Ok(())
    }
}

struct World {
    now_ms: u64,
    random: u64,
    loss_percent: u64,
    witness: Option<usize>,
    voters: [Option<Voter>; 3],
    disks: [SimDisk; 3],
    cut: [[bool; 3]; 3],
    wire: BTreeMap<(u64, u64), (usize, usize, Vec<u8>)>,
    sent: u64,
    /// Every view that was ever said to be decided.
    decided: BTreeMap<Epoch, View>,
}

impl World {
    fn new(seed: u64) -> World {
        Self::with(seed, Some(WITNESS))
    }

    fn with(seed: u64, witness: Option<usize>) -> World {
        let mut world = World {
            now_ms: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678,
            loss_percent: 0,
            witness,
            voters: [None, None, None],
            disks: Default::default(),
            cut: [[false; 3]; 3],
            wire: BTreeMap::new(),
            sent: 0,
            decided: BTreeMap::new(),
        };
        (0..3).for_each(|index| world.start(index));
        world
    }

    /// Uniform in `low..=high` (splitmix64).
    fn random(&mut self, low: u64, high: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        low + (z ^ (z >> 31)) % (high - low + 1)
    }

    fn start(&mut self, index: usize) {
        let memory = self.disks[index].durable.clone();
        self.disks[index].dies = false;
        let voter = Voter::new(voters(index, self.witness), memory.as_deref()).unwrap();
        if memory.is_none() {
            self.disks[index].durable = Some(voter.memory());
        }
        self.voters[index] = Some(voter);
    }

    fn crash(&mut self, index: usize) {
        self.voters[index] = None;
    }

    fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now_ms += 1;
            self.deliver();
            for index in 0..3 {
                if let Some(voter) = &mut self.voters[index]
                    && (self.now_ms + index as u64).is_multiple_of(10)
                {
                    voter.tick();
                }
                self.act(index);
            }
        }
    }

    fn deliver(&mut self) {
        while let Some(first) = self.wire.first_entry() {
            if first.key().0 > self.now_ms {
                break;
            }
            let (from, to, bytes) = first.remove();
            if let Some(voter) = &mut self.voters[to] {
                voter.receive(name(from), &bytes);
                self.act(to);
            }
        }
    }

    fn act(&mut self, index: usize) {
        let Some(voter) = &mut self.voters[index] else { return };
        let mut out = Vec::new();
        let mut send = |to: NodeName, bytes: &[u8]| out.push((to, bytes.to_vec()));
        let survived = voter.act(&mut self.disks[index], &mut send).is_ok();
        if survived {
            let view = voter.view().clone();
            let first = self.decided.entry(view.epoch).or_insert_with(|| view.clone());
            assert_eq!(*first, view, "two views of one epoch");
        } else {
            self.voters[index] = None;
        }
        for (to, bytes) in out {
            let to = (0..3).find(|other| name(*other) == to).unwrap();
            self.transmit(index, to, bytes);
        }
    }

    fn transmit(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        if self.cut[from][to] || self.random(0, 99) < self.loss_percent {
            return;
        }
        let copies = if self.random(0, 49) == 0 { 2 } else { 1 };
        for _ in 0..copies {
            let late = self.random(0, 19) == 0;
            let delay_ms = if late { self.random(2, 60) } else { 1 };
            self.sent += 1;
            self.wire.insert((self.now_ms + delay_ms, self.sent), (from, to, bytes.clone()));
        }
    }

    /// Node `index` asks for itself as primary, after the view that its own voter knows.
    fn want(&mut self, index: usize) -> Option<View> {
        self.want_with(index, &[])
    }

    /// The same, with these in sync.
    fn want_with(&mut self, index: usize, others: &[usize]) -> Option<View> {
        let mut run = |index| NodeId {
            name: name(index),
            incarnation: Incarnation(self.random(1, u64::MAX - 1)),
        };
        let node = run(index);
        let others: Vec<NodeId> = others.iter().copied().map(run).collect();
        let voter = self.voters[index].as_mut()?;
        let expected = voter.view().epoch;
        let next = voter.view().next(node, &others);
        voter.want(Change { expected, next: next.clone() });
        self.act(index);
        Some(next)
    }

    fn leader(&self) -> Option<usize> {
        let leads = |index: &usize| {
            let standing = self.voters[*index].as_ref().map(Voter::standing);
            standing.is_some_and(|standing| standing.role == Role::Leader)
        };
        (0..3).find(leads)
    }

    fn knows(&self, index: usize, view: &View) -> bool {
        self.voters[index].as_ref().is_some_and(|voter| voter.view() == view)
    }

    fn heal(&mut self) {
        self.cut = [[false; 3]; 3];
        self.loss_percent = 0;
        for index in 0..3 {
            self.disks[index].dies = false;
            if self.voters[index].is_none() {
                self.start(index);
            }
        }
    }

    /// Faults at random for a while, changes asked for meanwhile.
    fn live_through_faults(&mut self, faults: u64) {
        self.loss_percent = self.random(0, 15);
        for _ in 0..faults {
            let index = self.random(0, 2) as usize;
            let other = (index + 1 + self.random(0, 1) as usize) % 3;
            match self.random(0, 7) {
                0 => self.crash(index),
                1 => self.disks[index].dies = true,
                2 => self.cut[index][other] = true,
                3 => {
                    for other in 0..3 {
                        self.cut[index][other] = true;
                        self.cut[other][index] = true;
                    }
                }
                4 => self.cut = [[false; 3]; 3],
                _ => {
                    let side = self.random(0, 1) as usize;
                    self.want(side);
                }
            }
            let for_ms = self.random(0, 150);
            self.run_ms(for_ms);
            if self.voters[index].is_none() && self.random(0, 1) == 0 {
                self.start(index);
            }
        }
    }
}

fn for_seeds(count: u64, schedule: impl Fn(&mut World)) {
    let one = std::env::var("VOTER_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in one.map_or(0..count, |seed| seed..seed + 1) {
        let mut world = World::new(seed);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            schedule(&mut world);
        }));
        if let Err(panic) = outcome {
            eprintln!("seed {seed} at {} ms", world.now_ms);
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn change_is_decided_and_told_to_all() {
    for_seeds(20, |world| {
        world.run_ms(50);
        let view = world.want(A).unwrap();
        world.run_ms(1_500);
        assert!((0..3).all(|index| world.knows(index, &view)));
    });
}

#[test]
fn survivor_has_its_change_within_a_few_round_trips() {
    for_seeds(200, |world| {
        world.run_ms(1_000);
        let view = world.want(A).unwrap();
        world.run_ms(1_500);
        assert!(world.knows(B, &view));
        assert_eq!(world.leader(), Some(WITNESS), "it leads when it can");
        world.crash(A);
        let started_ms = world.now_ms;
        let view = world.want(B).unwrap();
        while !world.knows(B, &view) {
            world.run_ms(1);
        }
        // Two round trips of 2 ms, unless a datagram was late.
        assert!(world.now_ms - started_ms <= 150, "{} ms", world.now_ms - started_ms);
    });
}

/// Three nodes: the one that leads is no primary, and knows nothing yet of the primary's end.
#[test]
fn heir_asks_the_leader_although_it_leaves_that_out() {
    const C: usize = WITNESS;
    for seed in 0..50 {
        let mut world = World::with(seed, None);
        world.run_ms(1_000);
        let view = world.want_with(A, &[B, C]).unwrap();
        world.run_ms(1_500);
        assert!(world.knows(C, &view));
        assert_eq!(world.leader(), Some(B), "seed {seed}: the first that is no primary leads");
        let term = |world: &World| world.voters[C].as_ref().unwrap().standing().term;
        let before = term(&world);
        world.crash(A);
        let view = world.want(C).unwrap();
        while !world.knows(C, &view) {
            world.run_ms(1);
            assert_eq!(term(&world), before, "seed {seed}: nobody had to be elected");
        }
    }
}

/// Three nodes whose primary leads after all, and is gone: both others stand for election at once.
#[test]
fn heirs_who_stand_at_once_do_not_hinder_each_other_for_long() {
    for seed in 0..200 {
        let mut world = World::with(seed, None);
        world.run_ms(1_000);
        let leader = world.leader().expect("one leads");
        let others: Vec<usize> = (0..3).filter(|index| *index != leader).collect();
        let view = world.want_with(leader, &others).unwrap();
        while !others.iter().all(|index| world.knows(*index, &view)) {
            world.run_ms(1);
        }
        world.crash(leader);
        let apart_ms = world.random(0, 3);
        let started_ms = world.now_ms;
        let views: Vec<_> = others
            .iter()
            .map(|index| {
                let view = world.want(*index).unwrap();
                world.run_ms(apart_ms);
                view
            })
            .collect();
        while !others.iter().all(|index| views.iter().any(|view| world.knows(*index, view))) {
            world.run_ms(1);
        }
        let took_ms = world.now_ms - started_ms;
        assert!(took_ms <= 300, "seed {seed}: {took_ms} ms");
    }
}

#[test]
fn nothing_is_decided_without_a_majority_and_nothing_is_forgotten() {
    for_seeds(50, |world| {
        world.run_ms(1_000);
        world.crash(WITNESS);
        world.crash(B);
        let view = world.want(A).unwrap();
        world.run_ms(3_000);
        assert!(!world.decided.contains_key(&view.epoch));
        world.start(WITNESS);
        world.run_ms(2_000);
        assert!(world.knows(A, &view) && world.knows(WITNESS, &view));
        // All restart: the view is still there.
        (0..3).for_each(|index| world.crash(index));
        (0..3).for_each(|index| world.start(index));
        world.run_ms(2_000);
        assert!((0..3).all(|index| world.knows(index, &view)));
    });
}

#[test]
fn voter_that_was_away_for_long_gets_the_view_itself() {
    for_seeds(20, |world| {
        world.run_ms(1_000);
        world.crash(WITNESS);
        for _ in 0..40 {
            world.want(A).unwrap();
            world.run_ms(200);
        }
        let view = world.voters[A].as_ref().unwrap().view().clone();
        assert!(view.epoch >= Epoch(30), "{view:?}");
        world.start(WITNESS);
        world.run_ms(2_000);
        assert!(world.knows(WITNESS, &view));
        assert!(world.disks[WITNESS].durable.as_ref().unwrap().len() < 8_000);
    });
}

#[test]
fn one_view_of_each_epoch_is_decided_whatever_fails() {
    for_seeds(1_500, |world| {
        let faults = world.random(5, 40);
        world.live_through_faults(faults);
        world.heal();
        world.run_ms(3_000);
        let view = world.want(B).unwrap();
        world.run_ms(2_000);
        assert!(world.decided.contains_key(&view.epoch), "they decide again");
        let newest = world.decided.last_key_value().unwrap().1.clone();
        assert!((0..3).all(|index| world.knows(index, &newest)));
    });
}

/// The test above must be able to fail: a disk that forgets lets a majority decide twice.
#[test]
fn disk_that_forgets_is_found_out() {
    let decided_twice = |seed: &u64| {
        let mut world = World::new(*seed);
        world.disks[WITNESS].lies = true;
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            world.live_through_faults(40);
        }));
        outcome.is_err()
    };
    assert!((0..2_000).any(|seed| decided_twice(&seed)));
}
