//! What a run leaves behind: the schema of `--json`, which `report` reads again.
//!
//! Every number carries its unit in its name. A value that was not measured is absent (`null`),
//! never zero. Fields may be added within one [`SCHEMA`]; one that changes its meaning or goes
//! away raises it.

use std::{fs, path::Path, str};

use anyhow::{Context, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer, V2DeflateSerializer},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::machine::Machine;

/// Version of the result format that this program writes and reads.
pub const SCHEMA: u32 = 1;

/// One run of one load against one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// [`SCHEMA`] of the program that wrote it.
    pub schema: u32,
    /// Version of the program that wrote it.
    pub version: String,
    /// Where the generator ran.
    pub machine: Machine,
    /// The user's name for the run; it stands in legends and tables.
    pub label: String,
    /// Sub-command: `rpc`, `bulk`, `crr`, `idle`.
    pub command: String,
    /// `kernel` or the device profile: `memif`, `af_packet`, …
    pub backend: String,
    /// The options of the run, one member per option.
    pub parameters: Value,
    /// Start, in microseconds since the Unix epoch.
    pub started_unix_us: u64,
    /// Measured time, without ramp-up.
    pub duration_us: u64,
    pub connections: Connections,
    /// Requests answered in full; whole cycles in `crr`; zero in `bulk`.
    pub requests: u64,
    /// Payload sent.
    pub bytes_up: u64,
    /// Payload received.
    pub bytes_down: u64,
    pub requests_per_second: f64,
    /// Payload of both directions, in bits per second.
    pub throughput_bps: f64,
    pub latency_ns: Option<LatencySummary>,
    /// Steps of equal length, in order of time; the last may be shorter.
    pub timeline: Vec<Interval>,
    /// Time without progress per connection; only `failover` measures it.
    pub stalls: Option<StallSummary>,
    /// What happened to the target during the run, in order of time.
    pub marks: Vec<Mark>,
    /// What went wrong, each kind once. Empty in a clean run.
    pub failures: Vec<Failures>,
}

/// How the connections of a run fared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// How many the run wanted; in `crr` how many it started.
    pub asked: u64,
    /// How many were established.
    pub opened: u64,
    /// How many were established when the run ended.
    pub alive: u64,
    /// Ended by the peer's RST.
    pub resets: u64,
    /// Ended by anything else: refused, timed out, wrong bytes.
    pub errors: u64,
}

/// Latency of requests, in nanoseconds; from the intended send time in an open loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    pub count: u64,
    pub min: u64,
    pub mean: f64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
    pub p99_99: u64,
    pub max: u64,
    /// The whole histogram: `HdrHistogram` V2, deflated, base64.
    pub hdr: String,
}

impl LatencySummary {
    /// Sums up a histogram of nanoseconds; `None` if nothing was recorded.
    ///
    /// # Errors
    /// The histogram can't be encoded: out of memory or a count beyond 2^63.
    pub fn of(histogram: &Histogram<u64>) -> anyhow::Result<Option<Self>> {
        if histogram.is_empty() {
            return Ok(None);
        }
        let mut packed = Vec::new();
        V2DeflateSerializer::new()
            .serialize(histogram, &mut packed)
            .context("cannot encode the latency histogram")?;
        Ok(Some(Self {
            count: histogram.len(),
            min: histogram.min(),
            mean: histogram.mean(),
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p99_9: histogram.value_at_quantile(0.999),
            p99_99: histogram.value_at_quantile(0.9999),
            max: histogram.max(),
            hdr: BASE64.encode(packed),
        }))
    }

    /// The histogram this summary was made from.
    ///
    /// # Errors
    /// `hdr` is no base64 or no V2 histogram.
    pub fn histogram(&self) -> anyhow::Result<Histogram<u64>> {
        let packed = BASE64.decode(&self.hdr).context("latency_ns.hdr is not base64")?;
        Deserializer::new()
            .deserialize(&mut packed.as_slice())
            .context("latency_ns.hdr is not an HdrHistogram in V2 format")
    }
}

/// One step of the timeline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// Start of the step, from the start of the run.
    pub at_us: u64,
    /// Length of the step.
    pub span_us: u64,
    /// Requests answered within it.
    pub requests: u64,
    /// Payload of both directions.
    pub bytes: u64,
    /// Median latency of the requests answered within it; absent if there were none.
    pub p50_ns: Option<u64>,
    pub p99_ns: Option<u64>,
    pub max_ns: Option<u64>,
    /// The longest time any connection with work to do had made no progress, as seen in this step.
    pub longest_stall_us: Option<u64>,
}

/// Longest time without progress, over the connections of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StallSummary {
    /// Connections counted.
    pub count: u64,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
    /// Ascending; only those that hold a connection.
    pub buckets: Vec<Bucket>,
}

/// Connections whose longest stall was above the bucket before and at most `up_to_us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    pub up_to_us: u64,
    pub count: u64,
}

impl StallSummary {
    /// Sums up a histogram of microseconds, one value per connection, in buckets that double
    /// from 1 ms; `None` if it is empty.
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        if histogram.is_empty() {
            return None;
        }
        let mut buckets: Vec<Bucket> = Vec::new();
        let mut up_to_us = 1_000;
        for step in histogram.iter_recorded() {
            while step.value_iterated_to() > up_to_us {
                up_to_us *= 2;
            }
            match buckets.last_mut() {
                Some(last) if last.up_to_us == up_to_us => last.count += step.count_at_value(),
                _ => buckets.push(Bucket { up_to_us, count: step.count_at_value() }),
            }
        }
        Some(Self {
            count: histogram.len(),
            p50_us: histogram.value_at_quantile(0.5),
            p90_us: histogram.value_at_quantile(0.9),
            p99_us: histogram.value_at_quantile(0.99),
            max_us: histogram.max(),
            buckets,
        })
    }
}

/// Something that happened to the target, such as the command of `failover`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// From the start of the run.
    pub at_us: u64,
    pub label: String,
}

/// One kind of failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    pub text: String,
    pub count: u64,
}

impl RunResult {
    /// Reads a file that holds one result or an array of them.
    ///
    /// # Errors
    /// The file can't be read, is no JSON, holds no result, or one of another [`SCHEMA`].
    pub fn read_file(path: &Path) -> anyhow::Result<Vec<Self>> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::read(&bytes).with_context(|| format!("{} holds no usable result", path.display()))
    }

    fn read(bytes: &[u8]) -> anyhow::Result<Vec<Self>> {
        let text = str::from_utf8(bytes).context("it is not UTF-8 text")?;
        let json: Value = serde_json::from_str(text).context("it is not JSON")?;
        let items = match json {
            Value::Array(items) => items,
            one => vec![one],
        };
        if items.is_empty() {
            bail!("it is an empty list");
        }
        items.into_iter().map(Self::from_json).collect()
    }

    fn from_json(json: Value) -> anyhow::Result<Self> {
        match json.get("schema").and_then(Value::as_u64) {
            Some(schema) if schema == u64::from(SCHEMA) => {}
            Some(schema) => bail!(
                "it has schema {schema} and this version reads schema {SCHEMA}: \
                 use the holdfast-perf that wrote it, or run the load again"
            ),
            None => bail!("it has no member `schema`: is it written by `holdfast-perf --json`?"),
        }
        serde_json::from_value(json).context("a member is missing or of the wrong type")
    }
}

#[cfg(test)]
mod tests;
