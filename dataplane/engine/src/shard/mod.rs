//! A shard: a fixed slice of all connections, as one deterministic state machine. Segments and
//! time come in, packets go out; the same calls give the same state on every node.
//!
//! The order within a step is fixed: timers that are due, then the segments in their order, then
//! output for each connection that one of these touched, first come, first served.

mod check;
mod external;
mod info;
mod kick;
mod lifecycle;
mod lists;
mod restore;
mod save;
mod screen;
mod usage;

pub use external::{End, Ready, ReconfigureError};
pub use info::{Agreed, ConnectionInfo, MemoryUse, Repair, SegmentCounts, Standing};
pub(crate) use lifecycle::is_opening;
pub use lifecycle::{ConnectError, ConnectionId};
pub use restore::Restoring;
pub use save::VERSION as SNAPSHOT_VERSION;
pub use usage::{Refusal, Refusals, ServiceUse};

pub use crate::tcp::stream::Stream;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::addr::Flow;
use crate::buffer::Buffers;
use crate::config::Config;
use crate::content::Content;
use crate::counters::Counters;
use crate::digest::Digest;
use crate::egress::Egress;
use crate::hash::flow_hash;
use crate::service::ServiceState;
use crate::table::FlowTable;
use crate::tcp::input::Verdict;
use crate::tcp::scoreboard::SentSlab;
use crate::tcp::stream::{Event, call, kept};
use crate::tcp::tcb::{Marks, Tcb};
use crate::tcp::timers::NEVER;
use crate::tcp::{ChallengeLimit, Context, Shared, State, heir, input, isn, output, path, timers};
use crate::time::Instant;
use crate::timer::TimerWheel;
use crate::wire::icmp_error::IcmpError;
use crate::wire::segment::Segment;
use lifecycle::{Knock, knock};

/// Extents of content and pattern that each connection may hold on the average.
const REFERENCES_PER_CONNECTION: u32 = 4;
/// Segments whose connections are looked up before the first of them is handled: as many as a core
/// has loads under way.
const LOOKAHEAD: usize = 16;
/// Starved connections that get another turn when one step has freed something.
const REVIVED_PER_STEP: usize = 64;

/// One shard.
#[derive(Debug)]
pub struct Shard {
    index: u16,
    config: Arc<Config>,
    content: Arc<Content>,
    now: Instant,
    shared: Shared,
    slots: Vec<Option<Slot>>,
    /// Slots without a connection, the next to be used last.
    vacant: Vec<u32>,
    table: FlowTable,
    wheel: TimerWheel,
    /// Connections that have something to send, or were touched in this step.
    run_queue: VecDeque<u32>,
    /// Of these, the first ones that `next_ready` has looked at.
    told: usize,
    /// Connections that wait for buffers or scoreboard entries.
    starved: VecDeque<u32>,
    /// What services and sources take.
    usage: usage::Usage,
    /// Connections in TIME-WAIT, in the order in which they got there.
    time_waits: lists::List,
    /// The takeover's kick.
    kick: kick::Kick,
}

/// A connection and its service's state.
#[derive(Debug)]
struct Slot {
    tcb: Tcb,
    service: ServiceState,
}

impl Slot {
    /// Lets the connection send, as [`output::run`] does.
    fn send<E: Egress>(
        &mut self,
        id: u32,
        cx: &mut Context<'_>,
        egress: &mut E,
        quota: &mut u32,
    ) -> bool {
        cx.shared.turn = id;
        if self.tcb.has(Marks::AHEAD) {
            heir::catch_up(&mut self.tcb, &mut self.service, cx);
        }
        output::run(&mut self.tcb, cx, egress, quota)
    }
}

/// No slot.
const NONE: u32 = u32::MAX;

/// What connections are handled with, borrowed apart from the slots.
macro_rules! context {
    ($shard:ident) => {
        Context {
            now: $shard.now,
            config: &$shard.config,
            content: &$shard.content,
            shared: &mut $shard.shared,
        }
    };
}
use context;

impl Shard {
    /// An empty shard at the origin of time. All of its memory is reserved here, and touched when
    /// it is used.
    ///
    /// # Panics
    /// If the configuration is not valid ([`Config::validate`]).
    #[must_use]
    pub fn new(index: u16, config: Arc<Config>, content: Arc<Content>) -> Shard {
        assert_eq!(config.validate(), Ok(()), "a shard is made from a checked configuration");
        let connections = config.max_connections as usize;
        let references = config.max_connections.saturating_mul(REFERENCES_PER_CONNECTION);
        let mut buffers = Buffers::new(config.pool_blocks, references);
        let limits = config.services.iter().map(|service| service.limits.max_blocks);
        buffers.blocks.open_accounts(limits);
        Shard {
            index,
            now: Instant::ZERO,
            shared: Shared {
                buffers,
                sent: SentSlab::new(config.tx_segments),
                counters: Counters::default(),
                digest: Digest::default(),
                challenges: ChallengeLimit::default(),
                took_over_at: None,
                turn: NONE,
                scratch: vec![0; config.mtu.into()],
            },
            slots: Vec::with_capacity(connections),
            vacant: Vec::with_capacity(connections),
            table: FlowTable::with_capacity(connections, isn::table_secret(&config.isn_key)),
            wheel: TimerWheel::with_capacity(connections),
            run_queue: VecDeque::with_capacity(connections),
            told: 0,
            starved: VecDeque::with_capacity(connections),
            usage: usage::Usage::new(&config),
            time_waits: lists::List::default(),
            kick: kick::Kick::with_capacity(connections),
            config,
            content,
        }
    }

    /// Runs one step at `now`, with the segments that have come since the last one. Emits at most
    /// [`Config::max_packets_per_step`] packets; what is left waits, and
    /// [`next_deadline`](Self::next_deadline) is `now` then. Time never goes back: an earlier
    /// `now` counts as the last one.
    ///
    /// Each call counts, one without segments too: a replica must be given all of them.
    pub fn step<E: Egress>(&mut self, now: Instant, segments: &[Segment<'_>], egress: &mut E) {
        let mut budget = self.config.max_packets_per_step;
        self.receive_all(now, segments, egress, &mut budget);
        self.send_all(egress, &mut budget);
    }

    /// When [`step`](Self::step) wants to be called, if no segment comes before. Not after
    /// [`now`](Self::now) when work is pending. `None`: never.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if !self.run_queue.is_empty() {
            return Some(self.now);
        }
        self.wheel.next_deadline()
    }

    /// Time of the last step.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Which of the cluster's shards this is.
    #[must_use]
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Digest of all that was emitted and of the connections touched on the way, since the shard
    /// was made. Equal on all replicas after the same steps.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.shared.digest.value()
    }

    /// Digest of the whole state, by way of a snapshot. Slow: for tests and for checks at rest.
    #[must_use]
    pub fn full_digest(&self) -> u64 {
        let mut bytes = Vec::new();
        self.save(&mut bytes);
        let mut digest = Digest::default();
        digest.fold_bytes(&bytes);
        digest.value()
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Whether [`icmp_error`](Self::icmp_error) would change anything: what would not need not be
    /// logged.
    #[must_use]
    pub fn heeds(&self, error: &IcmpError) -> bool {
        let slot = self.connection(&error.flow).and_then(|id| self.slots[id as usize].as_ref());
        slot.is_some_and(|slot| path::heeds(&slot.tcb, &self.shared.sent, error))
    }

    /// Takes an ICMP error about a segment of ours, and sends again what that calls for. The same
    /// rules hold as for a [`step`](Self::step).
    pub fn icmp_error<E: Egress>(&mut self, now: Instant, error: &IcmpError, egress: &mut E) {
        self.take_in_error(now, error);
        let mut budget = self.config.max_packets_per_step;
        self.send_all(egress, &mut budget);
    }

    /// This node, which has held the shard as a backup, serves from `now` on, since the node that
    /// served has died. Not for a switchover, at which nobody misses anything. The time of the last
    /// step stays what it is.
    pub fn take_over(&mut self, now: Instant) {
        self.shared.took_over_at = Some(self.now.max(now));
    }

    /// First half of [`icmp_error`](Self::icmp_error): what it calls for leaves with the next step
    /// or [`flush`](Self::flush).
    pub fn take_in_error(&mut self, now: Instant, error: &IcmpError) {
        self.now = self.now.max(now);
        let Some(id) = self.connection(&error.flow) else { return };
        let mut context = context!(self);
        let Some(slot) = &mut self.slots[id as usize] else { return };
        path::icmp_error(&mut slot.tcb, &mut context, error);
        self.enqueue(id);
    }

    fn connection(&self, flow: &Flow) -> Option<u32> {
        let is_it = |id: u32| self.slots[id as usize].as_ref().is_some_and(|s| s.tcb.flow == *flow);
        self.table.find(flow_hash(flow), flow, is_it)
    }

    fn receive_all<E: Egress>(
        &mut self,
        now: Instant,
        segments: &[Segment<'_>],
        egress: &mut E,
        budget: &mut u32,
    ) {
        self.now = self.now.max(now);
        self.fire_timers();
        for some in segments.chunks(LOOKAHEAD) {
            let ids = self.fetch(some);
            for (segment, id) in some.iter().zip(ids) {
                self.receive(segment, id, egress, budget);
            }
        }
        self.revive();
    }

    /// Looks up the connections of segments that are about to be given to a step, which spares the
    /// step the same. Says whether some have none ([`Segment::is_stranger`]).
    #[must_use]
    pub fn look_up(&self, segments: &mut [Segment<'_>]) -> bool {
        let mut strangers = false;
        for segment in segments {
            segment.place = self.find(segment).unwrap_or(NONE);
            strangers |= segment.place == NONE;
        }
        strangers
    }

    /// The connections of some segments. Nothing here waits for a result: the caches fetch what
    /// the segments need side by side, not one after the other while each is handled.
    fn fetch(&self, segments: &[Segment<'_>]) -> [Option<u32>; LOOKAHEAD] {
        let (mut ids, mut touched) = ([None; LOOKAHEAD], 0);
        for (id, segment) in ids.iter_mut().zip(segments) {
            let known = (segment.place as usize) < self.slots.len();
            *id = if known { Some(segment.place) } else { self.find(segment) };
            if let Some(Some(slot)) = id.map(|id| &self.slots[id as usize]) {
                touched ^= slot.tcb.touch();
            }
        }
        std::hint::black_box(touched);
        ids
    }

    #[inline(always)]
    fn find(&self, segment: &Segment<'_>) -> Option<u32> {
        self.table.find(segment.hash, &segment.flow, |id| self.has_flow(id, segment))
    }

    /// For the few that had no connection when they were looked up, or another one.
    #[cold]
    fn find_again(&self, segment: &Segment<'_>) -> Option<u32> {
        self.find(segment)
    }

    #[inline]
    fn has_flow(&self, id: u32, segment: &Segment<'_>) -> bool {
        self.slots[id as usize].as_ref().is_some_and(|slot| slot.tcb.flow == segment.flow)
    }

    fn send_all<E: Egress>(&mut self, egress: &mut E, budget: &mut u32) {
        self.send(egress, budget);
        self.revive();
        self.shared.digest.fold(self.now.as_micros());
    }

    fn fire_timers(&mut self) {
        while let Some(id) = self.wheel.pop_expired(self.now) {
            let mut context = context!(self);
            let Some(slot) = &mut self.slots[id as usize] else { continue };
            context.bill(&slot.tcb);
            slot.tcb.deadlines.armed = NEVER;
            timers::fire(&mut slot.tcb, &mut slot.service, &mut context);
            self.enqueue(id);
        }
    }

    /// `expected`: its connection, unless a segment before it has changed that.
    fn receive<E: Egress>(
        &mut self,
        segment: &Segment<'_>,
        expected: Option<u32>,
        egress: &mut E,
        budget: &mut u32,
    ) {
        self.shared.counters.segments_in += 1;
        let expected = expected.filter(|&id| self.has_flow(id, segment));
        let found = expected.or_else(|| self.find_again(segment));
        let Some(id) = found else { return self.listen(segment, egress, budget) };
        let mut context = context!(self);
        let Some(slot) = &mut self.slots[id as usize] else { return };
        match slot.tcb.state {
            State::Closed => return self.after_the_end(id, segment, egress, budget),
            State::TimeWait => match knock(&slot.tcb, segment, self.config.tcp.timestamps) {
                Knock::New => return self.reopen(id, segment, egress, budget),
                Knock::Old => {
                    self.shared.counters.strays_dropped += 1;
                    self.shared.challenges.suspect(self.now, &self.config);
                    return;
                }
                Knock::Other => {}
            },
            _ => {}
        }
        context.bill(&slot.tcb);
        let verdict = input::segment(&mut slot.tcb, &mut slot.service, &mut context, segment);
        self.enqueue(id);
        if verdict == Verdict::Stray {
            self.reset_stray(segment, egress, budget);
        }
    }

    /// Puts a connection into the run queue, once.
    #[inline]
    fn enqueue(&mut self, id: u32) {
        let Some(slot) = &mut self.slots[id as usize] else { return };
        if !slot.tcb.has(Marks::QUEUED) {
            slot.tcb.set(Marks::QUEUED);
            self.run_queue.push_back(id);
        }
    }

    /// Gives connections their turns until there is nothing to send, or the budget is used up.
    fn send<E: Egress>(&mut self, egress: &mut E, budget: &mut u32) {
        let quantum = u32::from(self.config.tcp.quantum_packets);
        while *budget > 0 {
            let Some(id) = self.run_queue.pop_front() else { return };
            let mut context = context!(self);
            let Some(slot) = &mut self.slots[id as usize] else { continue };
            context.bill(&slot.tcb);
            slot.tcb.clear(Marks::QUEUED);
            let share = quantum.min(*budget);
            let mut quota = share;
            let more = slot.send(id, &mut context, egress, &mut quota);
            *budget -= share - quota;
            self.settle(id, more);
        }
    }

    /// After a connection's turn: its end, its timer, its place in line, its part of the digest.
    fn settle(&mut self, id: u32, more: bool) {
        let Some(slot) = &mut self.slots[id as usize] else { return };
        let tcb = &mut slot.tcb;
        summarize(&mut self.shared.digest, id, tcb);
        if tcb.state == State::Closed && !tcb.has(Marks::RESET) {
            return self.remove(id);
        }
        let earliest = tcb.deadlines.earliest();
        if earliest < tcb.deadlines.armed {
            tcb.deadlines.armed = earliest;
            self.wheel.schedule(id, earliest);
        }
        if tcb.has(Marks::SHORT_WRITE) {
            tcb.clear(Marks::SHORT_WRITE);
            tcb.set(Marks::STARVED);
        }
        if tcb.has(Marks::STARVED) && !tcb.has(Marks::WAITING) {
            tcb.set(Marks::WAITING);
            self.starved.push_back(id);
        }
        let opened = tcb.has(Marks::HALF_OPEN) && tcb.state != State::SynReceived;
        let waits = tcb.state == State::TimeWait;
        if opened {
            self.unlist_half_open(id);
        }
        if waits {
            self.list_time_wait(id);
        }
        if more {
            self.enqueue(id);
        }
    }

    /// Gives starved connections another turn once there is something for them, before those whose
    /// acknowledgments have freed it.
    fn revive(&mut self) {
        if self.starved.is_empty() {
            return;
        }
        let buffers = &self.shared.buffers;
        // With less a write would take nothing, and the connection starve again at once.
        let enough = buffers.blocks.unused() as usize > kept(buffers.blocks.capacity())
            && buffers.free_references() > 0
            && self.shared.sent.has_room(false);
        if !enough {
            return;
        }
        let before = self.run_queue.len();
        for _ in 0..REVIVED_PER_STEP.min(self.starved.len()) {
            let Some(id) = self.starved.pop_front() else { break };
            let mut context = context!(self);
            let Some(slot) = &mut self.slots[id as usize] else { continue };
            // The slot may have another connection by now, which does not wait.
            if !slot.tcb.has(Marks::WAITING) {
                continue;
            }
            context.bill(&slot.tcb);
            let blocks = &context.shared.buffers.blocks;
            if blocks.free() as usize <= kept(blocks.allowance()) {
                // Its service holds all that it may: others go on.
                self.starved.push_back(id);
                continue;
            }
            slot.tcb.clear(Marks(Marks::WAITING.0 | Marks::STARVED.0));
            if slot.tcb.state.is_synchronized() && slot.tcb.state != State::TimeWait {
                call(Event::Writable, &mut slot.tcb, &mut slot.service, &mut context, &[]);
            }
            self.enqueue(id);
        }
        self.run_queue.rotate_left(before);
    }
}

/// Folds what matters most of a connection into the digest: a few words that depend on everything
/// that has happened to it.
#[inline]
fn summarize(digest: &mut Digest, id: u32, tcb: &Tcb) {
    let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    digest.fold_all(&[
        pair(id, tcb.marks.0),
        pair(tcb.snd_una.0, tcb.snd_nxt.0),
        pair(tcb.rcv_nxt.0, tcb.rcv_adv.0),
        pair(tcb.congestion.cwnd, tcb.snd_wnd),
        pair(tcb.sent.in_flight, tcb.recv.len() as u32) ^ tcb.send.len(),
        tcb.deadlines.earliest().as_micros() ^ u64::from(tcb.state as u8) << 56,
    ]);
}
