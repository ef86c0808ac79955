//! Bytes in flight: what came in and is not read yet, what goes out and is not acknowledged yet.
//!
//! All of a shard's connections share one [`Buffers`], made once and of fixed size. A connection
//! holds small handles into it ([`Chain`], [`SendQueue`], [`Assembler`]) that cost nothing while
//! they are empty. A handle does not free its blocks when it is dropped: its owner clears it.
//!
//! Files and the stream pattern are queued by reference and never copied into blocks.

mod assembler;
mod chain;
pub mod pattern;
mod pool;
mod send;
mod slab;

pub use assembler::{Assembler, MAX_RANGES};
pub use chain::Chain;
pub use pool::{BLOCK_BYTES, Pool};
pub use send::{MAX_PARTS, Part, SendQueue, resolve};

use assembler::Range;
use send::Extent;
use slab::Slab;

/// The memory that a shard's connections share for their bytes.
#[derive(Debug)]
pub struct Buffers {
    /// Blocks of bytes.
    pub blocks: Pool,
    extents: Slab<Extent>,
    ranges: Slab<Range>,
    references: u32,
    references_used: u32,
}

impl Buffers {
    /// Memory for `blocks` blocks of [`BLOCK_BYTES`] and for `references` extents in send queues
    /// that refer to content or to the pattern. It is touched only as it is used.
    pub fn new(blocks: u32, references: u32) -> Buffers {
        Buffers {
            blocks: Pool::new(blocks),
            // Each extent of bytes and each range holds at least one block, so these last exactly
            // as long as the blocks do.
            extents: Slab::new(blocks.saturating_add(references)),
            ranges: Slab::new(blocks),
            references,
            references_used: 0,
        }
    }

    /// What is given away.
    pub(crate) fn used(&self) -> Held {
        Held {
            blocks: self.blocks.used(),
            extents: self.extents.used(),
            ranges: self.ranges.used(),
            references: self.references_used,
        }
    }

    /// How many more extents may refer to content or to the pattern.
    pub fn free_references(&self) -> u32 {
        self.references - self.references_used
    }

    /// Bytes of memory that it takes when all of it is in use.
    pub fn memory_bytes(&self) -> usize {
        self.blocks.memory_bytes() + self.extents.memory_bytes() + self.ranges.memory_bytes()
    }
}

/// Parts of a [`Buffers`] that somebody holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub blocks: u32,
    pub extents: u32,
    pub ranges: u32,
    pub references: u32,
}
