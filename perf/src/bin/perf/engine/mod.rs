//! Connections over DPDK and this project's own TCP: one shard in the client's role and a poll loop
//! on one core, made to load a node to its limits.
//!
//! On the packet path there is no heap, no lock and no system call but the clock's. Start with
//! [`start`], then `generator`, which is the poll loop.

mod book;
mod device;
mod generator;
mod local_ends;
mod neighbour;
mod rest;
mod wire;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use engine::addr::Endpoint;
use engine::config::{Config, ServiceConfig, ServiceKind, TcpConfig};
use engine::content::Content;
use engine::shard::Shard;
use worker::{DpdkNic, Nic};

use crate::args::BackendArgs;
use crate::ranges::AddressRange;
use generator::Generator;
pub use local_ends::LocalEnds;
use neighbour::Neighbour;
use rest::Rest;

/// The transport of a real device.
pub type Engine = Generator<DpdkNic>;

/// How long the target, or the gateway to it, may take to say where it is. A device may need a
/// moment until its link is up.
const HOP_TIMEOUT: Duration = Duration::from_secs(3);
/// Connections beyond those of the load: in TIME-WAIT, or about to go.
const SPARE_CONNECTIONS: u32 = 4096;
/// Twice this is how long a local port rests before it is used again. Nothing lives long on the
/// short ways that a generator is for.
const MSL_US: u64 = 1000;
/// Bytes of a connection's send and receive buffer.
const BUFFER_BYTES: u32 = 1 << 20;

/// Nobody answered ARP or its like: the target is down, or not there.
#[derive(Debug)]
pub struct Unreachable {
    hop: IpAddr,
    target: IpAddr,
    device: String,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unreachable { hop, target, device } = self;
        let who = if hop == target { "the target" } else { "the gateway" };
        let question = if hop.is_ipv4() { "ARP" } else { "a neighbour solicitation" };
        let seconds = HOP_TIMEOUT.as_secs();
        write!(
            f,
            "{who} {hop} did not answer {question} within {seconds} s on {device}: is it up, and "
        )?;
        f.write_str("on the other end of this device? Is it the primary?")
    }
}

impl std::error::Error for Unreachable {}

/// Opens the device and finds the target, for a load of so many connections at a time. The calling
/// thread must be the one that polls.
///
/// # Errors
/// The machine or the arguments are not up to it; or [`Unreachable`], to be had by
/// [`anyhow::Error::downcast_ref`].
pub fn start(args: &BackendArgs, target: SocketAddr, connections: u32) -> anyhow::Result<Engine> {
    let plan = Plan::new(args, target, connections)?;
    let opened = device::open(args)?;
    let device = opened.description.clone();
    let (hop, target) = (plan.neighbour.hop(), plan.target_address);
    let mut engine = plan.generator(opened.nic, opened.rest, opened.name);
    let card = opened.card;
    engine.watch(move || card.remarks());
    ensure!(engine.find_way(HOP_TIMEOUT), Unreachable { hop, target, device });
    Ok(engine)
}

/// What is decided before a device is opened.
struct Plan {
    config: Config,
    ends: LocalEnds,
    neighbour: Neighbour,
    target: Endpoint,
    target_address: IpAddr,
}

impl Plan {
    fn new(args: &BackendArgs, target: SocketAddr, connections: u32) -> anyhow::Result<Plan> {
        let network = args.address.context("--address is missing")?;
        let sources = args.sources.unwrap_or_else(|| AddressRange::single(network.address));
        let [a, b, c, d, ..] = random_key();
        let ends =
            LocalEnds::new(sources, args.ports).starting_at(u32::from_le_bytes([a, b, c, d]));
        ensure!(
            connections <= ends.total(),
            "{connections} connections are wanted, which is more than local addresses and ports \
             allow ({ends}): widen --sources or --ports"
        );
        let neighbour = Neighbour::new(network, sources, args.gateway, target.ip())?;
        let config = config(connections, args.mtu);
        config.validate()?;
        let target_address = target.ip();
        let target = Endpoint::new(target_address, target.port());
        Ok(Plan { config, ends, neighbour, target, target_address })
    }

    fn generator<N: Nic>(self, nic: N, rest: Rest, name: String) -> Generator<N> {
        let shard = Shard::new(0, Arc::new(self.config), Arc::new(Content::default()));
        Generator::new(nic, shard, self.ends, self.neighbour, self.target, rest, name)
    }
}

/// One service for all connections, with buffers for a fast stream and memory for what is likely to
/// be under way at a time.
fn config(connections: u32, mtu: u16) -> Config {
    let mut service = ServiceConfig::new("load", 1, ServiceKind::External);
    service.send_buffer_bytes = BUFFER_BYTES;
    service.recv_buffer_bytes = BUFFER_BYTES;
    Config {
        max_connections: connections.saturating_add(SPARE_CONNECTIONS),
        pool_blocks: connections.saturating_mul(2).clamp(32_768, 524_288),
        tx_segments: connections.saturating_mul(2).clamp(65_536, 4_194_304),
        mtu,
        isn_key: random_key(),
        tcp: TcpConfig { msl_us: MSL_US, ..TcpConfig::default() },
        services: vec![service],
        ..Config::default()
    }
}

/// The standard library's source of randomness is meant for hash maps, and good enough to tell runs
/// apart.
fn random_key() -> [u8; 16] {
    use std::hash::{BuildHasher, RandomState};
    let half = || RandomState::new().hash_one(0_u8).to_le_bytes();
    let (low, high) = (half(), half());
    std::array::from_fn(|i| if i < 8 { low[i] } else { high[i - 8] })
}
