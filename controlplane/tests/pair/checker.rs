//! What must hold at every moment, whatever fails.

use replication::{Epoch, Role};

use crate::world::{Node, Side};

/// A primary hears of its successor within this time if any path works: a heartbeat interval, the
/// slowest delivery, a turn of the loop, and a lost datagram.
const OVERLAP_US: u64 = 15_000;

#[derive(Default)]
pub struct Checker {
    /// The highest epoch that was served in, and the state that its primary began with.
    epoch: Epoch,
    began_with: u64,
    /// Inputs whose packets left, in any epoch before.
    promised: u64,
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

    /// `side` has a role without the state that was there before, and may.
    pub fn begins_afresh(&mut self, side: Side, role: Role) {
        self.started(side);
        if role != Role::Backup {
            (self.began_with, self.promised) = (0, 0);
        }
    }

    pub fn check(&mut self, now_us: u64, awake: [Option<&Node>; 2], works: bool, states: bool) {
        for (index, node) in awake.iter().enumerate() {
            let Some(node) = node else { continue };
            self.no_spare_rises(index, node);
            if states {
                self.keeps_promises(node);
            }
        }
        self.one_primary(now_us, awake, works);
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

    /// The primary of a newer epoch holds every input whose packets left before, and an older
    /// primary releases nothing that its successor does not hold.
    fn keeps_promises(&mut self, node: &Node) {
        if !matches!(node.directive.role, Role::Primary(_)) || node.directive.silent {
            return;
        }
        let epoch = node.directive.epoch;
        if epoch > self.epoch {
            self.epoch = epoch;
            // The state at the beginning: this turn has added one input, unless it may not.
            self.began_with = node.applied - u64::from(node.directive.quiesce == 0);
            assert!(
                self.began_with >= self.promised,
                "epoch {epoch} begins with {} inputs, {} were promised",
                self.began_with,
                self.promised
            );
        } else if epoch < self.epoch {
            assert!(
                node.released <= self.began_with,
                "an old primary released {} inputs, its successor holds {}",
                node.released,
                self.began_with
            );
        }
        self.promised = self.promised.max(node.released);
    }

    fn one_primary(&mut self, now_us: u64, awake: [Option<&Node>; 2], works: bool) {
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
