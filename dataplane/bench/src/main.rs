//! What the poll loop costs, in nanoseconds for each unit of work: the very loop that a node
//! runs, behind cards in memory. The clients' own work is not counted.
//!
//!     cargo run --release -p bench                               # the overview
//!     cargo run --release -p bench -- --work rpc --node solo --connections 100000
//!
//!     cargo run --release -p bench -- --work takeover --connections 100000 --active 1000
//!
//! `--work` is rpc, upload, ack, connect, or takeover (of a pair, by its backup); `--node` is
//! engine (one shard and nothing else), solo, pair, or log (records that cross the replication log,
//! whatever the work); `--connections`, `--shards` and `--units` (in all) may be given, and
//! `--encryption none` for a log that is not encrypted.

use std::process::ExitCode;
use std::time::Duration;

use bench::{Clients, Engine, Log, Meter, Node, Serving, Takeover, Work};
use replication::Protection;

/// Parts that a run is timed in at most: the best and the median of them are told.
const MAX_WINDOWS: u64 = 50;
/// Units of each part at least.
const WINDOW_UNITS: u64 = 1000;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One shard.
    Engine,
    /// A worker.
    Solo,
    /// A worker with its backup.
    Pair,
    /// The replication log alone.
    Log,
    /// A backup that takes over.
    Takeover,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    work: Work,
    kind: Kind,
    connections: u32,
    shards: u16,
    units: u64,
    /// Connections that are not idle when their node dies.
    active: u32,
    /// The log is encrypted.
    sealed: bool,
}

const RPC: Case = Case {
    work: Work::Rpc,
    kind: Kind::Solo,
    connections: 64,
    shards: 4,
    units: 2_000_000,
    active: 1000,
    sealed: true,
};

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(Some(case)) => run(case),
        Ok(None) => overview(),
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn overview() {
    for kind in [Kind::Solo, Kind::Pair] {
        for connections in [64, 100_000] {
            run(Case { kind, connections, ..RPC });
        }
    }
}

fn run(case: Case) {
    let Case { connections, shards, .. } = case;
    let protection = if case.sealed { bench::sealed() } else { Protection::Checksum };
    match case.kind {
        Kind::Engine => serve(case, &mut Engine::new(connections)),
        Kind::Solo => serve(case, &mut Serving::solo(connections, shards)),
        Kind::Pair => serve(case, &mut Serving::protected_pair(connections, shards, &protection)),
        Kind::Log => {
            let mut log = Log::new(&protection);
            measure("record", case.units, |units, meter| log.run(units, meter));
        }
        Kind::Takeover => take_over(case),
    }
}

fn take_over(case: Case) {
    let Case { connections, shards, active, .. } = case;
    let active = active.min(connections);
    let took = Takeover::run(connections, active, shards);
    let each = took.last.as_secs_f64() * 1e9 / f64::from(took.kicked.max(1));
    println!("takeover of {connections} connections, {active} of them active, {shards} shards:");
    println!(
        "  first kick {:.1?}, last of an active one {:.1?} (behind {} idle ones), last {:.1?}",
        took.first, took.last_active, took.overtaken_by, took.last
    );
    println!("  {each:.1} ns each; {} loops, the longest {:.1?}", took.loops, took.longest);
}

fn serve(case: Case, node: &mut impl Node) {
    let Case { work, kind, connections, .. } = case;
    let mut clients = Clients::new(work, connections, node);
    clients.run(connections.into(), node, &mut Meter::default());
    let (work, kind) = (format!("{work:?}").to_lowercase(), format!("{kind:?}").to_lowercase());
    let name = format!("{work:8} {kind:7} {connections:7} connections");
    measure(&name, case.units, |units, meter| clients.run(units, node, meter));
}

/// Runs so many units in a few windows, after some that don't count.
fn measure(name: &str, units: u64, mut run: impl FnMut(u64, &mut Meter) -> u64) {
    run(units / 10, &mut Meter::default());
    let count = (units / WINDOW_UNITS).clamp(1, MAX_WINDOWS);
    let mut windows = Vec::new();
    let (mut done, mut turns) = (0, 0);
    for _ in 0..count {
        let mut meter = Meter::running();
        let in_window = run(units.div_ceil(count), &mut meter);
        done += in_window;
        turns += meter.turns();
        let per_unit = |time: Duration| time.as_secs_f64() * 1e9 / in_window as f64;
        windows.push((per_unit(meter.node_time()), per_unit(meter.backup_time())));
    }
    windows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let ((best, _), (median, backup)) = (windows[0], windows[windows.len() / 2]);
    let a_turn = done as f64 / turns as f64;
    print!("{name}  {median:8.1} ns each (best {best:.1}), {a_turn:.1} a loop, {done} units");
    println!("{}", if backup > 0.0 { format!(", backup {backup:.1} ns") } else { String::new() });
}

/// One case, or none for the overview.
fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Case>, String> {
    let mut case = RPC;
    let mut given = false;
    while let Some(name) = arguments.next() {
        // Cargo says so to every benchmark.
        if name == "--bench" {
            continue;
        }
        given = true;
        let value = arguments.next().ok_or(format!("{name} needs a value"))?;
        let number = || value.parse::<u32>().map_err(|_| format!("{name} {value}: not a number"));
        match (name.as_str(), value.as_str()) {
            ("--work", "rpc") => case.work = Work::Rpc,
            ("--work", "upload") => case.work = Work::Upload,
            ("--work", "ack") => case.work = Work::Ack,
            ("--work", "takeover") => case.kind = Kind::Takeover,
            ("--work", "connect") => case.work = Work::Connect,
            ("--node", "engine") => case.kind = Kind::Engine,
            ("--node", "solo") => case.kind = Kind::Solo,
            ("--node", "pair") => case.kind = Kind::Pair,
            ("--node", "log") => case.kind = Kind::Log,
            ("--encryption", "aes-256-gcm") => case.sealed = true,
            ("--encryption", "none") => case.sealed = false,
            ("--connections", _) => case.connections = number()?,
            ("--active", _) => case.active = number()?,
            ("--units", _) => case.units = number()?.into(),
            ("--shards", _) => {
                case.shards = u16::try_from(number()?).map_err(|_| format!("{name}: too many"))?;
            }
            _ => {
                return Err(format!(
                    "{name} {value}: not known; see the top of dataplane/bench/src/main.rs"
                ));
            }
        }
    }
    Ok(given.then_some(case))
}
