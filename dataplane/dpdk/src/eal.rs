//! The environment abstraction layer: started once, for the rest of the process.

use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};

use dpdk_sys as sys;

use crate::error::EalError;
use crate::{log, system};

/// How EAL is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EalConfig {
    /// Keeps processes of one machine apart: two with the same prefix cannot run at once.
    pub file_prefix: String,
    /// Hugepages; without them only devices that need no DMA work.
    pub hugepages: bool,
    /// Memory for everything DPDK holds, in MiB. Without hugepages it is all there will ever be.
    pub memory_mib: u32,
    /// Addresses of the PCI devices to use; none means that the bus is not looked at.
    pub pci: Vec<String>,
    /// Further arguments, passed on as they are.
    pub args: Vec<String>,
}

/// Proof that EAL runs. It is not stopped again: frames and ports may live as long as the process,
/// and the kernel takes everything back at its end.
#[derive(Debug)]
pub struct Eal {
    _only_here: (),
}

static STARTED: AtomicBool = AtomicBool::new(false);

impl EalConfig {
    /// The arguments of a profile, for a node with this file prefix and these PCI devices.
    pub fn from_profile(profile: &hw_profiles::Eal, file_prefix: &str, pci: Vec<String>) -> Self {
        Self {
            file_prefix: file_prefix.to_owned(),
            hugepages: profile.hugepages,
            memory_mib: profile.memory_mib,
            pci,
            args: profile.args.clone(),
        }
    }

    fn arguments(&self) -> Vec<String> {
        // One lcore for the calling thread, floating over all processors it may use: EAL would pin
        // it to one, and all threads started later with it. Poll loops pin and register themselves.
        let cpus = system::allowed_cpus().unwrap_or_else(|| "0".into());
        let mut arguments = vec![
            "holdfast".to_owned(),
            format!("--lcores=0@({cpus})"),
            format!("--file-prefix={}", self.file_prefix),
            "--no-telemetry".to_owned(),
            "-m".to_owned(),
            self.memory_mib.to_string(),
        ];
        if !self.hugepages {
            arguments.push("--no-huge".to_owned());
        }
        if self.pci.is_empty() {
            arguments.push("--no-pci".to_owned());
        }
        for address in &self.pci {
            arguments.extend(["--allow".to_owned(), address.clone()]);
        }
        arguments.extend(self.args.iter().cloned());
        arguments
    }

    /// What is known to fail is not even tried: EAL says less clearly what is wrong.
    fn check(&self) -> Result<(), EalError> {
        if self.hugepages && system::free_hugepages() == 0 {
            return Err(EalError::NoHugepages);
        }
        for device in &self.pci {
            let address = device.split(',').next().unwrap_or(device);
            if system::pci_driver(address).is_none() {
                return Err(EalError::NoSuchDevice { address: address.to_owned() });
            }
        }
        Ok(())
    }
}

impl Eal {
    /// Starts EAL. The calling thread becomes its main lcore. Ports are attached afterwards, by
    /// [`crate::Port::open`].
    ///
    /// # Errors
    /// What [`EalConfig`] asks for cannot be had, or EAL was started before. After EAL itself
    /// refused, the process cannot try again.
    pub fn init(config: &EalConfig) -> Result<Self, EalError> {
        config.check()?;
        let arguments = config.arguments();
        let c_arguments = arguments
            .iter()
            .map(|argument| {
                CString::new(argument.as_str())
                    .map_err(|_| EalError::InvalidArgument { argument: argument.clone() })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(EalError::AlreadyStarted);
        }

        log::install();
        // EAL keeps pointers into its arguments: they live as long as the process.
        let mut argv: Vec<_> = c_arguments.into_iter().map(CString::into_raw).collect();
        let argc = argv.len() as i32;
        // SAFETY: `argv` holds `argc` C strings that are never freed; it runs once per process.
        let (result, complaints) =
            log::record(|| unsafe { sys::rte_eal_init(argc, argv.as_mut_ptr()) });
        if result < 0 {
            return Err(explain(config, &arguments, system::rte_errno(), &complaints));
        }
        Ok(Self { _only_here: () })
    }
}

fn explain(
    config: &EalConfig,
    arguments: &[String],
    errno: i32,
    complaints: &[String],
) -> EalError {
    let log = complaints.join("; ");
    let said = |words: &[&str]| words.iter().any(|word| log.contains(word));
    if said(&["Is another primary process running"]) {
        return EalError::PrefixInUse { prefix: config.file_prefix.clone() };
    }
    if said(&["No free hugepages", "No free 2048 kB hugepages", "hugepages reserved"]) {
        return EalError::NoHugepages;
    }
    if said(&["ermission denied", "not permitted"]) || errno == EACCES || errno == EPERM {
        return EalError::NotPermitted { log };
    }
    if said(&["Cannot init memory", "annot allocate memory", "Not enough memory"]) {
        return EalError::OutOfMemory { memory_mib: config.memory_mib, log };
    }
    if said(&["Invalid 'command line' arguments", "nvalid command", "unrecognized option"]) {
        return EalError::BadArguments { arguments: arguments[1..].join(" "), log };
    }
    EalError::Unknown { reason: system::errno_text(errno), log }
}

const EPERM: i32 = 1;
const EACCES: i32 = 13;
