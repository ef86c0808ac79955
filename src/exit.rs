//! How a command ends.

use std::{io, process::ExitCode};

/// Something was wrong; standard error says what.
pub const PROBLEM: u8 = 1;
/// The command line can't be understood.
pub const USAGE: u8 = 2;
/// No node answers on the admin socket.
pub const UNREACHABLE: u8 = 3;

/// An error that ends the command with a code of its own.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub code: u8,
    pub message: String,
}

impl Failure {
    /// No node answers.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self { code: UNREACHABLE, message: message.into() }
    }

    /// The command line can't be understood.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: USAGE, message: message.into() }
    }
}

/// Prints `error` with its causes and gives the exit code for it.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if is_closed_pipe(error) {
        // `holdfast conns | head` has seen enough: that is no problem of ours.
        return ExitCode::SUCCESS;
    }
    eprintln!("holdfast: {error:#}");
    let code = error.downcast_ref::<Failure>().map_or(PROBLEM, |failure| failure.code);
    ExitCode::from(code)
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let is_pipe = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(is_pipe))
}
