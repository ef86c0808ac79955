//! What is counted while a load runs. The thread of the load only adds to the sample of the current
//! step; the finished ones go to another thread for summing up, which takes its time elsewhere.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use hdrhistogram::Histogram;

/// Longest latency that is told apart from longer ones: 10 minutes.
const MAX_LATENCY_NS: u64 = 600_000_000_000;
/// Samples there are. One is being filled, the others may be on their way.
const SAMPLES: usize = 4;

/// Latencies in nanoseconds, with three significant digits.
pub fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_LATENCY_NS, 3).expect("the bounds are in order")
}

/// What a run is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Opening the connections it holds. Nothing counts yet.
    Opening,
    /// Everything counts.
    Measuring,
    /// Waiting for last answers: their latencies count, but no rate does.
    Draining,
    /// Asking every connection whether it is alive. Nothing counts.
    Verifying,
}

/// What was measured in one step of time.
#[derive(Debug)]
pub struct Sample {
    /// What the run was busy with.
    pub phase: Phase,
    /// Start of the step, from the measurement's start.
    pub at_ns: u64,
    /// Length of it.
    pub span_ns: u64,
    /// Requests answered.
    pub requests: u64,
    /// Payload sent.
    pub bytes_up: u64,
    /// Payload received.
    pub bytes_down: u64,
    /// Longest time without progress seen, of connections with something to do.
    pub longest_stall_ns: u64,
    /// Connections that are open at its end; in the phase of verifying, that have answered.
    pub open: u64,
    /// Latencies.
    pub latency: Histogram<u64>,
}

impl Sample {
    fn new() -> Sample {
        Sample {
            phase: Phase::Opening,
            at_ns: 0,
            span_ns: 0,
            requests: 0,
            bytes_up: 0,
            bytes_down: 0,
            longest_stall_ns: 0,
            open: 0,
            latency: latency_histogram(),
        }
    }

    /// Forgets everything, to be used again.
    pub fn clear(&mut self) {
        (self.requests, self.bytes_up, self.bytes_down, self.longest_stall_ns) = (0, 0, 0, 0);
        self.latency.reset();
    }
}

/// The counting side.
#[derive(Debug)]
pub struct Meter {
    sample: Box<Sample>,
    full: SyncSender<Box<Sample>>,
    empty: Receiver<Box<Sample>>,
}

/// The side that sums up.
#[derive(Debug)]
pub struct Samples {
    /// Finished ones; ends when the meter is gone.
    pub full: Receiver<Box<Sample>>,
    /// Where they go when they have been read and cleared.
    pub empty: SyncSender<Box<Sample>>,
}

impl Meter {
    /// A meter, and where its samples come out.
    pub fn new() -> (Meter, Samples) {
        let (full_in, full_out) = sync_channel(SAMPLES);
        let (empty_in, empty_out) = sync_channel(SAMPLES);
        for _ in 1..SAMPLES {
            empty_in.try_send(Box::new(Sample::new())).expect("there is room for all of them");
        }
        let sample = Box::new(Sample::new());
        let meter = Meter { sample, full: full_in, empty: empty_out };
        (meter, Samples { full: full_out, empty: empty_in })
    }

    /// A request was answered after so long.
    #[inline]
    pub fn answered(&mut self, latency_ns: u64) {
        match self.sample.phase {
            Phase::Measuring => {
                self.sample.requests += 1;
                self.sample.latency.saturating_record(latency_ns.max(1));
            }
            Phase::Draining => self.unanswered(latency_ns),
            Phase::Opening | Phase::Verifying => {}
        }
    }

    /// A request has waited for so long and is given up: its latency is at least that.
    pub fn unanswered(&mut self, waited_ns: u64) {
        self.sample.latency.saturating_record(waited_ns.max(1));
    }

    /// Payload was sent.
    #[inline]
    pub fn sent(&mut self, bytes: u64) {
        self.sample.bytes_up += bytes;
    }

    /// Payload came.
    #[inline]
    pub fn received(&mut self, bytes: u64) {
        self.sample.bytes_down += bytes;
    }

    /// A connection with something to do made no progress for so long.
    #[inline]
    pub fn stalled(&mut self, gap_ns: u64) {
        self.sample.longest_stall_ns = self.sample.longest_stall_ns.max(gap_ns);
    }

    /// What the run is busy with.
    #[inline]
    pub fn phase(&self) -> Phase {
        self.sample.phase
    }

    /// Ends the current step at `at_ns` from the measurement's start, with `open` connections. If
    /// the other side is late, the step goes on.
    pub fn step(&mut self, at_ns: u64, open: u64) {
        if let Ok(next) = self.empty.try_recv() {
            self.hand_over(at_ns, open, next);
        }
    }

    /// Ends the current step however long the other side takes, and begins one of another phase,
    /// whose time begins at `from_ns`.
    pub fn enter(&mut self, phase: Phase, at_ns: u64, from_ns: u64, open: u64) {
        if let Ok(next) = self.empty.recv() {
            self.hand_over(at_ns, open, next);
        }
        self.sample.phase = phase;
        self.sample.at_ns = from_ns;
    }

    fn hand_over(&mut self, at_ns: u64, open: u64, mut next: Box<Sample>) {
        self.sample.span_ns = at_ns.saturating_sub(self.sample.at_ns);
        self.sample.open = open;
        next.phase = self.sample.phase;
        next.at_ns = at_ns;
        let full = std::mem::replace(&mut self.sample, next);
        // If nobody sums up any more, there is nobody to tell.
        let _ = self.full.try_send(full);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_measured_counts_and_late_answers_have_no_rate() {
        let (mut meter, samples) = Meter::new();
        meter.answered(5);
        meter.enter(Phase::Measuring, 0, 0, 1);
        meter.answered(1000);
        meter.sent(64);
        meter.step(100, 1);
        meter.enter(Phase::Draining, 150, 150, 1);
        meter.answered(3000);
        meter.step(200, 0);
        let told: Vec<_> = samples
            .full
            .try_iter()
            .map(|s| (s.phase, s.at_ns, s.span_ns, s.requests, s.bytes_up, s.latency.len()))
            .collect();
        // Nobody gave samples back, so the last step goes on.
        let measured = [(Phase::Measuring, 0, 100, 1, 64, 1), (Phase::Measuring, 100, 50, 0, 0, 0)];
        assert_eq!(told[1..], measured);
        assert_eq!((told[0].0, told[0].5), (Phase::Opening, 0));
    }
}
