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
    eprintln!("holdfast: {}", in_words(error));
    let code = error.downcast_ref::<Failure>().map_or(PROBLEM, |failure| failure.code);
    ExitCode::from(code)
}

/// An error and its causes. Many messages name their cause themselves: it is not told twice.
fn in_words(error: &anyhow::Error) -> String {
    let mut words = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if words.is_empty() {
            words = cause;
        } else if !words.contains(&cause) {
            words.push_str(": ");
            words.push_str(&cause);
        }
    }
    words
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let is_pipe = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(is_pipe))
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let refused = || io::Error::other("disk on fire");
        let told: anyhow::Result<()> = Err(refused()).context("cannot read it: disk on fire; run");
        assert_eq!(in_words(&told.unwrap_err()), "cannot read it: disk on fire; run");
        let untold: anyhow::Result<()> = Err(refused()).context("cannot read it");
        assert_eq!(in_words(&untold.unwrap_err()), "cannot read it: disk on fire");
    }
}
