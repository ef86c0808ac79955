//! The other nodes, as a whole and by their names.

use replication::{Path, PeerIndex};

use crate::identity::{NodeId, NodeName};
use crate::message::Heartbeat;
use crate::peer::Peer;
use crate::register::Register;

use super::Member;

impl<R: Register> Member<R> {
    /// The places of all other nodes.
    pub(super) fn places(&self) -> impl Iterator<Item = PeerIndex> + use<R> {
        PeerIndex::all().take(self.peers.len())
    }

    pub(super) fn place_of(&self, name: NodeName) -> Option<PeerIndex> {
        self.places().find(|place| self.peers[place.place()].name == name)
    }

    pub(super) fn peer(&self, at: PeerIndex) -> &Peer {
        &self.peers[at.place()]
    }

    /// The node whose run `node` is, over all its runs.
    pub(super) fn peer_of(&self, node: NodeId) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.name == node.name)
    }

    /// The peers that are heard now, on any path, and what they said last.
    pub(super) fn heard(&self, now_us: u64) -> impl Iterator<Item = (PeerIndex, &Heartbeat)> {
        self.places().filter_map(move |place| {
            let peer = self.peer(place);
            Some((place, peer.heartbeat().filter(|_| !peer.is_silent(now_us))?))
        })
    }

    /// None of the peers is heard on any path.
    pub(super) fn all_are_silent(&self, now_us: u64) -> bool {
        self.peers.iter().all(|peer| peer.is_silent(now_us))
    }

    /// Whether the peer is heard, and hears this node, on a link and on the LAN.
    pub(super) fn heard_both_ways(&self, at: PeerIndex, now_us: u64) -> (bool, bool) {
        let peer = self.peer(at);
        let Some(heartbeat) = peer.heartbeat() else { return (false, false) };
        (
            heartbeat.hears_link && peer.hears_link(now_us),
            heartbeat.hears_lan && peer.hears(Path::Lan, now_us),
        )
    }

    pub(super) fn is_well_heard(&self, at: PeerIndex, now_us: u64) -> bool {
        self.heard_both_ways(at, now_us) == (true, true)
    }

    /// This node wins ties against the peer: higher priority, then the smaller name.
    pub(super) fn outranks(&self, at: PeerIndex, said: &Heartbeat) -> bool {
        (self.config.priority, self.peer(at).name) > (said.priority, self.me.name)
    }
}
