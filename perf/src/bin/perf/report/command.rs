//! `holdfast-perf report`

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;

use super::summary;
use crate::result::RunResult;

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Results written with --json; runs of one label are repetitions of one measurement
    #[arg(required = true, value_name = "RESULT.json")]
    pub results: Vec<PathBuf>,
    /// Take results of different machines together all the same
    #[arg(long)]
    pub force: bool,
}

/// Reads results and reports on them.
///
/// # Errors
/// A file can't be read or written, is no result, or the results are of different machines and
/// `--force` is not given.
pub fn run(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let mut results = Vec::new();
    for path in &args.results {
        results.append(&mut RunResult::read_file(path)?);
    }
    let text = summary::table(&summary::groups(&results)).to_text();
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
