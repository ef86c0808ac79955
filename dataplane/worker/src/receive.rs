//! Frames in: from the ports and from other workers, each to whom it belongs.

use arrayvec::ArrayVec;
use engine::addr::Addr;
use engine::hash::shard_of;
use engine::wire::ethernet;
use replication::{Link, Path};

use crate::board::worker_of_channel;
use crate::ingress::{Class, classify};
use crate::nic::{BURST, Frame, Nic, RxChecksum};
use crate::poll::Worker;
use crate::replay::is_for_service;
use crate::spread::Parcel;
use crate::steward::Steward;

/// Parcels of other workers that one loop takes.
const PARCELS_PER_LOOP: usize = 2 * BURST;
/// The worker that runs the steward.
pub(crate) const LEAD: u16 = 0;
/// While the peer is late to confirm, the LAN is looked at only so often: for the heartbeats.
const BLOCKED_POLL_US: u64 = 200;

impl<N: Nic, S: Steward> Worker<N, S> {
    /// Takes in what came; says whether anything did.
    pub(crate) fn receive(&mut self, now_us: u64) -> bool {
        let mut frames: ArrayVec<N::Frame, BURST> = ArrayVec::new();
        self.link_idle = true;
        let mut busy = false;
        for link in Link::ALL {
            busy |= self.receive_on_link(now_us, link, &mut frames);
        }
        if self.kept.is_on() {
            busy |= self.look_after_kept(now_us);
        }
        if self.may_poll_lan(now_us) {
            self.lan.nic.receive(&mut frames);
            busy |= !frames.is_empty();
            let keeps = self.keeps();
            for frame in frames.drain(..) {
                self.counters.lan_rx_frames += 1;
                self.counters.lan_rx_bytes += frame.bytes().len() as u64;
                if keeps && is_for_service(frame.bytes(), self.node.vmac) {
                    self.hear(now_us, frame);
                    continue;
                }
                let checksum = frame.rx_checksum();
                self.take(now_us, Path::Lan, frame, checksum);
            }
        }
        self.parcels_left = true;
        for _ in 0..PARCELS_PER_LOOP {
            let Some(parcel) = self.spread.take() else {
                self.parcels_left = false;
                break;
            };
            busy = true;
            self.open(now_us, parcel);
        }
        busy
    }

    fn receive_on_link(
        &mut self,
        now_us: u64,
        link: Link,
        frames: &mut ArrayVec<N::Frame, BURST>,
    ) -> bool {
        let Some(end) = self.links.get_mut(link.place()) else { return false };
        end.port.nic.receive(frames);
        self.link_idle &= !frames.is_full();
        let busy = !frames.is_empty();
        for frame in frames.drain(..) {
            self.counters.received_on(link, frame.bytes().len());
            let checksum = frame.rx_checksum();
            self.take(now_us, Path::Link(link), frame, checksum);
        }
        busy
    }

    /// Back-pressure: what is not taken from the port waits there, and the port drops at last.
    fn may_poll_lan(&mut self, now_us: u64) -> bool {
        let may = self.has_room_for_a_burst()
            || now_us.saturating_sub(self.lan_polled_us) >= BLOCKED_POLL_US;
        if may {
            self.lan_polled_us = now_us;
        }
        may
    }

    fn open(&mut self, now_us: u64, parcel: Parcel<N::Frame>) {
        match parcel {
            // The worker that handed it over has verified the checksums.
            Parcel::Received(path, frame) => self.take(now_us, path, frame, RxChecksum::Good),
            Parcel::Kept(at_us, frame) => self.keep(at_us, frame),
            Parcel::Transmit(Path::Lan, frame) => self.lan.push(frame, &mut self.counters),
            Parcel::Transmit(Path::Link(link), frame) => {
                self.links[link.place()].port.push(frame, &mut self.counters);
            }
            Parcel::Answered(address) => self.hear_answer(address),
            Parcel::Learned(Path::Lan, address, mac) => {
                self.lan.learn(now_us, address, mac, &mut self.counters);
            }
            Parcel::Learned(Path::Link(link), address, mac) => {
                self.links[link.place()].port.learn(now_us, address, mac, &mut self.counters);
            }
        }
    }

    pub(crate) fn take(
        &mut self,
        now_us: u64,
        path: Path,
        mut frame: N::Frame,
        checksum: RxChecksum,
    ) {
        let local = match path {
            Path::Lan => &self.lan_local,
            Path::Link(link) => &self.links[link.place()].local,
        };
        match classify(frame.bytes(), checksum, local) {
            Class::Drop(reason) => reason.count(&mut self.counters),
            Class::Arp(packet) => self.answer_arp(now_us, path, &packet),
            Class::Neighbour { from, service, message } => {
                self.answer_neighbour(now_us, path, from, service, &message);
            }
            Class::ListenerQuery => self.report_groups(path),
            Class::Icmp { service } => self.answer_icmp(now_us, path, frame, service),
            Class::IcmpError { packet } => self.take_icmp_error(now_us, path, frame, packet),
            Class::Control { source, payload } => {
                self.learn_from(now_us, path, source, &frame);
                match &mut self.steward {
                    Some(steward) => steward.receive(now_us, path, &frame.bytes()[payload]),
                    None => self.hand_over(LEAD, path, frame),
                }
            }
            Class::Session { peer, channel, payload } => {
                let owner = worker_of_channel(channel, self.board.workers());
                if owner != self.index {
                    return self.hand_over(owner, path, frame);
                }
                let mut channels = self.channels.iter_mut();
                let channel = channels.find(|own| own.number == channel && own.peer == peer);
                let taken = channel.is_some_and(|channel| {
                    let datagram = &mut frame.bytes_mut()[payload];
                    channel.session.receive(now_us, datagram, &mut channel.log).is_ok()
                });
                self.counters.drop_session_datagram += u64::from(!taken);
            }
            Class::Segment { hash, port, packet } => {
                if !self.serving() {
                    self.take_early(now_us, hash, port, frame);
                } else if self.node.shard.service_on(port).is_none() {
                    self.refuse_segment(now_us, &frame, packet);
                } else {
                    let shard = shard_of(hash, self.node.shard.shards);
                    match self.shards.owner_of(shard) {
                        own if own == self.index => self.take_segment(shard, frame),
                        owner => self.hand_over(owner, path, frame),
                    }
                }
            }
        }
    }

    pub(crate) fn hand_over(&mut self, worker: u16, path: Path, frame: N::Frame) {
        match self.spread.hand(worker, Parcel::Received(path, frame)) {
            Ok(()) => self.counters.handed_over += 1,
            Err(_) => self.counters.drop_ring_full += 1,
        }
    }

    fn learn_from(&mut self, now_us: u64, path: Path, source: Addr, frame: &N::Frame) {
        let Ok((link, _)) = ethernet::Header::parse(frame.bytes()) else { return };
        let port = match path {
            Path::Lan => &mut self.lan,
            Path::Link(link) => &mut self.links[link.place()].port,
        };
        if port.net.is_peer(source) {
            port.learn(now_us, source, link.source, &mut self.counters);
        }
    }
}
