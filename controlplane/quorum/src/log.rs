//! What a voter remembers: its vote, the decided view, and the changes behind it.
//!
//! Written as a whole each time, since it is small: changes that are decided are folded into the
//! view, and only a few are kept for a voter that lags. Little-endian: version (u16), whose memory
//! it is (32 bytes), term, vote, commit, index and term of the view (u64 each), the view as JSON
//! (length u16), the number of entries (u16), and each with term, index (u64) and data (length
//! u16).

use controlplane::{NodeName, View, register::ViewError};
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Storage, StorageError};
use thiserror::Error as ThisError;

const VERSION: u16 = 1;
/// Decided entries that are kept for voters that lag; one further behind gets the view itself.
const KEPT: u64 = 16;

/// Who votes: all nodes, and a witness where these are an even number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voters {
    cluster: String,
    me: NodeName,
    others: Vec<NodeName>,
    witness: Option<NodeName>,
}

/// A memory that cannot be taken up.
#[derive(Debug, ThisError)]
pub enum LogError {
    #[error("it is cut short, or says what cannot be")]
    Malformed,
    #[error("it has version {0}, this release reads version {VERSION}")]
    Version(u16),
    #[error(
        "it belongs to another voter, another cluster or another set of voters; compare \
         [cluster] name and [register] voters of all of them with what they were when it was made"
    )]
    Foreign,
    #[error(transparent)]
    View(#[from] ViewError),
}

impl Voters {
    /// `witness` is the one of all that is no node, if there is one.
    #[must_use]
    pub fn new(
        cluster: &str,
        me: NodeName,
        others: Vec<NodeName>,
        witness: Option<NodeName>,
    ) -> Voters {
        Voters { cluster: cluster.to_owned(), me, others, witness }
    }

    /// Who should lead: the witness, or a node that is not the primary. So the leader is there
    /// when the primary is gone.
    #[must_use]
    pub fn chair(&self, view: &View) -> Option<NodeName> {
        let primary = view.primary_name();
        let another = || self.sorted().into_iter().find(|name| Some(*name) != primary);
        self.witness.or_else(|| primary.and_then(|_| another()))
    }

    #[must_use]
    pub fn me(&self) -> NodeName {
        self.me
    }

    #[must_use]
    pub fn others(&self) -> &[NodeName] {
        &self.others
    }

    /// Raft's number of a voter: it follows from the name, so that nobody has to hand out any.
    #[must_use]
    pub fn id(name: NodeName) -> u64 {
        let hash = blake3::hash(name.as_str().as_bytes());
        let first = hash.as_bytes().first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(first).max(1)
    }

    #[must_use]
    pub fn name_of(&self, id: u64) -> Option<NodeName> {
        self.sorted().into_iter().find(|name| Voters::id(*name) == id)
    }

    /// The place of this voter among all, by name, from 0.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.sorted().iter().position(|name| *name == self.me).unwrap_or_default()
    }

    fn sorted(&self) -> Vec<NodeName> {
        let mut all: Vec<NodeName> = self.others.iter().copied().chain([self.me]).collect();
        all.sort();
        all
    }

    /// Tells whose memory this is.
    fn digest(&self) -> [u8; 32] {
        let names: Vec<String> = self.sorted().iter().map(ToString::to_string).collect();
        let text = format!("{}\n{}\n{}\n", self.cluster, self.me, names.join("\n"));
        *blake3::hash(text.as_bytes()).as_bytes()
    }
}

/// A voter's memory. What [`Storage`] reads of it is what the disk holds, since it changes only
/// together with that.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    voters: Voters,
    pub hard_state: HardState,
    /// The decided view, and the entry that decided it.
    view: View,
    view_index: u64,
    view_term: u64,
    /// The entry before the first one kept.
    base_index: u64,
    base_term: u64,
    entries: Vec<Entry>,
}

impl Log {
    pub fn new(voters: Voters) -> Log {
        Log {
            voters,
            hard_state: HardState::default(),
            view: View::default(),
            view_index: 0,
            view_term: 0,
            base_index: 0,
            base_term: 0,
            entries: Vec::new(),
        }
    }

    pub fn voters(&self) -> &Voters {
        &self.voters
    }

    pub fn view(&self) -> &View {
        &self.view
    }

    pub fn view_index(&self) -> u64 {
        self.view_index
    }

    /// Entries from another leader replace what follows them.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        let kept = first.index.saturating_sub(self.base_index + 1) as usize;
        self.entries.truncate(kept);
        self.entries.extend_from_slice(entries);
    }

    /// Folds a decided entry into the view. `next` is what it changes the view to, if it does.
    pub fn fold(&mut self, entry: &Entry, next: Option<View>) {
        self.view_index = entry.index;
        self.view_term = entry.term;
        if let Some(next) = next {
            self.view = next;
        }
        let surplus = self.view_index.saturating_sub(self.base_index + KEPT) as usize;
        let surplus = surplus.min(self.entries.len());
        if let Some(last) = self.entries[..surplus].last() {
            (self.base_index, self.base_term) = (last.index, last.term);
            self.entries.drain(..surplus);
        }
    }

    /// Takes up a leader's view in place of everything.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<(), LogError> {
        self.view = View::from_json(&snapshot.data)?;
        let metadata = snapshot.get_metadata();
        (self.view_index, self.view_term) = (metadata.index, metadata.term);
        (self.base_index, self.base_term) = (metadata.index, metadata.term);
        self.entries.clear();
        let commit = self.hard_state.commit.max(metadata.index);
        self.hard_state.commit = commit;
        Ok(())
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        out.extend(VERSION.to_le_bytes());
        out.extend(self.voters.digest());
        let HardState { term, vote, commit, .. } = self.hard_state;
        let numbers = [term, vote, commit, self.view_index, self.view_term];
        let base = [self.base_index, self.base_term];
        numbers.iter().chain(&base).for_each(|number| out.extend(number.to_le_bytes()));
        put_bytes(&mut out, self.view.to_json().as_bytes());
        out.extend((self.entries.len() as u16).to_le_bytes());
        for entry in &self.entries {
            out.extend(entry.term.to_le_bytes());
            out.extend(entry.index.to_le_bytes());
            put_bytes(&mut out, &entry.data);
        }
        out
    }

    pub fn decode(bytes: &[u8], voters: Voters) -> Result<Log, LogError> {
        let mut reader = Reader(bytes);
        let version = reader.u16().ok_or(LogError::Malformed)?;
        if version != VERSION {
            return Err(LogError::Version(version));
        }
        if reader.take(32).ok_or(LogError::Malformed)? != voters.digest() {
            return Err(LogError::Foreign);
        }
        let mut log = Log::new(voters);
        log.read(&mut reader).ok_or(LogError::Malformed)?;
        log.view = View::from_json(reader.bytes().ok_or(LogError::Malformed)?)?;
        log.entries = reader.entries(log.base_index).ok_or(LogError::Malformed)?;
        let last = log.base_index + log.entries.len() as u64;
        let possible = (log.base_index..=last).contains(&log.view_index)
            && (log.view_index..=last).contains(&log.hard_state.commit);
        if possible && reader.0.is_empty() { Ok(log) } else { Err(LogError::Malformed) }
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        self.hard_state.term = reader.u64()?;
        self.hard_state.vote = reader.u64()?;
        self.hard_state.commit = reader.u64()?;
        for number in
            [&mut self.view_index, &mut self.view_term, &mut self.base_index, &mut self.base_term]
        {
            *number = reader.u64()?;
        }
        Some(())
    }
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let ids: Vec<u64> = self.voters.sorted().into_iter().map(Voters::id).collect();
        Ok(RaftState::new(self.hard_state.clone(), ConfState::from((ids, Vec::new()))))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let range = low
            .checked_sub(self.base_index + 1)
            .and_then(|from| self.entries.get(from as usize..(from + high - low) as usize));
        let mut entries = range.ok_or(Error::Store(StorageError::Compacted))?.to_vec();
        raft::util::limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base_index {
            return Ok(self.base_term);
        }
        let place =
            index.checked_sub(self.base_index + 1).ok_or(Error::Store(StorageError::Compacted))?;
        let entry = self.entries.get(place as usize);
        entry.map(|entry| entry.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base_index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.base_index + self.entries.len() as u64)
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        if self.view_index < request_index {
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        let data = self.view.to_json().into_bytes().into();
        let mut snapshot = Snapshot { data, ..Snapshot::default() };
        let conf_state = self.initial_state()?.conf_state;
        let metadata = snapshot.mut_metadata();
        metadata.set_conf_state(conf_state);
        metadata.index = self.view_index;
        metadata.term = self.view_term;
        Ok(snapshot)
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).expect("a view is a few hundred bytes");
    out.extend(length.to_le_bytes());
    out.extend_from_slice(bytes);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }

    /// Entries that follow `base` without a gap.
    fn entries(&mut self, base: u64) -> Option<Vec<Entry>> {
        let count = self.u16()?;
        let mut entries = Vec::with_capacity(count.into());
        for place in 1..=u64::from(count) {
            let term = self.u64()?;
            let index = self.u64().filter(|index| *index == base + place)?;
            let data = self.bytes()?.to_vec().into();
            entries.push(Entry { term, index, data, ..Entry::default() });
        }
        Some(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(me: &str) -> Voters {
        let name = |name: &&str| NodeName::new(name).unwrap();
        let others = ["a", "b", "w"].iter().filter(|other| **other != me).map(name);
        Voters::new("lab", name(&me), others.collect(), Some(name(&"w")))
    }

    fn entry(index: u64, term: u64) -> Entry {
        let mut entry = Entry::default();
        (entry.index, entry.term) = (index, term);
        entry.data = vec![7; 3].into();
        entry
    }

    fn filled() -> Log {
        let mut log = Log::new(voters("a"));
        (1..=40).for_each(|index| log.append(&[entry(index, 2)]));
        (1..=30).for_each(|index| log.fold(&entry(index, 2), None));
        log.hard_state.term = 3;
        log.hard_state.commit = 30;
        log
    }

    #[test]
    fn decided_entries_are_folded_and_a_few_kept() {
        let log = filled();
        assert_eq!((log.first_index().unwrap(), log.last_index().unwrap()), (15, 40));
        assert_eq!(log.term(14).unwrap(), 2);
        assert!(log.term(13).is_err() && log.term(41).is_err());
        let some = log.entries(15, 18, None, GetEntriesContext::empty(false)).unwrap();
        assert_eq!(some.iter().map(|entry| entry.index).collect::<Vec<_>>(), [15, 16, 17]);
        assert!(log.entries(14, 18, None, GetEntriesContext::empty(false)).is_err());
    }

    #[test]
    fn entries_of_another_leader_replace_what_follows() {
        let mut log = filled();
        log.append(&[entry(35, 3)]);
        assert_eq!(log.last_index().unwrap(), 35);
        assert_eq!((log.term(34).unwrap(), log.term(35).unwrap()), (2, 3));
    }

    #[test]
    fn written_form_keeps_everything_and_refuses_the_rest() {
        let log = filled();
        let bytes = log.encode();
        let read = Log::decode(&bytes, voters("a")).unwrap();
        assert_eq!(read.encode(), bytes);
        assert_eq!(read.hard_state, log.hard_state);
        assert!(matches!(Log::decode(&bytes, voters("b")), Err(LogError::Foreign)));
        for length in 0..bytes.len() {
            assert!(Log::decode(&bytes[..length], voters("a")).is_err(), "{length} bytes");
        }
        let newer = [&2u16.to_le_bytes(), &bytes[2..]].concat();
        assert!(matches!(Log::decode(&newer, voters("a")), Err(LogError::Version(2))));
    }
}
