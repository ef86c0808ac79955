//! The `holdfast` command: puts the parts of the appliance together, and nothing else.
//!
//! What a node *does* lives in the other crates; here are the configuration file ([`config`]), the
//! command line ([`cli`]), the wiring of a running node ([`run`]) and what an operator asks of a
//! machine or a node (`check`, `doctor`, `status`, …). Nothing here may touch a packet. Start
//! reading at [`cli`], then [`run`].

mod check;
mod cli;
mod config;
mod conns;
mod content_loader;
mod docs;
mod doctor;
mod exit;
mod keys;
mod node_socket;
mod profiles;
mod roles;
mod run;
mod status;
mod text;
mod upgrade_check;
mod witness;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Check(args) => check::check(&args),
        Command::Run(args) => run::run(&args),
        Command::Witness(args) => witness::witness(&args),
        Command::Status(args) => status::status(&args),
        Command::Conns(args) => conns::conns(&args),
        Command::Switchover(args) => roles::switchover(&args),
        Command::Drain(args) => roles::drain(&args),
        Command::Undrain(args) => roles::undrain(&args),
        Command::UpgradeCheck(args) => upgrade_check::upgrade_check(&args),
        Command::Keys(args) => keys::keys(&args),
        Command::Profiles(args) => profiles::profiles(&args),
        Command::Completions(args) => docs::completions(&args),
        Command::Man(args) => docs::man(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => exit::report(&error),
    }
}
