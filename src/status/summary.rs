//! What `--json` prints: the questions that scripts ask at the top, everything below `details`.

use controlplane::{
    Timeline,
    admin::{MemoryStatus, Status},
    status::{Gate, PeerStatus, Standing},
};
use serde::Serialize;

/// A node in short.
#[derive(Debug, Serialize)]
pub struct Summary<'a> {
    node: &'a str,
    role: Standing,
    /// What the node waits for, or why it is spare.
    reason: Option<&'a str>,
    /// It owns the service addresses and answers clients.
    serving: bool,
    /// Primary and backup hold the same state.
    in_sync: bool,
    epoch: u64,
    /// An operator took this node out of the pair.
    drained: bool,
    gate: Option<Gate>,
    peers: &'a [PeerStatus],
    connections: u64,
    memory: MemoryStatus,
    /// This node's last takeover: steps in microseconds after the last heartbeat.
    takeover: Option<Takeover>,
    details: &'a Status,
}

#[derive(Debug, Serialize)]
struct Takeover {
    epoch: u64,
    /// It was a switchover.
    planned: bool,
    suspicion_us: Option<u64>,
    epoch_won_us: Option<u64>,
    log_applied_us: Option<u64>,
    vip_claimed_us: Option<u64>,
    first_packet_us: Option<u64>,
    last_kick_us: Option<u64>,
}

impl<'a> Summary<'a> {
    pub fn of(status: &'a Status) -> Self {
        let member = &status.member;
        Self {
            node: &member.node,
            role: member.standing,
            reason: member.reason.as_deref(),
            serving: is_serving(status),
            in_sync: member.pair_in_sync,
            epoch: member.epoch,
            drained: member.drained,
            gate: member.gate,
            peers: &member.peers,
            connections: status.connections.open,
            memory: status.memory,
            takeover: member.takeover.as_ref().map(Takeover::of),
            details: status,
        }
    }
}

impl Takeover {
    fn of(timeline: &Timeline) -> Self {
        let [_, suspicion, epoch_won, log_applied, vip_claimed, first_packet, last_kick] =
            timeline.steps().map(|(_, after_us)| after_us);
        Self {
            epoch: timeline.epoch,
            planned: timeline.planned,
            suspicion_us: suspicion,
            epoch_won_us: epoch_won,
            log_applied_us: log_applied,
            vip_claimed_us: vip_claimed,
            first_packet_us: first_packet,
            last_kick_us: last_kick,
        }
    }
}

/// Whether the node owns the service addresses.
pub fn is_serving(status: &Status) -> bool {
    !status.vips.is_empty() && status.vips.iter().all(|vip| vip.owned)
}
