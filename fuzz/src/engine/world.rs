//! A shard, its twin, and their peers.

use std::sync::Arc;

use engine::config::Config;
use engine::egress::{CountingEgress, Egress, Outgoing};
use engine::service::ByteStream;
use engine::service::external::Events;
use engine::shard::Shard;
use engine::time::Instant;
use engine::wire::Checksums;
use engine::wire::checksum::finish_tcp;
use engine::wire::icmp_error::IcmpError;
use engine::wire::segment::Segment;

use super::action::{Action, Kind};
use super::peer::Peer;
use super::setup;

/// Two for each service.
const PEERS: usize = 12;
/// Turns at one moment after which a shard that sends nothing must be done.
const PATIENCE: usize = 200;

pub struct World {
    config: Arc<Config>,
    shard: Shard,
    twin: Shard,
    now: Instant,
    peers: Vec<Peer>,
    burst: Option<Vec<Vec<u8>>>,
    program: Program,
    /// Whether packets are judged as those of an undamaged shard.
    judges: bool,
}

/// Packets with their checksums.
#[derive(Default)]
struct Recorder(Vec<Vec<u8>>);

impl Egress for Recorder {
    const WANTS_PAYLOAD: bool = true;

    fn emit(&mut self, packet: &Outgoing<'_>) {
        let mut bytes = packet.header.to_vec();
        finish_tcp(&mut bytes, packet.ip_header_len.into(), packet.payload);
        packet.payload.iter().for_each(|part| bytes.extend_from_slice(part));
        assert_eq!(bytes.len(), packet.header.len() + usize::from(packet.payload_len));
        self.0.push(bytes);
    }
}

/// What the program around a shard does with its connections.
#[derive(Clone, Copy, Debug, Default)]
struct Program {
    uses: u8,
}

impl World {
    #[must_use]
    pub fn new(variant: u8) -> World {
        let config = Arc::new(setup::config(variant));
        let shard = || Shard::new(0, Arc::clone(&config), setup::content());
        let mut world = World::of(Arc::clone(&config), shard(), shard());
        world.judges = true;
        world
    }

    /// A world in which only the state itself is judged: the shard's past is not known.
    #[must_use]
    pub fn restored(variant: u8, snapshot: &[u8]) -> Option<World> {
        let config = Arc::new(setup::config(variant));
        let shard = || Shard::restore(Arc::clone(&config), setup::content(), snapshot).ok();
        Some(World::of(Arc::clone(&config), shard()?, shard()?))
    }

    fn of(config: Arc<Config>, shard: Shard, twin: Shard) -> World {
        World {
            config,
            now: shard.now(),
            shard,
            twin,
            peers: (0..PEERS).map(Peer::new).collect(),
            burst: None,
            program: Program::default(),
            judges: false,
        }
    }

    /// The shard as bytes.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.shard.save(&mut bytes);
        bytes
    }

    /// Does one thing.
    pub fn act(&mut self, action: &Action) {
        let peer = &mut self.peers[usize::from(action.who) % PEERS];
        match action.kind() {
            Kind::Segment => {
                let segment = peer.segment(action);
                self.deliver(segment.to_bytes());
            }
            Kind::Data => {
                let segment = peer.data(action);
                self.deliver(segment.to_bytes());
            }
            Kind::Acknowledge => {
                let segment = peer.acknowledge(action);
                self.deliver(segment.to_bytes());
            }
            Kind::Close => {
                let segment = peer.close(action);
                self.deliver(segment.to_bytes());
            }
            Kind::Syn => {
                let segment = peer.syn(action);
                self.deliver(segment.to_bytes());
            }
            Kind::Wait => {
                let unit_us = [1, 100, 10_000, 1_000_000][usize::from(action.a) % 4];
                self.now = self.now.plus_us(unit_us * u64::from(action.d));
                self.step(&[]);
            }
            Kind::Deadline => (0..=action.a % 16).for_each(|_| self.sleep()),
            Kind::Kick => {
                if !action.b.is_multiple_of(2) {
                    self.shard.take_over(self.now);
                    self.twin.take_over(self.now);
                }
                self.kick(action.a.is_multiple_of(2));
            }
            Kind::Snapshot => self.replace_twin(),
            Kind::Connect => self.connect(action),
            Kind::Burst => match self.burst.take() {
                Some(packets) => self.step(&packets),
                None => self.burst = Some(Vec::new()),
            },
            Kind::Program => self.program.uses = action.a,
            Kind::Icmp => {
                let error = peer.icmp(action);
                self.icmp_error(&error);
            }
        }
    }

    fn deliver(&mut self, packet: Vec<u8>) {
        match &mut self.burst {
            Some(packets) => packets.push(packet),
            None => self.step(&[packet]),
        }
    }

    /// Lets the rest of a burst in, and time pass until little is left to do.
    pub fn settle(&mut self) {
        if let Some(packets) = self.burst.take() {
            self.step(&packets);
        }
        self.replace_twin();
        (0..24).for_each(|_| self.sleep());
        self.replace_twin();
    }

    /// Goes on to the next deadline and does what is due there.
    fn sleep(&mut self) {
        let Some(at) = self.shard.next_deadline() else { return };
        self.now = self.now.max(at);
        let mut sent = self.turn(&[]);
        for _ in 0..PATIENCE {
            if self.shard.next_deadline().is_none_or(|at| at > self.now) {
                return;
            }
            sent += self.turn(&[]);
        }
        assert!(sent > 0, "the shard is busy with nothing");
    }

    fn step(&mut self, packets: &[Vec<u8>]) {
        self.turn(packets);
    }

    /// A step; tells how many packets it sent.
    fn turn(&mut self, packets: &[Vec<u8>]) -> usize {
        let parse = |packet| Segment::parse(packet, Checksums::Verify);
        // A peer's port or address may be one that no segment can have.
        let segments: Vec<_> = packets.iter().filter_map(|p| parse(p).ok()).collect();
        let (mut sent, mut counted) = (Recorder::default(), CountingEgress::default());
        self.program.step(&mut self.shard, self.now, &segments, &mut sent);
        self.program.step(&mut self.twin, self.now, &segments, &mut counted);
        self.take(sent, counted)
    }

    fn kick(&mut self, all: bool) {
        loop {
            let (mut sent, mut counted) = (Recorder::default(), CountingEgress::default());
            self.shard.kick(self.now, &mut sent);
            self.twin.kick(self.now, &mut counted);
            self.take(sent, counted);
            if !all || self.shard.kicks_next().is_none() {
                return;
            }
        }
    }

    fn icmp_error(&mut self, error: &IcmpError) {
        assert_eq!(self.shard.heeds(error), self.twin.heeds(error));
        let (mut sent, mut counted) = (Recorder::default(), CountingEgress::default());
        self.shard.icmp_error(self.now, error, &mut sent);
        self.twin.icmp_error(self.now, error, &mut counted);
        self.take(sent, counted);
    }

    fn connect(&mut self, action: &Action) {
        let (theirs, ours) = self.peers[usize::from(action.who) % PEERS].endpoints();
        let service = u16::from(action.a) % (setup::PORTS.len() as u16 + 1);
        let (mut sent, mut counted) = (Recorder::default(), CountingEgress::default());
        let first = self.shard.connect(self.now, ours, theirs, service, &mut sent);
        let second = self.twin.connect(self.now, ours, theirs, service, &mut counted);
        assert_eq!(first, second);
        if first.is_ok() {
            self.peers[usize::from(action.who) % PEERS].be_called();
        }
        self.take(sent, counted);
    }

    /// Judges a step by its packets and by the state that it left. Returns the number of packets.
    fn take(&mut self, sent: Recorder, counted: CountingEgress) -> usize {
        assert_eq!(sent.0.len() as u64, counted.packets);
        assert!(sent.0.len() <= 2 * self.config.max_packets_per_step as usize);
        for packet in &sent.0 {
            assert!(packet.len() <= usize::from(self.config.mtu), "{} bytes", packet.len());
            let segment = Segment::parse(packet, Checksums::Verify);
            // A corrupted snapshot may have connections with anybody.
            let Ok(segment) = segment else {
                assert!(!self.judges, "a malformed packet: {segment:?}");
                continue;
            };
            let flow = (segment.flow.local, segment.flow.remote);
            let judges = self.judges;
            if let Some(peer) = self.peers.iter_mut().find(|peer| peer.endpoints() == flow) {
                peer.take(&segment, judges);
            }
        }
        assert_eq!(self.shard.check(), Ok(()));
        assert_eq!(self.shard.digest(), self.twin.digest(), "the twin has another state");
        assert_eq!(self.shard.next_deadline(), self.twin.next_deadline());
        assert_eq!(self.shard.kicks_next(), self.twin.kicks_next());
        let memory = self.shard.memory();
        assert!(memory.connections <= memory.max_connections);
        assert!(memory.pool_used <= memory.pool_blocks && memory.sent_used <= memory.sent_segments);
        sent.0.len()
    }

    /// The twin goes on as what the shard's snapshot becomes, which must be no other state.
    fn replace_twin(&mut self) {
        let bytes = self.save();
        let restored = Shard::restore(Arc::clone(&self.config), setup::content(), &bytes);
        self.twin = restored.expect("it was saved just now");
        assert_eq!(self.shard.full_digest(), self.twin.full_digest());
    }
}

impl Program {
    fn step<E: Egress>(
        self,
        shard: &mut Shard,
        now: Instant,
        segments: &[Segment<'_>],
        egress: &mut E,
    ) {
        if self.uses.is_multiple_of(2) {
            return shard.step(now, segments, egress);
        }
        shard.take_in(now, segments, egress);
        while let Some(ready) = shard.next_ready() {
            if let Some(mut stream) = shard.stream(ready.id) {
                self.use_stream(&mut stream, ready.events);
            }
        }
        shard.flush(egress);
    }

    fn use_stream<S: ByteStream>(self, stream: &mut S, events: Events) {
        let bit = |n: u32| self.uses >> n & 1 == 1;
        if bit(1) && events.has(Events::READABLE) {
            stream.consume(stream.readable() / 2 + 1);
        }
        if bit(2) {
            stream.forward(700);
        }
        if bit(3) {
            stream.write_pattern(5, 3000);
            stream.write(&[self.uses; 5000]);
        }
        if bit(4) && events.has(Events::PEER_CLOSED) || bit(4) && bit(5) {
            stream.close();
        }
        if bit(6) {
            stream.set_timer(1500);
        }
        if bit(7) && events.has(Events::TIMER) {
            stream.abort();
        }
    }
}
