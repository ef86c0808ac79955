//! The verdict of a run, for eyes and for scripts.

use std::fmt::Write as _;

use serde::Serialize;

use crate::clock::Clock;
use crate::connection::{Failure, Record};
use crate::histogram::{Bucket, Summary};
use crate::stall::Gap;

/// Connections listed one by one at most; beyond it only those that failed are.
const MAX_LISTED: usize = 1000;

/// What a run found. Times in microseconds, moments in Unix time.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Sub-command.
    pub command: &'static str,
    /// Whether every byte was right and no connection was reset or left unfinished.
    pub ok: bool,
    /// Address and port of the service, or where else the bytes came from.
    pub target: String,
    /// When the run started.
    pub started_unix_us: u64,
    /// How long it took.
    pub duration_us: u64,
    /// Connections of the run.
    pub connections: usize,
    /// Connections that did their work.
    pub alive: usize,
    /// Connections that the peer reset.
    pub resets: usize,
    /// Connections that failed for another reason.
    pub errors: usize,
    /// Bytes that arrived where they should: verified, or acknowledged by the peer's TCP.
    pub bytes: u64,
    /// Those bytes over the run's time, in bit/s.
    pub throughput_bps: f64,
    /// The longest stall of any connection.
    pub longest_gap_us: u64,
    /// When it began.
    pub longest_gap_at_unix_us: u64,
    /// Latencies, if the command measures any.
    pub latency_us: Option<Summary>,
    /// Each connection; only the failed ones if there are more than 1000.
    pub per_connection: Vec<ConnectionReport>,
}

/// What became of one connection.
#[derive(Debug, Serialize)]
pub struct ConnectionReport {
    /// Our end.
    pub local: Option<String>,
    /// Bytes as above.
    pub bytes: u64,
    /// 1 if the peer reset it.
    pub resets: u32,
    /// 1 if it failed for another reason.
    pub errors: u32,
    /// Its longest stall.
    pub longest_gap_us: u64,
    /// When that began.
    pub longest_gap_at_unix_us: u64,
    /// When it was opened.
    pub opened_unix_us: Option<u64>,
    /// When it was over.
    pub ended_unix_us: Option<u64>,
    /// What went wrong.
    pub failure: Option<String>,
}

impl Report {
    /// Sums up the records of a run that is over.
    pub fn of(
        command: &'static str,
        target: String,
        clock: Clock,
        records: &[&Record],
        latency_us: Option<Summary>,
    ) -> Report {
        let now_us = clock.now_us();
        let failures = || records.iter().filter_map(|record| record.failure.as_ref());
        let failed = failures().count();
        let resets = failures().filter(|failure| **failure == Failure::Reset).count();
        let bytes = records.iter().map(|record| record.bytes).sum();
        let gap = records.iter().map(|record| longest(record, now_us));
        let gap = gap.max_by_key(|gap| gap.length_us).unwrap_or_default();
        let listed =
            records.iter().filter(|record| records.len() <= MAX_LISTED || record.failure.is_some());
        Report {
            command,
            ok: failed == 0,
            target,
            started_unix_us: clock.unix_us(0),
            duration_us: now_us,
            connections: records.len(),
            alive: records.len() - failed,
            resets,
            errors: failed - resets,
            bytes,
            throughput_bps: bytes as f64 * 8e6 / now_us.max(1) as f64,
            longest_gap_us: gap.length_us,
            longest_gap_at_unix_us: clock.unix_us(gap.began_us),
            latency_us,
            per_connection: listed.map(|r| ConnectionReport::of(r, clock, now_us)).collect(),
        }
    }

    /// Prints it to standard output.
    pub fn print(&self, json: bool) {
        if json {
            let text = serde_json::to_string(self).expect("numbers and strings make JSON");
            println!("{text}");
        } else {
            print!("{}", self.text());
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let verdict = if self.ok { "right" } else { "WRONG" };
        let _ = writeln!(
            text,
            "{} {}: {verdict}; {} connections, {} failed, {} of them reset",
            self.command,
            self.target,
            self.connections,
            self.resets + self.errors,
            self.resets,
        );
        let _ = writeln!(
            text,
            "{} bytes in {:.2} s, {:.2} Mbit/s; longest stall {:.1} ms",
            self.bytes,
            self.duration_us as f64 / 1e6,
            self.throughput_bps / 1e6,
            self.longest_gap_us as f64 / 1e3,
        );
        if let Some(latency) = &self.latency_us {
            write_latency(&mut text, latency);
        }
        for connection in self.per_connection.iter().filter(|c| c.failure.is_some()).take(10) {
            let local = connection.local.as_deref().unwrap_or("never connected");
            let failure = connection.failure.as_deref().unwrap_or_default();
            let _ = writeln!(text, "failed: {local} after {} bytes: {failure}", connection.bytes);
        }
        text
    }
}

impl ConnectionReport {
    fn of(record: &Record, clock: Clock, now_us: u64) -> ConnectionReport {
        let gap = longest(record, now_us);
        let reset = record.failure == Some(Failure::Reset);
        let unix = |at_us: Option<u64>| at_us.map(|at_us| clock.unix_us(at_us));
        ConnectionReport {
            local: record.local.map(|local| local.to_string()),
            bytes: record.bytes,
            resets: reset.into(),
            errors: (record.failure.is_some() && !reset).into(),
            longest_gap_us: gap.length_us,
            longest_gap_at_unix_us: clock.unix_us(gap.began_us),
            opened_unix_us: unix(record.opened_us),
            ended_unix_us: unix(record.ended_us),
            failure: record.failure.as_ref().map(ToString::to_string),
        }
    }
}

/// A failed connection waited until it failed and no longer.
fn longest(record: &Record, now_us: u64) -> Gap {
    record.stall.longest(record.ended_us.unwrap_or(now_us))
}

fn write_latency(text: &mut String, latency: &Summary) {
    let Summary { count, min, p50, p90, p99, p99_9, max, .. } = latency;
    let _ = writeln!(
        text,
        "latency of {count}: min {min} us, p50 {p50} us, p90 {p90} us, p99 {p99} us, \
         p99.9 {p99_9} us, max {max} us",
    );
    let most = latency.histogram.iter().map(|bucket| bucket.count).max().unwrap_or(1);
    for Bucket { below_us, count } in &latency.histogram {
        // At least one mark: the rare long ones are what one looks for.
        let width = usize::try_from(count * 50 / most).unwrap_or(0).max(1);
        let _ = writeln!(text, "  < {below_us:>10} us {count:>9}  {}", "#".repeat(width));
    }
}
