//! The replicated configuration of a shard. Both nodes run with equal values: every limit that a
//! step can hit is here, so that the same log meets the same limit on any node.

mod limits;

pub use limits::{AtLimit, Rate, ServiceLimits, SourceLimits};

use serde::{Deserialize, Serialize};

use crate::addr::Addr;
use crate::wire::ipv6;

/// Smallest MTU that IPv4 hosts must accept (RFC 791 3.1), and so the smallest one we run with.
const MIN_MTU: u16 = 576;
/// Largest MTU: jumbo frames as cards have them.
const MAX_MTU: u16 = 9216;
/// Largest receive buffer: what a window scale of 14 can announce (RFC 7323 2.3).
const MAX_WINDOW_BYTES: u32 = 1 << 30;
/// Smallest send and receive buffer that makes progress with any MTU we allow.
const MIN_BUFFER_BYTES: u32 = 4096;
/// Smallest receive buffer of an http service, which leaves a request there until its head is whole.
const MIN_HTTP_BUFFER_BYTES: u32 = 16_384;
/// Smallest and largest segment that a service may be held to.
const MIN_SEGMENT_BYTES: u64 = 88;
const MAX_SEGMENT_BYTES: u64 = 9176;

/// What a shard is built from, apart from its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Addresses that the service owns. Segments for others never reach a shard.
    pub vips: Vec<Addr>,
    /// Number of shards of the cluster, 1 or more. Fixed for a cluster's life.
    pub shards: u16,
    /// Connections that a shard holds at once, in any state, TIME-WAIT included.
    pub max_connections: u32,
    /// Buffer blocks of a shard, `BLOCK_BYTES` each, for send and receive queues together.
    pub pool_blocks: u32,
    /// Transmitted and unacknowledged segments that a shard remembers for SACK and RACK.
    pub tx_segments: u32,
    /// Packets that one step may emit. The rest waits in the run queue for the next step.
    pub max_packets_per_step: u32,
    /// Largest IP packet that leaves, in bytes (576 or more, with an IPv6 VIP 1280).
    pub mtu: u16,
    /// Key of the initial sequence numbers (RFC 6528), shared by both nodes.
    pub isn_key: [u8; 16],
    /// Parameters of TCP itself.
    pub tcp: TcpConfig,
    /// What listens where.
    pub services: Vec<ServiceConfig>,
    /// What one source may take of all services together.
    pub sources: SourceLimits,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            vips: Vec::new(),
            shards: 1,
            max_connections: 16_384,
            pool_blocks: 32_768,
            tx_segments: 65_536,
            max_packets_per_step: 256,
            mtu: 1500,
            isn_key: [0; 16],
            tcp: TcpConfig::default(),
            services: Vec::new(),
            sources: SourceLimits::default(),
        }
    }
}

/// Parameters of TCP, equal for all services. Times in microseconds of shard time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TcpConfig {
    /// Least time above the smoothed round trip until a retransmission timeout. RFC 6298 says 1 s
    /// in all; every stack in use has 200 ms.
    pub min_rto_us: u64,
    /// Ceiling of the retransmission timeout (RFC 6298 2.5: 60 s or more).
    pub max_rto_us: u64,
    /// Timeout before the first RTT sample (RFC 6298 2.1).
    pub initial_rto_us: u64,
    /// Maximum segment lifetime; TIME-WAIT lasts twice this (RFC 9293 3.6.1).
    pub msl_us: u64,
    /// How long an ACK may wait for company (RFC 9293 3.8.6.3: below 500 ms).
    pub delayed_ack_us: u64,
    /// Segments of a new connection that are acknowledged at once, before ACKs are delayed, so that
    /// the peer's slow start is fed.
    pub quick_acks: u8,
    /// Transmissions of a SYN after the first, before giving up (RFC 9293 3.8.3: for 3 minutes).
    pub max_syn_retries: u8,
    /// Transmissions of a SYN-ACK after the first, before the half-open connection is forgotten.
    pub max_syn_ack_retries: u8,
    /// Timeouts in a row without progress before a connection is aborted (RFC 9293 3.8.3 R2).
    pub max_data_retries: u8,
    /// Initial congestion window in segments (RFC 6928: 10).
    pub initial_cwnd: u16,
    /// Time in FIN-WAIT-2 after our application has gone, without the peer's FIN.
    pub fin_wait_2_us: u64,
    /// Challenge ACKs that a shard sends in a second (RFC 5961 7). From 64 on the number is drawn
    /// for each second, between half of this and half as many again.
    pub challenge_acks_per_second: u32,
    /// Packets that one connection may emit before the next one in the run queue has its turn.
    pub quantum_packets: u16,
    /// Time to live of what is sent, in hops (RFC 9293 3.9.2).
    pub ttl: u8,
    /// RFC 2018 selective acknowledgments, offered and accepted.
    pub sack: bool,
    /// RFC 7323 timestamps, offered and accepted.
    pub timestamps: bool,
    /// RFC 7323 window scaling, offered and accepted.
    pub window_scaling: bool,
    /// Explicit congestion notification.
    pub ecn: Ecn,
}

impl Default for TcpConfig {
    fn default() -> Self {
        TcpConfig {
            min_rto_us: 200_000,
            max_rto_us: 60_000_000,
            initial_rto_us: 1_000_000,
            msl_us: 30_000_000,
            delayed_ack_us: 40_000,
            quick_acks: 16,
            max_syn_retries: 7,
            max_syn_ack_retries: 5,
            max_data_retries: 15,
            initial_cwnd: 10,
            fin_wait_2_us: 60_000_000,
            challenge_acks_per_second: 1000,
            quantum_packets: 32,
            ttl: 64,
            sack: true,
            timestamps: true,
            window_scaling: true,
            ecn: Ecn::default(),
        }
    }
}

/// Use of explicit congestion notification (RFC 3168).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ecn {
    /// Never.
    Off,
    /// When the peer asks for it.
    #[default]
    Accept,
    /// As above, and asked for when we open a connection.
    Ask,
}

/// One service: what listens on one port of every VIP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// Name in listings and messages.
    pub name: String,
    /// TCP port, 1 or more. [`ServiceKind::External`] may have 0: it does not listen.
    pub port: u16,
    /// What it does with the byte stream.
    pub kind: ServiceKind,
    /// What its packets wait for.
    #[serde(default)]
    pub commit: Commit,
    /// Nagle's algorithm (RFC 9293 3.7.4): small writes wait for the ACK of the last one.
    #[serde(default)]
    pub nagle: bool,
    /// Differentiated Services codepoint of its segments, 0 to 63 (RFC 9293 3.9.1.9).
    #[serde(default)]
    pub dscp: u8,
    /// Congestion control of its connections.
    #[serde(default)]
    pub congestion: CongestionControl,
    /// Probing of idle peers (RFC 9293 3.8.4); off when absent.
    #[serde(default)]
    pub keepalive: Option<Keepalive>,
    /// Bytes copied into a connection's send queue at most. Content by reference does not count.
    #[serde(default = "default_send_buffer_bytes")]
    pub send_buffer_bytes: u32,
    /// Largest receive buffer of a connection; the window grows up to it with need.
    #[serde(default = "default_recv_buffer_bytes")]
    pub recv_buffer_bytes: u32,
    /// Receive buffer at the start, which is what the first window offers.
    #[serde(default = "default_initial_recv_buffer_bytes")]
    pub initial_recv_buffer_bytes: u32,
    /// Half-open connections (SYN-RECEIVED) at most; one more pushes out the oldest
    /// (RFC 4987 3.3).
    #[serde(default = "default_backlog")]
    pub backlog: u32,
    /// Half-open connections from which on SYNs are answered with cookies; 0: always. Never when
    /// not below the backlog.
    #[serde(default = "default_cookies_above")]
    pub cookies_above: u32,
    /// What its connections may take.
    #[serde(default)]
    pub limits: ServiceLimits,
    /// A connection without any progress for so long is aborted; never when absent.
    #[serde(default)]
    pub idle_timeout_us: Option<u64>,
    /// A connection whose retransmission timer runs without an answer for so long is aborted (RFC
    /// 9293 3.9.1, USER TIMEOUT; RFC 5482), be it before `max_data_retries` or not. That alone
    /// counts when absent.
    #[serde(default)]
    pub user_timeout_us: Option<u64>,
    /// Largest segment in bytes without options that it announces and sends (RFC 9293 3.7.1); as
    /// the MTU allows when absent.
    #[serde(default)]
    pub max_segment_bytes: Option<u16>,
}

impl ServiceConfig {
    /// A service with default settings.
    #[must_use]
    pub fn new(name: &str, port: u16, kind: ServiceKind) -> ServiceConfig {
        ServiceConfig {
            name: name.to_owned(),
            port,
            kind,
            commit: Commit::default(),
            nagle: false,
            dscp: 0,
            congestion: CongestionControl::default(),
            keepalive: None,
            send_buffer_bytes: default_send_buffer_bytes(),
            recv_buffer_bytes: default_recv_buffer_bytes(),
            initial_recv_buffer_bytes: default_initial_recv_buffer_bytes(),
            backlog: default_backlog(),
            cookies_above: default_cookies_above(),
            limits: ServiceLimits::default(),
            idle_timeout_us: None,
            user_timeout_us: None,
            max_segment_bytes: None,
        }
    }

    /// Whether SYNs may ever be answered with cookies.
    #[inline]
    #[must_use]
    pub fn uses_cookies(&self) -> bool {
        self.cookies_above < self.backlog
    }
}

fn default_send_buffer_bytes() -> u32 {
    256 * 1024
}

fn default_recv_buffer_bytes() -> u32 {
    1024 * 1024
}

fn default_initial_recv_buffer_bytes() -> u32 {
    65_535
}

fn default_backlog() -> u32 {
    4096
}

fn default_cookies_above() -> u32 {
    1024
}

/// What the packets of a service's connections wait for, when there is a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Commit {
    /// Send when the minimum is updated: every packet waits until all backups in sync hold what it
    /// follows from.
    #[default]
    Swmu,
    /// Send when the fastest has responded, which is the primary itself: payload leaves at once,
    /// acknowledgment and window follow the minimum. What the service sends must follow from the
    /// bytes that it is sent, and from nothing else: not from time, nor from other connections.
    Swfr,
    /// Send when a majority of the nodes in sync, the primary among them, holds what a packet
    /// follows from.
    Quorum,
}

/// What a service does with a connection's byte stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceKind {
    /// Sends back what it receives (RFC 862).
    Echo,
    /// Throws away what it receives (RFC 863).
    Discard,
    /// Sends the documented byte pattern.
    Stream {
        /// How much of it.
        length: StreamLength,
        /// Pace in bit/s of payload; as fast as the peer takes it when absent.
        rate_bps: Option<u64>,
        /// Pattern offset at which byte 0 of the stream lies.
        seed: u64,
    },
    /// Serves the files of the shard's content (RFC 9110, RFC 9112).
    Http {
        /// Name of the content root, as the node's configuration calls it.
        root: String,
        /// Whether a folder's URL answers: with its `index.html`, or else with a list of its files.
        directory_index: bool,
    },
    /// Leaves the bytes to the program around the shard (`Shard::next_ready`). Not for a replicated
    /// shard, and no part of a configuration file.
    #[serde(skip)]
    External,
}

/// How much a stream service sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamLength {
    /// Until the peer goes.
    Endless,
    /// As many bytes as the client asks for with a decimal line.
    Requested,
}

/// Congestion control algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CongestionControl {
    /// RFC 9438.
    #[default]
    Cubic,
    /// RFC 5681 with RFC 6582's recovery.
    NewReno,
}

/// Probing of a silent peer (RFC 9293 3.8.4). Times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle_us: u64,
    /// Time between probes.
    pub interval_us: u64,
    /// Probes without an answer before the connection is aborted.
    pub probes: u8,
}

/// A configuration that no shard can run with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A number outside its range.
    #[error("{field} is {value}, expected {expected}: set it within that range")]
    OutOfRange {
        /// Path of the field.
        field: String,
        /// What was found.
        value: u64,
        /// What is allowed.
        expected: &'static str,
    },
    /// Two services on one port.
    #[error("services \"{first}\" and \"{second}\" both use port {port}: give one another port")]
    PortTaken {
        /// The port.
        port: u16,
        /// Service that has it.
        first: String,
        /// Service that wants it too.
        second: String,
    },
}

impl Config {
    /// Checks ranges and ports. A shard is built only from a configuration that passed.
    ///
    /// # Errors
    /// The first field that is out of range, or the first port that is used twice.
    pub fn validate(&self) -> Result<(), ConfigError> {
        range("shards", self.shards, 1, 4096, "1 to 4096")?;
        range("max_connections", self.max_connections, 1, 1 << 24, "1 to 16777216")?;
        range("pool_blocks", self.pool_blocks, 16, 1 << 26, "16 to 67108864")?;
        range("tx_segments", self.tx_segments, 64, 1 << 28, "64 to 268435456")?;
        range("max_packets_per_step", self.max_packets_per_step, 1, 1 << 16, "1 to 65536")?;
        range("mtu", self.mtu, MIN_MTU.into(), MAX_MTU.into(), "576 to 9216")?;
        if self.vips.iter().any(|vip| !vip.is_ipv4()) {
            let expected = "1280 to 9216, since there is an IPv6 address";
            range("mtu", self.mtu, ipv6::MIN_MTU.into(), MAX_MTU.into(), expected)?;
        }
        self.tcp.validate()?;
        self.sources.validate()?;
        for (i, service) in self.services.iter().enumerate() {
            service.validate()?;
            let clashes = |other: &&ServiceConfig| other.port == service.port && other.port != 0;
            if let Some(first) = self.services[..i].iter().find(clashes) {
                return Err(ConfigError::PortTaken {
                    port: service.port,
                    first: first.name.clone(),
                    second: service.name.clone(),
                });
            }
        }
        Ok(())
    }

    /// Index of the service that listens on `port`.
    #[must_use]
    pub fn service_on(&self, port: u16) -> Option<u16> {
        if port == 0 {
            return None;
        }
        let index = self.services.iter().position(|service| service.port == port)?;
        u16::try_from(index).ok()
    }
}

impl TcpConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        const SECOND: u64 = 1_000_000;
        let min_rto = self.min_rto_us;
        range("tcp.min_rto_us", min_rto, 1000, 10 * SECOND, "1000 to 10000000")?;
        range("tcp.max_rto_us", self.max_rto_us, SECOND, 240 * SECOND, "1000000 to 240000000")?;
        let initial = self.initial_rto_us;
        range("tcp.initial_rto_us", initial, 1000, 10 * SECOND, "1000 to 10000000")?;
        range("tcp.msl_us", self.msl_us, 1000, 240 * SECOND, "1000 to 240000000")?;
        // RFC 9293 3.8.6.3: less than half a second.
        range("tcp.delayed_ack_us", self.delayed_ack_us, 0, SECOND / 2 - 1, "0 to 499999")?;
        range("tcp.max_syn_retries", self.max_syn_retries, 1, 30, "1 to 30")?;
        range("tcp.max_syn_ack_retries", self.max_syn_ack_retries, 1, 30, "1 to 30")?;
        range("tcp.max_data_retries", self.max_data_retries, 3, 100, "3 to 100")?;
        range("tcp.initial_cwnd", self.initial_cwnd, 1, 1000, "1 to 1000")?;
        range("tcp.fin_wait_2_us", self.fin_wait_2_us, 1000, 1 << 40, "1000 to 2^40")?;
        range("tcp.ttl", self.ttl, 1, 255, "1 to 255")?;
        range("tcp.quantum_packets", self.quantum_packets, 1, 4096, "1 to 4096")
    }
}

impl ServiceConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        let field = |name: &str| format!("service \"{}\" {name}", self.name);
        let port = if self.kind == ServiceKind::External { 0 } else { 1 };
        range(&field("port"), self.port, port, 65_535, "1 to 65535")?;
        range(&field("dscp"), self.dscp, 0, 63, "0 to 63")?;
        let (min, max) = (MIN_BUFFER_BYTES.into(), MAX_WINDOW_BYTES.into());
        let expected = "4096 to 1073741824";
        range(&field("send_buffer_bytes"), self.send_buffer_bytes, min, max, expected)?;
        range(&field("recv_buffer_bytes"), self.recv_buffer_bytes, min, max, expected)?;
        let initial = self.initial_recv_buffer_bytes;
        range(&field("initial_recv_buffer_bytes"), initial, min, max, expected)?;
        if matches!(self.kind, ServiceKind::Http { .. }) {
            let (min, expected) = (MIN_HTTP_BUFFER_BYTES.into(), "16384 to 1073741824");
            range(&field("recv_buffer_bytes"), self.recv_buffer_bytes, min, max, expected)?;
        }
        range(&field("backlog"), self.backlog, 1, 1 << 24, "1 to 16777216")?;
        self.limits.validate(&field("limits"))?;
        if let Some(keepalive) = self.keepalive {
            range(&field("keepalive.idle_us"), keepalive.idle_us, 1000, 1 << 40, "1000 to 2^40")?;
            let interval = keepalive.interval_us;
            range(&field("keepalive.interval_us"), interval, 1000, 1 << 40, "1000 to 2^40")?;
            // RFC 9293 3.8.4: no single unanswered probe means a dead peer.
            range(&field("keepalive.probes"), keepalive.probes, 2, 255, "2 to 255")?;
        }
        if let Some(idle) = self.idle_timeout_us {
            range(&field("idle_timeout_us"), idle, 1000, 1 << 44, "1000 to 2^44")?;
        }
        if let Some(timeout) = self.user_timeout_us {
            range(&field("user_timeout_us"), timeout, 1000, 1 << 44, "1000 to 2^44")?;
        }
        if let Some(bytes) = self.max_segment_bytes {
            let (min, max) = (MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES);
            range(&field("max_segment_bytes"), bytes, min, max, "88 to 9176")?;
        }
        Ok(())
    }
}

fn range(
    field: &str,
    value: impl Into<u64>,
    min: u64,
    max: u64,
    expected: &'static str,
) -> Result<(), ConfigError> {
    let value = value.into();
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::OutOfRange { field: field.to_owned(), value, expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_configuration_is_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn two_services_on_one_port_are_refused_by_name() {
        let config = Config {
            services: vec![
                ServiceConfig::new("echo", 7, ServiceKind::Echo),
                ServiceConfig::new("sink", 7, ServiceKind::Discard),
            ],
            ..Config::default()
        };
        let message = config.validate().expect_err("port 7 is used twice").to_string();
        assert!(message.contains("\"echo\" and \"sink\" both use port 7"), "{message}");
    }

    #[test]
    fn value_out_of_range_names_field_and_range() {
        let config = Config { mtu: 100, ..Config::default() };
        let message = config.validate().expect_err("mtu is too small").to_string();
        assert_eq!(message, "mtu is 100, expected 576 to 9216: set it within that range");
    }
}
