//! DPDK, safely: the environment ([`Eal`]), ports and their queues ([`Port`], [`RxQueue`],
//! [`TxQueue`]), and frames with an owner ([`Mempool`], [`Mbuf`]).
//!
//! What the compiler checks: a frame is freed once and only by its owner; a queue has one user at
//! a time; a port is closed only after its last queue handle is gone. What must never happen here:
//! a policy (which cores, which frames, which addresses), a heap allocation or a lock in a burst
//! call, and knowledge of anything above Ethernet.
//!
//! Start reading at [`Eal::init`], then [`Port::open`]; the hot path is [`RxQueue::receive`] and
//! [`TxQueue::transmit`].
//!
//! ```no_run
//! use arrayvec::ArrayVec;
//! use dpdk::{Eal, EalConfig, Mbuf, Mempool, Port, PortConfig, ThreadRegistration};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let profile = hw_profiles::load("af_packet", None)?;
//! let eal = Eal::init(&EalConfig::from_profile(&profile.eal, "hf-a", Vec::new()))?;
//! let config = PortConfig::from_profile(&profile, 0, "eth0", 1, 1500).ok_or("MTU too large")?;
//! let pool = Mempool::new(&eal, "lan", &config.mempool(&profile).ok_or("MTU too large")?)?;
//! let mut port = Port::open(&eal, &config, &pool)?;
//!
//! // In the thread of a worker: send back whatever comes.
//! let mut queues = port.take_queues().remove(0);
//! let _registration = ThreadRegistration::new(&eal)?;
//! let mut frames = ArrayVec::<Mbuf, 32>::new();
//! loop {
//!     queues.rx.receive(&mut frames);
//!     queues.tx.transmit(&mut frames);
//! }
//! # }
//! ```

// The one place besides `dpdk-sys` that calls foreign code; each block says why it is sound.
#![allow(unsafe_code)]

mod eal;
mod error;
mod log;
mod mbuf;
mod mempool;
mod port;
mod system;
mod thread;

pub use eal::{Eal, EalConfig};
pub use error::{EalError, MempoolError, PortError, ThreadError};
pub use mbuf::{ChecksumStatus, Mbuf, TxChecksum, free_burst};
pub use mempool::{Mempool, MempoolConfig};
pub use port::{
    Link, MacFilter, Offloads, Port, PortConfig, QueueCounters, QueuePair, RxQueue, Stats, TxQueue,
};
pub use thread::ThreadRegistration;
