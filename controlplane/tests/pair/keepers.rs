//! Who keeps the register of a world, if not the pair alone.

use controlplane::{QuorumRegister, View};
use replication::Epoch;

use crate::etcd::Etcd;
use crate::trio::{Trio, WITNESS};

#[expect(clippy::large_enum_variant, reason = "a world has one of them")]
pub enum Keepers {
    Voters(Trio),
    Etcd(Etcd),
}

impl Keepers {
    /// Starts a node's part; its member's end of the register.
    pub fn start_node(&mut self, index: usize) -> QuorumRegister {
        match self {
            Keepers::Voters(trio) => trio.start_node(index),
            Keepers::Etcd(etcd) => etcd.start_node(index),
        }
    }

    pub fn drift(&mut self, index: usize, ppm: i64) {
        match self {
            Keepers::Voters(trio) => trio.drift(index, ppm),
            // No clock decides anything there.
            Keepers::Etcd(_) => {}
        }
    }

    pub fn freeze(&mut self, index: usize, until_us: u64) {
        match self {
            Keepers::Voters(trio) => trio.freeze(index, until_us),
            Keepers::Etcd(etcd) => etcd.freeze(index, until_us),
        }
    }

    pub fn crash(&mut self, index: usize) {
        match self {
            Keepers::Voters(trio) => trio.crash(index),
            Keepers::Etcd(etcd) => etcd.crash(index),
        }
    }

    /// Everything beside the nodes works and runs again.
    pub fn recover(&mut self) {
        match self {
            Keepers::Voters(trio) => trio.recover(),
            Keepers::Etcd(etcd) => etcd.recover(),
        }
    }

    pub fn step(&mut self, now_us: u64) {
        match self {
            Keepers::Voters(trio) => trio.step(now_us),
            Keepers::Etcd(etcd) => etcd.step(now_us),
        }
    }

    /// Whether the node's part still runs: it may have died of its disk.
    pub fn runs(&self, index: usize) -> bool {
        match self {
            Keepers::Voters(trio) => trio.runs(index),
            Keepers::Etcd(etcd) => etcd.runs(index),
        }
    }

    /// How much of what they say is lost, and how late some of it is.
    pub fn lose(&mut self, percent: u64, latest_us: u64) {
        match self {
            Keepers::Voters(trio) => (trio.loss_percent, trio.latest_us) = (percent, latest_us),
            Keepers::Etcd(etcd) => (etcd.loss_percent, etcd.latest_us) = (percent, latest_us),
        }
    }

    /// One of them, a node's part or what is beside the nodes, does nothing until then.
    pub fn stand_still(&mut self, index: usize, until_us: u64) {
        match self {
            Keepers::Etcd(etcd) if index == WITNESS => etcd.stall(until_us),
            _ => self.freeze(index, until_us),
        }
    }

    /// What one says does not reach the other one.
    pub fn cut(&mut self, from: usize, to: usize) {
        match self {
            Keepers::Voters(trio) => trio.cut[from][to] = true,
            Keepers::Etcd(etcd) => etcd.cut[from.min(to).min(1)] = true,
        }
    }

    pub fn isolate(&mut self, index: usize) {
        match self {
            Keepers::Voters(trio) => trio.isolate(index),
            Keepers::Etcd(etcd) if index == WITNESS => etcd.cut = [true; 2],
            Keepers::Etcd(etcd) => etcd.cut[index] = true,
        }
    }

    /// Its process dies in its next write. etcd's writes are its own affair: it is just killed.
    pub fn tear_next_write(&mut self, index: usize) {
        match self {
            Keepers::Voters(trio) => trio.tear_next_write(index),
            Keepers::Etcd(etcd) => etcd.is_down = true,
        }
    }

    /// What is beside the nodes ends, or starts again.
    pub fn run_other(&mut self, runs: bool) {
        match self {
            Keepers::Voters(trio) if runs => trio.start(WITNESS),
            Keepers::Voters(trio) => trio.crash(WITNESS),
            Keepers::Etcd(etcd) => etcd.is_down = !runs,
        }
    }

    pub fn other_runs(&self) -> bool {
        match self {
            Keepers::Voters(trio) => trio.runs(WITNESS),
            Keepers::Etcd(etcd) => !etcd.is_down,
        }
    }

    /// The ways work again.
    pub fn heal(&mut self) {
        match self {
            Keepers::Voters(trio) => trio.heal(),
            Keepers::Etcd(etcd) => etcd.cut = [false; 2],
        }
    }

    /// The view that was decided in that epoch.
    pub fn view(&self, epoch: Epoch) -> Option<&View> {
        match self {
            Keepers::Voters(trio) => trio.view(epoch),
            Keepers::Etcd(etcd) => etcd.view(epoch),
        }
    }

    pub fn view_before(&self, epoch: Epoch) -> Option<&View> {
        self.view(epoch.previous())
    }
}
