//! A session channel: the log of one worker of a primary on its way to one other node.

use replication::tail::{Gathering, Giving};
use replication::{
    Incarnation, Ledger, Link, Log, PeerIndex, PendingLog, Protection, RecordKind, Session,
    SessionConfig, Tail,
};

use crate::board::worker_of_channel;
use crate::config::{Commit, NodeConfig};

#[derive(Debug)]
pub(crate) struct Channel {
    /// The other node.
    pub peer: PeerIndex,
    /// Which of the primary's workers logs.
    pub number: u16,
    /// The link that what this node sends takes.
    pub link: Link,
    pub session: Session,
    pub log: PendingLog,
    /// At a primary: what clients are sent waits for this log's confirmation.
    pub counts: bool,
    /// At a primary: what of its work is confirmed.
    pub ledger: Ledger,
    /// At a backup, where packets wait for a majority: what it keeps of the log for others.
    pub tail: Tail,
    /// This is no log of a primary's: two backups give each other what they hold of that one.
    pub exchange: Option<Exchange>,
}

/// Both ways of an exchange.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    pub giving: Giving,
    pub gathering: Gathering,
}

impl Channel {
    fn new(peer: PeerIndex, number: u16, max_datagram: usize, node: &NodeConfig) -> Channel {
        let Commit { confirm_every_bytes, confirm_delay_us, .. } = node.commit;
        let usual = SessionConfig::for_datagrams(number, max_datagram);
        let config = SessionConfig { confirm_every_bytes, confirm_delay_us, ..usual };
        // Room for a few of the longest batches, or a slow step would stop the log for good.
        let least = 4 * config.max_batch_bytes;
        let log = PendingLog::new(node.pending_log_bytes.max(least), config.max_batch_bytes);
        let ledger = Ledger::new(config.window_frames);
        let (link, session) = (Link::default(), Session::new(config));
        let (tail, exchange) = (Tail::none(), None);
        Channel { peer, number, link, session, log, counts: false, ledger, tail, exchange }
    }

    /// One of those that are not in use, or a new one: taking its memory takes longer than clients
    /// should wait when roles change.
    fn take(
        idle: &mut Vec<Channel>,
        (peer, number): (PeerIndex, u16),
        node: &NodeConfig,
        max_datagram: usize,
    ) -> Channel {
        let fits = |channel: &Channel| channel.session.config().max_datagram == max_datagram;
        let Some(place) = idle.iter().rposition(fits) else {
            return Channel::new(peer, number, max_datagram, node);
        };
        let mut channel = idle.swap_remove(place);
        channel.peer = peer;
        channel.number = number;
        channel.session.renumber(number);
        channel
    }

    /// Not in use any more; its memory is kept.
    pub fn retire(mut self, idle: &mut Vec<Channel>) {
        self.session.close();
        self.log.reset();
        self.ledger.reset();
        self.tail.begin(None);
        self.exchange = None;
        self.counts = false;
        idle.push(self);
    }

    fn open(mut self, log: &Log, local: Incarnation, protection: &Protection) -> Channel {
        self.link = log.link;
        self.session.open(log.epoch, local, log.run, protection);
        self
    }
}

/// What channels are opened with.
pub(crate) struct Opening<'a> {
    pub node: &'a NodeConfig,
    pub protection: &'a Protection,
    /// Those that are not in use.
    pub idle: &'a mut Vec<Channel>,
    pub peer: PeerIndex,
    pub log: &'a Log,
    /// Of the way to that node.
    pub max_datagram: usize,
}

impl Opening<'_> {
    fn channel(&mut self, number: u16) -> Channel {
        let Opening { node, protection, idle, peer, log, max_datagram } = self;
        let channel = Channel::take(idle, (*peer, number), node, *max_datagram);
        channel.open(log, node.incarnation, protection)
    }

    /// The channel that a primary's worker logs to.
    pub fn outgoing(&mut self, worker: u16) -> Channel {
        self.channel(worker)
    }

    /// The channel by which two backups exchange what they hold of the log of a primary's worker.
    pub fn exchange(&mut self, number: u16) -> Channel {
        Channel { exchange: Some(Exchange::default()), ..self.channel(number) }
    }

    /// The channels that one of a backup's `workers` applies.
    pub fn incoming(&mut self, worker: u16, workers: u16) -> Vec<Channel> {
        (0..self.log.workers)
            .filter(|&channel| worker_of_channel(channel, workers) == worker)
            .map(|channel| self.channel(channel))
            .collect()
    }
}

/// Bytes that certainly find room in all logs that count; 0 when none does.
pub(crate) fn room(channels: &[Channel]) -> usize {
    let counting = channels.iter().filter(|channel| channel.counts);
    counting.map(|channel| channel.session.room()).min().unwrap_or(0)
}

/// Where a record had no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missed {
    /// In a log that counts; never if [`room`] was asked before.
    pub counting: bool,
    /// In the one by which the shard was given to a node that joins.
    pub given: bool,
}

/// Appends a record to all logs that count, and to that of the node `given` the shard.
#[inline]
pub(crate) fn append(
    channels: &mut [Channel],
    given: Option<PeerIndex>,
    shard: u16,
    kind: RecordKind,
    parts: &[&[u8]],
) -> Missed {
    let mut missed = Missed::default();
    for channel in channels {
        if channel.counts {
            missed.counting |= channel.session.append(shard, kind, parts).is_err();
        } else if given == Some(channel.peer) {
            missed.given |= channel.session.append(shard, kind, parts).is_err();
        }
    }
    missed
}
