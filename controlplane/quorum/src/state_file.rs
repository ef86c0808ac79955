//! A voter's memory on disk: one file with two slots that are written in turn.
//!
//! A crash tears at most the slot that was being written; the other one holds what was promised
//! before. The file has its full size from the beginning, so that a disk that fills up later takes
//! nothing away. A slot is, little-endian: magic, sequence number (u64), length (u32), the memory,
//! and BLAKE3 over all of that.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

use crate::voter::Disk;

const NAME: &str = "register.state";
const MAGIC: [u8; 8] = *b"HFREGST1";
const SLOT_BYTES: usize = 64 * 1024;
const HEADER_BYTES: usize = 8 + 8 + 4;
const HASH_BYTES: usize = 32;
const MOST_BYTES: usize = SLOT_BYTES - HEADER_BYTES - HASH_BYTES;

/// Why the file cannot be used.
#[derive(Debug, Error)]
pub enum StateError {
    #[error(
        "there is no {}; a voter that lost its memory could forget what it promised. If this \
         cluster's register was never made, make it with --init, on each of its three voters",
        .0.display()
    )]
    Missing(PathBuf),
    #[error(
        "{} exists already; start without --init. To begin anew, stop all voters, remove this \
         file on all of them, and start each with --init",
        .0.display()
    )]
    Exists(PathBuf),
    #[error("{} is used by another process; a voter runs only once", .0.display())]
    InUse(PathBuf),
    #[error("{} holds no whole memory: both of its slots are damaged", .0.display())]
    Damaged(PathBuf),
    #[error("cannot use {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// The open file. It is locked: no other process can use it.
#[derive(Debug)]
pub struct StateFile {
    file: File,
    /// Of the slot that was written last.
    sequence: u64,
}

impl StateFile {
    /// Makes the file of a voter that has never voted, with `memory` in it.
    ///
    /// # Errors
    /// It exists, or cannot be written.
    pub fn create(folder: &Path, memory: &[u8]) -> Result<StateFile, StateError> {
        let path = folder.join(NAME);
        if path.exists() {
            return Err(StateError::Exists(path));
        }
        let make = || {
            fs::create_dir_all(folder)?;
            // Under another name until it is whole: a crash meanwhile leaves nothing half done.
            let draft = folder.join(format!("{NAME}.new"));
            let file = OpenOptions::new().write(true).create(true).truncate(true).open(&draft)?;
            file.write_all_at(&vec![0; 2 * SLOT_BYTES], 0)?;
            let mut state = StateFile { file, sequence: 0 };
            state.save(memory)?;
            state.file.sync_all()?;
            fs::rename(&draft, &path)?;
            File::open(folder)?.sync_all()
        };
        make().map_err(|source| StateError::Io { path: path.clone(), source })?;
        Ok(StateFile::open(folder)?.0)
    }

    /// Opens the file, and reads the newest memory that is whole.
    ///
    /// # Errors
    /// It does not exist, is in use, is damaged, or cannot be read.
    pub fn open(folder: &Path) -> Result<(StateFile, Vec<u8>), StateError> {
        let path = folder.join(NAME);
        let io_error = |source| StateError::Io { path: path.clone(), source };
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StateError::Missing(path));
            }
            result => result.map_err(io_error)?,
        };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(StateError::InUse(path));
        }
        let mut bytes = vec![0; 2 * SLOT_BYTES];
        file.read_exact_at(&mut bytes, 0).map_err(io_error)?;
        let slots = bytes.chunks(SLOT_BYTES).filter_map(read_slot);
        let newest = slots.max_by_key(|(sequence, _)| *sequence);
        let (sequence, memory) = newest.ok_or(StateError::Damaged(path))?;
        Ok((StateFile { file, sequence }, memory.to_vec()))
    }
}

impl Disk for StateFile {
    fn save(&mut self, memory: &[u8]) -> io::Result<()> {
        if memory.len() > MOST_BYTES {
            let text = format!("{} bytes are more than a slot of {MOST_BYTES}", memory.len());
            return Err(io::Error::other(text));
        }
        let sequence = self.sequence + 1;
        let mut slot = Vec::with_capacity(HEADER_BYTES + memory.len() + HASH_BYTES);
        slot.extend(MAGIC);
        slot.extend(sequence.to_le_bytes());
        slot.extend((memory.len() as u32).to_le_bytes());
        slot.extend(memory);
        slot.extend(blake3::hash(&slot).as_bytes());
        let at = (sequence % 2) * SLOT_BYTES as u64;
        self.file.write_all_at(&slot, at)?;
        self.file.sync_data()?;
        self.sequence = sequence;
        Ok(())
    }
}

/// The sequence number and the memory of a slot that is whole.
fn read_slot(slot: &[u8]) -> Option<(u64, &[u8])> {
    let (magic, rest) = slot.split_first_chunk::<8>()?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let memory = rest.get(..length)?;
    let hash = rest.get(length..length + HASH_BYTES)?;
    let right = blake3::hash(&slot[..HEADER_BYTES + length]);
    (*magic == MAGIC && right.as_bytes() == hash).then_some((u64::from_le_bytes(*sequence), memory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_memory_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(StateFile::open(folder.path()), Err(StateError::Missing(_))));
        let mut state = StateFile::create(folder.path(), b"first").unwrap();
        for text in ["second", "third, and longer", "4"] {
            state.save(text.as_bytes()).unwrap();
            let in_use = StateFile::open(folder.path());
            assert!(matches!(in_use, Err(StateError::InUse(_))));
            drop(state);
            let (reopened, memory) = StateFile::open(folder.path()).unwrap();
            assert_eq!(memory, text.as_bytes());
            state = reopened;
        }
        assert!(state.save(&vec![0; MOST_BYTES + 1]).is_err());
        let again = StateFile::create(folder.path(), b"");
        assert!(matches!(again, Err(StateError::Exists(_))));
    }

    #[test]
    fn torn_write_leaves_the_memory_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        drop(StateFile::create(folder.path(), b"kept").unwrap());
        let before = fs::read(&path).unwrap();
        let (mut state, _) = StateFile::open(folder.path()).unwrap();
        state.save(b"torn").unwrap();
        drop(state);
        let after = fs::read(&path).unwrap();
        let changed: Vec<usize> = (0..after.len()).filter(|at| after[*at] != before[*at]).collect();
        // Whatever part of the write has reached the disk.
        for torn_at in &changed[1..] {
            let mut torn = after.clone();
            torn[*torn_at..].copy_from_slice(&before[*torn_at..]);
            fs::write(&path, torn).unwrap();
            assert_eq!(StateFile::open(folder.path()).unwrap().1, b"kept", "torn at {torn_at}");
        }
        fs::write(&path, vec![0; 2 * SLOT_BYTES]).unwrap();
        assert!(matches!(StateFile::open(folder.path()), Err(StateError::Damaged(_))));
    }
}
