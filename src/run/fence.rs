//! Fencing: a command that switches the peer off, before this node goes on without it.

use std::{
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use controlplane::FenceLines;
use tracing::{error, warn};

use crate::config::Fence;

/// How often to look whether the command has ended.
const CHECK: Duration = Duration::from_millis(5);
/// A pause after a failure, so that a command that fails at once does not run all the time.
const PAUSE: Duration = Duration::from_secs(1);

/// Starts the thread that takes orders. It ends when nobody can give any.
///
/// # Errors
/// The system gives no thread.
pub fn start(fence: Fence, peer: String, mut lines: FenceLines) -> std::io::Result<()> {
    let work = move || {
        while lines.orders.blocking_recv().is_some() {
            let is_off = run(&fence, &peer);
            if !is_off {
                thread::sleep(PAUSE);
            }
            if lines.outcomes.blocking_send(is_off).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("fence".into()).spawn(work).map(drop)
}

/// Runs the command; whether it says that the peer is off.
fn run(fence: &Fence, peer: &str) -> bool {
    let began = Instant::now();
    let command = fence.command.join(" ");
    warn!(event = "fence_began", peer, command, "runs the fence command");
    let outcome = wait_for(fence, peer);
    let took_ms = began.elapsed().as_millis() as u64;
    match outcome {
        Ok(Some(status)) if status.success() => {
            warn!(event = "fence_done", peer, command, took_ms, "{peer} is fenced");
            true
        }
        Ok(Some(status)) => {
            error!(event = "fence_failed", peer, command, took_ms, "the fence command: {status}");
            false
        }
        Ok(None) => {
            let ms = fence.timeout.as_millis();
            error!(event = "fence_failed", peer, command, took_ms, "not done after {ms} ms, ended");
            false
        }
        Err(problem) => {
            error!(event = "fence_failed", peer, command, took_ms, "cannot run it: {problem}");
            false
        }
    }
}

/// `None`: it took too long.
fn wait_for(fence: &Fence, peer: &str) -> std::io::Result<Option<ExitStatus>> {
    let Some((program, arguments)) = fence.command.split_first() else { return Ok(None) };
    let mut child = Command::new(program)
        .args(arguments)
        .env("HOLDFAST_FENCE_NODE", peer)
        .stdin(Stdio::null())
        .spawn()?;
    let deadline = Instant::now() + fence.timeout;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(CHECK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(script: &str) -> bool {
        let command = ["sh", "-c", script].map(String::from).to_vec();
        run(&Fence { command, timeout: Duration::from_millis(300) }, "b")
    }

    #[test]
    fn only_success_in_time_counts() {
        assert!(outcome("test \"$HOLDFAST_FENCE_NODE\" = b"));
        assert!(!outcome("exit 3"));
        assert!(!outcome("exec sleep 60"));
        let missing = Fence { command: vec!["/nowhere/fence".into()], timeout: PAUSE };
        assert!(!run(&missing, "b"));
    }
}
