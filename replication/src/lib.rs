//! The input log's way to the other nodes: records, batches, snapshots, the link session, the gate,
//! the digest.
//!
//! A shard's inputs are appended to a [`Session`] as records; the records of one poll loop are a
//! batch; the session carries batches in order, exactly once, over a link that loses, reorders and
//! duplicates datagrams. The other node finds them in a [`PendingLog`]. There is a session for each
//! other node; packets wait in a [`Gate`] until all that count have confirmed what they depend on,
//! for which a [`Ledger`] tells each session's confirmations in common terms.
//!
//! Everything here is sans-I/O: no clock, socket or thread; time comes in as microseconds of the
//! caller's own monotonic clock, datagrams come in and go out as byte slices. Record bodies are
//! opaque. Memory is taken at construction, never afterwards. Whatever the link says is untrusted:
//! it is refused with an error value and a counter, and never panics.
//!
//! Start reading at `session.rs`, then `frame.rs` (what a datagram looks like), `seal.rs` (how it is
//! proven and hidden) and `record.rs` (what a batch looks like). `role.rs` holds the words that
//! worker and control plane share, `keys.rs` their keys.

pub mod aead;
pub mod digest;
pub mod frame;
pub mod gate;
pub mod keys;
pub mod ledger;
pub mod pending;
pub mod record;
pub mod role;
pub mod seal;
pub mod session;
pub mod snapshot;
pub mod tail;

pub use digest::DigestCheck;
pub use gate::{CommitRule, Gate, GateCounters, Lane};
pub use keys::{KeyId, KeyRing, KeyRingError};
pub use ledger::{Ledger, Mark, confirmed_by_all, held_by_majority, majority_of};
pub use pending::PendingLog;
pub use record::{Milestone, Record, RecordKind};
pub use role::{
    Directive, Epoch, GateMode, Incarnation, Link, Log, MAX_LINKS, MAX_PEERS, Majority, Mismatch,
    Path, PeerIndex, Position, Report, Role, Solicited, Transfer, Votes,
};
pub use seal::{Numbers, Protection, Sending};
pub use session::{AppendError, Rejected, Session, SessionConfig, SessionCounters};
pub use tail::Tail;
