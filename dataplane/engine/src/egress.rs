//! Where a shard's packets go. What becomes of them is never fed back into the shard.

use crate::addr::Addr;

/// Takes the packets that a step produces.
pub trait Egress {
    /// Whether [`Outgoing::payload`] must be filled. A backup only counts, and so need not gather.
    const WANTS_PAYLOAD: bool;

    /// Takes one packet; what it borrows is gone when the call returns.
    fn emit(&mut self, packet: &Outgoing<'_>);
}

/// One packet on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Where it goes; the worker resolves the next hop.
    pub remote: Addr,
    /// IP and TCP header with options. All checksum fields are zero: the egress fills them in
    /// (`wire::checksum::finish_tcp`) or has the NIC do it.
    pub header: &'a [u8],
    /// Length of the IP header, the first part of `header`: it tells the version.
    pub ip_header_len: u8,
    /// The payload in parts, to be concatenated; empty if the egress does not want it.
    pub payload: &'a [&'a [u8]],
    /// The payload's whole length, also when `payload` is empty.
    pub payload_len: u16,
    /// The connection it is of, if its service has [`Commit::Swfr`].
    ///
    /// [`Commit::Swfr`]: crate::config::Commit::Swfr
    pub swfr: Option<Place>,
    /// Its service has [`Commit::Quorum`].
    ///
    /// [`Commit::Quorum`]: crate::config::Commit::Quorum
    pub quorum: bool,
}

/// Tells a connection from all others that its shard has or had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of its slot, below `Config::max_connections`.
    pub slot: u32,
    /// When it was opened, in microseconds of shard time: the low bits. Two that follow each other
    /// in one slot do not share it, but for chance of one in four thousand million.
    pub opened_us: u32,
    /// Shift of the windows that it is told (RFC 7323 2.2), below 15.
    pub window_shift: u8,
}

/// Counts packets and throws them away: what a backup uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CountingEgress {
    /// Packets so far.
    pub packets: u64,
    /// Bytes of these packets from the IP header on.
    pub bytes: u64,
}

impl Egress for CountingEgress {
    const WANTS_PAYLOAD: bool = false;

    #[inline]
    fn emit(&mut self, packet: &Outgoing<'_>) {
        self.packets += 1;
        self.bytes += packet.header.len() as u64 + u64::from(packet.payload_len);
    }
}
