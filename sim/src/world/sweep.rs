//! The end of a world: nothing is left of it, and replicas are equal.

use worker::query::Summary;

use super::{LOOK_NS, SWEPT_NS, Verdict, World};
use crate::node::Run;

/// Confirmed segments of connections, at least, of which one tells of another configuration.
const ENOUGH_TO_SEE: u32 = 100;

impl World {
    /// Everything is done: nothing of it may be left, and replicas must be equal.
    pub(super) fn sweep(&mut self) -> Verdict {
        let end_ns = self.now_ns + SWEPT_NS;
        loop {
            self.run_until(self.now_ns + LOOK_NS)?;
            let looks = self.look()?;
            for (index, node) in self.nodes.iter().enumerate() {
                let sound = node.run.as_ref().map_or(Ok(()), Run::check);
                sound.map_err(|what| format!("node {index}: {what}"))?;
            }
            match self.leftover(&looks).or_else(|| self.difference(&looks)) {
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

    /// What is left on any machine, of nodes or of clients.
    fn leftover(&self, looks: &[(usize, Vec<Summary>)]) -> Option<String> {
        let dead = self.nodes.iter().filter(|node| node.run.is_none()).count();
        for (index, node) in self.nodes.iter().enumerate() {
            let summaries = looks.iter().find(|(looked, _)| *looked == index);
            let left = summaries.and_then(|(_, summaries)| unsent(summaries));
            let left = left.or_else(|| node.run.as_ref()?.leftover(dead));
            if let Some(left) = left {
                return Some(format!("node {index} still holds something: {left}"));
            }
        }
        let there = self.hosts.iter().enumerate().filter(|(index, _)| !self.gone[*index]);
        there.map(|(index, host)| (index, host.leftover())).find_map(|(index, left)| {
            left.map(|left| format!("client {index} still holds something: {left}"))
        })
    }

    pub(super) fn difference(&self, looks: &[(usize, Vec<Summary>)]) -> Option<String> {
        // Of all that would be in a snapshot.
        let digests = |node: usize| {
            let shards = self.nodes[node].run.iter().flat_map(Run::shards);
            let mut digests: Vec<_> =
                shards.map(|shard| (shard.index(), shard.full_digest())).collect();
            digests.sort_unstable();
            digests
        };
        let equal = looks.windows(2).all(|two| digests(two[0].0) == digests(two[1].0));
        let differ = self.plan.diverges.is_none() && !equal;
        differ.then(|| "the replicas differ at rest".to_owned())
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

    /// A backup with another configuration must have noticed, if it had enough to see: a digest
    /// tells of the batch before, and of the connections that are there.
    pub(super) fn divergence(&self) -> Verdict {
        let Some(what) = self.plan.diverges else { return Ok(()) };
        let lived = self.nodes.iter().all(|node| node.runs == 1 && node.run.is_some());
        if self.divergence_seen || !lived || self.checker.replicated < ENOUGH_TO_SEE {
            return Ok(());
        }
        Err(format!("the backup has another {what} and nobody noticed"))
    }
}

/// What a node's workers still hold although everything is over.
fn unsent(summaries: &[Summary]) -> Option<String> {
    summaries.iter().find_map(|summary| match (summary.gate_len, summary.unconfirmed_since_us) {
        (0, None) => None,
        (0, Some(_)) => Some("log that is not confirmed".to_owned()),
        (packets, _) => Some(format!("{packets} packets in its gate")),
    })
}
