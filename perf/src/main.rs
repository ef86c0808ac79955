//! `holdfast-probe`: clients over the kernel's own TCP that check every byte and measure every
//! pause. Tests, the demo and the drill look at a cluster through it, as any client would.
//!
//! It must never know anything of the engine: what it believes is what came out of a socket.
//!
//! Start reading at [`runner`] (the loop over all connections) and [`client`] (what a connection
//! does in it); [`commands`] has one file for each kind of client.

mod args;
mod bytes;
mod client;
mod clock;
mod commands;
mod connection;
mod histogram;
mod pace;
mod report;
mod runner;
mod stall;

use std::process::ExitCode;

use clap::Parser;

/// Every byte was right, and no connection was reset.
const EXIT_RIGHT: u8 = 0;
/// A connection failed: wrong bytes, a reset, no answer in time.
const EXIT_WRONG: u8 = 1;
/// The command line or this machine is not up to it. clap exits with the same.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    match commands::run(&cli) {
        Ok(report) => {
            report.print(cli.command.wants_json());
            ExitCode::from(if report.ok { EXIT_RIGHT } else { EXIT_WRONG })
        }
        Err(error) => {
            eprintln!("holdfast-probe: {error:#}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}
