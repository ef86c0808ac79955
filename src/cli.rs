//! The command line: what can be asked for, and the help that teaches it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use controlplane::NodeName;
use replication::Incarnation;

const EXIT_CODES: &str = "\
Exit codes:
  0  done, nothing wrong
  1  a problem was found; it is on standard error
  2  the command line is wrong
  3  the node can't be reached on its admin socket";

const MAIN_HELP: &str = "\
First steps on a machine:
  holdfast doctor -c node.toml     what is missing here, and the command that mends it
  holdfast check -c node.toml      is the file right, and what would run
  holdfast run -c node.toml        run the node in the foreground
  holdfast status                  who serves, is the peer in sync, what happened
  holdfast conns state established sport = :80
  holdfast switchover --wait       let the other node serve

Run the same on the second machine with its own node.toml: the [cluster] part must be the same on
both, word for word.";

/// A TCP appliance whose connections survive the machine that serves them.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = MAIN_HELP, after_long_help = format!("{MAIN_HELP}\n\n{EXIT_CODES}"))]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Doctor(DoctorArgs),
    Check(CheckArgs),
    Run(RunArgs),
    Witness(WitnessArgs),
    Status(StatusArgs),
    Conns(ConnsArgs),
    Switchover(SwitchoverArgs),
    Drain(DrainArgs),
    Undrain(UndrainArgs),
    UpgradeCheck(UpgradeCheckArgs),
    Keys(KeysArgs),
    Profiles(ProfilesArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Look at this machine and say what would keep a node from running well
///
/// Checks hugepages, drivers, interfaces, offloads, cores, clock, permissions, DPDK and addresses.
/// Changes nothing. Each finding comes with the command that mends it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast doctor                  what any node needs
  holdfast doctor -c node.toml     and what this node needs
  holdfast doctor -c node.toml --json | jq '.findings[] | select(.severity == \"error\")'

Exit code 1 when a finding is an error; warnings and notes give 0.")]
pub struct DoctorArgs {
    /// The node's configuration; without it only the machine itself is looked at
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Check a configuration and print what would run
///
/// Reads the file and the content folders that it names; touches no device.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast check -c node.toml
  holdfast check -c node.toml --json | jq -r .manifest_digest    the same on both nodes?
  diff <(ssh a holdfast check -c node.toml --manifest) \\
       <(ssh b holdfast check -c node.toml --manifest)           what differs?

Exit code 1 when the file is wrong; all that is wrong is listed at once.")]
pub struct CheckArgs {
    /// The node's configuration
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print only the lines that two nodes compare when they meet
    #[arg(long, conflicts_with = "json")]
    pub manifest: bool,
}

/// Run a node in the foreground
///
/// Ends with SIGTERM or SIGINT (exit code 0). Logs to standard error as [log] says. A node whose
/// configuration or files differ from its peer's does not end: it stays a spare and says why.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast run -c /etc/holdfast/node.toml
  holdfast run -c node.toml --log-level info,worker=debug

Needs root, or CAP_NET_RAW, CAP_NET_ADMIN and CAP_IPC_LOCK; `holdfast doctor` says what is
missing.")]
pub struct RunArgs {
    /// The node's configuration
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Instead of [log] level: error, warn, info, debug, trace, or e.g. info,worker=debug
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Make the memory of this node's vote, or the cluster's key in etcd; once, when the register is
    /// new
    #[arg(long)]
    pub init: bool,
    /// Take it that this run of a node has ended, which nothing proves; `status` names it
    #[arg(long, value_name = "RUN", value_parser = run_number)]
    pub assume_ended: Vec<Incarnation>,
}

fn run_number(text: &str) -> Result<Incarnation, String> {
    let number = u64::from_str_radix(text, 16).ok().filter(|number| *number != 0);
    number.map(Incarnation).ok_or_else(|| "expected up to 16 hexadecimal digits".into())
}

/// Run a witness: the third vote about who is primary
///
/// Small enough for any machine that neither node depends on: it keeps a vote and no connections,
/// and needs no DPDK and no privileges. Its file has [cluster] name and secret, [register] as the
/// nodes have it, and [witness] name.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast witness -c witness.toml --init     the first time
  holdfast witness -c witness.toml            from then on

Ends with SIGTERM or SIGINT (exit code 0), or when its memory cannot be saved (exit code 1).")]
pub struct WitnessArgs {
    /// The witness's configuration
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Instead of [log] level: error, warn, info, debug, trace, or e.g. info,quorum=debug
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Make the memory of this vote; once, when a cluster's register is new
    #[arg(long)]
    pub init: bool,
}

/// Where a running node listens for questions.
#[derive(Debug, Args)]
pub struct SocketArgs {
    /// Admin socket; the only one in /run/holdfast when absent
    #[arg(short, long, env = "HOLDFAST_SOCKET", value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// Show a running node: role, peer, connections, memory, last takeover; or its latencies
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast status
  holdfast status -s /run/holdfast/a.sock --watch
  holdfast status --json | jq -r .role
  holdfast status --latency --reset; sleep 10; holdfast status --latency
  holdfast status --latency --json | jq .all.rx_to_tx_ns.p99

Exit code 3 when no node answers on the socket.")]
pub struct StatusArgs {
    #[command(flatten)]
    pub socket: SocketArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print again every so many seconds, until Ctrl-C
    #[arg(
        short,
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1"
    )]
    pub watch: Option<f64>,
    /// Print histograms instead: rx to tx, gate, link round trip, poll duration, batch size
    #[arg(short, long)]
    pub latency: bool,
    /// Print the histograms of each core, too
    #[arg(long, requires = "latency")]
    pub per_core: bool,
    /// Begin the histograms anew after printing them
    #[arg(long, requires = "latency")]
    pub reset: bool,
}

/// List connections, like ss
///
/// A filter is made of conditions that must all hold; see the examples.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast conns
  holdfast conns state established sport = :80
  holdfast conns remote 10.77.0.9
  holdfast conns --json state time-wait | jq length

Exit code 2 when the filter makes no sense, 3 when no node answers.")]
pub struct ConnsArgs {
    #[command(flatten)]
    pub socket: SocketArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Rows at most; 1000 when absent, all with --json
    #[arg(short = 'n', long, value_name = "ROWS")]
    pub limit: Option<usize>,
    /// What to list; see below
    #[arg(value_name = "FILTER")]
    pub filter: Vec<String>,
}

/// Whether to wait for what was ordered.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Wait until it is done, 30 s at most unless told otherwise
    #[arg(
        short,
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "30"
    )]
    pub wait: Option<f64>,
}

/// Give the service to the other node, and lose nothing
///
/// Ordered at the node that serves. It stops between two steps, the other one goes on there, and
/// this one follows it: both stay in sync, and clients notice nothing. A peer that runs a release
/// with another log is given the state as snapshots, which takes longer.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast switchover --wait
  holdfast switchover --to right --wait=5
  holdfast status --json | jq .details.member.switchover

Exit code 1 when the node refuses, or with --wait when the service stays where it is.")]
pub struct SwitchoverArgs {
    #[command(flatten)]
    pub socket: SocketArgs,
    /// The node that shall serve; nothing happens if it does already
    #[arg(long, value_name = "NODE")]
    pub to: Option<NodeName>,
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Take a node out of the pair for maintenance
///
/// A primary hands its service over first. The node then leaves the in-sync set and stays out until
/// `holdfast undrain`, or until it is started again. Meanwhile the other node serves alone.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast drain --wait && systemctl stop holdfast

Exit code 1 when the node refuses: its end would end all connections.")]
pub struct DrainArgs {
    #[command(flatten)]
    pub socket: SocketArgs,
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Let a drained node into the pair again
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast undrain --wait=120")]
pub struct UndrainArgs {
    #[command(flatten)]
    pub socket: SocketArgs,
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Say what becomes of the connections when another release takes over
///
/// Compares what the running node says to others with what another binary, or a peer,
/// understands: its log (nobody notices), its snapshots (clients wait for the transfer), or
/// neither.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast upgrade-check /usr/local/bin/holdfast-new
  holdfast upgrade-check --peer
  holdfast upgrade-check ./holdfast --json | jq -r .way

Exit code 1 when connections would end.")]
pub struct UpgradeCheckArgs {
    #[command(flatten)]
    pub socket: SocketArgs,
    /// The new release; this binary when absent
    #[arg(value_name = "BINARY", conflicts_with_all = ["peer", "print"])]
    pub binary: Option<PathBuf>,
    /// Compare with the release that the peer runs; of several, with one that differs
    #[arg(long, conflicts_with = "print")]
    pub peer: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print what this binary understands, and ask no node
    #[arg(long)]
    pub print: bool,
}

/// Show the keys that a running node shares with its peer, or read them again
///
/// A key is shown by a name that tells nothing about it. The first key of node.key_file seals what
/// the node sends; each of them opens what comes.
#[derive(Debug, Args)]
#[command(after_help = "\
To change the key without a pause, with both nodes running:
  1. add the new key as the last line of both files, then on each node:  holdfast keys reload
  2. make it the first line of both files, then on each node:            holdfast keys reload
  3. remove the old key from both files, then on each node:              holdfast keys reload

Examples:
  holdfast keys
  holdfast keys reload -s /run/holdfast/a.sock
  holdfast keys --json | jq -r '.peers.b[0]'

Exit code 1 when the keys of the file can't be used, or would part the nodes.")]
pub struct KeysArgs {
    /// What to do
    #[arg(value_enum, default_value_t = KeysAction::Show)]
    pub action: KeysAction,
    #[command(flatten)]
    pub socket: SocketArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Reload even if the nodes would not hear each other any more
    #[arg(long)]
    pub force: bool,
}

/// What `holdfast keys` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeysAction {
    /// Show the keys here and at the peer
    Show,
    /// Read node.key_file again and use it from now on
    Reload,
}

/// List the hardware profiles, or show one
///
/// A profile holds what a kind of NIC needs: EAL arguments, queues, offloads, idle strategy,
/// timers. To change single values, put them into a file and name it as node.profile_file.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast profiles
  holdfast profiles af_packet
  holdfast profiles --json | jq '.[] | {name, timers}'")]
pub struct ProfilesArgs {
    /// Show this profile as TOML
    pub name: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Print the completions of a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast completions bash > /usr/share/bash-completion/completions/holdfast
  holdfast completions zsh > /usr/local/share/zsh/site-functions/_holdfast
  holdfast completions fish > ~/.config/fish/completions/holdfast.fish")]
pub struct CompletionsArgs {
    /// The shell to print them for
    pub shell: clap_complete::Shell,
}

/// Print the manual page, or write one for each command into a folder
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  holdfast man | man -l -
  holdfast man /usr/local/share/man/man1")]
pub struct ManArgs {
    /// Folder for holdfast.1, holdfast-run.1 and so on
    pub dir: Option<PathBuf>,
}
