//! `holdfast keys`: what a node shares with its peer, and how that is changed while it runs.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    process::ExitCode,
};

use controlplane::{MemberStatus, admin::AdminClient, admin::AdminError};
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
    let text = if args.json {
        serde_json::to_string(&Keys { node: &member.keys, peer: &member.peer.keys })? + "\n"
    } else {
        render(&member)
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// What `--json` prints: names of keys, of each node the one that it seals with first.
#[derive(Serialize)]
struct Keys<'a> {
    node: &'a [String],
    peer: &'a [String],
}

fn render(member: &MemberStatus) -> String {
    let mut table = Table::with_headings(&["KEY", &member.node, &member.peer.name]);
    let (ours, theirs) = (&member.keys, &member.peer.keys);
    let known: BTreeSet<&String> = ours.iter().collect();
    let others = theirs.iter().filter(|key| !known.contains(key));
    for key in ours.iter().chain(others) {
        table.row([key.clone(), part(ours, key), part(theirs, key)]);
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
