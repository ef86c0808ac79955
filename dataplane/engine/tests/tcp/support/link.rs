//! A link in virtual time that loses, delays, reorders and duplicates by seeded chance.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Chance;

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

/// Arrival time, order of sending, direction (to the server?), packet.
type Flight = (u64, u64, bool, Vec<u8>);

pub struct Link {
    pub quality: Quality,
    chance: Chance,
    on_the_way: BinaryHeap<Reverse<Flight>>,
    sent: u64,
    pub lost: u64,
}

impl Link {
    pub fn new(quality: Quality, seed: u64) -> Link {
        Link { quality, chance: Chance(seed), on_the_way: BinaryHeap::new(), sent: 0, lost: 0 }
    }

    pub fn send(&mut self, now_us: u64, to_server: bool, packet: Vec<u8>) {
        let quality = self.quality;
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
