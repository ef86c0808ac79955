//! `sim`: worlds from seeds, until one of them breaks a promise.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use sim::coverage::Coverage;
use sim::panics;
use sim::plan::Plan;
use sim::shrink::shrink;
use sim::world::{Failure, World, expect};

/// Seeds that once failed, run before all others.
const REGRESSIONS: &str = include_str!("../regressions.txt");
/// Worlds in which a failing one is made smaller.
const SHRINK_BUDGET: usize = 150;
/// Lines of a failing world's story that are printed.
const TAIL_LINES: usize = 60;

/// Simulates clusters with faults and checks what clients were promised.
#[derive(Debug, Parser)]
struct Args {
    /// Worlds to run after the regression list.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of their seeds.
    #[arg(long, default_value_t = 0)]
    base: u64,
    /// Run this seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// That seed without IPv6, narrow paths, marks, and clients that close early.
    #[arg(long, requires = "seed")]
    plain: bool,
    /// That seed with a switch that learns.
    #[arg(long, requires = "seed", conflicts_with = "plain")]
    learning: bool,
    /// That seed with two nodes that decide between themselves.
    #[arg(long, requires = "seed", conflicts_with_all = ["plain", "learning"])]
    paired: bool,
    /// That seed with one link.
    #[arg(long, requires = "seed", conflicts_with_all = ["plain", "learning", "paired"])]
    linked_once: bool,
    /// That seed without the long cuts of nodes' lines of the service LAN.
    #[arg(long, requires = "seed", conflicts_with_all = ["plain", "learning", "paired", "linked_once"])]
    plugged: bool,
    /// That seed with nothing that waits for a majority, and with nobody who is told wrong.
    #[arg(long, requires = "seed", conflicts_with_all = ["plain", "learning", "paired", "linked_once", "plugged"])]
    by_all: bool,
    /// Print the story of that seed, and write it with its frames.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Threads; as many as there are cores unless said otherwise.
    #[arg(long)]
    jobs: Option<usize>,
    /// Stop at the first failure, and don't make it smaller.
    #[arg(long)]
    fail_fast: bool,
    /// Where stories and captures of failing worlds go.
    #[arg(long, default_value = "target/sim")]
    out: PathBuf,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    panics::keep();
    if let Some(seed) = args.seed {
        let Args { plain, learning, paired, linked_once, plugged, by_all, .. } = args;
        let flags = [plain, learning, paired, linked_once, plugged, by_all];
        let chosen = Extent::FLAGS.iter().zip(flags).find(|(_, given)| *given);
        let extent = chosen.map_or(Extent::Whole, |((extent, _), _)| *extent);
        return one(&args, Which { seed, extent });
    }
    many(&args)
}

/// Which world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Which {
    seed: u64,
    extent: Extent,
}

/// How much of what worlds may have by now: those of older seeds stay as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    Plain,
    Learning,
    Paired,
    LinkedOnce,
    Plugged,
    ByAll,
    Whole,
}

impl Extent {
    /// As on the command line.
    const FLAGS: [(Extent, &str); 6] = [
        (Extent::Plain, " --plain"),
        (Extent::Learning, " --learning"),
        (Extent::Paired, " --paired"),
        (Extent::LinkedOnce, " --linked-once"),
        (Extent::Plugged, " --plugged"),
        (Extent::ByAll, " --by-all"),
    ];
}

impl Which {
    fn plan(self) -> Plan {
        match self.extent {
            Extent::Plain => Plan::plain(self.seed),
            Extent::Learning => Plan::learning(self.seed),
            Extent::Paired => Plan::paired(self.seed),
            Extent::LinkedOnce => Plan::linked_once(self.seed),
            Extent::Plugged => Plan::plugged(self.seed),
            Extent::ByAll => Plan::by_all(self.seed),
            Extent::Whole => Plan::new(self.seed),
        }
    }
}

/// As on the command line.
impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = Extent::FLAGS.iter().find(|(extent, _)| *extent == self.extent);
        write!(f, "{}{}", self.seed, flag.map_or("", |(_, flag)| flag))
    }
}

/// What all threads add to.
#[derive(Default)]
struct Sum {
    coverage: Coverage,
    failures: Vec<(Which, Failure)>,
    connection_ns: u64,
    worlds: u64,
}

fn many(args: &Args) -> anyhow::Result<ExitCode> {
    let regressions = regressions()?;
    let listed: BTreeSet<Which> = regressions.iter().copied().collect();
    let fresh = (args.base..args.base.saturating_add(args.seeds))
        .map(|seed| Which { seed, extent: Extent::Whole })
        .filter(|which| !listed.contains(which));
    let seeds: Vec<Which> = regressions.iter().copied().chain(fresh).collect();
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} worlds, {eta} left {msg}")?;
    let bar = ProgressBar::new(seeds.len() as u64).with_style(style);
    let (sum, next) = (Mutex::new(Sum::default()), AtomicU64::new(0));
    let jobs = args.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let report = World::new(seed.plan(), false).run();
                    let Ok(mut sum) = sum.lock() else { return };
                    sum.coverage.merge(&report.coverage);
                    sum.connection_ns += report.connection_ns;
                    sum.worlds += 1;
                    if let Some(failure) = report.failure {
                        // A bar that nobody sees prints nothing.
                        bar.suspend(|| {
                            eprintln!("seed {seed} fails: {}", first_line(&failure.what))
                        });
                        sum.failures.push((*seed, failure));
                        if args.fail_fast {
                            next.store(u64::MAX / 2, Ordering::Relaxed);
                        }
                    }
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let Ok(mut sum) = sum.into_inner() else { anyhow::bail!("a thread has panicked") };
    sum.failures.sort_by_key(|(seed, _)| *seed);
    expect(&mut sum.coverage);
    print(&sum, began.elapsed());
    if let Some((seed, _)) = sum.failures.first() {
        println!("\nagain: sim --seed {seed}   (add --trace for its whole story)");
        if !args.fail_fast {
            explain(args, *seed)?;
        }
    }
    Ok(if sum.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(sum: &Sum, took: Duration) {
    println!("{}", sum.coverage);
    let connection_s = sum.connection_ns as f64 / 1e9;
    println!(
        "{} worlds in {:.1} s, {connection_s:.0} connection-seconds: {:.0} per second",
        sum.worlds,
        took.as_secs_f64(),
        connection_s / took.as_secs_f64()
    );
    for (seed, failure) in &sum.failures {
        println!("seed {seed} fails after {:.3} ms: {}", ms(failure), first_line(&failure.what));
    }
    println!("{} of {} worlds failed", sum.failures.len(), sum.worlds);
}

fn one(args: &Args, seed: Which) -> anyhow::Result<ExitCode> {
    let report = World::new(seed.plan(), args.trace).run();
    let failed = report.failure.is_some();
    println!("{}", report.coverage);
    println!("digest of the story: {:016x}", report.trace.digest());
    if let Some(failure) = &report.failure {
        println!("seed {seed} fails after {:.3} ms: {}", ms(failure), failure.what);
    }
    if let (true, Some(story)) = (args.trace, report.trace.story()) {
        let path = args.out.join(format!("seed-{}", seed.seed));
        std::fs::create_dir_all(&args.out)
            .with_context(|| format!("cannot make {}", args.out.display()))?;
        story.write_lines(&path.with_extension("txt"))?;
        story.write_pcap(&path.with_extension("pcap"))?;
        println!("the story is in {0}.txt, its frames are in {0}.pcap", path.display());
    }
    if failed && !args.fail_fast {
        explain(args, seed)?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What a failing seed needs in order to fail, and how it does.
fn explain(args: &Args, seed: Which) -> anyhow::Result<()> {
    let plan = seed.plan();
    let Some(failure) = World::new(plan.clone(), false).run().failure else {
        anyhow::bail!("seed {seed} does not fail again: the world is not deterministic");
    };
    let shrunk = shrink(plan, failure, SHRINK_BUDGET);
    println!("\nseed {seed}, made smaller in {} worlds: {}", shrunk.tried, shrunk.failure.what);
    println!("faults:");
    shrunk.plan.faults.iter().for_each(|timed| println!("  {timed}"));
    println!("connections:");
    for (index, host) in shrunk.plan.hosts.iter().enumerate() {
        for job in &host.jobs {
            println!("  client {index} ({:?}): {job:?}", host.stack);
        }
    }
    let report = World::new(shrunk.plan, true).run();
    let Some(story) = report.trace.story() else { return Ok(()) };
    println!("its last words:");
    story.tail(TAIL_LINES).iter().for_each(|line| println!("  {line}"));
    let path = args.out.join(format!("seed-{}-small", seed.seed));
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make {}", args.out.display()))?;
    story.write_lines(&path.with_extension("txt"))?;
    story.write_pcap(&path.with_extension("pcap"))?;
    println!("the story is in {0}.txt, its frames are in {0}.pcap", path.display());
    Ok(())
}

fn regressions() -> anyhow::Result<Vec<Which>> {
    let lines = REGRESSIONS.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let which = |line: &str| {
        let flagged = Extent::FLAGS
            .iter()
            .find_map(|(extent, flag)| Some((line.strip_suffix(flag.trim())?, *extent)));
        let (seed, extent) = flagged.unwrap_or((line, Extent::Whole));
        let seed = seed.trim().parse().with_context(|| format!("\"{line}\" is no seed"))?;
        Ok(Which { seed, extent })
    };
    lines.filter(|line| !line.is_empty()).map(which).collect()
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn ms(failure: &Failure) -> f64 {
    failure.at_ns as f64 / 1e6
}
