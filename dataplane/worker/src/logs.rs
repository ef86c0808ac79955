//! The logs that a serving worker writes, one for each other node that follows it or joins, and
//! what becomes of them while it serves.

use replication::{GateMode, Log, MAX_PEERS, PeerIndex};

use crate::channel::{Channel, Opening};
use crate::handover::Handover;
use crate::links::max_datagram;
use crate::nic::Nic;
use crate::poll::Worker;
use crate::steward::Steward;

/// The log with each of the other nodes.
pub(crate) type Logs = [Option<Log>; MAX_PEERS];

/// Whether these are the same logs, whatever they are used for.
pub(crate) fn are_same(some: &Logs, others: &Logs) -> bool {
    some.iter().zip(others).all(|(one, other)| is_same(one.as_ref(), other.as_ref()))
}

pub(crate) fn is_same(one: Option<&Log>, other: Option<&Log>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.is_same(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// The log of a node that follows one: there is no more than one.
pub(crate) fn only(logs: &Logs) -> Option<(PeerIndex, Log)> {
    PeerIndex::all().find_map(|peer| Some((peer, logs[peer.place()]?)))
}

impl<N: Nic, S: Steward> Worker<N, S> {
    /// Begins to serve: what was followed is over, and all logs begin.
    pub(crate) fn begin_logs(&mut self, now_us: u64, mode: GateMode) {
        self.retire_channels();
        self.end_handover();
        self.milestones.place = 0;
        self.change_logs(now_us, mode);
    }

    /// Acts on what has become of each log. Open: what waits may leave, nobody will confirm it any
    /// more. A log that is over is waited for no longer, by what waits already neither.
    pub(crate) fn change_logs(&mut self, now_us: u64, mode: GateMode) {
        let (old, new) = (self.logs, self.directive.logs);
        if old == new && self.gate.mode() == mode {
            return;
        }
        self.logs = new;
        self.gate.set_mode(mode);
        for peer in PeerIndex::all() {
            self.change_log(now_us, peer, old[peer.place()], mode);
        }
        if self.serving() {
            self.release(now_us);
        }
    }

    fn change_log(&mut self, now_us: u64, peer: PeerIndex, old: Option<Log>, mode: GateMode) {
        let log = self.logs[peer.place()];
        let goes_on = is_same(old.as_ref(), log.as_ref());
        if !goes_on {
            self.retire_channel(peer);
        }
        let Some(log) = log else { return };
        if !goes_on {
            let index = self.index;
            let max_datagram = max_datagram(&self.links, peer);
            let channel = self.opening(peer, &log, max_datagram).outgoing(index);
            self.channels.push(channel);
        }
        let handed_over = goes_on && old.is_some_and(|old| old.hands_over);
        if log.hands_over && !handed_over {
            self.end_handover();
            let rate = self.node.handover_bytes_per_second;
            self.handover = Some(Handover::new(peer, now_us, rate));
        }
        // Open is open, whatever is said of a log.
        self.count(peer, log.counts && mode == GateMode::Confirmed);
    }

    /// From here on nothing leaves that this log has not confirmed; or it is not waited for any
    /// more.
    fn count(&mut self, peer: PeerIndex, counts: bool) {
        let Worker { channels, handover, gate, recorder, counters, milestones, mark, .. } = self;
        let channel = channels.iter_mut().find(|channel| channel.peer == peer);
        let Some(channel) = channel.filter(|channel| channel.counts != counts) else { return };
        channel.counts = counts;
        milestones.due |= counts;
        // Who counts with others has to know its place in this log, too, which it is told at the
        // end of this loop.
        let last = if milestones.on { *mark } else { channel.ledger.last_closed() };
        match handover.as_mut().filter(|handover| handover.to == peer) {
            Some(handover) => handover.count(counts.then_some(last)),
            // What waits depends on input that this log will never have.
            None if counts => {
                counters.drop_gate_discarded += gate.discard() as u64;
                recorder.gate_discarded();
            }
            None => {}
        }
    }

    pub(crate) fn opening<'a>(
        &'a mut self,
        peer: PeerIndex,
        log: &'a Log,
        max_datagram: usize,
    ) -> Opening<'a> {
        let Worker { node, protection, idle_channels: idle, .. } = self;
        Opening { node, protection, idle, peer, log, max_datagram }
    }

    fn end_handover(&mut self) {
        self.handover = None;
        self.shards.slots.iter_mut().for_each(|slot| slot.logged = false);
    }

    fn retire_channel(&mut self, peer: PeerIndex) {
        if self.handover.as_ref().is_some_and(|handover| handover.to == peer) {
            self.end_handover();
        }
        if let Some(place) = self.channels.iter().position(|channel| channel.peer == peer) {
            self.channels.swap_remove(place).retire(&mut self.idle_channels);
            self.recorder.log_ended();
        }
    }

    /// No log is written or followed any more.
    pub(crate) fn retire_channels(&mut self) {
        self.logs = Logs::default();
        self.tails = Logs::default();
        self.recorder.log_ended();
        for channel in self.channels.drain(..) {
            channel.retire(&mut self.idle_channels);
        }
    }

    /// Opens the channels by which the primary's log comes.
    pub(crate) fn open_incoming(&mut self) {
        self.retire_channels();
        self.logs = self.directive.logs;
        let (index, workers) = (self.index, self.board.workers());
        if let Some((peer, log)) = only(&self.directive.logs) {
            let max_datagram = max_datagram(&self.links, peer);
            self.channels = self.opening(peer, &log, max_datagram).incoming(index, workers);
        }
    }

    /// The log by which the state is handed over.
    pub(crate) fn joiner(&self) -> Option<(&Handover, &Channel)> {
        let handover = self.handover.as_ref()?;
        let channel = self.channels.iter().find(|channel| channel.peer == handover.to)?;
        Some((handover, channel))
    }
}
