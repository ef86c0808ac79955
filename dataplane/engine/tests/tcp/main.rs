//! The shard as its peers see it. Each module holds the behaviours of one part of TCP.

mod acks;
mod closing;
mod determinism;
mod ecn;
mod external;
mod goodput;
mod handshake;
mod heir;
mod independent;
mod ipv6;
mod loss;
mod path;
mod security;
mod settings;
mod snapshots;
mod support;
mod takeover;
mod transfers;
mod windows;
