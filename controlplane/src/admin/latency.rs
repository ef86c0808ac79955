//! What the admin API answers about how long things take in a node.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Distributions by name; a name ends in the unit of its values. New ones may appear in any
/// release.
pub type Distributions = BTreeMap<String, Distribution>;

/// What a node's poll loops recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyReport {
    /// The node's monotonic clock.
    pub now_us: u64,
    /// When the recording began, on the same clock; 0 for the start of the node.
    pub since_us: u64,
    /// All workers together.
    pub all: Distributions,
    pub workers: Vec<WorkerLatency>,
}

/// What one poll loop recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerLatency {
    pub index: u16,
    pub core: Option<u32>,
    pub distributions: Distributions,
}

/// How often which values were seen. Values are right to one per cent; all are 0 when `count` is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    pub count: u64,
    pub min: u64,
    pub mean: u64,
    pub max: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
    pub p99_99: u64,
    /// Ranges of values that were seen, ascending.
    pub buckets: Vec<Bucket>,
}

/// Values from `from` to `to`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    pub from: u64,
    pub to: u64,
    pub count: u64,
}
