//! The shard in the hands of a program that drives connections itself, as a client does: what the
//! program is told, and its access to the byte streams.
//!
//! Instead of [`Shard::step`] it calls [`Shard::take_in`], then [`Shard::next_ready`] until nothing
//! is left, and [`Shard::flush`]. What it writes in between leaves with that flush.

use std::sync::Arc;

use super::{ConnectionId, Context, ServiceUse, Shard, context};
use crate::config::{Config, ConfigError, ServiceConfig, ServiceKind};
use crate::egress::Egress;
use crate::service::ServiceState;
use crate::service::external::Events;
use crate::tcp::State;
use crate::tcp::stream::Stream;
use crate::tcp::tcb::{Marks, Tcb};
use crate::tcp::timers::{self, user_timeout_at};
use crate::time::Instant;
use crate::wire::segment::Segment;

/// A connection of [`ServiceKind::External`](crate::config::ServiceKind::External) on which
/// something has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Which one. After its end the number may name another.
    pub id: ConnectionId,
    /// What has happened.
    pub events: Events,
    /// Set once, at last: how it ended.
    pub end: Option<End>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both sides have closed.
    Closed,
    /// The peer answered our SYN with a RST.
    Refused,
    /// The peer sent a RST.
    Reset,
    /// The peer does not answer any more, or never did.
    TimedOut,
    /// We sent a RST: the program's own abort, or a limit of the configuration.
    Aborted,
}

/// Why a shard cannot go on with another configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReconfigureError {
    /// It is not valid.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
    /// Memory is reserved once.
    #[error(
        "max_connections, pool_blocks, tx_segments, mtu and whether sources are limited cannot \
         change: make a new shard"
    )]
    Memory,
    /// A connection may use a service that is gone.
    #[error("service {0} is gone: keep all services, and put new ones behind them")]
    ServiceGone(usize),
}

impl Shard {
    /// First half of a step at `now`: timers, then segments. What they call for is sent by
    /// [`flush`](Self::flush).
    pub fn take_in<E: Egress>(&mut self, now: Instant, segments: &[Segment<'_>], egress: &mut E) {
        let mut budget = self.config.max_packets_per_step;
        self.receive_all(now, segments, egress, &mut budget);
        self.told = 0;
    }

    /// The next connection on which something has happened since it was last named here.
    pub fn next_ready(&mut self) -> Option<Ready> {
        // Whatever was touched waits for its turn to send.
        while let Some(&id) = self.run_queue.get(self.told) {
            self.told += 1;
            let Some(slot) = &mut self.slots[id as usize] else { continue };
            let ServiceState::External(external) = &mut slot.service else { continue };
            if !slot.tcb.has(Marks(Marks::ACTIVE.0 | Marks::ACCEPTED.0)) {
                continue;
            }
            let end = end(&slot.tcb, self.now, &self.config);
            if let Some(events) = external.take(end.is_some()) {
                return Some(Ready { id: ConnectionId(id), events, end });
            }
        }
        None
    }

    /// A connection's byte stream, which then has its turn in the next [`flush`](Self::flush).
    /// Nothing if there is no such connection, or it has ended; after [`End::Closed`] the last
    /// bytes may still be read for a moment.
    pub fn stream(&mut self, id: ConnectionId) -> Option<Stream<'_>> {
        let slot = self.slots.get(id.0 as usize)?.as_ref()?;
        if slot.tcb.state == State::Closed {
            return None;
        }
        self.enqueue(id.0);
        let mut context = context!(self);
        let slot = self.slots[id.0 as usize].as_mut()?;
        context.bill(&slot.tcb);
        Some(Stream::new(&mut slot.tcb, context))
    }

    /// Goes on with another configuration: services may have other settings, and new ones may have
    /// come behind the last. A connection keeps the number of its service.
    ///
    /// # Errors
    /// The configuration is not valid, lacks a service, or changes what memory was reserved for.
    pub fn reconfigure(&mut self, config: Arc<Config>) -> Result<(), ReconfigureError> {
        config.validate()?;
        let memory = |config: &Config| {
            let sources = config.sources.max_connections.is_some();
            (config.max_connections, config.pool_blocks, config.tx_segments, config.mtu, sources)
        };
        if memory(&config) != memory(&self.config) {
            return Err(ReconfigureError::Memory);
        }
        if config.services.len() < self.config.services.len() {
            return Err(ReconfigureError::ServiceGone(config.services.len()));
        }
        let limits = config.services.iter().map(|service| service.limits.max_blocks);
        self.shared.buffers.blocks.adjust_accounts(limits);
        self.usage.services.resize(config.services.len(), ServiceUse::default());
        self.config = config;
        Ok(())
    }

    /// Gives a connection the settings of another service; both must be of
    /// [`ServiceKind::External`]. False: there is no such connection or service, or that one has no
    /// memory for what the connection holds.
    pub fn assign(&mut self, id: ConnectionId, service: u16) -> bool {
        let index = usize::from(service);
        let external = |service: &ServiceConfig| service.kind == ServiceKind::External;
        if !self.config.services.get(index).is_some_and(external) {
            return false;
        }
        let Some(Some(slot)) = self.slots.get(id.0 as usize) else { return false };
        if !matches!(slot.service, ServiceState::External(_)) {
            return false;
        }
        let buffers = &mut self.shared.buffers;
        let blocks = slot.tcb.recv.blocks(&buffers.blocks)
            + slot.tcb.send.blocks(buffers)
            + slot.tcb.assembler.blocks(buffers);
        let half_open = slot.tcb.has(Marks::HALF_OPEN);
        if !buffers.blocks.rebill(blocks, slot.tcb.service.into(), index) {
            return false;
        }
        self.unlist_half_open(id.0);
        let context = context!(self);
        if let Some(slot) = &mut self.slots[id.0 as usize] {
            let counted = slot.tcb.has(Marks::COUNTED);
            self.usage.discount(&self.config, &mut slot.tcb);
            slot.tcb.service = service;
            if counted {
                self.usage.count(&self.config, &mut slot.tcb);
            }
            if matches!(slot.tcb.state, State::Established | State::CloseWait) {
                timers::start_life(&mut slot.tcb, &context);
            }
        }
        if half_open {
            self.list_half_open(id.0);
        }
        self.enqueue(id.0);
        true
    }

    /// Second half of a step: sends what is due, at most
    /// [`Config::max_packets_per_step`] packets. [`next_ready`](Self::next_ready) must have come to
    /// its end before.
    pub fn flush<E: Egress>(&mut self, egress: &mut E) {
        let mut budget = self.config.max_packets_per_step;
        self.send_all(egress, &mut budget);
        self.told = 0;
    }
}

/// How the connection has ended, if it has.
fn end(tcb: &Tcb, now: Instant, config: &Config) -> Option<End> {
    match tcb.state {
        State::TimeWait => return Some(End::Closed),
        State::Closed => {}
        _ => return None,
    }
    let opened = tcb.has(Marks::ACCEPTED);
    let received = tcb.has(Marks::FIN_RECEIVED);
    let waited = tcb.active_at.plus_us(config.tcp.fin_wait_2_us) <= now;
    Some(match () {
        () if received && tcb.fin_acknowledged() => End::Closed,
        () if tcb.has(Marks::RESET) && gave_up(tcb, now, config) => End::TimedOut,
        () if tcb.has(Marks::RESET) => End::Aborted,
        () if !opened && opening_gave_up(tcb, now, config) => End::TimedOut,
        () if !opened => End::Refused,
        // FIN-WAIT-2 has its own limit.
        () if !received && tcb.fin_acknowledged() && waited => End::TimedOut,
        () => End::Reset,
    })
}

/// Whether the peer had every chance to answer.
fn gave_up(tcb: &Tcb, now: Instant, config: &Config) -> bool {
    let keepalive = config.services[usize::from(tcb.service)].keepalive;
    let unanswered = tcb.unanswered;
    tcb.rtt.backoff() >= config.tcp.max_data_retries
        || user_timeout_at(tcb, config).is_some_and(|end| end <= now)
        || unanswered >= config.tcp.max_data_retries
        || keepalive.is_some_and(|keepalive| unanswered >= keepalive.probes)
}

fn opening_gave_up(tcb: &Tcb, now: Instant, config: &Config) -> bool {
    tcb.rtt.backoff() >= config.tcp.max_syn_retries
        || user_timeout_at(tcb, config).is_some_and(|end| end <= now)
}
