//! Results as a run would leave them, for tests.

use hdrhistogram::Histogram;
use serde_json::json;

use crate::result::{
    Connections, Interval, LatencySummary, Machine, Mark, RunResult, SCHEMA, StallSummary,
};

const STEP_US: u64 = 100_000;

/// One second of `rpc` with a median of `p50_us`, a long tail, and a takeover 400 ms in.
pub fn run(label: &str, p50_us: u64) -> RunResult {
    let latency = latencies(p50_us * 1_000);
    RunResult {
        schema: SCHEMA,
        version: "0.1.0".into(),
        machine: Machine::read().unwrap(),
        label: label.into(),
        command: "rpc".into(),
        backend: "memif".into(),
        parameters: json!({"connections": 64, "request_bytes": 64, "target": "10.0.0.1:7"}),
        started_unix_us: 1_700_000_000_123_456,
        duration_us: 10 * STEP_US,
        connections: Connections { asked: 64, opened: 64, alive: 63, resets: 1, errors: 0 },
        requests: latency.len(),
        bytes_up: 64 * latency.len(),
        bytes_down: 64 * latency.len(),
        requests_per_second: latency.len() as f64,
        throughput_bps: 8.0 * 128.0 * latency.len() as f64,
        latency_ns: LatencySummary::of(&latency).unwrap(),
        timeline: (0..10).map(|step| interval(step, &latency)).collect(),
        stalls: StallSummary::of(&stalls()),
        marks: vec![Mark { at_us: 4 * STEP_US + 50_000, label: "takeover".into() }],
        failures: Vec::new(),
    }
}

fn latencies(p50_ns: u64) -> Histogram<u64> {
    let mut histogram = Histogram::new(3).unwrap();
    for n in 0..100_000_u64 {
        // An exponential tail: ln(1/(1-q)) times the median.
        let tail = -((100_000 - n) as f64 / 100_000.0).ln();
        histogram.record((p50_ns as f64 * (0.5 + tail * tail)) as u64).unwrap();
    }
    histogram
}

fn interval(step: u64, latency: &Histogram<u64>) -> Interval {
    let dead = step == 4;
    let requests = if dead { 0 } else { latency.len() / 10 + step * 97 % 500 };
    Interval {
        at_us: step * STEP_US,
        span_us: STEP_US,
        requests,
        bytes: requests * 128,
        p50_ns: (!dead).then(|| latency.value_at_quantile(0.5)),
        p99_ns: (!dead).then(|| latency.value_at_quantile(0.99)),
        max_ns: (!dead).then(|| latency.max()),
        longest_stall_us: Some(if dead { 61_000 } else { 900 }),
    }
}

fn stalls() -> Histogram<u64> {
    let mut histogram = Histogram::new(3).unwrap();
    for n in 0..64 {
        histogram.record(48_000 + n * 400).unwrap();
    }
    histogram
}
