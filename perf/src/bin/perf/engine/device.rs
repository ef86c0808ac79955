//! The device: from the command line and a hardware profile to a card that is up.

use anyhow::Context;
use dpdk::{Eal, EalConfig, Mempool, Port, PortConfig};
use engine::wire::ethernet::Mac;
use hw_profiles::{Attach, Profile};
use rustix::thread::{CpuSet, sched_setaffinity};
use worker::DpdkNic;

use super::rest::Rest;
use crate::args::BackendArgs;

/// A card, and what is known of it.
pub(super) struct Opened {
    pub nic: DpdkNic,
    pub rest: Rest,
    /// The profile's name.
    pub name: String,
    /// For messages.
    pub description: String,
    pub card: Card,
}

/// The device itself.
pub(super) struct Card(Port);

/// Starts EAL in this thread, pins the thread and opens the device.
pub(super) fn open(args: &BackendArgs) -> anyhow::Result<Opened> {
    let device = args.device.as_deref().context("--device is missing")?;
    let name = args.profile.as_deref().context("--profile is missing")?;
    let profile = hw_profiles::load(name, args.profile_file.as_deref())?;
    let too_wide = || format!("profile {name} does not carry an MTU of {}", args.mtu);
    let config =
        PortConfig::from_profile(&profile, 0, device, 1, args.mtu).with_context(too_wide)?;
    let mempool = config.mempool(&profile).with_context(too_wide)?;
    let eal = start_eal(args, device, &profile)?;
    // After EAL, whose own threads must not end up on this core.
    if let Some(core) = args.core {
        pin(core)?;
    }
    let description = format!("--device {device} (profile {name})");
    let open = || -> anyhow::Result<(Port, Mempool)> {
        let pool = Mempool::new(&eal, "load", &mempool)?;
        Ok((Port::open(&eal, &config, &pool)?, pool))
    };
    let (mut port, pool) = open().with_context(|| description.clone())?;
    let queues = port.take_queues().into_iter().next();
    let nic = DpdkNic::new(&port, Mac(port.mac()?), queues, pool);
    Ok(Opened {
        nic,
        rest: Rest::new(profile.idle),
        name: name.to_owned(),
        description,
        card: Card(port),
    })
}

fn start_eal(args: &BackendArgs, device: &str, profile: &Profile) -> anyhow::Result<Eal> {
    let pci = (profile.device.attach == Attach::Pci)
        .then(|| profile.device.template.replace("{device}", device));
    let prefix = format!("holdfast-perf-{}", std::process::id());
    let prefix = args.file_prefix.as_deref().unwrap_or(&prefix);
    let mut config = EalConfig::from_profile(&profile.eal, prefix, pci.into_iter().collect());
    config.memory_mib = args.eal_memory_mib.unwrap_or(config.memory_mib);
    Eal::init(&config).context("DPDK did not start")
}

fn pin(core: u16) -> anyhow::Result<()> {
    let mut cores = CpuSet::new();
    anyhow::ensure!(usize::from(core) < CpuSet::MAX_CPU, "--core {core}: there is no such core");
    cores.set(core.into());
    sched_setaffinity(None, &cores).with_context(|| {
        format!("--core {core}: cannot run there; `nproc` says how many there are")
    })
}

impl Card {
    /// What the device counted that should not have happened.
    pub fn remarks(&self) -> Vec<String> {
        let Ok(stats) = self.0.stats() else { return Vec::new() };
        let counted = [
            (stats.rx_missed, "frames were missed by the device: its receive queue was full"),
            (stats.rx_no_mbuf, "frames were missed for want of a free mbuf (`mempool.mbufs`)"),
            (stats.rx_errors, "frames came in with an error, says the device"),
            (stats.tx_errors, "frames could not be sent, says the device"),
        ];
        let counted = counted.into_iter().filter(|(count, _)| *count > 0);
        counted.map(|(count, what)| format!("{count} {what}")).collect()
    }
}
