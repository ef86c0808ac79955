//! The register as one key in etcd: one etcd for many clusters.
//!
//! A [`Scribe`] decides what to ask etcd and what its answers mean. It is sans-I/O, so the
//! simulation of the control plane runs the same code against an etcd in memory. The module
//! [`keeper`] gives it a thread, connections and a clock.
//!
//! The key's value is the view as JSON. It changes by a transaction alone, which etcd makes only if
//! the key still holds, byte for byte, the view before. So every value that the key ever had was
//! decided, and there is one of each epoch.
//!
//! What this crate must never do: take a write for made, or for not made, that etcd has not said so
//! of; make a key that is gone; go back to an older view; touch a poll loop, which knows of it by a
//! [`controlplane::QuorumRegister`] alone.
//!
//! Start reading at `scribe.rs`; `gateway.rs` is how etcd is spoken to, `client.rs` the connections, `tls.rs`
//! who is believed on them.

mod client;
mod endpoint;
mod gateway;
pub mod keeper;
mod scribe;
mod tls;
mod watch;

pub use client::Login;
pub use endpoint::{Endpoint, EndpointError};
pub use scribe::{Answer, Ask, Scribe, Trouble};
pub use tls::{Identity, Tls, TlsError};
