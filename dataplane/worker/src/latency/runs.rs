//! Packets on their way through a queue, in runs that share their times.

use std::collections::VecDeque;

/// Packets with the same history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// When the input that caused them was taken in; nothing when a timer caused them.
    pub rx_ns: Option<u64>,
    /// When the poll began whose step made them.
    pub step_ns: u64,
    pub packets: u64,
}

impl Run {
    fn is_like(&self, other: &Run) -> bool {
        self.rx_ns == other.rx_ns && self.step_ns == other.step_ns
    }
}

/// A bounded FIFO of runs that follows a FIFO of packets. All memory is taken at construction.
#[derive(Debug)]
pub(crate) struct Runs {
    runs: VecDeque<Run>,
    capacity: usize,
}

impl Runs {
    pub fn new(capacity: usize) -> Runs {
        Runs { runs: VecDeque::with_capacity(capacity), capacity }
    }

    /// Appends packets. When there is no room for another run they count as part of the last
    /// one: their times will be too long rather than too short.
    pub fn push(&mut self, run: Run) {
        if run.packets == 0 {
            return;
        }
        let full = self.runs.len() == self.capacity;
        match self.runs.back_mut() {
            Some(last) if full || last.is_like(&run) => last.packets += run.packets,
            _ => self.runs.push_back(run),
        }
    }

    /// Takes up to `packets` from the front, and hands them to `each` in their order.
    pub fn take(&mut self, mut packets: u64, mut each: impl FnMut(Run)) {
        while packets > 0 {
            let Some(first) = self.runs.front_mut() else { return };
            let taken = first.packets.min(packets);
            packets -= taken;
            first.packets -= taken;
            each(Run { packets: taken, ..*first });
            if first.packets == 0 {
                self.runs.pop_front();
            }
        }
    }

    pub fn clear(&mut self) {
        self.runs.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(step_ns: u64, packets: u64) -> Run {
        Run { rx_ns: None, step_ns, packets }
    }

    fn taken(runs: &mut Runs, packets: u64) -> Vec<Run> {
        let mut all = Vec::new();
        runs.take(packets, |run| all.push(run));
        all
    }

    #[test]
    fn packets_keep_their_order_and_their_times() {
        let mut runs = Runs::new(4);
        for step in [run(1, 2), run(1, 3), run(2, 0), run(2, 4)] {
            runs.push(step);
        }
        assert_eq!(taken(&mut runs, 1), [run(1, 1)]);
        assert_eq!(taken(&mut runs, 5), [run(1, 4), run(2, 1)]);
        assert_eq!(taken(&mut runs, 9), [run(2, 3)]);
        assert_eq!(taken(&mut runs, 1), []);
    }

    #[test]
    fn a_full_queue_loses_no_packet() {
        let mut runs = Runs::new(2);
        for step_ns in 1..=5 {
            runs.push(run(step_ns, 1));
        }
        assert_eq!(taken(&mut runs, 9), [run(1, 1), run(2, 4)]);
    }
}
