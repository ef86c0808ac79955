//! `holdfast status`: what a running node says about itself.

mod latency;
mod render;
mod services;
mod summary;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    thread,
    time::Duration,
};

use controlplane::admin::{AdminClient, AdminError, Status};

use crate::{cli::StatusArgs, exit::Failure, node_socket};
use summary::Summary;

/// Home and clear: what `watch` does between two pictures.
const CLEAR_SCREEN: &str = "\x1b[H\x1b[2J";

/// Asks once, or again and again with `--watch`.
///
/// # Errors
/// No node answers, or standard output can't be written.
pub fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let client = AdminClient::new(&node_socket::choose(&args.socket)?);
    let mut before: Option<Status> = None;
    let mut picture = || {
        if args.latency { latencies(&client, args) } else { state(&client, args, &mut before) }
    };
    let Some(seconds) = args.watch else {
        print(&picture()?)?;
        return Ok(ExitCode::SUCCESS);
    };
    let pause = Duration::try_from_secs_f64(seconds.max(0.1))
        .map_err(|_| Failure::usage(format!("--watch={seconds}: expected seconds, e.g. 1")))?;
    loop {
        let text = picture()?;
        if !args.json && io::stdout().is_terminal() {
            io::stdout().write_all(CLEAR_SCREEN.as_bytes())?;
        }
        print(&text)?;
        thread::sleep(pause);
    }
}

/// The node's status; `before` is the last one, if there was one, and becomes this one.
fn state(
    client: &AdminClient,
    args: &StatusArgs,
    before: &mut Option<Status>,
) -> anyhow::Result<String> {
    let now = client.status().map_err(|error| failure(&error))?;
    let text = if args.json {
        serde_json::to_string(&Summary::of(&now))? + "\n"
    } else {
        render::render(&now, before.as_ref())
    };
    *before = Some(now);
    Ok(text)
}

fn latencies(client: &AdminClient, args: &StatusArgs) -> anyhow::Result<String> {
    let report = if args.reset { client.reset_latency() } else { client.latency() };
    let report = report.map_err(|error| failure(&error))?;
    Ok(if args.json {
        serde_json::to_string(&report)? + "\n"
    } else {
        latency::render(&report, args.per_core)
    })
}

fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// The exit code that fits why a node gave no answer.
pub fn failure(error: &AdminError) -> Failure {
    match error {
        AdminError::Refused { status: 400, message, column } => {
            let place = column.map(|column| format!(" (column {column})")).unwrap_or_default();
            Failure::usage(format!("{message}{place}"))
        }
        other => Failure::unreachable(other.to_string()),
    }
}
