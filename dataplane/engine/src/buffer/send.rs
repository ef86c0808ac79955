//! What a connection has to send or has sent and not seen acknowledged.

use arrayvec::ArrayVec;

use super::chain::{restore_block, save_block};
use super::slab::NONE;
use super::{Buffers, Held, pattern};
use crate::snapshot::{Reader, SnapshotError, Writer};

/// Most parts that one [`SendQueue::gather`] yields.
pub const MAX_PARTS: usize = 8;

/// A queue of copied bytes, of content by reference, and of the stream pattern.
///
/// Offset 0 is the first byte that is not acknowledged. Clear it before dropping it.
#[derive(Debug)]
pub struct SendQueue {
    head: u32,
    tail: u32,
    len: u64,
    /// Where gathering found its place last: for new data, and for what is sent again.
    cursors: [Cursor; 2],
}

/// A run of bytes of one kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    source: Source,
    len: u64,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Block(u32),
    Content { file: u32, offset: u64 },
    Pattern { offset: u64 },
}

/// An extent and the offset at which it starts.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    extent: u32,
    start: u32,
}

const NOWHERE: Cursor = Cursor { extent: NONE, start: 0 };
const NEW_DATA: usize = 0;
const SENT_AGAIN: usize = 1;

/// Bytes of one segment that come from one place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part<'a> {
    /// The bytes themselves.
    Bytes(&'a [u8]),
    /// Bytes of a file.
    Content {
        /// Which file.
        file: u32,
        /// Where in the file.
        offset: u64,
        /// How many.
        len: usize,
    },
    /// Bytes of the stream pattern, see [`pattern::fill`].
    Pattern {
        /// Where in the stream.
        offset: u64,
        /// How many.
        len: usize,
    },
}

impl Default for SendQueue {
    fn default() -> SendQueue {
        SendQueue::new()
    }
}

impl SendQueue {
    /// Nothing to send.
    pub const fn new() -> SendQueue {
        SendQueue { head: NONE, tail: NONE, len: 0, cursors: [NOWHERE; 2] }
    }

    /// How many bytes are in it.
    #[inline]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies bytes to the end; returns how many the pool had room for.
    #[inline]
    pub fn push_bytes(&mut self, buffers: &mut Buffers, bytes: &[u8]) -> usize {
        let mut taken = 0;
        if self.tail != NONE {
            let tail = buffers.extents.get_mut(self.tail);
            if let Source::Block(block) = tail.source {
                taken = buffers.blocks.fill_back(block, bytes);
                tail.len += taken as u64;
            }
        }
        while taken < bytes.len() {
            let Some(block) = buffers.blocks.allocate(0) else { break };
            let n = buffers.blocks.fill_back(block, &bytes[taken..]);
            self.link_block(buffers, block);
            taken += n;
        }
        self.len += taken as u64;
        taken
    }

    /// Appends `len` bytes of a file from `offset` on, by reference; false if no reference is free.
    pub fn push_content(
        &mut self,
        buffers: &mut Buffers,
        file: u32,
        offset: u64,
        len: u64,
    ) -> bool {
        self.push_reference(buffers, Source::Content { file, offset }, len)
    }

    /// Appends `len` bytes of the pattern from `offset` on; false if no reference is free.
    pub fn push_pattern(&mut self, buffers: &mut Buffers, offset: u64, len: u64) -> bool {
        self.push_reference(buffers, Source::Pattern { offset }, len)
    }

    fn push_reference(&mut self, buffers: &mut Buffers, source: Source, len: u64) -> bool {
        let Some(total) = self.len.checked_add(len) else { return false };
        if len == 0 {
            return true;
        }
        let tail = (self.tail != NONE).then(|| buffers.extents.get_mut(self.tail));
        match tail {
            Some(tail) if tail.is_continued_by(source) => tail.len += len,
            _ => {
                if buffers.free_references() == 0 {
                    return false;
                }
                buffers.references_used += 1;
                self.link_back(buffers, Extent { source, len });
            }
        }
        self.len = total;
        true
    }

    /// Drops the first `n` bytes and frees what held them.
    ///
    /// # Panics
    /// If there are fewer.
    #[inline]
    pub fn advance(&mut self, buffers: &mut Buffers, n: u64) {
        assert!(n <= self.len, "{n} bytes acknowledged of {}", self.len);
        self.len -= n;
        if self.len == 0 {
            self.cursors = [NOWHERE; 2];
        } else {
            self.cursors.iter_mut().for_each(|cursor| cursor.advance(n));
        }
        let mut left = n;
        while left > 0 {
            let extent = buffers.extents.get_mut(self.head);
            if left < extent.len {
                extent.len -= left;
                match &mut extent.source {
                    Source::Block(block) => buffers.blocks.trim_front(*block, left as usize),
                    Source::Content { offset, .. } | Source::Pattern { offset } => {
                        *offset = offset.wrapping_add(left);
                    }
                }
                return;
            }
            left -= extent.len;
            match extent.source {
                Source::Block(block) => {
                    buffers.blocks.release(block);
                }
                Source::Content { .. } | Source::Pattern { .. } => buffers.references_used -= 1,
            }
            self.head = buffers.extents.remove(self.head);
        }
        if self.head == NONE {
            self.tail = NONE;
        }
    }

    /// How many blocks it holds.
    pub fn blocks(&self, buffers: &Buffers) -> u32 {
        let (mut count, mut id) = (0, self.head);
        while id != NONE {
            let extent = buffers.extents.get(id);
            count += u32::from(matches!(extent.source, Source::Block(_)));
            id = buffers.extents.next(id);
        }
        count
    }

    /// Drops everything.
    pub fn clear(&mut self, buffers: &mut Buffers) {
        self.advance(buffers, self.len);
    }

    /// Adds to `parts` where the bytes from `offset` on come from, up to `len` bytes; returns how
    /// many these are: fewer at the end of the queue or when `parts` is full.
    ///
    /// Takes constant time, amortized, when offsets grow from call to call, both at the end of the
    /// queue and, independently, before it.
    #[inline]
    pub fn gather<'a>(
        &mut self,
        buffers: &'a Buffers,
        offset: u64,
        len: usize,
        parts: &mut ArrayVec<Part<'a>, MAX_PARTS>,
    ) -> usize {
        let wanted = (len as u64).min(self.len.saturating_sub(offset)) as usize;
        if wanted == 0 {
            return 0;
        }
        let (mut id, skip) = self.locate(buffers, offset);
        let (mut skip, mut gathered) = (skip, 0);
        while gathered < wanted && !parts.is_full() {
            let extent = buffers.extents.get(id);
            let len = (extent.len - skip).min((wanted - gathered) as u64) as usize;
            parts.push(match extent.source {
                Source::Block(block) => {
                    let skip = skip as usize;
                    Part::Bytes(&buffers.blocks.bytes(block)[skip..skip + len])
                }
                Source::Content { file, offset } => {
                    Part::Content { file, offset: offset.wrapping_add(skip), len }
                }
                Source::Pattern { offset } => {
                    Part::Pattern { offset: offset.wrapping_add(skip), len }
                }
            });
            gathered += len;
            skip = 0;
            id = buffers.extents.next(id);
        }
        gathered
    }

    /// The extent in which `offset` lies, and how far into it.
    #[inline]
    fn locate(&mut self, buffers: &Buffers, offset: u64) -> (u32, u64) {
        if offset < buffers.extents.get(self.head).len {
            return (self.head, offset);
        }
        let beyond = |cursor: Cursor| u64::from(cursor.start) > offset;
        let new_data = self.cursors[NEW_DATA];
        let again = new_data.extent != NONE && beyond(new_data);
        let which = if again { SENT_AGAIN } else { NEW_DATA };
        let cursor = self.cursors[which];
        let (mut extent, mut start) = (self.head, 0);
        if cursor.extent != NONE && !beyond(cursor) {
            (extent, start) = (cursor.extent, u64::from(cursor.start));
        }
        loop {
            let len = buffers.extents.get(extent).len;
            if offset - start < len {
                break;
            }
            (extent, start) = (buffers.extents.next(extent), start + len);
        }
        // A place too far away to be noted is looked for again.
        let noted = u32::try_from(start).map(|start| Cursor { extent, start });
        self.cursors[which] = noted.unwrap_or(NOWHERE);
        (extent, offset - start)
    }

    #[inline]
    fn link_block(&mut self, buffers: &mut Buffers, block: u32) {
        let len = buffers.blocks.len(block) as u64;
        self.link_back(buffers, Extent { source: Source::Block(block), len });
    }

    #[inline]
    fn link_back(&mut self, buffers: &mut Buffers, extent: Extent) {
        let id = buffers.extents.insert(extent).expect("there is an extent for each block");
        if self.tail == NONE {
            self.head = id;
        } else {
            buffers.extents.link(self.tail, id);
        }
        self.tail = id;
    }
}

impl Cursor {
    /// The queue has dropped its first `n` bytes. An extent that started among them is the head
    /// now, or has left the queue, and its id may belong to another.
    #[inline]
    fn advance(&mut self, n: u64) {
        if u64::from(self.start) < n {
            self.extent = NONE;
        }
        self.start = self.start.wrapping_sub(n as u32);
    }
}

impl Extent {
    /// Whether `source` goes on where this extent ends.
    fn is_continued_by(&self, source: Source) -> bool {
        match (self.source, source) {
            (Source::Content { file, offset }, Source::Content { file: f, offset: next }) => {
                file == f && offset.wrapping_add(self.len) == next
            }
            (Source::Pattern { offset }, Source::Pattern { offset: next }) => {
                offset.wrapping_add(self.len) == next
            }
            _ => false,
        }
    }
}

/// The bytes that `parts` stand for. `content` resolves bytes of a file (file, offset, length);
/// the pattern is made in `scratch`.
///
/// # Panics
/// If `scratch` is shorter than the pattern parts together.
#[inline]
pub fn resolve<'a>(
    parts: &[Part<'a>],
    mut content: impl FnMut(u32, u64, usize) -> &'a [u8],
    mut scratch: &'a mut [u8],
) -> ArrayVec<&'a [u8], MAX_PARTS> {
    let mut slices = ArrayVec::new();
    for part in parts.iter().take(MAX_PARTS) {
        slices.push(match *part {
            Part::Bytes(bytes) => bytes,
            Part::Content { file, offset, len } => content(file, offset, len),
            Part::Pattern { offset, len } => {
                let (made, rest) = scratch.split_at_mut(len);
                pattern::fill(offset, made);
                scratch = rest;
                made
            }
        });
    }
    slices
}

const TAG_END: u8 = 0;
const TAG_BLOCK: u8 = 1;
const TAG_CONTENT: u8 = 2;
const TAG_PATTERN: u8 = 3;

impl SendQueue {
    /// Adds what it holds; an error if that is not as long as it should be.
    pub(crate) fn count(&self, buffers: &Buffers, held: &mut Held) -> Result<(), &'static str> {
        let (mut id, mut len) = (self.head, 0_u64);
        while id != NONE {
            let extent = buffers.extents.get(id);
            held.extents += 1;
            match extent.source {
                Source::Block(block) if buffers.blocks.len(block) as u64 == extent.len => {
                    held.blocks += 1;
                }
                Source::Block(_) => return Err("length of an extent"),
                Source::Content { .. } | Source::Pattern { .. } => held.references += 1,
            }
            len = len.wrapping_add(extent.len);
            id = buffers.extents.next(id);
        }
        if len == self.len { Ok(()) } else { Err("length of a send queue") }
    }

    /// Appends the queue to a snapshot.
    pub fn save(&self, buffers: &Buffers, out: &mut Writer<'_>) {
        let mut id = self.head;
        while id != NONE {
            let extent = buffers.extents.get(id);
            match extent.source {
                Source::Block(block) => {
                    out.u8(TAG_BLOCK);
                    save_block(&buffers.blocks, block, out);
                }
                Source::Content { file, offset } => {
                    out.u8(TAG_CONTENT);
                    out.u64(extent.len);
                    out.u32(file);
                    out.u64(offset);
                }
                Source::Pattern { offset } => {
                    out.u8(TAG_PATTERN);
                    out.u64(extent.len);
                    out.u64(offset);
                }
            }
            id = buffers.extents.next(id);
        }
        out.u8(TAG_END);
    }

    /// Reads what [`SendQueue::save`] wrote. Whether a file's bytes are there is for the owner to
    /// check (`content` answers for file, offset, length).
    pub fn restore(
        buffers: &mut Buffers,
        input: &mut Reader<'_>,
        content: impl Fn(u32, u64, u64) -> bool,
    ) -> Result<SendQueue, SnapshotError> {
        let mut queue = SendQueue::new();
        loop {
            let taken = match input.u8("kind of an extent")? {
                TAG_END => return Ok(queue),
                TAG_BLOCK => {
                    let start = input.u16("start of a block")?;
                    let block = restore_block(&mut buffers.blocks, start, input)?;
                    let len = queue.len.checked_add(buffers.blocks.len(block) as u64);
                    queue.len =
                        len.ok_or_else(|| input.invalid("length of a send queue", u64::MAX))?;
                    queue.link_block(buffers, block);
                    true
                }
                TAG_CONTENT => {
                    let len = input.u64("length of content")?;
                    let file = input.u32("file")?;
                    let offset = input.u64("offset in a file")?;
                    if len == 0 || !content(file, offset, len) {
                        return Err(input.invalid("reference to a file", file.into()));
                    }
                    queue.push_content(buffers, file, offset, len)
                }
                TAG_PATTERN => {
                    let len = input.u64("length of pattern")?;
                    let offset = input.u64("offset in the pattern")?;
                    queue.push_pattern(buffers, offset, len)
                }
                tag => return Err(input.invalid("kind of an extent", tag.into())),
            };
            if !taken {
                return Err(SnapshotError::Capacity { what: "send queue extents" });
            }
        }
    }
}

#[cfg(test)]
mod tests;
