//! A shard from its snapshot, in portions: there may be many connections in it, and whoever
//! restores them has other things to do meanwhile.

use std::sync::Arc;

use super::save::VERSION;
use super::{ChallengeLimit, Refusal, Shard, Slot};
use crate::config::Config;
use crate::content::Content;
use crate::counters::Counters;
use crate::digest::Digest;
use crate::hash::flow_hash;
use crate::service::ServiceState;
use crate::snapshot::{Reader, Snapshot, SnapshotError};
use crate::tcp::save as connection;
use crate::tcp::tcb::Marks;
use crate::time::Instant;
use crate::timer::TimerWheel;

/// A shard of which a part is restored.
#[derive(Debug)]
pub struct Restoring {
    shard: Shard,
    digest: Digest,
    /// Slots that the snapshot has.
    slots: u32,
    /// Where the next of them begins.
    at: usize,
}

impl Restoring {
    /// Begins with what all connections share. Each call takes the same whole snapshot.
    ///
    /// # Errors
    /// Bytes that are no snapshot, or one that does not fit this configuration.
    pub fn begin(
        config: Arc<Config>,
        content: Arc<Content>,
        bytes: &[u8],
    ) -> Result<Restoring, SnapshotError> {
        let input = &mut Reader::new(bytes);
        input.version(VERSION)?;
        let index = input.u16("shard index")?;
        if index >= config.shards {
            return Err(input.invalid("shard index", index.into()));
        }
        let mut shard = Shard::new(index, config, content);
        shard.now = Instant::from_micros(input.u64("time")?);
        let digest = Digest::from_value(input.u64("digest")?);
        shard.shared.challenges = ChallengeLimit {
            second: input.u64("second of challenge ACKs")?,
            allowed: input.u32("challenge ACKs that may be sent")?,
            sent: input.u32("challenge ACKs")?,
            suspects: input.u32("suspicious segments")?,
        };
        let took_over_at = input.option_u64("time of a takeover")?;
        shard.shared.took_over_at = took_over_at.map(Instant::from_micros);
        shard.shared.counters = Counters::restore(input)?;
        let slots = input.u32("number of slots")?;
        if slots > shard.config.max_connections {
            return Err(SnapshotError::Capacity { what: "connections" });
        }
        Ok(Restoring { shard, digest, slots, at: input.position() })
    }

    /// Number of the shard.
    #[must_use]
    pub fn index(&self) -> u16 {
        self.shard.index
    }

    /// Restores up to `most` more connections; says whether there are others left.
    ///
    /// # Errors
    /// A connection that cannot be, or does not fit this configuration or content. The shard is of
    /// no use then.
    pub fn advance(&mut self, bytes: &[u8], most: u32) -> Result<bool, SnapshotError> {
        let input = &mut Reader::resume(bytes, self.at);
        let first = self.shard.slots.len() as u32;
        for id in first..self.slots.min(first.saturating_add(most)) {
            let slot =
                if input.bool("slot")? { Some(self.shard.restore_slot(id, input)?) } else { None };
            self.shard.slots.push(slot);
        }
        self.at = input.position();
        Ok((self.shard.slots.len() as u32) < self.slots)
    }

    /// The whole shard: its lists and timers, and the proof that all of it is sound.
    ///
    /// # Errors
    /// As for [`advance`](Self::advance).
    pub fn finish(mut self, bytes: &[u8]) -> Result<Shard, SnapshotError> {
        self.advance(bytes, u32::MAX)?;
        let Restoring { mut shard, digest, at, .. } = self;
        let input = &mut Reader::resume(bytes, at);
        shard.restore_queues(input)?;
        shard.kick.restore(shard.slots.len(), input)?;
        shard.wheel = TimerWheel::restore(shard.config.max_connections as usize, input)?;
        shard.shared.digest = digest;
        input.clone().finish()?;
        shard.check().map_err(|what| input.invalid(what, 0))?;
        Ok(shard)
    }
}

impl Shard {
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
        Restoring::begin(config, content, bytes)?.finish(bytes)
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
