//! Lists of connections, linked through the connections themselves: those in TIME-WAIT, and the
//! half-open ones of each service. A connection is in one of them at most.

use super::{NONE, Slot};
use crate::tcp::tcb::Tcb;

/// Both ends of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct List {
    /// The one that came first.
    pub oldest: u32,
    /// The one that came last.
    pub newest: u32,
}

impl Default for List {
    fn default() -> Self {
        List { oldest: NONE, newest: NONE }
    }
}

impl List {
    /// Puts a connection that is in no list behind all others.
    pub fn append(&mut self, slots: &mut [Option<Slot>], id: u32) {
        let newest = self.newest;
        if let Some(tcb) = tcb(slots, id) {
            (tcb.older, tcb.newer) = (newest, NONE);
        }
        match tcb(slots, newest) {
            Some(tcb) => tcb.newer = id,
            None => self.oldest = id,
        }
        self.newest = id;
    }

    /// Takes a connection out of this list, which it must be in.
    pub fn unlink(&mut self, slots: &mut [Option<Slot>], id: u32) {
        let Some(this) = tcb(slots, id) else { return };
        let (older, newer) = (this.older, this.newer);
        match tcb(slots, older) {
            Some(tcb) => tcb.newer = newer,
            None => self.oldest = newer,
        }
        match tcb(slots, newer) {
            Some(tcb) => tcb.older = older,
            None => self.newest = older,
        }
    }

    /// All of them, the oldest first.
    pub fn ids(&self, slots: &[Option<Slot>]) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut id = self.oldest;
        while id != NONE {
            ids.push(id);
            id = slots[id as usize].as_ref().map_or(NONE, |slot| slot.tcb.newer);
        }
        ids
    }
}

fn tcb(slots: &mut [Option<Slot>], id: u32) -> Option<&mut Tcb> {
    slots.get_mut(id as usize)?.as_mut().map(|slot| &mut slot.tcb)
}
