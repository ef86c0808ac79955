//! The service LAN fails at one node, while its link lives.

use std::sync::Arc;

use super::{Fault, Plan, Timed};
use crate::net::{Place, Way};
use crate::random::Random;
use crate::time::{MS, S};

/// In some worlds a node's line there is cut, one way or both, for longer than it takes to notice.
pub(super) fn add(plan: &mut Plan, random: &mut Random) {
    if !random.permille(250) {
        return;
    }
    let nodes = plan.machines.len() as u64;
    let span_ns = random.pick(&[30 * MS, 200 * MS, S, 3 * S]);
    for _ in 0..random.pick(&[1, 1, 2, 4]) {
        // The first primary, more often than not.
        let node = if random.permille(600) { 0 } else { random.below(nodes) as usize };
        let (at_ns, for_ns) = (random.below(span_ns), random.between(100, 4000) * MS);
        cut(plan, random, node, (at_ns, for_ns));
        // Now and then the next one follows, or the whole switch is dead.
        if random.permille(300) {
            let other = (node + 1) % plan.machines.len();
            let later_ns = random.magnitude(1, 2000) * MS;
            let later_ns = if random.permille(500) { later_ns } else { 0 };
            cut(plan, random, other, (at_ns + later_ns, for_ns));
        }
    }
    plan.faults.sort_by_key(|timed| timed.at_ns);
    let last_ns = plan.faults.last().map_or(0, |timed| timed.at_ns);
    plan.calm_ns = plan.calm_ns.max(last_ns + random.between(200, 5000) * MS);
}

/// Nothing fails but the LAN at `node`, while clients are at work.
pub(super) fn unplug(plan: &mut Plan, random: &mut Random, node: usize) {
    if plan.diverges.take().is_some() {
        plan.machines[1].shard = Arc::clone(&plan.machines[0].shard);
    }
    plan.faults.clear();
    let (at_ns, for_ns) = (random.between(30, 300) * MS, random.between(1000, 4000) * MS);
    cut(plan, random, node, (at_ns, for_ns));
    plan.calm_ns = at_ns + for_ns + S;
}

fn cut(plan: &mut Plan, random: &mut Random, node: usize, (at_ns, for_ns): (u64, u64)) {
    let ways: &[Way] = random.pick(&[&[Way::Out, Way::In], &[Way::Out], &[Way::In]]);
    plan.faults.extend(ways.iter().map(|way| {
        let line = (Place::Lan(node), *way);
        Timed { at_ns, fault: Fault::Cut { line, for_ns } }
    }));
}
