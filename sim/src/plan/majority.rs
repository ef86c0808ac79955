//! Services whose packets leave as soon as a majority holds what they depend on (commit rule
//! quorum).

use std::sync::Arc;

use engine::config::Commit;

use super::faults::{blow, restart};
use super::{Fault, NODES, Plan, Register, Timed};
use crate::net::{Place, Way};
use crate::node::fuse::Blow;
use crate::random::Random;
use crate::time::{MS, S, US};

/// In most worlds where it differs from another rule most services have it.
pub(super) fn add(plan: &mut Plan, random: &mut Random) {
    let binds = plan.register != Register::Pair;
    if !binds || plan.machines.len() == NODES || !random.permille(800) {
        return;
    }
    let mut config = (*plan.machines[0].shard).clone();
    for service in &mut config.services {
        if random.permille(800) {
            service.commit = Commit::Quorum;
        }
    }
    let config = Arc::new(config);
    for machine in &mut plan.machines {
        machine.shard = Arc::clone(&config);
        machine.member.by_majority = true;
    }
    for _ in 0..random.pick(&[0, 1, 1, 2]) {
        apart(plan, random);
    }
    if random.permille(800) {
        ahead(plan, random);
    }
}

/// Soon after the beginning the first primary dies, when one backup has not heard of it for a while
/// and the others have.
fn ahead(plan: &mut Plan, random: &mut Random) {
    let node = 1 + random.below(plan.machines.len() as u64 - 1) as usize;
    let span_ns = random.pick(&[60 * MS, 400 * MS]);
    let at_ns = random.below(span_ns);
    let for_ns = random.between(5, 40) * MS;
    let deaf = Fault::Deaf { node, to: 0, for_ns: for_ns + 30 * MS };
    let died_ns = at_ns + for_ns;
    let mut faults = vec![(at_ns, deaf), (died_ns, blow(random, 0, Blow::Crash))];
    faults.extend(restart(random, 0, died_ns));
    add_faults(plan, random, faults);
}

/// The backups do not receive the same, one of them confirms late, and then the primary may die.
fn apart(plan: &mut Plan, random: &mut Random) {
    let nodes = plan.machines.len() as u64;
    let primary = random.below(NODES as u64) as usize;
    let late = random.below(nodes) as usize;
    let span_ns = random.pick(&[30 * MS, 200 * MS, S]);
    let at_ns = random.below(span_ns);
    let for_ns = random.between(1, 60) * MS;
    let link = |node| (Place::Link(node), Way::Out);
    let permille = random.pick(&[50, 200, 400]) as u32;
    let mut faults =
        vec![(at_ns, Fault::Loss { line: link(primary), permille, for_ns: 2 * for_ns })];
    if late != primary {
        faults.push((
            at_ns,
            Fault::Throttle {
                line: link(late),
                bits_per_s: 1 << 30,
                delay_ns: random.magnitude(100, 30_000) * US,
                jitter_ns: random.magnitude(1, 5_000) * US,
                for_ns: 2 * for_ns,
            },
        ));
    }
    if random.permille(700) {
        faults.push((at_ns + for_ns, blow(random, primary, Blow::Crash)));
        faults.extend(restart(random, primary, at_ns + for_ns));
    }
    add_faults(plan, random, faults);
}

fn add_faults(plan: &mut Plan, random: &mut Random, faults: Vec<(u64, Fault)>) {
    plan.faults.extend(faults.into_iter().map(|(at_ns, fault)| Timed { at_ns, fault }));
    plan.faults.sort_by_key(|timed| timed.at_ns);
    let last_ns = plan.faults.last().map_or(0, |timed| timed.at_ns);
    plan.calm_ns = plan.calm_ns.max(last_ns + random.between(200, 2500) * MS);
}
