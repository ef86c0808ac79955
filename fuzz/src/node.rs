//! A node's worker behind two cards in memory: any frames on either, under any directive, at any
//! time. It never panics, what it sends is well-formed, and it speaks only where it may.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use arbitrary::{Arbitrary, Unstructured};
use engine::addr::{Addr, Endpoint};
use engine::config::{Config, ServiceConfig, ServiceKind};
use engine::content::Content;
use engine::seq::SeqNumber;
use engine::wire::ethernet::{self, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Header, Mac};
use engine::wire::segment::Segment as Parsed;
use engine::wire::tcp::{Flags, Options};
use engine::wire::{Checksums, arp, checksum, icmpv6, ipv4, ipv6, ndp, udp};
use hw_profiles::{Idle, IdleStrategy};
use replication::frame::{self, Address, Confirm, Data};
use replication::record::header;
use replication::seal::Sealer;
use replication::{
    Directive, Epoch, GateMode, Incarnation, KeyRing, Link, Log, MAX_PEERS, Numbers, Path,
    PeerIndex, Protection, RecordKind, Report, Role, Votes,
};
use worker::{
    AddressConfig, At, Commit, Crew, Ingress, MemoryNic, NodeConfig, PortConfig, Shares, Steward,
    Wire, crew,
};

use crate::packets::{self, Segment};

const VMAC: Mac = Mac([2, 0x48, 0x46, 0, 0, 0x64]);
const LAN_MAC: Mac = Mac([2, 0, 0, 0, 1, 1]);
const LINK_MAC: Mac = Mac([2, 0, 0, 0, 2, 1]);
const CLIENT_MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
const VIP_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x64);
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 9);
const LAN_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);
const LAN: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 9);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);
const ROUTER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xfe);
const LINK: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
const LINK_V6: Ipv6Addr = Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, 1);
const LINK_PEERS_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, 2), Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, 3)];
const LINK_PEERS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 78, 0, 2), Ipv4Addr::new(10, 78, 0, 3)];
const LAN_PEERS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 0, 2), Ipv4Addr::new(10, 77, 0, 3)];
const CONTROL_PORT: u16 = 7400;
const US: Incarnation = Incarnation(100);
const PEERS: [Incarnation; 2] = [Incarnation(101), Incarnation(102)];
const MTU: u16 = 1500;
const MAX_ACTIONS: usize = 200;

/// Six bytes, and for a raw frame those that follow.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Action {
    pub kind: u8,
    pub a: u8,
    pub b: u16,
    pub c: u16,
}

impl Action {
    /// The bytes that this action is made of.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 6] {
        let ([b0, b1], [c0, c1]) = (self.b.to_le_bytes(), self.c.to_le_bytes());
        [self.kind, self.a, b0, b1, c0, c1]
    }
}

pub fn run(input: &[u8]) {
    // Whatever else the last byte means.
    let link_over_ipv6 = input.last().is_some_and(|last| last & 1 == 1);
    let mut input = Unstructured::new(input);
    let mut world = World::new(link_over_ipv6);
    for _ in 0..MAX_ACTIONS {
        if input.is_empty() {
            break;
        }
        let Ok(action) = Action::arbitrary(&mut input) else { break };
        world.act(&action, &mut input);
    }
}

/// Says what the input says.
#[derive(Clone)]
struct Scripted(Arc<Mutex<Directive>>);

impl Steward for Scripted {
    fn receive(&mut self, _now_us: u64, _path: Path, _datagram: &[u8]) {}

    fn poll(
        &mut self,
        _now_us: u64,
        _report: &Report,
        emit: &mut impl FnMut(Path, PeerIndex, &[u8]),
    ) -> Directive {
        PeerIndex::all().for_each(|peer| emit(Path::Link(Link::First), peer, b"heartbeat"));
        *self.0.lock().expect("one thread")
    }

    fn next_deadline_us(&self) -> Option<u64> {
        None
    }
}

struct World {
    crew: Crew<MemoryNic, Scripted>,
    lan: Wire,
    link: Wire,
    link_over_ipv6: bool,
    /// Of the datagrams that each of the peers seals.
    numbers: [Numbers; 2],
    directive: Scripted,
    now_us: u64,
    epoch: u64,
    /// Of the frames that each of the peers sends on the link.
    sequences: [u64; 2],
    /// Of the batch that they carry.
    time_us: u64,
    /// The last segment that left on the LAN, from the IP header on.
    last_sent: Option<Vec<u8>>,
}

fn protection() -> Protection {
    Protection::Sealed(KeyRing::single("fuzz", b"not one"))
}

impl World {
    fn new(link_over_ipv6: bool) -> World {
        let config = Config {
            vips: vec![VIP.into(), VIP_V6.into()],
            shards: 2,
            max_connections: 8,
            pool_blocks: 64,
            tx_segments: 64,
            max_packets_per_step: 16,
            services: vec![
                ServiceConfig::new("echo", 7, ServiceKind::Echo),
                ServiceConfig::new("discard", 9, ServiceKind::Discard),
            ],
            ..Config::default()
        };
        let port = |address: Ipv4Addr, peers: [Ipv4Addr; 2]| {
            PortConfig::new(
                AddressConfig { address: address.into(), prefix_len: 24, gateway: None },
                peers,
            )
        };
        let mut lan = port(LAN, LAN_PEERS);
        lan.addresses.push(AddressConfig { address: LAN_V6.into(), prefix_len: 64, gateway: None });
        let idle = Idle {
            strategy: IdleStrategy::Spin,
            spin_polls: 0,
            yield_polls: 0,
            sleep_us: 0,
            coalesce_us: 0,
        };
        let node = NodeConfig {
            incarnation: US,
            vmac: VMAC,
            ingress: Ingress::Switch,
            lan,
            links: [match link_over_ipv6 {
                true => PortConfig::new(
                    AddressConfig { address: LINK_V6.into(), prefix_len: 64, gateway: None },
                    LINK_PEERS_V6,
                ),
                false => port(LINK, LINK_PEERS),
            }]
            .into_iter()
            .collect(),
            control_port: CONTROL_PORT,
            commit: Commit::default(),
            protection: protection(),
            detection_timeout_us: 50_000,
            idle,
            shard: Arc::new(config),
            content: Arc::new(Content::default()),
            pending_log_bytes: 0,
            handover_bytes_per_second: 1 << 20,
            gate_frames: 64,
        };
        let (lan_nic, lan) = MemoryNic::new(LAN_MAC, MTU);
        let (link_nic, link) = MemoryNic::new(LINK_MAC, MTU);
        let directive = Scripted(Arc::new(Mutex::new(Directive::SPARE)));
        let shares = vec![Shares { lan: lan_nic, links: [link_nic].into_iter().collect() }];
        let crew = crew(node, shares, directive.clone()).expect("one worker with both queues");
        let (now_us, epoch, sequences, time_us) = (1_000, 1, [0; 2], 1);
        let last_sent = None;
        World {
            crew,
            lan,
            link,
            link_over_ipv6,
            numbers: Default::default(),
            directive,
            now_us,
            epoch,
            sequences,
            time_us,
            last_sent,
        }
    }

    fn act(&mut self, action: &Action, input: &mut Unstructured<'_>) {
        match action.kind % 12 {
            0 => self.raw(action, input),
            1 => self.arp(action),
            2 | 3 => self.lan.deliver(segment(action)),
            4 => self.session(action),
            5 => self.direct(action),
            6 => self.now_us += u64::from(action.b) << (action.a & 7),
            7 => self.resolve(),
            8 => self.now_us += 10,
            9 => self.neighbour(action),
            10 => self.icmp_error(action),
            _ => self.tell(action),
        }
        self.turn();
    }

    /// A frame of the input's own bytes; lengths, checksums and addresses mended as `a` says.
    fn raw(&mut self, action: &Action, input: &mut Unstructured<'_>) {
        let len = usize::from(action.b) % 200;
        let mut frame = input.bytes(len.min(input.len())).unwrap_or_default().to_vec();
        let bit = |n: u32| action.a >> n & 1 == 1;
        let on_link = bit(0);
        if frame.len() > ethernet::HEADER_LEN + ipv4::HEADER_LEN {
            if bit(1) {
                let mac = if on_link { LINK_MAC } else { [LAN_MAC, VMAC][usize::from(bit(2))] };
                let ethertype = match (bit(6), bit(3)) {
                    (true, _) => ETHERTYPE_IPV6,
                    (false, true) => ETHERTYPE_IPV4,
                    (false, false) => ETHERTYPE_ARP,
                };
                let header = Header { destination: mac, source: CLIENT_MAC, ethertype };
                frame[..ethernet::HEADER_LEN].copy_from_slice(&header.to_bytes());
            }
            let packet = &mut frame[ethernet::HEADER_LEN..];
            if bit(4) && bit(6) && packet.len() >= ipv6::HEADER_LEN {
                packet[0] = 0x60;
                packet[8..24].copy_from_slice(&CLIENT_V6.octets());
                let ours = [LAN_V6, VIP_V6][usize::from(bit(2))];
                packet[24..40].copy_from_slice(&ours.octets());
            } else if bit(4) {
                let ours = if on_link { LINK } else { [LAN, VIP][usize::from(bit(2))] };
                packet[12..16].copy_from_slice(&CLIENT.octets());
                packet[16..20].copy_from_slice(&ours.octets());
            }
            if bit(5) {
                packets::mend(packet);
            }
        }
        let wire = if on_link { &self.link } else { &self.lan };
        wire.deliver(frame);
    }

    fn arp(&mut self, action: &Action) {
        let target = [VIP, LAN, LINK, CLIENT][usize::from(action.b & 3)];
        let sender = [CLIENT, VIP, LINK_PEERS[0], LAN][usize::from(action.b >> 2 & 3)];
        let request = arp::Packet::request(CLIENT_MAC, sender, target);
        let packet = if action.a & 1 == 0 { request } else { request.reply(CLIENT_MAC) };
        let frame = frame_to(Mac::BROADCAST, ETHERTYPE_ARP, &packet.to_bytes());
        if action.a & 2 == 0 { self.lan.deliver(frame) } else { self.link.deliver(frame) }
    }

    /// A solicitation or an advertisement: who says it about whom is in `b`, and in `a` how.
    fn neighbour(&mut self, action: &Action) {
        let bit = |n: u32| action.a >> n & 1 == 1;
        let own = ipv6::link_local(LAN_MAC);
        let target = [VIP_V6, LAN_V6, CLIENT_V6, own][usize::from(action.b & 3)];
        let none = Ipv6Addr::UNSPECIFIED;
        let source = [CLIENT_V6, none, VIP_V6, LAN_V6][usize::from(action.b >> 2 & 3)];
        let group = if bit(0) { ipv6::solicited_node(target.into()) } else { ipv6::ALL_NODES };
        let to = [group, LAN_V6, VIP_V6, target][usize::from(action.b >> 4 & 3)];
        let mut packet = if bit(0) {
            let source_mac = Some(CLIENT_MAC);
            ndp::Solicitation { source, target, source_mac }.to_bytes(to).to_vec()
        } else {
            let (target_mac, solicited, replaces) = (Some(CLIENT_MAC), bit(1), bit(2));
            ndp::Advertisement { target, target_mac, solicited, replaces }.to_bytes(to).to_vec()
        };
        // Without the option, as who looks whether an address is free.
        packet.truncate(packet.len() - if bit(3) { 8 } else { 0 });
        if bit(4) {
            let place = usize::from(action.c) % packet.len();
            packet[place] ^= (action.c >> 8) as u8;
        }
        packets::mend(&mut packet);
        let wire = if bit(5) { &self.link } else { &self.lan };
        wire.deliver(frame_to(mac_of(to), ETHERTYPE_IPV6, &packet));
    }

    /// A router's word about the last segment that left: type and code in `a`, the MTU in `c`, and
    /// in `b` how much is quoted and what of it is wrong.
    fn icmp_error(&mut self, action: &Action) {
        let Some(sent) = &self.last_sent else { return };
        let is_ipv6 = sent[0] >> 4 == 6;
        let kinds = if is_ipv6 { [1, 2, 3, 4] } else { [3, 3, 11, 12] };
        let mut message = vec![kinds[usize::from(action.a & 3)], action.a >> 2 & 15, 0, 0, 0, 0];
        message.extend(action.c.to_be_bytes());
        message.extend(&sent[..sent.len().min(28 + usize::from(action.b & 0x3f))]);
        if action.b & 0x40 != 0 {
            let place = usize::from(action.b >> 7) % message.len();
            message[place] ^= 1 << (action.a >> 5);
        }
        let (ethertype, header) = if is_ipv6 {
            let header = ipv6::Header { source: ROUTER_V6, ..icmpv6_header(VIP_V6) };
            (ETHERTYPE_IPV6, header.to_bytes(message.len() as u16).to_vec())
        } else {
            let (source, destination, protocol) = (ROUTER, VIP, ipv4::PROTOCOL_ICMP);
            let header = ipv4::Header { source, destination, protocol, ttl: 64 };
            (ETHERTYPE_IPV4, header.to_bytes(message.len() as u16).to_vec())
        };
        let mut packet = [header, message].concat();
        packets::mend(&mut packet);
        self.lan.deliver(frame_to(VMAC, ethertype, &packet));
    }

    /// A message of ICMPv6 that says nothing of neighbours: type by `a`, `b` bytes of `c`.
    fn tell(&mut self, action: &Action) {
        // Echo, listener query and reports, router solicitation and advertisement, redirect.
        let kinds = [128, 130, 131, 143, 133, 134, 137, action.c as u8];
        let to = [ipv6::ALL_NODES, VIP_V6, LAN_V6, CLIENT_V6][usize::from(action.a >> 3 & 3)];
        let mut message = vec![kinds[usize::from(action.a & 7)], 0, 0, 0];
        message.resize(4 + usize::from(action.b & 0x3f), action.c as u8);
        let hop_limit = [64, 1, 255, 255][usize::from(action.a >> 5 & 3)];
        let source = if action.a >> 7 == 1 { ROUTER_V6 } else { CLIENT_V6 };
        let header = ipv6::Header { source, hop_limit, ..icmpv6_header(to) };
        let mut packet = [&header.to_bytes(message.len() as u16)[..], &message].concat();
        packets::mend(&mut packet);
        self.lan.deliver(frame_to(mac_of(to), ETHERTYPE_IPV6, &packet));
    }

    /// The client and the link's peers say where they are.
    fn resolve(&mut self) {
        let (target, target_mac) = (CLIENT_V6, Some(CLIENT_MAC));
        let told = ndp::Advertisement { target, target_mac, solicited: true, replaces: true };
        self.lan.deliver(frame_to(LAN_MAC, ETHERTYPE_IPV6, &told.to_bytes(LAN_V6)));
        for target in LINK_PEERS_V6 {
            let told = ndp::Advertisement { target, ..told };
            self.link.deliver(frame_to(LINK_MAC, ETHERTYPE_IPV6, &told.to_bytes(LINK_V6)));
        }
        for (wire, mac, from, to) in [
            (&self.lan, LAN_MAC, CLIENT, LAN),
            (&self.link, LINK_MAC, LINK_PEERS[0], LINK),
            (&self.link, LINK_MAC, LINK_PEERS[1], LINK),
        ] {
            let reply = arp::Packet::request(mac, to, from).reply(CLIENT_MAC);
            wire.deliver(frame_to(mac, ETHERTYPE_ARP, &reply.to_bytes()));
        }
    }

    /// A datagram of one of the link's peers: the next batch, or a confirmation, or neither quite.
    fn session(&mut self, action: &Action) {
        let epoch = Epoch(self.epoch);
        let (peer, number) = (usize::from(action.b >> 15), u64::from(action.b & 0x7fff));
        let address = Address { channel: 0, epoch, sender: PEERS[peer], receiver: US };
        let payload = self.batch(action);
        let bit = |n: u32| action.a >> n & 1 == 1;
        let confirm =
            bit(0).then(|| Confirm { next: number, credit: 1000, gaps: Default::default() });
        let sequence = if bit(1) { number } else { self.sequences[peer] };
        let data = Data { sequence, batch_end: !bit(2), payload: &payload };
        let data = (confirm.is_none() || bit(3)).then_some(data);
        self.sequences[peer] += u64::from(data.is_some() && !bit(1));
        let mut datagram = frame::encode(&address, confirm.as_ref(), data.as_ref()).to_vec();
        datagram.extend_from_slice(data.map_or(&[], |data| data.payload));
        let mut sealer = Sealer::new(address, &protection());
        let seal = sealer.seal(&mut self.numbers[peer], &mut datagram);
        datagram.extend_from_slice(&seal);
        let ports = (7401, CONTROL_PORT + 1);
        let (ethertype, mut packet) = if self.link_over_ipv6 {
            let (source, protocol) = (LINK_PEERS_V6[peer], ipv6::PROTOCOL_UDP);
            let ip = ipv6::Header { source, protocol, ..icmpv6_header(LINK_V6) };
            let mut packet = vec![0; ipv6::HEADER_LEN + udp::HEADER_LEN];
            udp::emit_ipv6(&ip, ports, &[&datagram], &mut packet);
            (ETHERTYPE_IPV6, packet)
        } else {
            let protocol = ipv4::PROTOCOL_UDP;
            let source = LINK_PEERS[peer];
            let ip = ipv4::Header { source, destination: LINK, protocol, ttl: 64 };
            let mut packet = vec![0; ipv4::HEADER_LEN + udp::HEADER_LEN];
            udp::emit(&ip, ports, &[&datagram], &mut packet);
            (ETHERTYPE_IPV4, packet)
        };
        packet.extend_from_slice(&datagram);
        self.link.deliver(frame_to(LINK_MAC, ethertype, &packet));
    }

    /// One record for one of the shards.
    fn batch(&mut self, action: &Action) -> Vec<u8> {
        let bit = |n: u32| action.a >> n & 1 == 1;
        self.time_us += u64::from(action.c);
        let mut body = self.time_us.to_le_bytes().to_vec();
        let kind = match action.a >> 4 & 3 {
            0 => RecordKind::Kick,
            1 => RecordKind::Digest,
            _ => RecordKind::Input,
        };
        if kind == RecordKind::Input {
            let packet = &segment(action)[ethernet::HEADER_LEN..];
            body.extend_from_slice(&(packet.len() as u16).to_le_bytes());
            body.extend_from_slice(packet);
        }
        if bit(6) {
            body.truncate(usize::from(action.b) % (body.len() + 1));
        }
        if bit(7) && !body.is_empty() {
            let place = usize::from(action.b >> 4) % body.len();
            body[place] ^= action.c as u8 | 1;
        }
        let mut batch = header(action.b & 3, kind, body.len() as u32).to_vec();
        batch.extend_from_slice(&body);
        batch
    }

    fn direct(&mut self, action: &Action) {
        self.epoch += u64::from(action.b & 1);
        if action.b & 1 == 1 {
            self.sequences = [0; 2];
        }
        let roles = [
            Role::Spare,
            Role::Backup,
            Role::Primary(GateMode::Open),
            Role::Primary(GateMode::Confirmed),
        ];
        let role = roles[usize::from(action.a & 3)];
        let passes_on = !matches!(role, Role::Primary(_)) && action.b & 32 != 0;
        *self.directive.0.lock().expect("one thread") = Directive {
            epoch: Epoch(self.epoch),
            role,
            silent: action.a & 4 != 0,
            logs: self.logs(role, action),
            quiesce: u32::from(action.b >> 6),
            passes_on: passes_on.then_some(PeerIndex((action.b >> 1 & 3) as u8)),
            solicits: action.b & 64 != 0,
            ..Directive::SPARE
        };
    }

    /// With the first peer, with the second, or with both; what they are used for makes sense or
    /// not.
    fn logs(&self, role: Role, action: &Action) -> [Option<Log>; MAX_PEERS] {
        let bit = |n: u32| action.a >> n & 1 == 1;
        let follows = matches!(role, Role::Backup | Role::Primary(GateMode::Confirmed));
        let (epoch, workers) = (Epoch(self.epoch), 1 + u16::from(action.a >> 6));
        let log = |run, hands_over, counts| Log {
            epoch,
            run,
            workers,
            link: Link::First,
            counts,
            hands_over,
            votes: Votes::NONE,
        };
        let first = log(PEERS[0], bit(4), !bit(4) || bit(5));
        let second = log(PEERS[1], !bit(4), bit(5));
        [follows.then_some(first), bit(3).then_some(second), None]
    }

    fn turn(&mut self) {
        self.now_us += 1;
        self.crew.workers[0].run_once(&mut At(self.now_us));
        let directive = *self.directive.0.lock().expect("one thread");
        while let Some(frame) = self.lan.take() {
            judge(&frame);
            let (header, packet) = Header::parse(&frame).expect("judged");
            if Parsed::parse(packet, Checksums::Trusted).is_ok() {
                self.last_sent = Some(packet.to_vec());
            }
            // A silent node still asks where its peers are.
            let speaks = matches!(directive.role, Role::Primary(_)) && !directive.silent;
            assert!(speaks || header.source != VMAC, "it spoke for a service that is not its own");
        }
        while let Some(frame) = self.link.take() {
            judge(&frame);
        }
        while self.crew.events.try_recv().is_ok() {}
    }
}

fn frame_to(destination: Mac, ethertype: u16, packet: &[u8]) -> Vec<u8> {
    let header = Header { destination, source: CLIENT_MAC, ethertype };
    [&header.to_bytes()[..], packet].concat()
}

/// The MAC address that packets for an address of ours, or for a group, go to.
fn mac_of(destination: Ipv6Addr) -> Mac {
    match destination {
        group if group.is_multicast() => Mac::of_group(group),
        VIP_V6 => VMAC,
        _ => LAN_MAC,
    }
}

fn icmpv6_header(destination: Ipv6Addr) -> ipv6::Header {
    ipv6::Header {
        source: CLIENT_V6,
        destination,
        protocol: ipv6::PROTOCOL_ICMPV6,
        hop_limit: ipv6::DEFAULT_HOP_LIMIT,
        traffic_class: 0,
        flow_label: 0,
    }
}

/// A client's segment: IP version in `a`, flags in `c`, numbers and port in `b`.
fn segment(action: &Action) -> Vec<u8> {
    let [flags, low] = action.c.to_le_bytes();
    let (client, vip, ethertype): (Addr, Addr, u16) = match action.a & 1 {
        0 => (CLIENT.into(), VIP.into(), ETHERTYPE_IPV4),
        _ => (CLIENT_V6.into(), VIP_V6.into(), ETHERTYPE_IPV6),
    };
    let segment = Segment {
        from: Endpoint::new(client, 40_000 + (action.b & 7)),
        to: Endpoint::new(vip, [7, 9, 7, 8][usize::from(action.b >> 3 & 3)]),
        seq: SeqNumber(u32::from(action.b >> 5)),
        ack: SeqNumber(u32::from(low)),
        flags: Flags(flags),
        window: action.b,
        options: Options::default(),
        payload: vec![low; usize::from(low & 15)],
    };
    frame_to(VMAC, ethertype, &segment.to_bytes())
}

/// What leaves a card is whole and no longer than the network carries.
fn judge(frame: &[u8]) {
    assert!(frame.len() <= ethernet::HEADER_LEN + usize::from(MTU), "{} bytes", frame.len());
    let (header, packet) = Header::parse(frame).expect("a whole frame");
    match header.ethertype {
        ETHERTYPE_ARP => assert!(arp::Packet::parse(packet).is_ok()),
        ETHERTYPE_IPV4 => judge_ipv4(packet),
        ETHERTYPE_IPV6 => judge_ipv6(packet),
        other => panic!("a frame of type {other:#06x}"),
    }
}

fn judge_ipv4(packet: &[u8]) {
    let ip = ipv4::Packet::parse(packet, Checksums::Verify).expect("a whole packet");
    match ip.header.protocol {
        ipv4::PROTOCOL_TCP => assert!(Parsed::parse(packet, Checksums::Verify).is_ok()),
        ipv4::PROTOCOL_UDP => assert!(udp::Datagram::parse(&ip, Checksums::Verify).is_ok()),
        _ => assert_eq!(checksum::checksum(ip.payload), 0),
    }
}

fn judge_ipv6(packet: &[u8]) {
    let ip = ipv6::Packet::parse(packet).expect("a whole packet");
    match ip.header.protocol {
        ipv6::PROTOCOL_TCP => assert!(Parsed::parse(packet, Checksums::Verify).is_ok()),
        ipv6::PROTOCOL_UDP => assert!(udp::Datagram::parse_ipv6(&ip, Checksums::Verify).is_ok()),
        _ => {
            let (kind, _, _) = icmpv6::message(&ip, Checksums::Verify).expect("a whole message");
            assert!(!icmpv6::is_error(kind), "nobody here sends errors");
            if [icmpv6::NEIGHBOUR_SOLICITATION, icmpv6::NEIGHBOUR_ADVERTISEMENT].contains(&kind) {
                assert!(ndp::Message::parse(&ip, Checksums::Trusted).is_ok());
            }
        }
    }
}
