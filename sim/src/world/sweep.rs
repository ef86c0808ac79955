//! The end of a world: nothing is left of it, and replicas are equal.

use worker::query::Summary;

use super::{LOOK_NS, SWEPT_NS, Verdict, World};

/// Confirmed segments of connections, at least, of which one tells of another configuration.
const ENOUGH_TO_SEE: u32 = 100;

impl World {
    /// Everything is done: nothing of it may be left, and replicas must be equal.
    pub(super) fn sweep(&mut self) -> Verdict {
        let end_ns = self.now_ns + SWEPT_NS;
        loop {
            self.run_until(self.now_ns + LOOK_NS)?;
            let looks = self.look()?;
            let left = looks.iter().find_map(|(index, look)| leftover(*index, look));
            let differ = self.difference(&looks);
            match left.or(differ) {
                None => {
                    self.note_summaries(&looks);
                    return self.divergence();
                }
                Some(what) if self.now_ns > end_ns => return Err(what),
                Some(_) => {}
            }
        }
    }

    /// Asks the nodes that hold the state how they fare.
    pub(super) fn look(&mut self) -> Result<Vec<(usize, Vec<Summary>)>, String> {
        let mut looks = Vec::new();
        for index in 0..self.nodes.len() {
            let Some(run) = self.nodes[index].run.as_mut().filter(|run| run.holds_state()) else {
                continue;
            };
            let (summaries, outcomes) = run.summaries(self.now_ns, index);
            for outcome in outcomes {
                self.take_outcome(index, outcome)?;
            }
            looks.push((index, summaries));
        }
        Ok(looks)
    }

    pub(super) fn difference(&self, looks: &[(usize, Vec<Summary>)]) -> Option<String> {
        let [(_, first), (_, second)] = looks else { return None };
        let digests = |summaries: &[Summary]| {
            let shards = summaries.iter().flat_map(|summary| &summary.shards);
            let mut digests: Vec<_> = shards.map(|shard| (shard.index, shard.digest)).collect();
            digests.sort_unstable();
            digests
        };
        let differ = self.plan.diverges.is_none() && digests(first) != digests(second);
        differ.then(|| "the replicas' digests differ at rest".to_owned())
    }

    pub(super) fn note_summaries(&mut self, looks: &[(usize, Vec<Summary>)]) {
        for summary in looks.iter().flat_map(|(_, summaries)| summaries) {
            for (name, count) in summary.counters.iter() {
                self.coverage.add("workers count", name, count);
            }
            for shard in &summary.shards {
                for (name, count) in shard.counters.iter() {
                    self.coverage.add("shards count", name, count);
                }
            }
        }
    }

    /// A backup with another configuration must have noticed, if it had enough to see: a digest tells
    /// of the batch before, and of the connections that are there.
    pub(super) fn divergence(&self) -> Verdict {
        let Some(what) = self.plan.diverges else { return Ok(()) };
        let lived = self.nodes.iter().all(|node| node.runs == 1 && node.run.is_some());
        if self.divergence_seen || !lived || self.checker.replicated < ENOUGH_TO_SEE {
            return Ok(());
        }
        Err(format!("the backup has another {what} and nobody noticed"))
    }
}

/// What a node still holds although everything is over.
fn leftover(index: usize, summaries: &[Summary]) -> Option<String> {
    for summary in summaries {
        for shard in &summary.shards {
            let memory = &shard.memory;
            let used = (memory.connections, memory.half_open, memory.pool_used, memory.sent_used);
            if used != (0, 0, 0, 0) {
                return Some(format!("node {index} still holds something: {memory:?}"));
            }
        }
        if summary.gate_len > 0 {
            return Some(format!(
                "node {index} still has {} packets in its gate",
                summary.gate_len
            ));
        }
    }
    None
}
