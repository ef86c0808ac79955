//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// TCP clients that check every byte and measure every pause.
///
/// Plain sockets of this machine's kernel; nothing special happens on the wire. Each connection
/// records its longest stall: the longest time without progress while it was expecting some, and
/// when that was.
///
/// Exit code: 0 = every byte right and no reset, 1 = wrong bytes, resets, or no answer in time,
/// 2 = wrong usage, or this machine is not up to it.
#[derive(Debug, Parser)]
#[command(name = "holdfast-probe", version)]
pub struct Cli {
    /// What kind of client.
    #[command(subcommand)]
    pub command: Command,
}

/// Kinds of clients.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Interactive: a message each interval, the echo verified, its round trip measured
    ///
    /// Messages leave when they are due, whether or not the last echo has come, and the round trip
    /// counts from when a message was due: a pause shows in every message that it delayed.
    #[command(after_help = "Example: holdfast-probe echo --target 10.77.0.100:7 -n 50 --size 64 \
        --interval 10 --duration 20 --live")]
    Echo(EchoArgs),
    /// Receives the documented pattern from a stream port and verifies it
    ///
    /// Byte i is the low byte of (i * 2654435761) >> 16 in wrapping 64-bit arithmetic.
    #[command(after_help = "Example: holdfast-probe download --target 10.77.0.100:20 \
        --bytes 1000000000")]
    Download(DownloadArgs),
    /// Sends to a discard port; progress is what the peer's TCP has acknowledged
    ///
    /// The kernel is asked once each millisecond how many bytes are unacknowledged, so that a pause
    /// is seen although the socket takes bytes ahead. Ends with FIN and waits for the peer's.
    Upload(UploadArgs),
    /// Sends to an echo port and reads back at once, so that both directions are busy
    UploadEcho(UploadEchoArgs),
    /// Sends, shuts its sending side down, waits, and must then get everything back and a FIN
    ///
    /// The receive buffer is kept small, so that the server still holds bytes and an open
    /// connection of which one half is closed while this client waits.
    Halfclose(HalfcloseArgs),
    /// Opens many connections, echoes a message on each, waits, and does it again on each
    ///
    /// The report lists the connections that did not survive. `--duration` (`--hold`) and
    /// `--until-file` say when the second message is due.
    #[command(after_help = "Example: holdfast-probe idle --target 10.77.0.100:7 -n 10000 \
        --ready-file /tmp/ready --until-file /tmp/go")]
    Idle(IdleArgs),
    /// Opens a new connection each interval, echoes one message, closes; measures from when it was
    /// due until the echo has come
    Connect(ConnectArgs),
    /// Times what comes through standard input: how many bytes, and the longest pause between them
    ///
    /// For clients that are not this program.
    #[command(after_help = "Example: curl -sf http://10.77.0.100/file | tee file | \
        holdfast-probe meter")]
    Meter(MeterArgs),
}

/// What all clients have in common.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Address and port of the service
    #[arg(long, value_name = "IP:PORT")]
    pub target: SocketAddr,
    /// Connections
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub connections: u32,
    /// Print one JSON object instead of a summary
    #[arg(long)]
    pub json: bool,
    /// Run for so long, or for so long at most if there is another end
    #[arg(long, visible_alias = "hold", value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<Duration>,
    /// Run until this file appears
    #[arg(long, value_name = "PATH")]
    pub until_file: Option<PathBuf>,
    /// After that, wait so long for answers that are still due
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "15")]
    pub grace: Duration,
    /// Print rate and longest stall five times a second, to standard error
    #[arg(long)]
    pub live: bool,
    /// Seed of the bytes that are sent
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Arguments of `echo`.
#[derive(Debug, Args)]
pub struct EchoArgs {
    /// Common ones.
    #[command(flatten)]
    pub common: Common,
    /// Bytes of a message
    #[arg(long, value_name = "BYTES", default_value_t = 64,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub size: u64,
    /// Time between two messages of a connection
    #[arg(long, value_name = "MS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub interval: u64,
}

/// Arguments of `download`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("length").required(true).args(["bytes", "endless"]))]
pub struct DownloadArgs {
    /// Common ones.
    #[command(flatten)]
    pub common: Common,
    /// Ask for so many bytes, with a line "N\n", and expect a FIN behind them
    #[arg(long, value_name = "N")]
    pub bytes: Option<u64>,
    /// The port sends without being asked, and without end
    #[arg(long)]
    pub endless: bool,
    /// Where in the pattern byte 0 lies, for a service with a seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub offset: u64,
    /// No faster than this for each connection, in Mbit/s of payload
    #[arg(long, value_name = "MBIT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,
}

/// Arguments of `upload`.
#[derive(Debug, Args)]
pub struct UploadArgs {
    /// Common ones.
    #[command(flatten)]
    pub common: Common,
    /// Send so many bytes; without it, send until the time is over
    #[arg(long, value_name = "N")]
    pub bytes: Option<u64>,
    /// No faster than this for each connection, in Mbit/s of payload
    #[arg(long, value_name = "MBIT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,
}

/// Arguments of `upload-echo`.
#[derive(Debug, Args)]
pub struct UploadEchoArgs {
    /// Common ones.
    #[command(flatten)]
    pub common: Common,
    /// Bytes to send and to get back
    #[arg(long, value_name = "N", default_value_t = 64 << 20)]
    pub bytes: u64,
    /// No faster than this for each connection, in Mbit/s of payload
    #[arg(long, value_name = "MBIT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,
}

/// Arguments of `halfclose`.
#[derive(Debug, Args)]
pub struct HalfcloseArgs {
    /// Common ones.
    #[command(flatten)]
    pub common: Common,
    /// Bytes to send and to get back
    #[arg(long, value_name = "N", default_value_t = 256 << 10)]
    pub bytes: u64,
    /// Read nothing until this file appears; else for `--hold` seconds
    #[arg(long, value_name = "PATH", conflicts_with = "until_file")]
    pub hold_until_file: Option<PathBuf>,
}

/// Arguments of `idle`.
#[derive(Debug, Args)]
pub struct IdleArgs {
    /// Common ones.
    #[command(flatten)]
    pub common: Common,
    /// Connections opened in a second, and later asked in a second
    #[arg(long, value_name = "COUNT", default_value_t = 2000,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub ramp: u64,
    /// Create this file when all connections are open and were answered
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
}

/// Arguments of `connect`.
#[derive(Debug, Args)]
pub struct ConnectArgs {
    /// Common ones; `-n` is the number of connections to open.
    #[command(flatten)]
    pub common: Common,
    /// Time between two connections
    #[arg(long, value_name = "MS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub interval: u64,
}

/// Arguments of `meter`.
#[derive(Debug, Args)]
pub struct MeterArgs {
    /// Print one JSON object instead of a summary
    #[arg(long)]
    pub json: bool,
    /// Give up after so long
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "600")]
    pub duration: Duration,
}

impl Command {
    /// Name as it is typed.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Echo(_) => "echo",
            Command::Download(_) => "download",
            Command::Upload(_) => "upload",
            Command::UploadEcho(_) => "upload-echo",
            Command::Halfclose(_) => "halfclose",
            Command::Idle(_) => "idle",
            Command::Connect(_) => "connect",
            Command::Meter(_) => "meter",
        }
    }

    /// Whether the report is for scripts.
    pub fn wants_json(&self) -> bool {
        match self {
            Command::Meter(args) => args.json,
            other => other.common().is_some_and(|common| common.json),
        }
    }

    /// What it shares with the others; a meter has no connections.
    pub fn common(&self) -> Option<&Common> {
        Some(match self {
            Command::Echo(args) => &args.common,
            Command::Download(args) => &args.common,
            Command::Upload(args) => &args.common,
            Command::UploadEcho(args) => &args.common,
            Command::Halfclose(args) => &args.common,
            Command::Idle(args) => &args.common,
            Command::Connect(args) => &args.common,
            Command::Meter(_) => return None,
        })
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    const MAX_S: f64 = 86_400.0;
    match text.parse() {
        Ok(seconds) if (0.0..=MAX_S).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("expected a number of seconds, 0 to {MAX_S}")),
    }
}
