//! Functions of the C library, for the process that preloads this library: what packetdrill does
//! past its table when it runs a plug-in, in virtual time. Loaded as a plug-in alone, none of them
//! is called.

use std::ffi::{c_int, c_long, c_void};
use std::ptr;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicI64, Ordering};

use libc::socklen_t;

use super::{CURRENT, Current, own_getsockopt};

/// Pins nothing: real time does not matter here, and a user may pin little.
#[unsafe(no_mangle)]
pub extern "C" fn mlockall(_flags: c_int) -> c_int {
    0
}

/// A tick more at each call: packetdrill waits for ticks before it begins.
///
/// # Safety
/// `times` is null, or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn times(times: *mut libc::tms) -> libc::clock_t {
    static TICKS: AtomicI64 = AtomicI64::new(1);
    if !times.is_null() {
        // SAFETY: not null, so it may be written to; all of its fields are numbers.
        unsafe { ptr::write_bytes(times, 0, 1) };
    }
    c_long::from(TICKS.fetch_add(1, Ordering::Relaxed))
}

/// For descriptors of ours the answer of the stack that was made last: packetdrill asks for the
/// `TCP_INFO` of its code sections past the table. Others go to the kernel.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut socklen_t,
) -> c_int {
    let current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(Current(host)) = &*current {
        let host = *host;
        // SAFETY: what is in CURRENT is alive until `free` takes it out.
        if unsafe { &*host }.now(|stack| stack.descriptors.has(fd)) {
            drop(current);
            // SAFETY: `host` is what `own_getsockopt` expects, the rest is the caller's promise.
            return unsafe { own_getsockopt(host.cast_mut().cast(), fd, level, name, value, len) };
        }
    }
    drop(current);
    // SAFETY: the arguments are those of the system call, as the caller promises.
    let result = unsafe { libc::syscall(libc::SYS_getsockopt, fd, level, name, value, len) };
    c_int::try_from(result).unwrap_or(-1)
}
