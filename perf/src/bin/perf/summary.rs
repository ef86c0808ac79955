//! A result in a few lines of text.

use std::fmt::Write;

use crate::report::unit::Unit;
use crate::result::{LatencySummary, RunResult, StallSummary};

/// Characters of the longest bar.
const BAR: usize = 40;

/// The lines.
pub fn text(result: &RunResult) -> String {
    let connections = &result.connections;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<12}{value}");
    };
    line(&result.command, format!("over {} for {}", result.backend, time(result.duration_us)));
    let mut fared = format!("{} asked for, {} opened", connections.asked, connections.opened);
    // The others end theirs themselves.
    if matches!(result.command.as_str(), "rpc" | "idle") {
        fared += &format!(", {} alive at the end", connections.alive);
    }
    line("connections", fared);
    if result.command != "bulk" {
        let rate = Unit::PerSecond.format(result.requests_per_second);
        let what = if result.command == "crr" { "cycles" } else { "requests" };
        line(what, format!("{} ({rate})", result.requests));
    }
    let bytes = |count: u64| Unit::Bytes.format(count as f64);
    let throughput = Unit::BitsPerSecond.format(result.throughput_bps);
    let (up, down) = (bytes(result.bytes_up), bytes(result.bytes_down));
    line("payload", format!("{up} up, {down} down ({throughput} together)"));
    if let Some(latency) = &result.latency_ns {
        line("latency", latency_text(latency));
    }
    for mark in &result.marks {
        line("mark", format!("at {}: {}", time(mark.at_us), mark.label));
    }
    if let Some(stalls) = &result.stalls {
        line("stalls", stalls_text(stalls));
    }
    for failure in &result.failures {
        line("FAILED", format!("{} x {}", failure.count, failure.text));
    }
    text
}

fn time(us: u64) -> String {
    Unit::Nanoseconds.format(us as f64 * 1e3)
}

fn latency_text(latency: &LatencySummary) -> String {
    let values = [
        ("min", latency.min as f64),
        ("mean", latency.mean),
        ("p50", latency.p50 as f64),
        ("p90", latency.p90 as f64),
        ("p99", latency.p99 as f64),
        ("p99.9", latency.p99_9 as f64),
        ("p99.99", latency.p99_99 as f64),
        ("max", latency.max as f64),
    ];
    let told = values.map(|(name, ns)| format!("{name} {}", Unit::Nanoseconds.format(ns)));
    told.join(", ")
}

/// Percentiles, and a bar for each doubling.
fn stalls_text(stalls: &StallSummary) -> String {
    let mut text = format!(
        "longest of each of {} connections: p50 {}, p90 {}, p99 {}, max {}",
        stalls.count,
        time(stalls.p50_us),
        time(stalls.p90_us),
        time(stalls.p99_us),
        time(stalls.max_us)
    );
    let most = stalls.buckets.iter().map(|bucket| bucket.count).max().unwrap_or(1).max(1);
    for bucket in &stalls.buckets {
        let share = bucket.count as f64 / most as f64;
        let bar = "#".repeat(((share * BAR as f64) as usize).max(1));
        let (up_to, count) = (time(bucket.up_to_us), bucket.count);
        let _ = write!(text, "\n{:12}up to {up_to:>8}  {count:>8}  {bar}", "");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures;
    use crate::result::{Bucket, Failures};

    #[test]
    fn everything_that_was_measured_is_told() {
        let mut run = fixtures::run("label", 10);
        run.stalls = Some(StallSummary {
            count: 3,
            p50_us: 900,
            p90_us: 4000,
            p99_us: 4000,
            max_us: 4000,
            buckets: vec![Bucket { up_to_us: 1000, count: 2 }, Bucket { up_to_us: 4000, count: 1 }],
        });
        run.failures = vec![Failures { text: "reset by the peer".into(), count: 2 }];
        let text = text(&run);
        for part in ["p99.99", "up to  4.00 ms", "FAILED      2 x reset by the peer"] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }

    #[test]
    fn target_that_answered_nothing_is_told_as_such() {
        let mut run = fixtures::run("dead", 10);
        (run.requests, run.requests_per_second, run.latency_ns) = (0, 0.0, None);
        let text = text(&run);
        assert!(text.contains("requests    0 (0 /s)") && !text.contains("latency"), "{text}");
    }
}
