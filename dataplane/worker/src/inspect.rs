//! What a worker holds, for whoever runs its loop himself and looks at it in between.

use engine::shard::Shard;
use replication::Tail;

use crate::backup::{Fault, apply_log};
use crate::counters::Counters;
use crate::nic::Nic;
use crate::poll::Worker;
use crate::shards::Shards;
use crate::steward::Steward;

impl<N: Nic, S: Steward> Worker<N, S> {
    /// Its shards.
    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.slots.iter().map(|slot| &slot.shard)
    }

    /// Bytes of received log that wait to be applied.
    #[must_use]
    pub fn pending_log_bytes(&self) -> usize {
        self.channels.iter().map(|channel| channel.log.len()).sum()
    }

    /// Frames of clients that it keeps, because another node serves.
    #[must_use]
    pub fn kept_frames(&self) -> usize {
        self.kept.len()
    }

    /// Copies of its shards as a takeover at this moment would make them: all that was received is
    /// applied. None if the log cannot be followed. Slow.
    #[must_use]
    pub fn foresee(&self) -> Option<Vec<Shard>> {
        let (config, content) = (&self.node.shard, &self.node.content);
        let mut copies: Shards<N::Frame> = Shards::none(config.shards);
        for slot in &self.shards.slots {
            let mut bytes = Vec::new();
            slot.shard.save(&mut bytes);
            let copy = Shard::restore(config.clone(), content.clone(), &bytes).ok()?;
            copies.insert(copy, config);
        }
        self.apply_to(&mut copies).ok()?;
        Some(copies.slots.into_iter().map(|slot| slot.shard).collect())
    }

    fn apply_to(&self, copies: &mut Shards<N::Frame>) -> Result<(), Fault> {
        let mut counters = Counters::default();
        for channel in self.channels.iter().filter(|channel| channel.exchange.is_none()) {
            let (mut log, mut tail) = (channel.log.clone(), Tail::none());
            apply_log(&mut log, &mut tail, copies, u64::MAX, &mut counters)?;
        }
        Ok(())
    }
}
