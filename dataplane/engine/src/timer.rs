//! A hierarchical timing wheel: one deadline per id, all operations O(1).
//!
//! Ten levels of 64 slots cover all of shard time in ticks of a millisecond. An entry lies on the
//! level of the highest bits in which its tick differs from the current one, and moves down as
//! that comes near. Entries of the same tick fire in the order in which they were scheduled.

use crate::snapshot::{Reader, SnapshotError, Writer};
use crate::time::Instant;

/// Length of a tick: deadlines are rounded up to whole ones.
pub const TICK_US: u64 = 1_000;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// Enough for every tick that fits into 64 bits of microseconds.
const LEVELS: usize = 10;
const LAST_TICK: u64 = u64::MAX.div_ceil(TICK_US);
const NONE: u32 = u32::MAX;

/// Deadlines of ids. Ids are small numbers: memory grows with the largest one.
#[derive(Clone, Debug)]
pub struct TimerWheel {
    /// The current tick: nothing that is scheduled lies before it.
    now: u64,
    len: u32,
    /// Per level, a bit for each slot that holds entries.
    occupied: [u64; LEVELS],
    slots: [[Slot; SLOTS]; LEVELS],
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    first: u32,
    last: u32,
}

const EMPTY: Slot = Slot { first: NONE, last: NONE };

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// When it fires; `NEVER` without a deadline.
    tick: u64,
    previous: u32,
    next: u32,
}

/// Beyond the last tick.
const NEVER: u64 = u64::MAX;
const IDLE: Entry = Entry { tick: NEVER, previous: NONE, next: NONE };

impl TimerWheel {
    /// An empty wheel at the origin of time, with memory for the ids `0..ids`.
    pub fn with_capacity(ids: usize) -> TimerWheel {
        TimerWheel {
            now: 0,
            len: 0,
            occupied: [0; LEVELS],
            slots: [[EMPTY; SLOTS]; LEVELS],
            entries: Vec::with_capacity(ids),
        }
    }

    /// Whether its time is not ahead of `now`.
    pub fn has_reached_at_most(&self, now: Instant) -> bool {
        self.now <= now.as_micros() / TICK_US
    }

    /// How many ids have a deadline.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory that it takes.
    pub fn memory_bytes(&self) -> usize {
        size_of::<TimerWheel>() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Sets the deadline of `id`, instead of the one it had. It fires at the first tick that is not
    /// before `at`; at once if that has passed. `u32::MAX` is no id.
    #[inline]
    pub fn schedule(&mut self, id: u32, at: Instant) {
        assert!(id != NONE, "the largest number marks the end of a list");
        self.cancel(id);
        self.add(id, at.as_micros().div_ceil(TICK_US).max(self.now));
    }

    /// Takes back the deadline of `id`; false if it had none.
    #[inline]
    pub fn cancel(&mut self, id: u32) -> bool {
        let scheduled = self.entries.get(id as usize).is_some_and(|entry| entry.tick != NEVER);
        if scheduled {
            self.remove(id);
            self.len -= 1;
        }
        scheduled
    }

    /// When `id` fires, if it has a deadline: what was scheduled, rounded up to a whole tick.
    #[inline]
    pub fn deadline(&self, id: u32) -> Option<Instant> {
        let tick = self.entries.get(id as usize)?.tick;
        (tick != NEVER).then(|| instant(tick))
    }

    /// When [`TimerWheel::pop_expired`] wants to be called next. Never later than the first
    /// deadline. Earlier, at a time when entries move to a lower level, if that is far away: at
    /// most once per level.
    #[inline]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.next_event().map(|(_, _, tick)| instant(tick))
    }

    /// The next id whose deadline is not after `now`; its deadline is gone then. Call until there
    /// is none left. In between, deadlines may be set and taken back.
    #[inline]
    pub fn pop_expired(&mut self, now: Instant) -> Option<u32> {
        let target = now.as_micros() / TICK_US;
        loop {
            let event = self.next_event().filter(|&(_, _, tick)| tick <= target);
            let Some((level, slot, tick)) = event else {
                self.now = self.now.max(target);
                return None;
            };
            self.now = tick;
            if level == 0 {
                let id = self.slots[0][slot].first;
                self.cancel(id);
                return Some(id);
            }
            self.cascade(level, slot);
        }
    }

    /// Calls `fire` for each id whose deadline is not after `now`.
    #[inline]
    pub fn expire(&mut self, now: Instant, mut fire: impl FnMut(u32)) {
        while let Some(id) = self.pop_expired(now) {
            fire(id);
        }
    }

    /// The first slot in use, and the tick at which it starts.
    #[inline]
    fn next_event(&self) -> Option<(usize, usize, u64)> {
        // What lies on a level comes before everything on the levels above it, and never in a slot
        // before the current one.
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let slot = self.occupied[level].trailing_zeros() as usize;
        let shift = level as u32 * SLOT_BITS;
        let above = self.now >> shift >> SLOT_BITS << SLOT_BITS;
        Some((level, slot, (above | slot as u64) << shift))
    }

    /// Moves a slot's entries to lower levels, in order. These are empty.
    fn cascade(&mut self, level: usize, slot: usize) {
        let mut id = self.slots[level][slot].first;
        self.slots[level][slot] = EMPTY;
        self.occupied[level] &= !(1 << slot);
        while id != NONE {
            let Entry { tick, next, .. } = self.entries[id as usize];
            self.insert(id, tick);
            id = next;
        }
    }

    /// Gives an id its first deadline.
    #[inline]
    fn add(&mut self, id: u32, tick: u64) {
        if id as usize >= self.entries.len() {
            self.entries.resize(id as usize + 1, IDLE);
        }
        self.insert(id, tick);
        self.len += 1;
    }

    /// The level and slot in which a tick lies. Time does not change it until the slot's turn has
    /// come: up to then it changes no digit of the current tick above that of the slot, and keeps
    /// that one below the slot's number.
    #[inline]
    fn place(&self, tick: u64) -> (usize, usize) {
        let level = (63 - (tick ^ self.now | 1).leading_zeros()) / SLOT_BITS;
        (level as usize, (tick >> (level * SLOT_BITS)) as usize % SLOTS)
    }

    #[inline]
    fn insert(&mut self, id: u32, tick: u64) {
        let (level, slot) = self.place(tick);
        let list = &mut self.slots[level][slot];
        let previous = list.last;
        list.last = id;
        if previous == NONE {
            list.first = id;
            self.occupied[level] |= 1 << slot;
        } else {
            self.entries[previous as usize].next = id;
        }
        self.entries[id as usize] = Entry { tick, previous, next: NONE };
    }

    #[inline]
    fn remove(&mut self, id: u32) {
        let Entry { tick, previous, next } =
            std::mem::replace(&mut self.entries[id as usize], IDLE);
        let (level, slot) = self.place(tick);
        let list = &mut self.slots[level][slot];
        match previous {
            NONE => list.first = next,
            _ => self.entries[previous as usize].next = next,
        }
        match next {
            NONE => list.last = previous,
            _ => self.entries[next as usize].previous = previous,
        }
        if list.first == NONE {
            self.occupied[level] &= !(1 << slot);
        }
    }
}

fn instant(tick: u64) -> Instant {
    Instant::from_micros(tick.saturating_mul(TICK_US))
}

impl TimerWheel {
    /// Appends all deadlines to a snapshot.
    pub fn save(&self, out: &mut Writer<'_>) {
        out.u64(self.now);
        out.u32(self.len);
        // In the order of a slot's list, which is the order of firing.
        for slot in self.slots.iter().flatten() {
            let mut id = slot.first;
            while id != NONE {
                let entry = &self.entries[id as usize];
                out.u32(id);
                out.u64(entry.tick);
                id = entry.next;
            }
        }
    }

    /// Reads what [`TimerWheel::save`] wrote into a wheel with memory for the ids `0..ids`; a
    /// larger one is refused.
    pub fn restore(ids: usize, input: &mut Reader<'_>) -> Result<TimerWheel, SnapshotError> {
        let mut wheel = TimerWheel::with_capacity(ids);
        wheel.now = input.u64("current tick")?;
        if wheel.now > LAST_TICK {
            return Err(input.invalid("current tick", wheel.now));
        }
        let count = input.u32("number of timers")?;
        for _ in 0..count {
            let id = input.u32("timer id")?;
            let tick = input.u64("tick of a timer")?;
            if id as usize >= ids || wheel.deadline(id).is_some() {
                return Err(input.invalid("timer id", id.into()));
            }
            if tick < wheel.now || tick > LAST_TICK {
                return Err(input.invalid("tick of a timer", tick));
            }
            wheel.add(id, tick);
        }
        Ok(wheel)
    }
}

#[cfg(test)]
mod tests;
