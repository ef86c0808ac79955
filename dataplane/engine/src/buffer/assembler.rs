//! Data that came out of order and waits for what is before it.

use arrayvec::ArrayVec;

use super::chain::Chain;
use super::slab::NONE;
use super::{Buffers, Held};
use crate::seq::SeqNumber;
use crate::snapshot::{Reader, SnapshotError, Writer};
use crate::wire::tcp::{MAX_SACK_BLOCKS, SackBlock};

/// Most ranges that one connection may hold; data that would make one more is dropped. Of a flight
/// of 2,000 segments one in twenty may be missing.
pub const MAX_RANGES: usize = 128;
/// So many may be as short as they like. More are for a peer that loses segments, not for one that
/// sends crumbs: each range takes a block at least.
const CRUMBS: usize = 32;
/// What ranges beyond that must hold on the average: the smallest segment that every host takes
/// (RFC 9293 3.7.1).
const SEGMENT_BYTES: usize = 536;

/// Ranges of received data with gaps between them, in order of sequence numbers. Of bytes that
/// came more than once the first stay. Clear it before dropping it.
///
/// All sequence numbers in it, and the next one expected, lie within 2^31 of each other.
#[derive(Debug)]
pub struct Assembler {
    head: u32,
    bytes: u32,
}

/// One range; ranges never touch each other.
#[derive(Debug)]
pub(super) struct Range {
    start: SeqNumber,
    data: Chain,
    /// The greater, the later something was added to it.
    touched: u32,
}

impl Range {
    #[inline]
    fn end(&self) -> SeqNumber {
        self.start + self.data.len() as u32
    }
}

impl Default for Assembler {
    fn default() -> Assembler {
        Assembler::new()
    }
}

impl Assembler {
    /// No ranges.
    pub const fn new() -> Assembler {
        Assembler { head: NONE, bytes: 0 }
    }

    /// Whether it holds nothing.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// How many bytes it holds.
    #[inline]
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    /// The first run of the `len` bytes at `seq` that it holds already.
    pub fn overlap(
        &self,
        buffers: &Buffers,
        seq: SeqNumber,
        len: usize,
    ) -> Option<(SeqNumber, SeqNumber)> {
        let end = seq + len as u32;
        self.iter(buffers)
            .map(|range| (range.start.max(seq), range.end().min(end)))
            .find(|(start, end)| start.lt(*end))
    }

    /// How many blocks it holds.
    pub fn blocks(&self, buffers: &Buffers) -> u32 {
        self.iter(buffers).map(|range| range.data.blocks(&buffers.blocks)).sum()
    }

    /// How many ranges it holds.
    pub fn ranges(&self, buffers: &Buffers) -> usize {
        self.iter(buffers).count()
    }

    /// Where the first range starts.
    #[inline]
    pub fn first(&self, buffers: &Buffers) -> Option<SeqNumber> {
        (self.head != NONE).then(|| buffers.ranges.get(self.head).start)
    }

    /// Keeps those of `data`, which starts at `seq`, that are new; returns how many these are.
    /// It never holds more than `limit` bytes; what is beyond that, beyond [`MAX_RANGES`] or
    /// beyond the pool is dropped.
    pub fn insert(
        &mut self,
        buffers: &mut Buffers,
        seq: SeqNumber,
        data: &[u8],
        limit: u32,
    ) -> usize {
        let (before, end) = (self.bytes, seq + data.len() as u32);
        let (mut at, mut previous, mut next, mut last) = (seq, NONE, self.head, NONE);
        while at != end {
            if next != NONE && buffers.ranges.get(next).start.le(at) {
                // Step over a range and over what it holds of the new data.
                let covered = buffers.ranges.get(next).end();
                if covered.gt(at) {
                    (at, last) = (covered.min(end), next);
                }
                (previous, next) = (next, buffers.ranges.next(next));
                continue;
            }
            let gap_end = if next == NONE { end } else { buffers.ranges.get(next).start.min(end) };
            let gap = &data[(at - seq) as usize..(gap_end - seq) as usize];
            let room = limit.saturating_sub(self.bytes) as usize;
            let fits = &gap[..gap.len().min(room)];
            let Some((range, taken)) = self.store(buffers, (previous, next), at, fits) else {
                break;
            };
            self.bytes += taken as u32;
            last = range;
            if taken < gap.len() {
                break;
            }
            (at, next) = (gap_end, range);
        }
        if last != NONE {
            let newest = self.iter(buffers).map(|range| range.touched).max().unwrap_or(0);
            buffers.ranges.get_mut(last).touched = newest.saturating_add(1);
        }
        (self.bytes - before) as usize
    }

    /// Whether one range has all from `start` to before `end`.
    pub fn holds(&self, buffers: &Buffers, start: SeqNumber, end: SeqNumber) -> bool {
        self.iter(buffers).any(|range| range.start.le(start) && range.end().ge(end))
    }

    /// Puts bytes into the gap between two ranges, each of which may be missing. Returns the range
    /// that they are in now and how many there was room for; `None` if for none.
    fn store(
        &mut self,
        buffers: &mut Buffers,
        (previous, next): (u32, u32),
        at: SeqNumber,
        bytes: &[u8],
    ) -> Option<(u32, usize)> {
        let Buffers { blocks, ranges, .. } = &mut *buffers;
        let touches_next = next != NONE && ranges.get(next).start == at + bytes.len() as u32;
        if previous != NONE && ranges.get(previous).end() == at {
            let taken = ranges.get_mut(previous).data.push(blocks, bytes);
            if touches_next && taken == bytes.len() {
                let joined = std::mem::take(&mut ranges.get_mut(next).data);
                ranges.get_mut(previous).data.append(blocks, joined);
                let behind = ranges.remove(next);
                ranges.link(previous, behind);
            }
            return (taken > 0).then_some((previous, taken));
        }
        if touches_next {
            let range = ranges.get_mut(next);
            let taken = range.data.push_front(blocks, bytes);
            range.start -= taken as u32;
            return (taken > 0).then_some((next, taken));
        }
        if !self.may_have_another(self.ranges(buffers)) {
            return None;
        }
        let mut data = Chain::new();
        let taken = data.push(&mut buffers.blocks, bytes);
        if taken == 0 {
            return None;
        }
        let range = Range { start: at, data, touched: 0 };
        Some((self.link_after(buffers, previous, range), taken))
    }

    fn may_have_another(&self, ranges: usize) -> bool {
        let worth = ranges < CRUMBS || self.bytes as usize >= ranges * SEGMENT_BYTES;
        worth && ranges < MAX_RANGES
    }

    fn link_after(&mut self, buffers: &mut Buffers, previous: u32, range: Range) -> u32 {
        let ranges = &mut buffers.ranges;
        let id = ranges.insert(range).expect("there is a range for each block");
        if previous == NONE {
            ranges.link(id, self.head);
            self.head = id;
        } else {
            ranges.link(id, ranges.next(previous));
            ranges.link(previous, id);
        }
        id
    }

    /// Takes out the data that goes on at `next`, the next sequence number expected, and drops all
    /// that is before it. The chain is empty if `next` is still missing. O(1) for data that
    /// overlaps nothing.
    #[must_use = "the chain that comes out must go somewhere or be cleared"]
    pub fn take_front(&mut self, buffers: &mut Buffers, next: SeqNumber) -> Chain {
        while self.head != NONE {
            let Buffers { blocks, ranges, .. } = &mut *buffers;
            let range = ranges.get_mut(self.head);
            if range.start.gt(next) {
                break;
            }
            let mut data = std::mem::take(&mut range.data);
            let old = ((next - range.start) as usize).min(data.len());
            self.head = ranges.remove(self.head);
            self.bytes -= data.len() as u32;
            data.consume(blocks, old);
            if !data.is_empty() {
                return data;
            }
        }
        Chain::new()
    }

    /// The ranges to report, the one that was touched last first (RFC 2018 section 4).
    pub fn sack_blocks(&self, buffers: &Buffers) -> ArrayVec<SackBlock, MAX_SACK_BLOCKS> {
        let mut newest: ArrayVec<(u32, SackBlock), MAX_SACK_BLOCKS> = ArrayVec::new();
        for range in self.iter(buffers) {
            let touched = range.touched;
            let place = newest.partition_point(|(other, _)| *other > touched);
            if place < MAX_SACK_BLOCKS {
                newest.truncate(MAX_SACK_BLOCKS - 1);
                newest.insert(place, (touched, (range.start, range.end())));
            }
        }
        newest.into_iter().map(|(_, block)| block).collect()
    }

    /// First byte of each range and the one behind its last, in order.
    pub(crate) fn bounds(&self, buffers: &Buffers) -> impl Iterator<Item = SackBlock> {
        self.iter(buffers).map(|range| (range.start, range.end()))
    }

    /// Adds what it holds.
    pub(crate) fn count(&self, buffers: &Buffers, held: &mut Held) {
        for range in self.iter(buffers) {
            held.ranges += 1;
            range.data.count(&buffers.blocks, held);
        }
    }

    /// Drops everything.
    pub fn clear(&mut self, buffers: &mut Buffers) {
        while self.head != NONE {
            buffers.ranges.get_mut(self.head).data.clear(&mut buffers.blocks);
            self.head = buffers.ranges.remove(self.head);
        }
        *self = Assembler::new();
    }

    /// Appends the ranges to a snapshot.
    pub fn save(&self, buffers: &Buffers, out: &mut Writer<'_>) {
        out.u8(self.ranges(buffers) as u8);
        for range in self.iter(buffers) {
            out.u32(range.start.0);
            out.u32(range.touched);
            range.data.save(&buffers.blocks, out);
        }
    }

    /// Reads what [`Assembler::save`] wrote.
    pub fn restore(
        buffers: &mut Buffers,
        input: &mut Reader<'_>,
    ) -> Result<Assembler, SnapshotError> {
        let mut assembler = Assembler::new();
        let count = input.u8("number of ranges")?;
        if usize::from(count) > MAX_RANGES {
            return Err(input.invalid("number of ranges", count.into()));
        }
        let (mut previous, mut end) = (NONE, None);
        for _ in 0..count {
            let start = SeqNumber(input.u32("start of a range")?);
            let touched = input.u32("age of a range")?;
            let data = Chain::restore(&mut buffers.blocks, input)?;
            let ordered = end.is_none_or(|end| start.gt(end));
            if data.is_empty() || data.len() >= 1 << 30 || !ordered {
                return Err(input.invalid("range", start.0.into()));
            }
            assembler.bytes += data.len() as u32;
            let range = Range { start, data, touched };
            end = Some(range.end());
            previous = assembler.link_after(buffers, previous, range);
        }
        Ok(assembler)
    }

    #[inline]
    fn iter<'a>(&self, buffers: &'a Buffers) -> impl Iterator<Item = &'a Range> {
        let mut id = self.head;
        std::iter::from_fn(move || {
            let range = (id != NONE).then(|| buffers.ranges.get(id))?;
            id = buffers.ranges.next(id);
            Some(range)
        })
    }
}

#[cfg(test)]
mod tests;
