//! Sums up the samples of a run in a thread of its own, so that the load's thread has nothing to do
//! with it, and shows the progress.

use std::thread::JoinHandle;

use hdrhistogram::Histogram;

use crate::load::meter::{Phase, Sample, Samples, latency_histogram};
use crate::progress::Progress;
use crate::result::Interval;

/// Length of a line of the log.
const LINE_NS: u64 = 1_000_000_000;

/// All samples of a run together.
#[derive(Debug)]
pub struct Recorded {
    /// The measured time in steps.
    pub timeline: Vec<Interval>,
    /// Latencies in nanoseconds, last answers included.
    pub latency: Histogram<u64>,
    /// Requests answered in the measured time.
    pub requests: u64,
    /// Payload sent in it.
    pub bytes_up: u64,
    /// Payload received in it.
    pub bytes_down: u64,
    /// Latencies second by second, if they are wanted.
    pub lines: Vec<Line>,
}

/// Latencies of about a second.
#[derive(Debug)]
pub struct Line {
    /// Its start, from the measurement's start.
    pub at_ns: u64,
    /// Its length.
    pub span_ns: u64,
    /// The latencies in nanoseconds.
    pub latency: Histogram<u64>,
}

/// Begins to take samples. The thread ends, and has everything, when the meter is gone.
pub fn start(samples: Samples, progress: Progress, with_lines: bool) -> JoinHandle<Recorded> {
    std::thread::spawn(move || record(&samples, &progress, with_lines))
}

fn record(samples: &Samples, progress: &Progress, with_lines: bool) -> Recorded {
    let mut recorded = Recorded {
        timeline: Vec::new(),
        latency: latency_histogram(),
        requests: 0,
        bytes_up: 0,
        bytes_down: 0,
        lines: Vec::new(),
    };
    while let Ok(mut sample) = samples.full.recv() {
        recorded.add(&sample);
        if with_lines && !sample.latency.is_empty() {
            recorded.log(&sample);
        }
        progress.show(&sample, recorded.requests);
        sample.clear();
        // The meter may be gone already.
        let _ = samples.empty.send(sample);
    }
    progress.finish();
    recorded
}

impl Recorded {
    fn log(&mut self, sample: &Sample) {
        let end_ns = sample.at_ns + sample.span_ns;
        if self.lines.last().is_none_or(|line| sample.at_ns >= line.at_ns + LINE_NS) {
            // As wide as its values need, since there may be many.
            let latency = Histogram::new(3).expect("3 digits are possible");
            self.lines.push(Line { at_ns: sample.at_ns, span_ns: 0, latency });
        }
        if let Some(line) = self.lines.last_mut() {
            line.span_ns = end_ns - line.at_ns;
            line.latency.add(&sample.latency).expect("it grows as needed");
        }
    }

    fn add(&mut self, sample: &Sample) {
        if matches!(sample.phase, Phase::Measuring | Phase::Draining) {
            self.latency.add(&sample.latency).expect("both have the same bounds");
        }
        if sample.phase != Phase::Measuring {
            return;
        }
        self.requests += sample.requests;
        self.bytes_up += sample.bytes_up;
        self.bytes_down += sample.bytes_down;
        if sample.span_ns == 0 {
            return;
        }
        let latency = &sample.latency;
        let quantile = |q| (!latency.is_empty()).then(|| latency.value_at_quantile(q));
        self.timeline.push(Interval {
            at_us: sample.at_ns / 1000,
            span_us: sample.span_ns / 1000,
            requests: sample.requests,
            bytes: sample.bytes_up + sample.bytes_down,
            p50_ns: quantile(0.5),
            p99_ns: quantile(0.99),
            max_ns: quantile(1.0),
            longest_stall_us: Some(sample.longest_stall_ns / 1000),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::meter::Meter;

    #[test]
    fn what_is_measured_is_summed_up_and_the_rest_is_not() {
        let (mut meter, samples) = Meter::new();
        let thread = start(samples, Progress::hidden(), true);
        meter.answered(7);
        meter.received(1000);
        meter.enter(Phase::Measuring, 0, 0, 2);
        for step in 1..=20 {
            meter.answered(1000 * step);
            meter.sent(64);
            meter.received(64);
            // Unlike `step`, this waits for the other side.
            meter.enter(Phase::Measuring, step * 100_000_000, step * 100_000_000, 2);
        }
        meter.stalled(5_000_000);
        meter.enter(Phase::Draining, 2_050_000_000, 2_050_000_000, 2);
        meter.answered(1_000_000);
        meter.enter(Phase::Verifying, 2_100_000_000, 2_100_000_000, 2);
        meter.answered(9);
        meter.enter(Phase::Draining, 2_200_000_000, 2_200_000_000, 2);
        drop(meter);
        let recorded = thread.join().unwrap();
        assert_eq!((recorded.requests, recorded.bytes_up, recorded.bytes_down), (20, 1280, 1280));
        assert_eq!(recorded.latency.len(), 21);
        assert!(recorded.latency.max() >= 1_000_000);
        assert_eq!(recorded.timeline.iter().map(|step| step.requests).sum::<u64>(), 20);
        let covered_us: u64 = recorded.timeline.iter().map(|step| step.span_us).sum();
        assert_eq!(covered_us, 2_050_000);
        let lines: Vec<_> = recorded.lines.iter().map(|line| line.latency.len()).collect();
        assert_eq!(lines, [10, 10, 1]);
        let last = recorded.timeline.last().unwrap();
        assert_eq!((last.longest_stall_us, last.p50_ns), (Some(5000), None));
    }
}
