//! What a node's workers are made with.

use std::sync::Arc;

use arrayvec::ArrayVec;
use engine::addr::Addr;
use engine::config::Config as ShardConfig;
use engine::content::Content;
use engine::wire::ethernet::Mac;
use hw_profiles::Idle;
use replication::{CommitRule, Incarnation, MAX_LINKS, MAX_PEERS, Protection};

/// UDP port of heartbeats and other messages of the control plane, on both ports.
pub const DEFAULT_CONTROL_PORT: u16 = 7400;

/// This node's place on one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// One for each IP version that the node speaks there.
    pub addresses: ArrayVec<AddressConfig, 2>,
    /// The other nodes' addresses there, in the order of [`PeerIndex`](replication::PeerIndex),
    /// each of a version that this node speaks, too.
    pub peers: ArrayVec<Addr, MAX_PEERS>,
}

/// An address of this node, and its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressConfig {
    /// The node's own address.
    pub address: Addr,
    /// Length of the network's prefix, 0 to 32 or 128.
    pub prefix_len: u8,
    /// Where packets for other networks go. Without it they are taken to be on the link, too.
    pub gateway: Option<Addr>,
}

impl PortConfig {
    /// A port of one IP version.
    ///
    /// # Panics
    /// When there are more than [`MAX_PEERS`] peers.
    #[must_use]
    pub fn new(
        address: AddressConfig,
        peers: impl IntoIterator<Item = impl Into<Addr>>,
    ) -> PortConfig {
        let peers = peers.into_iter().map(Into::into).collect();
        PortConfig { addresses: ArrayVec::from_iter([address]), peers }
    }

    /// Whether `address` is another node's.
    #[must_use]
    pub fn is_peer(&self, address: Addr) -> bool {
        self.peers.contains(&address)
    }

    /// This node's address among those of the same version as `address`.
    #[must_use]
    pub fn address_beside(&self, address: Addr) -> Option<&AddressConfig> {
        self.addresses.iter().find(|own| own.address.is_same_version(&address))
    }

    /// Whether `address` can be reached without a gateway.
    #[must_use]
    pub fn on_link(&self, address: Addr) -> bool {
        self.address_beside(address).is_some_and(|own| own.on_link(address))
    }

    /// The neighbour to which a packet for `destination` goes.
    #[must_use]
    pub fn next_hop(&self, destination: Addr) -> Addr {
        match self.address_beside(destination) {
            Some(own @ AddressConfig { gateway: Some(gateway), .. })
                if !own.on_link(destination) =>
            {
                *gateway
            }
            _ => destination,
        }
    }
}

impl AddressConfig {
    /// Whether `address`, of the same IP version, can be reached without a gateway.
    #[must_use]
    pub fn on_link(&self, address: Addr) -> bool {
        let bits = |addr: Addr| u128::from_be_bytes(addr.octets());
        let ipv4 = self.address.is_ipv4();
        let prefix_len = u32::from(self.prefix_len) + if ipv4 { MAPPED_PREFIX_LEN } else { 0 };
        let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix_len)).unwrap_or(0);
        (bits(self.address) ^ bits(address)) & mask == 0
            || address.as_ipv6().is_some_and(|v6| v6.is_unicast_link_local())
    }
}

/// Bits before an IPv4 address in its IPv4-mapped form.
const MAPPED_PREFIX_LEN: u32 = 96;

/// What all workers of a node are made with.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// This run of the process.
    pub incarnation: Incarnation,
    /// The service's MAC address. It moves with the service.
    pub vmac: Mac,
    /// How what clients send gets to the node that serves.
    pub ingress: Ingress,
    /// The service LAN.
    pub lan: PortConfig,
    /// The replication links, at least one.
    pub links: ArrayVec<PortConfig, MAX_LINKS>,
    /// UDP port of the control plane; session channel `c` is at the links' port
    /// `control_port + 1 + c`.
    pub control_port: u16,
    /// What lets a packet leave, and how the log is confirmed.
    pub commit: Commit,
    /// How the log is protected on the link, until other keys are given.
    pub protection: Protection,
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
    /// Bytes a second that each worker may hand over to a node that joins.
    pub handover_bytes_per_second: u64,
    /// Frames that may wait in the gate, for each worker; raised to what a step needs. Each is a
    /// frame of the LAN port's pool.
    pub gate_frames: usize,
}

/// What lets a packet leave, and when the nodes that hold the log say so: at once when they are idle,
/// and while they are busy at the latest at one of these limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Whose confirmation a packet waits for.
    pub rule: CommitRule,
    /// So many bytes of the log are not confirmed.
    pub confirm_every_bytes: usize,
    /// The oldest of them came in so long ago, in microseconds.
    pub confirm_delay_us: u64,
}

impl Default for Commit {
    fn default() -> Commit {
        Commit { rule: CommitRule::Swmu, confirm_every_bytes: 64 << 10, confirm_delay_us: 200 }
    }
}

/// How what clients send gets to the node that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingress {
    /// The switch learns from what is sent from the service's MAC address where that is.
    Switch,
    /// The switch floods: nothing is ever sent from the service's MAC address, or it is a group's.
    /// So both nodes hear the clients, and who does not serve keeps what it hears for a while.
    Flood(Keep),
}

/// How much of what it hears a node keeps while it does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Each frame for so long, in microseconds: longer than a takeover takes.
    pub for_us: u64,
    /// So many frames at most, for each worker. They are frames of the LAN port's pool.
    pub frames: usize,
}

impl Ingress {
    /// What a node keeps.
    #[must_use]
    pub fn keep(self) -> Option<Keep> {
        match self {
            Ingress::Switch => None,
            Ingress::Flood(keep) => Some(keep),
        }
    }
}

impl NodeConfig {
    /// Room for received log that keeps a fast primary from waiting for a slow backup.
    pub const DEFAULT_PENDING_LOG_BYTES: usize = 16 << 20;
    /// 800 Mbit/s: takes 4 s for a million idle connections.
    pub const DEFAULT_HANDOVER_BYTES_PER_SECOND: u64 = 100 << 20;
    /// Frames of a few milliseconds at 10 Gbit/s.
    pub const DEFAULT_GATE_FRAMES: usize = 4096;

    /// Whether packets of any service wait for a majority.
    pub(crate) fn waits_for_majority(&self) -> bool {
        let quorum = engine::config::Commit::Quorum;
        self.shard.services.iter().any(|service| service.commit == quorum)
    }

    /// Frames that wait in the gate at most.
    pub(crate) fn gate_packets(&self) -> usize {
        self.gate_frames.max(2 * self.shard.max_packets_per_step as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Addr {
        text.parse().unwrap()
    }

    fn own(address: &str, prefix_len: u8, gateway: Option<&str>) -> AddressConfig {
        AddressConfig { address: addr(address), prefix_len, gateway: gateway.map(addr) }
    }

    #[test]
    fn prefix_decides_what_is_on_link() {
        let on_link = |prefix_len, other| own("10.77.0.1", prefix_len, None).on_link(addr(other));
        assert!(on_link(24, "10.77.0.200"));
        assert!(!on_link(24, "10.77.1.200"));
        assert!(on_link(0, "192.0.2.1"));
        assert!(!on_link(32, "10.77.0.2"));
        let on_link = |prefix_len, other| own("fd77::1", prefix_len, None).on_link(addr(other));
        assert!(on_link(64, "fd77::9:9"));
        assert!(!on_link(64, "fd77:0:0:1::9"));
        assert!(on_link(0, "2001:db8::1"));
        assert!(!on_link(128, "fd77::2"));
        assert!(on_link(128, "fe80::1"), "link-local addresses always are");
    }

    #[test]
    fn each_version_has_its_own_next_hop() {
        let mut net =
            PortConfig::new(own("10.77.0.1", 24, Some("10.77.0.254")), [addr("10.77.0.2")]);
        net.addresses.push(own("fd77::1", 64, Some("fe80::254")));
        for (destination, hop) in [
            ("10.77.0.9", "10.77.0.9"),
            ("192.0.2.9", "10.77.0.254"),
            ("fd77::9", "fd77::9"),
            ("2001:db8::9", "fe80::254"),
            ("fe80::9", "fe80::9"),
        ] {
            assert_eq!(net.next_hop(addr(destination)), addr(hop), "{destination}");
        }
        net.addresses.iter_mut().for_each(|own| own.gateway = None);
        assert_eq!(net.next_hop(addr("192.0.2.9")), addr("192.0.2.9"));
    }
}
