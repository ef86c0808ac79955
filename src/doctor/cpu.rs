//! Cores and clock: a poll loop that loses its core looks dead to its peer.

use hw_profiles::IdleStrategy;

use super::{
    finding::Report,
    system::{System, number_list},
};
use crate::config::NodeConfig;

const CORES: &str = "cores";
const CLOCK: &str = "clock";

/// The time source behind the monotonic clock, which each poll reads.
pub fn clock_source(system: &System, report: &mut Report) {
    const FOLDER: &str = "/sys/devices/system/clocksource/clocksource0";
    let Some(current) = system.read(&format!("{FOLDER}/current_clocksource")) else {
        report.note(CLOCK, "the kernel does not say which clock source it uses");
        return;
    };
    // These are read without a system call (vDSO).
    if ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"]
        .contains(&current.as_str())
    {
        report.ok(CLOCK, format!("clock source {current} is read without a system call"));
        return;
    }
    let available = system.read(&format!("{FOLDER}/available_clocksource")).unwrap_or_default();
    let message = format!("clock source {current} is slow: each poll costs a system call");
    let better = available.split(' ').find(|name| *name == "tsc" || *name == "kvm-clock");
    let fix = match better {
        Some(better) => format!("echo {better} > {FOLDER}/current_clocksource"),
        None => format!("no faster one is available ({available}): look at BIOS or hypervisor"),
    };
    report.warn(CLOCK, message, fix);
}

/// The cores that the workers want: there, allowed, isolated, at full speed.
pub fn cores(config: Option<&NodeConfig>, system: &System, report: &mut Report) {
    let online = number_list(&system.read("/sys/devices/system/cpu/online").unwrap_or_default());
    let isolated =
        number_list(&system.read("/sys/devices/system/cpu/isolated").unwrap_or_default());
    let Some(config) = config else {
        report.note(CORES, format!("{} online, {} isolated", online.len(), isolated.len()));
        return;
    };
    let allowed = allowed(system).unwrap_or_else(|| online.clone());
    for &core in &config.node.cores {
        if !online.contains(&core) {
            let message = format!("core {core} of node.cores does not exist or is offline");
            let fix = format!("set node.cores to some of: {}", join(&online));
            report.error(CORES, message, fix);
        } else if !allowed.contains(&core) {
            let message = format!("core {core} may not be used by this process");
            let fix = "taskset -c or the unit's CPUAffinity= must include it".to_owned();
            report.error(CORES, message, fix);
        }
    }
    report.ok(CORES, format!("workers on {}; {} online", join(&config.node.cores), online.len()));
    isolation(config, &isolated, online.len(), report);
    governors(config, system, report);
}

fn allowed(system: &System) -> Option<Vec<u16>> {
    let status = system.read("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    Some(number_list(line))
}

fn isolation(config: &NodeConfig, isolated: &[u16], online: usize, report: &mut Report) {
    let cores = &config.node.cores;
    if cores.iter().all(|core| isolated.contains(core)) {
        report.ok(CORES, "isolated from other processes");
        return;
    }
    let message = "not isolated: other processes may delay a poll loop".to_owned();
    if config.profiles.lan.idle.strategy == IdleStrategy::Spin {
        let list = join(cores);
        let fix = format!(
            "add to the kernel command line: isolcpus={list} nohz_full={list} rcu_nocbs={list}"
        );
        report.warn(CORES, message, fix);
        if online <= cores.len() {
            let message = "all cores spin: nothing is left for the kernel and everything else";
            report.warn(CORES, message, "list fewer cores, or use a profile that sleeps when idle");
        }
    } else {
        report
            .note(CORES, format!("{message} (this profile gives way when idle, so that is fine)"));
    }
}

fn governors(config: &NodeConfig, system: &System, report: &mut Report) {
    let slow = |core: &&u16| {
        let path = format!("/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor");
        system.read(&path).is_some_and(|governor| governor != "performance")
    };
    let slow: Vec<u16> = config.node.cores.iter().filter(slow).copied().collect();
    if !slow.is_empty() {
        let message = format!("frequency governor of {} is not `performance`", join(&slow));
        let fix = format!("cpupower --cpu {} frequency-set --governor performance", join(&slow));
        report.warn(CORES, message, fix);
    }
}

fn join(numbers: &[u16]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
