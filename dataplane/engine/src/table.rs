//! Finds a connection's id by its packet's flow hash.

use hashbrown::HashTable;
use thiserror::Error;

use crate::addr::Flow;

/// Connection ids by flow, of a fixed capacity.
///
/// The flow itself stays with the connection: the caller compares. The table mixes a secret into
/// the packet's hash, since anybody can choose ports and addresses that collide in the latter
/// (and it has only 65,536 values, see [`crate::hash`]).
#[derive(Clone, Debug)]
pub struct FlowTable {
    entries: HashTable<Entry>,
    capacity: usize,
    secret: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: u32,
    id: u32,
}

/// The table holds as many flows as it was made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the flow table is full")]
pub struct TableFull;

impl FlowTable {
    /// An empty table for at most `capacity` flows. `secret` must be the same on all nodes.
    pub fn with_capacity(capacity: usize, secret: u64) -> FlowTable {
        // With twice the room the table never grows: it clears its tombstones in place instead.
        FlowTable { entries: HashTable::with_capacity(capacity * 2), capacity, secret }
    }

    /// The id that was inserted for this flow. `is_flow` tells whether the connection with an id
    /// has this flow; it is asked for few ids besides the right one.
    #[inline]
    pub fn find(
        &self,
        hash: u32,
        flow: &Flow,
        mut is_flow: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let key = self.key(hash, flow);
        self.entries
            .find(spread(key), |entry| entry.key == key && is_flow(entry.id))
            .map(|entry| entry.id)
    }

    /// Adds a flow that is not in the table.
    pub fn insert(&mut self, hash: u32, flow: &Flow, id: u32) -> Result<(), TableFull> {
        if self.entries.len() == self.capacity {
            return Err(TableFull);
        }
        let key = self.key(hash, flow);
        self.entries.insert_unique(spread(key), Entry { key, id }, |entry| spread(entry.key));
        Ok(())
    }

    /// Removes the flow that was inserted with `id`; false if it was not there.
    pub fn remove(&mut self, hash: u32, flow: &Flow, id: u32) -> bool {
        let key = self.key(hash, flow);
        match self.entries.find_entry(spread(key), |entry| entry.id == id) {
            Ok(entry) => {
                entry.remove();
                true
            }
            Err(_) => false,
        }
    }

    /// How many flows it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of memory that the table takes.
    pub fn memory_bytes(&self) -> usize {
        self.entries.allocation_size()
    }

    #[inline]
    fn key(&self, hash: u32, flow: &Flow) -> u32 {
        let [.., a, b, c, d] = flow.remote.addr.octets();
        let remote = u64::from(u32::from_be_bytes([a, b, c, d])) << 32;
        let ports = u64::from(flow.remote.port) << 16 | u64::from(flow.local.port);
        let input = (remote | ports) ^ self.secret;
        // The high half of a 128-bit product depends on every bit of both factors.
        let product = u128::from(input) * u128::from(self.secret ^ u64::from(hash) | 1 << 63);
        let mixed = ((product >> 64) as u64 ^ product as u64).wrapping_mul(GOLDEN);
        (mixed >> 32) as u32
    }
}

/// 2^64 divided by the golden ratio: multiplying by it spreads neighbours apart.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The table takes its buckets from low bits and its tags from high ones.
#[inline]
fn spread(key: u32) -> u64 {
    let product = u64::from(key).wrapping_mul(GOLDEN);
    product ^ product >> 32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::addr::{Addr, Endpoint};
    use crate::hash::flow_hash;

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
