//! Who keeps the register when it is not the pair alone: voters, or a service.
//!
//! A [`Voter`] is one of three that decide by majority (Raft): the two nodes, and a witness that
//! holds nothing but its vote. It is sans-I/O: time is told in ticks, messages come in and go out,
//! its [`Disk`] is given to it; so the simulation of the control plane runs the same code. The
//! module [`keeper`] gives it a thread, a UDP socket and a file.
//!
//! What this crate must never do: answer before its disk holds what the answer promises; take a
//! datagram that does not prove to come from a voter of this cluster; touch a poll loop, which
//! knows of it by a [`controlplane::QuorumRegister`] alone.
//!
//! Start reading at `voter.rs`; `log.rs` is what a voter remembers, `state_file.rs` how a disk
//! keeps it, `datagram.rs` what voters send each other.

mod datagram;
pub mod keeper;
mod log;
mod state_file;
mod voter;

pub use datagram::{DatagramError, Key};
pub use log::{LogError, Voters};
pub use state_file::{StateError, StateFile};
pub use voter::{Disk, Role, Standing, Voter, VoterError};
