//! A first-in, first-out queue of bytes in pool blocks.

use super::Held;
use super::pool::{BLOCK_BYTES, Pool};
use super::slab::NONE;
use crate::snapshot::{Reader, SnapshotError, Writer};

/// Bytes in a list of blocks; 12 bytes of its own. Clear it before dropping it.
#[derive(Debug)]
#[must_use = "a chain that is dropped keeps its blocks for ever"]
pub struct Chain {
    head: u32,
    tail: u32,
    len: u32,
}

impl Default for Chain {
    fn default() -> Chain {
        Chain::new()
    }
}

impl Chain {
    /// No bytes, no blocks.
    #[inline]
    pub const fn new() -> Chain {
        Chain { head: NONE, tail: NONE, len: 0 }
    }

    /// How many bytes it holds.
    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether it holds none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many blocks it holds.
    pub fn blocks(&self, pool: &Pool) -> u32 {
        let (mut count, mut block) = (0, self.head);
        while block != NONE {
            count += 1;
            block = pool.next(block);
        }
        count
    }

    /// Adds bytes at the end; returns how many the pool had room for.
    #[inline]
    pub fn push(&mut self, pool: &mut Pool, bytes: &[u8]) -> usize {
        let mut taken = 0;
        if self.tail != NONE {
            taken = pool.fill_back(self.tail, bytes);
        }
        while taken < bytes.len() {
            let Some(block) = pool.allocate(0) else { break };
            taken += pool.fill_back(block, &bytes[taken..]);
            self.link_back(pool, block);
        }
        self.len += taken as u32;
        taken
    }

    /// Adds bytes before the first; returns how many of them, counted from their end, the pool had
    /// room for.
    pub fn push_front(&mut self, pool: &mut Pool, bytes: &[u8]) -> usize {
        let mut left = bytes;
        while !left.is_empty() {
            if self.head == NONE || pool.start(self.head) == 0 {
                // Filled from its end on, so that many small additions share it.
                let Some(block) = pool.allocate(BLOCK_BYTES) else { break };
                pool.link(block, self.head);
                self.head = block;
                self.tail = if self.tail == NONE { block } else { self.tail };
            }
            let taken = pool.fill_front(self.head, left);
            left = &left[..left.len() - taken];
        }
        let taken = bytes.len() - left.len();
        self.len += taken as u32;
        taken
    }

    /// Moves the bytes of `other` behind its own without copying more than one block.
    #[inline]
    pub fn append(&mut self, pool: &mut Pool, mut other: Chain) {
        if other.is_empty() {
            return;
        }
        self.len += other.len;
        // Merging what fits keeps blocks at least half full on the average, whatever pieces the
        // network brings.
        if self.tail != NONE && pool.merge(self.tail, other.head) {
            other.head = pool.release(other.head);
        }
        if other.head == NONE {
            return;
        }
        if self.tail == NONE {
            self.head = other.head;
        } else {
            pool.link(self.tail, other.head);
        }
        self.tail = other.tail;
    }

    /// The first run of bytes that lie together; empty only if the chain is.
    #[inline]
    pub fn front<'a>(&self, pool: &'a Pool) -> &'a [u8] {
        if self.head == NONE { &[] } else { pool.bytes(self.head) }
    }

    /// The bytes from `offset` on, in runs.
    #[inline]
    pub fn slices<'a>(&self, pool: &'a Pool, offset: usize) -> impl Iterator<Item = &'a [u8]> {
        let mut block = self.head;
        let mut skip = offset;
        std::iter::from_fn(move || {
            while block != NONE {
                let bytes = pool.bytes(block);
                block = pool.next(block);
                if skip < bytes.len() {
                    return Some(&bytes[std::mem::take(&mut skip)..]);
                }
                skip -= bytes.len();
            }
            None
        })
    }

    /// Copies bytes from `offset` on without consuming them; returns how many there were.
    #[inline]
    pub fn peek(&self, pool: &Pool, offset: usize, into: &mut [u8]) -> usize {
        let mut copied = 0;
        for slice in self.slices(pool, offset) {
            let n = slice.len().min(into.len() - copied);
            into[copied..copied + n].copy_from_slice(&slice[..n]);
            copied += n;
            if copied == into.len() {
                break;
            }
        }
        copied
    }

    /// Drops the first `n` bytes and frees the blocks that this empties.
    ///
    /// # Panics
    /// If it holds fewer.
    #[inline]
    pub fn consume(&mut self, pool: &mut Pool, n: usize) {
        assert!(n <= self.len(), "{n} bytes consumed of {}", self.len);
        let mut left = n;
        while left > 0 {
            let len = pool.len(self.head);
            if left < len {
                pool.trim_front(self.head, left);
                break;
            }
            left -= len;
            self.head = pool.release(self.head);
        }
        self.len -= n as u32;
        if self.head == NONE {
            self.tail = NONE;
        }
    }

    /// Drops all bytes.
    pub fn clear(&mut self, pool: &mut Pool) {
        self.consume(pool, self.len());
    }

    /// Adds the blocks that it holds.
    pub(crate) fn count(&self, pool: &Pool, held: &mut Held) {
        held.blocks += self.slices(pool, 0).count() as u32;
    }

    /// Appends the bytes, and how they lie in blocks, to a snapshot.
    pub fn save(&self, pool: &Pool, out: &mut Writer<'_>) {
        let mut block = self.head;
        while block != NONE {
            save_block(pool, block, out);
            block = pool.next(block);
        }
        out.u16(END_OF_CHAIN);
    }

    /// Reads what [`Chain::save`] wrote into blocks of `pool`, as many as the original had.
    pub fn restore(pool: &mut Pool, input: &mut Reader<'_>) -> Result<Chain, SnapshotError> {
        let mut chain = Chain::new();
        loop {
            let start = input.u16("start of a block")?;
            if start == END_OF_CHAIN {
                return Ok(chain);
            }
            let block = restore_block(pool, start, input)?;
            let len = chain.len.checked_add(pool.len(block) as u32);
            chain.len = len.ok_or_else(|| input.invalid("length of a chain", u64::MAX))?;
            chain.link_back(pool, block);
        }
    }

    #[inline]
    fn link_back(&mut self, pool: &mut Pool, block: u32) {
        if self.tail == NONE {
            self.head = block;
        } else {
            pool.link(self.tail, block);
        }
        self.tail = block;
    }
}

/// Stands where the start of one more block would.
const END_OF_CHAIN: u16 = u16::MAX;

/// Writes where in the block its bytes start, their number and the bytes.
pub(super) fn save_block(pool: &Pool, block: u32, out: &mut Writer<'_>) {
    out.u16(pool.start(block) as u16);
    out.u16(pool.len(block) as u16);
    out.raw(pool.bytes(block));
}

/// Reads the rest of what [`save_block`] wrote after `start`.
pub(super) fn restore_block(
    pool: &mut Pool,
    start: u16,
    input: &mut Reader<'_>,
) -> Result<u32, SnapshotError> {
    let len = input.u16("length of a block")?;
    if len == 0 || usize::from(start) + usize::from(len) > BLOCK_BYTES {
        return Err(input.invalid("block", u64::from(start) << 16 | u64::from(len)));
    }
    let bytes = input.raw(len.into(), "a block's bytes")?;
    let block =
        pool.allocate(start.into()).ok_or(SnapshotError::Capacity { what: "buffer blocks" })?;
    pool.fill_back(block, bytes);
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Op {
        Push(Vec<u8>),
        PushFront(Vec<u8>),
        Append(Vec<u8>),
        Consume(usize),
        Reload,
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20),
            prop::collection::vec(any::<u8>(), 0..5000)
        ]
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            bytes().prop_map(Op::Push),
            bytes().prop_map(Op::PushFront),
            bytes().prop_map(Op::Append),
            (0usize..6000).prop_map(Op::Consume),
            Just(Op::Reload),
        ];
        prop::collection::vec(op, 0..40)
    }

    fn reload(chain: &Chain, pool: &Pool) -> (Chain, Pool) {
        let mut saved = Vec::new();
        chain.save(pool, &mut Writer::new(&mut saved));
        let mut restored_pool = Pool::new(pool.capacity());
        let mut reader = Reader::new(&saved);
        let restored = Chain::restore(&mut restored_pool, &mut reader).unwrap();
        reader.finish().unwrap();
        assert_eq!(restored_pool.used(), pool.used());
        (restored, restored_pool)
    }

    proptest! {
        #[test]
        fn behaves_like_a_vec(ops in ops()) {
            let mut pool = Pool::new(12);
            let (mut chain, mut model) = (Chain::new(), Vec::new());
            for op in ops {
                match op {
                    Op::Push(bytes) => {
                        let n = chain.push(&mut pool, &bytes);
                        prop_assert!(n == bytes.len() || pool.free() == 0);
                        model.extend_from_slice(&bytes[..n]);
                    }
                    Op::PushFront(bytes) => {
                        let n = chain.push_front(&mut pool, &bytes);
                        prop_assert!(n == bytes.len() || pool.free() == 0);
                        model.splice(0..0, bytes[bytes.len() - n..].iter().copied());
                    }
                    Op::Append(bytes) => {
                        let mut other = Chain::new();
                        let n = other.push(&mut pool, &bytes);
                        chain.append(&mut pool, other);
                        model.extend_from_slice(&bytes[..n]);
                    }
                    Op::Consume(n) => {
                        let n = n.min(model.len());
                        chain.consume(&mut pool, n);
                        model.drain(..n);
                    }
                    Op::Reload => (chain, pool) = reload(&chain, &pool),
                }
                prop_assert_eq!(chain.len(), model.len());
                let all: Vec<&[u8]> = chain.slices(&pool, 0).collect();
                prop_assert_eq!(all.concat(), model.clone());
                let half = model.len() / 2;
                let mut peeked = vec![0; 3000];
                let n = chain.peek(&pool, half, &mut peeked);
                prop_assert_eq!(n, 3000.min(model.len() - half));
                prop_assert_eq!(&peeked[..n], &model[half..half + n]);
            }
            chain.clear(&mut pool);
            prop_assert_eq!(pool.used(), 0);
        }

        #[test]
        fn restoring_any_bytes_is_safe(bytes in prop::collection::vec(0u8..4, 0..200)) {
            let _ = Chain::restore(&mut Pool::new(4), &mut Reader::new(&bytes));
        }
    }

    #[test]
    fn single_bytes_share_blocks_from_whichever_side_they_come() {
        let mut pool = Pool::new(8);
        let mut chain = Chain::new();
        for i in 0..3000 {
            let n = if i % 2 == 0 {
                chain.push(&mut pool, &[1])
            } else {
                chain.push_front(&mut pool, &[2])
            };
            assert_eq!(n, 1);
        }
        assert!(pool.used() <= 3, "{} blocks", pool.used());
    }
}
