//! A backup whose configuration is another one than its primary's.

use std::sync::Arc;

use engine::config::Config;

use super::{NODES, Plan};
use crate::random::Random;
use crate::time::MS;

/// Some pairs have nothing else wrong: both nodes live for as long as it takes to notice.
pub(super) fn add(plan: &mut Plan, random: &mut Random) {
    let is_plain = plan.machines.len() == NODES
        && plan.early_ports().next().is_none()
        && plan.majority_ports().next().is_none();
    if !is_plain || !random.permille(50) {
        return;
    }
    plan.machines[1].shard = Arc::clone(&plan.machines[0].shard);
    plan.diverges = Some(diverge(random, &mut plan.machines[1].shard));
    plan.faults.clear();
    plan.calm_ns = random.between(200, 2500) * MS;
}

/// One number of the backup's configuration is another, which no manifest tells. Whatever it is,
/// it changes what a connection remembers long before it changes a packet.
pub(super) fn diverge(random: &mut Random, shard: &mut Arc<Config>) -> &'static str {
    let config = Arc::make_mut(shard);
    match random.below(3) {
        0 => {
            config.tcp.initial_cwnd += 1;
            "initial_cwnd"
        }
        1 => {
            config.services.iter_mut().for_each(|service| {
                service.keepalive.iter_mut().for_each(|keepalive| keepalive.idle_us += 1);
            });
            "keepalive"
        }
        _ => {
            config.isn_key[3] ^= 1;
            "isn_key"
        }
    }
}
