//! `holdfast-perf`: puts load on a TCP server and measures it.
//!
//! Start reading at [`load`], what is done and measured; [`engine`] and [`kernel`] carry its
//! connections; [`run`] puts these together; [`report`] renders what comes out.

mod args;
mod docs;
mod engine;
mod failover;
mod job;
mod kernel;
mod load;
mod machine;
mod progress;
mod ranges;
mod recorder;
mod report;
mod result;
mod run;
mod summary;

use std::process::ExitCode;

use clap::Parser;

/// A connection failed, bytes were wrong, or the target did not answer.
const EXIT_WRONG: u8 = 1;
/// The command line or this machine is not up to it. clap exits with the same.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let outcome = match args::Cli::parse().command {
        args::Command::Report(args) => report::run(&args),
        args::Command::Draw(args) => report::draw(&args),
        args::Command::Completions(args) => docs::completions(&args),
        args::Command::Man(args) => docs::man(&args),
        args::Command::Failover(args) => run::with_harm(&args),
        load => run::undisturbed(load),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("holdfast-perf: {error:#}");
        let is_target = error.downcast_ref::<engine::Unreachable>().is_some();
        ExitCode::from(if is_target { EXIT_WRONG } else { EXIT_USAGE })
    })
}
