//! Clients whose TCP is our engine, with active opens.

use std::sync::Arc;

use engine::addr::{Addr, Endpoint};
use engine::config::{Config, Ecn, ServiceConfig, ServiceKind};
use engine::content::Content;
use engine::egress::{Egress, Outgoing};
use engine::service::ByteStream;
use engine::service::external::Events;
use engine::shard::{ConnectionId, End, Shard, Stream};
use engine::tcp::State;
use engine::time::Instant;
use engine::wire::ethernet::{self, Mac};
use engine::wire::icmp_error::IcmpError;
use engine::wire::segment::Segment;
use engine::wire::{Checksums, checksum, icmpv4, icmpv6, ipv4, ipv6};

use super::neighbour::{self, Heard};
use super::work::{Job, Phase, Pipe};
use super::{Address, Settings};
use crate::node::leftover;
use crate::plan::JobPlan;
use crate::time::{MS, US};

/// Shard time at the start: later than what counts as long ago.
const ORIGIN_US: u64 = 1_000_000;
/// Time between two questions for the service's MAC address.
const ASK_NS: u64 = 100 * MS;
/// Segments of one step.
const BURST: usize = 32;

/// A client's machine.
pub struct OwnHost {
    settings: Settings,
    shard: Shard,
    received: Vec<Vec<u8>>,
    wire: Wire,
    asked_ns: Option<u64>,
    jobs: Vec<OwnJob>,
}

struct OwnJob {
    job: Job,
    id: ConnectionId,
    opened: bool,
    end: Option<End>,
}

impl OwnHost {
    /// A machine on the LAN, with receive buffers up to `buffer` bytes.
    #[must_use]
    pub fn new(settings: Settings, buffer: u32) -> OwnHost {
        let mut service = ServiceConfig::new("client", 1, ServiceKind::External);
        service.recv_buffer_bytes = buffer;
        let isn_key = std::array::from_fn(|i| (settings.seed >> (i % 8 * 8)) as u8);
        let mut config = Config {
            vips: vec![Addr::from(settings.address.ip)],
            max_connections: 16,
            pool_blocks: 4096,
            tx_segments: 4096,
            mtu: settings.mtu,
            isn_key,
            services: vec![service],
            ..Config::default()
        };
        // Who waits for the rest of an answer waits as long as a black hole takes.
        config.tcp.fin_wait_2_us = 400_000_000;
        if settings.ecn {
            config.tcp.ecn = Ecn::Ask;
        }
        let shard = Shard::new(0, Arc::new(config), Arc::new(Content::default()));
        let wire =
            Wire { address: settings.address, hop: None, waiting: Vec::new(), sent: Vec::new() };
        OwnHost { settings, shard, received: Vec::new(), wire, asked_ns: None, jobs: Vec::new() }
    }

    /// Opens a connection and begins its work.
    pub fn start(&mut self, now_ns: u64, plan: JobPlan) {
        let local = Endpoint::new(self.settings.address.ip, self.settings.port(self.jobs.len()));
        let remote = Endpoint::new(self.settings.version.vip(), plan.work.port());
        let id = self.shard.open(shard_time(now_ns), local, remote, 0);
        let id = id.expect("a new flow can be opened");
        self.jobs.push(OwnJob { job: Job::new(plan, now_ns), id, opened: false, end: None });
    }

    /// A frame comes in.
    pub fn deliver(&mut self, frame: Vec<u8>) {
        self.received.push(frame);
    }

    /// Lets time and frames work, and returns what the machine sends.
    pub fn poll(&mut self, now_ns: u64) -> Vec<Vec<u8>> {
        let frames = std::mem::take(&mut self.received);
        let mut segments = Vec::new();
        for frame in &frames {
            let Ok((header, packet)) = ethernet::Header::parse(frame) else { continue };
            self.listen(&header, packet);
            match icmp_error(header.ethertype, packet) {
                Some(error) => self.shard.take_in_error(shard_time(now_ns), &error),
                None => segments.extend(Segment::parse(packet, Checksums::Verify)),
            }
        }
        let ip = Addr::from(self.settings.address.ip);
        segments.retain(|segment| segment.flow.local.addr == ip);
        // One step at least, for timers and for what the jobs have to say.
        let empty: [&[Segment<'_>]; 1] = [&[]];
        let bursts = segments.chunks(BURST).chain(empty.into_iter().take(1));
        for burst in bursts {
            self.step(now_ns, burst);
        }
        self.ask(now_ns);
        std::mem::take(&mut self.wire.sent)
    }

    fn step(&mut self, now_ns: u64, segments: &[Segment<'_>]) {
        self.shard.take_in(shard_time(now_ns), segments, &mut self.wire);
        while let Some(ready) = self.shard.next_ready() {
            // The newest one of this number.
            let job = self.jobs.iter_mut().rev().find(|job| job.id == ready.id);
            let Some(job) = job else { continue };
            job.opened |= ready.events.has(Events::OPENED);
            job.end = job.end.or(ready.end);
        }
        for own in self.jobs.iter_mut().filter(|own| own.job.end.is_none()) {
            let over = own.end.is_some_and(|end| end != End::Closed);
            let stream = if over { None } else { self.shard.stream(own.id) };
            let mut pipe = OwnPipe { stream, opened: own.opened, end: own.end };
            own.job.run(now_ns, &mut pipe);
            // This stack has no way to forget a connection without a word.
            if own.job.is_abandoned() {
                pipe.abort();
            }
        }
        loop {
            let before = self.wire.emitted();
            self.shard.flush(&mut self.wire);
            if self.wire.emitted() == before {
                return;
            }
        }
    }

    /// What neighbours say.
    fn listen(&mut self, header: &ethernet::Header, packet: &[u8]) {
        let vip = self.settings.version.vip();
        match neighbour::hear(self.settings.address, vip, header, packet) {
            Some(Heard::Service(mac)) => self.wire.resolve(mac),
            Some(Heard::Question(answer)) => self.wire.sent.push(answer),
            None => {}
        }
    }

    /// Asks for the service while something waits for it.
    fn ask(&mut self, now_ns: u64) {
        let due = self.asked_ns.is_none_or(|at_ns| now_ns >= at_ns + ASK_NS);
        if self.wire.hop.is_none() && !self.wire.waiting.is_empty() && due {
            self.asked_ns = Some(now_ns);
            let question = neighbour::ask(self.settings.address, self.settings.version.vip());
            self.wire.sent.push(question);
        }
    }

    /// When it wants to be polled at the latest.
    #[must_use]
    pub fn next_ns(&self, now_ns: u64) -> Option<u64> {
        let due = self.shard.next_deadline();
        let shard = due.map(|at| at.as_micros().saturating_sub(ORIGIN_US) * US);
        let jobs = self.jobs.iter().filter_map(|own| own.job.next_ns(now_ns));
        let waits = self.wire.hop.is_none() && !self.wire.waiting.is_empty();
        let ask = self.asked_ns.filter(|_| waits).map(|at_ns| at_ns + ASK_NS);
        shard.into_iter().chain(jobs).chain(ask).min()
    }

    /// The connections' work.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter().map(|own| &own.job)
    }

    /// The state of each connection, by the local port.
    pub fn states(&self) -> impl Iterator<Item = (u16, State)> {
        self.shard.states().map(|(flow, state)| (flow.local.port, state))
    }

    /// What is left although all connections are over.
    #[must_use]
    pub fn leftover(&self) -> Option<String> {
        leftover(&self.shard)
    }

    /// Where a connection stands.
    #[must_use]
    pub fn describe(&self, job: usize) -> String {
        let Some(own) = self.jobs.get(job) else { return String::new() };
        let id = own.id.0;
        let info = self.shard.connections(id).find(|info| info.id == id);
        info.map_or("no connection".to_owned(), |info| format!("{info:?}"))
    }
}

fn shard_time(now_ns: u64) -> Instant {
    Instant::from_micros(ORIGIN_US + now_ns / US)
}

/// An ICMP error about one of our segments.
fn icmp_error(ethertype: u16, packet: &[u8]) -> Option<IcmpError> {
    if ethertype == ethernet::ETHERTYPE_IPV6 {
        let ip = ipv6::Packet::parse(packet).ok()?;
        return icmpv6::parse_error(&ip).ok();
    }
    let ip = ipv4::Packet::parse(packet, Checksums::Verify).ok()?;
    (ip.header.protocol == ipv4::PROTOCOL_ICMP).then(|| icmpv4::parse_error(&ip).ok())?
}

/// The machine's card, and the only neighbour it has.
struct Wire {
    address: Address,
    hop: Option<Mac>,
    waiting: Vec<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

impl Wire {
    fn emitted(&self) -> usize {
        self.waiting.len() + self.sent.len()
    }

    fn frame(&self, hop: Mac, packet: &[u8]) -> Vec<u8> {
        neighbour::frame(hop, self.address, packet)
    }

    fn resolve(&mut self, mac: Mac) {
        self.hop = Some(mac);
        for packet in std::mem::take(&mut self.waiting) {
            let frame = self.frame(mac, &packet);
            self.sent.push(frame);
        }
    }
}

impl Egress for Wire {
    const WANTS_PAYLOAD: bool = true;

    fn emit(&mut self, packet: &Outgoing<'_>) {
        let mut header = packet.header.to_vec();
        checksum::finish_tcp(&mut header, usize::from(packet.ip_header_len), packet.payload);
        let packet = [&header[..], &packet.payload.concat()].concat();
        match self.hop {
            Some(hop) => self.sent.push(self.frame(hop, &packet)),
            None => self.waiting.push(packet),
        }
    }
}

struct OwnPipe<'a> {
    stream: Option<Stream<'a>>,
    opened: bool,
    end: Option<End>,
}

impl Pipe for OwnPipe<'_> {
    fn phase(&self) -> Phase {
        match self.end {
            Some(End::Closed) => Phase::Alive,
            Some(_) => Phase::Gone,
            None if self.opened => Phase::Alive,
            None => Phase::Opening,
        }
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        self.stream.as_mut().map_or(0, |stream| stream.write(bytes))
    }

    fn receive(&mut self, take: &mut impl FnMut(&[u8])) {
        let Some(stream) = &mut self.stream else { return };
        loop {
            let bytes = stream.read_slice();
            let len = bytes.len();
            if len == 0 {
                return;
            }
            take(bytes);
            stream.consume(len);
        }
    }

    fn ended(&self) -> bool {
        match &self.stream {
            Some(stream) => stream.peer_closed() && stream.readable() == 0,
            None => self.end == Some(End::Closed),
        }
    }

    fn close(&mut self) {
        self.stream.iter_mut().for_each(ByteStream::close);
    }

    fn abort(&mut self) {
        self.stream.iter_mut().for_each(ByteStream::abort);
    }
}

impl std::fmt::Debug for OwnHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnHost").finish_non_exhaustive()
    }
}
