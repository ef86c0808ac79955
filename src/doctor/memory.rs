//! Memory: is there enough, and hugepages for those who need them.

use super::{finding::Report, system::System};
use crate::config::NodeConfig;

const AREA: &str = "hugepages";
const PLAIN: &str = "memory";

/// Ordinary memory for buffers, and for DPDK when it uses no hugepages. Files served come on top.
pub fn available(config: &NodeConfig, system: &System, report: &mut Report) {
    let meminfo = system.read("/proc/meminfo").unwrap_or_default();
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let Some(free_mib) = kib.map(|kib| kib / 1024) else {
        report.note(PLAIN, "the kernel does not say how much is available");
        return;
    };
    let profiles = &config.profiles;
    let plain = !profiles.iter().any(|profile| profile.eal.hugepages);
    let dpdk_mib = profiles.iter().map(|profile| profile.eal.memory_mib).max().unwrap_or(0);
    let needed_mib =
        u64::from(config.cluster.buffer_mib) + if plain { u64::from(dpdk_mib) } else { 0 };
    if free_mib < needed_mib {
        let message = format!("{free_mib} MiB available, up to {needed_mib} MiB and files needed");
        report.warn(PLAIN, message, "lower cluster.buffer_mib (on both nodes), or free some");
    } else {
        report.ok(PLAIN, format!("{free_mib} MiB available, up to {needed_mib} MiB needed"));
    }
}

/// Counts, and the mount that DPDK allocates from.
pub fn hugepages(config: Option<&NodeConfig>, system: &System, report: &mut Report) {
    let pools = pools(system);
    let free_mib: u64 = pools.iter().map(|pool| pool.free * pool.page_kib / 1024).sum();
    let total: u64 = pools.iter().map(|pool| pool.total).sum();
    let needed_mib = needed_mib(config);
    match (config.is_some(), needed_mib) {
        (true, 0) => {
            report.ok(AREA, "not needed: the profiles of this node run on plain memory");
            return;
        }
        (false, _) if total == 0 => {
            report.note(AREA, "none reserved: enough for virtual devices, not for a real NIC");
            return;
        }
        (_, needed) if free_mib < needed => {
            let pages = needed.div_ceil(2);
            let message = format!("{free_mib} MiB free of {total} pages, {needed} MiB needed");
            report.error(
                AREA,
                message,
                format!(
                    "echo {pages} > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages\n\
                     echo vm.nr_hugepages={pages} > /etc/sysctl.d/80-holdfast.conf    # to keep it"
                ),
            );
        }
        _ => report.ok(AREA, format!("{total} pages, {free_mib} MiB free")),
    }
    let mounts = system.read("/proc/mounts").unwrap_or_default();
    if mounts.lines().any(|line| line.split(' ').nth(2) == Some("hugetlbfs")) {
        report.ok(AREA, "hugetlbfs is mounted");
    } else {
        let fix = "mkdir -p /dev/hugepages && mount -t hugetlbfs none /dev/hugepages";
        report.error(AREA, "hugetlbfs is not mounted", fix);
    }
}

struct Pool {
    page_kib: u64,
    total: u64,
    free: u64,
}

fn pools(system: &System) -> Vec<Pool> {
    const FOLDER: &str = "/sys/kernel/mm/hugepages";
    let pool = |name: String| {
        let page_kib = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let total = system.number(&format!("{FOLDER}/{name}/nr_hugepages"))?;
        let free = system.number(&format!("{FOLDER}/{name}/free_hugepages"))?;
        Some(Pool { page_kib, total, free })
    };
    system.names(FOLDER).into_iter().filter_map(pool).collect()
}

/// EAL takes its memory once for all ports: the largest wish counts.
fn needed_mib(config: Option<&NodeConfig>) -> u64 {
    let Some(config) = config else { return 0 };
    let profiles = &config.profiles;
    let with_pages = profiles.iter().any(|profile| profile.eal.hugepages);
    let largest = profiles.iter().map(|profile| profile.eal.memory_mib).max();
    if with_pages { largest.unwrap_or(0).into() } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{config::testing, doctor::finding::Severity};

    fn machine(free_pages: u64, mounted: bool) -> (tempfile::TempDir, System) {
        let root = tempfile::tempdir().unwrap();
        let pool = root.path().join("sys/kernel/mm/hugepages/hugepages-2048kB");
        fs::create_dir_all(&pool).unwrap();
        fs::create_dir_all(root.path().join("proc")).unwrap();
        fs::write(pool.join("nr_hugepages"), "1024\n").unwrap();
        fs::write(pool.join("free_hugepages"), format!("{free_pages}\n")).unwrap();
        let mount = if mounted { "none /dev/hugepages hugetlbfs rw 0 0\n" } else { "" };
        fs::write(root.path().join("proc/mounts"), mount).unwrap();
        let system = System::under(root.path());
        (root, system)
    }

    fn errors(profile: &str, free_pages: u64, mounted: bool) -> usize {
        let (_root, system) = machine(free_pages, mounted);
        let config = testing::config_with_profile(profile);
        let mut report = Report::default();
        hugepages(Some(&config), &system, &mut report);
        report.count(Severity::Error)
    }

    #[test]
    fn a_real_nic_needs_pages_and_a_mount() {
        assert_eq!(errors("ixgbe", 1024, true), 0);
        assert_eq!(errors("ixgbe", 10, true), 1);
        assert_eq!(errors("ixgbe", 10, false), 2);
    }

    #[test]
    fn too_little_memory_is_a_warning() {
        let (root, system) = machine(0, false);
        let config = testing::config_with_profile("af_packet");
        let mut report = Report::default();
        for available in ["MemAvailable:  8388608 kB\n", "MemAvailable:    65536 kB\n"] {
            fs::write(root.path().join("proc/meminfo"), available).unwrap();
            super::available(&config, &system, &mut report);
        }
        assert_eq!(report.count(Severity::Ok), 1);
        assert_eq!(report.count(Severity::Warning), 1);
    }

    #[test]
    fn a_kernel_interface_needs_neither() {
        assert_eq!(errors("af_packet", 0, false), 0);
    }
}
