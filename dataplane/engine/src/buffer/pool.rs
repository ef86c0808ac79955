//! Blocks of bytes.

use super::slab::Slab;

/// Size of a block.
pub const BLOCK_BYTES: usize = 2048;

/// A fixed number of blocks in one allocation, which the operating system backs with memory only
/// as blocks are used. The block freed last is used first, so that few stay warm.
#[derive(Debug)]
pub struct Pool {
    fills: Slab<Fill>,
    memory: Vec<u8>,
}

/// The part of a block that holds bytes.
#[derive(Clone, Copy, Debug)]
struct Fill {
    start: u16,
    len: u16,
}

impl Pool {
    /// A pool of `blocks` free blocks.
    pub fn new(blocks: u32) -> Pool {
        Pool { fills: Slab::new(blocks), memory: vec![0; blocks as usize * BLOCK_BYTES] }
    }

    /// How many blocks there are.
    pub fn capacity(&self) -> u32 {
        self.fills.capacity()
    }

    /// How many blocks hold bytes.
    pub fn used(&self) -> u32 {
        self.fills.used()
    }

    /// How many blocks are free.
    pub fn free(&self) -> u32 {
        self.capacity() - self.used()
    }

    /// Bytes of memory that it takes when all blocks are in use.
    pub fn memory_bytes(&self) -> usize {
        self.memory.len() + self.fills.memory_bytes()
    }

    /// Takes an empty block whose bytes will start at `start`.
    #[inline]
    pub(super) fn allocate(&mut self, start: usize) -> Option<u32> {
        self.fills.insert(Fill { start: start as u16, len: 0 })
    }

    /// Frees a block and returns the one it was linked to.
    #[inline]
    pub(super) fn release(&mut self, block: u32) -> u32 {
        self.fills.remove(block)
    }

    #[inline]
    pub(super) fn next(&self, block: u32) -> u32 {
        self.fills.next(block)
    }

    #[inline]
    pub(super) fn link(&mut self, block: u32, next: u32) {
        self.fills.link(block, next);
    }

    /// Where in the block its bytes start.
    pub(super) fn start(&self, block: u32) -> usize {
        self.fills.get(block).start.into()
    }

    #[inline]
    pub(super) fn len(&self, block: u32) -> usize {
        self.fills.get(block).len.into()
    }

    /// The block's bytes.
    #[inline]
    pub(super) fn bytes(&self, block: u32) -> &[u8] {
        let fill = self.fills.get(block);
        let start = block as usize * BLOCK_BYTES + usize::from(fill.start);
        &self.memory[start..start + usize::from(fill.len)]
    }

    /// Puts as many bytes as there is room for behind those in the block; returns how many.
    #[inline]
    pub(super) fn fill_back(&mut self, block: u32, bytes: &[u8]) -> usize {
        let fill = self.fills.get_mut(block);
        let end = usize::from(fill.start + fill.len);
        let n = bytes.len().min(BLOCK_BYTES - end);
        fill.len += n as u16;
        let at = block as usize * BLOCK_BYTES + end;
        self.memory[at..at + n].copy_from_slice(&bytes[..n]);
        n
    }

    /// Puts as many of the last bytes as there is room for before those in the block.
    pub(super) fn fill_front(&mut self, block: u32, bytes: &[u8]) -> usize {
        let fill = self.fills.get_mut(block);
        let n = bytes.len().min(fill.start.into());
        fill.start -= n as u16;
        fill.len += n as u16;
        let at = block as usize * BLOCK_BYTES + usize::from(fill.start);
        self.memory[at..at + n].copy_from_slice(&bytes[bytes.len() - n..]);
        n
    }

    /// Copies the bytes of block `from` behind those of `into`, if they fit after moving the latter
    /// to the block's start.
    pub(super) fn merge(&mut self, into: u32, from: u32) -> bool {
        let (fill, other) = (*self.fills.get(into), *self.fills.get(from));
        if usize::from(fill.len) + usize::from(other.len) > BLOCK_BYTES {
            return false;
        }
        let base = into as usize * BLOCK_BYTES;
        let start = base + usize::from(fill.start);
        self.memory.copy_within(start..start + usize::from(fill.len), base);
        let source = from as usize * BLOCK_BYTES + usize::from(other.start);
        let target = base + usize::from(fill.len);
        self.memory.copy_within(source..source + usize::from(other.len), target);
        *self.fills.get_mut(into) = Fill { start: 0, len: fill.len + other.len };
        true
    }

    /// Drops the first `n` bytes of a block, which has as many.
    #[inline]
    pub(super) fn trim_front(&mut self, block: u32, n: usize) {
        let fill = self.fills.get_mut(block);
        debug_assert!(n <= usize::from(fill.len));
        fill.start += n as u16;
        fill.len -= n as u16;
    }
}
