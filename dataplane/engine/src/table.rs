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
