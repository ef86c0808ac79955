//! Whole clusters in one thread, deterministic.
//!
//! A seed makes a [`plan`](plan::Plan): nodes, clients, wires, and what goes wrong when. A
//! [`World`](world::World) runs it: the workers, the engine, the replication and the control plane
//! that ship, behind [cards and clocks](node) of the world; [clients](host) with smoltcp's TCP and
//! with our own; [lines](net) with their weather. [Checkers](check) watch every frame. The same
//! seed gives the same story, bit for bit.
//!
//! What this crate must never do: read a real clock or draw a real random number in a world; ask
//! the product for a hook that only a simulation needs; forgive something without saying so in the
//! coverage table.
//!
//! Start reading at `world/mod.rs`; then `plan/faults.rs` and `check/connection.rs`.

pub mod check;
pub mod coverage;
pub mod host;
pub mod net;
pub mod node;
pub mod panics;
pub mod plan;
pub mod random;
pub mod shrink;
pub mod time;
pub mod trace;
pub mod wire;
pub mod world;
