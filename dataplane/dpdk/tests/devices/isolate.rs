//! Tests in processes of their own: the test's executable again, with a role to play.

use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

const ROLE: &str = "DPDK_TEST_ROLE";
const PATIENCE: Duration = Duration::from_secs(60);

/// Which part this process plays in the test; `None` in the process that directs it.
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// A process that plays a role; stopped when dropped.
pub struct Player {
    name: String,
    child: Child,
}

impl Player {
    /// Starts this executable for `test` (its full path), behind `prefix`, which must become it by
    /// exec: `ip netns exec NAME`, or nothing.
    pub fn start(test: &str, role: &str, prefix: &[&str]) -> Self {
        let exe = std::env::current_exe().unwrap();
        let arguments = [test, "--exact", "--nocapture", "--test-threads=1"];
        let mut command = match prefix.split_first() {
            Some((program, rest)) => {
                let mut command = Command::new(program);
                command.args(rest).arg(exe);
                command
            }
            None => Command::new(exe),
        };
        let child = command.args(arguments).env(ROLE, role).spawn().unwrap();
        Self { name: format!("{test} as {role}"), child }
    }

    /// Waits until it ends, and wants it to have succeeded.
    pub fn succeed(mut self) {
        let deadline = Instant::now() + PATIENCE;
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "{} did not end in {PATIENCE:?}", self.name);
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(status.success(), "{}: {status}", self.name);
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // EAL's own files; it removes them at the next start with the same prefix, which none has.
        let _ = std::fs::remove_dir_all(format!("/var/run/dpdk/hf-t-{}", self.child.id()));
    }
}

/// Plays `body` in one process of its own, in this network namespace.
pub fn alone(test: &str, body: impl FnOnce()) {
    match role() {
        None => Player::start(test, "alone", &[]).succeed(),
        Some(_) => body(),
    }
}

/// Whether the test can run; says loudly when not.
pub fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let root = status.lines().any(|line| line.starts_with("Uid:\t0\t"));
    if !root {
        eprintln!("!!! SKIPPED: this test makes network devices and needs root !!!");
    }
    root
}

/// Polls until `done` gives something.
pub fn wait_for<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(Instant::now() < deadline, "timed out: {what}");
        std::thread::yield_now();
    }
}
