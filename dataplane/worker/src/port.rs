//! One worker's share of one port: its queue of finished frames, its neighbours, and the small
//! packets that a node sends about itself.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use arrayvec::ArrayVec;
use engine::wire::ethernet::{self, Mac};
use engine::wire::{arp, ipv4, udp};
use replication::Path;

use crate::config::PortConfig;
use crate::counters::Counters;
use crate::neighbours::{Lookup, Neighbours, Waiting};
use crate::nic::{BURST, Frame, Nic};
use crate::spread::{Parcel, Spread};

/// Ethernet, IPv4 and UDP header of a datagram.
const DATAGRAM_HEADER_LEN: usize = ethernet::HEADER_LEN + ipv4::HEADER_LEN + udp::HEADER_LEN;

#[derive(Debug)]
pub(crate) struct Port<N: Nic> {
    pub nic: N,
    pub path: Path,
    pub mac: Mac,
    pub net: PortConfig,
    /// The worker that transmits for this one when the card has no queue for it.
    relay: u16,
    queue: VecDeque<N::Frame>,
    capacity: usize,
    burst: ArrayVec<N::Frame, BURST>,
    pub neighbours: Neighbours<N::Frame>,
}

impl<N: Nic> Port<N> {
    /// `capacity` frames wait for the card at most.
    pub fn new(nic: N, path: Path, net: PortConfig, relay: u16, capacity: usize) -> Port<N> {
        Port {
            mac: nic.mac(),
            nic,
            path,
            net,
            relay,
            queue: VecDeque::with_capacity(capacity),
            capacity,
            burst: ArrayVec::new(),
            neighbours: Neighbours::default(),
        }
    }

    /// Frames that the queue still takes.
    pub fn room(&self) -> usize {
        self.capacity - self.queue.len()
    }

    /// Frames in the queue.
    pub fn backlog(&self) -> usize {
        self.queue.len()
    }

    /// Frames in the queue and in the burst that the card did not take as a whole.
    pub fn waiting(&self) -> usize {
        self.queue.len() + self.burst.len()
    }

    /// Whether frames wait for the card.
    pub fn has_backlog(&self) -> bool {
        self.waiting() > 0
    }

    /// Queues a finished frame.
    pub fn push(&mut self, frame: N::Frame, counters: &mut Counters) {
        push(&mut self.queue, self.capacity, self.path, frame, counters);
    }

    /// Queues a frame whose destination MAC is missing. It waits when the neighbour is unknown.
    pub fn send_ip(
        &mut self,
        now_us: u64,
        mut frame: N::Frame,
        destination: Ipv4Addr,
        counters: &mut Counters,
    ) {
        let hop = self.next_hop(destination);
        let mac = match self.neighbours.lookup(now_us, hop) {
            Lookup::Known(mac) => mac,
            Lookup::Stale(mac) => {
                self.ask(hop, counters);
                mac
            }
            Lookup::Unknown => {
                match self.neighbours.wait(now_us, hop, frame) {
                    Waiting::Ask => self.ask(hop, counters),
                    Waiting::Asked => {}
                    Waiting::Dropped => counters.drop_neighbour_waiting += 1,
                }
                return;
            }
        };
        set_destination(&mut frame, mac);
        self.push(frame, counters);
    }

    /// The neighbour to which a packet for `destination` goes.
    fn next_hop(&self, destination: Ipv4Addr) -> Ipv4Addr {
        match self.net.gateway {
            Some(gateway) if !self.net.on_link(destination) => gateway,
            _ => destination,
        }
    }

    /// Notes where `address` was heard from, and sends what waited for it. Hosts behind the
    /// gateway are not neighbours.
    pub fn learn(&mut self, now_us: u64, address: Ipv4Addr, mac: Mac, counters: &mut Counters) {
        if self.next_hop(address) != address {
            return;
        }
        let Port { queue, capacity, path, neighbours, .. } = self;
        neighbours.learn(now_us, address, mac, |mut frame| {
            set_destination(&mut frame, mac);
            push(queue, *capacity, *path, frame, counters);
        });
    }

    /// Asks again for neighbours that did not answer.
    pub fn poll_neighbours(&mut self, now_us: u64, counters: &mut Counters) {
        if self.neighbours.next_deadline_us().is_none_or(|at| at > now_us) {
            return;
        }
        let mut again: ArrayVec<Ipv4Addr, BURST> = ArrayVec::new();
        counters.drop_neighbour_silent += self.neighbours.poll(now_us, |address| {
            // What does not fit is asked for at its next time.
            let _ = again.try_push(address);
        });
        for address in again {
            self.ask(address, counters);
        }
    }

    /// Sees to it that the way to `destination` is known before it is needed.
    pub fn warm_up(&mut self, now_us: u64, destination: Ipv4Addr, counters: &mut Counters) {
        let hop = self.next_hop(destination);
        if self.neighbours.want(now_us, hop) {
            self.ask(hop, counters);
        }
    }

    /// Asks who has `address`, in the node's own name.
    fn ask(&mut self, address: Ipv4Addr, counters: &mut Counters) {
        let request = arp::Packet::request(self.mac, self.net.address, address);
        if self.send_arp(self.mac, Mac::BROADCAST, &request, counters) {
            counters.arp_requests += 1;
        }
    }

    /// Sends an ARP packet; false when the pool is exhausted.
    pub fn send_arp(
        &mut self,
        source: Mac,
        destination: Mac,
        packet: &arp::Packet,
        counters: &mut Counters,
    ) -> bool {
        let Some(mut frame) = self.nic.allocate() else {
            counters.drop_no_frame += 1;
            return false;
        };
        let ethertype = ethernet::ETHERTYPE_ARP;
        let header = ethernet::Header { destination, source, ethertype };
        if frame.append(&header.to_bytes()) && frame.append(&packet.to_bytes()) {
            self.push(frame, counters);
        }
        true
    }

    /// Sends a datagram to the peer, in parts to be concatenated. False, and nothing sent, when
    /// there is no frame for it or it does not fit into one.
    pub fn send_datagram(
        &mut self,
        now_us: u64,
        ports: (u16, u16),
        sum: UdpChecksum,
        parts: &[&[u8]],
        counters: &mut Counters,
    ) -> bool {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len + ipv4::HEADER_LEN + udp::HEADER_LEN > usize::from(self.nic.mtu()) {
            return false;
        }
        let Some(mut frame) = self.nic.allocate() else {
            counters.drop_no_frame += 1;
            return false;
        };
        let header = self.datagram_header(ports, sum, parts, len);
        if !frame.append(&header) || !parts.iter().all(|part| frame.append(part)) {
            return false;
        }
        self.send_ip(now_us, frame, self.net.peer, counters);
        true
    }

    fn datagram_header(
        &self,
        ports: (u16, u16),
        sum: UdpChecksum,
        parts: &[&[u8]],
        len: usize,
    ) -> [u8; DATAGRAM_HEADER_LEN] {
        let ip = ipv4::Header {
            source: self.net.address,
            destination: self.net.peer,
            protocol: ipv4::PROTOCOL_UDP,
            ttl: ipv4::DEFAULT_TTL,
        };
        let mut header = [0; DATAGRAM_HEADER_LEN];
        let (link, rest) = header.split_at_mut(ethernet::HEADER_LEN);
        let ethertype = ethernet::ETHERTYPE_IPV4;
        let unknown = Mac::default();
        let source = self.mac;
        link.copy_from_slice(
            &ethernet::Header { destination: unknown, source, ethertype }.to_bytes(),
        );
        match sum {
            UdpChecksum::Filled => {
                udp::emit(&ip, ports, parts, rest);
            }
            UdpChecksum::Zero => {
                let udp_len = u16::try_from(udp::HEADER_LEN + len)
                    .expect("the caller compared the length with the MTU");
                rest[..ipv4::HEADER_LEN].copy_from_slice(&ip.to_bytes(udp_len));
                let udp = &mut rest[ipv4::HEADER_LEN..];
                udp[0..2].copy_from_slice(&ports.0.to_be_bytes());
                udp[2..4].copy_from_slice(&ports.1.to_be_bytes());
                udp[4..6].copy_from_slice(&udp_len.to_be_bytes());
            }
        }
        header
    }

    /// Whether an IPv4 packet from `mac` waits for the card.
    pub fn holds_packet_from(&self, mac: Mac) -> bool {
        self.queue.iter().chain(&self.burst).any(|frame| {
            ethernet::Header::parse(frame.bytes()).is_ok_and(|(header, _)| {
                header.source == mac && header.ethertype == ethernet::ETHERTYPE_IPV4
            })
        })
    }

    /// Drops queued frames that come from `mac`: this node may not speak for it any more.
    pub fn forget_frames_from(&mut self, mac: Mac) {
        let is_other = |frame: &N::Frame| frame.bytes().get(6..12) != Some(&mac.0[..]);
        self.queue.retain(is_other);
        self.burst.retain(|frame| is_other(frame));
    }

    /// Hands queued frames to the card, as far as it takes them.
    pub fn flush(&mut self, spread: &mut Spread<N::Frame>) {
        loop {
            while !self.burst.is_full() {
                let Some(frame) = self.queue.pop_front() else { break };
                self.burst.push(frame);
            }
            if self.burst.is_empty() {
                return;
            }
            if self.nic.has_queues() {
                self.nic.transmit(&mut self.burst);
            } else {
                self.hand_over(spread);
            }
            if !self.burst.is_empty() {
                return;
            }
        }
    }

    fn hand_over(&mut self, spread: &mut Spread<N::Frame>) {
        let mut kept: ArrayVec<N::Frame, BURST> = ArrayVec::new();
        for frame in self.burst.drain(..) {
            if !kept.is_empty() {
                kept.push(frame);
                continue;
            }
            match spread.hand(self.relay, Parcel::Transmit(self.path, frame)) {
                Ok(()) => {}
                Err(Parcel::Transmit(_, frame)) => kept.push(frame),
                Err(_) => unreachable!("the ring gives back what it was given"),
            }
        }
        self.burst = kept;
    }
}

/// Whether a datagram carries a UDP checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UdpChecksum {
    /// It does.
    Filled,
    /// RFC 768: zero, none. For payload with a checksum of its own.
    Zero,
}

fn push<F: Frame>(
    queue: &mut VecDeque<F>,
    capacity: usize,
    path: Path,
    frame: F,
    counters: &mut Counters,
) {
    if queue.len() == capacity {
        counters.drop_tx_full += 1;
        return;
    }
    let bytes = frame.bytes().len() as u64;
    match path {
        Path::Lan => {
            counters.lan_tx_frames += 1;
            counters.lan_tx_bytes += bytes;
        }
        Path::Link => {
            counters.link_tx_frames += 1;
            counters.link_tx_bytes += bytes;
        }
    }
    queue.push_back(frame);
}

fn set_destination(frame: &mut impl Frame, mac: Mac) {
    frame.bytes_mut()[..6].copy_from_slice(&mac.0);
}
