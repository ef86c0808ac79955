//! A session channel: one primary's worker's log on its way to the backup.

use replication::{Directive, Incarnation, PendingLog, Session, SessionConfig};

use crate::board::worker_of_channel;
use crate::config::NodeConfig;

#[derive(Debug)]
pub(crate) struct Channel {
    pub number: u16,
    pub session: Session,
    pub log: PendingLog,
}

impl Channel {
    fn new(number: u16, max_datagram: usize, pending_log_bytes: usize) -> Channel {
        let config = SessionConfig::for_datagrams(number, max_datagram);
        // Room for a few of the longest batches, or a slow step would stop the log for good.
        let least = 4 * config.max_batch_bytes;
        let log = PendingLog::new(pending_log_bytes.max(least), config.max_batch_bytes);
        Channel { number, session: Session::new(config), log }
    }

    fn open(mut self, directive: &Directive, local: Incarnation, peer: Incarnation) -> Channel {
        self.session.open(directive.epoch, local, peer);
        self
    }
}

/// The channel that a primary's worker logs to; none without a peer.
pub(crate) fn outgoing(
    worker: u16,
    node: &NodeConfig,
    max_datagram: usize,
    directive: &Directive,
) -> Vec<Channel> {
    let open = |peer| {
        // Nothing comes in on it but confirmations.
        let channel = Channel::new(worker, max_datagram, 0);
        channel.open(directive, node.incarnation, peer)
    };
    directive.peer.map(open).into_iter().collect()
}

/// The channels that a backup's worker applies; none without a peer.
pub(crate) fn incoming(
    worker: u16,
    workers: u16,
    node: &NodeConfig,
    max_datagram: usize,
    directive: &Directive,
) -> Vec<Channel> {
    let Some(peer) = directive.peer else { return Vec::new() };
    (0..directive.peer_workers)
        .filter(|&channel| worker_of_channel(channel, workers) == worker)
        .map(|channel| Channel::new(channel, max_datagram, node.pending_log_bytes))
        .map(|channel| channel.open(directive, node.incarnation, peer))
        .collect()
}
