//! What the benchmarks measure with: nodes in memory, and clients whose own work is not counted.

pub mod clients;
pub mod nic;
pub mod node;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use engine::addr::Addr;
use engine::config::{Config, ServiceConfig, ServiceKind};
use engine::wire::ethernet::Mac;

pub const LAN_MTU: u16 = 1500;
pub const LINK_MTU: u16 = 9000;
pub const VMAC: Mac = Mac([2, 0x48, 0x46, 0, 0, 0x64]);
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
pub const ECHO_PORT: u16 = 7;
pub const DISCARD_PORT: u16 = 9;
/// Simulated time that a turn takes, so that timers run as they would.
pub const TURN_US: u64 = 10;

/// A shard configuration with room for so many connections in all.
pub fn shard_config(connections: u32, shards: u16) -> Config {
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
    /// Runs the node's part of a turn, and takes its time if it counts.
    pub fn node<R>(&mut self, measured: impl FnOnce() -> R) -> R {
        let (result, time) = timed(measured);
        self.turns += 1;
        self.time += time;
        result
    }

    /// The same for the backup's part.
    pub fn backup<R>(&mut self, measured: impl FnOnce() -> R) -> R {
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
