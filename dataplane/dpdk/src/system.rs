//! Questions to the operating system, asked to explain a failure or to see it coming.

use std::ffi::CStr;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use dpdk_sys as sys;

/// DPDK's error number of this thread.
pub(crate) fn rte_errno() -> i32 {
    // SAFETY: reads a thread-local integer.
    unsafe { sys::shim_errno() }
}

/// `errno` in words; the sign does not matter.
pub(crate) fn errno_text(errno: i32) -> String {
    // SAFETY: the returned C string is in a per-thread buffer and copied at once.
    let text = unsafe { CStr::from_ptr(sys::rte_strerror(errno.abs())) };
    text.to_string_lossy().into_owned()
}

/// A negative result of a control call in words. Drivers answer -1 for anything, which would read
/// as a missing permission.
pub(crate) fn result_text(result: i32) -> String {
    if result == -1 { "no reason given".into() } else { errno_text(result) }
}

/// Free hugepages of all sizes.
pub(crate) fn free_hugepages() -> u64 {
    let Ok(sizes) = std::fs::read_dir("/sys/kernel/mm/hugepages") else { return 0 };
    sizes
        .flatten()
        .filter_map(|size| std::fs::read_to_string(size.path().join("free_hugepages")).ok())
        .filter_map(|count| count.trim().parse::<u64>().ok())
        .sum()
}

/// Whether the process may open raw sockets and make interfaces (CAP_NET_RAW, CAP_NET_ADMIN).
pub(crate) fn may_use_network_devices() -> bool {
    const NET_ADMIN: u64 = 1 << 12;
    const NET_RAW: u64 = 1 << 13;
    status_field("CapEff:")
        .and_then(|mask| u64::from_str_radix(&mask, 16).ok())
        .is_none_or(|mask| mask & NET_RAW != 0 && mask & NET_ADMIN != 0)
}

/// The processors that this process may use, as a list like `0-3,8`.
pub(crate) fn allowed_cpus() -> Option<String> {
    status_field("Cpus_allowed_list:")
}

fn status_field(name: &str) -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().to_owned())
}

/// Whether this network namespace has an interface of that name.
pub(crate) fn interface_exists(name: &str) -> bool {
    // Not /sys/class/net: that shows the namespace of whoever mounted /sys.
    std::fs::read_to_string("/proc/net/dev")
        .map(|text| text.lines().any(|line| line.split(':').next().map(str::trim) == Some(name)))
        .unwrap_or(true)
}

/// Removes a Unix socket that nobody listens on: what a killed process left behind.
pub(crate) fn remove_stale_socket(path: &Path) {
    let is_socket = std::fs::metadata(path).is_ok_and(|file| file.file_type().is_socket());
    // A living listener of another socket type answers with another error.
    let refused = |error: std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(path).is_err_and(refused) {
        let _ = std::fs::remove_file(path);
    }
}

/// A PCI device's kernel driver: `None` if there is no such device, empty if it has none.
pub(crate) fn pci_driver(address: &str) -> Option<String> {
    let device = Path::new("/sys/bus/pci/devices").join(address);
    device.exists().then(|| {
        std::fs::read_link(device.join("driver"))
            .ok()
            .and_then(|link| link.file_name().map(|name| name.to_string_lossy().into_owned()))
            .unwrap_or_default()
    })
}
