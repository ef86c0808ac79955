//! The wire under the shard: what has left, as the system looks like whose scripts run. Two things
//! differ between systems and say nothing about TCP, but scripts compare them: the order of options
//! in a SYN, and PSH on the last segment of a burst, where Linux' large segments end.

use std::collections::{BTreeMap, VecDeque};

use engine::egress::{Egress, Outgoing};
use engine::time::Instant;
use engine::wire::checksum;

use crate::order;
use crate::settings::Habits;

const PORTS_LEN: usize = 4;
const SEQ_AT: usize = 4;
const FLAGS_AT: usize = 13;
const PSH: u8 = 8;

/// A packet that has left.
#[derive(Debug)]
pub struct Packet {
    /// When.
    pub at: Instant,
    /// From the IP header on, with checksums.
    pub bytes: Vec<u8>,
}

/// What has left and was not looked at, oldest first.
#[derive(Debug)]
pub struct Wire {
    at: Instant,
    habits: Habits,
    /// What the running step has sent so far.
    fresh: Vec<Fresh>,
    packets: VecDeque<Packet>,
    /// Where the data of each pair of ports ends that has left: what is below was sent before.
    ends: BTreeMap<[u8; PORTS_LEN], u32>,
}

/// A packet whose checksums are missing.
#[derive(Debug)]
struct Fresh {
    header: Vec<u8>,
    ip_header_len: usize,
    payload: Vec<u8>,
}

impl Fresh {
    fn tcp(&self) -> &[u8] {
        &self.header[self.ip_header_len..]
    }

    fn seq(&self) -> u32 {
        let bytes = self.tcp()[SEQ_AT..].first_chunk().copied().unwrap_or_default();
        u32::from_be_bytes(bytes)
    }

    fn end(&self) -> u32 {
        self.seq().wrapping_add(self.payload.len() as u32)
    }

    /// Whether `next` carries on where this one ends.
    fn is_followed_by(&self, next: &Fresh) -> bool {
        !self.payload.is_empty()
            && !next.payload.is_empty()
            && self.tcp()[..PORTS_LEN] == next.tcp()[..PORTS_LEN]
            && next.seq() == self.end()
    }
}

impl Wire {
    /// An empty one.
    #[must_use]
    pub fn new(habits: Habits) -> Wire {
        Wire {
            at: Instant::ZERO,
            habits,
            fresh: Vec::new(),
            packets: VecDeque::new(),
            ends: BTreeMap::new(),
        }
    }

    /// Sets when the packets leave that come from now on.
    pub fn set_time(&mut self, at: Instant) {
        self.at = at;
    }

    /// Takes the oldest packet.
    pub fn take(&mut self) -> Option<Packet> {
        self.packets.pop_front()
    }

    /// The step is over: what it has sent leaves.
    pub fn finish(&mut self) {
        if self.habits == Habits::Linux {
            self.mark_bursts();
        }
        for Fresh { mut header, ip_header_len, payload } in self.fresh.drain(..) {
            if self.habits == Habits::FreeBsd {
                order::as_freebsd(&mut header, ip_header_len);
            }
            checksum::finish_tcp(&mut header, ip_header_len, &[&payload]);
            header.extend_from_slice(&payload);
            self.packets.push_back(Packet { at: self.at, bytes: header });
        }
    }

    /// Marks the last segment of each burst of new data. Linux does so with large segments, which
    /// are not sent again as such.
    fn mark_bursts(&mut self) {
        let mut burst = 0;
        for at in 0..self.fresh.len() {
            let packet = &self.fresh[at];
            let Some(ports) = packet.tcp().first_chunk().copied() else { continue };
            let before = self.ends.get(&ports).copied().unwrap_or(packet.seq());
            let is_new = (packet.seq().wrapping_sub(before) as i32) >= 0;
            if is_new {
                self.ends.insert(ports, packet.end());
            }
            let goes_on = self.fresh.get(at + 1).is_some_and(|next| packet.is_followed_by(next));
            burst = if is_new && !packet.payload.is_empty() { burst + 1 } else { 0 };
            if goes_on {
                continue;
            }
            if burst > 1 {
                let packet = &mut self.fresh[at];
                packet.header[packet.ip_header_len + FLAGS_AT] |= PSH;
            }
            burst = 0;
        }
    }
}

impl Egress for Wire {
    const WANTS_PAYLOAD: bool = true;

    fn emit(&mut self, packet: &Outgoing<'_>) {
        self.fresh.push(Fresh {
            header: packet.header.to_vec(),
            ip_header_len: packet.ip_header_len.into(),
            payload: packet.payload.concat(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(port: u8, seq: u8, len: usize) -> Fresh {
        let mut header = vec![0; 40];
        (header[0], header[21], header[27]) = (0x45, port, seq);
        Fresh { header, ip_header_len: 20, payload: vec![0; len] }
    }

    fn pushed(wire: &mut Wire, packets: Vec<Fresh>) -> Vec<bool> {
        wire.fresh = packets;
        wire.finish();
        let packets = std::iter::from_fn(|| wire.take());
        packets.map(|packet| packet.bytes[20 + FLAGS_AT] & PSH != 0).collect()
    }

    #[test]
    fn the_last_segment_of_a_burst_is_pushed_once_and_a_lone_one_is_not() {
        let mut wire = Wire::new(Habits::Linux);
        let burst =
            || vec![packet(1, 0, 10), packet(1, 10, 10), packet(2, 20, 5), packet(1, 20, 0)];
        assert_eq!(pushed(&mut wire, burst()), [false, true, false, false]);
        assert_eq!(pushed(&mut wire, burst()), [false; 4]);
        assert_eq!(pushed(&mut Wire::new(Habits::FreeBsd), burst()), [false; 4]);
    }
}
