//! A command that is run during a load, to harm the server.

use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::load::driver::Control;

/// After the load's end the command gets so long to come to its own.
const PATIENCE: Duration = Duration::from_secs(5);

/// A run that nobody disturbs.
#[derive(Debug)]
pub struct Undisturbed;

impl Control for Undisturbed {
    fn measuring(&mut self) {}

    fn mark(&mut self) -> Option<(Instant, String)> {
        None
    }
}

/// The command, before, while and after it runs.
#[derive(Debug)]
pub struct Harm {
    command: String,
    after: Duration,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    thread: JoinHandle<()>,
    /// Dropped to say that the time will not come any more.
    cancel: Sender<()>,
    begun: Receiver<Instant>,
    ended: Receiver<std::io::Result<ExitStatus>>,
}

impl Harm {
    /// Runs `command` in a shell, so long after the measurement's start.
    pub fn new(command: &str, after: Duration) -> Harm {
        Harm { command: command.to_owned(), after, running: None }
    }

    /// The load is over. Waits for the command, within reason.
    ///
    /// # Errors
    /// It was not run, failed or does not end.
    pub fn settle(self) -> anyhow::Result<()> {
        let command = &self.command;
        let not_run = || format!("the load was over before the command was run: {command}");
        let running = self.running.with_context(not_run)?;
        drop(running.cancel);
        match running.ended.recv_timeout(PATIENCE) {
            Ok(status) => {
                let status = status.with_context(|| format!("cannot run a shell for {command}"))?;
                if !status.success() {
                    bail!(
                        "the command failed ({status}), so what it should do may not have \
                           happened: {command}"
                    );
                }
            }
            Err(RecvTimeoutError::Timeout) => bail!("the command does not end: {command}"),
            Err(RecvTimeoutError::Disconnected) => bail!(not_run()),
        }
        // It has said its last word.
        let _ = running.thread.join();
        Ok(())
    }
}

impl Control for Harm {
    fn measuring(&mut self) {
        let (cancel, cancelled) = channel();
        let (begins, begun) = channel();
        let (ends, ended) = channel();
        let (command, after) = (self.command.clone(), self.after);
        let thread = std::thread::spawn(move || {
            if cancelled.recv_timeout(after) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            // Whoever asks for these may be gone.
            let _ = begins.send(Instant::now());
            let _ = ends.send(Command::new("/bin/sh").arg("-c").arg(&command).status());
        });
        self.running = Some(Running { thread, cancel, begun, ended });
    }

    fn mark(&mut self) -> Option<(Instant, String)> {
        let begun = self.running.as_ref()?.begun.try_recv().ok()?;
        Some((begun, self.command.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command: &str) -> (Harm, Instant) {
        let mut harm = Harm::new(command, Duration::from_millis(1));
        harm.measuring();
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            if let Some((begun, label)) = harm.mark() {
                assert_eq!(label, command);
                return (harm, begun);
            }
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
    }

    #[test]
    fn command_runs_and_is_marked_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("harm");
        let before = Instant::now();
        let (mut harm, begun) = run(&format!("echo done > {}", file.display()));
        assert!(begun >= before + Duration::from_millis(1));
        assert!(harm.mark().is_none());
        harm.settle().unwrap();
        assert_eq!(std::fs::read_to_string(file).unwrap(), "done\n");
    }

    #[test]
    fn failing_command_and_one_that_never_ran_are_told() {
        let error = run("exit 3").0.settle().unwrap_err().to_string();
        assert!(error.contains("exit 3") && error.contains("failed"), "{error}");
        let mut harm = Harm::new("true", Duration::from_secs(3600));
        harm.measuring();
        assert!(harm.settle().unwrap_err().to_string().contains("over before"));
    }
}
