//! The wires: a switch that learns, and a link, for more than two nodes with a switch of its own.
//! Both lose, delay, reorder and duplicate frames as the seed has it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use engine::wire::ethernet::Mac;
use engine::wire::{checksum, ipv4, ipv6};
use replication::Link;

use crate::world::{LINK_CARDS, VIP, VIP_V6, mac};

/// SplitMix64: enough for weather, and the same on every machine.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn permille(&mut self, chance: u64) -> bool {
        self.below(1000) < chance
    }
}

/// Where a frame can come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    Lan(usize),
    Link(usize),
    SecondLink(usize),
    Client(usize),
}

/// What the wires do to frames, in permille.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    pub lan_loss: u64,
    pub link_loss: u64,
    pub link_reorder: u64,
    pub link_duplicate: u64,
}

const LAN_DELAY_US: u64 = 250;
const LINK_DELAY_US: u64 = 20;

pub type Arrival = Reverse<(u64, u64, Place, Vec<u8>)>;

/// Frames in the service's name.
#[derive(Debug, Default)]
pub struct Spoken {
    pub frames: u64,
    pub first: Option<Vec<u8>>,
}

pub struct Network {
    pub weather: Weather,
    /// Links, and nodes of which they carry nothing.
    pub cut: HashSet<(Link, usize)>,
    /// Frames that each link was given.
    pub crossed: [u64; 2],
    random: Random,
    nodes: usize,
    /// Which place a MAC address was last seen at.
    stations: HashMap<Vec<u8>, Place>,
    places: Vec<Place>,
    under_way: BinaryHeap<Arrival>,
    sequence: u64,
    /// What each node sent in the service's name.
    pub spoken: Vec<Spoken>,
    pub vmac: [u8; 6],
    /// What the service's packets may be long on their way; a router tells of longer ones.
    pub mtu: usize,
    /// A MAC address, and what was sent to it.
    watch: Option<(Vec<u8>, Vec<Vec<u8>>)>,
    /// Who is listened to, and what it says to the switch.
    tapped: Option<(Place, Vec<Vec<u8>>)>,
}

impl Network {
    pub fn new(seed: u64, nodes: usize, clients: usize, vmac: [u8; 6]) -> Network {
        let mut places: Vec<_> = (0..nodes).map(Place::Lan).collect();
        places.extend((0..clients).map(Place::Client));
        Network {
            weather: Weather::default(),
            cut: HashSet::new(),
            crossed: [0; 2],
            random: Random(seed),
            nodes,
            stations: HashMap::new(),
            places,
            under_way: BinaryHeap::new(),
            sequence: 0,
            spoken: (0..nodes).map(|_| Spoken::default()).collect(),
            vmac,
            mtu: usize::MAX,
            watch: None,
            tapped: None,
        }
    }

    /// A frame that came out of a node or a client.
    pub fn send(&mut self, now_us: u64, from: Place, frame: Vec<u8>) {
        if let Some((_, frames)) = self.watch.as_mut().filter(|(mac, _)| frame[..6] == mac[..]) {
            frames.push(frame.clone());
        }
        match from {
            Place::Link(node) => self.send_on_link(now_us, Link::First, node, &frame),
            Place::SecondLink(node) => self.send_on_link(now_us, Link::Second, node, &frame),
            Place::Lan(_) | Place::Client(_) => self.switch(now_us, from, frame),
        }
    }

    fn send_on_link(&mut self, now_us: u64, link: Link, from: usize, frame: &[u8]) {
        self.crossed[link.place()] += 1;
        if self.cut.contains(&(link, from)) {
            return;
        }
        for to in (0..self.nodes).filter(|to| *to != from) {
            if self.nodes == 2 || frame[0] & 1 == 1 || frame[..6] == link_mac(link, to) {
                let place = match link {
                    Link::First => Place::Link(to),
                    Link::Second => Place::SecondLink(to),
                };
                self.cross_link(now_us, place, frame.to_vec());
            }
        }
    }

    /// What was last handed to the link's card of `node` never makes it onto the wire: the machine
    /// died, its card with it.
    pub fn lose_last_on_link(&mut self, node: usize) {
        let lost = |arrival: &Arrival| {
            matches!(arrival.0.2, Place::Link(_))
                && arrival.0.3[6..12] == link_mac(Link::First, node)
        };
        let count = self.under_way.iter().filter(|arrival| lost(arrival)).count() as u64;
        let mut kept = self.random.below(count + 1);
        let mut in_order = std::mem::take(&mut self.under_way).into_sorted_vec();
        // `Reverse` sorts the last one first.
        in_order.reverse();
        in_order.retain(|arrival| {
            let keep = !lost(arrival) || kept > 0;
            kept -= u64::from(lost(arrival) && keep);
            keep
        });
        self.under_way = in_order.into();
    }

    /// From now on keeps what is sent to this MAC address.
    pub fn watch(&mut self, mac: &[u8]) {
        self.watch = Some((mac.to_vec(), Vec::new()));
    }

    pub fn watched(&mut self) -> Vec<Vec<u8>> {
        self.watch.take().map_or_else(Vec::new, |(_, frames)| frames)
    }

    /// From now on keeps what comes out of this place.
    pub fn tap(&mut self, place: Place) {
        self.tapped = Some((place, Vec::new()));
    }

    pub fn tapped(&mut self) -> Vec<Vec<u8>> {
        self.tapped.take().map_or_else(Vec::new, |(_, frames)| frames)
    }

    fn cross_link(&mut self, now_us: u64, to: Place, frame: Vec<u8>) {
        let Weather { link_loss, link_reorder, link_duplicate, .. } = self.weather;
        if self.random.permille(link_loss) {
            return;
        }
        let late_us = if self.random.permille(link_reorder) { self.random.below(300) } else { 0 };
        if self.random.permille(link_duplicate) {
            let later_us = self.random.below(1000);
            self.deliver(now_us + LINK_DELAY_US + later_us, to, frame.clone());
        }
        self.deliver(now_us + LINK_DELAY_US + late_us, to, frame);
    }

    fn switch(&mut self, now_us: u64, from: Place, frame: Vec<u8>) {
        let of_service = frame[6..12] == self.vmac || speaks_for_service(&frame);
        if let (Place::Lan(node), true) = (from, of_service) {
            self.spoken[node].frames += 1;
            self.spoken[node].first.get_or_insert_with(|| frame.clone());
        }
        if let Some((_, frames)) = self.tapped.as_mut().filter(|(place, _)| *place == from) {
            frames.push(frame.clone());
        }
        self.stations.insert(frame[6..12].to_vec(), from);
        if of_service && frame.len() > ETHERNET_LEN.saturating_add(self.mtu) {
            let answer = match frame[12..14] {
                [0x86, 0xdd] => packet_too_big(&frame, self.mtu),
                _ => fragmentation_needed(&frame, self.mtu),
            };
            return self.deliver(now_us + LAN_DELAY_US, from, answer);
        }
        let known = self.stations.get(&frame[..6]).copied();
        let to: Vec<Place> = match known {
            Some(place) => vec![place],
            None => self.places.iter().copied().filter(|place| *place != from).collect(),
        };
        for place in to.into_iter().filter(|place| *place != from) {
            if !self.random.permille(self.weather.lan_loss) {
                self.deliver(now_us + LAN_DELAY_US, place, frame.clone());
            }
        }
    }

    /// Where the switch believes an address to be.
    pub fn learned(&self, mac: Mac) -> Option<Place> {
        self.stations.get(&mac.0[..]).copied()
    }

    /// Lets the switch believe that an address is there.
    pub fn teach(&mut self, mac: Mac, place: Place) {
        self.stations.insert(mac.0.to_vec(), place);
    }

    /// The switch's table entry ages.
    pub fn forget(&mut self, mac: Mac) {
        self.stations.remove(&mac.0[..]);
    }

    fn deliver(&mut self, at_us: u64, to: Place, frame: Vec<u8>) {
        self.sequence += 1;
        self.under_way.push(Reverse((at_us, self.sequence, to, frame)));
    }

    /// The next frame that has arrived by `now_us`.
    pub fn arrived(&mut self, now_us: u64) -> Option<(Place, Vec<u8>)> {
        if self.next_arrival_us()? > now_us {
            return None;
        }
        self.under_way.pop().map(|Reverse((_, _, place, frame))| (place, frame))
    }

    pub fn next_arrival_us(&self) -> Option<u64> {
        self.under_way.peek().map(|Reverse((at_us, ..))| *at_us)
    }
}

const ETHERNET_LEN: usize = 14;

fn link_mac(link: Link, node: usize) -> [u8; 6] {
    mac(node, LINK_CARDS[link.place()]).0
}

/// Whether a packet comes from one of the service's addresses, or says where one is.
fn speaks_for_service(frame: &[u8]) -> bool {
    match frame[12..14] {
        [0x08, 0x00] => frame[26..30] == VIP.octets(),
        [0x08, 0x06] => frame[28..32] == VIP.octets(),
        [0x86, 0xdd] => frame[22..38] == VIP_V6.octets(),
        _ => false,
    }
}

/// RFC 1191 4: what a router says about a packet that the next hop does not take.
pub fn fragmentation_needed(frame: &[u8], mtu: usize) -> Vec<u8> {
    let packet = &frame[ETHERNET_LEN..];
    let mut message = vec![3, 4, 0, 0, 0, 0];
    message.extend_from_slice(&(mtu as u16).to_be_bytes());
    message.extend_from_slice(&packet[..28]);
    let sum = checksum::checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let header = ipv4::Header {
        source: [10, 77, 0, 254].into(),
        destination: [packet[12], packet[13], packet[14], packet[15]].into(),
        protocol: ipv4::PROTOCOL_ICMP,
        ttl: 64,
    };
    let link = [&frame[6..12], &[2, 0, 0, 0, 8, 1], &[8, 0]].concat();
    [&link[..], &header.to_bytes(message.len() as u16), &message].concat()
}

/// RFC 4443 3.2: the same over IPv6. All of the packet is quoted that 1280 bytes have room for.
fn packet_too_big(frame: &[u8], mtu: usize) -> Vec<u8> {
    let packet = &frame[ETHERNET_LEN..];
    let mut message = vec![2, 0, 0, 0];
    message.extend_from_slice(&(mtu as u32).to_be_bytes());
    message.extend_from_slice(&packet[..packet.len().min(1232)]);
    let destination: [u8; 16] = packet[8..24].try_into().unwrap();
    let header = ipv6::Header {
        source: "fe80::254".parse().unwrap(),
        destination: destination.into(),
        protocol: ipv6::PROTOCOL_ICMPV6,
        hop_limit: 64,
        traffic_class: 0,
        flow_label: 0,
    };
    let len = message.len() as u16;
    let header = header.to_bytes(len);
    let addresses = header[8..].first_chunk().unwrap();
    let mut sum = checksum::pseudo_header_ipv6(addresses, ipv6::PROTOCOL_ICMPV6, len);
    sum.add(&message);
    message[2..4].copy_from_slice(&sum.checksum().to_be_bytes());
    let link = [&frame[6..12], &[2, 0, 0, 0, 8, 1], &[0x86, 0xdd]].concat();
    [&link[..], &header, &message].concat()
}
