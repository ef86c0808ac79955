//! What a backup keeps of a worker's log, for the others. Where packets leave as soon as a majority
//! holds what they depend on, the node that takes over may lack a part of that: it gets it from
//! another one that has it.
//!
//! The steps of a worker's log have numbers, their *places*: all nodes that have the log get the
//! same steps at the same places, however their batches were cut. [`Milestone`]s in the log say
//! where it is, and up to where all nodes hold it: what is before that nobody will ask for. What is
//! kept is bounded thereby: it is never more than what the primary has not had confirmed by the
//! slowest node, which its session's window bounds.

use std::collections::VecDeque;

use crate::ledger::Mark;
use crate::record::{HEADER_BYTES, Milestone, Record, RecordKind, header};

/// The end of a loop in what is kept.
#[derive(Debug, Clone, Copy)]
struct Stone {
    mark: Mark,
    /// Behind its last byte.
    end: u64,
    /// Of the step that follows.
    place: u64,
}

/// The last steps of one log, in a ring. All memory is taken by [`Tail::new`].
#[derive(Debug)]
pub struct Tail {
    bytes: Box<[u8]>,
    /// What is kept: counted in bytes since the beginning, places in the ring modulo its length.
    start: u64,
    end: u64,
    /// The place of the step at `start`.
    first: u64,
    /// The place of the step that follows; `None` before that is known.
    next: Option<u64>,
    stones: VecDeque<Stone>,
    most_stones: usize,
}

impl Tail {
    /// One that keeps nothing and knows no place.
    #[must_use]
    pub fn none() -> Tail {
        Tail::new(0, 0)
    }

    /// Room for so many bytes of steps, of so many loops.
    #[must_use]
    pub fn new(capacity: usize, loops: usize) -> Tail {
        Tail {
            bytes: vec![0; capacity].into_boxed_slice(),
            start: 0,
            end: 0,
            first: 0,
            next: None,
            stones: VecDeque::with_capacity(loops),
            most_stones: loops,
        }
    }

    /// Whether it has no memory.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.bytes.is_empty()
    }

    /// For a log that begins: at place 0, or, `None`, at one that a milestone will tell.
    pub fn begin(&mut self, place: Option<u64>) {
        self.start = 0;
        self.end = 0;
        self.first = place.unwrap_or(0);
        self.next = place;
        self.stones.clear();
    }

    /// Up to here this node has the log; `None`: nobody can tell.
    #[must_use]
    pub fn place(&self) -> Option<u64> {
        self.next
    }

    /// Bytes that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes note of a record of the log, each in its turn.
    #[inline]
    pub fn note(&mut self, record: &Record<'_>) {
        if self.is_none() {
            return;
        }
        if record.kind.is_step() {
            self.keep(record);
        } else if let Some(milestone) = record.milestone() {
            self.pass(milestone);
        }
    }

    /// A step that came from another node: it is this one's now, and is not kept.
    fn follow(&mut self) {
        self.next = self.next.map(|place| place + 1);
    }

    fn pass(&mut self, milestone: Milestone) {
        if self.next != Some(milestone.place) {
            // What came before is of no log that counted for this node.
            self.begin(Some(milestone.place));
        }
        if self.stones.len() == self.most_stones {
            self.forget_oldest();
        }
        let Milestone { place, mark, held } = milestone;
        self.stones.push_back(Stone { mark, end: self.end, place });
        while self.stones.front().is_some_and(|stone| stone.mark <= held) {
            self.forget_oldest();
        }
        if self.is_empty() {
            // Starting over at 0 keeps a ring that is never full in the cache.
            self.stones.clear();
            (self.start, self.end) = (0, 0);
        }
    }

    /// Up to the end of the oldest loop, or all if there is none.
    fn forget_oldest(&mut self) {
        let all = Stone { mark: Mark::START, end: self.end, place: self.next.unwrap_or(0) };
        let oldest = self.stones.pop_front().unwrap_or(all);
        (self.start, self.first) = (oldest.end, oldest.place);
    }

    fn keep(&mut self, record: &Record<'_>) {
        let Some(place) = self.next else { return };
        let length = HEADER_BYTES + record.body.len();
        // Never so, see above. A tail that begins later is of less use, and as true.
        while self.bytes.len() - self.len() < length && !self.is_empty() {
            self.forget_oldest();
        }
        if length > self.bytes.len() {
            self.begin(Some(place + 1));
            return;
        }
        self.put(&header(record.shard, record.kind, record.body.len() as u32));
        self.put(record.body);
        self.next = Some(place + 1);
    }

    fn put(&mut self, bytes: &[u8]) {
        let at = (self.end % self.bytes.len() as u64) as usize;
        let (now, later) = bytes.split_at(bytes.len().min(self.bytes.len() - at));
        self.bytes[at..at + now.len()].copy_from_slice(now);
        self.bytes[..later.len()].copy_from_slice(later);
        self.end += bytes.len() as u64;
    }

    /// So many bytes from `at` on, in two parts.
    fn get(&self, at: u64, length: usize) -> [&[u8]; 2] {
        let at = (at % self.bytes.len() as u64) as usize;
        let now = length.min(self.bytes.len() - at);
        [&self.bytes[at..at + now], &self.bytes[..length - now]]
    }

    /// The step at `at`: its shard, its kind, and where its body lies.
    fn step(&self, at: u64) -> Option<(u16, RecordKind, [&[u8]; 2])> {
        if at >= self.end {
            return None;
        }
        let mut bytes = [0; HEADER_BYTES];
        let parts = self.get(at, HEADER_BYTES);
        let parts = parts.iter().copied().flatten();
        bytes.iter_mut().zip(parts).for_each(|(to, byte)| *to = *byte);
        let (shard, kind, length) = crate::record::parse_header(&bytes)?;
        Some((shard, kind, self.get(at + HEADER_BYTES as u64, length)))
    }
}

/// Gives a tail to another node, in a log of its own: where it begins, its steps, that it ends.
#[derive(Debug, Default)]
pub struct Giving {
    /// The step that is next.
    at: Option<u64>,
    ended: bool,
}

impl Giving {
    /// Appends as much as `append` takes, which says `false` when there is no more room. The tail
    /// must be final: what a node has said that it ends with, it must never go beyond.
    pub fn give(&mut self, tail: &Tail, mut append: impl FnMut(u16, RecordKind, &[&[u8]]) -> bool) {
        // One that knows no place holds nothing that could be asked for.
        if self.ended || tail.place().is_none() {
            return;
        }
        let mut at = match self.at {
            Some(at) => at,
            None => {
                let begin = Milestone { place: tail.first, mark: Mark::START, held: Mark::START };
                if !append(0, RecordKind::Milestone, &[&begin.to_bytes()]) {
                    return;
                }
                tail.start
            }
        };
        while let Some((shard, kind, body)) = tail.step(at) {
            self.at = Some(at);
            if !append(shard, kind, &body) {
                return;
            }
            at += (HEADER_BYTES + body[0].len() + body[1].len()) as u64;
        }
        self.at = Some(at);
        self.ended = append(0, RecordKind::TailEnd, &[]);
    }
}

/// Takes in another node's tail.
#[derive(Debug, Default)]
pub struct Gathering {
    /// The place of the step that comes next.
    next: Option<u64>,
    /// It began behind what this node has.
    gap: bool,
    complete: bool,
}

impl Gathering {
    /// Whether the shard is to make the step that `record` is: this node did not have it, and has
    /// all before it. `own` is what it has.
    pub fn take(&mut self, own: &mut Tail, record: &Record<'_>) -> bool {
        match record.kind {
            RecordKind::Milestone => {
                self.next = record.milestone().map(|milestone| milestone.place);
                false
            }
            RecordKind::TailEnd => {
                self.complete = self.next.is_some() && !self.gap && own.place().is_some();
                false
            }
            kind if kind.is_step() => self.take_step(own),
            _ => false,
        }
    }

    fn take_step(&mut self, own: &mut Tail) -> bool {
        let (Some(place), Some(ours)) = (self.next, own.place()) else { return false };
        self.next = Some(place + 1);
        self.gap |= place > ours;
        let wanted = place == ours;
        if wanted {
            own.follow();
        }
        wanted
    }

    /// All that the other node holds, this one holds, too.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }
}

#[cfg(test)]
mod tests;
