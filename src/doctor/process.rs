//! What this process may do, and where its admin socket goes.

use std::{
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
};

use super::{
    finding::Report,
    system::{System, is_writable},
};
use crate::config::{Etcd, NodeConfig, Register};

const PERMISSIONS: &str = "permissions";
const SOCKET: &str = "admin socket";
const KEYS: &str = "key file";

/// Capabilities that ports and memory need, with their bit (capabilities(7)).
const CAPABILITIES: [(&str, u32); 3] =
    [("cap_net_admin", 12), ("cap_net_raw", 13), ("cap_ipc_lock", 14)];

/// Root, or the capabilities of [`CAPABILITIES`].
pub fn permissions(system: &System, report: &mut Report) {
    let status = system.read("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok())
        .unwrap_or(0);
    let missing: Vec<&str> = CAPABILITIES
        .iter()
        .filter(|(_, bit)| effective >> bit & 1 == 0)
        .map(|(name, _)| *name)
        .collect();
    if missing.is_empty() {
        report.ok(PERMISSIONS, "enough for ports and memory");
        return;
    }
    let message = format!("this user lacks {}", missing.join(", "));
    let fix = "run as root: sudo holdfast run -c node.toml\n\
               or: setcap cap_net_admin,cap_net_raw,cap_ipc_lock+ep $(command -v holdfast)";
    report.error(PERMISSIONS, message, fix);
}

/// Nobody else may read files with keys.
pub fn key_files(config: &NodeConfig, report: &mut Report) {
    if let Some(path) = &config.key_source.file {
        key_file(path, "whoever has a key is a peer", report);
    }
    let Register::Etcd(Etcd { tls: Some(tls), .. }) = &config.register else { return };
    if let Some(identity) = &tls.identity {
        key_file(&identity.key, "whoever has the key is this node to etcd", report);
    }
}

fn key_file(path: &Path, harm: &str, report: &mut Report) {
    let shown = path.display();
    match path.metadata().map(|data| data.permissions().mode() & 0o077) {
        Ok(0) => report.ok(KEYS, format!("only its owner may read {shown}")),
        Ok(_) => {
            let message = format!("others may read {shown}: {harm}");
            report.warn(KEYS, message, format!("chmod 600 {shown}"));
        }
        Err(error) => report.note(KEYS, format!("{shown}: {error}")),
    }
}

/// The socket's folder can be written, and no other node listens there.
pub fn admin_socket(config: &NodeConfig, report: &mut Report) {
    let socket = &config.admin_socket;
    let shown = socket.display();
    let folder = socket.parent().unwrap_or(Path::new("."));
    if UnixStream::connect(socket).is_ok() {
        let message = format!("a node already answers on {shown}");
        let fix = format!("holdfast status -s {shown}\nstop it, or set another admin.socket");
        report.error(SOCKET, message, fix);
        return;
    }
    if socket.exists() {
        report.note(SOCKET, format!("{shown} is left over from an earlier run; it is replaced"));
    }
    let existing = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    if is_writable(existing) {
        report.ok(SOCKET, format!("{shown} can be made"));
    } else {
        let message = format!("{} can't be written by this user", existing.display());
        let fix = format!("install -d -m 0750 -o $(id -un) {}", folder.display());
        report.error(SOCKET, message, fix);
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    #[test]
    fn a_key_that_others_may_read_is_told_of() {
        let key = tempfile::NamedTempFile::new().unwrap();
        for (mode, expected) in
            [(0o600, Severity::Ok), (0o640, Severity::Warning), (0o604, Severity::Warning)]
        {
            std::fs::set_permissions(key.path(), PermissionsExt::from_mode(mode)).unwrap();
            let mut report = Report::default();
            key_file(key.path(), "harm", &mut report);
            assert_eq!(report.findings[0].severity, expected, "{mode:o}");
        }
        let mut report = Report::default();
        key_file(Path::new("/nowhere"), "harm", &mut report);
        assert_eq!(report.findings[0].severity, Severity::Note);
    }
}
