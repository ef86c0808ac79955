//! How connections come and go: listeners, active opens, TIME-WAIT, and segments that belong to
//! nobody.

use super::{Context, Instant, NONE, Refusal, Shard, Slot, context};
use crate::addr::{Endpoint, Flow};
use crate::config::Commit;
use crate::egress::{Egress, Outgoing};
use crate::hash::flow_hash;
use crate::seq::SeqNumber;
use crate::service::ServiceState;
use crate::tcp::tcb::{Marks, Tcb};
use crate::tcp::{State, cookie, input, timers};
use crate::wire::segment::{
    MAX_HEADER_LEN, Segment, SegmentHeader, ip_header_len, set_ttl_and_dscp,
};
use crate::wire::tcp::{Flags, Options};

/// Distance between the numbers of a connection and those of its successor on the same flow.
const REOPEN_GAP: u32 = 1 << 17;

/// Number of a connection in its shard, for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u32);

/// Why an active open is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// There is no such service.
    #[error("service {0} is not in the configuration: give the index of one that is")]
    NoService(u16),
    /// The flow has a connection.
    #[error("the flow is in use: take another local port")]
    FlowInUse,
    /// All connections are in use.
    #[error("all connections of the shard are in use: raise max_connections, or try again later")]
    Full,
    /// No host can have the remote address (RFC 9293 3.9.1.1, MUST-46).
    #[error(
        "the remote address is no host's: give the address of one, not a broadcast or multicast one"
    )]
    InvalidRemote,
    /// One end is IPv4, the other IPv6.
    #[error("both addresses must be of one IP version")]
    MixedVersions,
}

/// What a segment is to a connection in TIME-WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knock {
    /// A SYN that is newer beyond doubt: it takes over the flow.
    New,
    /// A SYN of old, to be dropped without a word (RFC 6191 2).
    Old,
    /// None of these: the old connection's own business.
    Other,
}

/// RFC 6191 2, and RFC 9293 3.6.1 for a SYN without timestamps.
pub(super) fn knock(tcb: &Tcb, segment: &Segment<'_>, timestamps_allowed: bool) -> Knock {
    if !is_opening(segment) {
        return Knock::Other;
    }
    let above = segment.seq.gt(tcb.rcv_nxt);
    let Some(timestamps) = segment.options.timestamps.filter(|_| timestamps_allowed) else {
        return if above { Knock::New } else { Knock::Other };
    };
    // Without timestamps in the old connection, those of the new one tell their segments apart.
    let ahead = timestamps.value.wrapping_sub(tcb.ts_recent) as i32;
    let new = !tcb.has(Marks::TIMESTAMPS) || ahead > 0 || ahead == 0 && above;
    if new { Knock::New } else { Knock::Old }
}

/// Whether a segment asks for a connection. A FIN with it waits until it is established, that is
/// until it comes again (RFC 9293 3.10.7.2).
pub(crate) fn is_opening(segment: &Segment<'_>) -> bool {
    segment.flags.0 & (Flags::SYN.0 | Flags::ACK.0 | Flags::RST.0) == Flags::SYN.0
}

impl Shard {
    /// Opens a connection to `remote` (RFC 9293 3.10.1), with `service` on our side of it. The SYN
    /// leaves at once.
    ///
    /// # Errors
    /// No such service, a flow in use, no connection free, an address that no host has, or
    /// addresses of two IP versions.
    pub fn connect<E: Egress>(
        &mut self,
        now: Instant,
        local: Endpoint,
        remote: Endpoint,
        service: u16,
        egress: &mut E,
    ) -> Result<ConnectionId, ConnectError> {
        let id = self.open(now, local, remote, service)?;
        let mut budget = self.config.max_packets_per_step;
        self.send(egress, &mut budget);
        Ok(id)
    }

    /// Like [`connect`](Self::connect), but the SYN leaves with the next step or
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    /// As above.
    pub fn open(
        &mut self,
        now: Instant,
        local: Endpoint,
        remote: Endpoint,
        service: u16,
    ) -> Result<ConnectionId, ConnectError> {
        self.now = self.now.max(now);
        let flow = Flow { local, remote };
        if usize::from(service) >= self.config.services.len() {
            return Err(ConnectError::NoService(service));
        }
        if !remote.addr.is_host() {
            return Err(ConnectError::InvalidRemote);
        }
        if !local.addr.is_same_version(&remote.addr) {
            return Err(ConnectError::MixedVersions);
        }
        let hash = flow_hash(&flow);
        let slots = &self.slots;
        let is_flow = |id: u32| slots[id as usize].as_ref().is_some_and(|s| s.tcb.flow == flow);
        if self.table.find(hash, &flow, is_flow).is_some() {
            return Err(ConnectError::FlowInUse);
        }
        let tcb = Tcb::active(flow, self.now, &self.config, service);
        let id = self.insert(tcb).ok_or(ConnectError::Full)?;
        self.shared.counters.active_opens += 1;
        self.enqueue(id);
        Ok(ConnectionId(id))
    }

    /// A segment for which there is no connection (RFC 9293 3.10.7.1 and 3.10.7.2).
    pub(super) fn listen<E: Egress>(
        &mut self,
        segment: &Segment<'_>,
        egress: &mut E,
        budget: &mut u32,
    ) {
        let Some(service) = self.config.service_on(segment.flow.local.port) else {
            return self.reset_stray(segment, egress, budget);
        };
        let opened = if is_opening(segment) {
            self.accept(segment, service, None)
        } else if let Some(syn) = self.syn_of_cookie(segment, service) {
            self.accept_cookie(segment, &syn, service)
        } else if segment.flags.ack() {
            return self.reset_stray(segment, egress, budget);
        } else {
            // RFC 9293 3.10.7.2, fourth: a listener drops what neither opens nor acknowledges.
            self.shared.counters.strays_dropped += 1;
            return;
        };
        // Who has answered a cookie takes the connection for established.
        if opened.is_err() && (!is_opening(segment) || self.tells_refusal(service)) {
            self.reset_stray(segment, egress, budget);
        }
    }

    /// Makes a half-open connection for a SYN. `above`: its numbers must lie above this one.
    fn accept(
        &mut self,
        syn: &Segment<'_>,
        service: u16,
        above: Option<SeqNumber>,
    ) -> Result<(), Refusal> {
        let index = usize::from(service);
        self.check_limits(service, syn)?;
        // RFC 4987 3.3: the oldest is the least likely to be still completed.
        if self.usage.services[index].half_open >= self.config.services[index].backlog {
            self.shared.counters.half_open_recycled += 1;
            self.evict(self.usage.services[index].waiting.oldest);
        }
        let mut tcb = Tcb::passive(syn, self.now, &self.config, service);
        if let Some(above) = above.filter(|above| tcb.snd_una.le(*above + REOPEN_GAP)) {
            tcb.renumber(above + REOPEN_GAP);
        }
        let id = self.admit(tcb);
        self.list_half_open(id);
        Ok(())
    }

    fn syn_of_cookie<'a>(&self, ack: &Segment<'a>, service: u16) -> Option<Segment<'a>> {
        let uses_cookies = self.config.services[usize::from(service)].uses_cookies();
        uses_cookies.then(|| cookie::syn_of(&self.config, ack, self.now)).flatten()
    }

    /// Makes the connection that a cookie stands for: `ack` has completed the handshake that began
    /// with `syn`, and may bring data.
    fn accept_cookie(
        &mut self,
        ack: &Segment<'_>,
        syn: &Segment<'_>,
        service: u16,
    ) -> Result<(), Refusal> {
        self.check_limits(service, syn)?;
        let mut tcb = Tcb::passive(syn, self.now, &self.config, service);
        tcb.answered_before(ack.ack - 1);
        let id = self.admit(tcb);
        self.shared.counters.cookies_accepted += 1;
        let mut context = context!(self);
        if let Some(slot) = &mut self.slots[id as usize] {
            context.bill(&slot.tcb);
            let _done = input::segment(&mut slot.tcb, &mut slot.service, &mut context, ack);
        }
        Ok(())
    }

    fn check_limits(&mut self, service: u16, segment: &Segment<'_>) -> Result<(), Refusal> {
        let Some(refusal) = self.refusal(service, segment.flow.remote.addr) else {
            return Ok(());
        };
        self.usage.services[usize::from(service)].refused.count(refusal);
        Err(refusal)
    }

    /// Takes up a connection that a client opens.
    fn admit(&mut self, mut tcb: Tcb) -> u32 {
        self.usage.count(&self.config, &mut tcb);
        let id = self.insert(tcb).expect("there was room for it when its limits were checked");
        self.shared.counters.passive_opens += 1;
        self.enqueue(id);
        id
    }

    /// Puts a connection into a slot; the oldest TIME-WAIT makes room if there is none.
    fn insert(&mut self, tcb: Tcb) -> Option<u32> {
        if self.vacant.is_empty() && self.slots.len() >= self.config.max_connections as usize {
            let oldest = self.time_waits.oldest;
            if oldest == NONE {
                return None;
            }
            self.shared.counters.time_wait_recycled += 1;
            self.evict(oldest);
        }
        let kind = &self.config.services[usize::from(tcb.service)].kind;
        let flow = tcb.flow;
        let slot = Slot { service: ServiceState::new(kind), tcb };
        let id = match self.vacant.pop() {
            Some(id) => {
                self.slots[id as usize] = Some(slot);
                id
            }
            None => {
                self.slots.push(Some(slot));
                u32::try_from(self.slots.len() - 1).unwrap_or(NONE)
            }
        };
        let inserted = self.table.insert(flow_hash(&flow), &flow, id);
        assert!(inserted.is_ok(), "the table has room for all slots");
        Some(id)
    }

    /// Takes a connection out of everything and frees its slot. Not for one in the run queue.
    pub(super) fn remove(&mut self, id: u32) {
        let mut context = context!(self);
        let Some(slot) = &mut self.slots[id as usize] else { return };
        let tcb = &mut slot.tcb;
        context.bill(tcb);
        timers::release_buffers(tcb, &mut context);
        self.table.remove(flow_hash(&tcb.flow), &tcb.flow, id);
        self.wheel.cancel(id);
        self.usage.discount(&self.config, tcb);
        if tcb.has(Marks::WAITING) {
            self.starved.retain(|&waiting| waiting != id);
        }
        self.unlist_half_open(id);
        self.unlist_time_wait(id);
        self.slots[id as usize] = None;
        self.vacant.push(id);
    }

    /// Removes a connection that may be in the run queue.
    fn evict(&mut self, id: u32) {
        let queued = self.slots[id as usize].as_ref().is_some_and(|s| s.tcb.has(Marks::QUEUED));
        if queued {
            self.run_queue.retain(|&waiting| waiting != id);
        }
        self.remove(id);
    }

    /// A new SYN takes over a flow in TIME-WAIT.
    pub(super) fn reopen<E: Egress>(
        &mut self,
        id: u32,
        syn: &Segment<'_>,
        egress: &mut E,
        budget: &mut u32,
    ) {
        let Some(slot) = &self.slots[id as usize] else { return };
        let (above, service) = (slot.tcb.snd_nxt, self.config.service_on(syn.flow.local.port));
        self.evict(id);
        let Some(service) = service else { return self.reset_stray(syn, egress, budget) };
        if self.accept(syn, service, Some(above)).is_err() && self.tells_refusal(service) {
            self.reset_stray(syn, egress, budget);
        }
    }

    /// A segment for a connection whose end is still waiting for its turn. Its RST, if one is due,
    /// answers; a SYN will come again.
    pub(super) fn after_the_end<E: Egress>(
        &mut self,
        id: u32,
        segment: &Segment<'_>,
        egress: &mut E,
        budget: &mut u32,
    ) {
        let resets = self.slots[id as usize].as_ref().is_some_and(|s| s.tcb.has(Marks::RESET));
        if !resets && !segment.flags.syn() {
            self.reset_stray(segment, egress, budget);
        }
    }

    /// Answers a segment that belongs to nobody (RFC 9293 3.10.7.1), or one whose ACK is out of
    /// place before the handshake is done.
    pub(super) fn reset_stray<E: Egress>(
        &mut self,
        segment: &Segment<'_>,
        egress: &mut E,
        budget: &mut u32,
    ) {
        if segment.flags.rst() || *budget == 0 {
            self.shared.counters.strays_dropped += 1;
            return;
        }
        *budget -= 1;
        self.shared.counters.stray_resets_sent += 1;
        self.shared.counters.packets_out += 1;
        let (seq, ack, flags) = if segment.flags.ack() {
            (segment.ack, SeqNumber(0), Flags::RST)
        } else {
            (SeqNumber(0), segment.seq + segment.len_seq(), Flags::RST | Flags::ACK)
        };
        let options = Options::default();
        let header = SegmentHeader { flow: segment.flow, seq, ack, flags, window: 0, options };
        let mut bytes = [0; MAX_HEADER_LEN];
        let len = header.emit(0, &mut bytes);
        set_ttl_and_dscp(&mut bytes, self.config.tcp.ttl, 0);
        self.shared.digest.fold_bytes(&bytes[..len]);
        let service = self.config.service_on(segment.flow.local.port);
        let service = service.map(|place| &self.config.services[usize::from(place)]);
        egress.emit(&Outgoing {
            remote: segment.flow.remote.addr,
            header: &bytes[..len],
            ip_header_len: ip_header_len(segment.flow.local.addr) as u8,
            payload: &[],
            payload_len: 0,
            swfr: None,
            quorum: service.is_some_and(|service| service.commit == Commit::Quorum),
        });
    }

    /// Moves a connection to the young end of the list of TIME-WAITs, where it counts no more.
    pub(super) fn list_time_wait(&mut self, id: u32) {
        self.unlist_time_wait(id);
        if let Some(slot) = &mut self.slots[id as usize] {
            slot.tcb.set(Marks::LISTED);
            self.usage.discount(&self.config, &mut slot.tcb);
        }
        self.time_waits.append(&mut self.slots, id);
    }

    fn unlist_time_wait(&mut self, id: u32) {
        let Some(tcb) = self.tcb_mut(id).filter(|tcb| tcb.has(Marks::LISTED)) else { return };
        tcb.clear(Marks::LISTED);
        self.time_waits.unlink(&mut self.slots, id);
    }

    /// Counts a connection as half-open, the newest one of its service.
    pub(super) fn list_half_open(&mut self, id: u32) {
        let Some(slot) = &mut self.slots[id as usize] else { return };
        slot.tcb.set(Marks::HALF_OPEN);
        let service = &mut self.usage.services[usize::from(slot.tcb.service)];
        service.half_open += 1;
        service.waiting.append(&mut self.slots, id);
    }

    /// A connection is half-open no more, if it was.
    pub(super) fn unlist_half_open(&mut self, id: u32) {
        let Some(tcb) = self.tcb_mut(id).filter(|tcb| tcb.has(Marks::HALF_OPEN)) else { return };
        tcb.clear(Marks::HALF_OPEN);
        let index = usize::from(tcb.service);
        let service = &mut self.usage.services[index];
        service.half_open -= 1;
        service.waiting.unlink(&mut self.slots, id);
    }

    fn tcb_mut(&mut self, id: u32) -> Option<&mut Tcb> {
        self.slots.get_mut(id as usize)?.as_mut().map(|slot| &mut slot.tcb)
    }

    /// All connections with their numbers, in order of these.
    pub(super) fn live(&self) -> impl Iterator<Item = (u32, &Tcb)> {
        let numbered = (0_u32..).zip(&self.slots);
        numbered.filter_map(|(id, slot)| slot.as_ref().map(|slot| (id, &slot.tcb)))
    }

    /// How many connections there are in `state`.
    #[must_use]
    pub fn count_in(&self, state: State) -> usize {
        self.live().filter(|(_, tcb)| tcb.state == state).count()
    }
}
