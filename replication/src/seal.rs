//! How a datagram of the log is proven on the link, and hidden: what stands behind its frame.
//!
//! ```text
//! | frame: 32 bytes in the clear, the rest encrypted | tag      | key    | number |
//! |                                                  | 16 bytes | u32 LE | u64 LE |
//! ```
//!
//! The key follows from the shared key's name and from whom the frame names (`keys.rs`), so who
//! opens a datagram knows its sender, its receiver, the run of either, epoch and channel. The
//! number is the cipher's nonce; each is used once, also for what is sent again, and the receiver
//! takes each once. After 2^24 datagrams the next key of the same names is taken, long before the
//! cipher's bound on data under one key matters (RFC 8446 5.5).
//!
//! Without encryption a checksum stands in its place, which sees damage and nothing else:
//!
//! ```text
//! | frame in the clear | CRC-32 (IEEE 802.3), u32 LE |
//! ```

mod window;

use arrayvec::ArrayVec;

use crate::aead::{Aead, TAG_BYTES};
use crate::frame::{Address, CLEAR_BYTES};
use crate::keys::{KeyId, KeyRing};
use window::Window;

/// Most bytes behind a frame.
pub const SEAL_BYTES: usize = TAG_BYTES + KEY_ID_BYTES + NUMBER_BYTES;

const KEY_ID_BYTES: usize = 4;
const NUMBER_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 4;
/// Datagrams that are sealed with one key.
const DATAGRAMS_PER_KEY: u64 = 1 << 24;
/// Keys of a receiver that are ready for use: while keys change, the old and the new come mixed.
const READY_KEYS: usize = 3;

/// How the log is protected on the link. Both nodes must do it alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// Encrypted and authenticated with AES-256-GCM.
    Sealed(KeyRing),
    /// A checksum against damage. Whoever reaches the link can read the log, and write it.
    Checksum,
}

/// Why a datagram was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("datagram of {length} bytes is too short for its seal")]
    Truncated { length: usize },
    #[error("datagram is sealed with key {0}, which this node does not have")]
    UnknownKey(KeyId),
    #[error("datagram was forged or damaged: its seal does not fit")]
    Unauthentic,
    #[error("datagram number {0} came before, or is too old to tell")]
    Replayed(u64),
    #[error(
        "datagram is damaged: its checksum is {carried:#010x}, its bytes give {computed:#010x}"
    )]
    Checksum { carried: u32, computed: u32 },
}

/// The numbers of what one sender seals. Keep one for all that it ever seals in a run: a number
/// that came again under the same key would give the key away.
#[derive(Debug, Default)]
pub struct Numbers(u64);

impl Numbers {
    fn take(&mut self) -> u64 {
        let number = self.0;
        self.0 += 1;
        number
    }
}

/// What follows a frame on the wire.
pub type Trailer = ArrayVec<u8, SEAL_BYTES>;

/// Seals what leaves on one session.
#[derive(Debug)]
pub struct Sealer {
    address: Address,
    protection: Protection,
    /// The key in use, and its generation.
    ready: Option<(u64, Aead)>,
}

impl Sealer {
    /// For frames that are addressed like this.
    #[must_use]
    pub fn new(address: Address, protection: &Protection) -> Sealer {
        Sealer { address, protection: protection.clone(), ready: None }
    }

    /// Takes other keys.
    pub fn protect(&mut self, protection: &Protection) {
        self.protection = protection.clone();
        self.ready = None;
    }

    /// Encrypts a whole frame in place, and returns what follows it.
    ///
    /// # Panics
    /// When `frame` is shorter than a frame can be.
    #[must_use]
    pub fn seal(&mut self, numbers: &mut Numbers, frame: &mut [u8]) -> Trailer {
        let mut trailer = Trailer::new();
        let mut put = |bytes: &[u8]| trailer.try_extend_from_slice(bytes).expect("sized for it");
        let ring = match &self.protection {
            Protection::Checksum => {
                put(&crc32fast::hash(frame).to_le_bytes());
                return trailer;
            }
            Protection::Sealed(ring) => ring,
        };
        let (id, number) = (ring.sealing(), numbers.take());
        let generation = number / DATAGRAMS_PER_KEY;
        if self.ready.as_ref().is_none_or(|(of, _)| *of != generation) {
            self.ready = ring.log(id, &self.address, generation).map(|key| (generation, key));
        }
        let (_, key) = self.ready.as_ref().expect("a ring has the key that seals");
        let (clear, text) = frame.split_at_mut(CLEAR_BYTES);
        put(&key.seal(number, clear, text));
        put(&id.0.to_le_bytes());
        put(&number.to_le_bytes());
        trailer
    }
}

/// A key that a receiver has ready.
#[derive(Debug)]
struct ReadyKey {
    id: KeyId,
    generation: u64,
    key: Aead,
}

/// Opens what comes on one session.
#[derive(Debug)]
pub struct Opener {
    address: Address,
    protection: Protection,
    ready: ArrayVec<ReadyKey, READY_KEYS>,
    window: Window,
}

impl Opener {
    /// For frames that are addressed like this.
    #[must_use]
    pub fn new(address: Address, protection: &Protection) -> Opener {
        let (ready, window) = (ArrayVec::new(), Window::default());
        Opener { address, protection: protection.clone(), ready, window }
    }

    /// Takes other keys. What came already is not forgotten.
    pub fn protect(&mut self, protection: &Protection) {
        self.protection = protection.clone();
        self.ready.clear();
    }

    /// Decrypts a datagram in place, and returns its frame.
    ///
    /// # Errors
    /// It is not what this session's peer sealed, or it came before. What is in `datagram` is
    /// worth nothing then.
    pub fn open<'d>(&mut self, datagram: &'d mut [u8]) -> Result<&'d [u8], SealError> {
        let length = datagram.len();
        let frame_bytes = match &self.protection {
            Protection::Checksum => {
                verify_checksum(datagram)?;
                length - CHECKSUM_BYTES
            }
            Protection::Sealed(_) => {
                self.unseal(datagram)?;
                length - SEAL_BYTES
            }
        };
        Ok(&datagram[..frame_bytes])
    }

    fn unseal(&mut self, datagram: &mut [u8]) -> Result<(), SealError> {
        let length = datagram.len();
        if length < CLEAR_BYTES + SEAL_BYTES {
            return Err(SealError::Truncated { length });
        }
        let (sealed, rest) = datagram.split_at_mut(length - KEY_ID_BYTES - NUMBER_BYTES);
        let (id, number) = rest.split_at(KEY_ID_BYTES);
        let id = KeyId(u32::from_le_bytes(id.try_into().expect("split there")));
        let number = u64::from_le_bytes(number.try_into().expect("split there"));
        if !self.window.admits(number) {
            return Err(SealError::Replayed(number));
        }
        let key = self.key(id, number / DATAGRAMS_PER_KEY)?;
        let (clear, sealed) = sealed.split_at_mut(CLEAR_BYTES);
        key.open(number, clear, sealed).ok_or(SealError::Unauthentic)?;
        self.window.note(number);
        Ok(())
    }

    fn key(&mut self, id: KeyId, generation: u64) -> Result<&Aead, SealError> {
        let same = |ready: &ReadyKey| ready.id == id && ready.generation == generation;
        let at = match self.ready.iter().position(same) {
            Some(at) => at,
            None => {
                let Protection::Sealed(ring) = &self.protection else {
                    return Err(SealError::UnknownKey(id));
                };
                let key = ring.log(id, &self.address, generation);
                let key = key.ok_or(SealError::UnknownKey(id))?;
                if self.ready.is_full() {
                    self.ready.remove(0);
                }
                self.ready.push(ReadyKey { id, generation, key });
                self.ready.len() - 1
            }
        };
        Ok(&self.ready[at].key)
    }
}

fn verify_checksum(datagram: &[u8]) -> Result<(), SealError> {
    let length = datagram.len();
    let Some((frame, carried)) = datagram.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err(SealError::Truncated { length });
    };
    let (carried, computed) = (u32::from_le_bytes(*carried), crc32fast::hash(frame));
    if carried == computed { Ok(()) } else { Err(SealError::Checksum { carried, computed }) }
}

/// A frame that is to leave, and the seal that it gets once its parts stand together.
#[derive(Debug)]
pub struct Sending<'a> {
    parts: [&'a [u8]; 2],
    sealer: &'a mut Sealer,
    numbers: &'a mut Numbers,
}

impl<'a> Sending<'a> {
    pub(crate) fn new(
        parts: [&'a [u8]; 2],
        sealer: &'a mut Sealer,
        numbers: &'a mut Numbers,
    ) -> Sending<'a> {
        Sending { parts, sealer, numbers }
    }

    /// What the frame is the concatenation of.
    #[must_use]
    pub fn parts(&self) -> [&'a [u8]; 2] {
        self.parts
    }

    /// Most bytes that it takes on the wire, the seal included.
    #[must_use]
    pub fn max_bytes(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum::<usize>() + SEAL_BYTES
    }

    /// Encrypts the concatenated parts where they stand, and returns what follows them.
    #[must_use]
    pub fn seal(self, frame: &mut [u8]) -> Trailer {
        debug_assert_eq!(frame.len() + SEAL_BYTES, self.max_bytes());
        self.sealer.seal(self.numbers, frame)
    }

    /// The whole datagram in a buffer of its own, for those who have no place to build it in.
    #[must_use]
    pub fn to_vec(self) -> Vec<u8> {
        let mut datagram = self.parts.concat();
        let trailer = self.seal(&mut datagram);
        datagram.extend_from_slice(&trailer);
        datagram
    }
}

#[cfg(test)]
mod tests;
