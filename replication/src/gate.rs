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

/// Whom a packet waits for. What waits in one lane does not wait for what does in the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// All nodes in sync.
    All,
    /// A majority of them.
    Majority,
}

impl Lane {
    /// Every lane.
    pub const ALL: [Lane; 2] = [Lane::All, Lane::Majority];

    /// As an index of an array of all lanes.
    #[must_use]
    pub fn place(self) -> usize {
        self as usize
    }
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

/// What waits in one lane, in its order.
#[derive(Debug)]
struct Queue<P> {
    waiting: VecDeque<(Mark, P)>,
    /// The mark of the last that left.
    left: Mark,
}

/// Bounded FIFOs of packets, one for each lane, each packet with the mark of the loop whose log it
/// depends on. All memory is taken at construction.
#[derive(Debug)]
pub struct Gate<P> {
    lanes: [Queue<P>; Lane::ALL.len()],
    capacity: usize,
    mode: GateMode,
    rule: CommitRule,
    counters: GateCounters,
}

impl<P> Gate<P> {
    /// A gate for at most `capacity` packets in both lanes together, in mode [`GateMode::Confirmed`].
    ///
    /// # Panics
    /// When `capacity` is 0: nothing could ever leave.
    #[must_use]
    pub fn new(capacity: usize, rule: CommitRule) -> Gate<P> {
        assert!(capacity > 0, "a gate needs room for a packet");
        let lane = |_| Queue { waiting: VecDeque::with_capacity(capacity), left: Mark::START };
        Gate {
            lanes: Lane::ALL.map(lane),
            capacity,
            mode: GateMode::Confirmed,
            rule,
            counters: GateCounters::default(),
        }
    }

    /// Takes a packet that depends on what was logged in the loop with this mark, and in all before
    /// it. Marks must not fall from one packet of a lane to the next.
    ///
    /// # Errors
    /// Gives the packet back when the gate is full. A caller that looks at [`room`](Self::room)
    /// before it takes input never sees that.
    pub fn hold(&mut self, lane: Lane, mark: Mark, packet: P) -> Result<(), P> {
        if self.len() == self.capacity {
            self.counters.refused += 1;
            return Err(packet);
        }
        let waiting = &mut self.lanes[lane.place()].waiting;
        debug_assert!(
            waiting.back().is_none_or(|(last, _)| *last <= mark),
            "a lane's marks only grow"
        );
        waiting.push_back((mark, packet));
        self.counters.held += 1;
        self.counters.high_water = self.counters.high_water.max(self.len());
        Ok(())
    }

    /// Hands every packet of the lane that may leave to `send`, in the order they came: those up to
    /// `confirmed` by the commit rule, or all when the gate is open. Returns how many left.
    pub fn release(&mut self, lane: Lane, confirmed: Mark, mut send: impl FnMut(P)) -> usize {
        let Queue { waiting, left } = &mut self.lanes[lane.place()];
        let before = waiting.len();
        while let Some((mark, _)) = waiting.front() {
            if self.mode == GateMode::Confirmed && !self.rule.allows(*mark, confirmed) {
                break;
            }
            if let Some((mark, packet)) = waiting.pop_front() {
                *left = mark;
                send(packet);
            }
        }
        let released = before - waiting.len();
        self.counters.released += released as u64;
        released
    }

    /// All that has left through the lane depends on loops up to this one.
    #[must_use]
    pub fn left(&self, lane: Lane) -> Mark {
        self.lanes[lane.place()].left
    }

    #[must_use]
    pub fn rule(&self) -> CommitRule {
        self.rule
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
        let dropped = self.len();
        self.lanes.iter_mut().for_each(|lane| lane.waiting.clear());
        self.counters.discarded += dropped as u64;
        dropped
    }

    /// Packets that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lanes.iter().map(|lane| lane.waiting.len()).sum()
    }

    /// Packets that wait in one lane.
    #[must_use]
    pub fn len_of(&self, lane: Lane) -> usize {
        self.lanes[lane.place()].waiting.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.waiting.is_empty())
    }

    /// Packets that can still be taken.
    #[must_use]
    pub fn room(&self) -> usize {
        self.capacity - self.len()
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
        gate.release(Lane::All, Mark(confirmed), |packet| out.push(packet));
        out
    }

    #[test]
    fn packets_leave_in_order_and_only_when_confirmed() {
        let mut gate = Gate::new(8, CommitRule::Swmu);
        for (mark, packet) in [(1, 10), (1, 11), (2, 12), (4, 13)] {
            gate.hold(Lane::All, Mark(mark), packet).expect("room");
        }
        assert_eq!(released(&mut gate, 0), []);
        assert_eq!(released(&mut gate, 1), [10, 11]);
        assert_eq!(released(&mut gate, 3), [12]);
        assert_eq!(released(&mut gate, 4), [13]);
        assert!(gate.is_empty());
    }

    #[test]
    fn without_a_rule_nothing_waits() {
        let mut gate = Gate::new(4, CommitRule::None);
        gate.hold(Lane::All, Mark(7), 1).expect("room");
        assert_eq!(released(&mut gate, 0), [1]);
    }

    #[test]
    fn open_gate_holds_nothing_back() {
        let mut gate = Gate::new(4, CommitRule::Swmu);
        gate.hold(Lane::All, Mark(7), 1).expect("room");
        assert_eq!(released(&mut gate, 0), []);
        gate.set_mode(GateMode::Open);
        gate.hold(Lane::All, Mark(8), 2).expect("room");
        assert_eq!(released(&mut gate, 0), [1, 2]);
    }

    #[test]
    fn full_gate_gives_the_packet_back_and_counts() {
        let mut gate = Gate::new(2, CommitRule::Swmu);
        gate.hold(Lane::All, Mark(1), 1).expect("room");
        gate.hold(Lane::All, Mark(1), 2).expect("room");
        assert_eq!(gate.room(), 0);
        assert_eq!(gate.hold(Lane::All, Mark(1), 3), Err(3));
        assert_eq!(gate.discard(), 2);
        let expected =
            GateCounters { held: 2, released: 0, discarded: 2, refused: 1, high_water: 2 };
        assert_eq!(*gate.counters(), expected);
        assert_eq!(released(&mut gate, 9), []);
    }

    #[test]
    fn lanes_do_not_wait_for_each_other_and_share_the_room() {
        let mut gate = Gate::new(4, CommitRule::Swmu);
        for (lane, mark, packet) in [
            (Lane::All, 1, 10),
            (Lane::Majority, 1, 20),
            (Lane::All, 2, 11),
            (Lane::Majority, 3, 21),
        ] {
            gate.hold(lane, Mark(mark), packet).expect("room");
        }
        assert_eq!((gate.room(), gate.len_of(Lane::Majority)), (0, 2));
        let mut left = Vec::new();
        gate.release(Lane::Majority, Mark(2), |packet| left.push(packet));
        assert_eq!(left, [20]);
        assert_eq!((gate.left(Lane::All), gate.left(Lane::Majority)), (Mark(0), Mark(1)));
        assert_eq!(released(&mut gate, 2), [10, 11]);
        assert_eq!(gate.len(), 1);
    }
}
