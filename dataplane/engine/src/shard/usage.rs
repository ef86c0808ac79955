//! What services and sources take of a shard, and whether they may take more. It follows from the
//! connections alone, so that it is the same on all nodes and needs no replication of its own.

use super::lists::List;
use super::{NONE, Shard};
use crate::addr::Addr;
use crate::config::{AtLimit, Config};
use crate::sources::SourceCounts;
use crate::tcp::isn;
use crate::tcp::tcb::{Marks, Tcb};

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The service has all the connections that it may have.
    Connections,
    /// The service has had all the new connections that it may have in this time.
    Rate,
    /// The service's connections hold all the buffers that they may hold.
    Memory,
    /// The source has all the connections that it may have.
    SourceConnections,
    /// The source has had all the new connections that it may have in this time.
    SourceRate,
    /// All connections of the shard are in use.
    Full,
}

impl Refusal {
    /// All of them, in the order of their numbers.
    pub const ALL: [Refusal; 6] = [
        Refusal::Connections,
        Refusal::Rate,
        Refusal::Memory,
        Refusal::SourceConnections,
        Refusal::SourceRate,
        Refusal::Full,
    ];

    /// Its name in listings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Refusal::Connections => "connections",
            Refusal::Rate => "rate",
            Refusal::Memory => "memory",
            Refusal::SourceConnections => "source_connections",
            Refusal::SourceRate => "source_rate",
            Refusal::Full => "full",
        }
    }
}

/// Connections refused, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals(pub(crate) [u64; Refusal::ALL.len()]);

impl Refusals {
    /// Counts one more.
    pub fn count(&mut self, refusal: Refusal) {
        self.0[refusal as usize] += 1;
    }

    /// Name and count of each reason.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Refusal::ALL.iter().map(|&refusal| (refusal.name(), self.0[refusal as usize]))
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Refusals) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, count)| *sum += count);
    }
}

/// What a service's connections take of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceUse {
    /// Connections, TIME-WAIT not counted.
    pub connections: u32,
    /// Of these, the half-open ones.
    pub half_open: u32,
    /// Connections that the shard itself refused.
    pub refused: Refusals,
    pub(super) waiting: List,
}

/// All services', and all sources'.
#[derive(Debug)]
pub(super) struct Usage {
    pub services: Vec<ServiceUse>,
    /// Only where sources are limited: else nobody asks.
    pub sources: Option<SourceCounts>,
}

impl Usage {
    pub fn new(config: &Config) -> Usage {
        let connections = config.max_connections as usize;
        let limited = config.sources.max_connections.is_some();
        Usage {
            services: vec![ServiceUse::default(); config.services.len()],
            sources: limited.then(|| SourceCounts::with_capacity(connections)),
        }
    }

    /// Counts a connection that a client opens.
    pub fn count(&mut self, config: &Config, tcb: &mut Tcb) {
        tcb.set(Marks::COUNTED);
        self.recount(config, tcb);
    }

    /// Counts a connection that bears the mark.
    pub fn recount(&mut self, config: &Config, tcb: &Tcb) {
        self.services[usize::from(tcb.service)].connections += 1;
        if let Some(sources) = &mut self.sources {
            sources.add(source_id(config, tcb.flow.remote.addr));
        }
    }

    /// Counts a connection no more, if it was counted.
    pub fn discount(&mut self, config: &Config, tcb: &mut Tcb) {
        if !tcb.has(Marks::COUNTED) {
            return;
        }
        tcb.clear(Marks::COUNTED);
        self.services[usize::from(tcb.service)].connections -= 1;
        if let Some(sources) = &mut self.sources {
            sources.remove(source_id(config, tcb.flow.remote.addr));
        }
    }
}

fn source_id(config: &Config, client: Addr) -> u64 {
    isn::source_id(&config.isn_key, config.sources.source_of(client))
}

impl Shard {
    /// What each service takes, in the order of the configuration.
    #[must_use]
    pub fn services(&self) -> &[ServiceUse] {
        &self.usage.services
    }

    /// How many buffer blocks a service's connections hold.
    #[must_use]
    pub fn blocks_of(&self, service: usize) -> u32 {
        self.shared.buffers.blocks.used_by(service)
    }

    /// What is in the way of a new connection of `client` to a service, if anything is.
    pub(crate) fn refusal(&self, service: u16, client: Addr) -> Option<Refusal> {
        let config = &self.config;
        let index = usize::from(service);
        let reaches = |count: u32, limit: Option<u32>| limit.is_some_and(|limit| count >= limit);
        let limits = &config.services[index].limits;
        if reaches(self.usage.services[index].connections, limits.max_connections) {
            return Some(Refusal::Connections);
        }
        let used = self.shared.buffers.blocks.used_by(index);
        // What is left is for the connections that there are.
        if limits.max_blocks.is_some_and(|limit| used >= limit - limit / 8) {
            return Some(Refusal::Memory);
        }
        if let Some(sources) = &self.usage.sources
            && reaches(sources.of(source_id(config, client)), config.sources.max_connections)
        {
            return Some(Refusal::SourceConnections);
        }
        let all_used =
            self.vacant.is_empty() && self.slots.len() >= config.max_connections as usize;
        (all_used && self.time_waits.oldest == NONE).then_some(Refusal::Full)
    }

    /// Whether a client that is refused is told.
    pub(crate) fn tells_refusal(&self, service: u16) -> bool {
        self.config.services[usize::from(service)].limits.at_limit == AtLimit::Reset
    }
}
