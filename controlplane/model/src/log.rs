//! The log between the nodes, and the gate behind it: `replication::{Session, Gate}` and what
//! `worker` makes of them.

use crate::cluster::Cluster;
use crate::plant::Plant;
use crate::state::{LogId, Node, Phase, Run, World};

impl Cluster {
    /// One turn of the primary's poll loop: a segment is logged, applied, and answered; the gate
    /// lets the answer through or keeps it.
    pub(crate) fn input(&self, world: &mut World, at: usize) -> Option<()> {
        let node = world.nodes[at].as_mut().filter(|node| node.serves())?;
        node.state.push(world.left.inputs * 2 + at as u8);
        world.left.inputs -= 1;
        let state = node.state;
        if node.phase.gate_is_open() || self.planted(Plant::ReleasesBeforeConfirmation) {
            world.tell(at, &state);
        }
        ship(world, at);
        Some(())
    }

    pub(crate) fn deliver(&self, world: &mut World, from: usize) -> Option<()> {
        let (log, inputs) = world.batches[from]?;
        if world.cut[from].link {
            return None;
        }
        let node = world.nodes[1 - from].as_mut().filter(|node| node.awake())?;
        let me = node.run;
        if log.backup != me {
            return None;
        }
        if self.planted(Plant::ConfirmsAfterTakeover) && node.phase == Phase::Alone {
            world.confirmations[1 - from] = Some((log, inputs.len()));
            return Some(());
        }
        if node.phase.log(me) != Some(log) {
            return None;
        }
        if let Phase::Joining { restored, .. } = &mut node.phase {
            *restored = true;
        }
        if inputs.len() > node.state.len() {
            node.state = inputs;
        }
        let count = node.state.len();
        world.confirmations[1 - from] = Some((log, count));
        Some(())
    }

    pub(crate) fn take_confirmation(&self, world: &mut World, from: usize) -> Option<()> {
        let (log, count) = world.confirmations[from]?;
        if world.cut[from].link {
            return None;
        }
        let node = world.nodes[1 - from].as_mut().filter(|node| node.awake())?;
        let ours = node.phase.log(node.run).filter(|ours| ours.primary == node.run)?;
        let of_any_log = self.planted(Plant::ConfirmsAnyLog) && ours.backup == log.backup;
        if ours != log && !of_any_log || count <= node.confirmed {
            return None;
        }
        node.confirmed = count;
        release(world, 1 - from);
        Some(())
    }
}

/// What the gate lets through leaves.
pub fn release(world: &mut World, at: usize) {
    let Some(node) = world.nodes[at].as_ref().filter(|node| node.serves()) else { return };
    let free = if node.phase.gate_is_open() { node.state.len() } else { node.confirmed };
    let leaving = node.state.first(free);
    world.tell(at, &leaving);
}

/// The primary sends its log, or a snapshot and the log behind it. What was sent before is part of
/// that.
pub fn ship(world: &mut World, at: usize) {
    let Some(node) = &world.nodes[at] else { return };
    let ours = |log: &LogId| log.primary == node.run;
    if let Some(log) = node.phase.log(node.run).filter(ours) {
        world.batches[at] = Some((log, node.state));
    }
}

impl World {
    /// What can have no effect any more is the same as if it were not there.
    pub fn forget_the_dead(&mut self) {
        let World { nodes, batches, confirmations, words, .. } = self;
        let living = |run: Run| {
            let is = |node: &Node| node.run == run;
            nodes[run.node()].as_ref().is_some_and(is)
        };
        batches.iter_mut().for_each(|batch| *batch = batch.filter(|(log, _)| living(log.backup)));
        let heard = |(log, _): &(LogId, u8)| living(log.primary);
        confirmations
            .iter_mut()
            .for_each(|confirmation| *confirmation = confirmation.filter(heard));
        for words in words {
            words.now = words.now.filter(|word| living(word.to));
            words.late = words.late.filter(|word| living(word.to));
        }
    }
}
