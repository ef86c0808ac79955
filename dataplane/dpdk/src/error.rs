//! What can go wrong, in words: what happened, and what to do about it.

/// Why EAL did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EalError {
    #[error("EAL was started before in this process, and it can be started only once")]
    AlreadyStarted,
    #[error("the EAL argument {argument:?} holds a NUL byte")]
    InvalidArgument { argument: String },
    #[error(
        "no free hugepages. Reserve some: `echo 512 > /proc/sys/vm/nr_hugepages` (1 GiB of 2 MiB \
         pages) and `mount -t hugetlbfs none /dev/hugepages`; or set `hugepages = false` in the \
         hardware profile if the device is a virtual one"
    )]
    NoHugepages,
    #[error(
        "EAL could not get {memory_mib} MiB of memory. Free some, or lower `eal.memory_mib` in the \
         hardware profile; with hugepages, reserve more of them ({log})"
    )]
    OutOfMemory { memory_mib: u32, log: String },
    #[error(
        "another DPDK process runs with the file prefix `{prefix}`: is the node up already? Stop \
         it, or give this one another name"
    )]
    PrefixInUse { prefix: String },
    #[error(
        "EAL lacks a permission ({log}). Run it as root, or give it CAP_NET_ADMIN, CAP_NET_RAW, \
         CAP_IPC_LOCK and write access to the runtime folder"
    )]
    NotPermitted { log: String },
    #[error(
        "the PCI device {address} does not exist. `dpdk-devbind.py --status` lists what there is"
    )]
    NoSuchDevice { address: String },
    #[error("EAL refused its arguments `{arguments}`: {log}")]
    BadArguments { arguments: String, log: String },
    #[error("EAL did not start: {reason}. It said: {log}")]
    Unknown { reason: String, log: String },
}

/// Why a pool could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MempoolError {
    #[error("`{name}` is no name for a mempool: 1 to 25 bytes without NUL are expected")]
    InvalidName { name: String },
    #[error(
        "mempool `{name}` of {mbufs} mbufs (about {mib} MiB): {reason}. Raise `eal.memory_mib` or \
         lower `mempool.mbufs` in the hardware profile"
    )]
    Refused { name: String, mbufs: u32, mib: u64, reason: String },
}

/// Why a thread could not be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThreadError {
    #[error("DPDK did not register the thread: {reason}. It has places for 128 threads")]
    Refused { reason: String },
}

/// Why a port could not be opened, or refused a change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    #[error(
        "there is no interface `{interface}` in this network namespace; `ip link` lists what there \
         is"
    )]
    NoSuchInterface { interface: String },
    #[error("there is no PCI device {address}; `dpdk-devbind.py --status` lists what there is")]
    NoSuchDevice { address: String },
    #[error(
        "the PCI device {address} is bound to the kernel driver `{driver}`, where DPDK cannot use \
         it: `dpdk-devbind.py --bind=vfio-pci {address}`"
    )]
    NotBound { address: String, driver: String },
    #[error(
        "device `{device}`: not permitted ({log}). Run as root, or with CAP_NET_ADMIN and \
         CAP_NET_RAW"
    )]
    NotPermitted { device: String, log: String },
    #[error(
        "no driver of DPDK takes the device `{device}` ({log}). On Debian the drivers are in the \
         packages librte-meta-net and librte-meta-bus"
    )]
    NoDriver { device: String, log: String },
    #[error("device `{device}` holds a NUL byte")]
    InvalidName { device: String },
    #[error("device `{device}` carries an MTU of {max} bytes at most, {mtu} was asked for")]
    MtuTooLarge { device: String, mtu: u16, max: u32 },
    #[error("device `{device}` has {max} queue pairs, {asked} were asked for")]
    TooFewQueues { device: String, asked: u16, max: u16 },
    #[error("device `{device}` was opened before and not closed")]
    AlreadyOpen { device: String },
    #[error("device `{device}`: {step} failed: {reason} ({log})")]
    Refused { device: String, step: &'static str, reason: String, log: String },
}
