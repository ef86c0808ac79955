//! The shape of a profile.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything that differs from one kind of NIC to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The name by which a node's configuration asks for it.
    pub name: String,
    /// One line for `holdfast profiles`.
    pub description: String,
    /// Frames asked of the device at once, 1 to 64.
    pub burst_size: u16,
    pub eal: Eal,
    pub device: Device,
    pub queues: Queues,
    pub offloads: Offloads,
    pub mempool: Mempool,
    pub idle: Idle,
    pub timers: Timers,
}

/// How the environment abstraction layer is started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Eal {
    /// Further EAL arguments, passed on as they are.
    pub args: Vec<String>,
    /// Whether to use hugepages; without them the device must be one that needs no DMA.
    pub hugepages: bool,
    /// Memory that EAL takes at start, in MiB.
    pub memory_mib: u32,
}

/// How EAL comes by the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attach {
    /// A virtual device, made by an EAL argument.
    Vdev,
    /// A device on the PCI bus, named by its address (`0000:3b:00.0`).
    Pci,
}

/// The device and its driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    pub attach: Attach,
    /// DPDK's name of the driver, as the port reports it.
    pub driver: String,
    /// The device argument. `{index}` is the number of the port in the process, `{device}` what the
    /// node's configuration names, `{queues}` the number of queue pairs.
    pub template: String,
    /// The kernel driver that the device must be bound to; empty for none. `bifurcated` drivers
    /// keep the kernel's own.
    #[serde(default)]
    pub kernel_driver: String,
    /// Whether such a device gets what a network floods; a cloud's delivers by address alone.
    #[serde(default = "yes")]
    pub flooded: bool,
    /// For an MTU up to 1500.
    pub standard: Frames,
    /// For a larger MTU, if the driver carries one.
    pub jumbo: Option<Frames>,
}

fn yes() -> bool {
    true
}

/// What depends on the frame size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frames {
    /// The largest MTU that these settings carry, in bytes.
    pub mtu: u16,
    /// Bytes of an mbuf for data, headroom (128) included.
    pub data_room: u16,
    /// Further device options, appended to the template as `,key=value`.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// Queues and descriptors of a port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queues {
    /// The most queue pairs to ask for; one per worker is used.
    pub pairs: u16,
    /// Descriptors of each receive queue; adjusted to what the device can do.
    pub rx_descriptors: u16,
    /// Descriptors of each transmit queue; adjusted to what the device can do.
    pub tx_descriptors: u16,
}

/// Offloads to ask for. What the device lacks is done in software.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offloads {
    pub rx_checksum: bool,
    pub tx_ipv4_checksum: bool,
    pub tx_tcp_checksum: bool,
    pub tx_udp_checksum: bool,
    /// Spread received flows over the queues by the symmetric Toeplitz hash.
    pub rss: bool,
}

/// The mbufs of a port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mempool {
    /// Number of mbufs for each queue pair, descriptors not included.
    pub mbufs: u32,
    /// Mbufs that a thread keeps for itself, 0 to 512.
    pub cache: u32,
}

/// What a poll loop does when there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdleStrategy {
    /// Polls on; for a core that nobody else needs.
    Spin,
    /// Spins, then yields the core after each poll.
    Yield,
    /// Spins, then yields, then sleeps.
    Sleep,
}

/// When a poll loop gives way to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Idle {
    pub strategy: IdleStrategy,
    /// Empty polls before the first yield.
    pub spin_polls: u32,
    /// Polls with a yield each, before the first sleep.
    pub yield_polls: u32,
    /// Length of a sleep, in microseconds.
    pub sleep_us: u32,
    /// After a loop that received more than one frame, but no full burst: how long the next poll
    /// waits, in microseconds. For devices where each burst costs a system call and an interrupt
    /// at the other end: they get fewer and larger ones, and a single packet is not delayed.
    #[serde(default)]
    pub coalesce_us: u32,
}

/// Failover timers that the device's latency allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timers {
    /// Interval between heartbeats, in milliseconds.
    pub heartbeat_ms: u32,
    /// Silence after which a peer is suspected, in milliseconds.
    pub detection_timeout_ms: u32,
}

impl Device {
    /// The settings for a port of this MTU (bytes), or `None` if it is too large for the device.
    pub fn frames(&self, mtu: u16) -> Option<&Frames> {
        std::iter::once(&self.standard).chain(&self.jumbo).find(|frames| mtu <= frames.mtu)
    }

    /// The device argument for EAL (`--vdev` or `--allow`): the template filled in, then the
    /// options for the MTU. `None` if the MTU is too large.
    pub fn argument(&self, index: u16, device: &str, queues: u16, mtu: u16) -> Option<String> {
        let mut argument = self
            .template
            .replace("{index}", &index.to_string())
            .replace("{device}", device)
            .replace("{queues}", &queues.to_string());
        for (key, value) in &self.frames(mtu)?.options {
            argument.push_str(&format!(",{key}={value}"));
        }
        Some(argument)
    }
}
