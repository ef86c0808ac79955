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
use engine::wire::tcp::{Flags, Options};
use engine::wire::{Checksums, arp, ipv4, ipv6, udp};
use hw_profiles::{Idle, IdleStrategy};
use replication::frame::{self, Address, Confirm, Data};
use replication::record::header;
use replication::{Directive, Epoch, GateMode, Incarnation, Path, RecordKind, Report, Role};
use worker::{
    AddressConfig, At, Crew, MemoryNic, NodeConfig, PortConfig, Shares, Steward, Wire, crew,
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
const LINK: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
const LINK_PEER: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);
const CONTROL_PORT: u16 = 7400;
const US: Incarnation = Incarnation(100);
const PEER: Incarnation = Incarnation(101);
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
    let mut input = Unstructured::new(input);
    let mut world = World::new();
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
        emit: &mut impl FnMut(Path, &[u8]),
    ) -> Directive {
        emit(Path::Link, b"heartbeat");
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
    directive: Scripted,
    now_us: u64,
    epoch: u64,
    /// Of the frames that the peer sends on the link.
    sequence: u64,
    /// Of the batch that they carry.
    time_us: u64,
}

impl World {
    fn new() -> World {
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
        let port = |address: Ipv4Addr, peer: Ipv4Addr| {
            PortConfig::new(
                AddressConfig { address: address.into(), prefix_len: 24, gateway: None },
                peer,
            )
        };
        let mut lan = port(LAN, Ipv4Addr::new(10, 77, 0, 2));
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
            lan,
            link: port(LINK, LINK_PEER),
            control_port: CONTROL_PORT,
            detection_timeout_us: 50_000,
            idle,
            shard: Arc::new(config),
            content: Arc::new(Content::default()),
            pending_log_bytes: 0,
            gate_frames: 64,
        };
        let (lan_nic, lan) = MemoryNic::new(LAN_MAC, MTU);
        let (link_nic, link) = MemoryNic::new(LINK_MAC, MTU);
        let directive = Scripted(Arc::new(Mutex::new(spare())));
        let shares = vec![Shares { lan: lan_nic, link: link_nic }];
        let crew = crew(node, shares, directive.clone()).expect("one worker with both queues");
        let (now_us, epoch, sequence, time_us) = (1_000, 1, 0, 1);
        World { crew, lan, link, directive, now_us, epoch, sequence, time_us }
    }

    fn act(&mut self, action: &Action, input: &mut Unstructured<'_>) {
        match action.kind % 9 {
            0 => self.raw(action, input),
            1 => self.arp(action),
            2 | 3 => self.lan.deliver(segment(action)),
            4 => self.session(action),
            5 => self.direct(action),
            6 => self.now_us += u64::from(action.b) << (action.a & 7),
            7 => self.resolve(),
            _ => self.now_us += 10,
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
        let sender = [CLIENT, VIP, LINK_PEER, LAN][usize::from(action.b >> 2 & 3)];
        let request = arp::Packet::request(CLIENT_MAC, sender, target);
        let packet = if action.a & 1 == 0 { request } else { request.reply(CLIENT_MAC) };
        let frame = frame_to(Mac::BROADCAST, ETHERTYPE_ARP, &packet.to_bytes());
        if action.a & 2 == 0 { self.lan.deliver(frame) } else { self.link.deliver(frame) }
    }

    /// The client and the link's peer say where they are.
    fn resolve(&mut self) {
        for (wire, mac, from, to) in
            [(&self.lan, LAN_MAC, CLIENT, LAN), (&self.link, LINK_MAC, LINK_PEER, LINK)]
        {
            let reply = arp::Packet::request(mac, to, from).reply(CLIENT_MAC);
            wire.deliver(frame_to(mac, ETHERTYPE_ARP, &reply.to_bytes()));
        }
    }

    /// A datagram of the link's peer: the next batch, or a confirmation, or neither quite.
    fn session(&mut self, action: &Action) {
        let epoch = Epoch(self.epoch);
        let address = Address { channel: 0, epoch, sender: PEER, receiver: US };
        let payload = self.batch(action);
        let bit = |n: u32| action.a >> n & 1 == 1;
        let confirm = bit(0).then(|| Confirm {
            next: u64::from(action.b),
            credit: 1000,
            gaps: Default::default(),
        });
        let sequence = if bit(1) { u64::from(action.b) } else { self.sequence };
        let data = Data { sequence, batch_end: !bit(2), payload: &payload };
        let data = (confirm.is_none() || bit(3)).then_some(data);
        self.sequence += u64::from(data.is_some() && !bit(1));
        let mut datagram = frame::encode(&address, confirm.as_ref(), data.as_ref()).to_vec();
        datagram.extend_from_slice(data.map_or(&[], |data| data.payload));
        let protocol = ipv4::PROTOCOL_UDP;
        let ip = ipv4::Header { source: LINK_PEER, destination: LINK, protocol, ttl: 64 };
        let mut packet = vec![0; ipv4::HEADER_LEN + udp::HEADER_LEN];
        udp::emit(&ip, (7401, CONTROL_PORT + 1), &[&datagram], &mut packet);
        packet.extend_from_slice(&datagram);
        self.link.deliver(frame_to(LINK_MAC, ETHERTYPE_IPV4, &packet));
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
        self.sequence = if action.b & 1 == 1 { 0 } else { self.sequence };
        let roles = [
            Role::Spare,
            Role::Backup,
            Role::Primary(GateMode::Open),
            Role::Primary(GateMode::Confirmed),
        ];
        let role = roles[usize::from(action.a & 3)];
        let paired = matches!(role, Role::Backup | Role::Primary(GateMode::Confirmed));
        *self.directive.0.lock().expect("one thread") = Directive {
            epoch: Epoch(self.epoch),
            role,
            silent: action.a & 4 != 0,
            peer: paired.then_some(PEER),
            peer_workers: if paired { 1 + u16::from(action.a >> 6) } else { 0 },
        };
    }

    fn turn(&mut self) {
        self.now_us += 1;
        self.crew.workers[0].run_once(&mut At(self.now_us));
        let directive = *self.directive.0.lock().expect("one thread");
        while let Some(frame) = self.lan.take() {
            judge(&frame);
            let (header, _) = Header::parse(&frame).expect("judged");
            // A silent node still asks where its peer is.
            let speaks = matches!(directive.role, Role::Primary(_)) && !directive.silent;
            assert!(speaks || header.source != VMAC, "it spoke for a service that is not its own");
        }
        while let Some(frame) = self.link.take() {
            judge(&frame);
        }
        while self.crew.events.try_recv().is_ok() {}
    }
}

fn spare() -> Directive {
    let (epoch, role) = (Epoch(0), Role::Spare);
    Directive { epoch, role, silent: false, peer: None, peer_workers: 0 }
}

fn frame_to(destination: Mac, ethertype: u16, packet: &[u8]) -> Vec<u8> {
    let header = Header { destination, source: CLIENT_MAC, ethertype };
    [&header.to_bytes()[..], packet].concat()
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
        ETHERTYPE_IPV4 => assert!(ipv4::Packet::parse(packet, Checksums::Verify).is_ok()),
        ETHERTYPE_IPV6 => assert!(ipv6::Packet::parse(packet).is_ok()),
        other => panic!("a frame of type {other:#06x}"),
    }
}
