//! An etcd process, in a folder of its own on ports of its own.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::certificates::Certificates;

/// Where `scripts/setup` puts it if the machine has none.
const FETCHED: &str = "/usr/local/lib/holdfast/etcd";

pub struct Etcd {
    pub port: u16,
    peer_port: u16,
    folder: tempfile::TempDir,
    /// It speaks TLS alone, and to those alone who have a certificate of the same authority.
    certificates: Option<Certificates>,
    process: Option<Child>,
}

impl Etcd {
    pub fn start() -> Etcd {
        Etcd::start_with(None)
    }

    pub fn start_with(certificates: Option<Certificates>) -> Etcd {
        let (port, peer_port) = (Etcd::free_port(), Etcd::free_port());
        let folder = tempfile::tempdir().unwrap();
        let mut etcd = Etcd { port, peer_port, folder, certificates, process: None };
        etcd.restart();
        etcd
    }

    /// A port that nobody listens on.
    pub fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    pub fn restart(&mut self) {
        let listen = self.url();
        let peers = format!("http://127.0.0.1:{}", self.peer_port);
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new(program());
        command.arg("--data-dir").arg(self.folder.path().join("data"));
        command.args(["--listen-client-urls", &listen, "--advertise-client-urls", &listen]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("default={peers}")]);
        if let Some(certificates) = &self.certificates {
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(certificates.ca());
            command.arg("--cert-file").arg(certificates.of("etcd"));
            command.arg("--key-file").arg(certificates.key_of("etcd"));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.process = Some(command.spawn().expect("etcd starts: run scripts/setup"));
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.try_request("/v3/kv/range", r#"{"key":"YQ=="}"#).is_none() {
            assert!(Instant::now() < deadline, "etcd does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// From now on only root may ask, with the password "secret".
    pub fn require_login(&self) {
        self.request("/v3/auth/user/add", r#"{"name":"root","password":"secret"}"#);
        self.request("/v3/auth/role/add", r#"{"name":"root"}"#);
        self.request("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#);
        self.request("/v3/auth/enable", "{}");
    }

    /// What etcd says to an operator.
    pub fn request(&self, path: &str, body: &str) -> String {
        self.try_request(path, body).expect("etcd answers")
    }

    fn url(&self) -> String {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Any answer is one: the caller knows what it asked for.
    fn try_request(&self, path: &str, body: &str) -> Option<String> {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-m", "5", "-d", body, &format!("{}{path}", self.url())]);
        if let Some(certificates) = &self.certificates {
            curl.arg("--cacert").arg(certificates.ca());
            curl.arg("--cert").arg(certificates.of("etcd"));
            curl.arg("--key").arg(certificates.key_of("etcd"));
        }
        let output = curl.output().expect("curl runs");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

fn program() -> PathBuf {
    let named = std::env::var_os("ETCD").map(PathBuf::from);
    let found = || {
        let folders = std::env::var_os("PATH")?;
        std::env::split_paths(&folders).map(|folder| folder.join("etcd")).find(|path| path.exists())
    };
    named.or_else(found).unwrap_or_else(|| FETCHED.into())
}
