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

pub use clients::{Clients, Work};
pub use log::Log;
pub use nic::PoolFrame;
pub use node::{Engine, Node, Serving};

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use engine::addr::Addr;
use engine::config::{Config, ServiceConfig, ServiceKind};
use engine::wire::ethernet::Mac;

const LAN_MTU: u16 = 1500;
const LINK_MTU: u16 = 9000;
const VMAC: Mac = Mac([2, 0x48, 0x46, 0, 0, 0x64]);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
const ECHO_PORT: u16 = 7;
const DISCARD_PORT: u16 = 9;
/// Simulated time that a turn takes, so that timers run as they would.
const TURN_US: u64 = 10;

/// A shard configuration with room for so many connections in all.
fn shard_config(connections: u32, shards: u16) -> Config {
    Config {
        vips: vec![Addr::from(VIP)],
        shards,
        max_connections: connections.div_ceil(shards.into()) * 3 / 2 + 64,
        services: vec![
            ServiceConfig::new("echo", ECHO_PORT, ServiceKind::Echo),
            ServiceConfig::new("discard", DISCARD_PORT, ServiceKind::Discard),
        ],
        ..Config::default()
    }
}

/// What the measured part of a benchmark took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    /// Whether turns count at this moment.
    pub on: bool,
    /// Turns of the node's loop that counted.
    pub turns: u64,
    /// Time in them.
    pub time: Duration,
    /// Time in the backup's loops meanwhile.
    pub backup_time: Duration,
}

impl Meter {
    /// A meter that counts.
    #[must_use]
    pub fn running() -> Meter {
        Meter { on: true, ..Meter::default() }
    }

    /// Runs the node's part of a turn, and takes its time if it counts.
    fn node<R>(&mut self, measured: impl FnOnce() -> R) -> R {
        let (result, time) = timed(measured);
        self.turns += 1;
        self.time += time;
        result
    }

    /// The same for the backup's part.
    fn backup<R>(&mut self, measured: impl FnOnce() -> R) -> R {
        let (result, time) = timed(measured);
        self.backup_time += time;
        result
    }
}

fn timed<R>(run: impl FnOnce() -> R) -> (R, Duration) {
    let start = Instant::now();
    let result = run();
    (result, start.elapsed())
}
