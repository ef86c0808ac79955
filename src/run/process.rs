//! The process around the workers: its random run number, its signals, its panics.

use std::{fs::File, io::Read, panic, process, thread, time::Duration};

use anyhow::Context;
use replication::Incarnation;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use tracing::info;

/// A number that no other run of a node has: random, never zero.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn incarnation() -> anyhow::Result<Incarnation> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("cannot read random bytes from /dev/urandom")?;
    Ok(Incarnation(u64::from_le_bytes(bytes).max(1)))
}

/// Signals that end a node in good order.
#[derive(Debug)]
pub struct EndSignals(Signals);

impl EndSignals {
    /// Catches SIGTERM and SIGINT from now on.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn catch() -> anyhow::Result<Self> {
        Signals::new([SIGTERM, SIGINT]).map(Self).context("cannot catch SIGTERM and SIGINT")
    }

    /// Waits for the first one, for a while.
    pub fn came_within(&mut self, patience: Duration) -> bool {
        let came = self.0.pending().next().is_some();
        if !came {
            thread::sleep(patience);
        }
        came
    }

    /// Waits for the first one.
    pub fn wait(&mut self) {
        let signal = self.0.forever().next();
        let name = if signal == Some(SIGINT) { "SIGINT" } else { "SIGTERM" };
        info!(signal = name, "ending");
    }
}

/// Makes a panic of any thread end the whole process: a node with a dead worker would answer
/// heartbeats and serve nothing.
pub fn abort_on_panic() {
    panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        eprintln!(
            "holdfast: thread {thread} failed: {panic}\nholdfast: this node ends at once, so that \
             its peer takes over; please report this"
        );
        process::abort();
    }));
}
