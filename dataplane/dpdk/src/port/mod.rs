//! A port: one device, opened, configured and started; closed when it and its queues are gone.

mod attach;
mod config;
mod queue;
mod stats;

use std::ffi::CStr;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dpdk_sys as sys;

use crate::eal::Eal;
use crate::error::PortError;
use crate::mempool::Mempool;
use crate::{log, system};

pub use config::{Offloads, PortConfig};
pub use queue::{QueueCounters, QueuePair, RxQueue, TxQueue};
pub use stats::Stats;

/// A started port. Its queues are handed out once, by [`Port::take_queues`], and may outlive it.
#[derive(Debug)]
pub struct Port {
    open: Arc<OpenPort>,
    device: String,
    driver: String,
    mtu: u16,
    offloads: Offloads,
    queues: Vec<QueuePair>,
    /// DPDK's control calls of one port must not run at once.
    _not_sync: PhantomData<std::cell::Cell<()>>,
}

/// How an address came to be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacFilter {
    /// The device filters by address and lets this one pass.
    Exact,
    /// The device lets all group addresses pass.
    AllMulticast,
    /// The device cannot; it now receives everything, and software must look.
    Promiscuous,
}

/// The state of the cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub up: bool,
    /// Mbit/s; 0 if unknown.
    pub speed_mbps: u32,
}

/// The device itself; the last holder closes it.
#[derive(Debug)]
struct OpenPort {
    id: u16,
    started: AtomicBool,
    detach: bool,
}

static IN_USE: [AtomicBool; sys::RTE_MAX_ETHPORTS as usize] =
    [const { AtomicBool::new(false) }; sys::RTE_MAX_ETHPORTS as usize];

impl Port {
    /// Attaches the device, configures and starts it. Frames are received into `pool`, whose data
    /// room must hold the largest frame.
    ///
    /// # Errors
    /// The device cannot be had, or not so; it is then closed again.
    pub fn open(_eal: &Eal, config: &PortConfig, pool: &Mempool) -> Result<Self, PortError> {
        let device = config.name();
        let attached = attach::attach(config)?;
        if IN_USE[usize::from(attached.id)].swap(true, Ordering::SeqCst) {
            return Err(PortError::AlreadyOpen { device: device.to_owned() });
        }
        let open = Arc::new(OpenPort {
            id: attached.id,
            started: AtomicBool::new(false),
            detach: attached.by_us,
        });
        let info = dev_info(attached.id, device)?;
        let (offloads, mtu) = config::configure(&open, &info, config, pool)?;

        // SAFETY: the port is configured and not yet started.
        let start = || unsafe { sys::rte_eth_dev_start(open.id) };
        try_step(device, "start", start)?;
        open.started.store(true, Ordering::SeqCst);

        // SAFETY: the driver's name is a C string that lives as long as the driver.
        let driver = unsafe { CStr::from_ptr(info.driver_name) }.to_string_lossy().into_owned();
        let max_len = u32::from(mtu) + MAX_L2_LEN;
        let queues = (0..config.queues)
            .map(|index| QueuePair::new(&open, index, max_len, offloads.any_tx()))
            .collect();
        let device = device.to_owned();
        let mut port = Self { open, device, driver, mtu, offloads, queues, _not_sync: PhantomData };
        if config.promiscuous {
            port.set_promiscuous(true)?;
        }
        if config.all_multicast {
            port.set_all_multicast(true)?;
        }
        Ok(port)
    }

    /// The queue pairs, on the first call; nothing afterwards.
    pub fn take_queues(&mut self) -> Vec<QueuePair> {
        std::mem::take(&mut self.queues)
    }

    /// The device's name, without its options.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// The name of DPDK's driver.
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// Largest payload of a frame, in bytes.
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// The offloads that are in force: asked for, and the device has them.
    pub fn offloads(&self) -> Offloads {
        self.offloads
    }

    /// The device's own address.
    pub fn mac(&self) -> Result<[u8; 6], PortError> {
        let mut mac = sys::rte_ether_addr::default();
        // SAFETY: the port is open; the address is ours to write.
        self.step("reading the address", || unsafe {
            sys::rte_eth_macaddr_get(self.open.id, &mut mac)
        })?;
        Ok(mac.addr_bytes)
    }

    /// Receives frames to a further address, by a filter if the device has one; frames to a group's
    /// address together with those to all other groups'.
    pub fn add_mac(&mut self, mac: [u8; 6]) -> Result<MacFilter, PortError> {
        let is_group = mac[0] & 1 == 1;
        let mut address = sys::rte_ether_addr { addr_bytes: mac };
        // SAFETY: the port is open; the address is copied by the call.
        let result = unsafe {
            if is_group {
                sys::rte_eth_allmulticast_enable(self.open.id)
            } else {
                sys::rte_eth_dev_mac_addr_add(self.open.id, &mut address, 0)
            }
        };
        if result == 0 {
            return Ok(if is_group { MacFilter::AllMulticast } else { MacFilter::Exact });
        }
        self.set_promiscuous(true).map(|()| MacFilter::Promiscuous)
    }

    /// Receives all frames, whatever their address, or no longer.
    pub fn set_promiscuous(&mut self, on: bool) -> Result<(), PortError> {
        let id = self.open.id;
        // SAFETY: the port is open.
        self.step_if_supported("promiscuous mode", || unsafe {
            if on {
                sys::rte_eth_promiscuous_enable(id)
            } else {
                sys::rte_eth_promiscuous_disable(id)
            }
        })
    }

    /// Receives all multicast frames, or no longer.
    pub fn set_all_multicast(&mut self, on: bool) -> Result<(), PortError> {
        let id = self.open.id;
        // SAFETY: the port is open.
        self.step_if_supported("all-multicast mode", || unsafe {
            if on {
                sys::rte_eth_allmulticast_enable(id)
            } else {
                sys::rte_eth_allmulticast_disable(id)
            }
        })
    }

    /// The link's state, without waiting for a negotiation.
    pub fn link(&self) -> Result<Link, PortError> {
        let mut link = sys::rte_eth_link::default();
        // SAFETY: the port is open; the struct is ours to write.
        self.step("reading the link", || unsafe {
            sys::rte_eth_link_get_nowait(self.open.id, &mut link)
        })?;
        let speed_mbps = if link.link_speed == u32::MAX { 0 } else { link.link_speed };
        Ok(Link { up: link.link_status() == sys::RTE_ETH_LINK_UP as u16, speed_mbps })
    }

    /// What the device counted since it started.
    pub fn stats(&self) -> Result<Stats, PortError> {
        stats::stats(self.open.id, &self.device)
    }

    /// The driver's own counters, by name.
    pub fn xstats(&self) -> Result<Vec<(String, u64)>, PortError> {
        stats::xstats(self.open.id, &self.device)
    }

    fn step(&self, step: &'static str, call: impl FnOnce() -> i32) -> Result<(), PortError> {
        try_step(&self.device, step, call)
    }

    /// A virtual device that does not filter has no switch to turn it off: nothing is missing.
    fn step_if_supported(
        &self,
        step: &'static str,
        call: impl FnOnce() -> i32,
    ) -> Result<(), PortError> {
        self.step(step, || match call() {
            result if result == -ENOTSUP => 0,
            result => result,
        })
    }
}

impl Drop for OpenPort {
    fn drop(&mut self) {
        // SAFETY: no queue handle is left (each holds this value), so nobody polls the port. The
        // device pointer is read before the port is gone, and stays valid until it is removed.
        unsafe {
            let mut info = sys::rte_eth_dev_info::default();
            let known = sys::rte_eth_dev_info_get(self.id, &mut info) == 0;
            if self.started.load(Ordering::SeqCst) {
                sys::rte_eth_dev_stop(self.id);
            }
            sys::rte_eth_dev_close(self.id);
            if self.detach && known && !info.device.is_null() {
                sys::rte_dev_remove(info.device);
            }
        }
        IN_USE[usize::from(self.id)].store(false, Ordering::SeqCst);
    }
}

fn dev_info(id: u16, device: &str) -> Result<sys::rte_eth_dev_info, PortError> {
    let mut info = sys::rte_eth_dev_info::default();
    // SAFETY: the port is attached; the struct is ours to write.
    try_step(device, "asking for its abilities", || unsafe {
        sys::rte_eth_dev_info_get(id, &mut info)
    })?;
    Ok(info)
}

/// Runs a control call of DPDK; what it complains about goes into the error.
fn try_step(device: &str, step: &'static str, call: impl FnOnce() -> i32) -> Result<(), PortError> {
    let (result, complaints) = log::record(call);
    if result >= 0 {
        return Ok(());
    }
    Err(PortError::Refused {
        device: device.to_owned(),
        step,
        reason: system::result_text(result),
        log: complaints.join("; "),
    })
}

const ENOTSUP: i32 = 95;

/// An Ethernet header with one VLAN tag, in bytes.
const MAX_L2_LEN: u32 = 18;
