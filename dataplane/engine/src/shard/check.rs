//! What holds of a shard whenever no step is under way: its lists name the connections that they
//! should, and its memory is the sum of what they hold.

use super::Shard;
use crate::buffer::Held;
use crate::hash::flow_hash;
use crate::tcp::tcb::{Marks, Tcb};
use crate::tcp::timers::NEVER;
use crate::tcp::{State, check};

impl Shard {
    /// Goes through the whole state. Slow: for tests, and for a snapshot that was read.
    ///
    /// # Errors
    /// Names the first rule that is broken.
    pub fn check(&self) -> Result<(), &'static str> {
        for (_, tcb) in self.live() {
            check::connection(tcb, &self.shared, &self.config)?;
        }
        self.check_lists()?;
        self.check_flows()?;
        self.check_usage()?;
        self.check_timers()?;
        self.check_memory()?;
        self.kick.check(self.slots.len())
    }

    fn tcb(&self, id: u32) -> Option<&Tcb> {
        self.slots.get(id as usize)?.as_ref().map(|slot| &slot.tcb)
    }

    fn check_lists(&self) -> Result<(), &'static str> {
        if self.slots.len() > self.config.max_connections as usize {
            return Err("number of slots");
        }
        let vacant = self.slots.iter().filter(|slot| slot.is_none()).count();
        if self.vacant.len() != vacant || self.vacant.iter().any(|&id| self.tcb(id).is_some()) {
            return Err("list of vacant slots");
        }
        self.check_list(Marks::QUEUED, self.run_queue.iter(), "run queue")?;
        self.check_list(Marks::WAITING, self.starved.iter(), "queue of the starved")?;
        let listed = self.time_waits.ids(&self.slots);
        self.check_list(Marks::LISTED, listed.iter(), "list of TIME-WAITs")?;
        let half_open = self.usage.services.iter().map(|service| service.waiting.ids(&self.slots));
        let half_open: Vec<u32> = half_open.flatten().collect();
        self.check_list(Marks::HALF_OPEN, half_open.iter(), "lists of half-open connections")?;
        let over = |tcb: &Tcb| matches!(tcb.state, State::TimeWait | State::Closed);
        if listed.iter().any(|&id| !self.tcb(id).is_some_and(over)) {
            return Err("list of TIME-WAITs");
        }
        Ok(())
    }

    /// A list holds the connections with this mark, each of them once.
    fn check_list<'a>(
        &self,
        mark: Marks,
        ids: impl ExactSizeIterator<Item = &'a u32>,
        what: &'static str,
    ) -> Result<(), &'static str> {
        let marked = self.live().filter(|(_, tcb)| tcb.has(mark)).count();
        let mut seen = vec![false; self.slots.len()];
        let mut new = |id: u32| !std::mem::replace(&mut seen[id as usize], true);
        let fits = ids.len() == marked;
        let all = ids.copied().all(|id| self.tcb(id).is_some_and(|tcb| tcb.has(mark)) && new(id));
        if fits && all { Ok(()) } else { Err(what) }
    }

    fn check_flows(&self) -> Result<(), &'static str> {
        let is_flow = |id: u32, tcb: &Tcb| self.tcb(id).is_some_and(|t| t.flow == tcb.flow);
        for (id, tcb) in self.live() {
            let flow = &tcb.flow;
            if self.table.find(flow_hash(flow), flow, |id| is_flow(id, tcb)) != Some(id) {
                return Err("flow table");
            }
        }
        if self.table.len() != self.live().count() {
            return Err("flow table");
        }
        Ok(())
    }

    /// What each service is said to have.
    fn check_usage(&self) -> Result<(), &'static str> {
        for (index, service) in self.usage.services.iter().enumerate() {
            let own = |tcb: &Tcb| usize::from(tcb.service) == index;
            let count = |mark| self.live().filter(|(_, tcb)| own(tcb) && tcb.has(mark)).count();
            let listed = service.waiting.ids(&self.slots);
            if service.half_open as usize != listed.len()
                || listed.len() != count(Marks::HALF_OPEN)
                || service.connections as usize != count(Marks::COUNTED)
            {
                return Err("connections of a service");
            }
            let mut held = Held::default();
            for (_, tcb) in self.live().filter(|(_, tcb)| own(tcb)) {
                self.count(tcb, &mut held)?;
            }
            if held.blocks != self.blocks_of(index) {
                return Err("blocks of a service");
            }
        }
        Ok(())
    }

    fn count(&self, tcb: &Tcb, held: &mut Held) -> Result<(), &'static str> {
        let buffers = &self.shared.buffers;
        tcb.recv.count(&buffers.blocks, held);
        tcb.assembler.count(buffers, held);
        tcb.send.count(buffers, held)
    }

    fn check_timers(&self) -> Result<(), &'static str> {
        let scheduled = |(id, tcb): (u32, &Tcb)| {
            (tcb.deadlines.armed != NEVER) == self.wheel.deadline(id).is_some()
        };
        let timers = self.live().filter(|(_, tcb)| tcb.deadlines.armed != NEVER).count();
        if !self.live().all(scheduled) || self.wheel.len() != timers {
            return Err("timers");
        }
        if !self.wheel.has_reached_at_most(self.now) {
            return Err("time of the timers");
        }
        Ok(())
    }

    /// Whatever the shard's pools have given away, a connection has.
    fn check_memory(&self) -> Result<(), &'static str> {
        let (mut held, mut sent) = (Held::default(), 0);
        for (_, tcb) in self.live() {
            self.count(tcb, &mut held)?;
            sent += tcb.sent.count;
        }
        if held != self.shared.buffers.used() || sent != self.shared.sent.used() {
            return Err("memory that nobody holds");
        }
        Ok(())
    }
}
