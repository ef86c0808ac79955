//! Latencies, and how they are told.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency that is told apart from longer ones: 10 minutes.
const MAX_US: u64 = 600_000_000;

/// Latencies in microseconds with three significant digits.
#[derive(Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
}

/// What a report says about latencies, in microseconds.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Number of measurements.
    pub count: u64,
    pub min: u64,
    pub mean: f64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
    pub max: u64,
    /// How many lay in each doubling, the empty ones left out.
    pub histogram: Vec<Bucket>,
}

/// One doubling.
#[derive(Debug, Serialize)]
pub struct Bucket {
    /// Upper bound in microseconds, itself not included.
    pub below_us: u64,
    /// Measurements in it.
    pub count: u64,
}

impl Latency {
    /// No measurement yet.
    pub fn new() -> Latency {
        let histogram = Histogram::new_with_bounds(1, MAX_US, 3).expect("the bounds are in order");
        Latency { histogram }
    }

    /// Adds one.
    pub fn record(&mut self, latency_us: u64) {
        self.histogram.saturating_record(latency_us.max(1));
    }

    /// Numbers for the report; None if nothing was measured.
    pub fn summary(&self) -> Option<Summary> {
        let histogram = &self.histogram;
        if histogram.is_empty() {
            return None;
        }
        let mut buckets: Vec<Bucket> = Vec::new();
        for step in histogram.iter_recorded() {
            let below_us = (step.value_iterated_to() + 1).next_power_of_two();
            match buckets.last_mut() {
                Some(last) if last.below_us == below_us => last.count += step.count_at_value(),
                _ => buckets.push(Bucket { below_us, count: step.count_at_value() }),
            }
        }
        Some(Summary {
            count: histogram.len(),
            min: histogram.min(),
            mean: histogram.mean(),
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p99_9: histogram.value_at_quantile(0.999),
            max: histogram.max(),
            histogram: buckets,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measurement_is_in_one_doubling() {
        let mut latency = Latency::new();
        assert!(latency.summary().is_none());
        for value in [0, 1, 3, 100, 127, 128, 1_000_000_000] {
            latency.record(value);
        }
        let summary = latency.summary().unwrap();
        assert_eq!(summary.histogram.iter().map(|bucket| bucket.count).sum::<u64>(), 7);
        let below_128 = summary.histogram.iter().find(|bucket| bucket.below_us == 128).unwrap();
        assert_eq!(below_128.count, 2);
        assert!(summary.max >= MAX_US);
    }
}
