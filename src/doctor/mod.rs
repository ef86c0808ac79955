//! `holdfast doctor`: what would keep a node from running well on this machine.
//!
//! Each module looks at one thing and writes findings; nothing is changed. Set-up that fails in
//! silence (hugepages, driver binding, offloads at the far end of a veth) is what this is for.

mod cpu;
mod devices;
mod dpdk;
mod finding;
mod flooding;
mod memory;
mod network;
mod offloads;
mod process;
mod register;
mod system;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use serde::Serialize;

use crate::{
    cli::DoctorArgs,
    config::{self, NodeConfig},
    exit,
};
use finding::{Finding, Report, Severity};
use system::System;

/// Looks at the machine, and at what the configuration asks of it.
///
/// # Errors
/// The configuration can't be used, or standard output can't be written.
pub fn doctor(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let config = match &args.config {
        Some(path) => Some(config::load(path).context("the configuration is wrong")?),
        None => None,
    };
    let report = examine(config.as_ref(), &System::default());
    let text = if args.json {
        serde_json::to_string_pretty(&Summary::of(&report))? + "\n"
    } else {
        render(&report, config.is_some())
    };
    io::stdout().write_all(text.as_bytes())?;
    let failed = report.count(Severity::Error) > 0;
    Ok(ExitCode::from(if failed { exit::PROBLEM } else { 0 }))
}

fn examine(config: Option<&NodeConfig>, system: &System) -> Report {
    let mut report = Report::default();
    process::permissions(system, &mut report);
    dpdk::libraries(config, &mut report);
    memory::hugepages(config, system, &mut report);
    cpu::clock_source(system, &mut report);
    cpu::cores(config, system, &mut report);
    if let Some(config) = config {
        memory::available(config, system, &mut report);
        devices::ports(config, system, &mut report);
        offloads::lan(config, system, &mut report);
        flooding::lan(config, system, &mut report);
        network::addresses(config, system, &mut report);
        network::peer(config, system, &mut report);
        register::etcd(config, &mut report);
        process::admin_socket(config, &mut report);
        process::key_files(config, &mut report);
    }
    report
}

#[derive(Serialize)]
struct Summary<'a> {
    errors: usize,
    warnings: usize,
    findings: &'a [Finding],
}

impl<'a> Summary<'a> {
    fn of(report: &'a Report) -> Self {
        Self {
            errors: report.count(Severity::Error),
            warnings: report.count(Severity::Warning),
            findings: &report.findings,
        }
    }
}

fn render(report: &Report, with_config: bool) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let (mark, area, message) = (finding.severity.mark(), finding.area, &finding.message);
        text.push_str(&format!("{mark:7} {area}: {message}\n"));
        for line in finding.fix.iter().flat_map(|fix| fix.lines()) {
            text.push_str(&format!("          -> {line}\n"));
        }
    }
    let (errors, warnings) = (report.count(Severity::Error), report.count(Severity::Warning));
    text.push_str(&match (errors, warnings) {
        (0, 0) => "\nNothing is in the way.\n".to_owned(),
        (0, _) => format!("\nA node can run; warnings: {warnings}.\n"),
        _ => format!("\nA node can't run yet; errors: {errors}, warnings: {warnings}.\n"),
    });
    if !with_config {
        text.push_str(
            "Give the node's file with -c to have its devices and addresses looked at.\n",
        );
    }
    text
}
