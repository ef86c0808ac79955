//! A node's status for people.

use controlplane::{
    admin::{EtcdStatus, HandoverStatus, RegisterStatus, Status, VoterStatus, VotingStatus},
    status::{Gate, LanState, PathStatus, PeerStatus, Standing},
};

use super::{services, summary::is_serving};
use crate::text::{self, Table};

/// `before`: an earlier status of the same run, to tell rates from.
pub fn render(status: &Status, before: Option<&Status>) -> String {
    let mut table = Table::default();
    let mut line = |name: &str, value: String| table.row([name.into(), value]);
    let member = &status.member;
    line("node", format!("{} of {}, version {}", member.node, status.cluster, status.version));
    line("role", role(status));
    if let Some(reason) = &member.reason {
        line("", reason.clone());
    }
    line("in sync", in_sync(status));
    line("epoch", epoch(status));
    let owner = if is_serving(status) { "owned here" } else { "not here" };
    for vip in &status.vips {
        line("service", format!("{} at {}, {owner}", vip.address, vip.mac));
    }
    if member.lan == LanState::Silent {
        line("LAN", "NO NEIGHBOUR ANSWERS this node there: check cable, card and port".into());
    }
    for other in &member.peers {
        line("peer", peer(other));
        line("  link", link(other, 1, &other.link));
        other.second_link.iter().for_each(|second| line("  link 2", link(other, 2, second)));
        line("  LAN", format!("{}{}", path(&other.lan), lan(other.lan_state)));
    }
    if let Some(register) = &status.register {
        line("register", self::register(register));
    }
    let counts = &status.connections;
    let limit = text::count(counts.limit);
    line(
        "connections",
        format!(
            "{} open, {} of them half-open, limit {limit}",
            text::count(counts.open),
            text::count(counts.half_open)
        ),
    );
    line("memory", memory(status));
    line("gate", gate(status));
    line("keys", keys(status));
    line("traffic", traffic(status, before));
    line("log", log(status, before));
    handover(status).into_iter().for_each(|text| line("handover", text));
    line("dropped", dropped(status));
    line("uptime", text::duration_us(status.uptime_us));
    let mut text = table.render(0);
    text.push_str(&services::render(status));
    text.push_str(&takeover(status));
    text.push_str(&switchover(status));
    text.push_str(&refusals(status));
    text
}

fn role(status: &Status) -> String {
    let member = &status.member;
    let name = match member.standing {
        Standing::Starting => "starting",
        Standing::Forming => "forming a pair",
        Standing::Primary => "primary",
        Standing::Backup => "backup",
        Standing::Joining => "joining",
        Standing::Spare => "spare",
    };
    let since = text::duration_us(status.now_us.saturating_sub(member.since_us));
    let silent = if member.silent { ", silent: it suspects itself" } else { "" };
    let drained = if member.drained { ", drained" } else { "" };
    format!("{name} for {since}{drained}{silent}")
}

fn in_sync(status: &Status) -> String {
    let member = &status.member;
    match (member.pair_in_sync, member.standing) {
        (true, _) => format!("yes: {} hold the same state", member.in_sync.join(" and ")),
        (false, Standing::Primary) => "NO: this node's end would end all connections".into(),
        (false, _) => "no".into(),
    }
}

fn epoch(status: &Status) -> String {
    let primary = status.member.primary.as_deref().unwrap_or("nobody");
    format!("{}, primary is {primary}", status.member.epoch)
}

fn peer(peer: &PeerStatus) -> String {
    match &peer.standing {
        Some(standing) => {
            let drained = if peer.drained { ", drained" } else { "" };
            format!("{}, last known as {standing}{drained}", peer.name)
        }
        None => format!("{}, never heard", peer.name),
    }
}

/// Of two links it is worth saying which one is in use.
fn link(peer: &PeerStatus, number: u8, status: &PathStatus) -> String {
    let in_use = peer.second_link.is_some() && peer.active_link == number;
    format!("{}{}", path(status), if in_use { "; carries the log" } else { "" })
}

fn path(path: &PathStatus) -> String {
    let heard = match (path.heard, path.last_heard_us_ago) {
        (true, Some(ago)) => format!("heard {} ago", text::duration_us(ago)),
        (false, Some(ago)) => format!("SILENT for {}", text::duration_us(ago)),
        (_, None) => "never heard".into(),
    };
    format!("{heard}, counts as silent after {}", text::duration_us(path.timeout_us))
}

/// What the peer hears of its own neighbours there.
fn lan(state: LanState) -> &'static str {
    match state {
        LanState::Untested => "",
        LanState::Answers => "; neighbours answer it",
        LanState::Silent => "; NO NEIGHBOUR ANSWERS it",
    }
}

fn register(register: &RegisterStatus) -> String {
    match register {
        RegisterStatus::Raft(voting) => self::voting(voting),
        RegisterStatus::Etcd(etcd) => self::etcd(etcd),
    }
}

fn etcd(etcd: &EtcdStatus) -> String {
    let EtcdStatus { key, endpoint, .. } = etcd;
    let answered = match etcd.answered_us_ago {
        Some(ago) => format!("answered {} ago", text::duration_us(ago)),
        None => "never answered".into(),
    };
    match &etcd.problem {
        Some(problem) => format!("NOTHING CAN CHANGE: {endpoint}: {problem}; {answered}; {key}"),
        None => format!("etcd at {endpoint}, {answered}; {key}"),
    }
}

fn voting(voting: &VotingStatus) -> String {
    let voter = |voter: &VoterStatus| {
        let heard = if voter.heard { "heard" } else { "SILENT" };
        format!("{} {heard}", voter.name)
    };
    let others: Vec<String> = voting.others.iter().map(voter).collect();
    let leader = match &voting.leader {
        Some(leader) => format!("led by {leader}"),
        None => "NO LEADER: nothing can change".into(),
    };
    format!("{} of raft, {leader}; {}", voting.role, others.join(", "))
}

fn memory(status: &Status) -> String {
    let memory = &status.memory;
    let block = memory.block_bytes;
    format!(
        "{} B per idle connection; buffers {} of {}; engine {}",
        memory.bytes_per_idle_connection,
        text::bytes(memory.pool_blocks_used * block),
        text::bytes(memory.pool_blocks * block),
        text::bytes(memory.engine_bytes),
    )
}

fn gate(status: &Status) -> String {
    let rule = match status.member.gate {
        Some(Gate::Confirmed) => "confirmed: packets wait for the backup",
        Some(Gate::Open) => "open: nobody else holds the state",
        None => return "none".into(),
    };
    format!("{rule}; {} waiting", text::count(status.link.gate_waiting))
}

/// The key that seals what this node says, and what was refused of others.
fn keys(status: &Status) -> String {
    let member = &status.member;
    let sealing = member.keys.first().map_or("none", String::as_str);
    let more = member.keys.len().saturating_sub(1);
    let more = if more > 0 { format!(", {more} more to open with") } else { String::new() };
    let counters = &member.counters;
    let on_link = |name| status.link.counters.get(name).copied().unwrap_or(0);
    let refused = [
        ("of unknown keys", counters.unknown_key + on_link("rejected_unknown_key")),
        ("forged or damaged", counters.unauthentic + on_link("rejected_unauthentic")),
        ("replayed", counters.replayed + on_link("rejected_replayed")),
    ];
    let refused: Vec<String> = refused
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(what, count)| format!("{} {what}", text::count(count)))
        .collect();
    let refused = if refused.is_empty() { "nothing".into() } else { refused.join(", ") };
    format!("seals with {sealing}{more}; refused: {refused}")
}

/// The sum of a worker counter, and its rate since `before` if there is one.
fn total(status: &Status, name: &str) -> u64 {
    status.workers.iter().filter_map(|worker| worker.counters.get(name)).sum()
}

fn rate(status: &Status, before: Option<&Status>, count: impl Fn(&Status) -> u64) -> Option<f64> {
    let before = before.filter(|before| before.now_us < status.now_us)?;
    let seconds = (status.now_us - before.now_us) as f64 / 1e6;
    Some(count(status).saturating_sub(count(before)) as f64 / seconds)
}

fn volume(status: &Status, before: Option<&Status>, count: impl Fn(&Status) -> u64) -> String {
    match rate(status, before, &count) {
        Some(bytes_per_s) => format!("{:.1} Mbit/s", bytes_per_s * 8.0 / 1e6),
        None => text::bytes(count(status)),
    }
}

fn traffic(status: &Status, before: Option<&Status>) -> String {
    let bytes_in = volume(status, before, |status| total(status, "lan_rx_bytes"));
    let bytes_out = volume(status, before, |status| total(status, "lan_tx_bytes"));
    format!("{bytes_in} in, {bytes_out} out")
}

fn log(status: &Status, before: Option<&Status>) -> String {
    let counter = |name: &'static str| {
        move |status: &Status| status.link.counters.get(name).copied().unwrap_or(0)
    };
    let sent = volume(status, before, counter("bytes_sent"));
    let received = volume(status, before, counter("bytes_received"));
    let again = counter("frames_retransmitted")(status);
    let link = &status.link;
    format!(
        "{sent} sent, {received} received, {} frames again; {} of {} sessions open",
        text::count(again),
        link.sessions_open,
        link.sessions
    )
}

/// Nothing to tell as long as no node has joined.
fn handover(status: &Status) -> Option<String> {
    let HandoverStatus { shards_given, shards_taken, longest_pause_us } = status.handover;
    (shards_given + shards_taken > 0).then(|| {
        let pause = text::duration_us(longest_pause_us);
        format!("{shards_given} shards given, longest pause {pause}; {shards_taken} taken in")
    })
}

fn dropped(status: &Status) -> String {
    let names: std::collections::BTreeSet<&str> = status
        .workers
        .iter()
        .flat_map(|worker| worker.counters.keys())
        .filter_map(|name| name.strip_prefix("drop_"))
        .collect();
    let reasons: Vec<String> = names
        .into_iter()
        .map(|name| (name, total(status, &format!("drop_{name}"))))
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{} {}", text::count(count), name.replace('_', " ")))
        .collect();
    if reasons.is_empty() { "nothing".into() } else { reasons.join(", ") }
}

fn takeover(status: &Status) -> String {
    let Some(timeline) = &status.member.takeover else { return String::new() };
    let mut table = Table::default();
    for (step, after_us) in timeline.steps() {
        let after = after_us.map_or("not yet".into(), |us| format!("{} us", text::count(us)));
        table.row([step.into(), after]);
    }
    let what = if timeline.planned { "switchover" } else { "takeover" };
    format!(
        "\n{what} to epoch {}, after the old primary's last heartbeat:\n{}",
        timeline.epoch,
        table.render(2)
    )
}

fn switchover(status: &Status) -> String {
    let Some(switchover) = &status.member.switchover else { return String::new() };
    let mut table = Table::default();
    for (step, after_us) in switchover.steps() {
        let after = after_us.map_or("not yet".into(), |us| format!("{} us", text::count(us)));
        table.row([step.into(), after]);
    }
    let end = match (&switchover.failed, switchover.epoch) {
        (Some(why), _) => format!("came to nothing: {why}"),
        (None, Some(epoch)) => format!("epoch {epoch}"),
        (None, None) => "under way".into(),
    };
    format!("\nswitchover to {}, {end}; here:\n{}", switchover.to, table.render(2))
}

fn refusals(status: &Status) -> String {
    let refusal = |refusal: &controlplane::status::Refusal| {
        format!(
            "\nthis node and its peer differ in their {} (- only here, + only there):\n{}\n",
            refusal.what,
            refusal.diff.trim_end()
        )
    };
    status.member.refusals.iter().map(refusal).collect()
}
