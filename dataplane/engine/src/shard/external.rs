//! The shard in the hands of a program that drives connections itself, as a client does: what the
//! program is told, and its access to the byte streams.
//!
//! Instead of [`Shard::step`] it calls [`Shard::take_in`], then [`Shard::next_ready`] until nothing
//! is left, and [`Shard::flush`]. What it writes in between leaves with that flush.

use super::{ConnectionId, Context, Shard, context};
use crate::config::Config;
use crate::egress::Egress;
use crate::service::ServiceState;
use crate::service::external::Events;
use crate::tcp::State;
use crate::tcp::stream::Stream;
use crate::tcp::tcb::{Marks, Tcb};
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
    /// Nothing if there is no such connection, or it has ended; after [`End::Closed`] the last bytes
    /// may still be read for a moment.
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
        () if tcb.has(Marks::RESET) && gave_up(tcb, config) => End::TimedOut,
        () if tcb.has(Marks::RESET) => End::Aborted,
        () if !opened && tcb.rtt.backoff() >= config.tcp.max_syn_retries => End::TimedOut,
        () if !opened => End::Refused,
        // FIN-WAIT-2 has its own limit.
        () if !received && tcb.fin_acknowledged() && waited => End::TimedOut,
        () => End::Reset,
    })
}

/// Whether the peer had every chance to answer.
fn gave_up(tcb: &Tcb, config: &Config) -> bool {
    let keepalive = config.services[usize::from(tcb.service)].keepalive;
    let unanswered = tcb.unanswered;
    tcb.rtt.backoff() >= config.tcp.max_data_retries
        || unanswered >= config.tcp.max_data_retries
        || keepalive.is_some_and(|keepalive| unanswered >= keepalive.probes)
}
