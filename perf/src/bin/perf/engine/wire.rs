//! From the shard's packets to the card: headers, checksums, and a queue for what the card has no
//! room for.

use std::collections::VecDeque;

use arrayvec::ArrayVec;
use engine::egress::{Egress, Outgoing};
use engine::wire::ethernet::{self, Mac};
use engine::wire::{checksum, ipv6, segment};
use worker::nic::BURST;
use worker::{Frame, Nic, TxChecksum};

use super::neighbour::Note;

/// Ethernet, IP and TCP header, the longest we send.
const MAX_HEADER_LEN: usize = ethernet::HEADER_LEN + segment::MAX_HEADER_LEN;
/// Frames that wait for the card at most. The shard is not asked for more while any waits, so only
/// answers to strays can come close.
const MAX_BACKLOG: usize = 16_384;

/// The sending side of a card.
#[derive(Debug)]
pub(super) struct Wire<N: Nic> {
    pub nic: N,
    burst: ArrayVec<N::Frame, BURST>,
    backlog: VecDeque<N::Frame>,
    /// What packets of our IP version are marked with.
    ethertype: u16,
    /// To the next hop.
    link_header: [u8; ethernet::HEADER_LEN],
    /// Packets that got no frame: the pool was empty, or the backlog full.
    pub lost: u64,
}

impl<N: Nic> Wire<N> {
    /// `ipv6`: packets are of that version, and not of IPv4.
    pub fn new(nic: N, ipv6: bool) -> Wire<N> {
        let ethertype = if ipv6 { ethernet::ETHERTYPE_IPV6 } else { ethernet::ETHERTYPE_IPV4 };
        let mut wire = Wire {
            nic,
            ethertype,
            burst: ArrayVec::new(),
            backlog: VecDeque::new(),
            link_header: [0; ethernet::HEADER_LEN],
            lost: 0,
        };
        wire.send_to(Mac::BROADCAST);
        wire
    }

    /// Packets go to this neighbour from now on.
    pub fn send_to(&mut self, destination: Mac) {
        let (source, ethertype) = (self.nic.mac(), self.ethertype);
        self.link_header = ethernet::Header { destination, source, ethertype }.to_bytes();
    }

    /// Whether no frame waits for the card.
    #[inline]
    pub fn is_clear(&self) -> bool {
        self.burst.is_empty()
    }

    /// Hands frames to the card, as far as it takes them.
    #[inline]
    pub fn transmit(&mut self) {
        while !self.burst.is_empty() {
            self.nic.transmit(&mut self.burst);
            if !self.burst.is_empty() {
                return;
            }
            while !self.burst.is_full()
                && let Some(frame) = self.backlog.pop_front()
            {
                self.burst.push(frame);
            }
        }
    }

    /// Sends a question or an answer of ours.
    pub fn send_note(&mut self, note: &Note) {
        let (source, ethertype, destination) = (self.nic.mac(), note.ethertype, note.destination);
        let header = ethernet::Header { destination, source, ethertype };
        let Some(mut frame) = self.nic.allocate() else {
            self.lost += 1;
            return;
        };
        if frame.append(&header.to_bytes()) && frame.append(&note.packet) {
            self.push(frame);
        }
    }

    #[inline]
    fn push(&mut self, frame: N::Frame) {
        if self.burst.is_full() && self.backlog.is_empty() {
            self.transmit();
        }
        if self.backlog.is_empty() && !self.burst.is_full() {
            self.burst.push(frame);
        } else if self.backlog.len() < MAX_BACKLOG {
            self.backlog.push_back(frame);
        } else {
            self.lost += 1;
        }
    }

    #[inline]
    fn build(&mut self, packet: &Outgoing<'_>) -> Option<N::Frame> {
        let mut frame = self.nic.allocate()?;
        let mut buffer = [0; MAX_HEADER_LEN];
        let len = ethernet::HEADER_LEN + packet.header.len();
        let (link, header) = buffer[..len].split_at_mut(ethernet::HEADER_LEN);
        link.copy_from_slice(&self.link_header);
        header.copy_from_slice(packet.header);
        let work = self.fill_checksums(packet, header);
        if !frame.append(&buffer[..len]) || !packet.payload.iter().all(|part| frame.append(part)) {
            return None;
        }
        if let Some(work) = work {
            frame.request_tx_checksum(work);
        }
        Some(frame)
    }

    /// Fills in what the card will not; says what it shall.
    #[inline]
    fn fill_checksums(&self, packet: &Outgoing<'_>, header: &mut [u8]) -> Option<TxChecksum> {
        let offloads = self.nic.offloads();
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
        let (l2_len, l3_len) = (ethernet::HEADER_LEN as u8, packet.ip_header_len);
        let ipv4 = !is_ipv6 && offloads.tx_ipv4_checksum;
        Some(TxChecksum { l2_len, l3_len, is_ipv6, ipv4, tcp: true })
    }
}

impl<N: Nic> Egress for Wire<N> {
    const WANTS_PAYLOAD: bool = true;

    #[inline]
    fn emit(&mut self, packet: &Outgoing<'_>) {
        match self.build(packet) {
            Some(frame) => self.push(frame),
            // As lost as on a wire: TCP sends it again.
            None => self.lost += 1,
        }
    }
}
