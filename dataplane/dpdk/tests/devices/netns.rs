//! Network namespaces that vanish with their guard.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A network namespace, `hf-t-…`; deleted when dropped, with the interfaces in it.
pub struct Namespace(pub String);

impl Namespace {
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hf-t-{name}-{}-{number}", std::process::id());
        run(&["ip", "netns", "add", &name]);
        let namespace = Self(name);
        namespace.run(&["ip", "link", "set", "lo", "up"]);
        namespace
    }

    /// Runs a command in it.
    pub fn run(&self, command: &[&str]) {
        run(&[&self.exec(), command].concat());
    }

    /// What goes before a command to run it in the namespace.
    pub fn exec(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.0]
    }

    /// A pair of interfaces, one here and one there, without offloads, up.
    pub fn join(&self, name: &str, other: &Self, other_name: &str, mtu: &str) {
        let ends = [(self, name), (other, other_name)];
        run(&[
            "ip", "link", "add", name, "netns", &self.0, "type", "veth", "peer", other_name,
            "netns", &other.0,
        ]);
        for (namespace, name) in ends {
            namespace.run(&[
                "ethtool", "-K", name, "tx", "off", "tso", "off", "gso", "off", "gro", "off",
            ]);
            namespace.run(&["ip", "link", "set", name, "mtu", mtu, "up"]);
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

pub fn run(command: &[&str]) {
    let output = Command::new(command[0]).args(&command[1..]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", command.join(" "));
}
