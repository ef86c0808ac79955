//! A link in virtual time that loses, delays, reorders and duplicates by seeded chance.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use engine::wire::checksum::checksum;

use super::Chance;

/// The ECN bits of IPv4's second byte; all of them set: congestion experienced.
const ECN: u8 = 0b11;

#[derive(Clone, Copy)]
pub struct Quality {
    pub delay_us: u64,
    pub loss_permille: u64,
    pub reorder_permille: u64,
    pub duplicate_permille: u64,
}

impl Quality {
    pub fn perfect(delay_us: u64) -> Quality {
        Quality { delay_us, loss_permille: 0, reorder_permille: 0, duplicate_permille: 0 }
    }

    pub fn lossy(delay_us: u64, loss_permille: u64) -> Quality {
        Quality { loss_permille, ..Quality::perfect(delay_us) }
    }
}

/// A bottleneck in each direction, with a queue before it.
#[derive(Clone, Copy)]
pub struct Shape {
    pub rate_bps: u64,
    pub queue_bytes: u64,
    /// From this queue on, packets that allow it are marked instead of waiting for the queue to
    /// overflow (RFC 3168 5).
    pub mark_bytes: Option<u64>,
}

/// Arrival time, order of sending, direction (to the server?), packet.
type Flight = (u64, u64, bool, Vec<u8>);

pub struct Link {
    pub quality: Quality,
    pub shape: Option<Shape>,
    /// Larger packets are lost, in both directions.
    pub mtu: usize,
    chance: Chance,
    on_the_way: BinaryHeap<Reverse<Flight>>,
    sent: u64,
    pub lost: u64,
    /// Of these, the ones that were too large, for whoever wants to tell their sender.
    pub too_large: Vec<(bool, Vec<u8>)>,
    pub marked: u64,
    /// When each direction's bottleneck has nothing left to send.
    free_ns: [u64; 2],
}

impl Link {
    pub fn new(quality: Quality, seed: u64) -> Link {
        Link {
            quality,
            shape: None,
            mtu: usize::MAX,
            chance: Chance(seed),
            on_the_way: BinaryHeap::new(),
            sent: 0,
            lost: 0,
            too_large: Vec::new(),
            marked: 0,
            free_ns: [0; 2],
        }
    }

    pub fn send(&mut self, now_us: u64, to_server: bool, mut packet: Vec<u8>) {
        let quality = self.quality;
        if packet.len() > self.mtu {
            self.lost += 1;
            self.too_large.push((to_server, packet));
            return;
        }
        let Some(now_us) = self.queue(now_us, to_server, &mut packet) else {
            self.lost += 1;
            return;
        };
        if self.chance.permille(quality.loss_permille) {
            self.lost += 1;
            return;
        }
        let copies = 1 + u64::from(self.chance.permille(quality.duplicate_permille));
        for _ in 0..copies {
            let late = self.chance.permille(quality.reorder_permille);
            let extra_us = if late { 1 + self.chance.below(quality.delay_us + 1) } else { 0 };
            self.sent += 1;
            let at = now_us + quality.delay_us + extra_us;
            self.on_the_way.push(Reverse((at, self.sent, to_server, packet.clone())));
        }
    }

    /// When the packet has passed the bottleneck; `None` if the queue is full.
    fn queue(&mut self, now_us: u64, to_server: bool, packet: &mut [u8]) -> Option<u64> {
        let Some(shape) = self.shape else { return Some(now_us) };
        let (now_ns, len) = (now_us * 1000, packet.len() as u64);
        let free_ns = &mut self.free_ns[usize::from(to_server)];
        let waiting = free_ns.saturating_sub(now_ns) * shape.rate_bps / 8_000_000_000;
        if waiting + len > shape.queue_bytes {
            return None;
        }
        let ipv6 = packet[0] >> 4 == 6;
        let ecn = if ipv6 { ECN << 4 } else { ECN };
        if shape.mark_bytes.is_some_and(|mark| waiting > mark) && packet[1] & ecn != 0 {
            packet[1] |= ecn;
            if !ipv6 {
                packet[10..12].fill(0);
                let sum = checksum(&packet[..20]);
                packet[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            self.marked += 1;
        }
        *free_ns = now_ns.max(*free_ns) + len * 8_000_000_000 / shape.rate_bps;
        Some(free_ns.div_ceil(1000))
    }

    pub fn next_arrival_us(&self) -> Option<u64> {
        self.on_the_way.peek().map(|Reverse((at, ..))| *at)
    }

    /// All packets that arrive until `now_us`, as (to the server?, packet).
    pub fn arrivals(&mut self, now_us: u64) -> Vec<(bool, Vec<u8>)> {
        let mut arrived = Vec::new();
        while self.next_arrival_us().is_some_and(|at| at <= now_us) {
            if let Some(Reverse((_, _, to_server, packet))) = self.on_the_way.pop() {
                arrived.push((to_server, packet));
            }
        }
        arrived
    }

    /// Loses everything that is on the way in one direction.
    pub fn cut(&mut self, to_server: bool) {
        self.on_the_way.retain(|Reverse((_, _, direction, _))| *direction != to_server);
    }
}
