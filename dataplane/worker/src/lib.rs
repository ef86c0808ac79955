//! The poll loop of a core: frames come in, are checked once, go into the log and through the
//! shard's step, wait in the gate, and leave.
//!
//! A [`Worker`] owns its queues, its shards, its session channels and its gate; workers of a node
//! share nothing but bounded rings and a board of atomics. It is compiled for a [`Nic`], a
//! [`Clock`] and a [`Steward`], so that a simulation runs the very same loop.
//!
//! On the packet path it must never allocate from the heap, take a lock, make a system call or
//! format a string. It knows nothing of TCP's states (`engine`) nor of how batches cross the link
//! (`replication`).
//!
//! Start reading at `poll`, which is the loop; then `ingress`, `primary`, `backup`, `takeover`.

pub mod clock;
pub mod config;
pub mod counters;
pub mod crew;
pub mod events;
pub mod latency;
pub mod neighbours;
pub mod nic;
#[cfg(feature = "dpdk")]
pub mod nic_dpdk;
pub mod nic_memory;
pub mod poll;
pub mod query;
pub mod spread;
pub mod steward;

mod admission;
mod announce;
mod backup;
mod board;
mod channel;
mod discover;
mod door;
mod duty;
mod early;
mod egress;
mod handover;
mod icmp;
mod idle;
mod ingress;
mod input;
mod inspect;
mod kept;
mod limit;
mod links;
mod logs;
mod majority;
mod port;
mod primary;
mod receive;
mod replay;
mod respond;
mod seen;
mod shards;
mod solicit;
mod switchover;
mod takeover;

pub use clock::{At, Clock, MonotonicClock};
pub use config::{AddressConfig, Commit, Ingress, Keep, NodeConfig, PortConfig};
pub use counters::Counters;
pub use crew::{Crew, CrewError, Shares, crew, spawn};
pub use events::Event;
pub use ingress::MAX_VIPS;
pub use input::LOG_VERSION;
pub use nic::{Frame, Nic, Offloads, RxChecksum, TxChecksum};
#[cfg(feature = "dpdk")]
pub use nic_dpdk::DpdkNic;
pub use nic_memory::{MemoryNic, Wire};
pub use poll::{Turn, Worker};
pub use query::Query;
pub use steward::Steward;
