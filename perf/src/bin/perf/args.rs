//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use crate::ranges::{AddressRange, PortRange};

/// Puts load on a TCP server and measures it: over DPDK with this project's own TCP, or over the
/// kernel's sockets.
///
/// Every byte that comes back is verified. With a rate, latency counts from when a request was due,
/// not from when it could at last be sent, so a server that pauses does not hide it.
///
/// Exit code: 0 = all went well, 1 = a connection failed, bytes were wrong or the target did not
/// answer (what was measured until then is printed), 2 = wrong usage, or this machine is not up to
/// it.
#[derive(Debug, Parser)]
#[command(name = "holdfast-perf", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Requests and responses on open connections
    ///
    /// Without a rate each connection keeps as many requests on their way as the pipelining depth
    /// says (closed loop). With one, requests are due at even distances whatever the answers do
    /// (open loop), and are spread over the connections in turn.
    #[command(after_help = "Example: holdfast-perf rpc --kernel --target 10.77.0.100:7 -n 64 \
        --duration 5 --json result.json")]
    Rpc(RpcArgs),
    /// Streams of bytes: up, down or both ways
    ///
    /// Up expects a service that discards, down one that sends the documented pattern without end,
    /// both one that echoes. Up counts what the peer's TCP has acknowledged.
    #[command(after_help = "Example: holdfast-perf bulk --kernel --target 10.77.0.100:19 --down")]
    Bulk(BulkArgs),
    /// Connect, request, response, close, over and over
    ///
    /// The time of a cycle is from when it was due until both sides have closed.
    #[command(after_help = "Example: holdfast-perf crr --kernel --target 10.77.0.100:7 -n 16")]
    Crr(CrrArgs),
    /// Opens many connections and holds them, touching them now and then
    ///
    /// In the end each connection has to answer one more request; the ones that do are alive.
    #[command(after_help = "Example: holdfast-perf idle --kernel --bind 10.77.0.10-10.77.0.29 \
        --target 10.77.0.100:7 -n 1000000 --ramp 20 --hold 30")]
    Idle(IdleArgs),
    /// Runs a load, and during it a command that harms the server; reports the pauses
    ///
    /// Each connection's longest time without progress goes into a histogram. The command runs in a
    /// shell; when it began stands in the timeline.
    #[command(
        after_help = "Example: holdfast-perf failover --command 'ip netns exec a kill -9 7' \
        --at 3 -- rpc --kernel --target 10.77.0.100:7 -n 100 --duration 6"
    )]
    Failover(FailoverArgs),
    /// Reports on results of earlier runs, several in one picture
    Report(crate::report::ReportArgs),
    /// Draws a table of numbers as curves
    ///
    /// The first column is the horizontal axis; another one is named `panel: curve`.
    Draw(crate::report::DrawArgs),
    /// Print the completions of a shell
    Completions(crate::docs::CompletionsArgs),
    /// Print the manual page, or write one for each command into a folder
    Man(crate::docs::ManArgs),
}

/// Arguments of `rpc`.
#[derive(Debug, Args)]
pub struct RpcArgs {
    #[command(flatten)]
    pub exchange: ExchangeArgs,
    /// Connections
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=16_000_000))]
    pub connections: u32,
    /// Requests of one connection that may be on their way at a time
    #[arg(long, value_name = "DEPTH", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub pipeline: u32,
    /// Requests a second, all connections together (open loop); without it, as fast as answers come
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    pub rate: Option<f64>,
    #[command(flatten)]
    pub opening: OpeningArgs,
    #[command(flatten)]
    pub length: LengthArgs,
    #[command(flatten)]
    pub common: CommonArgs,
}

/// What a request and its response are.
#[derive(Debug, Clone, Args)]
pub struct ExchangeArgs {
    /// Bytes of a request of the echo protocol
    #[arg(long, value_name = "BYTES", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub request: u32,
    /// What the server speaks
    #[arg(long, value_enum, default_value_t = Protocol::Echo)]
    pub protocol: Protocol,
    /// What to get from an HTTP server; each response must be the same as the first
    #[arg(long, value_name = "PATH", default_value = "/index.html")]
    pub path: String,
}

/// Protocols of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// The server sends back what it receives.
    Echo,
    /// HTTP/1.1, GET.
    Http,
}

/// Arguments of `bulk`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("direction").required(true).args(["up", "down", "both"]))]
pub struct BulkArgs {
    /// Send
    #[arg(long)]
    pub up: bool,
    /// Receive
    #[arg(long)]
    pub down: bool,
    /// Send, and receive what comes back
    #[arg(long)]
    pub both: bool,
    /// Connections
    #[arg(long, value_name = "COUNT", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub streams: u32,
    /// Stop a stream after so many bytes; without it, when the time is over
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub bytes: Option<u64>,
    /// Measure for so long [default: 10, without end if there is another one]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<Duration>,
    #[command(flatten)]
    pub opening: OpeningArgs,
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Arguments of `crr`.
#[derive(Debug, Args)]
pub struct CrrArgs {
    #[command(flatten)]
    pub exchange: ExchangeArgs,
    /// Cycles that may be under way at a time
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub concurrent: u32,
    /// Cycles a second (open loop); without it, as fast as they come to their ends
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    pub rate: Option<f64>,
    /// End each cycle with RST as soon as the response is there, which leaves no TIME-WAIT
    #[arg(long)]
    pub reset: bool,
    #[command(flatten)]
    pub length: LengthArgs,
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Arguments of `idle`.
#[derive(Debug, Args)]
pub struct IdleArgs {
    #[command(flatten)]
    pub exchange: ExchangeArgs,
    /// Connections
    #[arg(short = 'n', long, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..=16_000_000))]
    pub connections: u32,
    /// Requests a second, spread over the connections in turn; without it, none
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    pub touch_rate: Option<f64>,
    /// Hold the connections for so long
    #[arg(long, visible_alias = "duration", value_name = "SECONDS", value_parser = seconds,
          default_value = "10")]
    pub hold: Duration,
    #[command(flatten)]
    pub opening: OpeningArgs,
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Arguments of `failover`.
#[derive(Debug, Args)]
pub struct FailoverArgs {
    /// What to do to the server, for a shell
    #[arg(long, value_name = "COMMAND")]
    pub command: String,
    /// When, after the measurement's start
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "3")]
    pub at: Duration,
    /// The load: one of the other commands with its options
    #[arg(last = true, required = true, value_name = "LOAD")]
    pub load: Vec<String>,
}

/// How connections are opened that stay open.
#[derive(Debug, Clone, Args)]
pub struct OpeningArgs {
    /// Spread the opening of the connections over so long; the measurement begins after it
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "0")]
    pub ramp: Duration,
    /// Handshakes that may be under way at a time
    #[arg(long, value_name = "COUNT", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub handshakes: u32,
}

/// When a run ends.
#[derive(Debug, Clone, Args)]
pub struct LengthArgs {
    /// Measure for so long [default: 10, without end if there is a count]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<Duration>,
    /// Stop after so many requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

/// What all loads have in common.
#[derive(Debug, Clone, Args)]
pub struct CommonArgs {
    /// Address and port of the service
    #[arg(long, value_name = "IP:PORT")]
    pub target: SocketAddr,
    /// Give up when nothing at all was answered for so long
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "15")]
    pub timeout: Duration,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub backend: BackendArgs,
}

/// Where results go.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Write the result as JSON; `-` is standard output, in place of the summary
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the latencies as an HdrHistogram log, one line for each second
    #[arg(long, value_name = "FILE")]
    pub hlog: Option<PathBuf>,
    /// Draw latencies and throughput: .svg or .png
    #[arg(long, value_name = "FILE", value_parser = crate::report::plot_path)]
    pub plot: Option<PathBuf>,
    /// Write a report that stands alone
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Name of the run in pictures and reports
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// Show no progress and print no summary
    #[arg(long)]
    pub quiet: bool,
}

/// What carries the connections.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Backend")]
#[command(group = ArgGroup::new("backend").required(true).args(["kernel", "device"]))]
pub struct BackendArgs {
    /// The kernel's sockets
    #[arg(long)]
    pub kernel: bool,
    /// With --kernel: addresses of this host to connect from
    #[arg(long, value_name = "FIRST-LAST", requires = "kernel")]
    pub bind: Option<AddressRange>,
    /// A device for DPDK and this project's own TCP: interface, PCI address or socket
    #[arg(long, value_name = "DEVICE", requires_all = ["profile", "address"])]
    pub device: Option<String>,
    /// What kind of device: memif, af_packet, ring, tap, ...
    #[arg(long, value_name = "NAME", conflicts_with = "kernel")]
    pub profile: Option<String>,
    /// A file that replaces single keys of the profile
    #[arg(long, value_name = "FILE", conflicts_with = "kernel")]
    pub profile_file: Option<PathBuf>,
    /// The generator's address and the length of the network's prefix
    #[arg(long, value_name = "ADDRESS/LEN", conflicts_with = "kernel")]
    pub address: Option<Network>,
    /// Addresses to connect from [default: the generator's]
    #[arg(long, value_name = "FIRST-LAST", conflicts_with = "kernel")]
    pub sources: Option<AddressRange>,
    /// Ports to connect from; with --kernel, only if there is --bind
    #[arg(long, value_name = "FIRST-LAST", default_value = "1024-65535")]
    pub ports: PortRange,
    /// Where packets to other networks go
    #[arg(long, value_name = "ADDRESS", conflicts_with = "kernel")]
    pub gateway: Option<IpAddr>,
    /// Processor to run on
    #[arg(long, value_name = "N")]
    pub core: Option<u16>,
    /// Largest IP packet
    #[arg(long, value_name = "BYTES", default_value_t = 1500, conflicts_with = "kernel",
          value_parser = clap::value_parser!(u16).range(576..=9000))]
    pub mtu: u16,
    /// Keeps this process' DPDK apart from others' on this host
    #[arg(long, value_name = "TEXT", conflicts_with = "kernel")]
    pub file_prefix: Option<String>,
    /// Memory for DPDK
    #[arg(long, value_name = "MIB", conflicts_with = "kernel")]
    pub eal_memory_mib: Option<u32>,
}

/// An address and the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The address.
    pub address: IpAddr,
    /// Bits of the prefix, 0 to 32 or to 128.
    pub prefix_len: u8,
}

impl Network {
    /// Whether another address is in the same network. Link-local ones are in every one of IPv6.
    pub fn contains(&self, other: IpAddr) -> bool {
        let prefix_len = u32::from(self.prefix_len);
        match (self.address, other) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).leading_zeros() >= prefix_len
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                theirs.is_unicast_link_local()
                    || (ours.to_bits() ^ theirs.to_bits()).leading_zeros() >= prefix_len
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (address, prefix_len) = text.split_once('/')?;
            let address: IpAddr = address.parse().ok()?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let prefix_len = prefix_len.parse().ok().filter(|len| *len <= most)?;
            Some(Network { address, prefix_len })
        };
        parse().ok_or_else(|| {
            format!("expected an address like 10.0.0.2/24 or fd77::2/64, not {text:?}")
        })
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    const MAX_S: f64 = 864_000.0;
    match text.parse() {
        Ok(seconds) if (0.0..=MAX_S).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("expected a number of seconds, 0 to {MAX_S}")),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    const RANGE: std::ops::RangeInclusive<f64> = 0.001..=1e9;
    match text.parse() {
        Ok(rate) if RANGE.contains(&rate) => Ok(rate),
        _ => Err(format!("expected a number per second, {} to {}", RANGE.start(), RANGE.end())),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn backend_is_one_of_two_and_complete() {
        let parse = |rest: &str| {
            let line = format!("holdfast-perf rpc --target 10.0.0.1:7 {rest}");
            Cli::try_parse_from(line.split_whitespace()).map(|_| ()).map_err(|e| e.to_string())
        };
        assert_eq!(parse("--kernel --bind 10.0.0.2-10.0.0.3"), Ok(()));
        assert_eq!(parse("--device m --profile memif --address 10.0.0.2/24"), Ok(()));
        assert!(parse("").is_err());
        assert!(parse("--kernel --device m --profile memif --address 10.0.0.2/24").is_err());
        assert!(parse("--device m --profile memif").unwrap_err().contains("--address"));
        assert!(parse("--kernel --rate 0").unwrap_err().contains("0.001"));
        assert!(parse("--kernel -n 0").is_err());
    }

    #[test]
    fn networks_contain_their_addresses() {
        let contains = |network: &str, other: &str| {
            let network: Network = network.parse().unwrap();
            network.contains(other.parse().unwrap())
        };
        assert!(contains("10.77.0.10/24", "10.77.0.200"));
        assert!(!contains("10.77.0.10/24", "10.77.1.10"));
        assert!(contains("10.77.0.10/0", "1.1.1.1"));
        assert!(contains("fd77::10/64", "fd77::1:2:3:4"));
        assert!(!contains("fd77::10/64", "fd77:0:0:1::10"));
        assert!(contains("fd77::10/64", "fe80::1"));
        assert!(!contains("fd77::10/0", "10.77.0.10"));
        assert!("fd77::1/129".parse::<Network>().is_err());
        assert!("10.0.0.1/33".parse::<Network>().is_err());
        assert!("10.0.0.1".parse::<Network>().is_err());
    }
}
