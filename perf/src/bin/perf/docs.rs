//! Shell completions and manual pages, made from the command line itself.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, CommandFactory};

use crate::args::Cli;

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "Example: holdfast-perf completions bash \
    > /usr/share/bash-completion/completions/holdfast-perf")]
pub struct CompletionsArgs {
    /// The shell to print them for
    pub shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast-perf man | man -l -\n  \
    holdfast-perf man /usr/local/share/man/man1")]
pub struct ManArgs {
    /// Folder for holdfast-perf.1, holdfast-perf-rpc.1 and so on
    pub dir: Option<PathBuf>,
}

/// `holdfast-perf completions`
///
/// # Errors
/// Standard output can't be written.
pub fn completions(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    // Rendered first: the generator panics when its output is closed (`… | head`).
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "holdfast-perf", &mut text);
    print(&text)
}

/// `holdfast-perf man`
///
/// # Errors
/// The folder or standard output can't be written.
pub fn man(args: &ManArgs) -> anyhow::Result<ExitCode> {
    if let Some(dir) = &args.dir {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        clap_mangen::generate_to(Cli::command(), dir)
            .with_context(|| format!("cannot write manual pages into {}", dir.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut text)?;
    print(&text)
}

/// A reader that has seen enough is no failure.
fn print(text: &[u8]) -> anyhow::Result<ExitCode> {
    match io::stdout().write_all(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
