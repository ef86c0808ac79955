//! End to end: two or three nodes and unmodified kernel clients in the namespaces of `scripts/lab`.
//!
//! These tests need root and the release binaries, and share one lab: `scripts/test` runs them one
//! after the other. What a client must see (every byte right, no reset) is judged by
//! `holdfast-probe`, `curl` and `socat`; here the trouble is made and the verdicts are collected.

mod etcd;
mod flood;
mod guard;
mod ingress;
mod input;
mod ipv6;
mod keys;
mod lab;
mod lan;
mod latency;
mod links;
mod mtu;
mod scale;
mod services;
mod switchover;
mod takeover;
mod trio;
mod witness;
