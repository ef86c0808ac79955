//! What a node's workers are made with.

use std::net::Ipv4Addr;
use std::sync::Arc;

use engine::config::Config as ShardConfig;
use engine::content::Content;
use engine::wire::ethernet::Mac;
use hw_profiles::Idle;
use replication::Incarnation;

/// UDP port of heartbeats and other messages of the control plane, on both ports.
pub const DEFAULT_CONTROL_PORT: u16 = 7400;

/// This node's place on one network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// The node's own address there.
    pub address: Ipv4Addr,
    /// Length of the subnet's prefix, 0 to 32.
    pub prefix_len: u8,
    /// Where packets for other subnets go. Without it they go back to the MAC that the remote
    /// was last heard from.
    pub gateway: Option<Ipv4Addr>,
    /// The other node's address there.
    pub peer: Ipv4Addr,
}

impl PortConfig {
    /// Whether `address` can be reached without a gateway.
    #[must_use]
    pub fn on_link(&self, address: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix_len.min(32))).unwrap_or(0);
        (self.address.to_bits() ^ address.to_bits()) & mask == 0
    }
}

/// What all workers of a node are made with.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// This run of the process.
    pub incarnation: Incarnation,
    /// The service's MAC address. It moves with the service.
    pub vmac: Mac,
    /// The service LAN.
    pub lan: PortConfig,
    /// The replication link.
    pub link: PortConfig,
    /// UDP port of the control plane; session channel `c` is at the link's port
    /// `control_port + 1 + c`.
    pub control_port: u16,
    /// Loop gap from which this node suspects itself.
    pub detection_timeout_us: u64,
    /// What a loop does when there is nothing to do.
    pub idle: Idle,
    /// What the shards are made with.
    pub shard: Arc<ShardConfig>,
    /// The files that services send.
    pub content: Arc<Content>,
    /// Bytes of received log that may wait to be applied, for each session channel.
    pub pending_log_bytes: usize,
    /// Frames that may wait in the gate, for each worker; raised to what a step needs. Each is a
    /// frame of the LAN port's pool.
    pub gate_frames: usize,
}

impl NodeConfig {
    /// Room for received log that keeps a fast primary from waiting for a slow backup.
    pub const DEFAULT_PENDING_LOG_BYTES: usize = 16 << 20;
    /// Frames of a few milliseconds at 10 Gbit/s.
    pub const DEFAULT_GATE_FRAMES: usize = 4096;

    /// Frames that wait in the gate at most.
    pub(crate) fn gate_packets(&self) -> usize {
        self.gate_frames.max(2 * self.shard.max_packets_per_step as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_decides_what_is_on_link() {
        let port = |prefix_len| PortConfig {
            address: Ipv4Addr::new(10, 77, 0, 1),
            prefix_len,
            gateway: None,
            peer: Ipv4Addr::new(10, 77, 0, 2),
        };
        assert!(port(24).on_link(Ipv4Addr::new(10, 77, 0, 200)));
        assert!(!port(24).on_link(Ipv4Addr::new(10, 77, 1, 200)));
        assert!(port(0).on_link(Ipv4Addr::new(192, 0, 2, 1)));
        assert!(!port(32).on_link(Ipv4Addr::new(10, 77, 0, 2)));
    }
}
