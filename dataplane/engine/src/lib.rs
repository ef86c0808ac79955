//! The deterministic shard: wire formats, TCP, timers and the services on it.
//!
//! A shard is a value: `step(now, segments) -> packets`. Time and input come in as arguments,
//! packets go out through an [`egress::Egress`]. The same inputs give the same state and the same
//! packets on every node, in debug and in release.
//!
//! It must never read a clock, do I/O, start a thread, draw a random number of its own, or depend
//! on the order of a hash map.
//!
//! Start reading at `shard` (what a shard is), then `tcp` (RFC 9293 and its friends), then
//! `service`. Underneath lie [`wire`] (formats), [`buffer`] (bytes in flight), [`timer`] and
//! [`table`].

pub mod addr;
pub mod buffer;
pub mod config;
pub mod content;
pub mod counters;
pub mod digest;
pub mod egress;
pub mod guard;
pub mod hash;
pub mod seq;
pub mod service;
pub mod shard;
pub mod snapshot;
mod sources;
pub mod table;
pub mod tcp;
pub mod time;
pub mod timer;
pub mod wire;
