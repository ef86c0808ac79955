//! The keys that two nodes share, and the keys that each purpose gets from them.
//!
//! A shared secret never seals anything itself. From it, BLAKE3 derives a key for the messages of
//! each run of a node, and one for each (epoch, sender, receiver, channel) of the log: a key of
//! one run, direction, configuration or cluster opens nothing of another.

use std::fmt;

use arrayvec::ArrayVec;

use crate::aead::{Aead, KEY_BYTES};
use crate::frame::Address;
use crate::role::Incarnation;

/// Secrets that two nodes may share at once.
pub const MAX_KEYS: usize = 4;

const SHARED: &str = "holdfast 2026 shared key of a cluster v1";
const NAME: &str = "holdfast 2026 name of a shared key v1";
const LOG: &[u8; 8] = b"log     ";
const CONTROL: &[u8; 8] = b"control ";

/// Names a shared key and tells nothing about it. The same secret of another cluster has another
/// name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Secrets of which no [`KeyRing`] can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    #[error("there is no key; expected 1 to {MAX_KEYS}")]
    None,
    #[error("there are {0} keys; expected 1 to {MAX_KEYS}")]
    TooMany(usize),
    #[error("key {0} is there twice")]
    Twice(KeyId),
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct SharedKey {
    id: KeyId,
    key: [u8; KEY_BYTES],
}

/// The keys that a node shares with its peer. The first one seals, each of them opens.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRing(ArrayVec<SharedKey, MAX_KEYS>);

impl KeyRing {
    /// A ring of these secrets, which may have any length and are as strong as their entropy.
    ///
    /// # Errors
    /// None, too many, or the same twice.
    pub fn new(cluster: &str, secrets: &[&[u8]]) -> Result<KeyRing, KeyRingError> {
        let mut keys = ArrayVec::<SharedKey, MAX_KEYS>::new();
        for secret in secrets {
            let key = shared(cluster, secret);
            if keys.iter().any(|other| other.id == key.id) {
                return Err(KeyRingError::Twice(key.id));
            }
            keys.try_push(key).map_err(|_| KeyRingError::TooMany(secrets.len()))?;
        }
        if keys.is_empty() { Err(KeyRingError::None) } else { Ok(KeyRing(keys)) }
    }

    /// A ring of one secret.
    #[must_use]
    pub fn single(cluster: &str, secret: &[u8]) -> KeyRing {
        KeyRing(ArrayVec::from_iter([shared(cluster, secret)]))
    }

    /// The key that seals.
    #[must_use]
    pub fn sealing(&self) -> KeyId {
        self.0[0].id
    }

    /// All keys, the one that seals first.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.0.iter().map(|key| key.id)
    }

    /// What seals and opens control messages of `sender`. `None`: that key is not here.
    #[must_use]
    pub fn control(&self, id: KeyId, sender: Incarnation) -> Option<Aead> {
        self.derive(id, &[CONTROL, &sender.0.to_le_bytes()])
    }

    /// What seals and opens the datagrams of a log. `None`: that key is not here.
    #[must_use]
    pub(crate) fn log(&self, id: KeyId, address: &Address, generation: u64) -> Option<Aead> {
        let Address { channel, epoch, sender, receiver } = address;
        let (channel, epoch) = (channel.to_le_bytes(), epoch.0.to_le_bytes());
        let (sender, receiver) = (sender.0.to_le_bytes(), receiver.0.to_le_bytes());
        let generation = generation.to_le_bytes();
        self.derive(id, &[LOG, &channel, &epoch, &sender, &receiver, &generation])
    }

    fn derive(&self, id: KeyId, purpose: &[&[u8]]) -> Option<Aead> {
        let shared = self.0.iter().find(|key| key.id == id)?;
        let mut hasher = blake3::Hasher::new_keyed(&shared.key);
        purpose.iter().for_each(|part| {
            hasher.update(part);
        });
        Some(Aead::new(hasher.finalize().as_bytes()))
    }
}

fn shared(cluster: &str, secret: &[u8]) -> SharedKey {
    let derive = |context| {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(&(cluster.len() as u64).to_le_bytes());
        hasher.update(cluster.as_bytes());
        hasher.update(secret);
        *hasher.finalize().as_bytes()
    };
    let [a, b, c, d, ..] = derive(NAME);
    SharedKey { id: KeyId(u32::from_be_bytes([a, b, c, d])), key: derive(SHARED) }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyRing").field(&self.ids().collect::<ArrayVec<_, MAX_KEYS>>()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::Epoch;

    #[test]
    fn cluster_and_secret_both_change_a_key_and_neither_is_shown() {
        let ring = KeyRing::single("lab", b"secret");
        assert_eq!(ring, KeyRing::single("lab", b"secret"));
        assert_ne!(ring.sealing(), KeyRing::single("labs", b"ecret").sealing());
        assert_ne!(ring.sealing(), KeyRing::single("lab", b"other").sealing());
        assert_eq!(format!("{ring:?}"), format!("KeyRing([{}])", ring.sealing()));
    }

    #[test]
    fn ring_takes_one_to_four_different_secrets() {
        let ring = |secrets: &[&[u8]]| KeyRing::new("lab", secrets);
        assert_eq!(ring(&[]), Err(KeyRingError::None));
        let several = ring(&[b"a", b"b", b"c", b"d"]).unwrap();
        assert_eq!(several.ids().count(), 4);
        assert_eq!(several.sealing(), KeyRing::single("lab", b"a").sealing());
        assert_eq!(ring(&[b"a", b"b", b"c", b"d", b"e"]), Err(KeyRingError::TooMany(5)));
        let twice = KeyRing::single("lab", b"b").sealing();
        assert_eq!(ring(&[b"a", b"b", b"b"]), Err(KeyRingError::Twice(twice)));
    }

    /// Seals with one key and tries to open with another.
    fn opens(seal: &Aead, open: &Aead) -> bool {
        let mut text = *b"text";
        let tag = seal.seal(1, b"", &mut text);
        open.open(1, b"", &mut [&text[..], &tag].concat()).is_some()
    }

    #[test]
    fn each_name_in_a_derivation_makes_another_key() {
        let ring = KeyRing::single("lab", b"secret");
        let id = ring.sealing();
        let (sender, receiver) = (Incarnation(1), Incarnation(2));
        let address = Address { channel: 3, epoch: Epoch(4), sender, receiver };
        let log = |address: &Address, generation| ring.log(id, address, generation).unwrap();
        let key = log(&address, 5);
        assert!(opens(&key, &log(&address, 5)));
        for other in [
            Address { channel: 4, ..address },
            Address { epoch: Epoch(5), ..address },
            Address { sender: Incarnation(3), ..address },
            Address { receiver: Incarnation(3), ..address },
            address.reversed(),
        ] {
            assert!(!opens(&key, &log(&other, 5)), "{other:?}");
        }
        assert!(!opens(&key, &log(&address, 6)));
        let control = ring.control(id, sender).unwrap();
        assert!(opens(&control, &ring.control(id, sender).unwrap()));
        assert!(!opens(&control, &ring.control(id, receiver).unwrap()));
        assert!(ring.control(KeyId(id.0 ^ 1), sender).is_none());
    }
}
