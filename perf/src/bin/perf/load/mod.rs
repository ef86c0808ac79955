//! Loads: what is done on connections, when, and what is measured. Nothing here knows a socket or
//! a packet; see [`transport`].
//!
//! Start reading at [`driver`], the loop of a run, and [`workload`], what it runs.

pub mod context;
pub mod driver;
pub mod meter;
mod opening;
mod schedule;
pub mod transport;
pub mod trouble;
pub mod workload;

#[cfg(test)]
mod tests;
