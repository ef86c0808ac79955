//! Frames.

use std::fmt;
use std::ptr::NonNull;

use arrayvec::ArrayVec;
use dpdk_sys as sys;

/// A frame in a mempool's memory, of one segment, owned: dropping it gives it back to its pool.
///
/// It is a pointer and nothing else, so that an array of them is what DPDK's burst calls want.
#[repr(transparent)]
pub struct Mbuf(NonNull<sys::rte_mbuf>);

// SAFETY: an `Mbuf` is the only reference to its buffer (reference count 1, never cloned), and
// pools are made with multi-producer and multi-consumer rings, so any thread may use and free it.
unsafe impl Send for Mbuf {}

/// What the device found out about a checksum of a received frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChecksumStatus {
    /// Not looked at: software must verify.
    #[default]
    Unknown,
    Good,
    Bad,
}

/// Checksums that the device shall fill in while it sends a frame.
///
/// The fields must hold what DPDK asks for: zero in the IPv4 header checksum, the sum of the
/// pseudo-header in that of TCP or UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TxChecksum {
    /// Bytes of the Ethernet header.
    pub l2_len: u8,
    /// Bytes of the IP header.
    pub l3_len: u8,
    /// It is an IPv6 header, which has no checksum; not together with `ipv4`.
    pub is_ipv6: bool,
    /// Bytes of the TCP or UDP header; 0 if not known.
    pub l4_len: u8,
    /// Fill in the IPv4 header checksum.
    pub ipv4: bool,
    /// Fill in the TCP checksum; not together with `udp`.
    pub tcp: bool,
    /// Fill in the UDP checksum; not together with `tcp`.
    pub udp: bool,
}

impl Mbuf {
    /// Takes over a buffer that DPDK handed out.
    ///
    /// # Safety
    /// `raw` is a live mbuf of one segment with reference count 1, which nobody else frees or uses.
    pub(crate) unsafe fn from_raw(raw: NonNull<sys::rte_mbuf>) -> Self {
        Self(raw)
    }

    fn raw(&self) -> &sys::rte_mbuf {
        // SAFETY: `self` owns a live mbuf (invariant of the type), so a shared borrow of it is
        // valid for as long as `self` is borrowed.
        unsafe { self.0.as_ref() }
    }

    fn raw_mut(&mut self) -> &mut sys::rte_mbuf {
        // SAFETY: as in `raw`, and `&mut self` makes it the only borrow.
        unsafe { self.0.as_mut() }
    }

    /// The frame's bytes, from the Ethernet header on, without FCS.
    #[inline]
    pub fn data(&self) -> &[u8] {
        let raw = self.raw();
        // SAFETY: DPDK keeps `data_off + data_len <= buf_len`, `append` and its kin do too, and
        // the pool's memory was written by the kernel or a driver, so it is initialised.
        unsafe {
            std::slice::from_raw_parts(
                raw.buf_addr.cast::<u8>().add(usize::from(raw.data_off)),
                usize::from(raw.data_len),
            )
        }
    }

    /// The frame's bytes, to be changed in place.
    #[inline]
    pub fn data_mut(&mut self) -> &mut [u8] {
        let raw = self.raw_mut();
        // SAFETY: as in `data`; the buffer is exclusively ours.
        unsafe {
            std::slice::from_raw_parts_mut(
                raw.buf_addr.cast::<u8>().add(usize::from(raw.data_off)),
                usize::from(raw.data_len),
            )
        }
    }

    /// Length of the frame in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.raw().data_len)
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.raw().data_len == 0
    }

    /// Bytes free before the frame.
    #[inline]
    pub fn headroom(&self) -> usize {
        usize::from(self.raw().data_off)
    }

    /// Bytes free behind the frame.
    #[inline]
    pub fn tailroom(&self) -> usize {
        let raw = self.raw();
        usize::from(raw.buf_len) - usize::from(raw.data_off) - usize::from(raw.data_len)
    }

    /// Lengthens the frame at its end; the new bytes, which hold anything, or `None` without room.
    #[inline]
    pub fn append(&mut self, count: usize) -> Option<&mut [u8]> {
        let old = self.len();
        if count > self.tailroom() {
            return None;
        }
        self.set_len(old + count);
        Some(&mut self.data_mut()[old..])
    }

    /// Appends a copy of `bytes`; false, and nothing changed, without room.
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) -> bool {
        match self.append(bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }

    /// Lengthens the frame at its start; the new bytes, which hold anything, or `None` without
    /// room.
    #[inline]
    pub fn prepend(&mut self, count: usize) -> Option<&mut [u8]> {
        if count > self.headroom() {
            return None;
        }
        let len = self.len() + count;
        self.raw_mut().data_off -= count as u16;
        self.set_len(len);
        Some(&mut self.data_mut()[..count])
    }

    /// Cuts the frame to `len` bytes from its start; a longer `len` changes nothing.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.set_len(len);
        }
    }

    /// Cuts `count` bytes off the frame's start; false, and nothing changed, if it is shorter.
    #[inline]
    pub fn trim_front(&mut self, count: usize) -> bool {
        let Some(len) = self.len().checked_sub(count) else { return false };
        self.raw_mut().data_off += count as u16;
        self.set_len(len);
        true
    }

    /// `len` is at most the room from `data_off` on, which is itself a `u16`.
    fn set_len(&mut self, len: usize) {
        let raw = self.raw_mut();
        raw.data_len = len as u16;
        raw.pkt_len = len as u32;
    }

    /// What the device says about the IPv4 header checksum of a received frame.
    #[inline]
    pub fn rx_ipv4_checksum(&self) -> ChecksumStatus {
        status(self.raw().ol_flags, sys::RTE_MBUF_F_RX_IP_CKSUM_BAD, IP_GOOD)
    }

    /// What the device says about the TCP or UDP checksum of a received frame.
    #[inline]
    pub fn rx_l4_checksum(&self) -> ChecksumStatus {
        status(self.raw().ol_flags, sys::RTE_MBUF_F_RX_L4_CKSUM_BAD, L4_GOOD)
    }

    /// Both checksums of a received frame in one: bad if one is, good if both are.
    #[inline]
    pub fn rx_checksum(&self) -> ChecksumStatus {
        use ChecksumStatus::{Bad, Good, Unknown};
        match (self.rx_ipv4_checksum(), self.rx_l4_checksum()) {
            (Bad, _) | (_, Bad) => Bad,
            (Good, Good) => Good,
            _ => Unknown,
        }
    }

    /// The receive-side-scaling hash, if the device gave one.
    #[inline]
    pub fn rss_hash(&self) -> Option<u32> {
        let raw = self.raw();
        // SAFETY: any bits are a valid `u32`; the flag says whether they are the hash.
        let hash = unsafe { raw.__bindgen_anon_2.hash.rss };
        (raw.ol_flags & u64::from(sys::RTE_MBUF_F_RX_RSS_HASH) != 0).then_some(hash)
    }

    /// Asks the device to fill in checksums. Ask only for what [`crate::Port::offloads`] has.
    #[inline]
    pub fn request_tx_checksum(&mut self, work: TxChecksum) {
        let mut flags =
            if work.is_ipv6 { sys::RTE_MBUF_F_TX_IPV6 } else { sys::RTE_MBUF_F_TX_IPV4 };
        if work.ipv4 {
            flags |= sys::RTE_MBUF_F_TX_IP_CKSUM;
        }
        if work.tcp {
            flags |= sys::RTE_MBUF_F_TX_TCP_CKSUM;
        } else if work.udp {
            flags |= sys::RTE_MBUF_F_TX_UDP_CKSUM;
        }
        let raw = self.raw_mut();
        raw.ol_flags = (raw.ol_flags & !TX_CHECKSUM_FLAGS) | flags;
        // The bit field of rte_mbuf_core.h: l2_len 7 bits, l3_len 9, l4_len 8.
        raw.__bindgen_anon_3.tx_offload = u64::from(work.l2_len & 0x7f)
            | u64::from(work.l3_len) << 7
            | u64::from(work.l4_len) << 16;
    }

    /// Forgets what reception left in the flags, so that the frame can be sent as it is.
    #[inline]
    pub fn clear_offloads(&mut self) {
        self.raw_mut().ol_flags = 0;
    }

    /// Segments of the chain that the driver handed over.
    pub(crate) fn segments(&self) -> u16 {
        self.raw().nb_segs
    }

    /// Copies a chain into its first segment; false if that has no room for it.
    pub(crate) fn linearize(&mut self) -> bool {
        // SAFETY: the mbuf is live and ours alone.
        unsafe { sys::shim_mbuf_linearize(self.0.as_ptr()) == 0 }
    }
}

const IP_GOOD: u32 = sys::RTE_MBUF_F_RX_IP_CKSUM_GOOD;
const L4_GOOD: u32 = sys::RTE_MBUF_F_RX_L4_CKSUM_GOOD;
const TX_CHECKSUM_FLAGS: u64 = sys::RTE_MBUF_F_TX_IPV4
    | sys::RTE_MBUF_F_TX_IPV6
    | sys::RTE_MBUF_F_TX_IP_CKSUM
    | sys::RTE_MBUF_F_TX_L4_MASK;

/// Both bits set mean "not right in the frame, but the data is", which a virtual device says of a
/// frame that never was on a wire: nothing to verify, so good.
fn status(flags: u64, bad: u32, good: u32) -> ChecksumStatus {
    match (flags & u64::from(bad) != 0, flags & u64::from(good) != 0) {
        (_, true) => ChecksumStatus::Good,
        (true, false) => ChecksumStatus::Bad,
        (false, false) => ChecksumStatus::Unknown,
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the mbuf is live and ours alone, and `self` is gone after this.
        unsafe { sys::shim_mbuf_free(self.0.as_ptr()) }
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mbuf")
            .field("len", &self.len())
            .field("headroom", &self.headroom())
            .field("tailroom", &self.tailroom())
            .finish_non_exhaustive()
    }
}

/// Gives a burst of frames back to their pools in one call.
#[inline]
pub fn free_burst<const N: usize>(frames: &mut ArrayVec<Mbuf, N>) {
    let count = frames.len();
    // SAFETY: `Mbuf` is a transparent pointer, so the first `count` elements are an array of live
    // mbufs; with the length set to zero they are DPDK's alone.
    unsafe {
        frames.set_len(0);
        sys::rte_pktmbuf_free_bulk(frames.as_mut_ptr().cast(), count as u32);
    }
}
