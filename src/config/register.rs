//! `[register]`: who decides which node is primary.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;

use super::{
    checker::Checker,
    etcd::{self, Etcd},
    schema::RegisterSection,
};

/// Where a voter keeps its memory unless told otherwise.
const FOLDER: &str = "/var/lib/holdfast";

/// The register that a node works with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Register {
    /// The two nodes alone, perhaps with a way to switch each other off.
    Pair(Option<Fence>),
    /// All nodes, with a witness if these are an even number, by majority.
    Raft(Raft),
    /// A key in etcd.
    Etcd(Etcd),
}

/// The voters, as one of them sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raft {
    pub name: String,
    pub address: SocketAddr,
    pub others: Vec<(String, SocketAddr)>,
    /// The one of all that is no node, if there is one.
    pub witness: Option<String>,
    pub folder: PathBuf,
}

/// A command that switches the peer off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The program and its arguments.
    pub command: Vec<String>,
    pub timeout: Duration,
}

/// What all nodes must have in common of it.
#[derive(Debug, Clone, Serialize)]
pub struct Common {
    kind: &'static str,
    voters: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl Register {
    pub fn common(&self) -> Common {
        match self {
            Self::Pair(_) => Common { kind: "pair", voters: Vec::new(), key: None },
            Self::Raft(raft) => {
                let others = raft.others.iter().map(|(name, _)| name.clone());
                let mut voters: Vec<String> = others.chain([raft.name.clone()]).collect();
                voters.sort();
                Common { kind: "raft", voters, key: None }
            }
            // Each node may name the same etcd in its own way.
            Self::Etcd(etcd) => {
                Common { kind: "etcd", voters: Vec::new(), key: Some(etcd.key.clone()) }
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Pair,
    Raft,
    Etcd,
}

/// Whose register it is.
pub struct Nodes<'a> {
    pub cluster: &'a str,
    /// This node, and its peers.
    pub me: &'a str,
    pub others: &'a [&'a str],
}

/// The register of a node.
pub fn of_node(
    section: &RegisterSection,
    nodes: &Nodes<'_>,
    base: &Path,
    check: &mut Checker,
) -> Option<Register> {
    let Nodes { me, others, .. } = *nodes;
    let kinds = [("pair", Kind::Pair), ("raft", Kind::Raft), ("etcd", Kind::Etcd)];
    let kind = check.choice("register.kind", &section.kind, &kinds)?;
    if !matches!(kind, Kind::Etcd) {
        etcd::refuse(section, check);
    }
    match kind {
        Kind::Etcd => etcd::etcd(section, nodes.cluster, base, check).map(Register::Etcd),
        Kind::Pair => {
            let what = "are given, but the register is the pair's own";
            let hint = "expected register.kind = \"raft\", or no voters";
            check.require(section.voters.is_empty(), "register.voters", what, hint);
            let what = format!("is \"pair\", and the cluster has {} nodes", others.len() + 1);
            let hint =
                "expected \"raft\" or \"etcd\": more than two nodes need a register that decides";
            check.require(others.len() <= 1, "register.kind", what, hint);
            Some(Register::Pair(fence(section, check)))
        }
        Kind::Raft => {
            let hint = "expected register.kind = \"pair\": a majority needs nobody switched off";
            check.require(section.fence.is_empty(), "register.fence", "is given", hint);
            let nodes = || others.iter().copied().chain([me]);
            for name in nodes() {
                let role = if name == me { "this node" } else { "its peer" };
                let what = format!("do not name {role}, \"{name}\"");
                let hint = "expected all nodes, each with its address";
                let named = section.voters.contains_key(name);
                check.require(named, "register.voters", what, hint);
            }
            let mut beside =
                section.voters.keys().filter(|name| nodes().all(|node| node != name.as_str()));
            let (witness, another) = (beside.next().cloned(), beside.next());
            let what = "name more than one that is no node";
            check.require(another.is_none(), "register.voters", what, "expected one witness");
            raft(section, me, witness, base, check).map(Register::Raft)
        }
    }
}

fn fence(section: &RegisterSection, check: &mut Checker) -> Option<Fence> {
    let key = "register.fence_timeout_ms";
    let timeout_ms = check.range(key, section.fence_timeout_ms, 100, 600_000);
    let program = section.fence.first()?;
    let hint = "expected a program by its path and its arguments, e.g. [\"/usr/local/sbin/off\"]";
    check.require(program.starts_with('/'), "register.fence", format!("\"{program}\""), hint);
    let timeout = Duration::from_millis(timeout_ms.into());
    Some(Fence { command: section.fence.clone(), timeout })
}

/// The voters, as `me` sees them.
pub fn raft(
    section: &RegisterSection,
    me: &str,
    witness: Option<String>,
    base: &Path,
    check: &mut Checker,
) -> Option<Raft> {
    let what = format!("are {}", section.voters.len());
    let hint = "expected three or five: all nodes, and a witness if these are two or four, e.g. \
                voters = { a = \"192.0.2.1:7500\", b = \"192.0.2.2:7500\", \
                witness = \"192.0.2.3:7500\" }";
    check.require(matches!(section.voters.len(), 3 | 5), "register.voters", what, hint);
    let mut others = Vec::new();
    let mut address = None;
    for (name, text) in &section.voters {
        let name = check.name("register.voters", name);
        let expected = "an address and a port, e.g. \"192.0.2.1:7500\"";
        let parsed: SocketAddr = check.parse("register.voters", text, expected)?;
        if name == me {
            address = Some(parsed);
        } else {
            others.push((name, parsed));
        }
    }
    if address.is_none() {
        let what = format!("do not name this voter, \"{me}\"");
        check.fail("register.voters", what, "expected its name and address among them");
    }
    let folder = section.folder.as_deref().map_or_else(|| Path::new(FOLDER).join(me), Into::into);
    let (name, folder) = (me.to_owned(), base.join(folder));
    Some(Raft { name, address: address?, others, witness, folder })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GOOD, read};
    use super::*;

    fn with_register(text: &str) -> Result<Register, String> {
        let file = format!("{GOOD}\n[register]\n{text}\n");
        read(&file).map(|config| config.register).map_err(|error| error.to_string())
    }

    #[test]
    fn pair_is_what_there_is_without_a_word() {
        assert_eq!(read(GOOD).unwrap().register, Register::Pair(None));
    }

    #[test]
    fn fence_is_a_program_with_a_time_limit() {
        let text = "fence = [\"/sbin/off\", \"b\"]\nfence_timeout_ms = 500";
        let Register::Pair(Some(fence)) = with_register(text).unwrap() else { panic!("fence") };
        assert_eq!(fence.command, ["/sbin/off", "b"]);
        assert_eq!(fence.timeout, Duration::from_millis(500));
        let said = with_register("fence = [\"off\"]").unwrap_err();
        assert!(said.contains("by its path"), "{said}");
    }

    #[test]
    fn three_voters_make_a_raft() {
        let text = r#"kind = "raft"
            voters = { a = "10.79.0.1:7500", b = "10.79.0.2:7500", w = "10.79.0.3:7500" }
            folder = "state""#;
        let Register::Raft(raft) = with_register(text).unwrap() else { panic!("raft") };
        assert_eq!(raft.address, "10.79.0.1:7500".parse().unwrap());
        assert_eq!(raft.others.len(), 2);
        assert_eq!(raft.folder, Path::new("/etc/holdfast/state"));
    }

    #[test]
    fn says_what_is_wrong_with_the_voters() {
        for (text, expected) in [
            (r#"kind = "paxos""#, "\"pair\", \"raft\", \"etcd\""),
            (r#"kind = "raft""#, "expected three"),
            (r#"voters = { a = "10.79.0.1:7500" }"#, "the pair's own"),
            (
                r#"kind = "raft"
                voters = { a = "10.79.0.1:1", c = "10.79.0.2:1", w = "10.79.0.3:1" }"#,
                "its peer, \"b\"",
            ),
            (
                r#"kind = "raft"
                voters = { a = "10.79.0.1", b = "10.79.0.2:1", w = "10.79.0.3:1" }"#,
                "an address and a port",
            ),
        ] {
            let said = with_register(text).unwrap_err();
            assert!(said.contains(expected), "{text}: {said}");
        }
    }
}
