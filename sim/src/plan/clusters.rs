//! Clusters of more than two nodes, and registers that bind.

use super::faults::{blow, restart, trouble};
use super::{Fault, MAX_NODES, Machine, NODES, Plan, Register, Timed};
use crate::net::{Place, Way, Weather};
use crate::node::fuse::Blow;
use crate::random::Random;
use crate::time::{MS, S, US};
use worker::Commit;

/// Some worlds have a register that binds; most of these more than two nodes, of which one more may
/// die at any time.
pub(super) fn add(plan: &mut Plan, random: &mut Random) {
    if plan.diverges.is_some() || !random.permille(250) {
        return;
    }
    plan.register = Register::Binding { delay_ns: random.magnitude(50, 5_000) * US };
    let nodes = random.pick(&[NODES, 3, 3, 3, MAX_NODES]);
    for index in NODES..nodes {
        let machine = machine(&plan.machines[0], index, random);
        plan.machines.push(machine);
        let link = Weather { delay_ns: random.magnitude(5, 300) * US, ..Weather::FAIR };
        plan.lines.push(((Place::Link(index), Way::Out), link));
        plan.lines.extend([Way::Out, Way::In].map(|way| ((Place::Lan(index), way), Weather::FAIR)));
    }
    let commit = Commit {
        confirm_every_bytes: random.magnitude(1_000, 1 << 20) as usize,
        confirm_delay_us: random.magnitude(1, 2_000),
        ..Commit::default()
    };
    for machine in &mut plan.machines {
        machine.cluster = nodes;
        machine.commit = commit;
    }
    faults(plan, random);
}

fn machine(like: &Machine, index: usize, random: &mut Random) -> Machine {
    Machine {
        index,
        workers: random.pick(&[1, 1, 2, 3]),
        loop_ns: random.magnitude(2, 60) * US,
        clock_ns: random.magnitude(S, 1 << 45),
        drift_ppm: random.between(0, 400) as i64 - 200,
        start_ns: random.below(100) * MS,
        ..like.clone()
    }
}

fn faults(plan: &mut Plan, random: &mut Random) {
    let nodes = plan.machines.len() as u64;
    let any_node = |random: &mut Random| random.below(nodes) as usize;
    let span_ns = random.pick(&[30 * MS, 200 * MS, S, 3 * S]);
    let mut faults = Vec::new();
    for _ in 0..random.pick(&[0, 0, 1, 2]) {
        let node = any_node(random);
        faults.push((random.below(span_ns), trouble(random, node)));
    }
    for _ in 0..random.pick(&[0, 0, 1, 2]) {
        let node = any_node(random);
        let for_ns = random.magnitude(1, 1500) * MS;
        let place = random.pick(&[Place::Link(node), Place::Lan(node)]);
        let fault = match random.below(3) {
            0 => Fault::Mute { node, for_ns },
            1 => Fault::Cut { line: (place, Way::Out), for_ns },
            _ => Fault::Loss { line: (place, Way::Out), permille: 50, for_ns },
        };
        faults.push((random.below(span_ns), fault));
    }
    // With more nodes more of them can die: one after the other, or almost at once.
    for _ in 0..random.pick(&[0, 1, 1, 2]).min(nodes - 2) {
        let (at_ns, node) = (random.below(span_ns), any_node(random));
        faults.push((at_ns, blow(random, node, Blow::Crash)));
        faults.extend(restart(random, node, at_ns));
    }
    plan.faults.extend(faults.into_iter().map(|(at_ns, fault)| Timed { at_ns, fault }));
    plan.faults.sort_by_key(|timed| timed.at_ns);
    let last_ns = plan.faults.last().map_or(0, |timed| timed.at_ns);
    plan.calm_ns = plan.calm_ns.max(last_ns + random.between(200, 2500) * MS);
}
