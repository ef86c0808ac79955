//! A model of register, roles and gate, small enough that every state of it can be visited.
//!
//! It says in the words of `controlplane` and `replication` what two nodes do, and leaves out what
//! time, frames and TCP add. Whatever can happen is an [`Action`]; the checker tries every order of
//! all of them. Docs: `docs/model.md`, where each action and rule is mapped to the code.
//!
//! Two registers: [`Kind::Quorum`] is asynchronous. Every message may be late, lost, repeated or
//! overtaken, each timeout may fire at any moment, and a frozen node is one whose turn never comes.
//! [`Kind::Pair`] needs more of the world: a node suspects its peer only when that is dead, frozen
//! or cut off on every path, and what was sent before has arrived.
//!
//! Start reading at `cluster.rs`, then `member.rs` (rules of the phases) and `log.rs` (the gate).

mod cluster;
mod log;
mod majority;
mod member;
mod pair;
mod plant;
mod properties;
mod quorum;
mod state;

pub use cluster::{Action, Begin, Cluster, Faults, Kind};
pub use majority::{Majority, MajorityPlant};
pub use member::Decision;
pub use plant::Plant;
pub use state::World;
