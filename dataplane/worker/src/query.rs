//! Questions of the control thread, answered between two loops. Long listings come in pieces, so
//! that no loop takes noticeably longer for them.

use crossbeam::channel::{Receiver, Sender, bounded};
use engine::shard::{ConnectionInfo, Counters as ShardCounters, MemoryUse};
use replication::{Directive, GateCounters, SessionCounters};

use crate::counters::Counters;
use crate::latency::Latency;

/// Questions that wait for one worker.
const CAPACITY: usize = 16;
/// Connections in one piece of a listing.
pub const CONNECTIONS_PER_PIECE: usize = 256;

/// A question, with the channel for its answer.
#[derive(Debug)]
pub enum Query {
    /// How the worker fares.
    Summary(Sender<Summary>),
    /// Its connections from a place on, [`CONNECTIONS_PER_PIECE`] at most.
    Connections(Place, Sender<ConnectionsPiece>),
    /// Its latency histograms.
    Latency(Sender<Latency>),
}

/// Where a listing goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Index among the shards that the worker holds.
    pub shard: usize,
    /// The connection number to go on from.
    pub from: u32,
}

/// A piece of a listing.
#[derive(Clone, Debug)]
pub struct ConnectionsPiece {
    /// Each connection with its shard.
    pub connections: Vec<(u16, ConnectionInfo)>,
    /// Where the next piece begins; nothing after the last one.
    pub next: Option<Place>,
}

/// One shard of a worker.
#[derive(Clone, Debug)]
pub struct ShardSummary {
    /// Its number.
    pub index: u16,
    /// Its digest.
    pub digest: u64,
    /// Its shard time in microseconds.
    pub now_us: u64,
    /// What it counted.
    pub counters: ShardCounters,
    /// What it uses.
    pub memory: MemoryUse,
}

/// How a worker fares.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The worker's number.
    pub worker: u16,
    /// The directive it follows.
    pub directive: Directive,
    /// Whether it serves.
    pub serving: bool,
    /// What it counted.
    pub counters: Counters,
    /// Packets that wait in the gate.
    pub gate_len: usize,
    /// What went through the gate.
    pub gate: GateCounters,
    /// What its session channels did.
    pub sessions: Vec<(u16, SessionCounters)>,
    /// The shards that it holds.
    pub shards: Vec<ShardSummary>,
    /// Neighbours known on the service LAN.
    pub neighbours: usize,
    /// Events that were lost.
    pub events_lost: u64,
}

/// The channel to one worker.
pub(crate) fn channel() -> (Sender<Query>, Receiver<Query>) {
    bounded(CAPACITY)
}
