//! A fixed number of small values that are linked into lists by index.

/// The end of a list.
pub(super) const NONE: u32 = u32::MAX;

/// Slots for at most `capacity` values; a freed slot is the next to be used again.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Slot<T>>,
    capacity: u32,
    free: u32,
    used: u32,
}

#[derive(Debug)]
struct Slot<T> {
    next: u32,
    value: T,
}

impl<T> Slab<T> {
    pub(super) fn new(capacity: u32) -> Slab<T> {
        assert!(capacity < NONE, "a slab's indices must fit beside the mark for the end of a list");
        Slab { slots: Vec::with_capacity(capacity as usize), capacity, free: NONE, used: 0 }
    }

    pub(super) fn used(&self) -> u32 {
        self.used
    }

    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.capacity as usize * size_of::<Slot<T>>()
    }

    /// Stores a value that is linked to nothing; `None` if all slots are used.
    #[inline]
    pub(super) fn insert(&mut self, value: T) -> Option<u32> {
        let slot = Slot { next: NONE, value };
        let id = if self.free != NONE {
            let id = self.free;
            self.free = self.slots[id as usize].next;
            self.slots[id as usize] = slot;
            id
        } else if self.used < self.capacity {
            // No slot is free, so those that were ever used are all in use.
            self.slots.push(slot);
            self.used
        } else {
            return None;
        };
        self.used += 1;
        Some(id)
    }

    /// Frees a slot and returns what it was linked to.
    #[inline]
    pub(super) fn remove(&mut self, id: u32) -> u32 {
        let next = self.next(id);
        self.slots[id as usize].next = self.free;
        self.free = id;
        self.used -= 1;
        next
    }

    #[inline]
    pub(super) fn get(&self, id: u32) -> &T {
        &self.slots[id as usize].value
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: u32) -> &mut T {
        &mut self.slots[id as usize].value
    }

    #[inline]
    pub(super) fn next(&self, id: u32) -> u32 {
        self.slots[id as usize].next
    }

    #[inline]
    pub(super) fn link(&mut self, id: u32, next: u32) {
        self.slots[id as usize].next = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_out_each_slot_once_and_the_last_freed_first() {
        let mut slab = Slab::new(3);
        let ids: Vec<u32> = (0..3).map(|value| slab.insert(value).unwrap()).collect();
        assert_eq!((ids, slab.insert(9)), (vec![0, 1, 2], None));
        slab.remove(1);
        slab.remove(0);
        assert_eq!((slab.used(), slab.insert(7), slab.insert(8)), (1, Some(0), Some(1)));
        assert_eq!((slab.insert(9), *slab.get(0), *slab.get(2)), (None, 7, 2));
    }
}
