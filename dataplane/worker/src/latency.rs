//! How long things take in a worker, as histograms that were made at the start.

use hdrhistogram::Histogram;

/// Longest time that is told from longer ones: 10 s.
const MAX_US: u64 = 10_000_000;

/// The histograms of one worker. Times in microseconds.
#[derive(Clone, Debug)]
pub struct Latency {
    /// From taking a frame in to handing the packet it caused to the port: one loop in open mode,
    /// the confirmation's round trip included otherwise.
    pub gate_us: Histogram<u64>,
    /// Duration of a loop that found something to do.
    pub loop_us: Histogram<u64>,
    /// Segments in a poll that had some.
    pub batch_segments: Histogram<u64>,
}

impl Default for Latency {
    fn default() -> Self {
        Latency { gate_us: up_to(MAX_US), loop_us: up_to(MAX_US), batch_segments: up_to(1024) }
    }
}

/// A histogram of two digits' precision; larger values count as `max`.
fn up_to(max: u64) -> Histogram<u64> {
    Histogram::new_with_bounds(1, max, 2).expect("the bounds are constants and in range")
}
