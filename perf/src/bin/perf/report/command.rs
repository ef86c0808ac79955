//! `holdfast-perf report`, and the files that other sub-commands write besides.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Args;

use super::{
    compare, hlog, html,
    panel::Panel,
    plot::Picture,
    summary::{self, Group},
};
use crate::result::RunResult;

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Results written with --json; runs of one label are repetitions of one measurement
    #[arg(required = true, value_name = "RESULT.json")]
    pub results: Vec<PathBuf>,
    /// Write a report that stands alone
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Draw all runs in one picture: .svg or .png
    #[arg(long, value_name = "FILE", value_parser = plot_path)]
    pub plot: Option<PathBuf>,
    /// Write the latencies as an HdrHistogram log, one line for each run
    #[arg(long, value_name = "FILE")]
    pub hlog: Option<PathBuf>,
    /// Show how the other results relate to the first file
    #[arg(long)]
    pub compare: bool,
    /// Take results of different machines together all the same
    #[arg(long)]
    pub force: bool,
}

/// Files to write about results.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outputs<'a> {
    pub html: Option<&'a Path>,
    pub plot: Option<&'a Path>,
}

/// Takes the path of a picture if its ending tells a format.
///
/// # Errors
/// It ends neither in `.svg` nor in `.png`.
pub fn plot_path(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("svg" | "png") => Ok(path),
        _ => Err("the file's name has to end in .svg or .png".to_owned()),
    }
}

/// Reads results, prints a table of them, and writes the files asked for.
///
/// # Errors
/// A file can't be read or written, is no result, or the results are of different machines and
/// `--force` is not given.
pub fn run(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let files: Vec<Vec<RunResult>> =
        args.results.iter().map(|path| RunResult::read_file(path)).collect::<Result<_, _>>()?;
    let results = files.concat();
    let warnings = different_machines(&results);
    if !warnings.is_empty() && !args.force {
        bail!(
            "the results are of different machines, so their numbers can't be compared:\n  {}\n\
             give --force to take them together all the same",
            warnings.join("\n  ")
        );
    }
    let mut text: String = warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
    if args.compare {
        let Some((base, rest)) = files.split_first().filter(|(_, rest)| !rest.is_empty()) else {
            bail!("--compare needs a second file of results to compare with the first");
        };
        text.push_str(&comparison(base, &rest.concat())?);
    } else {
        text.push_str(&summary::table(&summary::groups(&results)).transposed().to_text());
    }
    // Before the files: a failure to write one leaves the numbers on the terminal.
    print(&text)?;
    write(
        &results,
        &warnings,
        &Outputs { html: args.html.as_deref(), plot: args.plot.as_deref() },
    )?;
    if let Some(path) = &args.hlog {
        write_hlog(path, hlog::entries(&results)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A reader that has seen enough (`… | head`) is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

fn different_machines(results: &[RunResult]) -> Vec<String> {
    let Some(first) = results.first() else { return Vec::new() };
    let mut warnings = Vec::new();
    for run in results {
        let differences = first.machine.differences(&run.machine);
        if differences.is_empty() {
            continue;
        }
        let (one, other) = (summary::label_of(first), summary::label_of(run));
        let warning = format!("{one} / {other}: {}", differences.join(", "));
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    warnings
}

fn comparison(base: &[RunResult], new: &[RunResult]) -> anyhow::Result<String> {
    let (base, new) = (summary::groups(base), summary::groups(new));
    let pairs = compare::pairs(&base, &new);
    if pairs.is_empty() {
        let labels = |groups: &[Group<'_>]| {
            let names =
                groups.iter().map(|group| format!("{} ({})", group.label, group.runs[0].command));
            names.collect::<Vec<_>>().join(", ")
        };
        bail!(
            "nothing to compare: no label and command is in the first file ({}) and in another ({})",
            labels(&base),
            labels(&new)
        );
    }
    let tables: Vec<String> =
        pairs.iter().map(|(base, new)| compare::ratios(base, new).to_text()).collect();
    Ok(tables.join("\n"))
}

/// Writes the report and the picture of results.
///
/// # Errors
/// A file can't be written, or a histogram in the results is damaged.
pub fn write(
    results: &[RunResult],
    warnings: &[String],
    outputs: &Outputs<'_>,
) -> anyhow::Result<()> {
    if let Some(path) = outputs.html {
        save(path, html::html(results, warnings)?.as_bytes())?;
    }
    if let Some(path) = outputs.plot {
        let groups = summary::groups(results);
        let panels = Panel::of(&groups);
        let title = match &groups[..] {
            [one] => one.runs[0].command.clone(),
            _ => String::new(),
        };
        let picture = Picture { title: &title, groups: &groups, panels };
        let png = path.extension().is_some_and(|ending| ending == "png");
        save(path, &if png { picture.png()? } else { picture.svg()?.into_bytes() })?;
    }
    Ok(())
}

/// Writes an `HdrHistogram` log.
///
/// # Errors
/// There is no entry, or the file can't be written.
pub fn write_hlog(path: &Path, entries: Vec<hlog::Entry>) -> anyhow::Result<()> {
    let mut log = Vec::new();
    hlog::write(&mut log, entries)?;
    save(path, &log)
}

/// # Errors
/// The file can't be written.
pub fn save(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests;
