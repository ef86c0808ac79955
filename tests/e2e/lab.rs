//! The lab as a value: up when made, down when dropped.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

pub const VIP: &str = "10.77.0.100";
pub const ECHO: &str = "10.77.0.100:7";
pub const DISCARD: &str = "10.77.0.100:9";
pub const STREAM: &str = "10.77.0.100:19";
pub const STREAM_N: &str = "10.77.0.100:20";
pub const VIP6: &str = "fd77::100";
pub const VMAC: &str = "02:48:46:4d:00:64";
/// For bulk transfers: without it they take all of two cores, and a test waits for each of its turns.
pub const RATE: [&str; 2] = ["--rate", "20"];

/// The detection timeout of [`Lab::patient`].
const PATIENT: [(&str, &str); 1] = [("LAB_DETECTION_MS", "500")];
/// The longest that any client of these tests may take, seconds.
const CLIENT_DEADLINE_S: u64 = 90;

/// Tests of this binary share the lab's names, so only one lab lives at a time.
static ONE_LAB: Mutex<()> = Mutex::new(());

pub struct Lab {
    scratch: tempfile::TempDir,
    /// Of `scripts/lab`, for all of its commands.
    settings: &'static [(&'static str, &'static str)],
    _only: MutexGuard<'static, ()>,
}

impl Lab {
    /// Namespaces, LAN and link; no node runs yet.
    pub fn up() -> Self {
        Self::up_with(&[])
    }

    /// The same, with arguments of `lab up`.
    pub fn up_with(arguments: &[&str]) -> Self {
        let only = ONE_LAB.lock().unwrap_or_else(PoisonError::into_inner);
        lab(&["down"]);
        lab(&[&["up"], arguments].concat());
        Self { scratch: tempfile::tempdir().unwrap(), settings: &[], _only: only }
    }

    /// For who watches that roles do not change: a machine that stands still for a moment must not
    /// change them.
    pub fn patient(mut self) -> Self {
        self.settings = &PATIENT;
        self
    }

    /// The lab with both nodes running and in sync.
    pub fn with_pair() -> Self {
        let this = Self::up();
        this.run(&["start"]);
        this
    }

    /// Starts both nodes without IPv4, on the service LAN as on the link.
    pub fn start_on_ipv6_alone(&self) {
        self.start_with(&[("LAB_IPV6_ONLY", "1")]);
    }

    /// Starts both nodes and waits until they are in sync, with settings of `scripts/lab` that are
    /// not its defaults.
    pub fn start_with(&self, settings: &[(&str, &str)]) {
        let mut command = Command::new(script("lab"));
        let started = command.arg("start").envs(settings.iter().copied()).output();
        let (stdout, stderr) = texts(started.as_ref().expect("scripts/lab runs"));
        assert!(started.is_ok_and(|output| output.status.success()), "{stdout}\n{stderr}");
    }

    /// Starts one node with settings of `scripts/lab`, and waits for nothing but its answer.
    pub fn start_node(&self, node: &str, settings: &[(&str, &str)]) {
        let mut command = Command::new(script("lab"));
        let settings = settings.iter().copied().chain([("LAB_NO_WAIT", "1")]);
        let started = command.args(["start", node]).envs(settings).output();
        let (stdout, stderr) = texts(started.as_ref().expect("scripts/lab runs"));
        assert!(started.is_ok_and(|output| output.status.success()), "{stdout}\n{stderr}");
    }

    /// Runs a command of `scripts/lab`; panics with its words if it fails.
    pub fn run(&self, arguments: &[&str]) -> String {
        lab_with(self.settings, arguments)
    }

    pub fn primary(&self) -> String {
        lab(&["primary"])
    }

    pub fn status(&self) -> Value {
        serde_json::from_str(&lab(&["status", "--json"])).expect("status is JSON")
    }

    /// What `holdfast COMMAND` of a node prints.
    pub fn holdfast(&self, command: &str, node: &str, arguments: &[&str]) -> String {
        let socket = self.www().with_file_name(format!("{node}.sock"));
        let mut holdfast = Command::new(holdfast_path());
        let output = holdfast.arg(command).arg("-s").arg(socket).args(arguments).output();
        let (stdout, stderr) = texts(&output.expect("holdfast runs"));
        assert!(stderr.is_empty(), "holdfast {command} {arguments:?}: {stderr}");
        stdout
    }

    /// A file that the http service will offer, if made before the nodes start.
    pub fn offer(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.www().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub fn www(&self) -> PathBuf {
        let text = lab(&["env"]);
        let line = text.lines().find_map(|line| line.strip_prefix("WWW=")).expect("WWW in lab env");
        PathBuf::from(line)
    }

    /// A path in a folder of this test.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A command in the client's namespace.
    pub fn client(&self, program: &str) -> Command {
        in_namespace("hf-client", program)
    }

    /// Runs `work` on a thread whose sockets are in the client's namespace.
    pub fn as_client<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let within = || {
            let namespace = File::open("/run/netns/hf-client").expect("the lab is up");
            let net = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), net).expect("we are root");
            work()
        };
        std::thread::scope(|scope| scope.spawn(within).join().expect("the client's work is done"))
    }

    /// A counter of node a's workers.
    pub fn counter(&self, name: &str) -> u64 {
        let status = self.status();
        let workers = status["a"]["details"]["workers"].as_array().expect("workers").clone();
        workers.iter().map(|worker| count(&worker["counters"][name])).sum()
    }

    /// Starts `holdfast-probe` with these arguments in the client's namespace.
    pub fn probe(&self, arguments: &[&str]) -> Client {
        self.probe_in("hf-client", arguments)
    }

    /// The same in another namespace.
    pub fn probe_in(&self, namespace: &str, arguments: &[&str]) -> Client {
        let mut command = in_namespace(namespace, &probe_path());
        command.args(arguments).arg("--json");
        Client::start(arguments.join(" "), command)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in ["a", "b", "c", "etcd"] {
                let log = Path::new("/var/tmp/holdfast-lab").join(format!("{node}.log"));
                let Ok(text) = std::fs::read_to_string(log) else { continue };
                let tail: Vec<_> = text.lines().rev().take(30).collect();
                eprintln!("--- log of node {node}, newest first ---\n{}", tail.join("\n"));
            }
        }
        let _ = Command::new(script("lab")).arg("down").status();
    }
}

/// A client that runs while the test makes trouble.
pub struct Client {
    what: String,
    child: Child,
    started: Instant,
}

impl Client {
    pub fn start(what: impl Into<String>, mut command: Command) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("client starts");
        Self { what: what.into(), child, started: Instant::now() }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("client can be asked").is_none()
    }

    /// Waits for the client's end; panics unless it says that all was right.
    pub fn must_succeed(mut self) -> String {
        let deadline = Duration::from_secs(CLIENT_DEADLINE_S);
        while self.is_running() {
            if self.started.elapsed() > deadline {
                let _ = self.child.kill();
                panic!("client '{}' did not end within {deadline:?}", self.what);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = self.child.wait_with_output().expect("client's output");
        let (stdout, stderr) = texts(&output);
        assert!(output.status.success(), "client '{}' failed:\n{stdout}\n{stderr}", self.what);
        stdout
    }
}

/// A number of a status.
pub fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("expected a count, found {value}"))
}

/// Polls until `condition` holds; panics naming `what` after `seconds`.
pub fn wait_for(what: &str, seconds: u64, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !condition() {
        assert!(Instant::now() < deadline, "gave up after {seconds} s waiting for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Lets traffic flow for a while before the trouble starts; nothing is asserted about time.
pub fn let_flow(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

pub fn in_namespace(namespace: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, program]);
    command
}

pub fn holdfast_path() -> String {
    env!("CARGO_BIN_EXE_holdfast").into()
}

fn probe_path() -> String {
    let beside = Path::new(env!("CARGO_BIN_EXE_holdfast")).with_file_name("holdfast-probe");
    assert!(beside.exists(), "{} is not built: run scripts/setup", beside.display());
    beside.to_str().expect("path is UTF-8").into()
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

fn lab(arguments: &[&str]) -> String {
    lab_with(&[], arguments)
}

fn lab_with(settings: &[(&str, &str)], arguments: &[&str]) -> String {
    let mut command = Command::new(script("lab"));
    command.args(arguments).envs(settings.iter().copied());
    let output = command.output().expect("scripts/lab runs");
    let (stdout, stderr) = texts(&output);
    assert!(output.status.success(), "lab {arguments:?} failed:\n{stdout}\n{stderr}");
    stdout.trim_end().into()
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}
