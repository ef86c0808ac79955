//! Output commit: packets wait here until the log they depend on is safe on the other nodes.

use std::collections::VecDeque;

use crate::ledger::Mark;
use crate::role::GateMode;

/// Which confirmation lets a packet leave that is in the gate. With SWFR ("send when the fastest has
/// responded"), which a service can have, payload never comes here; what acknowledges does, and
/// follows this rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CommitRule {
    /// Send when the minimum is updated: every in-sync replica holds the batch.
    #[default]
    Swmu,
    /// Nothing waits: what clients were told of the last moments is lost with the primary. For
    /// measuring what the other rules cost.
    None,
}

impl CommitRule {
    fn allows(self, held: Mark, confirmed: Mark) -> bool {
        match self {
            CommitRule::Swmu => held <= confirmed,
            CommitRule::None => true,
        }
    }
}

/// What went through a gate since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GateCounters {
    /// Packets that were taken in.
    pub held: u64,
    /// Packets that left.
    pub released: u64,
    /// Packets that were dropped by [`Gate::discard`].
    pub discarded: u64,
    /// Packets that were refused, since the gate was full.
    pub refused: u64,
    /// Most packets that ever waited at once.
    pub high_water: usize,
}

/// A bounded FIFO of packets, each with the mark of the loop whose log it depends on. All memory is
/// taken at construction.
#[derive(Debug)]
pub struct Gate<P> {
    waiting: VecDeque<(Mark, P)>,
    capacity: usize,
    mode: GateMode,
    rule: CommitRule,
    counters: GateCounters,
}

impl<P> Gate<P> {
    /// A gate for at most `capacity` packets, in mode [`GateMode::Confirmed`].
    ///
    /// # Panics
    /// When `capacity` is 0: nothing could ever leave.
    #[must_use]
    pub fn new(capacity: usize, rule: CommitRule) -> Gate<P> {
        assert!(capacity > 0, "a gate needs room for a packet");
        Gate {
            waiting: VecDeque::with_capacity(capacity),
            capacity,
            mode: GateMode::Confirmed,
            rule,
            counters: GateCounters::default(),
        }
    }

    /// Takes a packet that depends on what was logged in the loop with this mark, and in all before
    /// it. Marks must not fall from one packet to the next.
    ///
    /// # Errors
    /// Gives the packet back when the gate is full. A caller that looks at [`room`](Self::room)
    /// before it takes input never sees that.
    pub fn hold(&mut self, mark: Mark, packet: P) -> Result<(), P> {
        debug_assert!(
            self.waiting.back().is_none_or(|(last, _)| *last <= mark),
            "a gate's marks only grow"
        );
        if self.waiting.len() == self.capacity {
            self.counters.refused += 1;
            return Err(packet);
        }
        self.waiting.push_back((mark, packet));
        self.counters.held += 1;
        self.counters.high_water = self.counters.high_water.max(self.waiting.len());
        Ok(())
    }

    /// Hands every packet that may leave to `send`, in the order they came: those up to
    /// `confirmed` by the commit rule, or all when the gate is open. Returns how many left.
    pub fn release(&mut self, confirmed: Mark, mut send: impl FnMut(P)) -> usize {
        let before = self.waiting.len();
        while let Some((mark, _)) = self.waiting.front() {
            if self.mode == GateMode::Confirmed && !self.rule.allows(*mark, confirmed) {
                break;
            }
            if let Some((_, packet)) = self.waiting.pop_front() {
                send(packet);
            }
        }
        let released = before - self.waiting.len();
        self.counters.released += released as u64;
        released
    }

    /// Open or confirmed. Changing to [`GateMode::Open`] releases nothing by itself: the next
    /// [`release`](Self::release) does.
    pub fn set_mode(&mut self, mode: GateMode) {
        self.mode = mode;
    }

    #[must_use]
    pub fn mode(&self) -> GateMode {
        self.mode
    }

    /// Drops all that waits (a primary that was superseded). Returns how many were dropped.
    pub fn discard(&mut self) -> usize {
        let dropped = self.waiting.len();
        self.waiting.clear();
        self.counters.discarded += dropped as u64;
        dropped
    }

    /// The mark that the first waiting packet needs.
    #[must_use]
    pub fn oldest(&self) -> Option<Mark> {
        self.waiting.front().map(|(mark, _)| *mark)
    }

    /// Packets that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Packets that can still be taken.
    #[must_use]
    pub fn room(&self) -> usize {
        self.capacity - self.waiting.len()
    }

    #[must_use]
    pub fn counters(&self) -> &GateCounters {
        &self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn released(gate: &mut Gate<u32>, confirmed: u64) -> Vec<u32> {
        let mut out = Vec::new();
        gate.release(Mark(confirmed), |packet| out.push(packet));
        out
    }

    #[test]
    fn packets_leave_in_order_and_only_when_confirmed() {
        let mut gate = Gate::new(8, CommitRule::Swmu);
        for (mark, packet) in [(1, 10), (1, 11), (2, 12), (4, 13)] {
            gate.hold(Mark(mark), packet).expect("room");
        }
        assert_eq!(released(&mut gate, 0), []);
        assert_eq!(gate.oldest(), Some(Mark(1)));
        assert_eq!(released(&mut gate, 1), [10, 11]);
        assert_eq!(released(&mut gate, 3), [12]);
        assert_eq!(gate.oldest(), Some(Mark(4)));
        assert_eq!(released(&mut gate, 4), [13]);
        assert!(gate.is_empty());
    }

    #[test]
    fn without_a_rule_nothing_waits() {
        let mut gate = Gate::new(4, CommitRule::None);
        gate.hold(Mark(7), 1).expect("room");
        assert_eq!(released(&mut gate, 0), [1]);
    }

    #[test]
    fn open_gate_holds_nothing_back() {
        let mut gate = Gate::new(4, CommitRule::Swmu);
        gate.hold(Mark(7), 1).expect("room");
        assert_eq!(released(&mut gate, 0), []);
        gate.set_mode(GateMode::Open);
        gate.hold(Mark(8), 2).expect("room");
        assert_eq!(released(&mut gate, 0), [1, 2]);
    }

    #[test]
    fn full_gate_gives_the_packet_back_and_counts() {
        let mut gate = Gate::new(2, CommitRule::Swmu);
        gate.hold(Mark(1), 1).expect("room");
        gate.hold(Mark(1), 2).expect("room");
        assert_eq!(gate.room(), 0);
        assert_eq!(gate.hold(Mark(1), 3), Err(3));
        assert_eq!(gate.discard(), 2);
        let expected =
            GateCounters { held: 2, released: 0, discarded: 2, refused: 1, high_water: 2 };
        assert_eq!(*gate.counters(), expected);
        assert_eq!(released(&mut gate, 9), []);
    }
}
