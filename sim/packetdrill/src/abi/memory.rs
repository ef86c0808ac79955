//! Foreign memory: buffers, addresses and values behind the pointers of a call.

use std::ffi::{c_int, c_void};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ptr;

use libc::{iovec, sockaddr, sockaddr_in, sockaddr_in6, socklen_t};

use crate::errno::{Errno, Result};

/// Linux: numbers about the memory of a socket.
pub const SO_MEMINFO: c_int = 55;
/// Linux: bytes of the name of a congestion control.
pub const CONGESTION_NAME_LEN: usize = 16;
/// Most vectors of a call, as on Linux.
const MAX_VECTORS: c_int = 1024;

/// The caller's buffers of one call, of which some may be null.
#[derive(Debug)]
pub struct Buffers {
    parts: Vec<(*mut u8, usize)>,
}

impl Buffers {
    /// One buffer.
    ///
    /// # Safety
    /// `start` is null or has `len` bytes, as long as this value lives.
    pub unsafe fn one(start: *mut c_void, len: usize) -> Buffers {
        Buffers { parts: vec![(start.cast(), len)] }
    }

    /// Those of a vector.
    ///
    /// # Errors
    /// Too many, or none where some should be.
    ///
    /// # Safety
    /// `vectors` is null or has `count` entries, each of which is as [`one`](Self::one) wants it.
    pub unsafe fn many(vectors: *const iovec, count: c_int) -> Result<Buffers> {
        if !(0..=MAX_VECTORS).contains(&count) {
            return Err(Errno::EINVAL);
        }
        let count = count.unsigned_abs() as usize;
        if count > 0 && vectors.is_null() {
            return Err(Errno::EFAULT);
        }
        let mut parts = Vec::with_capacity(count);
        for at in 0..count {
            // SAFETY: not null, and the caller promises `count` entries.
            let vector = unsafe { vectors.add(at).read() };
            parts.push((vector.iov_base.cast(), vector.iov_len));
        }
        Ok(Buffers { parts })
    }

    /// Bytes of all together.
    pub fn len(&self) -> usize {
        self.parts.iter().fold(0, |sum, (_, len)| sum.saturating_add(*len))
    }

    /// Whether one that should have bytes is null.
    pub fn are_null(&self) -> bool {
        self.parts.iter().any(|(start, len)| start.is_null() && *len > 0)
    }

    /// Writes `bytes` into them, one after the other, as far as they reach.
    pub fn fill(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        for (start, len) in &self.parts {
            let (now, later) = rest.split_at(rest.len().min(*len));
            if !start.is_null() {
                // SAFETY: `one` and `many` were promised `len` bytes here, and `now` is no longer.
                unsafe { ptr::copy_nonoverlapping(now.as_ptr(), *start, now.len()) };
            }
            rest = later;
        }
    }

    /// All of their bytes; those of a null buffer are left out.
    pub fn gather(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for (start, len) in self.parts.iter().filter(|(start, _)| !start.is_null()) {
            // SAFETY: `one` and `many` were promised `len` bytes here, and it is not null.
            all.extend_from_slice(unsafe { std::slice::from_raw_parts(*start, *len) });
        }
        all
    }
}

/// `len` bytes to read.
///
/// # Errors
/// There are none.
///
/// # Safety
/// `start` is null or has `len` bytes, for as long as the result lives.
pub unsafe fn bytes<'a>(start: *const c_void, len: usize) -> Result<&'a [u8]> {
    match (start.is_null(), len) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Errno::EFAULT),
        // SAFETY: not null, and the caller promises `len` bytes.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts(start.cast(), len) }),
    }
}

/// Reads a value that need not be aligned.
///
/// # Errors
/// There is none.
///
/// # Safety
/// `from` is null or has a value.
pub unsafe fn read_value<T: Copy>(from: *const T) -> Result<T> {
    // SAFETY: not null, so the caller promises a value.
    if from.is_null() { Err(Errno::EFAULT) } else { Ok(unsafe { from.read_unaligned() }) }
}

/// Writes a value to a place that need not be aligned.
///
/// # Errors
/// There is no place.
///
/// # Safety
/// `to` is null or may be written to.
pub unsafe fn write_value<T>(to: *mut T, value: T) -> Result<()> {
    if to.is_null() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: not null, so the caller promises that it may be written to.
    unsafe { to.write_unaligned(value) };
    Ok(())
}

/// Writes as much of `bytes` as there is room for, and how much that is.
///
/// # Errors
/// There is no place.
///
/// # Safety
/// `to` is null or has as many bytes as `len` says; `len` is null or a length.
pub unsafe fn write_back(bytes: &[u8], to: *mut c_void, len: *mut socklen_t) -> Result<()> {
    // SAFETY: null, or a length that may be written to.
    let len = unsafe { len.as_mut() }.ok_or(Errno::EFAULT)?;
    let count = bytes.len().min(*len as usize);
    if to.is_null() && count > 0 {
        return Err(Errno::EFAULT);
    }
    if count > 0 {
        // SAFETY: not null, and the caller promises `*len` bytes, which is no less than `count`.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to.cast(), count) };
    }
    *len = socklen_t::try_from(count).map_err(|_| Errno::EINVAL)?;
    Ok(())
}

/// Reads an address.
///
/// # Errors
/// It is too short, or of another family.
///
/// # Safety
/// `from` is null or has `len` bytes.
pub unsafe fn read_address(from: *const sockaddr, len: socklen_t) -> Result<SocketAddr> {
    let len = len as usize;
    if from.is_null() {
        return Err(Errno::EFAULT);
    }
    if len < size_of::<libc::sa_family_t>() {
        return Err(Errno::EINVAL);
    }
    // SAFETY: not null, and long enough for a family, which every address begins with.
    let family = unsafe { from.cast::<libc::sa_family_t>().read_unaligned() };
    match c_int::from(family) {
        libc::AF_INET if len >= size_of::<sockaddr_in>() => {
            // SAFETY: the caller promises `len` bytes, which are enough.
            let v4 = unsafe { from.cast::<sockaddr_in>().read_unaligned() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Ok(SocketAddr::new(IpAddr::V4(ip), u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 if len >= size_of::<sockaddr_in6>() => {
            // SAFETY: the caller promises `len` bytes, which are enough.
            let v6 = unsafe { from.cast::<sockaddr_in6>().read_unaligned() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Ok(SocketAddr::new(IpAddr::V6(ip), u16::from_be(v6.sin6_port)))
        }
        libc::AF_INET | libc::AF_INET6 => Err(Errno::EINVAL),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// Writes an address as far as there is room, and its length; nothing where no place is given.
///
/// # Safety
/// As [`write_back`].
pub unsafe fn write_address(address: SocketAddr, to: *mut sockaddr, len: *mut socklen_t) {
    let (mut v4_bytes, mut v6_bytes) =
        ([0; size_of::<sockaddr_in>()], [0; size_of::<sockaddr_in6>()]);
    let port = address.port().to_be_bytes();
    let bytes: &[u8] = match address.ip() {
        IpAddr::V4(ip) => {
            v4_bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
            v4_bytes[2..4].copy_from_slice(&port);
            v4_bytes[4..8].copy_from_slice(&ip.octets());
            &v4_bytes
        }
        IpAddr::V6(ip) => {
            v6_bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
            v6_bytes[2..4].copy_from_slice(&port);
            v6_bytes[8..24].copy_from_slice(&ip.octets());
            &v6_bytes
        }
    };
    if !to.is_null() && !len.is_null() {
        // SAFETY: neither is null, and the rest is the caller's promise.
        let _has_place = unsafe { write_back(bytes, to.cast(), len) };
    }
}
