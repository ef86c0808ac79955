//! Who is primary, and how anybody can tell: failure detector, register, role changes, admin API.
//!
//! The core is sans-I/O: a [`Member`] is fed datagrams and the time in microseconds, and answers
//! with datagrams, a [`Directive`](replication::Directive) for the poll loop and [`Event`]s worth
//! a log line. It has no clock, socket or thread, so a test can crash, freeze and partition two of
//! them thousands of times. Only `admin` does I/O: the API on a Unix socket and its client.
//!
//! What this crate must never do: let two members of one cluster serve at once while any path
//! between them works; let a node serve that does not hold the state; trust a datagram.
//!
//! Start reading at `member/mod.rs`, then `register/mod.rs` and `detector.rs`. `message.rs` is what
//! nodes say to each other, `admin/types.rs` what operators read.

pub mod admin;
pub mod config;
pub mod detector;
pub mod events;
pub mod identity;
mod links;
pub mod manifest;
pub mod member;
pub mod message;
pub mod order;
mod peer;
pub mod register;
pub mod status;
pub mod timeline;

pub use config::{ConfigError, MemberConfig};
pub use events::{Event, Severity};
pub use identity::{Identity, NameError, NodeId, NodeName};
pub use manifest::Manifest;
pub use member::Member;
pub use message::MessageError;
pub use order::{Accepted, Order, OrderRefused};
pub use register::{
    AnyRegister, FenceLines, FencedRegister, PairRegister, QuorumLines, QuorumRegister, Register,
    View,
};
pub use status::MemberStatus;
pub use timeline::Timeline;
