//! Pools of frames.

use std::ffi::CString;
use std::ptr::NonNull;

use arrayvec::ArrayVec;
use dpdk_sys as sys;

use crate::eal::Eal;
use crate::error::MempoolError;
use crate::mbuf::Mbuf;
use crate::system;

/// How large a pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MempoolConfig {
    /// Number of mbufs. One power of two less one uses memory best.
    pub mbufs: u32,
    /// Mbufs that each registered thread keeps for itself, 0 to 512, at most 2/3 of `mbufs`.
    pub cache: u32,
    /// Bytes of each mbuf for data, headroom (128) included.
    pub data_room: u16,
}

/// A pool of mbufs. It lives as long as the process, since frames may; a copy is another handle
/// to the same pool.
#[derive(Debug, Clone, Copy)]
pub struct Mempool(NonNull<sys::rte_mempool>);

// SAFETY: the pool is never freed, its ring is multi-producer and multi-consumer, and its caches
// are per registered thread.
unsafe impl Send for Mempool {}
// SAFETY: as above; all operations on a pool through a shared handle are thread-safe.
unsafe impl Sync for Mempool {}

impl Mempool {
    /// Makes a pool in EAL's memory. `name` must be new in this process, 1 to 25 bytes.
    pub fn new(_eal: &Eal, name: &str, config: &MempoolConfig) -> Result<Self, MempoolError> {
        let c_name = CString::new(name)
            .map_err(|_| MempoolError::InvalidName { name: name.escape_debug().to_string() })?;
        if name.is_empty() || name.len() > 25 {
            return Err(MempoolError::InvalidName { name: name.to_owned() });
        }
        // SAFETY: `_eal` proves that EAL runs, and the name is a C string. DPDK checks the numbers.
        let pool = unsafe {
            sys::rte_pktmbuf_pool_create(
                c_name.as_ptr(),
                config.mbufs,
                config.cache,
                0,
                config.data_room,
                ANY_SOCKET,
            )
        };
        NonNull::new(pool).map(Self).ok_or_else(|| MempoolError::Refused {
            name: name.to_owned(),
            mbufs: config.mbufs,
            mib: (u64::from(config.mbufs) * (u64::from(config.data_room) + MBUF_OVERHEAD)) >> 20,
            reason: system::errno_text(system::rte_errno()),
        })
    }

    /// An empty frame, with room for headers before it; `None` if the pool is exhausted.
    #[inline]
    pub fn allocate(&self) -> Option<Mbuf> {
        // SAFETY: the pool lives for the process; what it hands out is ours alone, of one segment.
        unsafe {
            NonNull::new(sys::shim_mbuf_alloc(self.0.as_ptr())).map(|raw| Mbuf::from_raw(raw))
        }
    }

    /// Fills `into` up to its capacity with empty frames, all or none; whether it did.
    #[inline]
    pub fn allocate_burst<const N: usize>(&self, into: &mut ArrayVec<Mbuf, N>) -> bool {
        let (len, count) = (into.len(), into.remaining_capacity());
        // SAFETY: there is room for `count` pointers behind the first `len`, `Mbuf` is a
        // transparent pointer, and on success all of them are live mbufs that are ours alone.
        unsafe {
            let room = into.as_mut_ptr().add(len).cast();
            if sys::shim_mbuf_alloc_bulk(self.0.as_ptr(), room, count as u32) != 0 {
                return false;
            }
            into.set_len(len + count);
        }
        true
    }

    /// Mbufs that are with the program or with a device.
    pub fn in_use(&self) -> u32 {
        // SAFETY: the pool lives for the process.
        unsafe { sys::rte_mempool_in_use_count(self.0.as_ptr()) }
    }

    /// Mbufs that can be allocated, those in the threads' caches included.
    pub fn available(&self) -> u32 {
        // SAFETY: the pool lives for the process.
        unsafe { sys::rte_mempool_avail_count(self.0.as_ptr()) }
    }

    pub(crate) fn as_ptr(self) -> *mut sys::rte_mempool {
        self.0.as_ptr()
    }
}

/// `SOCKET_ID_ANY`: a macro with a cast, unseen by bindgen.
const ANY_SOCKET: i32 = -1;

/// The mbuf's own 128 bytes and the pool's header and trailer, for messages only.
const MBUF_OVERHEAD: u64 = 192;
