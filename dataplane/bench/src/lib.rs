//! What the hot path costs: nodes behind cards in memory, and clients that keep them busy and whose
//! own work does not count.
//!
//! A [`Node`] is a shard alone, a worker, or a worker with its backup; [`Clients`] give it one kind
//! of [`Work`], a [`Meter`] takes the time of the node's turns. `log` does the same for the
//! replication log alone. What counts happens in functions called `counted_…`, which never are
//! inlined: a profiler finds them by name.
//!
//! `main` prints nanoseconds, `benches/hot_path` has criterion's statistics, and `scripts/counts`
//! counts instructions.

mod clients;
mod log;
mod nic;
mod node;
mod takeover;

pub use clients::{Clients, Work};
pub use log::Log;
pub use nic::PoolFrame;
pub use node::{Engine, Node, Serving};
pub use takeover::Takeover;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use engine::addr::Addr;
use engine::config::{Config, ServiceConfig, ServiceKind};
use engine::wire::ethernet::Mac;
use replication::{KeyRing, Protection};

const LAN_MTU: u16 = 1500;
const LINK_MTU: u16 = 9000;
const VMAC: Mac = Mac([2, 0x48, 0x46, 0, 0, 0x64]);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
const ECHO_PORT: u16 = 7;
const DISCARD_PORT: u16 = 9;
/// Simulated time that a turn takes, so that timers run as they would.
const TURN_US: u64 = 10;

/// How a log is protected unless it is told otherwise.
#[must_use]
pub fn sealed() -> Protection {
    Protection::Sealed(KeyRing::single("bench", b"secret"))
}

/// A shard configuration with room for so many connections in all.
fn shard_config(connections: u32, shards: u16) -> Config {
    // Flows do not spread evenly.
    let a_shard = connections.div_ceil(shards.into()) * 3 / 2 + 64;
    let default = Config::default();
    Config {
        vips: vec![Addr::from(VIP)],
        shards,
        max_connections: a_shard,
        // Each connection may have a response on its way.
        pool_blocks: default.pool_blocks.max(2 * a_shard),
        tx_segments: default.tx_segments.max(2 * a_shard),
        services: vec![
            ServiceConfig::new("echo", ECHO_PORT, ServiceKind::Echo),
            ServiceConfig::new("discard", DISCARD_PORT, ServiceKind::Discard),
        ],
        ..default
    }
}

/// A turn that took so many times the median was interrupted by something else on the machine.
const INTERRUPTED: u32 = 10;

/// Takes the time of the turns that count.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    on: bool,
    node: Vec<Duration>,
    backup: Vec<Duration>,
}

impl Meter {
    /// A meter that counts; the default one does not.
    #[must_use]
    pub fn running() -> Meter {
        Meter { on: true, ..Meter::default() }
    }

    /// The node's turns so far.
    #[must_use]
    pub fn turns(&self) -> usize {
        self.node.len()
    }

    /// Time that the node's turns took, as if none had been interrupted.
    #[must_use]
    pub fn node_time(&self) -> Duration {
        uninterrupted(&self.node)
    }

    /// The same of the backup's turns.
    #[must_use]
    pub fn backup_time(&self) -> Duration {
        uninterrupted(&self.backup)
    }

    fn node<R>(&mut self, measured: impl FnOnce() -> R) -> R {
        timed(measured, &mut self.node)
    }

    fn backup<R>(&mut self, measured: impl FnOnce() -> R) -> R {
        timed(measured, &mut self.backup)
    }
}

fn timed<R>(run: impl FnOnce() -> R, turns: &mut Vec<Duration>) -> R {
    let start = Instant::now();
    let result = run();
    turns.push(start.elapsed());
    result
}

fn uninterrupted(turns: &[Duration]) -> Duration {
    let mut sorted = turns.to_vec();
    sorted.sort_unstable();
    let Some(median) = sorted.get(sorted.len() / 2) else { return Duration::ZERO };
    let bound = *median * INTERRUPTED;
    let kept: Vec<Duration> = sorted.into_iter().take_while(|turn| *turn <= bound).collect();
    kept.iter().sum::<Duration>().mul_f64(turns.len() as f64 / kept.len().max(1) as f64)
}
