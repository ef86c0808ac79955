//! What each kind of NIC or virtual device needs, as data: EAL arguments, queues, offloads,
//! buffers, idle strategy, and the failover timers that fit it.
//!
//! The built-in profiles are the TOML files in `profiles/`, compiled in; an operator's file
//! replaces single keys of one ([`load`]). This crate must never touch a device, a clock or DPDK
//! itself: it is plain data that anyone may use.
//!
//! Start reading at [`Profile`]; [`strict`] is the TOML reader that knows the nearest known key.

mod builtin;
mod profile;
pub mod strict;

pub use builtin::{ProfileError, builtin, load, load_text, names};
pub use profile::{
    Attach, Device, Eal, Frames, Idle, IdleStrategy, Mempool, Offloads, Profile, Queues, Timers,
};
