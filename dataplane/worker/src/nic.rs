//! What a worker needs of a network card. `nic_dpdk` implements it over a poll-mode driver,
//! `nic_memory` over two queues in memory; the worker is compiled for each, without `dyn`.

use arrayvec::ArrayVec;
use engine::wire::ethernet::Mac;

/// Frames that move in one call, in either direction. Drivers are at their best with 32.
pub const BURST: usize = 32;

/// What the card found out about a received frame's IPv4 and TCP checksums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RxChecksum {
    /// Not looked at: software has to verify.
    #[default]
    Unknown,
    /// Looked at and right.
    Good,
    /// Looked at and wrong.
    Bad,
}

/// Work that the card takes over for frames it sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// The IPv4 header checksum.
    pub tx_ipv4_checksum: bool,
    /// The TCP checksum, given the sum of the pseudo-header in its field.
    pub tx_tcp_checksum: bool,
}

/// Which checksums the card shall fill in for one frame, and where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxChecksum {
    /// Bytes of the Ethernet header.
    pub l2_len: u8,
    /// Bytes of the IP header.
    pub l3_len: u8,
    /// It is an IPv6 header, which has no checksum.
    pub is_ipv6: bool,
    /// The IPv4 header checksum is zero and wanted.
    pub ipv4: bool,
    /// The TCP checksum holds the pseudo-header's sum and the rest is wanted.
    pub tcp: bool,
}

/// One frame in memory that the card can reach. Dropping it gives the memory back.
pub trait Frame: Send + Sized {
    /// The frame from the Ethernet header on, without FCS.
    fn bytes(&self) -> &[u8];
    /// The same, to be changed in place.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Appends a copy of `bytes`; false, and nothing changed, when they do not fit.
    fn append(&mut self, bytes: &[u8]) -> bool;
    /// Cuts the frame to `len` bytes; longer than it is changes nothing.
    fn truncate(&mut self, len: usize);
    /// What the card says about a received frame's checksums.
    fn rx_checksum(&self) -> RxChecksum;
    /// Makes a received frame one that can be sent: what its reception left behind is forgotten.
    fn reuse(&mut self);
    /// Asks the card to fill in checksums when it sends the frame. Only what
    /// [`Nic::offloads`] promises may be asked for.
    fn request_tx_checksum(&mut self, work: TxChecksum);
}

/// One worker's share of a port: a receive queue, a transmit queue and frames to fill.
pub trait Nic {
    /// The frames of this card.
    type Frame: Frame;

    /// The card's own address.
    fn mac(&self) -> Mac;
    /// Largest L3 packet in bytes.
    fn mtu(&self) -> u16;
    /// What may be asked of it.
    fn offloads(&self) -> Offloads;
    /// Whether this share has queues of its own. Without, it only allocates: another worker
    /// receives and transmits for it.
    fn has_queues(&self) -> bool;
    /// Receives what is there, as far as `into` has room.
    fn receive(&mut self, into: &mut ArrayVec<Self::Frame, BURST>);
    /// An empty frame; nothing when the pool is exhausted.
    fn allocate(&mut self) -> Option<Self::Frame>;
    /// Sends frames from the front of `burst`. What the card has no room for stays in `burst`.
    fn transmit(&mut self, burst: &mut ArrayVec<Self::Frame, BURST>);
}
