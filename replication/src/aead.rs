//! The cipher: AES-256-GCM (NIST SP 800-38D, RFC 5116 5.2), in place and without memory of its own.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// Bytes that prove a sealed text.
pub const TAG_BYTES: usize = 16;
/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// A key, ready for use.
pub struct Aead(LessSafeKey);

impl Aead {
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES]) -> Aead {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("it is as long as the cipher's key");
        Aead(LessSafeKey::new(key))
    }

    /// Encrypts `text` in place, and returns what proves it and `clear`. A key must not see the
    /// same `number` with another text: who has both can forge.
    #[must_use]
    pub fn seal(&self, number: u64, clear: &[u8], text: &mut [u8]) -> [u8; TAG_BYTES] {
        let tag = self.0.seal_in_place_separate_tag(nonce(number), Aad::from(clear), text);
        let tag = tag.expect("a datagram is shorter than the cipher's limit");
        tag.as_ref().try_into().expect("a tag of 16 bytes")
    }

    /// Decrypts `sealed`, which ends in its tag, in place. `None`, and `sealed` worth nothing, when
    /// any bit of it or of `clear` is not what was sealed with this number.
    #[must_use]
    pub fn open<'s>(&self, number: u64, clear: &[u8], sealed: &'s mut [u8]) -> Option<&'s [u8]> {
        let text = self.0.open_in_place(nonce(number), Aad::from(clear), sealed).ok()?;
        Some(text)
    }
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

impl fmt::Debug for Aead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aead(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_and_any_change_is_seen() {
        let aead = Aead::new(&[7; KEY_BYTES]);
        let mut sealed = b"confidential".to_vec();
        let tag = aead.seal(9, b"header", &mut sealed);
        assert_ne!(sealed, b"confidential");
        sealed.extend_from_slice(&tag);
        let open = |number, clear: &[u8], mut sealed: Vec<u8>| {
            aead.open(number, clear, &mut sealed).map(<[u8]>::to_vec)
        };
        assert_eq!(open(9, b"header", sealed.clone()).as_deref(), Some(&b"confidential"[..]));
        assert_eq!(open(10, b"header", sealed.clone()), None);
        assert_eq!(open(9, b"Header", sealed.clone()), None);
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert_eq!(open(9, b"header", changed), None, "byte {place}");
        }
        assert_eq!(open(9, b"header", sealed[..TAG_BYTES - 1].to_vec()), None);
        assert_eq!(format!("{aead:?}"), "Aead(hidden)");
    }
}
