//! One file for each kind of client.

mod download;
mod echo;
mod exchange;
mod halfclose;
mod meter;
mod upload;
mod upload_echo;

use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::args::{Cli, Command, Common};
use crate::client::{Client, Tools};
use crate::clock::{Clock, micros};
use crate::report::Report;
use crate::runner::{self, Plan};

/// Descriptors beside those of the connections.
const SPARE_DESCRIPTORS: u64 = 64;
/// Bound of a run that ends by a file.
const UNTIL_FILE: Duration = Duration::from_secs(600);
/// Bound of a run that ends when its bytes are through.
const UNTIL_BYTES: Duration = Duration::from_secs(300);
/// A run that would never end by itself, and of which nobody said how long it is.
const UNBOUNDED: Duration = Duration::from_secs(10);

/// Runs the command.
///
/// # Errors
/// This machine is not up to it.
pub fn run(cli: &Cli) -> anyhow::Result<Report> {
    let command = &cli.command;
    if let Some(common) = command.common() {
        raise_descriptor_limit(common.connections)?;
    }
    match command {
        Command::Echo(args) => {
            let common = &args.common;
            let clients = each(common, |index| echo::Echo::new(args, index));
            drive(command, plan(common, UNBOUNDED), Tools::new(), clients)
        }
        Command::Download(args) => {
            let common = &args.common;
            let default = if args.endless { UNBOUNDED } else { UNTIL_BYTES };
            let clients = each(common, |_| download::Download::new(args));
            drive(command, plan(common, default), Tools::new(), clients)
        }
        Command::Upload(args) => {
            let common = &args.common;
            let default = if args.bytes.is_none() { UNBOUNDED } else { UNTIL_BYTES };
            let clients = each(common, |_| upload::Upload::new(args));
            drive(command, plan(common, default), upload::tools()?, clients)
        }
        Command::UploadEcho(args) => {
            let common = &args.common;
            let clients = each(common, |index| upload_echo::UploadEcho::new(args, index));
            drive(command, plan(common, UNTIL_BYTES), Tools::new(), clients)
        }
        Command::Halfclose(args) => {
            let common = &args.common;
            let file = args.hold_until_file.as_ref().or(common.until_file.as_ref()).cloned();
            let default = if file.is_some() { UNTIL_FILE } else { Duration::from_secs(1) };
            let clients = each(common, |index| halfclose::Halfclose::new(args, index));
            let plan = Plan { until_file: file, ..plan(common, default) };
            drive(command, plan, Tools::new(), clients)
        }
        Command::Idle(args) => {
            let common = &args.common;
            let clients = each(common, |index| exchange::Exchange::twice(args, index));
            let mut plan = plan(common, UNBOUNDED);
            // Asking all of them again takes its time, too.
            plan.grace_us += u64::from(common.connections) * 1_000_000 / args.ramp;
            plan.ready_file.clone_from(&args.ready_file);
            drive(command, plan, Tools::new(), clients)
        }
        Command::Connect(args) => {
            let common = &args.common;
            let opening_ms = u64::from(common.connections) * args.interval;
            let clients = each(common, |index| exchange::Exchange::once(args, index));
            let default = Duration::from_millis(opening_ms);
            drive(command, plan(common, default), Tools::new(), clients)
        }
        Command::Meter(args) => meter::run(args).context("can't read standard input"),
    }
}

fn each<C>(common: &Common, client: impl FnMut(u32) -> C) -> Vec<C> {
    (0..common.connections).map(client).collect()
}

fn plan(common: &Common, default: Duration) -> Plan {
    let default = if common.until_file.is_some() { UNTIL_FILE } else { default };
    Plan {
        duration_us: micros(common.duration.unwrap_or(default)),
        until_file: common.until_file.clone(),
        grace_us: micros(common.grace),
        live: common.live,
        ready_file: None,
    }
}

fn drive<C: Client>(
    command: &Command,
    plan: Plan,
    mut tools: Tools,
    mut clients: Vec<C>,
) -> anyhow::Result<Report> {
    let clock = Clock::start();
    runner::run(&mut clients, &mut tools, clock, &plan).context("the run was broken off")?;
    let used = clients.iter().map(Client::connection).filter(|c| !c.was_never_used());
    let records: Vec<_> = used.map(|connection| &connection.record).collect();
    let latency = tools.latency.summary();
    let target = command.common().map_or(String::new(), |common| common.target.to_string());
    Ok(Report::of(command.name(), target, clock, &records, latency))
}

fn raise_descriptor_limit(connections: u32) -> anyhow::Result<()> {
    let needed = u64::from(connections) + SPARE_DESCRIPTORS;
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|limit| limit >= needed) {
        return Ok(());
    }
    let maximum = now.maximum.map(|maximum| maximum.max(needed));
    let raised = Rlimit { current: Some(needed), maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        bail!(
            "{connections} connections need {needed} descriptors, this shell allows {}: {error}; \
             raise the limit with `ulimit -Hn {needed}` as root, or use fewer connections",
            now.maximum.unwrap_or(u64::MAX)
        );
    }
    Ok(())
}
