//! Snapshots: a shard as bytes. [`Restoring`](super::restore::Restoring) reads them.

use super::Shard;
use crate::snapshot::{Snapshot, Writer};
use crate::tcp::save as connection;
use crate::time::Instant;

/// Version of the format; another one is refused.
pub const VERSION: u16 = 7;

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
        out.option_u64(self.shared.took_over_at.map(Instant::as_micros));
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
}

fn save_ids<'a>(ids: impl ExactSizeIterator<Item = &'a u32>, out: &mut Writer<'_>) {
    out.u32(ids.len() as u32);
    ids.for_each(|id| out.u32(*id));
}
