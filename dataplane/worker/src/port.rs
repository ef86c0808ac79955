//! One worker's share of one port: its queue of finished frames, its neighbours, and the small
//! packets that a node sends about itself.

use std::collections::VecDeque;

use arrayvec::ArrayVec;
use engine::addr::Addr;
use engine::wire::ethernet::{self, Mac};
use engine::wire::segment::ip_header_len;
use engine::wire::{arp, ipv4, ipv6, ndp, udp};
use replication::{Link, MAX_PEERS, Path, PeerIndex, Sending};

use crate::config::PortConfig;
use crate::counters::Counters;
use crate::neighbours::{Lookup, Neighbours, Waiting};
use crate::nic::{BURST, Frame, Nic};
use crate::spread::{Parcel, Spread};

/// Ethernet, IP and UDP header of a datagram, the longest we send.
const MAX_DATAGRAM_HEADER_LEN: usize = ethernet::HEADER_LEN + ipv6::HEADER_LEN + udp::HEADER_LEN;

/// Where a datagram to another node goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destination {
    pub peer: PeerIndex,
    /// UDP port at both ends.
    pub port: u16,
}

#[derive(Debug)]
pub(crate) struct Port<N: Nic> {
    pub nic: N,
    pub path: Path,
    pub mac: Mac,
    /// What frames in the service's name have as their source.
    pub service_mac: Mac,
    pub net: PortConfig,
    /// The worker that transmits for this one when the card has no queue for it.
    relay: u16,
    queue: VecDeque<N::Frame>,
    capacity: usize,
    burst: ArrayVec<N::Frame, BURST>,
    pub neighbours: Neighbours<N::Frame>,
    /// Neighbours that were heard last, other nodes apart; the latest first.
    recent: ArrayVec<Addr, RECENT>,
}

/// Neighbours that are remembered for having been heard last.
const RECENT: usize = 4;
/// Those that are worth asking at once: gateways, other nodes, and the above.
pub(crate) const MOST_ASKED: usize = 2 + MAX_PEERS + RECENT;

impl<N: Nic> Port<N> {
    /// `capacity` frames wait for the card at most.
    pub fn new(nic: N, path: Path, net: PortConfig, relay: u16, capacity: usize) -> Port<N> {
        Port {
            mac: nic.mac(),
            service_mac: nic.mac(),
            nic,
            path,
            net,
            relay,
            queue: VecDeque::with_capacity(capacity),
            capacity,
            burst: ArrayVec::new(),
            neighbours: Neighbours::default(),
            recent: ArrayVec::new(),
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
        destination: Addr,
        counters: &mut Counters,
    ) {
        let hop = self.net.next_hop(destination);
        let mac = match self.neighbours.lookup(now_us, hop) {
            Lookup::Known(mac) => mac,
            Lookup::Stale(mac) => {
                // A neighbour over IPv4 that has moved hears only what all hear.
                self.ask(hop, Some(mac).filter(|_| !hop.is_ipv4()), counters);
                mac
            }
            Lookup::Unknown => {
                match self.neighbours.wait(now_us, hop, frame) {
                    Waiting::Ask => self.ask(hop, None, counters),
                    Waiting::Asked => {}
                    Waiting::Dropped => counters.drop_neighbour_waiting += 1,
                }
                return;
            }
        };
        set_destination(&mut frame, mac);
        self.push(frame, counters);
    }

    /// Notes where `address` was heard from, and sends what waited for it. Hosts behind the
    /// gateway are not neighbours.
    pub fn learn(&mut self, now_us: u64, address: Addr, mac: Mac, counters: &mut Counters) {
        if self.net.next_hop(address) != address {
            return;
        }
        if !self.net.is_peer(address) {
            self.remember(address);
        }
        let Port { queue, capacity, path, neighbours, .. } = self;
        neighbours.learn(now_us, address, mac, |mut frame| {
            set_destination(&mut frame, mac);
            push(queue, *capacity, *path, frame, counters);
        });
    }

    fn remember(&mut self, address: Addr) {
        let place = self.recent.iter().position(|known| *known == address);
        if place.is_none() && self.recent.is_full() {
            self.recent.pop();
        }
        match place {
            Some(place) => self.recent[..=place].rotate_right(1),
            None => self.recent.insert(0, address),
        }
    }

    /// Neighbours that should answer if this port works: gateways, other nodes, and some that were
    /// heard lately.
    pub fn worth_asking(&mut self, now_us: u64) -> ArrayVec<Addr, MOST_ASKED> {
        let mut found = ArrayVec::new();
        let gateways = self.net.addresses.iter().filter_map(|own| own.gateway);
        let peers = self.net.peers.iter().map(|peer| self.net.next_hop(*peer));
        let recent = self.recent.iter().copied();
        let known = |address: &Addr, neighbours: &mut Neighbours<N::Frame>| {
            neighbours.lookup(now_us, *address) != Lookup::Unknown
        };
        for address in gateways.chain(peers) {
            if !found.contains(&address) {
                found.push(address);
            }
        }
        for address in recent {
            if !found.contains(&address) && known(&address, &mut self.neighbours) {
                found.push(address);
            }
        }
        found
    }

    /// Asks for a neighbour, whatever is known of it; `directly` without troubling others if its MAC
    /// address is known.
    pub fn solicit(&mut self, address: Addr, directly: bool, counters: &mut Counters) {
        let known = self.neighbours.known_mac(address).filter(|_| directly);
        self.ask(address, known, counters);
    }

    /// Asks again for neighbours that did not answer; of a `silent` node only the peers' places.
    pub fn poll_neighbours(&mut self, now_us: u64, silent: bool, counters: &mut Counters) {
        if self.neighbours.next_deadline_us().is_none_or(|at| at > now_us) {
            return;
        }
        let mut again: ArrayVec<Addr, BURST> = ArrayVec::new();
        counters.drop_neighbour_silent += self.neighbours.poll(now_us, |address| {
            // What does not fit is asked for at its next time.
            let _ = again.try_push(address);
        });
        for address in again {
            let to_peer = |peer: &Addr| self.net.next_hop(*peer) == address;
            if !silent || self.net.peers.iter().any(to_peer) {
                self.ask(address, None, counters);
            }
        }
    }

    /// Sees to it that the way to `destination` is known before it is needed.
    pub fn warm_up(&mut self, now_us: u64, destination: Addr, counters: &mut Counters) {
        let hop = self.net.next_hop(destination);
        if self.neighbours.want(now_us, hop) {
            self.ask(hop, None, counters);
        }
    }

    /// Asks who has `address`, in the node's own name; directly where the answer is `known` (RFC 4861
    /// 7.3.3, RFC 1122 2.3.2.1).
    fn ask(&mut self, address: Addr, known: Option<Mac>, counters: &mut Counters) {
        // Without an address of that version nobody could answer us.
        let Some(own) = self.net.address_beside(address) else { return };
        match (own.address.as_ipv4(), address.as_ipv4()) {
            (Some(own), Some(target)) => {
                let request = arp::Packet::request(self.mac, own, target);
                let to = known.unwrap_or(Mac::BROADCAST);
                if self.send_arp(self.mac, to, &request, counters) {
                    counters.arp_requests += 1;
                }
            }
            _ => {
                let (source, target) = (own.address.octets().into(), address.octets().into());
                let question = ndp::Solicitation { source, target, source_mac: Some(self.mac) };
                let group = ipv6::solicited_node(address);
                let (destination, mac) =
                    known.map_or((group, Mac::of_group(group)), |mac| (target, mac));
                let packet = question.to_bytes(destination);
                let ethertype = ethernet::ETHERTYPE_IPV6;
                if self.send_packet(self.mac, mac, ethertype, &packet, counters) {
                    counters.neighbour_solicitations += 1;
                }
            }
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
        let ethertype = ethernet::ETHERTYPE_ARP;
        self.send_packet(source, destination, ethertype, &packet.to_bytes(), counters)
    }

    /// Sends a packet of the node's own; false when the pool is exhausted.
    pub fn send_packet(
        &mut self,
        source: Mac,
        destination: Mac,
        ethertype: u16,
        packet: &[u8],
        counters: &mut Counters,
    ) -> bool {
        let Some(mut frame) = self.nic.allocate() else {
            counters.drop_no_frame += 1;
            return false;
        };
        let header = ethernet::Header { destination, source, ethertype };
        if frame.append(&header.to_bytes()) && frame.append(packet) {
            self.push(frame, counters);
        }
        true
    }

    /// Sends a datagram of `bytes`.
    pub fn send_datagram(
        &mut self,
        now_us: u64,
        to: Destination,
        bytes: &[u8],
        counters: &mut Counters,
    ) -> bool {
        let fill = |frame: &mut N::Frame| frame.append(bytes);
        self.build_datagram(now_us, to, UdpChecksum::Filled, bytes.len(), fill, counters)
    }

    /// Sends a datagram of the log; it is put together and sealed in the card's memory.
    pub fn send_sealed(
        &mut self,
        now_us: u64,
        to: Destination,
        sending: Sending<'_>,
        counters: &mut Counters,
    ) -> bool {
        // Its seal covers more than UDP's checksum would.
        let (sum, most) = (UdpChecksum::Zero, sending.max_bytes());
        let fill = |frame: &mut N::Frame| {
            let start = frame.bytes().len();
            sending.parts().into_iter().all(|part| frame.append(part)) && {
                let trailer = sending.seal(&mut frame.bytes_mut()[start..]);
                frame.append(&trailer)
            }
        };
        self.build_datagram(now_us, to, sum, most, fill, counters)
    }

    /// Sends a datagram that `fill` appends, `most` bytes long at most. False, and nothing sent,
    /// when there is no frame for it, it does not fit into one, or there is no address to send it
    /// from or to.
    fn build_datagram(
        &mut self,
        now_us: u64,
        to: Destination,
        sum: UdpChecksum,
        most: usize,
        fill: impl FnOnce(&mut N::Frame) -> bool,
        counters: &mut Counters,
    ) -> bool {
        let Some(&destination) = self.net.peers.get(to.peer.place()) else { return false };
        let Some(own) = self.net.address_beside(destination) else { return false };
        let source = own.address;
        if most > self.max_datagram(to.peer) {
            return false;
        }
        let Some(mut frame) = self.nic.allocate() else {
            counters.drop_no_frame += 1;
            return false;
        };
        let mut header = [0; MAX_DATAGRAM_HEADER_LEN];
        let header = &mut header[..ethernet::HEADER_LEN + ip_header_len(source) + udp::HEADER_LEN];
        if !frame.append(header) || !fill(&mut frame) {
            return false;
        }
        let payload = &frame.bytes()[header.len()..];
        self.write_header((source, destination), to.port, sum, payload, header);
        frame.bytes_mut()[..header.len()].copy_from_slice(header);
        self.send_ip(now_us, frame, destination, counters);
        true
    }

    /// Payload of the longest datagram to another node, in bytes. Both ends come to the same, as
    /// they speak the same IP version with each other.
    pub fn max_datagram(&self, peer: PeerIndex) -> usize {
        let address = self.net.peers.get(peer.place());
        let headers =
            address.map_or(ipv6::HEADER_LEN, |peer| ip_header_len(*peer)) + udp::HEADER_LEN;
        usize::from(self.nic.mtu()).saturating_sub(headers)
    }

    fn write_header(
        &self,
        (source, destination): (Addr, Addr),
        port: u16,
        sum: UdpChecksum,
        payload: &[u8],
        header: &mut [u8],
    ) {
        let ethertype = match source.is_ipv4() {
            true => ethernet::ETHERTYPE_IPV4,
            false => ethernet::ETHERTYPE_IPV6,
        };
        let (link, rest) = header.split_at_mut(ethernet::HEADER_LEN);
        let unknown = Mac::default();
        let frame = ethernet::Header { destination: unknown, source: self.mac, ethertype };
        link.copy_from_slice(&frame.to_bytes());
        let ports = (port, port);
        match (source.as_ipv4(), destination.as_ipv4()) {
            (Some(source), Some(destination)) => {
                let (protocol, ttl) = (ipv4::PROTOCOL_UDP, ipv4::DEFAULT_TTL);
                let ip = ipv4::Header { source, destination, protocol, ttl };
                match sum {
                    UdpChecksum::Filled => {
                        udp::emit(&ip, ports, &[payload], rest);
                    }
                    UdpChecksum::Zero => emit_without_checksum(&ip, ports, payload.len(), rest),
                }
            }
            // RFC 8200 8.1: here there is no datagram without a checksum.
            _ => {
                let ip = ipv6::Header {
                    source: source.octets().into(),
                    destination: destination.octets().into(),
                    protocol: ipv6::PROTOCOL_UDP,
                    hop_limit: ipv6::DEFAULT_HOP_LIMIT,
                    traffic_class: 0,
                    flow_label: 0,
                };
                udp::emit_ipv6(&ip, ports, &[payload], rest);
            }
        }
    }

    /// Whether a packet from one of `vips` waits for the card; announcements of an address are
    /// none.
    pub fn holds_packet_of(&self, vips: &[Addr]) -> bool {
        self.queue.iter().chain(&self.burst).any(|frame| {
            ethernet::Header::parse(frame.bytes()).is_ok_and(|(header, packet)| {
                is_of(vips, frame.bytes())
                    && match header.ethertype {
                        ethernet::ETHERTYPE_IPV4 => true,
                        ethernet::ETHERTYPE_IPV6 => ipv6::Packet::parse(packet)
                            .is_ok_and(|ip| ip.header.protocol != ipv6::PROTOCOL_ICMPV6),
                        _ => false,
                    }
            })
        })
    }

    /// Drops frames in the name of `vips` that wait for the card or for a neighbour: this node may
    /// not speak for them any more.
    pub fn forget_frames_of(&mut self, vips: &[Addr]) {
        let is_other = |frame: &N::Frame| !is_of(vips, frame.bytes());
        self.queue.retain(is_other);
        self.burst.retain(|frame| is_other(frame));
        self.neighbours.keep_waiting(is_other);
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
enum UdpChecksum {
    /// It does.
    Filled,
    /// RFC 768: zero, none. For payload with a checksum of its own; over IPv4 only.
    Zero,
}

/// Writes IPv4 and UDP header for `len` bytes of payload.
fn emit_without_checksum(ip: &ipv4::Header, ports: (u16, u16), len: usize, out: &mut [u8]) {
    let udp_len =
        u16::try_from(udp::HEADER_LEN + len).expect("the caller compared the length with the MTU");
    out[..ipv4::HEADER_LEN].copy_from_slice(&ip.to_bytes(udp_len));
    let udp = &mut out[ipv4::HEADER_LEN..];
    udp[0..2].copy_from_slice(&ports.0.to_be_bytes());
    udp[2..4].copy_from_slice(&ports.1.to_be_bytes());
    udp[4..6].copy_from_slice(&udp_len.to_be_bytes());
    udp[6..8].fill(0);
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
        Path::Link(Link::First) => {
            counters.link_tx_frames += 1;
            counters.link_tx_bytes += bytes;
        }
        Path::Link(Link::Second) => {
            counters.second_link_tx_frames += 1;
            counters.second_link_tx_bytes += bytes;
        }
    }
    queue.push_back(frame);
}

/// Whether a frame speaks in the name of one of `vips`: a packet from there, or an announcement.
fn is_of(vips: &[Addr], frame: &[u8]) -> bool {
    let Ok((header, packet)) = ethernet::Header::parse(frame) else { return false };
    let v4 = |at: usize| packet.get(at..)?.first_chunk().map(|v4| Addr::from_ipv4_octets(*v4));
    let from = match header.ethertype {
        ethernet::ETHERTYPE_IPV4 => v4(IPV4_SOURCE),
        ethernet::ETHERTYPE_ARP => v4(ARP_SENDER),
        ethernet::ETHERTYPE_IPV6 => {
            packet.get(IPV6_SOURCE..).and_then(|rest| Some(Addr::from_octets(*rest.first_chunk()?)))
        }
        _ => None,
    };
    from.is_some_and(|from| vips.contains(&from))
}

/// Where a packet says who sends it: RFC 791 3.1, RFC 826, RFC 8200 3.
const IPV4_SOURCE: usize = 12;
const ARP_SENDER: usize = 14;
const IPV6_SOURCE: usize = 8;

fn set_destination(frame: &mut impl Frame, mac: Mac) {
    frame.bytes_mut()[..6].copy_from_slice(&mac.0);
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::config::AddressConfig;
    use crate::nic_memory::{MemoryNic, Wire};

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const CLIENT: Addr = Addr::from_ipv4_octets([10, 77, 0, 9]);
    const PEER: Addr = Addr::from_ipv4_octets([10, 77, 0, 2]);
    const NODE: [u8; 4] = [10, 77, 0, 1];
    const VIP: [u8; 4] = [10, 77, 0, 100];

    fn port() -> (Port<MemoryNic>, Wire) {
        let (nic, wire) = MemoryNic::new(OWN, 1500);
        let address = Ipv4Addr::new(10, 77, 0, 1).into();
        let net = PortConfig::new(AddressConfig { address, prefix_len: 24, gateway: None }, [PEER]);
        (Port::new(nic, Path::Lan, net, 0, 64), wire)
    }

    /// The targets of what was asked for by ARP; the queue is empty after that.
    fn asked_for(port: &mut Port<MemoryNic>) -> Vec<Addr> {
        let frames = port.queue.drain(..);
        let packets = frames.map(|frame| {
            arp::Packet::parse(&frame.bytes()[ethernet::HEADER_LEN..]).expect("it is ARP")
        });
        packets.map(|packet| packet.target_ip.into()).collect()
    }

    fn wait_for(port: &mut Port<MemoryNic>, source: [u8; 4], to: Addr) {
        let mut frame = port.nic.allocate().expect("there are frames");
        let (destination, ethertype) = (Mac::default(), ethernet::ETHERTYPE_IPV4);
        let header = ethernet::Header { destination, source: OWN, ethertype };
        let (source, protocol) = (source.into(), ipv4::PROTOCOL_TCP);
        let packet = ipv4::Header { source, destination: [10, 77, 0, 9].into(), protocol, ttl: 64 };
        assert!(frame.append(&header.to_bytes()) && frame.append(&packet.to_bytes(0)));
        port.send_ip(0, frame, to, &mut Counters::default());
    }

    #[test]
    fn what_speaks_for_the_service_is_known_by_its_address() {
        let vip_v6: Addr = "fd77::64".parse().unwrap();
        let vips = [Addr::from_ipv4_octets(VIP), vip_v6];
        let framed = |ethertype, packet: &[u8]| {
            let (destination, source) = (Mac::BROADCAST, OWN);
            [&ethernet::Header { destination, source, ethertype }.to_bytes()[..], packet].concat()
        };
        let announced = |ip: [u8; 4]| {
            let packet = arp::Packet::announcement(OWN, ip.into()).to_bytes();
            is_of(&vips, &framed(ethernet::ETHERTYPE_ARP, &packet))
        };
        assert!(announced(VIP) && !announced(NODE));
        let told = |target: &str| {
            let target = target.parse().unwrap();
            let (target_mac, solicited, replaces) = (Some(OWN), false, true);
            let told = ndp::Advertisement { target, target_mac, solicited, replaces };
            let packet = told.to_bytes(ipv6::ALL_NODES);
            is_of(&vips, &framed(ethernet::ETHERTYPE_IPV6, &packet))
        };
        assert!(told("fd77::64") && !told("fd77::1"));
        assert!(!is_of(&vips, &framed(ethernet::ETHERTYPE_IPV6, &[0x60; 20])));
    }

    #[test]
    fn silent_node_asks_for_nobody_but_its_peers() {
        for (silent, expected) in [(false, vec![CLIENT, PEER]), (true, vec![PEER])] {
            let (mut port, _wire) = port();
            wait_for(&mut port, VIP, CLIENT);
            wait_for(&mut port, NODE, PEER);
            assert_eq!(asked_for(&mut port), [CLIENT, PEER]);
            port.poll_neighbours(10_000, silent, &mut Counters::default());
            assert_eq!(asked_for(&mut port), expected);
        }
    }

    #[test]
    fn what_waits_for_a_neighbour_is_forgotten_with_the_rest() {
        let (mut port, _wire) = port();
        wait_for(&mut port, VIP, CLIENT);
        wait_for(&mut port, NODE, CLIENT);
        port.queue.clear();
        port.forget_frames_of(&[Addr::from_ipv4_octets(VIP)]);
        port.learn(1, CLIENT, Mac([2, 0, 0, 0, 0, 9]), &mut Counters::default());
        let sources: Vec<_> =
            port.queue.iter().map(|frame| frame.bytes()[26..30].to_vec()).collect();
        assert_eq!(sources, [NODE]);
    }
}
