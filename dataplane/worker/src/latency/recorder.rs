//! Fills a worker's histograms out of the clock readings that a poll makes anyway: one at its
//! beginning, one before packets leave, one after.

use std::collections::VecDeque;

use replication::{Lane, Mark};

use super::Latency;
use super::runs::{Run, Runs};

/// Runs that wait in the gate or for the card: a few for each poll of a link round trip.
const MAX_RUNS: usize = 1024;
/// Polls whose batch is not confirmed; those of more are not timed.
const MAX_BATCHES: usize = 1024;

/// A worker's histograms, and what is under way.
#[derive(Debug)]
pub(crate) struct Recorder {
    latency: Latency,
    /// When the recording began, in microseconds.
    since_us: u64,
    /// When this poll began, and when its packets were ready to leave.
    began_ns: u64,
    ready_ns: u64,
    /// The segments that the shards had been given before this poll.
    segments: u64,
    in_gate: [Runs; Lane::ALL.len()],
    to_card: Runs,
    /// The polls that handed something to the link, and when they did.
    batches: VecDeque<(Mark, u64)>,
    last: Mark,
}

impl Recorder {
    pub fn new() -> Recorder {
        Recorder {
            latency: Latency::default(),
            since_us: 0,
            began_ns: 0,
            ready_ns: 0,
            segments: 0,
            in_gate: Lane::ALL.map(|_| Runs::new(MAX_RUNS)),
            to_card: Runs::new(MAX_RUNS),
            batches: VecDeque::with_capacity(MAX_BATCHES),
            last: Mark::START,
        }
    }

    pub fn latency(&self) -> &Latency {
        &self.latency
    }

    pub fn since_us(&self) -> u64 {
        self.since_us
    }

    /// Starts the histograms anew; what is under way will count.
    pub fn reset(&mut self, now_us: u64) {
        self.latency.reset();
        self.since_us = now_us;
    }

    /// A poll begins; nothing was received in it yet.
    pub fn begin(&mut self, now_ns: u64) {
        self.began_ns = now_ns;
        self.ready_ns = now_ns;
    }

    /// When this poll began.
    pub fn began_ns(&self) -> u64 {
        self.began_ns
    }

    /// All that count hold what was logged up to the poll with this mark.
    pub fn confirmed(&mut self, mark: Mark) {
        while let Some((last, handed_ns)) = self.batches.front() {
            if *last > mark {
                break;
            }
            let rtt_ns = self.began_ns.saturating_sub(*handed_ns);
            self.latency.link_rtt_ns.saturating_record(rtt_ns);
            self.batches.pop_front();
        }
    }

    /// A step put packets into the lanes of the gate and into the LAN port's queue. `rx_ns`: since
    /// when its input had waited.
    pub fn stepped(
        &mut self,
        rx_ns: Option<u64>,
        into_gate: [usize; Lane::ALL.len()],
        into_queue: usize,
    ) {
        let run = |packets: usize| Run { rx_ns, step_ns: self.began_ns, packets: packets as u64 };
        for (in_lane, packets) in self.in_gate.iter_mut().zip(into_gate) {
            in_lane.push(run(packets));
        }
        self.to_card.push(run(into_queue));
    }

    /// What was logged up to the poll with mark `last` was handed to the link. `segments`: all that
    /// the shards were ever given.
    pub fn ready(&mut self, now_ns: u64, segments: u64, last: Mark) {
        self.ready_ns = now_ns;
        let batch = segments - self.segments;
        self.segments = segments;
        if batch > 0 {
            self.latency.batch_segments.saturating_record(batch);
        }
        if last > self.last {
            self.last = last;
            if self.batches.len() < MAX_BATCHES {
                self.batches.push_back((last, now_ns));
            }
        }
    }

    /// The gate let so many packets of a lane go, to the LAN port's queue.
    pub fn released(&mut self, lane: Lane, packets: usize) {
        let Recorder { latency, ready_ns, in_gate, to_card, .. } = self;
        in_gate[lane.place()].take(packets as u64, |run| {
            let waited_ns = ready_ns.saturating_sub(run.step_ns);
            latency.gate_ns.saturating_record_n(waited_ns, run.packets);
            to_card.push(run);
        });
    }

    /// A busy poll ends. The card took `frames` of the LAN port's queue, in which nothing is left
    /// if `drained`.
    pub fn end(&mut self, now_ns: u64, frames: usize, drained: bool) {
        let Recorder { latency, to_card, began_ns, .. } = self;
        to_card.take(frames as u64, |run| {
            if let Some(rx_ns) = run.rx_ns {
                let took_ns = now_ns.saturating_sub(rx_ns);
                latency.rx_to_tx_ns.saturating_record_n(took_ns, run.packets);
            }
        });
        if drained {
            // What is left was dropped or waits for its neighbour's address.
            to_card.clear();
        }
        latency.poll_ns.saturating_record(now_ns.saturating_sub(*began_ns));
    }

    /// What waited in the gate was dropped.
    pub fn gate_discarded(&mut self) {
        self.in_gate.iter_mut().for_each(Runs::clear);
    }

    /// A log is over: what it was given may never be confirmed.
    pub fn log_ended(&mut self) {
        self.batches.clear();
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;

    #[track_caller]
    fn assert_about(histogram: &Histogram<u64>, count: u64, min_ns: u64, max_ns: u64) {
        let seen = (histogram.len(), histogram.min(), histogram.max());
        assert_eq!(seen.0, count, "{seen:?}");
        assert!(seen.1.abs_diff(min_ns) <= min_ns / 50, "{seen:?}");
        assert!(seen.2.abs_diff(max_ns) <= max_ns / 50, "{seen:?}");
    }

    /// One poll with two packets into the gate, a later one that sets them free.
    #[test]
    fn confirmed_packets_are_timed_from_their_input_to_the_card() {
        let mut recorder = Recorder::new();
        recorder.begin(1_000);
        recorder.stepped(Some(400), [2, 0], 0);
        recorder.ready(3_000, 5, Mark(1));
        recorder.released(Lane::All, 0);
        recorder.end(4_000, 0, true);

        recorder.begin(50_000);
        recorder.confirmed(Mark(1));
        recorder.ready(51_000, 5, Mark(1));
        recorder.released(Lane::All, 2);
        recorder.end(54_000, 2, true);

        let latency = recorder.latency();
        assert_about(&latency.link_rtt_ns, 1, 47_000, 47_000);
        assert_about(&latency.gate_ns, 2, 50_000, 50_000);
        assert_about(&latency.rx_to_tx_ns, 2, 53_600, 53_600);
        assert_about(&latency.poll_ns, 2, 3_000, 4_000);
        assert_about(&latency.batch_segments, 1, 5, 5);
    }

    #[test]
    fn packets_that_pass_others_keep_their_own_times() {
        let mut recorder = Recorder::new();
        recorder.begin(1_000);
        recorder.stepped(None, [1, 0], 0);
        recorder.begin(41_000);
        recorder.stepped(None, [0, 1], 0);
        recorder.begin(50_000);
        recorder.ready(51_000, 0, Mark(1));
        recorder.released(Lane::Majority, 1);
        assert_about(&recorder.latency().gate_ns, 1, 10_000, 10_000);
        recorder.released(Lane::All, 1);
        assert_about(&recorder.latency().gate_ns, 2, 10_000, 50_000);
    }

    #[test]
    fn packets_that_wait_for_the_card_are_timed_when_it_takes_them() {
        let mut recorder = Recorder::new();
        recorder.begin(1_000);
        recorder.stepped(Some(1_000), [0, 0], 3);
        recorder.end(2_000, 1, false);
        recorder.begin(9_000);
        recorder.end(11_000, 2, true);
        assert_about(&recorder.latency().rx_to_tx_ns, 3, 1_000, 10_000);
    }

    #[test]
    fn packets_of_timers_have_no_input_and_dropped_ones_no_end() {
        let mut recorder = Recorder::new();
        recorder.begin(1_000);
        recorder.stepped(None, [0, 0], 1);
        recorder.stepped(Some(1_000), [0, 0], 2);
        recorder.end(2_000, 2, true);
        assert_about(&recorder.latency().rx_to_tx_ns, 1, 1_000, 1_000);
        recorder.begin(9_000);
        recorder.end(9_100, 1, true);
        assert_eq!(recorder.latency().rx_to_tx_ns.len(), 1);
    }

    #[test]
    fn an_ended_log_and_an_emptied_gate_are_forgotten() {
        let mut recorder = Recorder::new();
        recorder.begin(1_000);
        recorder.stepped(Some(1_000), [1, 0], 0);
        recorder.ready(2_000, 1, Mark(6));
        recorder.gate_discarded();
        recorder.log_ended();
        recorder.begin(3_000);
        recorder.ready(3_500, 1, Mark(7));
        recorder.begin(5_000);
        recorder.confirmed(Mark(7));
        recorder.released(Lane::All, 1);
        assert_about(&recorder.latency().link_rtt_ns, 1, 1_500, 1_500);
        assert!(recorder.latency().gate_ns.is_empty());
    }

    #[test]
    fn each_polls_batch_is_timed_once_however_they_are_confirmed() {
        let mut recorder = Recorder::new();
        for (began_ns, last) in [(1_000, 1), (2_000, 3), (3_000, 3)] {
            recorder.begin(began_ns);
            recorder.ready(began_ns, 0, Mark(last));
        }
        recorder.begin(10_000);
        recorder.confirmed(Mark(2));
        assert_about(&recorder.latency().link_rtt_ns, 1, 9_000, 9_000);
        recorder.confirmed(Mark(3));
        assert_about(&recorder.latency().link_rtt_ns, 2, 8_000, 9_000);
    }
}
