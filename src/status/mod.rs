//! `holdfast status`: what a running node says about itself.

mod render;
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
    let Some(seconds) = args.watch else {
        show(&ask(&client)?, None, args.json)?;
        return Ok(ExitCode::SUCCESS);
    };
    let pause = Duration::try_from_secs_f64(seconds.max(0.1))
        .map_err(|_| Failure::usage(format!("--watch={seconds}: expected seconds, e.g. 1")))?;
    let mut before: Option<Status> = None;
    loop {
        let now = ask(&client)?;
        if !args.json && io::stdout().is_terminal() {
            io::stdout().write_all(CLEAR_SCREEN.as_bytes())?;
        }
        show(&now, before.as_ref(), args.json)?;
        before = Some(now);
        thread::sleep(pause);
    }
}

fn show(status: &Status, before: Option<&Status>, json: bool) -> anyhow::Result<()> {
    let text = if json {
        serde_json::to_string(&Summary::of(status))? + "\n"
    } else {
        render::render(status, before)
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

fn ask(client: &AdminClient) -> Result<Status, Failure> {
    client.status().map_err(|error| failure(&error))
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
