//! Loads: what is done on connections, when, and what is measured. Nothing here knows a socket or
//! a packet; see [`transport`].

pub mod pattern;
pub mod transport;
