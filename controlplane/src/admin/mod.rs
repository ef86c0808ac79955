//! The admin API: HTTP with JSON on a Unix socket that only its owner may open (mode 0600).
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`Status`] |
//! | `GET /v1/conns?filter=EXPRESSION&limit=N` | [`ConnPage`] |
//! | `GET /v1/events?after=SEQ&limit=N` | a list of [`EventRecord`] |
//! | `GET /v1/latency` | [`LatencyReport`] |
//! | `POST /v1/switchover?to=NODE`, `/v1/drain`, `/v1/undrain` | [`Accepted`](crate::Accepted) |
//! | `POST /v1/latency/reset` | the same for the last time: the recording begins anew |
//! | `POST /v1/keys/reload?force=BOOL` | [`KeyNames`] of the key file, in use from now on |
//!
//! An error is [`ApiError`] with status 400 (the request is wrong), 404 (no such path), 409
//! (an order that cannot be followed now) or 503 (the poll loops do not answer). The process that
//! embeds the server implements [`AdminSource`]; nothing here knows where the data come from.

pub mod client;
pub mod filter;
pub mod latency;
pub mod server;
pub mod socket;
pub mod types;

pub use client::{AdminClient, AdminError};
pub use filter::{Filter, FilterError};
pub use latency::{Bucket, Distribution, Distributions, LatencyReport, WorkerLatency};
pub use server::{AdminSource, Declined, OrderError, Unavailable, router, serve};
pub use socket::{AdminSocket, BindError};
pub use types::{
    ApiError, ConnPage, ConnRow, ConnectionCounts, EtcdStatus, EventRecord, HandoverStatus,
    KeyNames, LinkStatus, MemoryStatus, RegisterStatus, ServiceStatus, Status, TcpState, VipStatus,
    VoterStatus, VotingStatus, WorkerStatus,
};
