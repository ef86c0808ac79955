//! Two shards that face each other over a link. The clock jumps to the next thing that happens.

use engine::addr::{Addr, Endpoint};
use engine::config::Config;
use engine::shard::{ConnectionInfo, Shard};
use engine::tcp::State;
use engine::time::Instant;
use engine::wire::segment::Segment;

use super::link::{Link, Quality};
use super::{CLIENT, CLIENT_V6, Recorder, SERVER, SERVER_V6, parse, shard};

pub struct Pair {
    pub now_us: u64,
    pub client: Shard,
    pub server: Shard,
    pub link: Link,
    /// Every step of the server: time and packets. What a replica would be given.
    pub log: Vec<(u64, Vec<Vec<u8>>)>,
    /// Packets that the server has sent, with their times.
    pub sent: Vec<(u64, Vec<u8>)>,
    /// Most packets that one step of the server has emitted.
    pub largest_step: usize,
    next_port: u16,
    /// The client's address and the server's, of what is connected from now on.
    addresses: (Addr, Addr),
}

impl Pair {
    pub fn new(config: Config, quality: Quality, seed: u64) -> Pair {
        Pair::unlike(config.clone(), config, quality, seed)
    }

    pub fn unlike(client: Config, server: Config, quality: Quality, seed: u64) -> Pair {
        let client = Config { isn_key: *b"the client's key", ..client };
        Pair {
            now_us: 1_000_000,
            client: shard(client),
            server: shard(server),
            link: Link::new(quality, seed),
            log: Vec::new(),
            sent: Vec::new(),
            largest_step: 0,
            next_port: 40_000,
            addresses: (CLIENT.into(), SERVER.into()),
        }
    }

    /// New connections are over IPv6 from now on, and begin with the first port again.
    pub fn over_ipv6(mut self) -> Pair {
        self.next_port = 40_000;
        self.addresses = (CLIENT_V6.into(), SERVER_V6.into());
        self
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.now_us)
    }

    /// Opens a connection from the client, on whose side service `index` runs.
    pub fn connect(&mut self, port: u16, index: u16) -> Endpoint {
        self.next_port += 1;
        let (client, server) = self.addresses;
        let (local, remote) = (Endpoint::new(client, self.next_port), Endpoint::new(server, port));
        let mut out = Recorder::default();
        let now = self.now();
        self.client.connect(now, local, remote, index, &mut out).expect("there is room");
        out.packets.into_iter().for_each(|packet| self.link.send(self.now_us, true, packet));
        local
    }

    pub fn step_server(&mut self, packets: Vec<Vec<u8>>) {
        let mut out = Recorder::default();
        let segments: Vec<Segment<'_>> = packets.iter().map(|packet| parse(packet)).collect();
        self.server.step(Instant::from_micros(self.now_us), &segments, &mut out);
        drop(segments);
        self.log.push((self.now_us, packets));
        self.largest_step = self.largest_step.max(out.packets.len());
        for packet in out.packets {
            self.sent.push((self.now_us, packet.clone()));
            self.link.send(self.now_us, false, packet);
        }
    }

    pub fn step_client(&mut self, packets: Vec<Vec<u8>>) {
        let mut out = Recorder::default();
        let segments: Vec<Segment<'_>> = packets.iter().map(|packet| parse(packet)).collect();
        self.client.step(Instant::from_micros(self.now_us), &segments, &mut out);
        out.packets.into_iter().for_each(|packet| self.link.send(self.now_us, true, packet));
    }

    /// Kicks the server as at takeover.
    pub fn kick_server(&mut self) {
        let mut out = Recorder::default();
        super::kick(&mut self.server, Instant::from_micros(self.now_us), &mut out);
        for packet in out.packets {
            self.sent.push((self.now_us, packet.clone()));
            self.link.send(self.now_us, false, packet);
        }
    }

    /// When something happens next.
    pub fn next_event_us(&self) -> Option<u64> {
        let deadline = |shard: &Shard| shard.next_deadline().map(Instant::as_micros);
        [self.link.next_arrival_us(), deadline(&self.client), deadline(&self.server)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Runs until `done` or until `limit_us` of virtual time have passed. True if done.
    pub fn run_until(&mut self, limit_us: u64, mut done: impl FnMut(&Pair) -> bool) -> bool {
        let end = self.now_us + limit_us;
        loop {
            if done(self) {
                return true;
            }
            let Some(next) = self.next_event_us().filter(|&next| next <= end) else {
                self.now_us = end;
                return false;
            };
            self.now_us = self.now_us.max(next);
            let (to_server, to_client): (Vec<_>, Vec<_>) =
                self.link.arrivals(self.now_us).into_iter().partition(|(to_server, _)| *to_server);
            let packets = |list: Vec<(bool, Vec<u8>)>| list.into_iter().map(|(_, p)| p).collect();
            let due = |shard: &Shard, now| shard.next_deadline().is_some_and(|at| at <= now);
            if !to_server.is_empty() || due(&self.server, self.now()) {
                self.step_server(packets(to_server));
            }
            if !to_client.is_empty() || due(&self.client, self.now()) {
                self.step_client(packets(to_client));
            }
        }
    }

    pub fn run(&mut self, us: u64) {
        self.run_until(us, |_| false);
    }

    pub fn of_client(&self, local: Endpoint) -> Option<ConnectionInfo> {
        self.client.connections(0).find(|info| info.flow.local == local)
    }

    pub fn of_server(&self, remote: Endpoint) -> Option<ConnectionInfo> {
        self.server.connections(0).find(|info| info.flow.remote == remote)
    }

    pub fn is_established(&self, local: Endpoint) -> bool {
        let established = |info: Option<ConnectionInfo>| {
            info.is_some_and(|info| info.state == State::Established)
        };
        established(self.of_client(local)) && established(self.of_server(local))
    }
}
