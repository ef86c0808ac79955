//! A session channel: one primary's worker's log on its way to the backup.

use replication::{Directive, Incarnation, PendingLog, Protection, Session, SessionConfig};

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

    /// One of those that are not in use, or a new one: taking its memory takes longer than clients
    /// should wait when roles change.
    fn take(
        idle: &mut Vec<Channel>,
        number: u16,
        node: &NodeConfig,
        max_datagram: usize,
    ) -> Channel {
        let Some(mut channel) = idle.pop() else {
            return Channel::new(number, max_datagram, node.pending_log_bytes);
        };
        channel.number = number;
        channel.session.renumber(number);
        channel
    }

    /// Not in use any more; its memory is kept.
    pub fn retire(mut self, idle: &mut Vec<Channel>) {
        self.session.close();
        self.log.reset();
        idle.push(self);
    }

    fn open(
        mut self,
        directive: &Directive,
        local: Incarnation,
        peer: Incarnation,
        protection: &Protection,
    ) -> Channel {
        self.session.open(directive.epoch, local, peer, protection);
        self
    }
}

/// The channel that a primary's worker logs to; none without a peer.
pub(crate) fn outgoing(
    worker: u16,
    node: &NodeConfig,
    max_datagram: usize,
    directive: &Directive,
    protection: &Protection,
    idle: &mut Vec<Channel>,
) -> Vec<Channel> {
    let open = |peer| {
        let channel = Channel::take(idle, worker, node, max_datagram);
        channel.open(directive, node.incarnation, peer, protection)
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
    protection: &Protection,
    idle: &mut Vec<Channel>,
) -> Vec<Channel> {
    let Some(peer) = directive.peer else { return Vec::new() };
    (0..directive.peer_workers)
        .filter(|&channel| worker_of_channel(channel, workers) == worker)
        .map(|channel| Channel::take(idle, channel, node, max_datagram))
        .map(|channel| channel.open(directive, node.incarnation, peer, protection))
        .collect()
}
