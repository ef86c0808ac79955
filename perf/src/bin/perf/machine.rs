//! What machine a result comes from, and whether two results may be compared.

use std::{collections::HashMap, fs};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// Description of a machine, as its kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Name of the processor, with family, model and stepping: hypervisors give many the same name.
    pub cpu: String,
    /// Processors online.
    pub cores: u32,
    /// Kernel release.
    pub kernel: String,
    /// Memory the kernel can use.
    pub memory_mib: u64,
    /// All of the above in one line. Results of unequal fingerprints are not to be compared; the
    /// memory is in whole GiB there, for it differs by some MiB from boot to boot.
    pub fingerprint: String,
}

impl Machine {
    /// Describes this machine.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn read() -> anyhow::Result<Self> {
        let file = |path: &str| {
            fs::read_to_string(path)
                .with_context(|| format!("cannot read {path} to tell what machine this is"))
        };
        Ok(Self::parse(
            &file("/proc/cpuinfo")?,
            &file("/proc/meminfo")?,
            file("/proc/sys/kernel/osrelease")?.trim(),
        ))
    }

    fn parse(cpuinfo: &str, meminfo: &str, kernel: &str) -> Self {
        let cpu = cpu_name(cpuinfo);
        let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
        let cores = u32::try_from(cores).unwrap_or(u32::MAX);
        let memory_mib = meminfo
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))
            .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
            .map_or(0, |kib| kib / 1024);
        let fingerprint = format!(
            "{cpu}, {cores} cores, {} GiB, Linux {kernel}",
            memory_mib.saturating_add(512) / 1024
        );
        Self { cpu, cores, kernel: kernel.to_owned(), memory_mib, fingerprint }
    }

    /// What makes results of `self` and `other` incomparable, one line each; none if they may be
    /// compared.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        if self.fingerprint == other.fingerprint {
            return Vec::new();
        }
        let fields = [
            ("processor", self.cpu.clone(), other.cpu.clone()),
            ("cores", self.cores.to_string(), other.cores.to_string()),
            ("kernel", self.kernel.clone(), other.kernel.clone()),
            ("memory", format!("{} MiB", self.memory_mib), format!("{} MiB", other.memory_mib)),
        ];
        fields
            .into_iter()
            .filter(|(_, left, right)| left != right)
            .map(|(name, left, right)| format!("{name}: {left} / {right}"))
            .collect()
    }
}

/// `model name (vendor family-model-stepping)` on x86; the implementer's numbers on Arm.
fn cpu_name(cpuinfo: &str) -> String {
    let first: HashMap<&str, &str> = cpuinfo
        .lines()
        .take_while(|line| !line.trim().is_empty())
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect();
    let join = |keys: &[&str]| {
        let parts: Vec<&str> = keys.iter().filter_map(|key| first.get(key).copied()).collect();
        (!parts.is_empty()).then(|| parts.join("-"))
    };
    let numbers = join(&["cpu family", "model", "stepping"])
        .or_else(|| join(&["CPU implementer", "CPU part", "CPU variant", "CPU revision"]));
    match (first.get("model name"), numbers) {
        (Some(name), Some(numbers)) => format!("{name} ({numbers})"),
        (Some(name), None) => (*name).to_owned(),
        (None, Some(numbers)) => numbers,
        (None, None) => "unknown processor".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPUINFO: &str = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\n\
        model\t\t: 143\nmodel name\t: Xeon\nstepping\t: 8\n\nprocessor\t: 1\nmodel name\t: Xeon\n";

    fn machine(meminfo: &str, kernel: &str) -> Machine {
        Machine::parse(CPUINFO, meminfo, kernel)
    }

    #[test]
    fn reads_the_kernels_files() {
        let machine = machine("MemTotal:       24681688 kB\nMemFree: 1 kB\n", "6.18.0");
        assert_eq!(machine.cpu, "Xeon (6-143-8)");
        assert_eq!((machine.cores, machine.memory_mib), (2, 24_103));
        assert_eq!(machine.fingerprint, "Xeon (6-143-8), 2 cores, 24 GiB, Linux 6.18.0");
    }

    #[test]
    fn describes_a_processor_without_a_name() {
        let arm = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n";
        assert_eq!(cpu_name(arm), "0x41-0xd0c");
        assert_eq!(cpu_name(""), "unknown processor");
    }

    #[test]
    fn tells_machines_apart_but_not_boots_of_one() {
        let one = machine("MemTotal: 24681688 kB", "6.18.0");
        let rebooted = machine("MemTotal: 24680000 kB", "6.18.0");
        assert_eq!(one.differences(&rebooted), Vec::<String>::new());
        let other = machine("MemTotal: 24681688 kB", "6.19.0");
        assert_eq!(one.differences(&other), ["kernel: 6.18.0 / 6.19.0"]);
    }

    #[test]
    fn this_machine_has_a_processor_and_memory() {
        let machine = Machine::read().unwrap();
        assert!(machine.cores > 0 && machine.memory_mib > 0, "{machine:?}");
    }
}
