//! Questions of the control thread, answered between two loops. Long listings come in pieces, so
//! that no loop takes noticeably longer for them.

use crossbeam::channel::{Receiver, Sender, bounded};
use engine::counters::Counters as ShardCounters;
use engine::guard::GuardCounters;
use engine::shard::{ConnectionInfo, MemoryUse};
use replication::{Directive, GateCounters, KeyRing, PeerIndex, Protection, SessionCounters};

use crate::board::earliest;
use crate::counters::Counters;
use crate::latency::Latency;
use crate::nic::Nic;
use crate::poll::Worker;
use crate::shards::Slot;
use crate::steward::Steward;

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
    Latency(AfterReading, Sender<LatencySummary>),
    /// Other keys for the log, from now on. A log that is not sealed stays so.
    Keys(KeyRing, Sender<()>),
}

/// What becomes of histograms that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterReading {
    /// They go on.
    GoOn,
    /// They begin anew.
    Reset,
}

/// A worker's latency histograms.
#[derive(Clone, Debug)]
pub struct LatencySummary {
    /// The worker's number.
    pub worker: u16,
    /// When they began, on the node's clock; 0 for the start of the node.
    pub since_us: u64,
    /// What was recorded since.
    pub latency: Latency,
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
    /// Its services, in the order of the configuration.
    pub services: Vec<ServiceSummary>,
}

/// One service of one shard.
#[derive(Clone, Debug)]
pub struct ServiceSummary {
    /// Connections, TIME-WAIT not counted.
    pub connections: u32,
    /// Of these, the half-open ones.
    pub half_open: u32,
    /// Buffer blocks that they hold.
    pub blocks: u32,
    /// SYNs are answered with cookies at the moment.
    pub cookies: bool,
    /// What the guard did, with the refusals of the shard itself.
    pub guard: GuardCounters,
}

/// One session channel of a worker.
#[derive(Clone, Copy, Debug)]
pub struct SessionSummary {
    /// The other node.
    pub peer: PeerIndex,
    /// Which of the primary's workers logs.
    pub channel: u16,
    /// What it did.
    pub counters: SessionCounters,
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
    pub sessions: Vec<SessionSummary>,
    /// How many of these are open.
    pub sessions_open: usize,
    /// Since when its oldest batch waits for another node to confirm it.
    pub unconfirmed_since_us: Option<u64>,
    /// The shards that it holds.
    pub shards: Vec<ShardSummary>,
    /// Neighbours known on the service LAN.
    pub neighbours: usize,
    /// The longest loop in which a shard was saved for a node that joins, in nanoseconds: what a
    /// connection waited at most.
    pub handover_pause_ns: u64,
    /// Events that were lost.
    pub events_lost: u64,
}

/// The channel to one worker.
pub(crate) fn channel() -> (Sender<Query>, Receiver<Query>) {
    bounded(CAPACITY)
}

fn services<F>(slot: &Slot<F>) -> Vec<ServiceSummary> {
    let services = slot.shard.services().iter().enumerate();
    let summary = services.map(|(index, usage)| {
        let (mut guard, cookies) = slot.guard.of_service(index);
        guard.refused.add(&usage.refused);
        let (connections, half_open) = (usage.connections, usage.half_open);
        let blocks = slot.shard.blocks_of(index);
        ServiceSummary { connections, half_open, blocks, cookies, guard }
    });
    summary.collect()
}

impl<N: Nic, S: Steward> Worker<N, S> {
    /// Answers what was asked. An answer that nobody waits for any more is dropped.
    pub(crate) fn answer_queries(&mut self, now_us: u64) {
        while let Ok(query) = self.queries.try_recv() {
            match query {
                Query::Summary(to) => drop(to.try_send(self.summary())),
                Query::Connections(place, to) => drop(to.try_send(self.connections(place))),
                Query::Latency(after, to) => drop(to.try_send(self.read_latency(after, now_us))),
                Query::Keys(keys, to) => {
                    self.change_keys(keys);
                    let _gone = to.try_send(());
                }
            }
        }
    }

    fn change_keys(&mut self, keys: KeyRing) {
        if let Protection::Sealed(ring) = &mut self.protection {
            *ring = keys;
        }
        for channel in &mut self.channels {
            channel.session.protect(&self.protection);
        }
    }

    fn read_latency(&mut self, after: AfterReading, now_us: u64) -> LatencySummary {
        let (latency, since_us) = (self.recorder.latency().clone(), self.recorder.since_us());
        if after == AfterReading::Reset {
            self.recorder.reset(now_us);
        }
        LatencySummary { worker: self.index, since_us, latency }
    }

    fn summary(&self) -> Summary {
        let shards = self.shards.slots.iter().map(|slot| ShardSummary {
            index: slot.index,
            digest: slot.shard.digest(),
            now_us: slot.shard.now().as_micros(),
            counters: slot.shard.counters().clone(),
            memory: slot.shard.memory(),
            services: services(slot),
        });
        let sessions = self.channels.iter().map(|channel| SessionSummary {
            peer: channel.peer,
            channel: channel.number,
            counters: *channel.session.counters(),
        });
        let open = self.channels.iter().filter(|channel| channel.session.is_open()).count();
        let since = self.channels.iter().map(|channel| channel.session.unconfirmed_since_us());
        Summary {
            worker: self.index,
            directive: self.directive,
            serving: self.serving(),
            counters: self.counters,
            gate_len: self.gate.len(),
            gate: *self.gate.counters(),
            sessions: sessions.collect(),
            sessions_open: open,
            unconfirmed_since_us: since.fold(None, earliest),
            shards: shards.collect(),
            neighbours: self.lan.neighbours.known(),
            handover_pause_ns: self.handover_pause_ns,
            events_lost: self.events.lost(),
        }
    }

    fn connections(&self, place: Place) -> ConnectionsPiece {
        let Some(slot) = self.shards.slots.get(place.shard) else {
            return ConnectionsPiece { connections: Vec::new(), next: None };
        };
        let piece = slot.shard.connections(place.from).take(CONNECTIONS_PER_PIECE);
        let connections: Vec<_> = piece.map(|info| (slot.index, info)).collect();
        let next = match connections.last() {
            Some((_, last)) if connections.len() == CONNECTIONS_PER_PIECE => {
                Place { from: last.id + 1, ..place }
            }
            _ => Place { shard: place.shard + 1, from: 0 },
        };
        let next = Some(next).filter(|next| next.shard < self.shards.slots.len());
        ConnectionsPiece { connections, next }
    }
}
