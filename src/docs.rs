//! Shell completions and manual pages, made from the command line itself.

use std::{
    fs,
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::CommandFactory;

use crate::cli::{Cli, CompletionsArgs, ManArgs};

/// `holdfast completions`
///
/// # Errors
/// Standard output can't be written.
pub fn completions(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    // Rendered first: the generator panics when its output is closed (`… | head`).
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "holdfast", &mut text);
    io::stdout().write_all(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// `holdfast man`
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
    io::stdout().write_all(&text)?;
    Ok(ExitCode::SUCCESS)
}
