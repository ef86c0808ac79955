//! The runner of packet scripts: reads them ([`parse`]), plays them against a shard in virtual time
//! ([`run`]), and compares what comes out with what was written ([`check`]).
//!
//! It builds and reads packets with code of its own ([`packet`], [`ip`], [`icmp`]), so that the
//! engine's wire formats are judged and not just used.

pub mod check;
pub mod flow;
pub mod icmp;
pub mod ip;
pub mod packet;
pub mod parse;
pub mod run;
pub mod setup;
pub mod syntax;
pub mod words;
