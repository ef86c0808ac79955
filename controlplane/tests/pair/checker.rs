//! What must hold at every moment, whatever fails.

use replication::{Directive, Epoch, GateMode, Role};

use crate::history::History;
use crate::world::{Node, Side};

/// A primary hears of its successor within this time if any path works: a heartbeat interval, the
/// slowest delivery, a turn of the loop, and a lost datagram.
const OVERLAP_US: u64 = 15_000;

#[derive(Default)]
pub struct Checker {
    pub history: History,
    /// The highest epoch that was served in.
    epoch: Epoch,
    was_spare_for_good: [bool; 2],
    was: [Option<Role>; 2],
    overlap_since_us: Option<u64>,
    path_works_since_us: Option<u64>,
}

impl Checker {
    pub fn started(&mut self, side: Side) {
        self.was_spare_for_good[side as usize] = false;
        self.was[side as usize] = None;
    }

    /// No primary of a later epoch was seen. One that does not know yet that it was superseded
    /// may hold less, and has nobody who confirms what it does.
    pub fn is_newest(&mut self, epoch: Epoch) -> bool {
        let is_newest = epoch > self.epoch;
        self.epoch = self.epoch.max(epoch);
        is_newest
    }

    pub fn no_spares_rise(&mut self, awake: [Option<&Node>; 2]) {
        for (index, node) in awake.iter().enumerate() {
            if let Some(node) = node {
                self.no_spare_rises(index, node);
            }
        }
    }

    /// Of those that wait for nobody, clients hear one: one that rests has nothing to say.
    pub fn one_open_gate(&self, nodes: [Option<&Node>; 2]) {
        let is_open = |node: &&Node| {
            let Directive { role, silent, quiesce, .. } = node.directive;
            role == Role::Primary(GateMode::Open) && !silent && quiesce == 0
        };
        assert!(nodes.iter().flatten().filter(|node| is_open(node)).count() < 2, "two open gates");
    }

    /// A node that held a role and lost it gets one again only by joining: it is backup then, or
    /// primary if it was given all of the state to be that.
    fn no_spare_rises(&mut self, index: usize, node: &Node) {
        let role = node.directive.role;
        let before = self.was[index].replace(role);
        if role == Role::Spare && before.is_some_and(|before| before != Role::Spare) {
            self.was_spare_for_good[index] = true;
        }
        let given = role == Role::Backup || matches!(role, Role::Primary(_)) && node.restored;
        if role == Role::Joining || given && before == Some(Role::Joining) {
            self.was_spare_for_good[index] = role == Role::Joining;
            return;
        }
        assert!(
            role == Role::Spare || !self.was_spare_for_good[index],
            "a spare became {role:?} again"
        );
    }

    pub fn one_primary(&mut self, now_us: u64, awake: [Option<&Node>; 2], works: bool) {
        let serves = |node: &Option<&Node>| {
            node.is_some_and(|node| {
                matches!(node.directive.role, Role::Primary(_)) && !node.directive.silent
            })
        };
        self.path_works_since_us = works.then_some(self.path_works_since_us.unwrap_or(now_us));
        let both = awake.iter().all(serves);
        self.overlap_since_us = both.then_some(self.overlap_since_us.unwrap_or(now_us));
        if let (Some(overlap_us), Some(works_us)) =
            (self.overlap_since_us, self.path_works_since_us)
        {
            let for_us = now_us - overlap_us.max(works_us);
            assert!(for_us <= OVERLAP_US, "two primaries for {for_us} µs");
        }
    }
}
