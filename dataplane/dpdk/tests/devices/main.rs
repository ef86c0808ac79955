//! Each device that works without hardware, for real: EAL, pools, ports, frames both ways.
//!
//! EAL starts once per process, so each test is played by processes of its own: see `isolate`.

// All of this is test code; clippy's own leave for it covers only the functions marked as tests.
#![allow(clippy::unwrap_used)]

mod af_packet;
mod eal;
mod echo;
mod isolate;
mod memif;
mod netns;
mod node;
mod null;
mod pcap;
mod ring;
mod tap;
