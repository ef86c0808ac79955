//! Snapshots: a shard as bytes, and back to a shard with the same state and the same future.

use std::sync::Arc;

use super::{ChallengeLimit, Refusal, Shard, Slot};
use crate::config::Config;
use crate::content::Content;
use crate::counters::Counters;
use crate::digest::Digest;
use crate::hash::flow_hash;
use crate::service::ServiceState;
use crate::snapshot::{Reader, Snapshot, SnapshotError, Writer};
use crate::tcp::save as connection;
use crate::tcp::tcb::Marks;
use crate::time::Instant;
use crate::timer::TimerWheel;

/// Version of the format; another one is refused.
const VERSION: u16 = 6;

impl Shard {
    /// Appends the whole state to `out`. Equal states give equal bytes.
    pub fn save(&self, out: &mut Vec<u8>) {
        let out = &mut Writer::new(out);
        out.u16(VERSION);
        out.u16(self.index);
        out.u64(self.now.as_micros());
        out.u64(self.shared.digest.value());
        out.u64(self.shared.challenges.second);
        out.u32(self.shared.challenges.allowed);
        out.u32(self.shared.challenges.sent);
        out.u32(self.shared.challenges.suspects);
        self.shared.counters.save(out);
        out.u32(self.slots.len() as u32);
        for slot in &self.slots {
            out.bool(slot.is_some());
            if let Some(slot) = slot {
                connection::save(&slot.tcb, &self.shared, out);
                slot.service.save(out);
            }
        }
        // Their order decides the future too.
        save_ids(self.vacant.iter(), out);
        save_ids(self.run_queue.iter(), out);
        save_ids(self.starved.iter(), out);
        save_ids(self.time_waits.ids(&self.slots).iter(), out);
        for service in &self.usage.services {
            save_ids(service.waiting.ids(&self.slots).iter(), out);
            service.refused.0.iter().for_each(|&count| out.u64(count));
        }
        self.kick.save(out);
        self.wheel.save(out);
    }

    /// A shard in the state that [`save`](Self::save) wrote, under the same configuration and
    /// content.
    ///
    /// # Errors
    /// Bytes that are no snapshot, or one that does not fit this configuration or content.
    pub fn restore(
        config: Arc<Config>,
        content: Arc<Content>,
        bytes: &[u8],
    ) -> Result<Shard, SnapshotError> {
        let input = &mut Reader::new(bytes);
        input.version(VERSION)?;
        let mut shard = Shard::new(input.u16("shard index")?, config, content);
        shard.now = Instant::from_micros(input.u64("time")?);
        let digest = Digest::from_value(input.u64("digest")?);
        shard.shared.challenges = ChallengeLimit {
            second: input.u64("second of challenge ACKs")?,
            allowed: input.u32("challenge ACKs that may be sent")?,
            sent: input.u32("challenge ACKs")?,
            suspects: input.u32("suspicious segments")?,
        };
        shard.shared.counters = Counters::restore(input)?;
        let slots = input.u32("number of slots")?;
        if slots > shard.config.max_connections {
            return Err(SnapshotError::Capacity { what: "connections" });
        }
        for id in 0..slots {
            let slot =
                if input.bool("slot")? { Some(shard.restore_slot(id, input)?) } else { None };
            shard.slots.push(slot);
        }
        shard.restore_queues(input)?;
        shard.kick.restore(shard.slots.len(), input)?;
        shard.wheel = TimerWheel::restore(shard.config.max_connections as usize, input)?;
        shard.shared.digest = digest;
        input.clone().finish()?;
        shard.check().map_err(|what| input.invalid(what, 0))?;
        Ok(shard)
    }

    fn restore_slot(&mut self, id: u32, input: &mut Reader<'_>) -> Result<Slot, SnapshotError> {
        let (config, content) = (&self.config, &self.content);
        let mut tcb = connection::restore(config, content, &mut self.shared, input)?;
        let service = ServiceState::restore(input, content)?;
        if !service.is_of(&config.services[usize::from(tcb.service)].kind) {
            return Err(input.invalid("service kind", tcb.service.into()));
        }
        // Both are set again when the lists are read.
        tcb.clear(Marks(Marks::LISTED.0 | Marks::HALF_OPEN.0));
        if tcb.has(Marks::COUNTED) {
            self.usage.recount(&self.config, &tcb);
        }
        let inserted = self.table.insert(flow_hash(&tcb.flow), &tcb.flow, id);
        inserted.map_err(|_| SnapshotError::Capacity { what: "connections" })?;
        Ok(Slot { tcb, service })
    }

    fn restore_queues(&mut self, input: &mut Reader<'_>) -> Result<(), SnapshotError> {
        self.vacant = restore_ids(input, self.slots.len())?;
        if self.vacant.iter().any(|&id| self.slots[id as usize].is_some()) {
            return Err(input.invalid("vacant slot", self.vacant.len() as u64));
        }
        self.run_queue = restore_ids(input, self.slots.len())?.into();
        self.starved = restore_ids(input, self.slots.len())?.into();
        for id in restore_ids(input, self.slots.len())? {
            if self.slots[id as usize].is_none() {
                return Err(input.invalid("connection in TIME-WAIT", id.into()));
            }
            self.list_time_wait(id);
        }
        for index in 0..self.usage.services.len() {
            self.restore_service(index, input)?;
        }
        // Room for as many as a new shard has.
        let connections = self.config.max_connections as usize;
        self.vacant.reserve(connections - self.vacant.len());
        self.run_queue.reserve(connections - self.run_queue.len());
        self.starved.reserve(connections - self.starved.len());
        Ok(())
    }

    fn restore_service(
        &mut self,
        index: usize,
        input: &mut Reader<'_>,
    ) -> Result<(), SnapshotError> {
        for id in restore_ids(input, self.slots.len())? {
            let slot = self.slots[id as usize].as_ref();
            let own = slot.is_some_and(|slot| usize::from(slot.tcb.service) == index);
            if !own || slot.is_some_and(|slot| slot.tcb.has(Marks::LISTED)) {
                return Err(input.invalid("half-open connection", id.into()));
            }
            self.list_half_open(id);
        }
        for refusal in Refusal::ALL {
            self.usage.services[index].refused.0[refusal as usize] = input.total(refusal.name())?;
        }
        Ok(())
    }
}

fn save_ids<'a>(ids: impl ExactSizeIterator<Item = &'a u32>, out: &mut Writer<'_>) {
    out.u32(ids.len() as u32);
    ids.for_each(|id| out.u32(*id));
}

/// A list of different slot numbers.
fn restore_ids(input: &mut Reader<'_>, slots: usize) -> Result<Vec<u32>, SnapshotError> {
    let count = input.u32("number of slot numbers")?;
    if count as usize > slots {
        return Err(input.invalid("number of slot numbers", count.into()));
    }
    let mut seen = vec![false; slots];
    let mut ids = Vec::with_capacity(slots);
    for _ in 0..count {
        let id = input.u32("slot number")?;
        match seen.get_mut(id as usize) {
            Some(seen) if !*seen => *seen = true,
            _ => return Err(input.invalid("slot number", id.into())),
        }
        ids.push(id);
    }
    Ok(ids)
}
