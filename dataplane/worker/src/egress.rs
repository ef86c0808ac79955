//! From a shard's packet to a frame in the gate.

use engine::addr::Addr;
use engine::egress::{Egress, Outgoing};
use engine::wire::edit::{self, Acknowledgment};
use engine::wire::ethernet::{self, Mac};
use engine::wire::{checksum, ipv6, segment};
use replication::{Gate, Lane, Mark};

use crate::counters::Counters;
use crate::early::{Amendment, Leave, Told, Word};
use crate::nic::{Frame, Nic, Offloads, TxChecksum};
use crate::port::Port;

/// A finished frame, all but its destination MAC: who is next is looked up when it leaves.
#[derive(Debug)]
pub(crate) struct Held<F> {
    pub frame: F,
    pub remote: Addr,
    /// What it tells its client, where that counts.
    pub word: Option<Word>,
}

/// Where a step's packets go.
#[derive(Debug)]
pub(crate) enum Way<'a, F> {
    /// Into the gate, until what is logged in the loop with this mark is confirmed.
    Gate(&'a mut Gate<Held<F>>, Mark),
    /// To the port at once.
    Port,
}

impl<F: Frame> Held<F> {
    /// Changes what the time has overtaken that the packet waited.
    pub fn amend(&mut self, amendment: Amendment, offloads: Offloads) {
        let packet = self.frame.bytes_mut().get_mut(ethernet::HEADER_LEN..).unwrap_or_default();
        let (ip_len, tcp_len) = edit::header_lens(packet);
        let Some((header, payload)) = packet.split_at_mut_checked(ip_len + tcp_len) else { return };
        edit::set_seq(header, ip_len, amendment.seq);
        if let Some(clock) = amendment.clock {
            edit::set_clock(header, ip_len, clock);
        }
        // What the card finishes has neither in it yet.
        if !offloads.tx_tcp_checksum {
            edit::clear_checksums(header, ip_len);
            checksum::finish_tcp(header, ip_len, &[payload]);
        }
    }
}

/// Builds frames from what a step emits.
pub(crate) struct FrameEgress<'a, N: Nic> {
    pub lan: &'a mut Port<N>,
    pub way: Way<'a, N::Frame>,
    /// The place of the shard among the worker's, and what its clients were told.
    pub shard: usize,
    pub told: &'a mut Told,
    pub now_us: u64,
    pub counters: &'a mut Counters,
}

/// Ethernet, IP and TCP header, the longest we send.
const MAX_HEADER_LEN: usize = ethernet::HEADER_LEN + segment::MAX_HEADER_LEN;

impl<N: Nic> Egress for FrameEgress<'_, N> {
    const WANTS_PAYLOAD: bool = true;

    fn emit(&mut self, packet: &Outgoing<'_>) {
        self.counters.packets += 1;
        let word = if self.told.is_on() { Word::of(packet, self.shard) } else { None };
        match (&self.way, word) {
            (Way::Gate(..), Some(word)) => match self.told.decide(packet, word) {
                Leave::Later(word) => self.hold(packet, Some(word)),
                Leave::Now { said, news } => self.send_early(packet, said, news),
            },
            (Way::Gate(..), None) => self.hold(packet, None),
            (Way::Port, word) => {
                word.map(|word| self.told.left(&word));
                self.send(packet);
            }
        }
    }
}

impl<N: Nic> FrameEgress<'_, N> {
    // What is lost in these is lost as on a wire: the shard is not told, so that both nodes go on
    // alike, and TCP sends it again.

    fn hold(&mut self, packet: &Outgoing<'_>, word: Option<Word>) {
        let Some(frame) = self.frame(packet) else { return };
        let Way::Gate(gate, mark) = &mut self.way else { return };
        let lane = if packet.quorum { Lane::Majority } else { Lane::All };
        if gate.hold(lane, *mark, Held { frame, remote: packet.remote, word }).is_err() {
            self.counters.drop_tx_full += 1;
        }
    }

    fn send(&mut self, packet: &Outgoing<'_>) {
        let Some(frame) = self.frame(packet) else { return };
        self.lan.send_ip(self.now_us, frame, packet.remote, self.counters);
    }

    /// The payload now, with what the client was told before. What is new to it follows when the log
    /// is safe.
    fn send_early(&mut self, packet: &Outgoing<'_>, said: Acknowledgment, news: Option<Word>) {
        let ip_len = usize::from(packet.ip_header_len);
        let mut buffer = [0; segment::MAX_HEADER_LEN];
        let header = &mut buffer[..packet.header.len()];
        header.copy_from_slice(packet.header);
        edit::set_acknowledgment(header, ip_len, said);
        self.send(&Outgoing { header, ..*packet });
        self.counters.packets_early += 1;
        if news.is_some() {
            header.copy_from_slice(packet.header);
            edit::strip_payload(header, ip_len, packet.payload_len);
            self.hold(&Outgoing { header, payload: &[], payload_len: 0, ..*packet }, news);
        }
    }

    fn frame(&mut self, packet: &Outgoing<'_>) -> Option<N::Frame> {
        let frame = self.build(packet);
        self.counters.drop_no_frame += u64::from(frame.is_none());
        frame
    }

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
