//! When each step of a takeover happened.

use serde::{Deserialize, Serialize};

/// The steps of this node's last takeover, as microseconds of its own monotonic clock. A step
/// that has not happened yet is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// The epoch that the takeover created.
    pub epoch: u64,
    /// It was a switchover: the old primary gave the service away.
    pub planned: bool,
    /// The last heartbeat of the old primary, on any path.
    pub last_heartbeat_us: u64,
    /// All paths had been silent for too long, or the old primary's run was known to have ended.
    pub suspected_us: u64,
    /// The register accepted this node as primary.
    pub epoch_won_us: u64,
    /// The rest of the received log was applied.
    pub log_applied_us: Option<u64>,
    /// VIP and VMAC were announced.
    pub vip_claimed_us: Option<u64>,
    /// The first packet of the service left.
    pub first_packet_us: Option<u64>,
    /// The last of the packets that tell every client's connection of the takeover left.
    pub last_kick_us: Option<u64>,
}

impl Timeline {
    /// Each step with the microseconds since the last heartbeat, in the order of the takeover.
    #[must_use]
    pub fn steps(&self) -> [(&'static str, Option<u64>); 7] {
        let after = |at_us: u64| at_us.saturating_sub(self.last_heartbeat_us);
        [
            ("last heartbeat", Some(0)),
            ("suspicion", Some(after(self.suspected_us))),
            ("epoch won", Some(after(self.epoch_won_us))),
            ("log applied", self.log_applied_us.map(after)),
            ("VIP claimed", self.vip_claimed_us.map(after)),
            ("first packet out", self.first_packet_us.map(after)),
            ("last kick out", self.last_kick_us.map(after)),
        ]
    }

    /// Every step that will happen has happened.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.log_applied_us.is_some()
            && self.vip_claimed_us.is_some()
            && self.first_packet_us.is_some()
            && self.last_kick_us.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_count_from_the_last_heartbeat() {
        let timeline = Timeline {
            epoch: 2,
            planned: false,
            last_heartbeat_us: 1_000,
            suspected_us: 51_000,
            epoch_won_us: 51_010,
            log_applied_us: Some(51_400),
            vip_claimed_us: None,
            first_packet_us: None,
            last_kick_us: None,
        };
        let steps = timeline.steps().map(|(_, at)| at);
        assert_eq!(steps, [Some(0), Some(50_000), Some(50_010), Some(50_400), None, None, None]);
        assert!(!timeline.is_complete());
    }
}
