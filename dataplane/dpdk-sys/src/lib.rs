//! Raw bindings to the system's DPDK: what bindgen finds in its headers, and `csrc/shim.c` for the
//! functions and macros that exist only inline. Nothing else: no safety, no policy, no state.
//!
//! This crate must never grow an API of its own. The safe one is the crate `dpdk`.

// The whole crate is foreign functions; the places that call them say why it is sound.
#![allow(unsafe_code)]
#![allow(non_camel_case_types, non_upper_case_globals, non_snake_case)]
#![allow(missing_debug_implementations, clippy::all, clippy::undocumented_unsafe_blocks)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
