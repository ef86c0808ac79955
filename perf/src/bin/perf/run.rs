//! Runs a load from its command line to its result.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::args::{Cli, Command, FailoverArgs, OutputArgs};
use crate::engine;
use crate::failover::{Harm, Undisturbed};
use crate::job::{Job, Load};
use crate::kernel::Kernel;
use crate::load::driver::{self, Control, Cut, Outcome};
use crate::load::meter::Meter;
use crate::load::transport::{Failure, Transport};
use crate::load::workload::Workload;
use crate::machine::Machine;
use crate::progress::Progress;
use crate::recorder::{self, Recorded};
use crate::report::{self, Outputs};
use crate::result::{Connections, LatencySummary, Mark, RunResult, SCHEMA, StallSummary};
use crate::{EXIT_USAGE, EXIT_WRONG, summary};

/// Runs the load of a sub-command.
///
/// # Errors
/// Wrong usage, or this machine is not up to it.
pub fn undisturbed(command: Command) -> anyhow::Result<ExitCode> {
    let job = Job::new(command)?.context("this is no load")?;
    execute(job, &mut Undisturbed, false)
}

/// Runs the load that follows `failover`, and harms its server.
///
/// # Errors
/// Wrong usage, this machine is not up to it, or the command fails.
pub fn with_harm(args: &FailoverArgs) -> anyhow::Result<ExitCode> {
    let name = "holdfast-perf failover --".to_owned();
    let cli = Cli::try_parse_from([name].iter().chain(&args.load)).unwrap_or_else(|e| e.exit());
    let Some(job) = Job::new(cli.command)? else {
        bail!("failover runs one of the loads rpc, bulk, crr and idle");
    };
    if let Some(duration_ns) = job.plan.duration_ns {
        ensure!(
            args.at.as_nanos() < u128::from(duration_ns),
            "the command would be run at {} s, when the load is over: it lasts {} s",
            args.at.as_secs_f64(),
            duration_ns as f64 / 1e9
        );
    }
    let mut harm = Harm::new(&args.command, args.at);
    let code = execute(job, &mut harm, true)?;
    harm.settle()?;
    Ok(code)
}

fn execute(job: Job, control: &mut dyn Control, with_stalls: bool) -> anyhow::Result<ExitCode> {
    check_outputs(&job.common.output)?;
    let machine = Machine::read()?;
    let interrupted = interruption()?;
    let (meter, samples) = Meter::new();
    let progress = match job.common.output.quiet {
        true => Progress::hidden(),
        false => Progress::new(job.goal, job.connections),
    };
    // Before a backend binds this thread to a core, which its children would inherit.
    let recorder = recorder::start(samples, progress, job.common.output.hlog.is_some());
    let session = Session { plan: job.plan, meter, interrupted: &interrupted, control };
    let (target, backend, count) = (job.common.target, &job.common.backend, job.connections);
    let measured = if backend.kernel {
        session.run_any(Kernel::start(backend, target, count)?, job.load)
    } else {
        session.run_any(engine::start(backend, target, count)?, job.load)
    };
    let Ok(recorded) = recorder.join() else { bail!("the recorder's thread panicked") };
    let Measured { outcome, backend, local_ends } = measured;
    let remarks = remarks(&outcome, &local_ends);
    let broken = matches!(outcome.cut_short, Some(Cut::Broken(_)));
    let is_right =
        outcome.tally.is_empty() && matches!(outcome.cut_short, None | Some(Cut::Interrupted));
    let result = result(
        machine,
        backend,
        with_stalls,
        &outcome,
        &recorded,
        ResultArgs {
            command: job.command,
            parameters: job.parameters,
            label: job.common.output.label.clone().unwrap_or_default(),
        },
    )?;
    output(&result, recorded, &remarks, &job.common.output)?;
    Ok(match (broken, is_right) {
        (true, _) => ExitCode::from(EXIT_USAGE),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(EXIT_WRONG),
    })
}

/// Set when the user, or the system, wants an end. The second time ends the process at once.
fn interruption() -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let code = 128 + signal;
        signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .context("cannot handle signals")?;
    }
    Ok(flag)
}

struct Session<'a> {
    plan: driver::Plan,
    meter: Meter,
    interrupted: &'a AtomicBool,
    control: &'a mut dyn Control,
}

struct Measured {
    outcome: Outcome,
    backend: String,
    local_ends: String,
}

impl Session<'_> {
    fn run_any<T: Transport>(self, transport: T, load: Load) -> Measured {
        match load {
            Load::Rpc(rpc) => self.run(transport, rpc),
            Load::Bulk(bulk) => self.run(transport, bulk),
            Load::Crr(crr) => self.run(transport, crr),
        }
    }

    fn run<T: Transport, W: Workload>(self, transport: T, workload: W) -> Measured {
        let backend = transport.name().to_owned();
        let local_ends = transport.local_ends();
        let Session { plan, meter, interrupted, control } = self;
        let outcome = driver::run(transport, workload, plan, meter, interrupted, control);
        Measured { outcome, backend, local_ends }
    }
}

struct ResultArgs {
    command: &'static str,
    parameters: serde_json::Value,
    label: String,
}

fn result(
    machine: Machine,
    backend: String,
    with_stalls: bool,
    outcome: &Outcome,
    recorded: &Recorded,
    args: ResultArgs,
) -> anyhow::Result<RunResult> {
    let seconds = outcome.measured_ns.max(1) as f64 / 1e9;
    let bytes = recorded.bytes_up + recorded.bytes_down;
    Ok(RunResult {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        machine,
        label: args.label,
        command: args.command.to_owned(),
        backend,
        parameters: args.parameters,
        started_unix_us: outcome.started_unix_us,
        duration_us: outcome.measured_ns / 1000,
        connections: Connections {
            asked: outcome.asked,
            opened: outcome.counts.opened,
            alive: outcome.verified.unwrap_or(outcome.counts.open),
            resets: outcome.tally.resets(),
            errors: outcome.tally.errors(),
        },
        requests: recorded.requests,
        bytes_up: recorded.bytes_up,
        bytes_down: recorded.bytes_down,
        requests_per_second: recorded.requests as f64 / seconds,
        throughput_bps: bytes as f64 * 8.0 / seconds,
        latency_ns: LatencySummary::of(&recorded.latency)?,
        timeline: recorded.timeline.clone(),
        stalls: with_stalls.then(|| StallSummary::of(&outcome.stalls)).flatten(),
        marks: outcome
            .marks
            .iter()
            .map(|(at_ns, label)| Mark { at_us: at_ns / 1000, label: label.clone() })
            .collect(),
        failures: outcome.tally.failures(),
    })
}

/// What the user should know beside the result.
fn remarks(outcome: &Outcome, local_ends: &str) -> Vec<String> {
    let mut remarks = outcome.remarks.clone();
    remarks.extend(match &outcome.cut_short {
        None => None,
        Some(Cut::Interrupted) => Some("interrupted: these are the results so far".to_owned()),
        Some(Cut::NoConnection) if outcome.counts.opened == 0 => {
            Some("no connection could be opened".to_owned())
        }
        Some(Cut::NoConnection) => {
            Some("no connection was left: these are the results until then".to_owned())
        }
        Some(Cut::Silence) => {
            Some("the target went silent: these are the results until it was given up".to_owned())
        }
        Some(Cut::Exhausted(Failure::NoPorts)) => Some(format!(
            "local addresses and ports are used up ({local_ends}): these are the results so far"
        )),
        Some(Cut::Exhausted(failure)) => Some(format!("{failure}: these are the results so far")),
        Some(Cut::Broken(error)) => {
            Some(format!("the backend failed: {error:#}; these are the results so far"))
        }
    });
    remarks
}

fn is_standard_output(path: &Path) -> bool {
    path.as_os_str() == OsStr::new("-")
}

/// Finds out before the run what would go wrong with its results after it.
fn check_outputs(output: &OutputArgs) -> anyhow::Result<()> {
    for path in [&output.json, &output.hlog, &output.plot, &output.html].into_iter().flatten() {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        ensure!(
            is_standard_output(path) || directory.is_dir(),
            "cannot write {}: there is no directory {}",
            path.display(),
            directory.display()
        );
    }
    Ok(())
}

fn output(
    result: &RunResult,
    recorded: Recorded,
    remarks: &[String],
    output: &OutputArgs,
) -> anyhow::Result<()> {
    let to_standard_output = output.json.as_deref().is_some_and(is_standard_output);
    if !to_standard_output && !output.quiet {
        io::stdout().write_all(summary::text(result).as_bytes())?;
    }
    for failure in result.failures.iter().filter(|_| to_standard_output || output.quiet) {
        eprintln!("holdfast-perf: {} x {}", failure.count, failure.text);
    }
    for remark in remarks {
        eprintln!("holdfast-perf: {remark}");
    }
    if let Some(path) = &output.json {
        let json = serde_json::to_string_pretty(result)? + "\n";
        match is_standard_output(path) {
            true => io::stdout().write_all(json.as_bytes())?,
            false => std::fs::write(path, json)
                .with_context(|| format!("cannot write {}", path.display()))?,
        }
    }
    if let Some(path) = &output.hlog {
        match recorded.lines.is_empty() {
            true => eprintln!(
                "holdfast-perf: no latency was measured, so {} is not written",
                path.display()
            ),
            false => report::write_hlog(path, log_entries(result, recorded))?,
        }
    }
    let outputs = Outputs { html: output.html.as_deref(), plot: output.plot.as_deref() };
    report::write(std::slice::from_ref(result), &[], &outputs)
}

fn log_entries(result: &RunResult, recorded: Recorded) -> Vec<report::Entry> {
    let entry = |line: recorder::Line| report::Entry {
        label: result.label.clone(),
        started_unix_us: result.started_unix_us + line.at_ns / 1000,
        span_us: line.span_ns / 1000,
        latency_ns: line.latency,
    };
    recorded.lines.into_iter().map(entry).collect()
}
