//! From a shard's packet to a frame in the gate.

use engine::addr::Addr;
use engine::egress::{Egress, Outgoing};
use engine::wire::ethernet::{self, Mac};
use engine::wire::{checksum, ipv6, segment};
use replication::{Gate, Mark};

use crate::counters::Counters;
use crate::nic::{Frame, Nic, TxChecksum};
use crate::port::Port;

/// A finished frame, all but its destination MAC: who is next is looked up when it leaves.
#[derive(Debug)]
pub(crate) struct Held<F> {
    pub frame: F,
    pub remote: Addr,
}

/// Where a step's packets go.
#[derive(Debug)]
pub(crate) enum Way<'a, F> {
    /// Into the gate, until what is logged in the loop with this mark is confirmed.
    Gate(&'a mut Gate<Held<F>>, Mark),
    /// To the port at once.
    Port,
}

/// Builds frames from what a step emits.
pub(crate) struct FrameEgress<'a, N: Nic> {
    pub lan: &'a mut Port<N>,
    pub way: Way<'a, N::Frame>,
    pub now_us: u64,
    pub counters: &'a mut Counters,
}

/// Ethernet, IP and TCP header, the longest we send.
const MAX_HEADER_LEN: usize = ethernet::HEADER_LEN + segment::MAX_HEADER_LEN;

impl<N: Nic> Egress for FrameEgress<'_, N> {
    const WANTS_PAYLOAD: bool = true;

    fn emit(&mut self, packet: &Outgoing<'_>) {
        self.counters.packets += 1;
        let remote = packet.remote;
        // Whatever is lost from here on is lost as on a wire: the shard is not told, so that both
        // nodes go on alike, and TCP sends it again.
        let Some(frame) = self.build(packet) else {
            self.counters.drop_no_frame += 1;
            return;
        };
        match &mut self.way {
            Way::Port => self.lan.send_ip(self.now_us, frame, remote, self.counters),
            Way::Gate(gate, mark) => {
                if gate.hold(*mark, Held { frame, remote }).is_err() {
                    self.counters.drop_tx_full += 1;
                }
            }
        }
    }
}

impl<N: Nic> FrameEgress<'_, N> {
    fn build(&mut self, packet: &Outgoing<'_>) -> Option<N::Frame> {
        let mut frame = self.lan.nic.allocate()?;
        let mut buffer = [0; MAX_HEADER_LEN];
        let len = ethernet::HEADER_LEN + packet.header.len();
        let (link, header) = buffer[..len].split_at_mut(ethernet::HEADER_LEN);
        let unknown = Mac::default();
        let ethertype = match usize::from(packet.ip_header_len) {
            ipv6::HEADER_LEN => ethernet::ETHERTYPE_IPV6,
            _ => ethernet::ETHERTYPE_IPV4,
        };
        let source = self.lan.service_mac;
        link.copy_from_slice(
            &ethernet::Header { destination: unknown, source, ethertype }.to_bytes(),
        );
        header.copy_from_slice(packet.header);
        let work = self.fill_checksums(packet, header);
        if !frame.append(&buffer[..len]) {
            return None;
        }
        for part in packet.payload {
            if !frame.append(part) {
                return None;
            }
        }
        if let Some(work) = work {
            frame.request_tx_checksum(work);
        }
        Some(frame)
    }

    /// Fills in what the card will not; says what it shall.
    fn fill_checksums(&self, packet: &Outgoing<'_>, header: &mut [u8]) -> Option<TxChecksum> {
        let offloads = self.lan.nic.offloads();
        let ip_len = usize::from(packet.ip_header_len);
        if !offloads.tx_tcp_checksum {
            checksum::finish_tcp(header, ip_len, packet.payload);
            return None;
        }
        let sum = checksum::pseudo_header_sum(header, ip_len, packet.payload_len);
        checksum::put_tcp_checksum(header, ip_len, sum);
        let is_ipv6 = ip_len == ipv6::HEADER_LEN;
        if !is_ipv6 && !offloads.tx_ipv4_checksum {
            checksum::finish_ipv4(&mut header[..ip_len]);
        }
        Some(TxChecksum {
            l2_len: ethernet::HEADER_LEN as u8,
            l3_len: packet.ip_header_len,
            is_ipv6,
            ipv4: !is_ipv6 && offloads.tx_ipv4_checksum,
            tcp: true,
        })
    }
}
