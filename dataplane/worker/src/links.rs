//! A worker's share of the replication links: one, or two.

use arrayvec::ArrayVec;
use replication::{MAX_LINKS, PeerIndex};

use crate::ingress::Local;
use crate::nic::Nic;
use crate::poll::Worker;
use crate::port::Port;
use crate::steward::Steward;

/// One link's port, and what a frame there is compared with.
pub(crate) struct LinkEnd<N: Nic> {
    pub port: Port<N>,
    pub local: Local,
}

/// By the places of [`Link`](replication::Link).
pub(crate) type Links<N> = ArrayVec<LinkEnd<N>, MAX_LINKS>;

/// Payload of the longest datagram that every link carries to another node, in bytes: a log may
/// move from one to the other at any time.
pub(crate) fn max_datagram<N: Nic>(links: &Links<N>, peer: PeerIndex) -> usize {
    links.iter().map(|end| end.port.max_datagram(peer)).min().unwrap_or(0)
}

impl<N: Nic, S: Steward> Worker<N, S> {
    /// Moves each log to the link that the directive names. What was sent on the other one may be
    /// lost.
    pub(crate) fn move_logs(&mut self) {
        for channel in &mut self.channels {
            let logs = match channel.exchange {
                None => &self.directive.logs,
                Some(_) => &self.directive.majority.tails,
            };
            let Some(log) = logs[channel.peer.place()] else { continue };
            if log.link != channel.link {
                channel.link = log.link;
                channel.session.send_again();
                self.counters.logs_moved += 1;
            }
        }
    }

    /// Sees to it that a log that moves finds the way known: heartbeats, which take every link, are
    /// the lead's alone.
    pub(crate) fn learn_ways(&mut self, now_us: u64) {
        if self.links.len() < MAX_LINKS {
            return;
        }
        let Worker { channels, links, counters, .. } = self;
        for channel in channels {
            let port = &mut links[channel.link.other().place()].port;
            if let Some(&peer) = port.net.peers.get(channel.peer.place()) {
                port.warm_up(now_us, peer, counters);
            }
        }
    }
}
