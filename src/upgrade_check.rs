//! `holdfast upgrade-check`: what becomes of the connections when another release takes over.

use std::{
    io::{self, Write},
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, bail};
use controlplane::{
    admin::AdminClient,
    status::{PeerStatus, Versions},
};
use serde::Serialize;

use crate::{
    cli::UpgradeCheckArgs,
    config::versions,
    exit::{Failure, PROBLEM},
    node_socket, status,
};

/// How another binary can take over from the running one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    /// It follows the log: a switchover as between equals.
    Log,
    /// It is given snapshots while nobody serves.
    Snapshot,
    /// Connections end.
    None,
}

#[derive(Debug, Serialize)]
struct Verdict {
    way: Way,
    running: Versions,
    other: Versions,
}

/// Compares what the running node understands with what a binary, or the peer, does.
///
/// # Errors
/// No node answers, or the binary does not say what it understands.
pub fn upgrade_check(args: &UpgradeCheckArgs) -> anyhow::Result<ExitCode> {
    if args.print {
        println!("{}", serde_json::to_string(&versions::own())?);
        return Ok(ExitCode::SUCCESS);
    }
    let client = AdminClient::new(&node_socket::choose(&args.socket)?);
    let status = client.status().map_err(|error| status::failure(&error))?;
    let (other, name) = match &args.binary {
        Some(binary) => (ask(binary)?, binary.display().to_string()),
        None if args.peer => {
            let heard = |peer: &PeerStatus| Some((peer.versions?, peer.name.clone()));
            let mut heard = status.member.peers.iter().filter_map(heard);
            let first = heard.next().context("no peer was ever heard")?;
            // The one that differs says more.
            heard.find(|(versions, _)| *versions != status.versions).unwrap_or(first)
        }
        None => (versions::own(), "this binary".to_owned()),
    };
    let way = way(&status.versions, &other);
    let mut out = io::stdout().lock();
    if args.json {
        let verdict = Verdict { way, running: status.versions, other };
        writeln!(out, "{}", serde_json::to_string(&verdict)?)?;
    } else {
        write!(out, "{}", in_words(way, &status.versions, &other, &name))?;
    }
    Ok(if way == Way::None { ExitCode::from(PROBLEM) } else { ExitCode::SUCCESS })
}

fn ask(binary: &Path) -> anyhow::Result<Versions> {
    let shown = binary.display();
    let output = Command::new(binary).args(["upgrade-check", "--print"]).output();
    let output = output.map_err(|error| Failure::usage(format!("cannot run {shown}: {error}")))?;
    if !output.status.success() {
        bail!("{shown} does not say what it understands: is it a holdfast of this kind?");
    }
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{shown} does not say what it understands in a way known here"))
}

fn way(running: &Versions, other: &Versions) -> Way {
    let hear_each_other = (running.control, running.link) == (other.control, other.link);
    match (hear_each_other, running.log == other.log, running.snapshot == other.snapshot) {
        (true, true, _) => Way::Log,
        (true, false, true) => Way::Snapshot,
        _ => Way::None,
    }
}

fn in_words(way: Way, running: &Versions, other: &Versions, name: &str) -> String {
    let verdict = match way {
        Way::Log => format!(
            "{name} can follow the running node's log: connections go on, and nobody notices.\n\
             On each node, the backup first: `holdfast drain --wait`, stop it, start the new release,\n\
             wait until it is in sync. Then `holdfast switchover --wait`, and the other node.\n"
        ),
        Way::Snapshot => format!(
            "{name} cannot follow the running node's log, but reads its snapshots: connections go on,\n\
             clients wait while the state crosses the link. Drain and stop the backup, start the new\n\
             release there, `holdfast switchover --wait` on the primary, then upgrade that node; in\n\
             between the state is on one node alone.\n"
        ),
        Way::None => format!(
            "{name} can take nothing from the running node: connections end when it takes over.\n"
        ),
    };
    let line = |what: &str, ours: u16, theirs: u16| {
        let differs = if ours == theirs { "" } else { "  differs" };
        format!("  {what:<9} {ours:>3}  {theirs:>3}{differs}\n")
    };
    let Versions { control, link, log, snapshot } = *running;
    verdict
        + &line("log", log, other.log)
        + &line("snapshots", snapshot, other.snapshot)
        + &line("link", link, other.link)
        + &line("control", control, other.control)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: Versions = Versions { control: 3, link: 3, log: 1, snapshot: 6 };

    #[test]
    fn each_difference_leads_to_its_way() {
        assert_eq!(way(&RUNNING, &RUNNING), Way::Log);
        assert_eq!(way(&RUNNING, &Versions { snapshot: 7, ..RUNNING }), Way::Log);
        assert_eq!(way(&RUNNING, &Versions { log: 2, ..RUNNING }), Way::Snapshot);
        assert_eq!(way(&RUNNING, &Versions { log: 2, snapshot: 7, ..RUNNING }), Way::None);
        assert_eq!(way(&RUNNING, &Versions { link: 2, ..RUNNING }), Way::None);
        assert_eq!(way(&RUNNING, &Versions { control: 2, ..RUNNING }), Way::None);
    }

    #[test]
    fn says_what_differs() {
        let other = Versions { log: 2, ..RUNNING };
        let text = in_words(Way::Snapshot, &RUNNING, &other, "holdfast-2");
        assert!(text.contains("  log         1    2  differs\n"), "{text}");
        assert_eq!(text.matches("differs").count(), 1, "{text}");
    }
}
