//! Two sessions and a link between them, in virtual time.

use std::collections::BTreeMap;

use super::*;

pub const A: Incarnation = Incarnation(0xa);
pub const B: Incarnation = Incarnation(0xb);

/// SplitMix64: small, seeded, good enough to shake a link.
pub struct Random(u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }
}

pub fn config() -> SessionConfig {
    SessionConfig {
        channel: 3,
        max_datagram: 400,
        window_frames: 64,
        max_batch_bytes: 8_000,
        confirm_every_bytes: 4_000,
        confirm_delay_us: 200,
        retransmit_min_us: 1_000,
        retransmit_max_us: 8_000,
    }
}

pub fn sealed() -> Protection {
    Protection::Sealed(KeyRing::single("lab", b"secret"))
}

pub fn smallest_log(config: &SessionConfig) -> PendingLog {
    PendingLog::new(2 * (config.max_batch_bytes + 12) + 65_535, config.max_batch_bytes)
}

/// Chances in percent of each mishap, and the spread of the delay, which reorders.
#[derive(Clone, Copy, Default)]
pub struct Weather {
    pub lost: usize,
    pub doubled: usize,
    pub damaged: usize,
    pub cut: usize,
    pub replayed: usize,
    pub delay_spread_us: usize,
}

/// Datagrams in flight, by arrival time, then by order of sending.
pub struct Wire {
    pub weather: Weather,
    pub flying: BTreeMap<(u64, u64), (usize, Vec<u8>)>,
    pub past: Vec<(usize, Vec<u8>)>,
    pub sent: u64,
}

impl Wire {
    pub fn new(weather: Weather) -> Wire {
        Wire { weather, flying: BTreeMap::new(), past: Vec::new(), sent: 0 }
    }

    fn send(&mut self, random: &mut Random, now_us: u64, to: usize, mut datagram: Vec<u8>) {
        let weather = self.weather;
        if self.past.len() < 200 {
            self.past.push((to, datagram.clone()));
        }
        if random.percent(weather.lost) {
            return;
        }
        if random.percent(weather.doubled) {
            self.fly(random, now_us, to, datagram.clone());
        }
        if random.percent(weather.replayed) {
            let (to, old) = self.past[random.below(self.past.len())].clone();
            self.fly(random, now_us, to, old);
        }
        if random.percent(weather.damaged) {
            let place = random.below(datagram.len());
            datagram[place] ^= 1 << random.below(8);
        }
        if random.percent(weather.cut) {
            datagram.truncate(random.below(datagram.len()));
        }
        self.fly(random, now_us, to, datagram);
    }

    fn fly(&mut self, random: &mut Random, now_us: u64, to: usize, datagram: Vec<u8>) {
        let delay_us = 20 + random.below(self.weather.delay_spread_us + 1) as u64;
        self.sent += 1;
        self.flying.insert((now_us + delay_us, self.sent), (to, datagram));
    }
}

pub struct Node {
    pub session: Session,
    pub numbers: Numbers,
    pub log: PendingLog,
    pub taken: Vec<(u64, u16, Vec<u8>)>,
}

pub struct Pair {
    pub nodes: [Node; 2],
    pub wire: Wire,
    pub random: Random,
    pub now_us: u64,
}

impl Pair {
    pub fn new(config: SessionConfig, weather: Weather, seed: u64) -> Pair {
        let node = |local, peer| {
            let mut session = Session::new(config);
            session.open(Epoch(1), local, peer, &sealed());
            let (numbers, log) = (Numbers::default(), smallest_log(&config));
            Node { session, numbers, log, taken: Vec::new() }
        };
        Pair {
            nodes: [node(A, B), node(B, A)],
            wire: Wire::new(weather),
            random: Random(seed),
            now_us: 0,
        }
    }

    /// One poll loop of both nodes, 10 µs later. Node `i` applies up to `pops[i]` records.
    pub fn turn(&mut self, pops: [usize; 2]) {
        self.now_us += 10;
        let mut received = [0; 2];
        while let Some(entry) = self.wire.flying.first_entry() {
            if entry.key().0 > self.now_us {
                break;
            }
            let (to, mut datagram) = entry.remove();
            let node = &mut self.nodes[to];
            received[to] += 1;
            // What is refused is the point of some tests; the outcome is checked at the end.
            let _ = node.session.receive(self.now_us, &mut datagram, &mut node.log);
        }
        for (i, node) in self.nodes.iter_mut().enumerate() {
            for _ in 0..pops[i] {
                let Some((position, record)) = node.log.pop_record() else { break };
                node.taken.push((position.0, record.shard, record.body.to_vec()));
            }
            let (wire, random, now_us) = (&mut self.wire, &mut self.random, self.now_us);
            let idle = received[i] == 0;
            let Node { session, numbers, log, .. } = node;
            session.poll_transmit(now_us, idle, log, numbers, &mut |sending| {
                wire.send(random, now_us, 1 - i, sending.to_vec());
                true
            });
        }
    }

    /// Appends one random batch at node `from`, if the window lets it. Records of it go to `all`.
    pub fn append_batch(&mut self, from: usize, all: &mut Vec<(u64, u16, Vec<u8>)>) {
        let session = &mut self.nodes[from].session;
        for _ in 0..1 + self.random.below(6) {
            let size = match self.random.below(10) {
                0 => 0,
                1..=7 => self.random.below(300),
                _ => self.random.below(4_000),
            };
            if session.room() < HEADER_BYTES + size {
                break;
            }
            let body: Vec<u8> = (0..size).map(|_| self.random.next() as u8).collect();
            let shard = self.random.below(7) as u16;
            let (one, two) = body.split_at(size / 3);
            let position = session
                .append(shard, RecordKind::Input, &[one, two])
                .expect("room() keeps its promise");
            all.push((position.0, shard, body));
        }
        session.close_batch();
    }

    pub fn settled(&self, pops: [usize; 2]) -> bool {
        let confirmed = self.nodes.iter().all(|node| node.session.all_confirmed());
        confirmed && (0..2).all(|i| pops[i] == 0 || self.nodes[i].log.is_empty())
    }
}
