//! Services whose payload leaves before the log is safe (commit rule SWFR).

use std::sync::Arc;

use engine::config::Commit;

use super::faults::{blow, restart};
use super::{Fault, Plan, Timed};
use crate::net::{Place, Way};
use crate::node::fuse::Blow;
use crate::random::Random;
use crate::time::{MS, S};

/// In some worlds most services have the rule.
pub(super) fn add(plan: &mut Plan, random: &mut Random) {
    if plan.diverges.is_some() || !random.permille(250) {
        return;
    }
    let mut config = (*plan.machines[0].shard).clone();
    for service in &mut config.services {
        if random.permille(800) {
            service.commit = Commit::Swfr;
        }
    }
    let config = Arc::new(config);
    plan.machines.iter_mut().for_each(|machine| machine.shard = Arc::clone(&config));
    if random.permille(700) {
        lead(plan, random);
    }
}

/// A node dies whose log has not been heard for a moment, while its clients have heard of it.
fn lead(plan: &mut Plan, random: &mut Random) {
    let node = random.below(2) as usize;
    let span_ns = random.pick(&[30 * MS, 200 * MS, S]);
    let at_ns = random.below(span_ns);
    let for_ns = random.between(1, 40) * MS;
    let cut = Fault::Cut { line: (Place::Link(node), Way::Out), for_ns: for_ns + MS };
    plan.faults.push(Timed { at_ns, fault: cut });
    let at_ns = at_ns + for_ns;
    plan.faults.push(Timed { at_ns, fault: blow(random, node, Blow::Crash) });
    let again = restart(random, node, at_ns).map(|(at_ns, fault)| Timed { at_ns, fault });
    plan.faults.extend(again);
    plan.faults.sort_by_key(|timed| timed.at_ns);
    let last_ns = plan.faults.last().map_or(0, |timed| timed.at_ns);
    plan.calm_ns = plan.calm_ns.max(last_ns + random.between(200, 2500) * MS);
}
