//! What people do: a node that comes back is told the wrong thing, and then the right one. And clocks
//! that leap.

use super::faults::blow;
use super::{Fault, Plan, Timed};
use crate::node::fuse::Blow;
use crate::random::Random;
use crate::time::{MS, S};

/// What a node is told that it should not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Another shared key.
    Key,
    /// A configuration that is not the others'.
    Configuration,
    /// Other files to serve.
    Content,
}

const ALL: [Mistake; 3] = [Mistake::Key, Mistake::Configuration, Mistake::Content];

/// Some worlds have one or the other.
pub(super) fn add(plan: &mut Plan, random: &mut Random) {
    if plan.diverges.is_some() {
        return;
    }
    let node = random.below(plan.machines.len() as u64) as usize;
    let span_ns = random.pick(&[30 * MS, 200 * MS, S]);
    let at_ns = random.below(span_ns);
    let (wrong, leaps) = (random.permille(100), random.permille(100));
    if !wrong && !leaps {
        return;
    }
    if wrong {
        leave_wrong(plan, random, node, at_ns);
    }
    if leaps {
        let fault = Fault::Leap { node, by_ns: random.magnitude(1, 1000) * MS };
        plan.faults.push(Timed { at_ns, fault });
    }
    plan.faults.sort_by_key(|timed| timed.at_ns);
    let last_ns = plan.faults.last().map_or(0, |timed| timed.at_ns);
    plan.calm_ns = plan.calm_ns.max(last_ns + random.between(200, 2500) * MS);
}

/// A node dies, and is started with a mistake. Nobody else may die meanwhile, since it holds nothing.
fn leave_wrong(plan: &mut Plan, random: &mut Random, node: usize, at_ns: u64) {
    let kills = |timed: &Timed| matches!(timed.fault, Fault::Blow { blow: Blow::Crash, .. });
    plan.faults.retain(|timed| !kills(timed));
    plan.faults.push(Timed { at_ns, fault: blow(random, node, Blow::Crash) });
    let at_ns = at_ns + random.magnitude(10, 1000) * MS;
    let for_ns = random.magnitude(10, 2000) * MS;
    let fault = Fault::Mistake { node, mistake: random.pick(&ALL), for_ns };
    plan.faults.push(Timed { at_ns, fault });
}
