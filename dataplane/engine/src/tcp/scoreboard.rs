//! The scoreboard: what was sent, when, and what became of it (RFC 6675 3, RFC 8985 5.2). One
//! entry for each segment in flight, in sequence order, from a slab that all connections of a
//! shard share.

use crate::seq::SeqNumber;
use crate::snapshot::{Reader, SnapshotError, Writer};
use crate::time::Instant;

/// End of a list.
const NONE: u32 = u32::MAX;

/// The peer has it (RFC 2018), though the cumulative acknowledgment is not there yet.
const SACKED: u8 = 1;
/// Held to be lost, and not sent again since.
const LOST: u8 = 2;
/// Was sent more than once: Karn's rule applies.
const RETRANSMITTED: u8 = 4;
/// Carries our SYN.
const SYN: u8 = 8;
/// Carries our FIN.
const FIN: u8 = 16;
/// Is larger than the segment size, to see whether the path takes it (RFC 4821 7.3).
const MTU_PROBE: u8 = 32;

/// Entries and runs of sacked ones that a SACK block's place is looked for in. A peer that makes
/// more gaps than that in front of a block does not get us to search; the block counts once they
/// are fewer.
const MAX_SEARCH: u32 = 4096;

/// One transmitted segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// When it was last sent.
    pub at: Instant,
    /// First sequence number.
    pub seq: SeqNumber,
    next: u32,
    /// Of a sacked one: an entry at or behind it up to which all are sacked. It spares steps and
    /// says nothing else.
    run: u32,
    /// Sequence numbers taken, SYN and FIN included.
    pub len: u16,
    marks: u8,
}

impl Sent {
    #[inline]
    pub(crate) fn end(&self) -> SeqNumber {
        self.seq + u32::from(self.len)
    }

    #[inline]
    pub(crate) fn is_sacked(&self) -> bool {
        self.marks & SACKED != 0
    }

    #[inline]
    pub(crate) fn is_lost(&self) -> bool {
        self.marks & LOST != 0
    }

    #[inline]
    pub(crate) fn is_retransmitted(&self) -> bool {
        self.marks & RETRANSMITTED != 0
    }

    /// Is one of a few: sent more than once, or a probe of the path's MTU.
    #[inline]
    pub(crate) fn is_special(&self) -> bool {
        self.marks & (RETRANSMITTED | MTU_PROBE) != 0
    }

    #[inline]
    pub(crate) fn is_mtu_probe(&self) -> bool {
        self.marks & MTU_PROBE != 0
    }

    pub(crate) fn has_syn(&self) -> bool {
        self.marks & SYN != 0
    }

    pub(crate) fn has_fin(&self) -> bool {
        self.marks & FIN != 0
    }

    /// Bytes of payload.
    pub(crate) fn payload_len(&self) -> u16 {
        self.len - u16::from(self.has_syn()) - u16::from(self.has_fin())
    }

    /// Whether it counts as being in the network.
    #[inline]
    fn in_flight(&self) -> bool {
        self.marks & (SACKED | LOST) == 0
    }
}

/// The entries of all connections of a shard.
#[derive(Debug)]
pub(crate) struct SentSlab {
    entries: Vec<Sent>,
    capacity: u32,
    free: u32,
    used: u32,
}

impl SentSlab {
    /// Room for `capacity` entries, whose memory is touched when it is first used.
    pub(crate) fn new(capacity: u32) -> SentSlab {
        let entries = Vec::with_capacity(capacity as usize);
        SentSlab { entries, capacity, free: NONE, used: 0 }
    }

    pub(crate) fn used(&self) -> u32 {
        self.used
    }

    /// Whether there is an entry for one more segment. The last sixteenth is for connections with
    /// nothing in flight: no acknowledgment would give these another turn.
    #[inline]
    pub(crate) fn has_room(&self, idle: bool) -> bool {
        let reserve = if idle { 0 } else { self.capacity / 16 };
        self.capacity - self.used > reserve
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.capacity as usize * size_of::<Sent>()
    }

    fn take(&mut self, sent: Sent) -> Option<u32> {
        if self.free != NONE {
            let index = self.free;
            let entry = &mut self.entries[index as usize];
            self.free = entry.next;
            *entry = sent;
            self.used += 1;
            return Some(index);
        }
        let index = u32::try_from(self.entries.len()).ok().filter(|&i| i < self.capacity)?;
        self.entries.push(sent);
        self.used += 1;
        Some(index)
    }

    /// What follows the sacked entries among which `at` is the first; with each look at them the
    /// way gets shorter.
    fn behind_run(&mut self, at: u32) -> u32 {
        let mut end = self.entries[at as usize].run;
        loop {
            let next = self.entries[end as usize].next;
            if !self.entries.get(next as usize).is_some_and(Sent::is_sacked) {
                self.entries[at as usize].run = end;
                return next;
            }
            end = self.entries[next as usize].run;
        }
    }

    fn give(&mut self, index: u32) {
        self.entries[index as usize].next = self.free;
        self.free = index;
        self.used -= 1;
    }
}

/// A connection's part of the scoreboard, oldest sequence number first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SentQueue {
    head: u32,
    tail: u32,
    /// No entry before this one waits for retransmission.
    hint: u32,
    /// Entries.
    pub count: u32,
    /// Entries marked as sacked.
    pub sacked: u32,
    /// Entries that wait for retransmission.
    pub lost: u32,
    /// Bytes in the network: neither sacked nor lost ("pipe" of RFC 6675).
    pub in_flight: u32,
}

impl Default for SentQueue {
    fn default() -> Self {
        let (head, tail, hint) = (NONE, NONE, NONE);
        SentQueue { head, tail, hint, count: 0, sacked: 0, lost: 0, in_flight: 0 }
    }
}

/// What a segment carries besides payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Controls {
    pub syn: bool,
    pub fin: bool,
}

impl SentQueue {
    /// Records a new segment behind all others. False if the slab is exhausted.
    #[inline]
    pub(crate) fn push(
        &mut self,
        slab: &mut SentSlab,
        now: Instant,
        seq: SeqNumber,
        len: u16,
        controls: Controls,
    ) -> bool {
        let marks = if controls.syn { SYN } else { 0 } | if controls.fin { FIN } else { 0 };
        let Some(index) = slab.take(Sent { at: now, seq, next: NONE, run: NONE, len, marks })
        else {
            return false;
        };
        match self.tail {
            NONE => self.head = index,
            tail => slab.entries[tail as usize].next = index,
        }
        self.tail = index;
        self.count += 1;
        self.in_flight += u32::from(len);
        true
    }

    pub(crate) fn first<'s>(&self, slab: &'s SentSlab) -> Option<&'s Sent> {
        slab.entries.get(self.head as usize)
    }

    pub(crate) fn last<'s>(&self, slab: &'s SentSlab) -> Option<&'s Sent> {
        slab.entries.get(self.tail as usize)
    }

    pub(crate) fn iter<'s>(&self, slab: &'s SentSlab) -> impl Iterator<Item = &'s Sent> {
        let mut at = self.head;
        std::iter::from_fn(move || {
            let entry = slab.entries.get(at as usize)?;
            at = entry.next;
            Some(entry)
        })
    }

    /// Drops what `una` acknowledges, calling `delivered` for what no SACK had told of before. A
    /// segment acknowledged in part is cut. Returns newly delivered bytes.
    #[inline]
    pub(crate) fn acknowledge(
        &mut self,
        slab: &mut SentSlab,
        una: SeqNumber,
        mut delivered: impl FnMut(&Sent),
    ) -> u32 {
        let mut bytes = 0;
        while self.head != NONE {
            let index = self.head;
            let entry = slab.entries[index as usize];
            if entry.seq.ge(una) {
                break;
            }
            if entry.end().gt(una) {
                bytes += self.cut(slab, index, una);
                break;
            }
            if entry.is_sacked() {
                self.sacked -= 1;
            } else {
                bytes += u32::from(entry.len);
                delivered(&entry);
                self.lost -= u32::from(entry.is_lost());
            }
            if entry.in_flight() {
                self.in_flight -= u32::from(entry.len);
            }
            if self.hint == index {
                self.hint = entry.next;
            }
            self.head = entry.next;
            self.count -= 1;
            slab.give(index);
        }
        if self.head == NONE {
            self.tail = NONE;
        }
        bytes
    }

    fn cut(&mut self, slab: &mut SentSlab, index: u32, una: SeqNumber) -> u32 {
        let entry = &mut slab.entries[index as usize];
        let cut = una.distance(entry.seq).unsigned_abs();
        entry.seq = una;
        entry.len -= u16::try_from(cut).unwrap_or(entry.len);
        entry.marks &= !SYN;
        if entry.in_flight() {
            self.in_flight -= cut;
        }
        if entry.is_sacked() { 0 } else { cut }
    }

    /// Marks what lies within a SACK block, calling `delivered` for each newly marked segment.
    /// Returns newly delivered bytes.
    pub(crate) fn sack(
        &mut self,
        slab: &mut SentSlab,
        block: (SeqNumber, SeqNumber),
        mut delivered: impl FnMut(&Sent),
    ) -> u32 {
        let (mut bytes, mut left) = (0, MAX_SEARCH);
        let mut at = self.head;
        while at != NONE && left > 0 {
            let index = at;
            let entry = &mut slab.entries[index as usize];
            if entry.end().gt(block.1) {
                break;
            }
            if entry.is_sacked() {
                at = slab.behind_run(index);
                left -= 1;
                continue;
            }
            at = entry.next;
            if entry.seq.lt(block.0) {
                left -= 1;
                continue;
            }
            bytes += u32::from(entry.len);
            if entry.in_flight() {
                self.in_flight -= u32::from(entry.len);
            }
            self.lost -= u32::from(entry.is_lost());
            entry.marks = (entry.marks & !LOST) | SACKED;
            entry.run = index;
            self.sacked += 1;
            delivered(entry);
        }
        bytes
    }

    /// Marks as lost each segment that `is_lost` says so of; segments that are sacked or wait for
    /// retransmission are not asked. `is_lost` ends the walk with `None`. Returns marked bytes.
    pub(crate) fn mark_lost(
        &mut self,
        slab: &mut SentSlab,
        mut is_lost: impl FnMut(&Sent) -> Option<bool>,
    ) -> u32 {
        let mut bytes = 0;
        let mut at = self.head;
        while at != NONE {
            let index = at;
            if slab.entries[index as usize].is_sacked() {
                at = slab.behind_run(index);
                continue;
            }
            let entry = &mut slab.entries[index as usize];
            at = entry.next;
            if entry.is_lost() {
                continue;
            }
            match is_lost(entry) {
                None => break,
                Some(false) => continue,
                Some(true) => {}
            }
            entry.marks |= LOST;
            bytes += u32::from(entry.len);
            self.in_flight -= u32::from(entry.len);
            self.lost += 1;
            let seq = entry.seq;
            if self.hint == NONE || seq.lt(slab.entries[self.hint as usize].seq) {
                self.hint = index;
            }
        }
        bytes
    }

    /// What waits for retransmission was only late (RFC 5682 2.1 step 3, RFC 4015).
    pub(crate) fn unmark_lost(&mut self, slab: &mut SentSlab) {
        let mut at = self.head;
        while at != NONE && self.lost > 0 {
            let entry = &mut slab.entries[at as usize];
            at = entry.next;
            if entry.is_lost() {
                entry.marks &= !LOST;
                self.in_flight += u32::from(entry.len);
                self.lost -= 1;
            }
        }
        self.hint = NONE;
    }

    /// The peer took back what it had sacked (RFC 2018 8).
    pub(crate) fn forget_sacks(&mut self, slab: &mut SentSlab) {
        let mut at = self.head;
        while at != NONE {
            let entry = &mut slab.entries[at as usize];
            at = entry.next;
            if entry.is_sacked() {
                entry.marks &= !SACKED;
                self.in_flight += u32::from(entry.len);
            }
        }
        self.sacked = 0;
    }

    /// First segment that waits for retransmission (RFC 6675 4, NextSeg rule 1).
    #[inline]
    pub(crate) fn next_lost(&mut self, slab: &SentSlab) -> Option<(u32, Sent)> {
        if self.lost == 0 {
            self.hint = NONE;
            return None;
        }
        let mut at = if self.hint == NONE { self.head } else { self.hint };
        while at != NONE {
            let entry = &slab.entries[at as usize];
            if entry.is_lost() {
                self.hint = at;
                return Some((at, *entry));
            }
            at = entry.next;
        }
        None
    }

    /// Index and copy of the first segment.
    pub(crate) fn head(&self, slab: &SentSlab) -> Option<(u32, Sent)> {
        self.first(slab).map(|entry| (self.head, *entry))
    }

    /// Index and copy of the last segment.
    pub(crate) fn tail(&self, slab: &SentSlab) -> Option<(u32, Sent)> {
        self.last(slab).map(|entry| (self.tail, *entry))
    }

    /// The last segment is a probe of the path's MTU.
    pub(crate) fn mark_probe(&mut self, slab: &mut SentSlab) {
        if let Some(entry) = slab.entries.get_mut(self.tail as usize) {
            entry.marks |= MTU_PROBE;
        }
    }

    /// Divides the segment at `index`, so that it has `len` bytes of payload, and returns it. If no
    /// entry is free only the returned copy is cut: what it leaves out is found to be lost later.
    pub(crate) fn split(&mut self, slab: &mut SentSlab, index: u32, len: u16) -> Sent {
        let whole = slab.entries[index as usize];
        let first = Sent { len, marks: whole.marks & !FIN, ..whole };
        let seq = whole.seq + u32::from(len);
        let Some(behind) = slab.take(Sent { seq, len: whole.len - len, ..whole }) else {
            return first;
        };
        slab.entries[index as usize] = Sent { next: behind, ..first };
        if whole.run == index {
            slab.entries[behind as usize].run = behind;
        }
        if self.tail == index {
            self.tail = behind;
        }
        self.count += 1;
        self.lost += u32::from(whole.is_lost());
        self.sacked += u32::from(whole.is_sacked());
        slab.entries[index as usize]
    }

    /// Notes that the segment at `index` was sent again.
    pub(crate) fn resent(&mut self, slab: &mut SentSlab, index: u32, now: Instant) {
        let entry = &mut slab.entries[index as usize];
        if entry.is_lost() {
            self.lost -= 1;
            self.in_flight += u32::from(entry.len);
        }
        if self.hint == index {
            self.hint = entry.next;
        }
        entry.marks = (entry.marks & !(LOST | MTU_PROBE)) | RETRANSMITTED;
        entry.at = now;
    }

    /// Gives all entries back.
    pub(crate) fn clear(&mut self, slab: &mut SentSlab) {
        while self.head != NONE {
            let next = slab.entries[self.head as usize].next;
            slab.give(self.head);
            self.head = next;
        }
        *self = SentQueue::default();
    }

    /// The entries are what was sent from `una` up to `nxt`, without gaps, and the sums are theirs.
    pub(crate) fn check(
        &self,
        slab: &SentSlab,
        una: SeqNumber,
        nxt: SeqNumber,
    ) -> Result<(), &'static str> {
        let (mut at, mut hint_passed) = (una, self.hint == NONE);
        let mut sums =
            SentQueue { head: self.head, tail: self.tail, hint: self.hint, ..Self::default() };
        let mut index = self.head;
        for entry in self.iter(slab) {
            hint_passed |= index == self.hint;
            if entry.seq != at || entry.len == 0 || entry.is_lost() && !hint_passed {
                return Err("sent segment");
            }
            at = entry.end();
            sums.count += 1;
            sums.sacked += u32::from(entry.is_sacked());
            sums.lost += u32::from(entry.is_lost());
            sums.in_flight += if entry.in_flight() { u32::from(entry.len) } else { 0 };
            index = entry.next;
        }
        if at == nxt && sums == *self { Ok(()) } else { Err("sums of sent segments") }
    }

    pub(crate) fn save(&self, slab: &SentSlab, out: &mut Writer<'_>) {
        out.u32(self.count);
        for entry in self.iter(slab) {
            out.u64(entry.at.as_micros());
            out.u32(entry.seq.0);
            out.u16(entry.len);
            out.u8(entry.marks);
        }
    }

    pub(crate) fn restore(
        slab: &mut SentSlab,
        input: &mut Reader<'_>,
    ) -> Result<SentQueue, SnapshotError> {
        let mut queue = SentQueue::default();
        for _ in 0..input.u32("number of sent segments")? {
            let at = Instant::from_micros(input.u64("time of a sent segment")?);
            let seq = SeqNumber(input.u32("sequence number of a sent segment")?);
            let len = input.u16("length of a sent segment")?;
            let marks = input.u8("marks of a sent segment")?;
            let controls = Controls { syn: marks & SYN != 0, fin: marks & FIN != 0 };
            if len < u16::from(controls.syn) + u16::from(controls.fin) || len == 0 {
                return Err(input.invalid("length of a sent segment", len.into()));
            }
            if !queue.push(slab, at, seq, len, controls) {
                return Err(SnapshotError::Capacity { what: "sent segments" });
            }
            let entry = &mut slab.entries[queue.tail as usize];
            entry.marks = marks & (SACKED | LOST | RETRANSMITTED | SYN | FIN | MTU_PROBE);
            if !entry.in_flight() {
                queue.in_flight -= u32::from(len);
            }
            if entry.is_sacked() {
                entry.marks &= !LOST;
            }
            queue.sacked += u32::from(entry.is_sacked());
            entry.run = queue.tail;
            if entry.is_lost() {
                queue.lost += 1;
                queue.hint = if queue.hint == NONE { queue.tail } else { queue.hint };
            }
        }
        Ok(queue)
    }
}

#[cfg(test)]
mod tests;
