//! A second replication link, and what becomes of either.

use std::sync::Arc;

use replication::Link;

use super::{Fault, Plan, Timed};
use crate::net::{Place, Way, Weather};
use crate::random::Random;
use crate::time::{MS, S, US};

/// Some worlds have two links.
pub(super) fn add(plan: &mut Plan, random: &mut Random) {
    if !random.permille(300) {
        return;
    }
    lay(plan, random);
    let span_ns = random.pick(&[30 * MS, 200 * MS, S, 3 * S]);
    for _ in 0..random.pick(&[0, 1, 1, 2, 4]) {
        let (at_ns, link) = (random.below(span_ns), random.pick(&Link::ALL));
        let for_ns = random.magnitude(1, 1500) * MS;
        cut(plan, random, (at_ns, for_ns), link);
        // Now and then both at once, or almost.
        if random.permille(200) {
            let at_ns = at_ns + random.magnitude(1, 60) * MS;
            cut(plan, random, (at_ns, for_ns), link.other());
        }
    }
    if random.permille(300) {
        let node = random.below(plan.machines.len() as u64) as usize;
        let line = (Place::of_link(random.pick(&Link::ALL), node), Way::Out);
        let permille = random.pick(&[10, 50, 300]);
        let fault = Fault::Loss { line, permille, for_ns: random.magnitude(10, 2000) * MS };
        plan.faults.push(Timed { at_ns: random.below(span_ns), fault });
    }
    settle(plan, random);
}

/// Nothing fails but links, one at a time, and the other one is well for long enough in between.
pub(super) fn spare(plan: &mut Plan, random: &mut Random) {
    if plan.diverges.take().is_some() {
        plan.machines[1].shard = Arc::clone(&plan.machines[0].shard);
    }
    plan.faults.clear();
    lay(plan, random);
    let mut at_ns = random.below(30 * MS);
    for _ in 0..random.between(1, 6) {
        let for_ns = random.magnitude(1, 300) * MS;
        let link = random.pick(&Link::ALL);
        cut(plan, random, (at_ns, for_ns), link);
        at_ns += for_ns + random.between(100, 200) * MS;
    }
    plan.calm_ns = at_ns;
    settle(plan, random);
}

fn lay(plan: &mut Plan, random: &mut Random) {
    for index in 0..plan.machines.len() {
        plan.machines[index].member.links = 2;
        let link = Weather { delay_ns: random.magnitude(5, 300) * US, ..Weather::FAIR };
        plan.lines.push(((Place::SecondLink(index), Way::Out), link));
    }
}

/// One way, or all ways.
fn cut(plan: &mut Plan, random: &mut Random, (at_ns, for_ns): (u64, u64), link: Link) {
    let nodes = plan.machines.len();
    let one = random.below(nodes as u64) as usize;
    let cut = if random.permille(400) { one..one + 1 } else { 0..nodes };
    plan.faults.extend(cut.map(|node| {
        let line = (Place::of_link(link, node), Way::Out);
        Timed { at_ns, fault: Fault::Cut { line, for_ns } }
    }));
}

fn settle(plan: &mut Plan, random: &mut Random) {
    plan.faults.sort_by_key(|timed| timed.at_ns);
    let last_ns = plan.faults.last().map_or(0, |timed| timed.at_ns);
    plan.calm_ns = plan.calm_ns.max(last_ns + random.between(200, 2500) * MS);
}
