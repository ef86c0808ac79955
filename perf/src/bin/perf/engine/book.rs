//! Which connection of the load is which of the shard's.

use engine::shard::ConnectionId;

use super::local_ends::LocalEnds;
use crate::load::transport::Index;

/// No connection.
const NOBODY: u32 = u32::MAX;

/// A connection of the load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Its number in the shard; `NOBODY` if there is none.
    id: u32,
    /// Its local end.
    end: u32,
    /// The last write was cut short.
    pub blocked: bool,
}

/// Connections by the load's number and by the shard's.
#[derive(Debug)]
pub(super) struct Book {
    entries: Vec<Entry>,
    indices: Vec<Index>,
    pub ends: LocalEnds,
    /// Over, and to be told so at the next poll: the last bytes are read before.
    pub over: Vec<Index>,
}

impl Book {
    pub fn new(ends: LocalEnds) -> Book {
        Book { entries: Vec::new(), indices: Vec::new(), ends, over: Vec::new() }
    }

    /// Notes a new connection.
    pub fn enter(&mut self, index: Index, id: ConnectionId, end: u32) {
        place(&mut self.entries, index, Entry { id: NOBODY, end: 0, blocked: false });
        place(&mut self.indices, id.0, NOBODY);
        debug_assert_eq!(self.entries[index as usize].id, NOBODY, "the index is in use");
        self.entries[index as usize] = Entry { id: id.0, end, blocked: false };
        self.indices[id.0 as usize] = index;
    }

    /// The load's number of a connection of the shard's that it still knows.
    #[inline]
    pub fn index(&self, id: ConnectionId) -> Option<Index> {
        self.indices.get(id.0 as usize).copied().filter(|index| *index != NOBODY)
    }

    /// The shard's number of a connection of the load's, and what is noted of it.
    #[inline]
    pub fn entry(&mut self, index: Index) -> Option<(ConnectionId, &mut Entry)> {
        let entry = self.entries.get_mut(index as usize)?;
        (entry.id != NOBODY).then_some((ConnectionId(entry.id), entry))
    }

    /// The load is done with a connection.
    pub fn strike(&mut self, index: Index) {
        let Some((id, entry)) = self.entry(index) else { return };
        entry.id = NOBODY;
        let end = entry.end;
        self.indices[id.0 as usize] = NOBODY;
        self.ends.put_back(end);
    }
}

/// Makes `list` long enough to have `at`.
fn place<T: Clone>(list: &mut Vec<T>, at: u32, nothing: T) {
    if list.len() <= at as usize {
        list.resize(at as usize + 1, nothing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_to_each_other_until_struck() {
        let ends = LocalEnds::new("10.0.0.2".parse().unwrap(), "1-2".parse().unwrap());
        let mut book = Book::new(ends);
        let (end, _) = book.ends.take().unwrap();
        book.enter(7, ConnectionId(3), end);
        assert_eq!(book.index(ConnectionId(3)), Some(7));
        assert_eq!(book.entry(7).map(|(id, _)| id), Some(ConnectionId(3)));
        assert!(book.index(ConnectionId(2)).is_none() && book.entry(6).is_none());
        book.strike(7);
        book.strike(7);
        assert!(book.index(ConnectionId(3)).is_none() && book.entry(7).is_none());
        book.ends.take().unwrap();
        assert_eq!(book.ends.take().unwrap().0, end);
        assert!(book.ends.take().is_none(), "it was given back once");
    }
}
