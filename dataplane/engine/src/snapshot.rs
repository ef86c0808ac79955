//! How state becomes bytes and state again: a length-checked little-endian codec.
//!
//! A snapshot comes from another node and is not trusted: whatever the bytes are, reading gives a
//! value or a [`SnapshotError`], never a panic.

use thiserror::Error;

/// More than anything can have happened that is counted one by one.
const MAX_TOTAL: u64 = 1 << 63;

/// State that can be written out and read back to an equal value.
pub trait Snapshot: Sized {
    /// Appends the state.
    fn save(&self, out: &mut Writer<'_>);

    /// Reads what [`Snapshot::save`] wrote.
    fn restore(input: &mut Reader<'_>) -> Result<Self, SnapshotError>;
}

/// Why bytes are not a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum SnapshotError {
    /// The bytes end too early.
    #[error("snapshot ends at byte {at}, where {wanted} more bytes of {what} were expected")]
    Truncated {
        /// Where the reader stood.
        at: usize,
        /// How many bytes it needed.
        wanted: usize,
        /// What it was about to read.
        what: &'static str,
    },
    /// A value that cannot be.
    #[error("snapshot has an impossible {what} before byte {at}: {value}")]
    Invalid {
        /// Where the reader stood.
        at: usize,
        /// What the value should have been.
        what: &'static str,
        /// The value.
        value: u64,
    },
    /// Written by another version.
    #[error(
        "snapshot has version {found}, this node reads version {expected}: run the same release on both nodes"
    )]
    Version {
        /// The version in the snapshot.
        found: u16,
        /// The version that this code reads.
        expected: u16,
    },
    /// Bytes are left over.
    #[error("snapshot has {extra} bytes after its end")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// It holds more than the configuration has room for.
    #[error(
        "snapshot needs more {what} than this node is configured for: compare both configurations"
    )]
    Capacity {
        /// Of what there was too little.
        what: &'static str,
    },
}

/// Appends values to a byte vector.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// A writer that appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer { out }
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    /// Appends a flag.
    pub fn bool(&mut self, value: bool) {
        self.u8(value.into());
    }

    /// Appends 2 bytes.
    pub fn u16(&mut self, value: u16) {
        self.raw(&value.to_le_bytes());
    }

    /// Appends 4 bytes.
    pub fn u32(&mut self, value: u32) {
        self.raw(&value.to_le_bytes());
    }

    /// Appends 8 bytes.
    pub fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    /// Appends an optional number.
    pub fn option_u64(&mut self, value: Option<u64>) {
        self.bool(value.is_some());
        if let Some(value) = value {
            self.u64(value);
        }
    }

    /// Appends bytes as they are; the reader must know how many.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Appends a length and the bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.u64(bytes.len() as u64);
        self.raw(bytes);
    }
}

/// Reads values in the order in which a [`Writer`] wrote them.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// A reader that goes on where another one of the same bytes [was](Self::position).
    pub fn resume(bytes: &'a [u8], at: usize) -> Reader<'a> {
        Reader { bytes, at: at.min(bytes.len()) }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Reads `len` bytes; `what` names them in the error.
    pub fn raw(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], SnapshotError> {
        let left = &self.bytes[self.at..];
        let Some(taken) = left.get(..len) else {
            return Err(SnapshotError::Truncated { at: self.at, wanted: len - left.len(), what });
        };
        self.at += len;
        Ok(taken)
    }

    /// Reads exactly `N` bytes.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], SnapshotError> {
        let mut array = [0; N];
        array.copy_from_slice(self.raw(N, what)?);
        Ok(array)
    }

    /// Reads one byte.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, SnapshotError> {
        Ok(self.array::<1>(what)?[0])
    }

    /// Reads a flag.
    pub fn bool(&mut self, what: &'static str) -> Result<bool, SnapshotError> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.invalid(what, other.into())),
        }
    }

    /// Reads 2 bytes.
    pub fn u16(&mut self, what: &'static str) -> Result<u16, SnapshotError> {
        self.array(what).map(u16::from_le_bytes)
    }

    /// Reads 4 bytes.
    pub fn u32(&mut self, what: &'static str) -> Result<u32, SnapshotError> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// Reads 8 bytes.
    pub fn u64(&mut self, what: &'static str) -> Result<u64, SnapshotError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// Reads a number of things that have happened, which has room to go on growing.
    pub fn total(&mut self, what: &'static str) -> Result<u64, SnapshotError> {
        match self.u64(what)? {
            total if total <= MAX_TOTAL => Ok(total),
            total => Err(self.invalid(what, total)),
        }
    }

    /// Reads an optional number.
    pub fn option_u64(&mut self, what: &'static str) -> Result<Option<u64>, SnapshotError> {
        Ok(if self.bool(what)? { Some(self.u64(what)?) } else { None })
    }

    /// Reads what [`Writer::bytes`] wrote.
    pub fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], SnapshotError> {
        let len = self.u64(what)?;
        let len = usize::try_from(len).map_err(|_| self.invalid(what, len))?;
        self.raw(len, what)
    }

    /// Reads a version and refuses any other than `expected`.
    pub fn version(&mut self, expected: u16) -> Result<(), SnapshotError> {
        match self.u16("version")? {
            found if found == expected => Ok(()),
            found => Err(SnapshotError::Version { found, expected }),
        }
    }

    /// The error for a value just read that cannot be.
    pub fn invalid(&self, what: &'static str, value: u64) -> SnapshotError {
        SnapshotError::Invalid { at: self.at, what, value }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Refuses left-over bytes.
    pub fn finish(self) -> Result<(), SnapshotError> {
        match self.remaining() {
            0 => Ok(()),
            extra => Err(SnapshotError::Trailing { extra }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        let mut out = Writer::new(&mut bytes);
        out.u16(3);
        out.u8(1);
        out.bool(true);
        out.u32(7);
        out.u64(u64::MAX);
        out.option_u64(None);
        out.option_u64(Some(9));
        out.bytes(b"abc");
        let mut input = Reader::new(&bytes);
        input.version(3).unwrap();
        assert_eq!((input.u8("a"), input.bool("b"), input.u32("c")), (Ok(1), Ok(true), Ok(7)));
        assert_eq!((input.u64("d"), input.option_u64("e")), (Ok(u64::MAX), Ok(None)));
        assert_eq!((input.option_u64("f"), input.bytes("g")), (Ok(Some(9)), Ok(&b"abc"[..])));
        input.finish().unwrap();
    }

    #[test]
    fn each_kind_of_damage_has_its_error() {
        let wanted = Reader::new(&[1, 2]).u32("age").unwrap_err();
        assert_eq!(wanted, SnapshotError::Truncated { at: 0, wanted: 2, what: "age" });
        let flag = Reader::new(&[2]).bool("flag").unwrap_err();
        assert_eq!(flag, SnapshotError::Invalid { at: 1, what: "flag", value: 2 });
        let version = Reader::new(&[2, 0]).version(1).unwrap_err();
        assert_eq!(version, SnapshotError::Version { found: 2, expected: 1 });
        assert_eq!(Reader::new(&[0]).finish(), Err(SnapshotError::Trailing { extra: 1 }));
        let huge = [0xff; 8];
        assert!(matches!(
            Reader::new(&huge).bytes("name"),
            Err(SnapshotError::Truncated { .. } | SnapshotError::Invalid { .. })
        ));
    }
}
