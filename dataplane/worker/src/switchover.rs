//! A switchover, at the side that gives the service away: no more steps, until all that was logged
//! is confirmed and all packets have left. Then the node follows the log of the other one, with the
//! shards that it has, and passes on what clients still send it.

use engine::hash::shard_of;
use engine::wire::ethernet::Mac;
use replication::{Path, PeerIndex};

use crate::channel::Channel;
use crate::duty::Duty;
use crate::kept::Lag;
use crate::nic::{Frame, Nic};
use crate::poll::Worker;
use crate::steward::Steward;

impl<N: Nic, S: Steward> Worker<N, S> {
    /// Makes no more steps. Kicks come before: their shards' next ones have to be this node's.
    pub(crate) fn is_quiescing(&self) -> bool {
        self.directive.quiesce != 0 && self.kicks.shards >= self.shards.slots.len()
    }

    /// A loop without a step: what was stepped before is proven, what comes waits.
    pub(crate) fn rest(&mut self, now_us: u64) {
        self.blocked = true;
        // A card without a cable takes nothing: what waits for it is lost as on the wire.
        if self.directive.solicits {
            self.lan.forget_frames_of(&self.lan_local.vips);
        }
        self.give_shards(now_us);
        self.end_batch();
    }

    /// What was logged is confirmed, and no packet waits for that.
    pub(crate) fn is_settled(&self) -> bool {
        let confirmed = |channel: &Channel| channel.session.all_confirmed();
        self.gate.is_empty() && self.channels.iter().all(confirmed)
    }

    /// The order to quiesce that is carried out, 0 for none.
    pub(crate) fn quiet(&self) -> u32 {
        let quiet = self.serving() && self.is_quiescing() && self.is_settled();
        let left = self.directive.solicits || !self.lan.has_backlog();
        if quiet && left && !self.parcels_left { self.directive.quiesce } else { 0 }
    }

    /// From serving to following, with the same shards: the other node goes on where this one
    /// stopped, and logs that.
    pub(crate) fn change_sides(&mut self) {
        self.leave_service();
        for slot in &mut self.shards.slots {
            slot.errors.clear();
            slot.touched = false;
            slot.kick_due = false;
            slot.logged = false;
        }
        self.handover = None;
        self.follow_log(Some(0));
        self.duty = Duty::Following;
        // What comes before the other node serves is for it, or for this one if that fails.
        self.detains = true;
        self.blocked = true;
    }

    /// Follows the log of the node that serves: from its beginning, or from a place in it that it
    /// will tell.
    pub(crate) fn follow_log(&mut self, place: Option<u64>) {
        self.open_incoming();
        self.keep_tails(place);
        // Each log has a time of its own.
        self.shards.slots.iter_mut().for_each(|slot| slot.lag = Lag::default());
        self.follows_a_log = true;
    }

    /// A segment that comes while this node does not serve: it goes on to the node that does, or
    /// waits for the first step if this one is about to, or is dropped.
    pub(crate) fn take_early(&mut self, now_us: u64, hash: u32, port: u16, frame: N::Frame) {
        if let Some(peer) = self.directive.passes_on.filter(|_| !self.is_silent()) {
            return self.pass_on(now_us, peer, frame);
        }
        let claims = matches!(self.duty, Duty::Applying { .. } | Duty::Ready);
        let awaited = self.detains || claims && !self.is_silent();
        if !awaited || self.node.shard.service_on(port).is_none() {
            self.counters.drop_not_serving += 1;
            return;
        }
        let shard = shard_of(hash, self.node.shard.shards);
        match self.shards.owner_of(shard) {
            own if own == self.index => self.take_segment(shard, frame),
            owner => self.hand_over(owner, Path::Lan, frame),
        }
    }

    /// What waited for that node to serve.
    pub(crate) fn pass_on_waiting(&mut self, now_us: u64, peer: PeerIndex) {
        self.detains = false;
        self.blocked = false;
        for place in 0..self.shards.slots.len() {
            let slot = &mut self.shards.slots[place];
            slot.screened = 0;
            for frame in std::mem::take(&mut slot.waiting) {
                self.pass_on(now_us, peer, frame);
            }
        }
    }

    /// Sends a segment on to the peer's own MAC address. One that came to ours was passed on
    /// already.
    fn pass_on(&mut self, now_us: u64, peer: PeerIndex, mut frame: N::Frame) {
        let to = self.lan.net.peers.get(peer.place()).copied();
        let Some(to) = to.filter(|_| came_to(&frame, self.node.vmac)) else {
            self.counters.drop_not_serving += 1;
            return;
        };
        frame.reuse();
        frame.bytes_mut()[6..12].copy_from_slice(&self.lan.mac.0);
        let Worker { lan, counters, .. } = self;
        lan.send_ip(now_us, frame, to, counters);
        counters.passed_on += 1;
    }
}

/// Whether a frame was sent to `mac`. Segments for the service that were not sent to its own have
/// been passed on by the peer: their source says nothing of who sent them.
pub(crate) fn came_to(frame: &impl Frame, mac: Mac) -> bool {
    frame.bytes().get(..6) == Some(&mac.0[..])
}
