//! Finds a connection's id by its packet's flow hash.

use thiserror::Error;

use crate::addr::Flow;
use crate::hash::GOLDEN;

/// Connection ids by flow, of a fixed capacity: 12 bytes for each.
///
/// The flow itself stays with the connection: the caller compares. The table mixes a secret into
/// the packet's hash, since anybody can choose ports and addresses that collide in the latter
/// (and it has only 65,536 values, see [`crate::hash`]).
///
/// An entry lies in the bucket that its key names, or in the first free one behind it; at least
/// a third of all buckets is free. So a look-up mostly reads one line of the cache.
#[derive(Clone, Debug)]
pub struct FlowTable {
    /// Entries as [`entry`] makes them, or [`FREE`]. Memory that was never used is all zeros.
    buckets: Vec<u64>,
    len: usize,
    capacity: usize,
    secret: u64,
}

const FREE: u64 = 0;

/// Key and id as one number, which is never [`FREE`].
#[inline]
fn entry(key: u32, id: u32) -> u64 {
    u64::from(key) << 32 | u64::from(id + 1)
}

#[inline]
fn key_of(entry: u64) -> u32 {
    (entry >> 32) as u32
}

#[inline]
fn id_of(entry: u64) -> u32 {
    entry as u32 - 1
}

/// The table holds as many flows as it was made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the flow table is full")]
pub struct TableFull;

impl FlowTable {
    /// An empty table for at most `capacity` flows. `secret` must be the same on all nodes.
    pub fn with_capacity(capacity: usize, secret: u64) -> FlowTable {
        FlowTable { buckets: vec![FREE; capacity + capacity.div_ceil(2)], len: 0, capacity, secret }
    }

    /// The id that was inserted for this flow. `is_flow` tells whether the connection with an id
    /// has this flow; it is asked for few ids besides the right one.
    #[inline(always)]
    pub fn find(
        &self,
        hash: u32,
        flow: &Flow,
        mut is_flow: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let key = self.key(hash, flow);
        self.probe(key, &mut is_flow).map(|at| id_of(self.buckets[at]))
    }

    /// Adds a flow that is not in the table. `u32::MAX` is no id.
    pub fn insert(&mut self, hash: u32, flow: &Flow, id: u32) -> Result<(), TableFull> {
        if self.len == self.capacity {
            return Err(TableFull);
        }
        let key = self.key(hash, flow);
        let mut at = self.home(key);
        while self.buckets[at] != FREE {
            at = self.behind(at);
        }
        self.buckets[at] = entry(key, id);
        self.len += 1;
        Ok(())
    }

    /// Removes the flow that was inserted with `id`; false if it was not there.
    pub fn remove(&mut self, hash: u32, flow: &Flow, id: u32) -> bool {
        let key = self.key(hash, flow);
        let Some(mut free) = self.probe(key, |other| other == id) else { return false };
        self.len -= 1;
        // Whatever had to go past the bucket that is now free may have to come back.
        let mut at = self.behind(free);
        while self.buckets[at] != FREE {
            let home = self.home(key_of(self.buckets[at]));
            if self.distance(home, at) >= self.distance(free, at) {
                self.buckets[free] = self.buckets[at];
                free = at;
            }
            at = self.behind(at);
        }
        self.buckets[free] = FREE;
        true
    }

    /// How many flows it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory that the table takes.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&self.buckets[..])
    }

    /// The bucket of an entry with this key and an id that `is_it` accepts.
    #[inline]
    fn probe(&self, key: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<usize> {
        let mut at = self.home(key);
        loop {
            match self.buckets[at] {
                FREE => return None,
                entry if key_of(entry) == key && is_it(id_of(entry)) => return Some(at),
                _ => at = self.behind(at),
            }
        }
    }

    /// The bucket that a key names.
    #[inline]
    fn home(&self, key: u32) -> usize {
        ((u64::from(key) * self.buckets.len() as u64) >> 32) as usize
    }

    /// The next bucket; the first one follows the last.
    #[inline]
    fn behind(&self, at: usize) -> usize {
        if at + 1 == self.buckets.len() { 0 } else { at + 1 }
    }

    /// How many buckets `to` lies behind `from`.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.buckets.len() - from }
    }

    #[inline]
    fn key(&self, hash: u32, flow: &Flow) -> u32 {
        let [.., a, b, c, d] = flow.remote.addr.octets();
        let remote = u64::from(u32::from_be_bytes([a, b, c, d])) << 32;
        let ports = u64::from(flow.remote.port) << 16 | u64::from(flow.local.port);
        let mut input = (remote | ports) ^ self.secret;
        if !flow.remote.addr.is_ipv4() {
            input ^= self.mix_ipv6(flow);
        }
        // The high half of a 128-bit product depends on every bit of both factors.
        let product = u128::from(input) * u128::from(self.secret ^ u64::from(hash) | 1 << 63);
        let mixed = ((product >> 64) as u64 ^ product as u64).wrapping_mul(GOLDEN);
        (mixed >> 32) as u32
    }

    /// A peer has 2^64 addresses to choose from, so all of each address must count, and nobody may
    /// know how.
    fn mix_ipv6(&self, flow: &Flow) -> u64 {
        let remote = u128::from_be_bytes(flow.remote.addr.octets());
        let [high, low] = [(remote >> 64) as u64, remote as u64];
        let product = u128::from(high ^ self.secret)
            * u128::from(low ^ self.secret.rotate_left(32).wrapping_mul(GOLDEN));
        (product >> 64) as u64 ^ product as u64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::addr::{Addr, Endpoint};
    use crate::hash::flow_hash;
    use crate::tcp::isn::table_secret;

    fn flow(remote: u32, port: u16) -> Flow {
        Flow {
            local: Endpoint::new(Addr::from_ipv4_octets([10, 0, 0, 1]), 80),
            remote: Endpoint::new(Addr::from_ipv4_octets(remote.to_be_bytes()), port),
        }
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(
            secret: u64, ops in prop::collection::vec((any::<bool>(), 0u32..4, 0u16..8), 0..400)
        ) {
            let mut table = FlowTable::with_capacity(16, secret);
            let (mut flows, mut model) = (Vec::new(), BTreeMap::new());
            for (add, remote, port) in ops {
                let flow = flow(remote, port);
                let hash = flow_hash(&flow);
                let found = table.find(hash, &flow, |id| flows[id as usize] == flow);
                prop_assert_eq!(found, model.get(&flow).copied());
                match (add, found) {
                    (true, None) => {
                        let id = flows.len() as u32;
                        flows.push(flow);
                        let full = model.len() == 16;
                        prop_assert_eq!(table.insert(hash, &flow, id).is_err(), full);
                        if !full {
                            model.insert(flow, id);
                        }
                    }
                    (false, Some(id)) => {
                        prop_assert!(table.remove(hash, &flow, id));
                        prop_assert!(!table.remove(hash, &flow, id));
                        model.remove(&flow);
                    }
                    _ => {}
                }
                prop_assert_eq!(table.len(), model.len());
            }
        }
    }

    #[test]
    fn flows_of_equal_hash_are_told_apart_without_asking_for_each() {
        let mut table = FlowTable::with_capacity(10_000, 42);
        // The flow hash sees only the XOR of both, so these are all the same to it.
        let flows: Vec<Flow> = (0..10_000).map(|i| flow(i, 1000 ^ i as u16)).collect();
        for (id, flow) in flows.iter().enumerate() {
            assert_eq!(flow_hash(flow), flow_hash(&flows[0]));
            table.insert(flow_hash(flow), flow, id as u32).unwrap();
        }
        let mut asked = 0;
        for (id, flow) in flows.iter().enumerate() {
            let found = table.find(flow_hash(flow), flow, |other| {
                asked += 1;
                flows[other as usize] == *flow
            });
            assert_eq!(found, Some(id as u32));
        }
        assert!(asked < 10_100, "{asked} comparisons for 10000 flows");
    }

    #[test]
    fn addresses_of_one_network_that_look_alike_to_the_hash_are_told_apart() {
        let mut table = FlowTable::with_capacity(10_000, table_secret(&[7; 16]));
        // The same last 32 bits, and words before them that cancel out.
        let flows: Vec<Flow> = (0..10_000u16)
            .map(|i| {
                let remote = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, i, i, 0, 1);
                Flow { remote: Endpoint::new(remote, 1024), ..flow(0, 0) }
            })
            .collect();
        for (id, flow) in flows.iter().enumerate() {
            assert_eq!(flow_hash(flow), flow_hash(&flows[0]));
            table.insert(flow_hash(flow), flow, id as u32).unwrap();
        }
        let mut asked = 0;
        for (id, flow) in flows.iter().enumerate() {
            let found = table.find(flow_hash(flow), flow, |other| {
                asked += 1;
                flows[other as usize] == *flow
            });
            assert_eq!(found, Some(id as u32));
        }
        assert!(asked < 10_100, "{asked} comparisons for 10000 flows");
    }

    #[test]
    fn neighbouring_flows_do_not_crowd_a_full_table() {
        let patterns: [fn(u32) -> Flow; 3] = [
            |i| flow(0x0a00_0001 + i / 60_000, (1024 + i % 60_000) as u16),
            |i| flow(0x0a00_0001 + i, 1024),
            |i| flow(0x0a00_0001 + (i << 8), (i ^ 1024) as u16),
        ];
        for (key, pattern) in (0..9).zip(patterns.iter().cycle()) {
            let mut table = FlowTable::with_capacity(10_000, table_secret(&[key; 16]));
            for id in 0..10_000 {
                let flow = pattern(id);
                table.insert(flow_hash(&flow), &flow, id).unwrap();
            }
            let used = (0..table.buckets.len()).filter(|&at| table.buckets[at] != FREE);
            let far = used.map(|at| table.distance(table.home(key_of(table.buckets[at])), at));
            // One bucket each is what chance gives at two thirds full.
            assert!(far.sum::<usize>() < 15_000);
        }
    }

    #[test]
    fn memory_stays_the_same_through_any_number_of_flows() {
        let mut table = FlowTable::with_capacity(100, 1);
        let before = table.memory_bytes();
        for i in 0..10_000u32 {
            let new = flow(i, 1);
            table.insert(flow_hash(&new), &new, i).unwrap();
            if let Some(old) = i.checked_sub(99) {
                let flow = flow(old, 1);
                assert!(table.remove(flow_hash(&flow), &flow, old));
            }
        }
        assert_eq!((table.memory_bytes(), table.len()), (before, 99));
    }
}
