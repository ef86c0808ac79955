//! The plug-in through its table of functions, as packetdrill calls it.
#![allow(unsafe_code, reason = "the table is a C interface")]

mod calls;
mod errors;
mod options;
mod support;
mod waiting;
