//! Commit rule "quorum": packets wait for a majority of the in-sync set. So a backup may lack a
//! part of what clients were told, and before it may take over, others have to give it what they
//! hold: each that takes part is *sealed*, which means that it takes nothing more of the primary's
//! log and confirms nothing more. As any majority that let a packet leave shares a node with those
//! that are sealed, once they are enough, nothing is missing then.

use replication::record::MILESTONE_BYTES;
use replication::{
    CommitRule, Epoch, Lane, MAX_PEERS, Mark, Milestone, PeerIndex, RecordKind, Tail, Votes,
    confirmed_by_all, held_by_majority,
};

use crate::channel::Channel;
use crate::duty::Duty;
use crate::links::max_datagram;
use crate::logs::is_same;
use crate::nic::Nic;
use crate::poll::Worker;
use crate::steward::Steward;

/// What a backup keeps of each worker's log at most: the longest window of a session, see
/// [`tail`](replication::tail), and a batch.
const TAIL_BYTES: usize = 17 << 20;
/// Loops that a window carries at most, and a few.
const TAIL_LOOPS: usize = 4096 + 16;

/// How far a worker's log has come.
#[derive(Debug, Default)]
pub(crate) struct Milestones {
    /// Some service waits for a majority: what follows has a use.
    pub on: bool,
    /// Steps that went into logs that count.
    pub place: u64,
    /// One has to be set at the end of this loop: of a step, or of a log that begins to count.
    pub due: bool,
}

impl Milestones {
    pub fn new(on: bool) -> Milestones {
        Milestones { on, ..Milestones::default() }
    }

    /// A step went into the logs that count.
    #[inline]
    pub fn step(&mut self) {
        self.place += 1;
        self.due = true;
    }

    /// Bytes that the end of a loop needs in each log.
    #[inline]
    pub fn need(&self) -> usize {
        if self.on { MILESTONE_BYTES } else { 0 }
    }

    /// Tells all nodes that count where the log is, if there is a reason.
    pub fn set(&mut self, channels: &mut [Channel], mark: Mark) {
        if !self.on || !self.due {
            return;
        }
        let counting = channels.iter().filter(|channel| channel.counts);
        let held = confirmed_by_all(counting.map(|channel| &channel.ledger));
        let body = Milestone { place: self.place, mark, held }.to_bytes();
        self.due = false;
        for channel in channels.iter_mut().filter(|channel| channel.counts) {
            let set = channel.session.append(0, RecordKind::Milestone, &[&body]);
            self.due |= set.is_err();
        }
    }
}

impl<N: Nic, S: Steward> Worker<N, S> {
    /// Up to where a majority holds the logs: of the in-sync set, and of the one that it is about
    /// to become.
    pub(crate) fn majority_confirmed(&self) -> Mark {
        let mut logs = self.logs.iter().flatten();
        if !logs.any(|log| log.votes != Votes::NONE) {
            let counting = self.channels.iter().filter(|channel| channel.counts);
            return confirmed_by_all(counting.map(|channel| &channel.ledger));
        }
        let now = self.held_by(|votes| votes.now);
        now.min(self.held_by(|votes| votes.next))
    }

    fn held_by(&self, votes: impl Fn(Votes) -> bool) -> Mark {
        let has_vote = |peer: &PeerIndex| {
            let log = self.logs[peer.place()];
            log.is_some_and(|log| votes(log.votes))
        };
        let confirmed = |peer: PeerIndex| {
            let channel = self.channels.iter().find(|channel| channel.peer == peer);
            channel.map_or(Mark::START, |channel| channel.ledger.confirmed())
        };
        held_by_majority(PeerIndex::all().filter(has_vote).map(confirmed))
    }

    /// The plan to leave backups out for which a majority of the rest holds all that has left.
    pub(crate) fn parted(&self) -> u32 {
        let unruled = self.gate.rule() == CommitRule::None;
        let held = || self.gate.left(Lane::Majority) <= self.held_by(|votes| votes.next);
        let parted = self.duty == Duty::Serving && (unruled || held());
        if parted { self.directive.majority.parting } else { 0 }
    }

    /// A node that begins to count knows its place, and all others have come to that: what is
    /// before it nobody will ask for.
    pub(crate) fn all_have_come_to(&self, mark: Mark) -> bool {
        let mut counting = self.channels.iter().filter(|channel| channel.counts);
        !self.milestones.on || counting.all(|channel| mark <= channel.ledger.confirmed())
    }

    /// Keeps from now on what comes of the logs that this node follows. They begin at place 0, or
    /// where a milestone will tell.
    pub(crate) fn keep_tails(&mut self, place: Option<u64>) {
        if !self.milestones.on {
            return;
        }
        for channel in &mut self.channels {
            if channel.tail.is_none() {
                channel.tail = Tail::new(TAIL_BYTES, TAIL_LOOPS);
            }
            channel.tail.begin(place);
        }
    }

    /// Takes up what a backup is told of an exchange.
    pub(crate) fn heed_seal(&mut self) {
        let majority = self.directive.majority;
        if self.duty != Duty::Following || !majority.sealed {
            return;
        }
        // What is sent on these is answered no more, and so confirmed no more.
        let followed = |channel: &&mut Channel| channel.exchange.is_none();
        for channel in self.channels.iter_mut().filter(followed) {
            if channel.session.is_open() {
                channel.session.close();
            }
        }
        let old = std::mem::replace(&mut self.tails, majority.tails);
        for peer in PeerIndex::all() {
            let (old, new) = (old[peer.place()], self.tails[peer.place()]);
            if !is_same(old.as_ref(), new.as_ref()) {
                self.end_exchange(peer);
                self.begin_exchange(peer);
            }
        }
    }

    fn end_exchange(&mut self, peer: PeerIndex) {
        let over = |channel: &Channel| channel.peer == peer && channel.exchange.is_some();
        while let Some(place) = self.channels.iter().position(over) {
            self.channels.swap_remove(place).retire(&mut self.idle_channels);
        }
    }

    fn begin_exchange(&mut self, peer: PeerIndex) {
        let Some(log) = self.tails[peer.place()] else { return };
        let followed = self.channels.iter().filter(|channel| channel.exchange.is_none());
        let numbers: Vec<u16> = followed.map(|channel| channel.number).collect();
        let max_datagram = max_datagram(&self.links, peer);
        for number in numbers {
            let channel = self.opening(peer, &log, max_datagram).exchange(number);
            self.channels.push(channel);
        }
    }

    /// Gives the others what this node holds, once all that it received of it is applied: nothing
    /// follows any more.
    pub(crate) fn give_tails(&mut self) {
        if !self.directive.majority.sealed || self.fault.is_some() {
            return;
        }
        for place in 0..self.channels.len() {
            let Some((channel, followed)) = exchange_at(&mut self.channels, place) else {
                continue;
            };
            let Some(exchange) = &mut channel.exchange else { continue };
            if !followed.log.is_empty() {
                continue;
            }
            let session = &mut channel.session;
            exchange.giving.give(&followed.tail, |shard, kind, parts| {
                session.append(shard, kind, parts).is_ok()
            });
            session.close_batch();
        }
    }

    /// For each of the other nodes the exchange by which it has given all that it holds.
    pub(crate) fn gathered(&self) -> [Option<Epoch>; MAX_PEERS] {
        let sealed = self.duty == Duty::Following && self.directive.majority.sealed;
        let mut gathered = [None; MAX_PEERS];
        if !sealed || self.fault.is_some() {
            return gathered;
        }
        for peer in PeerIndex::all() {
            let mut channels = self.channels.iter().filter(|channel| channel.peer == peer);
            let complete = channels.all(|channel| {
                let exchange = channel.exchange.as_ref();
                exchange.is_some_and(|exchange| exchange.gathering.is_complete())
            });
            let log = self.tails[peer.place()].filter(|_| complete);
            gathered[peer.place()] = log.map(|log| log.epoch);
        }
        gathered
    }
}

/// The channel at this place, if it is an exchange's, and the one of the log that it is about.
pub(crate) fn exchange_at(
    channels: &mut [Channel],
    place: usize,
) -> Option<(&mut Channel, &mut Channel)> {
    let number = channels.get(place).filter(|channel| channel.exchange.is_some())?.number;
    let about = |channel: &Channel| channel.exchange.is_none() && channel.number == number;
    let followed = channels.iter().position(about)?;
    let [exchange, followed] = channels.get_disjoint_mut([place, followed]).ok()?;
    Some((exchange, followed))
}
