//! `holdfast conns`: the connections of a running node, in the manner of `ss`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use controlplane::admin::{AdminClient, ConnPage, ConnRow, Filter};

use crate::{
    cli::ConnsArgs,
    exit::Failure,
    node_socket, status,
    text::{self, Table},
};

/// Rows of a table that somebody might still read.
const TABLE_ROWS: usize = 1000;
/// More than a node can hold.
const ALL_ROWS: usize = 1_000_000;

/// Lists the connections that the filter selects.
///
/// # Errors
/// The filter makes no sense, no node answers, or standard output can't be written.
pub fn conns(args: &ConnsArgs) -> anyhow::Result<ExitCode> {
    let expression = args.filter.join(" ");
    // The node would refuse it too; this works without one.
    Filter::parse(&expression).map_err(|error| {
        let marker = " ".repeat(error.column.saturating_sub(1));
        Failure::usage(format!(
            "the filter is wrong: {}\n  {expression}\n  {marker}^",
            error.message
        ))
    })?;
    let client = AdminClient::new(&node_socket::choose(&args.socket)?);
    let limit = args.limit.unwrap_or(if args.json { ALL_ROWS } else { TABLE_ROWS });
    let page = client.connections(&expression, limit).map_err(|error| status::failure(&error))?;
    let text = if args.json { serde_json::to_string(&page.rows)? + "\n" } else { render(&page) };
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn render(page: &ConnPage) -> String {
    let mut table = Table::with_headings(&[
        "STATE", "RECV-Q", "SEND-Q", "LOCAL", "REMOTE", "SERVICE", "RTT", "CWND", "RETRANS", "IDLE",
    ]);
    for row in &page.rows {
        table.row([
            row.state.to_string(),
            row.recv_queue.to_string(),
            row.send_queue.to_string(),
            row.local.to_string(),
            row.remote.to_string(),
            row.service.clone(),
            rtt(row),
            text::bytes(row.cwnd),
            row.retransmissions.to_string(),
            row.idle_us.map_or("-".into(), text::duration_us),
        ]);
    }
    let shown = page.rows.len() as u64;
    let more = page.matched.saturating_sub(shown);
    let cut = if more > 0 { format!(", {more} more with --limit") } else { String::new() };
    format!("{}{shown} of {} connections{cut}\n", table.render(0), page.total)
}

fn rtt(row: &ConnRow) -> String {
    match (row.rtt_us, row.rtt_var_us) {
        (Some(rtt_us), Some(var_us)) => format!("{rtt_us}/{var_us} us"),
        (Some(rtt_us), None) => format!("{rtt_us} us"),
        (None, _) => "-".into(),
    }
}
