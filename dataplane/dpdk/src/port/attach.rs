//! Finding a device, or making it.

use std::ffi::CString;
use std::path::Path;

use dpdk_sys as sys;

use super::config::PortConfig;
use crate::error::PortError;
use crate::{log, system};

pub(super) struct Attached {
    pub id: u16,
    /// Attached here, and so to be detached at the end; devices on a bus stay.
    pub by_us: bool,
}

pub(super) fn attach(config: &PortConfig) -> Result<Attached, PortError> {
    let name = c_string(config.name())?;
    // Devices on the PCI bus were attached when EAL started, from its list.
    if let Some(id) = port_by_name(&name) {
        return Ok(Attached { id, by_us: false });
    }
    check(config)?;
    if let (Some("server"), Some(socket)) = (config.option("role"), config.option("socket")) {
        system::remove_stale_socket(Path::new(socket));
    }

    let argument = c_string(&config.device)?;
    // SAFETY: EAL runs, and the argument is a C string that the call copies.
    let (result, complaints) = log::record(|| unsafe { sys::rte_dev_probe(argument.as_ptr()) });
    match port_by_name(&name) {
        Some(id) if result == 0 => Ok(Attached { id, by_us: true }),
        _ => Err(explain(config, result, &complaints)),
    }
}

fn c_string(text: &str) -> Result<CString, PortError> {
    CString::new(text)
        .map_err(|_| PortError::InvalidName { device: text.escape_debug().to_string() })
}

fn port_by_name(name: &CString) -> Option<u16> {
    let mut id = 0;
    // SAFETY: EAL runs, the name is a C string, and the number is ours to write.
    (unsafe { sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &mut id) } == 0).then_some(id)
}

/// What is known to fail, said more clearly than the driver would.
fn check(config: &PortConfig) -> Result<(), PortError> {
    let name = config.name();
    if let Some(interface) = config.option("iface")
        && name.starts_with("net_af_packet")
        && !system::interface_exists(interface)
    {
        return Err(PortError::NoSuchInterface { interface: interface.to_owned() });
    }
    if is_pci_address(name) {
        return Err(match system::pci_driver(name) {
            None => PortError::NoSuchDevice { address: name.to_owned() },
            Some(driver) => PortError::NotBound { address: name.to_owned(), driver },
        });
    }
    Ok(())
}

/// `0000:3b:00.0`, with or without the domain.
fn is_pci_address(name: &str) -> bool {
    name.split_once('.').is_some_and(|(bus, function)| {
        let parts: Vec<_> = bus.split(':').collect();
        (2..=3).contains(&parts.len())
            && parts.iter().all(|part| part.chars().all(|digit| digit.is_ascii_hexdigit()))
            && function.len() == 1
    })
}

fn explain(config: &PortConfig, result: i32, complaints: &[String]) -> PortError {
    let device = config.device.clone();
    let log = complaints.join("; ");
    // rte_dev_probe answers so when no driver claims the name.
    let unclaimed =
        ["failed to parse device", "failed to find driver", "annot find", "No such device"];
    if !system::may_use_network_devices() || log.contains("not permitted") {
        return PortError::NotPermitted { device, log };
    }
    if unclaimed.iter().any(|words| log.contains(words)) || (log.is_empty() && result != 0) {
        return PortError::NoDriver { device, log };
    }
    PortError::Refused { device, step: "attaching it", reason: system::result_text(result), log }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_pci_addresses_from_names() {
        assert!(is_pci_address("0000:3b:00.0") && is_pci_address("3b:00.1"));
        assert!(!is_pci_address("net_tap0") && !is_pci_address("3b:zz.0"));
        assert!(!is_pci_address("eth0.100") && !is_pci_address("0000:3b:00"));
    }
}
