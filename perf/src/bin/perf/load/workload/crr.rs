//! Connect, request, response, close: over and over, a number of cycles at a time.

use super::exchange::{Exchange, Incoming};
use super::{Context, Index, Notice, Transport, Workload};
use crate::load::schedule::Schedule;
use crate::load::transport::{Events, Stream};
use crate::load::trouble::Trouble;

/// Cycles begun before the transport is polled again.
const AT_ONCE: u32 = 64;
/// After a failure no cycle begins for so long, lest a target that refuses is hammered.
const PAUSE_NS: u64 = 1_000_000;

/// What to do.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Cycles that may be under way.
    pub concurrent: u32,
    /// Cycles a second; None: as fast as they end.
    pub rate: Option<f64>,
    /// How many cycles; None: until the time is over.
    pub count: Option<u64>,
    /// Ends each with RST after its response.
    pub resets: bool,
}

/// The load.
#[derive(Debug)]
pub struct Crr {
    config: Config,
    exchange: Exchange,
    slots: Vec<Slot>,
    /// Slots in which no cycle is under way.
    free: Vec<Index>,
    schedule: Option<Schedule>,
    begun: u64,
    not_before_ns: u64,
    is_stopped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    Free,
    Connecting,
    Exchanging,
    Closing,
}

#[derive(Debug, Default)]
struct Slot {
    stage: Stage,
    /// Which cycle of this slot it is.
    number: u64,
    intended_ns: u64,
    progress_ns: u64,
    longest_stall_ns: u64,
    /// Bytes of the request that the send buffer has not taken yet.
    left: u32,
    incoming: Incoming,
}

impl Crr {
    /// A load that has not begun.
    pub fn new(config: Config, exchange: Exchange) -> Crr {
        Crr {
            config,
            exchange,
            slots: (0..config.concurrent).map(|_| Slot::default()).collect(),
            free: (0..config.concurrent).rev().collect(),
            schedule: None,
            begun: 0,
            not_before_ns: 0,
            is_stopped: false,
        }
    }

    fn start<T: Transport>(&mut self, context: &mut Context<T>, index: Index, intended_ns: u64) {
        self.begun += 1;
        if !context.open(index) {
            self.not_before_ns = context.now_ns + PAUSE_NS;
            self.free.push(index);
            return;
        }
        let slot = &mut self.slots[index as usize];
        slot.stage = Stage::Connecting;
        slot.number += 1;
        slot.intended_ns = intended_ns;
        slot.left = self.exchange.request_len();
        slot.incoming = Incoming::default();
    }

    fn advance<T: Transport>(&mut self, context: &mut Context<T>, index: Index) {
        let Some(mut stream) = context.transport.stream(index) else { return };
        let slot = &mut self.slots[index as usize];
        let (mut complete, mut came, mut trouble) = (0, 0, None);
        stream.read(|bytes| {
            if trouble.is_none() {
                let next = slot.number + complete;
                match self.exchange.take(&mut slot.incoming, index, next, bytes) {
                    Ok(responses) => complete += responses,
                    Err((kind, at)) => trouble = Some((kind, came + at as u64)),
                }
            }
            came += bytes.len() as u64;
        });
        let due = u64::from(slot.stage == Stage::Exchanging && slot.left == 0);
        let is_more =
            came > 0 && (complete > due || (complete == due && slot.incoming.is_partial()));
        // Half a response before the request is out is fine as an echo, but not a whole one.
        if is_more && (slot.left == 0 || complete > 0) {
            trouble = trouble.or(Some((Trouble::TooMuch, came)));
        }
        if let Some((kind, at)) = trouble {
            drop(stream);
            self.fail(context, index, Some((kind, at)));
            return;
        }
        if slot.left > 0 {
            let took = self.exchange.write(&mut stream, index, slot.number, slot.left);
            slot.left -= took;
            context.meter.sent(took.into());
        }
        if complete > 0 && !self.config.resets {
            stream.shut_down();
            slot.stage = Stage::Closing;
        }
        drop(stream);
        if came > 0 {
            context.heard(came);
            self.progress(context, index);
        }
        if complete > 0 && self.config.resets {
            context.forget(index);
            self.end(context, index);
        }
    }

    fn progress<T: Transport>(&mut self, context: &mut Context<T>, index: Index) {
        let slot = &mut self.slots[index as usize];
        let gap_ns = context.now_ns.saturating_sub(slot.intended_ns.max(slot.progress_ns));
        slot.longest_stall_ns = slot.longest_stall_ns.max(gap_ns);
        slot.progress_ns = context.now_ns;
        context.meter.stalled(gap_ns);
    }

    /// A cycle is complete.
    fn end<T: Transport>(&mut self, context: &mut Context<T>, index: Index) {
        let slot = &mut self.slots[index as usize];
        slot.stage = Stage::Free;
        context.meter.answered(context.now_ns.saturating_sub(slot.intended_ns));
        self.free.push(index);
    }

    /// A cycle comes to nothing. The connection is over already if no trouble is given.
    fn fail<T: Transport>(
        &mut self,
        context: &mut Context<T>,
        index: Index,
        trouble: Option<(Trouble, u64)>,
    ) {
        let slot = &mut self.slots[index as usize];
        slot.stage = Stage::Free;
        context.meter.unanswered(context.now_ns.saturating_sub(slot.intended_ns));
        self.free.push(index);
        self.not_before_ns = context.now_ns + PAUSE_NS;
        if let Some((kind, position)) = trouble {
            context.condemn(index, kind, position);
        }
    }

    fn current_stall_ns(&self, now_ns: u64, slot: &Slot) -> u64 {
        match slot.stage {
            Stage::Free => 0,
            _ => now_ns.saturating_sub(slot.intended_ns.max(slot.progress_ns)),
        }
    }

    fn limit(&self) -> u64 {
        self.config.count.unwrap_or(u64::MAX)
    }
}

impl Workload for Crr {
    fn connections(&self) -> u32 {
        0
    }

    fn begin<T: Transport>(&mut self, context: &mut Context<T>) {
        self.schedule = self.config.rate.map(|rate| Schedule::new(context.now_ns, rate));
    }

    fn notice<T: Transport>(&mut self, context: &mut Context<T>, notice: Notice) {
        let index = notice.index;
        let stage = self.slots[index as usize].stage;
        if notice.events.has(Events::OPENED) && stage == Stage::Connecting {
            self.slots[index as usize].stage = Stage::Exchanging;
            self.progress(context, index);
        }
        if notice.events.has(Events::OVER) {
            match (stage, notice.failure) {
                (Stage::Free, _) => {}
                (Stage::Closing, None) => {
                    self.progress(context, index);
                    self.end(context, index);
                }
                (_, None) => {
                    context.tally.add(Trouble::ClosedEarly, None);
                    self.fail(context, index, None);
                }
                (_, Some(_)) => self.fail(context, index, None),
            }
            return;
        }
        self.advance(context, index);
        if notice.events.has(Events::PEER_CLOSED)
            && self.slots[index as usize].stage == Stage::Exchanging
        {
            self.fail(context, index, Some((Trouble::ClosedEarly, 0)));
        }
    }

    fn due<T: Transport>(&mut self, context: &mut Context<T>) -> u64 {
        for _ in 0..AT_ONCE {
            if self.is_stopped || self.begun >= self.limit() || context.exhausted.is_some() {
                return u64::MAX;
            }
            let intended_ns = match &self.schedule {
                Some(schedule) => schedule.due_ns(self.begun),
                None => context.now_ns,
            };
            let due_ns = intended_ns.max(self.not_before_ns);
            if due_ns > context.now_ns {
                return due_ns;
            }
            let Some(index) = self.free.pop() else { return u64::MAX };
            self.start(context, index, intended_ns);
        }
        context.now_ns
    }

    fn inspect<T: Transport>(&mut self, context: &mut Context<T>) {
        for slot in &self.slots {
            context.meter.stalled(self.current_stall_ns(context.now_ns, slot));
        }
    }

    fn is_waiting(&self) -> bool {
        self.free.len() < self.slots.len()
    }

    fn is_complete(&self) -> bool {
        self.begun >= self.limit() && !self.is_waiting()
    }

    fn stop(&mut self, _now_ns: u64) {
        self.is_stopped = true;
    }

    fn give_up<T: Transport>(&mut self, context: &mut Context<T>) {
        for slot in self.slots.iter().filter(|slot| slot.stage != Stage::Free) {
            context.tally.add(Trouble::Unanswered, None);
            context.meter.unanswered(context.now_ns.saturating_sub(slot.intended_ns));
        }
    }

    fn stalls(&self, now_ns: u64, _is_open: &dyn Fn(Index) -> bool, tell: &mut dyn FnMut(u64)) {
        for slot in &self.slots {
            let longest_ns = slot.longest_stall_ns.max(self.current_stall_ns(now_ns, slot));
            if longest_ns > 0 {
                tell(longest_ns);
            }
        }
    }

    fn forget_stalls(&mut self) {
        for slot in &mut self.slots {
            slot.longest_stall_ns = 0;
        }
    }
}
