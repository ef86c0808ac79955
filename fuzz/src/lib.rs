//! What the fuzz targets do with their input, one module for each. A finding is a panic: of the
//! code under test, or of an assertion here about what must hold whatever the input is.
//!
//! `fuzz_targets/` has only the entry points, `examples/seeds.rs` makes the corpora of the
//! repository.

pub mod admin;
pub mod batch;
pub mod config;
pub mod control;
pub mod engine;
pub mod frame;
pub mod http;
pub mod link;
pub mod node;
pub mod options;
pub mod packets;
pub mod snapshot;
