//! What voters send each other: one Raft message in each UDP datagram, and proof of who says it.
//!
//! Little-endian: magic `HFRV`, version (u16), sender's and receiver's name (length u8 and bytes),
//! the sender's run, the receiver's run as far as the sender knows it (0: not), a number that
//! grows with each datagram of a run, the highest such number that the sender got of the receiver's
//! run (u64 each), the message (may be empty: a greeting), and a 16-byte tag: keyed BLAKE3 over
//! everything before it.
//!
//! Raft itself bears loss, repetition and reordering. That a datagram names the receiver's run
//! keeps recorded ones of former times away all the same. And a new run of a voter takes the
//! place of the known one only if it has got what was sent after that one was known: one that
//! has ended cannot have, so no late datagram of it brings it back.

use controlplane::NodeName;
use thiserror::Error;

const MAGIC: [u8; 4] = *b"HFRV";
const VERSION: u16 = 1;
const TAG_BYTES: usize = 16;
/// Runs of a voter that have ended and may still have datagrams on the way.
const FORMER_RUNS: usize = 16;

/// A datagram that is dropped, and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DatagramError {
    #[error("register datagram is none, or is cut short")]
    Malformed,
    #[error("register datagram has version {0}, this release speaks version {VERSION}")]
    Version(u16),
    #[error(
        "register datagram has a wrong authentication tag; compare [cluster] name and secret of \
         all voters"
    )]
    Unauthentic,
    #[error("register datagram is from or for another voter than was expected")]
    Stranger,
    #[error("register datagram is old, or a repetition")]
    Replayed,
}

/// The key that voters prove themselves with.
#[derive(Clone)]
pub struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(hidden)")
    }
}

impl Key {
    /// Derives the key. `secret` may have any length; it is as strong as its entropy.
    #[must_use]
    pub fn derive(cluster: &str, secret: &[u8]) -> Key {
        let mut hasher = blake3::Hasher::new_derive_key("holdfast register datagrams v1");
        hasher.update(&(cluster.len() as u64).to_le_bytes());
        hasher.update(cluster.as_bytes());
        hasher.update(secret);
        Key(*hasher.finalize().as_bytes())
    }
}

/// The datagrams between this voter and another one.
#[derive(Debug)]
pub(crate) struct Channel {
    key: Key,
    me: NodeName,
    other: NodeName,
    my_run: u64,
    /// The other's run that our datagrams name, and its highest number.
    introduced: u64,
    echo: u64,
    /// The other's run that is known to know ours, and our number when it became that.
    run: u64,
    run_since: u64,
    former: Vec<u64>,
    sent: u64,
    received: u64,
}

impl Channel {
    /// `run`: of this process, random and never zero.
    pub fn new(key: Key, me: NodeName, other: NodeName, run: u64) -> Channel {
        Channel {
            key,
            me,
            other,
            my_run: run,
            introduced: 0,
            echo: 0,
            run: 0,
            run_since: 0,
            former: Vec::new(),
            sent: 0,
            received: 0,
        }
    }

    pub fn other(&self) -> NodeName {
        self.other
    }

    pub fn seal(&mut self, message: &[u8]) -> Vec<u8> {
        self.sent += 1;
        let mut out = Vec::with_capacity(message.len() + 128);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        for name in [self.me, self.other] {
            out.push(name.as_str().len() as u8);
            out.extend(name.as_str().as_bytes());
        }
        for number in [self.my_run, self.introduced, self.sent, self.echo] {
            out.extend(number.to_le_bytes());
        }
        out.extend(message);
        let tag = blake3::keyed_hash(&self.key.0, &out);
        out.extend(&tag.as_bytes()[..TAG_BYTES]);
        out
    }

    /// The message of a datagram. Empty: it is a greeting, or the sender does not know this run
    /// yet, so that what it says may be of former times.
    ///
    /// # Errors
    /// It is not from the other voter to this one, or not fresh.
    pub fn open<'a>(&mut self, datagram: &'a [u8]) -> Result<&'a [u8], DatagramError> {
        use DatagramError::{Malformed, Replayed, Stranger, Unauthentic};
        if datagram.get(..4) != Some(&MAGIC) {
            return Err(Malformed);
        }
        let version = datagram.get(4..6).ok_or(Malformed)?;
        let version = u16::from_le_bytes([version[0], version[1]]);
        if version != VERSION {
            return Err(DatagramError::Version(version));
        }
        let signed = datagram.len().checked_sub(TAG_BYTES).ok_or(Malformed)?;
        let (content, tag) = datagram.split_at_checked(signed).ok_or(Malformed)?;
        let right = blake3::keyed_hash(&self.key.0, content);
        let mut given = *right.as_bytes();
        given[..TAG_BYTES].copy_from_slice(tag);
        // Hashes compare in constant time.
        if right != blake3::Hash::from_bytes(given) {
            return Err(Unauthentic);
        }
        let mut rest = content.get(6..).ok_or(Malformed)?;
        for name in [self.other, self.me] {
            let (length, after) = rest.split_first().ok_or(Malformed)?;
            let (given, after) = after.split_at_checked((*length).into()).ok_or(Malformed)?;
            if given != name.as_str().as_bytes() {
                return Err(Stranger);
            }
            rest = after;
        }
        let mut number = || -> Option<u64> {
            let (number, after) = rest.split_first_chunk()?;
            rest = after;
            Some(u64::from_le_bytes(*number))
        };
        let run = number().filter(|run| *run != 0).ok_or(Malformed)?;
        let (to, sequence) = number().zip(number()).ok_or(Malformed)?;
        let echo = number().ok_or(Malformed)?;
        if self.former.contains(&run) {
            return Err(Replayed);
        }
        let knows_us = to == self.my_run;
        let succeeds = self.run == 0 || knows_us && echo > self.run_since;
        if run != self.run && !succeeds {
            return Ok(&[]);
        }
        self.introduce(run, sequence);
        if !knows_us {
            return Ok(&[]);
        }
        if run != self.run {
            self.change_run(run);
        }
        if sequence <= self.received {
            return Err(Replayed);
        }
        self.received = sequence;
        Ok(rest)
    }

    fn introduce(&mut self, run: u64, sequence: u64) {
        if run != self.introduced {
            (self.introduced, self.echo) = (run, 0);
        }
        self.echo = self.echo.max(sequence);
    }

    fn change_run(&mut self, run: u64) {
        if self.run != 0 {
            if self.former.len() == FORMER_RUNS {
                self.former.remove(0);
            }
            self.former.push(self.run);
        }
        self.run = run;
        self.run_since = self.sent;
        self.received = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels() -> (Channel, Channel) {
        let name = |name| NodeName::new(name).unwrap();
        let key = Key::derive("lab", b"secret");
        let left = Channel::new(key.clone(), name("a"), name("w"), 11);
        (left, Channel::new(key, name("w"), name("a"), 22))
    }

    /// Two channels that know each other's runs.
    fn introduced() -> (Channel, Channel) {
        let (mut left, mut right) = channels();
        for _ in 0..2 {
            assert_eq!(right.open(&left.seal(b"")), Ok(&[][..]));
            assert_eq!(left.open(&right.seal(b"")), Ok(&[][..]));
        }
        (left, right)
    }

    #[test]
    fn nothing_counts_before_the_runs_are_known() {
        let (mut left, mut right) = channels();
        assert_eq!(right.open(&left.seal(b"one")), Ok(&[][..]));
        assert_eq!(left.open(&right.seal(b"two")), Ok(&b"two"[..]));
        assert_eq!(right.open(&left.seal(b"three")), Ok(&b"three"[..]));
    }

    #[test]
    fn damaged_repeated_and_foreign_datagrams_are_dropped() {
        let (mut left, mut right) = introduced();
        let sealed = left.seal(b"vote");
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(right.open(&damaged).is_err());
            assert!(right.open(&sealed[..at]).is_err());
        }
        assert_eq!(right.open(&sealed), Ok(&b"vote"[..]));
        assert_eq!(right.open(&sealed), Err(DatagramError::Replayed));
        assert_eq!(left.open(&sealed), Err(DatagramError::Stranger));
        let other = Key::derive("lab", b"other");
        let name = |name| NodeName::new(name).unwrap();
        let mut forger = Channel::new(other, name("a"), name("w"), 11);
        assert_eq!(right.open(&forger.seal(b"vote")), Err(DatagramError::Unauthentic));
    }

    /// The left voter's next run makes itself known to the right one.
    fn restart(run: u64, right: &mut Channel) -> Channel {
        let mut next = Channel { my_run: run, ..channels().0 };
        assert_eq!(right.open(&next.seal(b"early")), Ok(&[][..]));
        assert_eq!(next.open(&right.seal(b"")), Ok(&[][..]));
        assert_eq!(right.open(&next.seal(b"vote")), Ok(&b"vote"[..]));
        assert_eq!(next.open(&right.seal(b"hello")), Ok(&b"hello"[..]));
        next
    }

    #[test]
    fn run_that_has_ended_says_nothing_more() {
        let (mut left, mut right) = introduced();
        let late = left.seal(b"late");
        restart(33, &mut right);
        assert_eq!(right.open(&late), Err(DatagramError::Replayed));
    }

    #[test]
    fn late_word_of_a_run_that_was_never_known_ends_no_later_one() {
        let (_, mut right) = introduced();
        let mut unknown = Channel { my_run: 33, ..channels().0 };
        assert_eq!(unknown.open(&right.seal(b"")), Ok(&[][..]));
        let late = unknown.seal(b"late");
        let mut living = restart(44, &mut right);
        assert_eq!(right.open(&late), Ok(&[][..]));
        assert_eq!(right.open(&living.seal(b"vote")), Ok(&b"vote"[..]));
    }
}
