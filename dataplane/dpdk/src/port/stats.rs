//! A device's counters.

use std::ffi::CStr;

use dpdk_sys as sys;

use super::try_step;
use crate::error::PortError;

/// What every device counts. Counters that a driver does not keep stay zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    pub rx_packets: u64,
    pub rx_bytes: u64,
    /// Received, but the queue was full.
    pub rx_missed: u64,
    pub rx_errors: u64,
    /// Received, but the pool was empty.
    pub rx_no_mbuf: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub tx_errors: u64,
}

pub(super) fn stats(id: u16, device: &str) -> Result<Stats, PortError> {
    let mut stats = sys::rte_eth_stats::default();
    // SAFETY: the port is open; the struct is ours to write.
    try_step(device, "reading the counters", || unsafe { sys::rte_eth_stats_get(id, &mut stats) })?;
    Ok(Stats {
        rx_packets: stats.ipackets,
        rx_bytes: stats.ibytes,
        rx_missed: stats.imissed,
        rx_errors: stats.ierrors,
        rx_no_mbuf: stats.rx_nombuf,
        tx_packets: stats.opackets,
        tx_bytes: stats.obytes,
        tx_errors: stats.oerrors,
    })
}

pub(super) fn xstats(id: u16, device: &str) -> Result<Vec<(String, u64)>, PortError> {
    // SAFETY: with no arrays the calls only tell how many counters there are.
    let count = unsafe { sys::rte_eth_xstats_get_names(id, std::ptr::null_mut(), 0) };
    let size = usize::try_from(count).unwrap_or(0);
    let mut names = vec![sys::rte_eth_xstat_name::default(); size];
    let mut values = vec![sys::rte_eth_xstat::default(); size];
    // SAFETY: both arrays have room for `size` elements.
    try_step(device, "reading the driver's counters", || unsafe {
        match sys::rte_eth_xstats_get_names(id, names.as_mut_ptr(), size as u32) {
            result if result < 0 => result,
            _ => sys::rte_eth_xstats_get(id, values.as_mut_ptr(), size as u32),
        }
    })?;
    Ok(names
        .iter()
        .zip(&values)
        .map(|(name, value)| {
            // SAFETY: DPDK ends the name with NUL within its 64 bytes.
            let name = unsafe { CStr::from_ptr(name.name.as_ptr()) };
            (name.to_string_lossy().into_owned(), value.value)
        })
        .collect())
}
