//! What the admin API answers with: the poll loops and the member are asked, and their answers put
//! together.

use std::{net::SocketAddr, process, sync::Arc, time::Duration};

use controlplane::{
    Accepted, Order,
    admin::{
        AdminSource, ConnPage, ConnRow, ConnectionCounts, Declined, EventRecord, Filter,
        HandoverStatus, KeyNames, LatencyReport, LinkStatus, MemoryStatus, OrderError,
        ServiceStatus, Status, TcpState, Unavailable, VipStatus, WorkerStatus, types::Counters,
    },
    status::PeerStatus,
};
use crossbeam::channel::{Sender, bounded};
use engine::{addr::Endpoint, config::ServiceConfig, shard::ConnectionInfo, tcp::State};
use tracing::info;
use worker::{
    Clock, MonotonicClock, Query,
    query::{AfterReading, Place, Summary},
};

use super::{EventLog, latency};
use crate::{
    config::{Cluster, KeySource, NodeConfig, versions},
    run::{register::Health, steward::Question},
};

/// How long a poll loop may take to answer. It looks at its questions every few loops; one that
/// needs this long is stuck.
const PATIENCE: Duration = Duration::from_secs(2);

/// The ends of the channels to everybody who knows something.
#[derive(Debug)]
pub struct Sources {
    cluster: Cluster,
    keys: KeySource,
    cores: Vec<u16>,
    clock: MonotonicClock,
    member: Sender<Question>,
    workers: Vec<Sender<Query>>,
    events: Arc<EventLog>,
    register: Option<Health>,
}

impl Sources {
    /// Sources of a node whose time is `clock`'s.
    pub fn new(
        config: &NodeConfig,
        clock: MonotonicClock,
        member: Sender<Question>,
        workers: Vec<Sender<Query>>,
        events: Arc<EventLog>,
        register: Option<Health>,
    ) -> Self {
        let (cluster, cores) = (config.cluster.clone(), config.node.cores.clone());
        let keys = config.key_source.clone();
        Self { cluster, keys, cores, clock, member, workers, events, register }
    }

    fn summaries(&self) -> Result<Vec<Summary>, Unavailable> {
        self.workers.iter().map(|worker| ask(worker, Query::Summary)).collect()
    }
}

impl AdminSource for Sources {
    fn status(&self) -> Result<Status, Unavailable> {
        let member = ask(&self.member, Question::Status)?;
        let summaries = self.summaries()?;
        // The clock starts with the node.
        let now_us = self.clock.clone().now_us();
        // The lead claims the addresses for all.
        let owned = summaries.first().is_some_and(|lead| lead.serving);
        let mac = self.cluster.vmac.to_string();
        let vip = |vip: &crate::config::Cidr| VipStatus {
            address: vip.to_string(),
            mac: mac.clone(),
            owned,
        };
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").into(),
            versions: versions::own(),
            cluster: self.cluster.name.clone(),
            pid: process::id(),
            now_us,
            uptime_us: now_us,
            member,
            vips: self.cluster.vips.iter().map(vip).collect(),
            connections: connection_counts(&summaries, self.cluster.max_connections),
            memory: memory(&summaries),
            services: services(&summaries, &self.cluster),
            link: link(&summaries, now_us),
            handover: handover(&summaries),
            register: self.register.as_ref().map(Health::status),
            workers: summaries.iter().map(|summary| self.worker_status(summary)).collect(),
        })
    }

    fn connections(&self, filter: &Filter, limit: usize) -> Result<ConnPage, Unavailable> {
        let mut page = ConnPage::default();
        for worker in &self.workers {
            let mut next = Some(Place::default());
            while let Some(place) = next {
                let piece = ask(worker, |answer| Query::Connections(place, answer))?;
                for (shard, info) in &piece.connections {
                    let row = row(*shard, info);
                    page.total += 1;
                    if filter.selects(&row) {
                        page.matched += 1;
                        if page.rows.len() < limit {
                            page.rows.push(row);
                        }
                    }
                }
                next = piece.next;
            }
        }
        Ok(page)
    }

    fn events(&self, after: u64, limit: usize) -> Vec<EventRecord> {
        self.events.after(after, limit)
    }

    fn order(&self, order: Order) -> Result<Accepted, OrderError> {
        Ok(ask(&self.member, |answer| Question::Order(order, answer))??)
    }

    fn latency(&self, reset: bool) -> Result<LatencyReport, Unavailable> {
        let after = if reset { AfterReading::Reset } else { AfterReading::GoOn };
        let ask_one = |worker| ask(worker, |answer| Query::Latency(after, answer));
        let summaries = self.workers.iter().map(ask_one).collect::<Result<Vec<_>, _>>()?;
        Ok(latency::report(&summaries, &self.cores, self.clock.clone().now_us()))
    }

    fn reload_keys(&self, force: bool) -> Result<KeyNames, Declined> {
        if self.keys.file.is_none() {
            let message = "node.key_file is not set: the only key is cluster.secret; put it into a \
                           file, name the file, and restart this node";
            return Err(Declined::Conflict(message.into()));
        }
        let ring = self.keys.read().map_err(|error| Declined::Conflict(error.to_string()))?;
        let keys: Vec<String> = ring.ids().map(|key| key.to_string()).collect();
        if !force {
            let member = ask(&self.member, Question::Status)?;
            for peer in &member.peers {
                fits_peer(&keys, peer).map_err(Declined::Conflict)?;
            }
        }
        ask(&self.member, |done| Question::Keys(ring.clone(), done))?;
        for worker in &self.workers {
            ask(worker, |done| Query::Keys(ring.clone(), done))?;
        }
        info!(?keys, "shared keys are read again");
        Ok(KeyNames { keys })
    }
}

impl Sources {
    fn worker_status(&self, summary: &Summary) -> WorkerStatus {
        let mut counters = named(summary.counters.iter());
        for shard in &summary.shards {
            add(&mut counters, "tcp_", shard.counters.iter());
        }
        counters.insert("events_lost".into(), summary.events_lost);
        counters.insert("neighbours".into(), summary.neighbours as u64);
        WorkerStatus {
            index: summary.worker,
            core: self.cores.get(usize::from(summary.worker)).copied().map(u32::from),
            shards: summary.shards.iter().map(|shard| shard.index).collect(),
            connections: summary
                .shards
                .iter()
                .map(|shard| u64::from(shard.memory.connections))
                .sum(),
            counters,
        }
    }
}

/// Whether this node and its peer would go on understanding each other.
fn fits_peer(keys: &[String], peer: &PeerStatus) -> Result<(), String> {
    let second = peer.second_link.is_some_and(|link| link.heard);
    if !(peer.link.heard || second || peer.lan.heard) {
        return Ok(());
    }
    let (name, sealing) = (&peer.name, keys.first());
    if let Some(key) = sealing.filter(|key| !peer.keys.contains(key)) {
        return Err(format!(
            "{name} does not have key {key} and would not hear this node; add it there behind the \
             first key, reload there, then reload here"
        ));
    }
    if let Some(key) = peer.keys.first().filter(|key| !keys.contains(key)) {
        return Err(format!(
            "{name} seals with key {key}, which is not in the file: this node would not hear it; \
             keep it in the file until {name} seals with another"
        ));
    }
    Ok(())
}

/// Puts a question with a channel for its answer, and waits for it.
fn ask<Q, A>(whom: &Sender<Q>, question: impl FnOnce(Sender<A>) -> Q) -> Result<A, Unavailable> {
    let stuck = |_| {
        let message = "a poll loop does not answer: it is stuck or frozen; see the node's log";
        Unavailable(message.into())
    };
    let (answer, answered) = bounded(1);
    whom.send_timeout(question(answer), PATIENCE).map_err(|_| ()).map_err(stuck)?;
    answered.recv_timeout(PATIENCE).map_err(|_| ()).map_err(stuck)
}

fn connection_counts(summaries: &[Summary], limit: u32) -> ConnectionCounts {
    let shards = || summaries.iter().flat_map(|summary| &summary.shards);
    ConnectionCounts {
        open: shards().map(|shard| u64::from(shard.memory.connections)).sum(),
        half_open: shards().map(|shard| u64::from(shard.memory.half_open)).sum(),
        limit: limit.into(),
    }
}

fn memory(summaries: &[Summary]) -> MemoryStatus {
    let mut all = MemoryStatus::default();
    for memory in summaries.iter().flat_map(|summary| &summary.shards).map(|shard| &shard.memory) {
        let per_connection = memory.bytes_per_connection as u64;
        all.bytes_per_idle_connection = all.bytes_per_idle_connection.max(per_connection);
        all.pool_blocks += u64::from(memory.pool_blocks);
        all.pool_blocks_used += u64::from(memory.pool_used);
        all.block_bytes = memory.block_bytes as u64;
        all.engine_bytes += memory.reserved_bytes as u64;
    }
    all
}

fn services(summaries: &[Summary], cluster: &Cluster) -> Vec<ServiceStatus> {
    let status = |(index, config): (usize, &ServiceConfig)| {
        let (name, port) = (config.name.clone(), config.port);
        let mut all = ServiceStatus { name, port, ..ServiceStatus::default() };
        for shard in summaries.iter().flat_map(|summary| &summary.shards) {
            let Some(service) = shard.services.get(index) else { continue };
            all.connections += u64::from(service.connections);
            all.half_open += u64::from(service.half_open);
            all.buffer_bytes += u64::from(service.blocks) * shard.memory.block_bytes as u64;
            all.syn_cookies |= service.cookies;
            for (name, value) in service.guard.iter() {
                *all.counters.entry(name).or_default() += value;
            }
        }
        all
    };
    cluster.services.iter().enumerate().map(status).collect()
}

fn link(summaries: &[Summary], now_us: u64) -> LinkStatus {
    let mut link = LinkStatus::default();
    for summary in summaries {
        link.sessions += summary.sessions.len() as u64;
        link.sessions_open += summary.sessions_open as u64;
        let waited_us = summary.unconfirmed_since_us.map(|since| now_us.saturating_sub(since));
        link.unconfirmed_us = link.unconfirmed_us.max(waited_us);
        link.gate_waiting += summary.gate_len as u64;
        for session in &summary.sessions {
            add(&mut link.counters, "", session.counters.iter());
        }
        let gate = &summary.gate;
        let counters = [
            ("held", gate.held),
            ("released", gate.released),
            ("discarded", gate.discarded),
            ("refused", gate.refused),
        ];
        add(&mut link.counters, "gate_", counters.into_iter());
    }
    link
}

fn handover(summaries: &[Summary]) -> HandoverStatus {
    let longest_ns = summaries.iter().map(|summary| summary.handover_pause_ns).max();
    HandoverStatus {
        shards_given: summaries.iter().map(|summary| summary.counters.shards_given).sum(),
        shards_taken: summaries.iter().map(|summary| summary.counters.shards_taken).sum(),
        longest_pause_us: longest_ns.unwrap_or(0).div_ceil(1000),
    }
}

fn named<'a>(counters: impl Iterator<Item = (&'a str, u64)>) -> Counters {
    counters.map(|(name, value)| (name.to_owned(), value)).collect()
}

fn add<'a>(sums: &mut Counters, prefix: &str, counters: impl Iterator<Item = (&'a str, u64)>) {
    for (name, value) in counters {
        *sums.entry(format!("{prefix}{name}")).or_default() += value;
    }
}

fn row(shard: u16, info: &ConnectionInfo) -> ConnRow {
    let measured = info.srtt_us > 0;
    ConnRow {
        shard,
        state: state(info.state),
        local: socket_address(&info.flow.local),
        remote: socket_address(&info.flow.remote),
        service: info.service_name.clone(),
        recv_queue: info.recv_queue,
        send_queue: info.send_queue,
        rtt_us: measured.then_some(info.srtt_us.into()),
        rtt_var_us: measured.then_some(info.rttvar_us.into()),
        rto_us: info.rto_us,
        cwnd: info.cwnd.into(),
        mss: info.mss.into(),
        retransmissions: info.retransmissions.into(),
        bytes_in: info.bytes_in,
        bytes_out: info.bytes_out,
        idle_us: Some(info.idle_us),
    }
}

fn socket_address(endpoint: &Endpoint) -> SocketAddr {
    SocketAddr::new(endpoint.addr.to_ip(), endpoint.port)
}

fn state(state: State) -> TcpState {
    match state {
        State::Closed => TcpState::Closed,
        State::SynSent => TcpState::SynSent,
        State::SynReceived => TcpState::SynRecv,
        State::Established => TcpState::Established,
        State::FinWait1 => TcpState::FinWait1,
        State::FinWait2 => TcpState::FinWait2,
        State::CloseWait => TcpState::CloseWait,
        State::Closing => TcpState::Closing,
        State::LastAck => TcpState::LastAck,
        State::TimeWait => TcpState::TimeWait,
    }
}

#[cfg(test)]
mod tests {
    use controlplane::status::{LanState, PathStatus};

    use super::*;

    fn peer(keys: &[&str], heard: bool) -> PeerStatus {
        let path = PathStatus { heard, last_heard_us_ago: None, timeout_us: 50_000 };
        PeerStatus {
            name: "b".into(),
            incarnation: None,
            standing: None,
            in_sync: true,
            drained: false,
            versions: None,
            keys: keys.iter().map(ToString::to_string).collect(),
            link: path,
            second_link: None,
            active_link: 1,
            lan: path,
            lan_state: LanState::Untested,
        }
    }

    #[test]
    fn keys_that_would_part_the_nodes_are_refused() {
        let fits = |ours: &[&str], theirs: &[&str]| {
            let ours: Vec<String> = ours.iter().map(ToString::to_string).collect();
            fits_peer(&ours, &peer(theirs, true)).is_ok()
        };
        // The way from one key to another, node by node.
        assert!(fits(&["old", "new"], &["old"]));
        assert!(fits(&["old", "new"], &["old", "new"]));
        assert!(fits(&["new", "old"], &["old", "new"]));
        assert!(fits(&["new"], &["new", "old"]));
        // And the short cuts that would end in silence.
        assert!(!fits(&["new", "old"], &["old"]), "it would not hear us");
        assert!(!fits(&["new"], &["old", "new"]), "we would not hear it");
        assert_eq!(fits_peer(&["new".into()], &peer(&["old"], false)), Ok(()));
    }
}
