//! Threads that DPDK did not start.

use std::marker::PhantomData;

use dpdk_sys as sys;

use crate::eal::Eal;
use crate::error::ThreadError;
use crate::system;

/// Makes the calling thread known to DPDK for as long as this value lives: it gets an lcore id, and
/// with it a cache of its own in each mempool.
#[derive(Debug)]
pub struct ThreadRegistration {
    /// Whether it was done here; the thread that started EAL is known from the start.
    ours: bool,
    /// It belongs to one thread and must be dropped by it.
    _not_send: PhantomData<*const ()>,
}

impl ThreadRegistration {
    /// Registers the calling thread, unless DPDK knows it already.
    pub fn new(_eal: &Eal) -> Result<Self, ThreadError> {
        // SAFETY: no preconditions but a running EAL, which `_eal` proves.
        if unsafe { sys::shim_thread_is_registered() } {
            return Ok(Self { ours: false, _not_send: PhantomData });
        }
        // SAFETY: as above.
        match unsafe { sys::rte_thread_register() } {
            0 => Ok(Self { ours: true, _not_send: PhantomData }),
            _ => Err(ThreadError::Refused { reason: system::errno_text(system::rte_errno()) }),
        }
    }
}

impl Drop for ThreadRegistration {
    fn drop(&mut self) {
        if self.ours {
            // SAFETY: the thread was registered by `new`, and the value cannot leave it.
            unsafe { sys::rte_thread_unregister() }
        }
    }
}
