//! What a shard tells about itself.

use super::{ConnectionId, Shard, Slot};
use crate::addr::Flow;
use crate::buffer::BLOCK_BYTES;
use crate::seq::SeqNumber;
use crate::sources::SourceCounts;
use crate::tcp::State;
use crate::tcp::recovery::Phase;
use crate::tcp::tcb::{Marks, Tcb};

/// One connection, as a listing shows it. Times in microseconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Its number in the shard.
    pub id: u32,
    /// Addresses and ports.
    pub flow: Flow,
    /// State.
    pub state: State,
    /// Index of its service in the configuration.
    pub service: u16,
    /// Name of its service.
    pub service_name: String,
    /// Bytes that wait for the service to read them, or for their turn.
    pub recv_queue: u64,
    /// Bytes to send, or sent and not acknowledged.
    pub send_queue: u64,
    /// Smoothed round-trip time; 0 before the first sample.
    pub srtt_us: u32,
    /// Its mean deviation.
    pub rttvar_us: u32,
    /// Retransmission timeout, with backoff.
    pub rto_us: u64,
    /// Congestion window.
    pub cwnd: u32,
    /// Slow start threshold; `u32::MAX` before the first loss.
    pub ssthresh: u32,
    /// Bytes in the network.
    pub in_flight: u32,
    /// Segments sent again so far.
    pub retransmissions: u32,
    /// Payload of a full segment.
    pub mss: u16,
    /// Window that the peer gives.
    pub send_window: u32,
    /// Window that we give.
    pub recv_window: u32,
    /// Since the SYN.
    pub age_us: u64,
    /// Since the peer was last heard of.
    pub idle_us: u64,
    /// Payload received in order.
    pub bytes_in: u64,
    /// Payload that the peer has acknowledged.
    pub bytes_out: u64,
    /// Payload that waits to be sent for the first time.
    pub unsent: u64,
    /// What loss repair is at.
    pub repair: Repair,
    /// Segments sent and not acknowledged; of these, those that the peer reported, and those held
    /// to be lost and not sent again.
    pub segments: SegmentCounts,
    /// Retransmission timeouts in a row without an answer.
    pub timeouts: u8,
    /// Keepalive and window probes without an answer.
    pub probes: u8,
    /// Smallest round-trip time of the last minutes; 0 before the first sample.
    pub min_rtt_us: u32,
    /// Largest payload that came so far.
    pub recv_mss: u16,
    /// What the handshake agreed on.
    pub agreed: Agreed,
}

/// Numbers of segments in a connection's scoreboard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentCounts {
    /// Sent and not acknowledged.
    pub unacked: u32,
    /// Of these, reported by SACK.
    pub sacked: u32,
    /// Of these, held to be lost.
    pub lost: u32,
}

/// Where a connection stands with losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Nothing is known to be lost.
    None,
    /// Fast recovery (RFC 6675, RFC 6582).
    Recovery,
    /// After a retransmission timeout (RFC 6298).
    Timeout,
    /// After a takeover.
    Takeover,
    /// Nothing is lost, but the peer told of congestion (RFC 3168 6.1.2).
    Congestion,
}

/// Options that both sides have agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    /// Selective acknowledgments (RFC 2018).
    pub sack: bool,
    /// Timestamps (RFC 7323 3).
    pub timestamps: bool,
    /// Shifts of the peer's windows and of ours (RFC 7323 2), if windows are scaled.
    pub scales: Option<(u8, u8)>,
}

/// How far a connection is in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its state.
    pub state: State,
    /// The next number that we send for the first time (SND.NXT).
    pub snd_nxt: SeqNumber,
    /// The next number that we expect (RCV.NXT): all before it are in our hands.
    pub rcv_nxt: SeqNumber,
}

/// Memory of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// Connections in any state.
    pub connections: u32,
    /// Of these, those whose handshake is not complete.
    pub half_open: u32,
    /// Most connections.
    pub max_connections: u32,
    /// Bytes that each idle connection costs in the engine, all tables included.
    pub bytes_per_connection: usize,
    /// Blocks of the buffer pool in use, and their number.
    pub pool_used: u32,
    /// Blocks of the buffer pool.
    pub pool_blocks: u32,
    /// Size of a block in bytes.
    pub block_bytes: usize,
    /// Scoreboard entries in use.
    pub sent_used: u32,
    /// Scoreboard entries.
    pub sent_segments: u32,
    /// Bytes of all tables and pools when everything is in use.
    pub reserved_bytes: usize,
}

impl Shard {
    /// Connections with numbers from `from` on, in order of these: a listing can pause at any of
    /// them and go on later.
    pub fn connections(&self, from: u32) -> impl Iterator<Item = ConnectionInfo> {
        self.live().skip_while(move |(id, _)| *id < from).map(|(id, tcb)| self.describe(id, tcb))
    }

    /// One connection; `None` if there is none with this number.
    #[must_use]
    pub fn connection_info(&self, id: ConnectionId) -> Option<ConnectionInfo> {
        let slot = self.slots.get(id.0 as usize)?.as_ref()?;
        Some(self.describe(id.0, &slot.tcb))
    }

    /// How far the connection of `flow` is; `None` if there is none.
    #[must_use]
    pub fn standing(&self, flow: &Flow) -> Option<Standing> {
        let id = self.connection(flow)?;
        let tcb = &self.slots[id as usize].as_ref()?.tcb;
        Some(Standing { state: tcb.state, snd_nxt: tcb.snd_nxt, rcv_nxt: tcb.rcv_nxt })
    }

    /// The state of each connection.
    pub fn states(&self) -> impl Iterator<Item = (Flow, State)> {
        self.live().map(|(_, tcb)| (tcb.flow, tcb.state))
    }

    fn describe(&self, id: u32, tcb: &Tcb) -> ConnectionInfo {
        ConnectionInfo {
            id,
            flow: tcb.flow,
            state: tcb.state,
            service: tcb.service,
            service_name: self.config.services[usize::from(tcb.service)].name.clone(),
            recv_queue: tcb.recv.len() as u64 + u64::from(tcb.assembler.bytes()),
            send_queue: tcb.send.len(),
            srtt_us: tcb.rtt.srtt_us(),
            rttvar_us: tcb.rtt.rttvar_us(),
            rto_us: tcb.rtt.rto_us(&self.config.tcp),
            cwnd: tcb.congestion.cwnd,
            ssthresh: tcb.congestion.ssthresh,
            in_flight: tcb.sent.in_flight,
            retransmissions: tcb.retransmissions,
            mss: tcb.mss,
            send_window: tcb.snd_wnd,
            recv_window: tcb.rcv_adv.distance(tcb.rcv_nxt).max(0).unsigned_abs(),
            age_us: self.now.since_us(tcb.opened_at),
            idle_us: self.now.since_us(tcb.active_at),
            bytes_in: tcb.bytes_in,
            bytes_out: tcb.bytes_out,
            unsent: tcb.unsent(),
            repair: match tcb.recovery.phase {
                Phase::Open => Repair::None,
                Phase::Recovery => Repair::Recovery,
                Phase::Loss => Repair::Timeout,
                Phase::Repair => Repair::Takeover,
                Phase::Reduced => Repair::Congestion,
            },
            segments: SegmentCounts {
                unacked: tcb.sent.count,
                sacked: tcb.sent.sacked,
                lost: tcb.sent.lost,
            },
            timeouts: tcb.rtt.backoff(),
            probes: tcb.unanswered,
            min_rtt_us: tcb.rtt.min_us(),
            recv_mss: tcb.rcv_mss,
            agreed: Agreed {
                sack: tcb.has(Marks::SACK),
                timestamps: tcb.has(Marks::TIMESTAMPS),
                scales: tcb.has(Marks::SCALED).then_some((tcb.snd_scale, tcb.rcv_scale)),
            },
        }
    }

    /// Memory in use and reserved.
    #[must_use]
    pub fn memory(&self) -> MemoryUse {
        let connections = self.config.max_connections as usize;
        // The slot, its places in the queues and in a kick's order, its timer, and its share of
        // the flow table.
        let queues = 4 * size_of::<u32>();
        let wheel = self.wheel.memory_bytes().div_ceil(connections);
        let table = self.table.memory_bytes().div_ceil(connections);
        let bytes_per_connection = size_of::<Option<Slot>>() + queues + wheel + table;
        let shared = &self.shared;
        MemoryUse {
            connections: u32::try_from(self.table.len()).unwrap_or(u32::MAX),
            half_open: self.usage.services.iter().map(|service| service.half_open).sum(),
            max_connections: self.config.max_connections,
            bytes_per_connection,
            pool_used: shared.buffers.blocks.used(),
            pool_blocks: shared.buffers.blocks.capacity(),
            block_bytes: BLOCK_BYTES,
            sent_used: shared.sent.used(),
            sent_segments: self.config.tx_segments,
            reserved_bytes: bytes_per_connection * connections
                + shared.buffers.memory_bytes()
                + shared.sent.memory_bytes()
                + self.usage.sources.as_ref().map_or(0, SourceCounts::memory_bytes),
        }
    }
}
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Config;
    use crate::content::Content;

    /// What grows here is paid a million times. The smallest is a shard of the default
    /// configuration.
    #[test]
    fn an_idle_connection_costs_at_most_512_bytes() {
        assert_eq!(size_of::<Option<Slot>>(), 464);
        for connections in [7_516, 100_003, 1 << 20] {
            let config = Config { max_connections: connections, ..Config::default() };
            let shard = Shard::new(0, Arc::new(config), Arc::new(Content::default()));
            let memory = shard.memory();
            assert!(memory.bytes_per_connection <= 512, "{memory:?}");
        }
    }
}
