//! What is asked of a port, and what the device can give.

use dpdk_sys as sys;

use super::{ENOTSUP, OpenPort, try_step};
use crate::error::PortError;
use crate::mempool::{Mempool, MempoolConfig};

/// How a port is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortConfig {
    /// The device argument: a virtual device with its options (`net_tap0,iface=hf0`), or the
    /// address of a PCI device that EAL was told to use.
    pub device: String,
    /// Queue pairs; one user each.
    pub queues: u16,
    /// Descriptors of a receive queue; brought within the device's limits.
    pub rx_descriptors: u16,
    /// Descriptors of a transmit queue; brought within the device's limits.
    pub tx_descriptors: u16,
    /// Offloads to use where the device has them.
    pub offloads: Offloads,
    /// The hash key for spreading flows, repeated to the length that the device wants. Without a
    /// key flows are not spread.
    pub rss_key: Option<[u8; 40]>,
    /// Largest payload of a frame, in bytes: 68 to 9000 or what the device has.
    pub mtu: u16,
    /// Whether the device's word on its largest MTU counts. Virtual devices name the standard one
    /// whatever their buffers hold; they carry more all the same, once the kernel's interface (if
    /// there is one) was given that MTU by `ip link set`.
    pub device_limits_mtu: bool,
    pub promiscuous: bool,
    pub all_multicast: bool,
}

/// Work that a device does for frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offloads {
    /// Checks IPv4, TCP and UDP checksums of received frames.
    pub rx_checksum: bool,
    pub tx_ipv4_checksum: bool,
    pub tx_tcp_checksum: bool,
    pub tx_udp_checksum: bool,
    /// Spreads received flows over the queues with the configured key.
    pub rss: bool,
}

impl Offloads {
    pub(super) fn any_tx(&self) -> bool {
        self.tx_ipv4_checksum || self.tx_tcp_checksum || self.tx_udp_checksum
    }
}

impl PortConfig {
    /// A port of a profile: the `index`th of the process, on what the configuration calls `device`.
    /// `None` if the profile's device does not carry that MTU.
    pub fn from_profile(
        profile: &hw_profiles::Profile,
        index: u16,
        device: &str,
        queues: u16,
        mtu: u16,
    ) -> Option<Self> {
        let queues = queues.clamp(1, profile.queues.pairs);
        Some(Self {
            device: profile.device.argument(index, device, queues, mtu)?,
            queues,
            rx_descriptors: profile.queues.rx_descriptors,
            tx_descriptors: profile.queues.tx_descriptors,
            offloads: Offloads {
                rx_checksum: profile.offloads.rx_checksum,
                tx_ipv4_checksum: profile.offloads.tx_ipv4_checksum,
                tx_tcp_checksum: profile.offloads.tx_tcp_checksum,
                tx_udp_checksum: profile.offloads.tx_udp_checksum,
                rss: profile.offloads.rss,
            },
            rss_key: None,
            mtu,
            device_limits_mtu: profile.device.attach == hw_profiles::Attach::Pci,
            promiscuous: false,
            all_multicast: true,
        })
    }

    /// A pool for this port by its profile: what the queues hold, and the profile's share for each.
    /// `None` if the profile's device does not carry the MTU.
    pub fn mempool(&self, profile: &hw_profiles::Profile) -> Option<MempoolConfig> {
        let descriptors = u32::from(self.rx_descriptors) + u32::from(self.tx_descriptors);
        Some(MempoolConfig {
            mbufs: u32::from(self.queues) * (descriptors + profile.mempool.mbufs) - 1,
            cache: profile.mempool.cache,
            data_room: profile.device.frames(self.mtu)?.data_room,
        })
    }

    /// The device's name: the argument without its options.
    pub(super) fn name(&self) -> &str {
        self.device.split(',').next().unwrap_or(&self.device)
    }

    pub(super) fn option(&self, key: &str) -> Option<&str> {
        self.device
            .split(',')
            .skip(1)
            .find_map(|option| option.strip_prefix(key)?.strip_prefix('='))
    }
}

/// Sets the port and its queues up. Gives the offloads and the MTU in force.
pub(super) fn configure(
    open: &OpenPort,
    info: &sys::rte_eth_dev_info,
    config: &PortConfig,
    pool: &Mempool,
) -> Result<(Offloads, u16), PortError> {
    let device = config.name();
    let max_queues = info.max_rx_queues.min(info.max_tx_queues);
    if config.queues == 0 || config.queues > max_queues {
        let (device, asked) = (device.to_owned(), config.queues);
        return Err(PortError::TooFewQueues { device, asked, max: max_queues });
    }

    let max_mtu = max_mtu(info);
    if config.device_limits_mtu && u32::from(config.mtu) > max_mtu {
        let (device, mtu) = (device.to_owned(), config.mtu);
        return Err(PortError::MtuTooLarge { device, mtu, max: max_mtu });
    }

    let (offloads, rx, tx) = mask(info, config);
    let mut key = rss_key(info, config);
    let mut conf = sys::rte_eth_conf::default();
    conf.rxmode.offloads = rx;
    conf.txmode.offloads = tx;
    conf.rxmode.mtu = u32::from(config.mtu).min(max_mtu);
    if offloads.rss {
        conf.rxmode.mq_mode = sys::RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_key = key.as_mut_ptr();
        conf.rx_adv_conf.rss_conf.rss_key_len = key.len() as u8;
        conf.rx_adv_conf.rss_conf.rss_hf = rss_types(info);
    }
    // SAFETY: the port is attached and stopped; the configuration and its key outlive the call,
    // which copies them.
    try_step(device, "configuration", || unsafe {
        sys::rte_eth_dev_configure(open.id, config.queues, config.queues, &conf)
    })?;
    if u32::from(config.mtu) <= max_mtu {
        set_mtu(open, config)?;
    }
    set_up_queues(open, config, pool)?;
    Ok((offloads, config.mtu))
}

fn set_up_queues(open: &OpenPort, config: &PortConfig, pool: &Mempool) -> Result<(), PortError> {
    let (device, id) = (config.name(), open.id);
    let (mut rx, mut tx) = (config.rx_descriptors, config.tx_descriptors);
    // SAFETY: the port is configured; the numbers are ours to write.
    try_step(device, "choosing the descriptor counts", || unsafe {
        sys::rte_eth_dev_adjust_nb_rx_tx_desc(id, &mut rx, &mut tx)
    })?;
    // SAFETY: no preconditions; a negative answer means "any".
    let socket = unsafe { sys::rte_eth_dev_socket_id(id) } as u32;
    for queue in 0..config.queues {
        // SAFETY: the port is configured with this many queues, no queue configuration means the
        // driver's own, and the pool lives for the process.
        try_step(device, "receive queue setup", || unsafe {
            sys::rte_eth_rx_queue_setup(id, queue, rx, socket, std::ptr::null(), pool.as_ptr())
        })?;
        // SAFETY: as above.
        try_step(device, "transmit queue setup", || unsafe {
            sys::rte_eth_tx_queue_setup(id, queue, tx, socket, std::ptr::null())
        })?;
    }
    Ok(())
}

/// The largest MTU that ethdev lets pass for the device; less Ethernet header and FCS, as it
/// reckons, where the driver tells a frame size only.
fn max_mtu(info: &sys::rte_eth_dev_info) -> u32 {
    match info.max_mtu {
        u16::MAX => info.max_rx_pktlen.saturating_sub(18),
        max => u32::from(max),
    }
}

/// Drivers that take the MTU at configuration need no more; the others are told, if they listen.
fn set_mtu(open: &OpenPort, config: &PortConfig) -> Result<(), PortError> {
    try_step(config.name(), "setting the MTU", || {
        // SAFETY: the port is configured and not started.
        let result = unsafe { sys::rte_eth_dev_set_mtu(open.id, config.mtu) };
        if result == -ENOTSUP { 0 } else { result }
    })
}

/// The wanted offloads that the device has, and DPDK's flags for them.
fn mask(info: &sys::rte_eth_dev_info, config: &PortConfig) -> (Offloads, u64, u64) {
    // SAFETY: constants of the shim, never written.
    let (rx_checksum, rx_hash, tx_ipv4, tx_tcp, tx_udp) = unsafe {
        (
            sys::shim_rx_offload_ipv4_cksum
                | sys::shim_rx_offload_tcp_cksum
                | sys::shim_rx_offload_udp_cksum,
            sys::shim_rx_offload_rss_hash,
            sys::shim_tx_offload_ipv4_cksum,
            sys::shim_tx_offload_tcp_cksum,
            sys::shim_tx_offload_udp_cksum,
        )
    };
    let wanted = config.offloads;
    let has = |wanted: bool, capable: u64, flags: u64| wanted && capable & flags == flags;
    let rss = wanted.rss && config.rss_key.is_some() && config.queues > 1 && rss_types(info) != 0;
    let offloads = Offloads {
        rx_checksum: has(wanted.rx_checksum, info.rx_offload_capa, rx_checksum),
        tx_ipv4_checksum: has(wanted.tx_ipv4_checksum, info.tx_offload_capa, tx_ipv4),
        tx_tcp_checksum: has(wanted.tx_tcp_checksum, info.tx_offload_capa, tx_tcp),
        tx_udp_checksum: has(wanted.tx_udp_checksum, info.tx_offload_capa, tx_udp),
        rss,
    };
    let flag = |on: bool, flags: u64| if on { flags } else { 0 };
    let rx = flag(offloads.rx_checksum, rx_checksum)
        | flag(has(rss, info.rx_offload_capa, rx_hash), rx_hash);
    let tx = flag(offloads.tx_ipv4_checksum, tx_ipv4)
        | flag(offloads.tx_tcp_checksum, tx_tcp)
        | flag(offloads.tx_udp_checksum, tx_udp);
    (offloads, rx, tx)
}

/// The packet types to hash, as far as the device can.
fn rss_types(info: &sys::rte_eth_dev_info) -> u64 {
    // SAFETY: a constant of the shim, never written.
    info.flow_type_rss_offloads & unsafe { sys::shim_rss_tcp }
}

fn rss_key(info: &sys::rte_eth_dev_info, config: &PortConfig) -> Vec<u8> {
    let len = match info.hash_key_size {
        0 => 40,
        len => usize::from(len),
    };
    config.rss_key.iter().flatten().copied().cycle().take(len).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(offloads: Offloads) -> PortConfig {
        let profile = hw_profiles::load("af_packet", None).unwrap();
        let config = PortConfig::from_profile(&profile, 0, "eth0", 2, 1500).unwrap();
        PortConfig { offloads, rss_key: Some([0x6d; 40]), ..config }
    }

    #[test]
    fn only_what_the_device_has_is_asked_for() {
        let all = Offloads {
            rx_checksum: true,
            tx_ipv4_checksum: true,
            tx_tcp_checksum: true,
            tx_udp_checksum: true,
            rss: true,
        };
        let mut info = sys::rte_eth_dev_info::default();
        assert_eq!(mask(&info, &config(all)), (Offloads::default(), 0, 0));

        // SAFETY: constants of the shim.
        unsafe {
            info.tx_offload_capa = sys::shim_tx_offload_tcp_cksum;
            info.flow_type_rss_offloads = sys::shim_rss_tcp;
        }
        let (offloads, rx, tx) = mask(&info, &config(all));
        assert_eq!(offloads, Offloads { tx_tcp_checksum: true, rss: true, ..Offloads::default() });
        assert_eq!((rx, tx), (0, info.tx_offload_capa));
        assert_eq!(mask(&info, &config(Offloads::default())).2, 0);
        let one_queue = PortConfig { queues: 1, ..config(all) };
        assert!(!mask(&info, &one_queue).0.rss);
    }

    #[test]
    fn the_hash_key_is_repeated_to_the_devices_length() {
        let mut info = sys::rte_eth_dev_info::default();
        assert_eq!(rss_key(&info, &config(Offloads::default())).len(), 40);
        info.hash_key_size = 52;
        assert_eq!(rss_key(&info, &config(Offloads::default())), vec![0x6d; 52]);
    }

    #[test]
    fn name_and_options_are_read_from_the_device_argument() {
        let config = config(Offloads::default());
        assert_eq!((config.name(), config.option("iface")), ("net_af_packet0", Some("eth0")));
        assert_eq!(config.option("ifac"), None);
    }
}
