//! `holdfast keys`: what a node shares with its peer, and how that is changed while it runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    iter,
    process::ExitCode,
};

use controlplane::{MemberStatus, admin::AdminClient, admin::AdminError, status::PeerStatus};
use serde::Serialize;

use crate::{
    cli::{KeysAction, KeysArgs},
    node_socket, status,
    text::Table,
};

/// Shows the keys, or has the node read them again first.
///
/// # Errors
/// No node answers, its keys can't be used, or standard output can't be written.
pub fn keys(args: &KeysArgs) -> anyhow::Result<ExitCode> {
    let client = AdminClient::new(&node_socket::choose(&args.socket)?);
    if args.action == KeysAction::Reload {
        client.reload_keys(args.force).map_err(|error| match error {
            AdminError::Refused { status: 409, message, .. } => anyhow::Error::msg(message),
            other => status::failure(&other).into(),
        })?;
    }
    let member = client.status().map_err(|error| status::failure(&error))?.member;
    let text =
        if args.json { serde_json::to_string(&Keys::of(&member))? + "\n" } else { render(&member) };
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// What `--json` prints: names of keys, of each node the one that it seals with first.
#[derive(Serialize)]
struct Keys<'a> {
    node: &'a [String],
    /// By the names of the other nodes.
    peers: BTreeMap<&'a str, &'a [String]>,
}

impl<'a> Keys<'a> {
    fn of(member: &'a MemberStatus) -> Self {
        let peer = |peer: &'a PeerStatus| (peer.name.as_str(), peer.keys.as_slice());
        Self { node: &member.keys, peers: member.peers.iter().map(peer).collect() }
    }
}

fn render(member: &MemberStatus) -> String {
    let names = member.peers.iter().map(|peer| peer.name.as_str());
    let headings: Vec<&str> = ["KEY", &member.node].into_iter().chain(names).collect();
    let mut table = Table::with_headings(&headings);
    let all = || iter::once(&member.keys).chain(member.peers.iter().map(|peer| &peer.keys));
    let mut known = BTreeSet::new();
    for key in all().flatten().filter(|key| known.insert(*key)) {
        table.row(iter::once(key.clone()).chain(all().map(|keys| part(keys, key))));
    }
    table.render(0)
}

fn part(keys: &[String], key: &String) -> String {
    match keys.iter().position(|other| other == key) {
        Some(0) => "seals and opens".into(),
        Some(_) => "opens".into(),
        None => "-".into(),
    }
}
