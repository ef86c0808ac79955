//! The border to C: packetdrill's table of functions, and what stands behind each entry. All
//! foreign pointers end here: what goes on from here has Rust's types. A panic ends here too, as
//! `EIO`.
//!
//! The caller's side of the contract, which C cannot express: `userdata` is what
//! [`packetdrill_interface_init`] left in the table, until `free`; every pointer is null or points
//! to as much as the call says.
#![allow(unsafe_code)]

mod memory;
mod preload;

use std::ffi::{CStr, c_char, c_int, c_long, c_longlong, c_uint, c_ulong, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Mutex;

use libc::{
    epoll_event, iovec, loff_t, msghdr, nfds_t, pollfd, size_t, sockaddr, socklen_t, ssize_t,
    timeval, useconds_t,
};

use engine::shard::ConnectionInfo;
use engine::tcp::State;

use crate::errno::{Errno, Result};
use crate::host::Host;
use crate::info;
use crate::options::Options;
use crate::poll::EpollEvent;
use crate::settings::{Habits, Settings};
use crate::socket::{Family, Role, Socket};
use crate::stack::Stack;
use memory::{Buffers, bytes, read_address, read_value, write_address, write_back, write_value};

type User = *mut c_void;
type Call3<A, B, C, R> = unsafe extern "C" fn(User, A, B, C) -> R;
type Call4<A, B, C, D, R> = unsafe extern "C" fn(User, A, B, C, D) -> R;

/// packetdrill's table: a pointer of ours, then the functions in their fixed order. Each takes the
/// pointer first, then what the system call of its name takes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the names of the system calls say it")]
pub struct Interface {
    pub userdata: User,
    pub free: unsafe extern "C" fn(User),
    pub socket: Call3<c_int, c_int, c_int, c_int>,
    pub bind: Call3<c_int, *const sockaddr, socklen_t, c_int>,
    pub listen: unsafe extern "C" fn(User, c_int, c_int) -> c_int,
    pub accept: Call3<c_int, *mut sockaddr, *mut socklen_t, c_int>,
    pub connect: Call3<c_int, *const sockaddr, socklen_t, c_int>,
    pub read: Call3<c_int, *mut c_void, size_t, ssize_t>,
    pub readv: Call3<c_int, *const iovec, c_int, ssize_t>,
    pub recv: Call4<c_int, *mut c_void, size_t, c_int, ssize_t>,
    pub recvfrom: unsafe extern "C" fn(
        User,
        c_int,
        *mut c_void,
        size_t,
        c_int,
        *mut sockaddr,
        *mut socklen_t,
    ) -> ssize_t,
    pub recvmsg: Call3<c_int, *mut msghdr, c_int, ssize_t>,
    pub write: Call3<c_int, *const c_void, size_t, ssize_t>,
    pub writev: Call3<c_int, *const iovec, c_int, ssize_t>,
    pub send: Call4<c_int, *const c_void, size_t, c_int, ssize_t>,
    pub sendto: unsafe extern "C" fn(
        User,
        c_int,
        *const c_void,
        size_t,
        c_int,
        *const sockaddr,
        socklen_t,
    ) -> ssize_t,
    pub sendmsg: Call3<c_int, *const msghdr, c_int, ssize_t>,
    /// Variadic in C. The third argument is an int, and on the ABIs that Linux has it lies where a
    /// named one would; it means nothing to a command without one.
    pub fcntl: Call3<c_int, c_int, c_long, c_int>,
    /// Variadic in C, with a pointer as the third argument.
    pub ioctl: Call3<c_int, c_ulong, *mut c_int, c_int>,
    pub close: unsafe extern "C" fn(User, c_int) -> c_int,
    pub shutdown: unsafe extern "C" fn(User, c_int, c_int) -> c_int,
    pub getsockopt:
        unsafe extern "C" fn(User, c_int, c_int, c_int, *mut c_void, *mut socklen_t) -> c_int,
    pub setsockopt:
        unsafe extern "C" fn(User, c_int, c_int, c_int, *const c_void, socklen_t) -> c_int,
    pub poll: Call3<*mut pollfd, nfds_t, c_int, c_int>,
    pub netdev_send: unsafe extern "C" fn(User, *const c_void, size_t) -> c_int,
    pub netdev_receive: Call3<*mut c_void, *mut size_t, *mut c_longlong, c_int>,
    pub usleep: unsafe extern "C" fn(User, useconds_t) -> c_int,
    pub gettimeofday: unsafe extern "C" fn(User, *mut timeval, *mut c_void) -> c_int,
    pub epoll_create: unsafe extern "C" fn(User, c_int) -> c_int,
    pub epoll_ctl: Call4<c_int, c_int, c_int, *mut epoll_event, c_int>,
    pub epoll_wait: Call4<c_int, *mut epoll_event, c_int, c_int, c_int>,
    pub pipe: unsafe extern "C" fn(User, *mut c_int) -> c_int,
    pub splice: unsafe extern "C" fn(
        User,
        c_int,
        *mut loff_t,
        c_int,
        *mut loff_t,
        size_t,
        c_uint,
    ) -> ssize_t,
}

const _: () = assert!(size_of::<Interface>() == 33 * size_of::<*const ()>());

/// Fills the table with a new stack. `flags` is what the user gave with `--so_flags`, or null; a
/// flag that is not known ends the process with a message, for there is no other way to tell.
///
/// # Safety
/// `flags` is null or a C string, `interface` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn packetdrill_interface_init(
    flags: *const c_char,
    interface: *mut Interface,
) {
    let text = if flags.is_null() {
        ""
    } else {
        // SAFETY: the caller gives a C string, and it is not null.
        unsafe { CStr::from_ptr(flags) }.to_str().unwrap_or("(no UTF-8)")
    };
    let settings = Settings::parse(text).unwrap_or_else(|error| {
        eprintln!("error: {error}");
        std::process::exit(2);
    });
    let host = Box::into_raw(Box::new(Host::new(settings)));
    *CURRENT.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Current(host));
    let table = Interface {
        userdata: host.cast(),
        free,
        socket,
        bind,
        listen,
        accept,
        connect,
        read,
        readv,
        recv,
        recvfrom,
        recvmsg,
        write,
        writev,
        send,
        sendto,
        sendmsg,
        fcntl,
        ioctl,
        close,
        shutdown,
        getsockopt: own_getsockopt,
        setsockopt,
        poll,
        netdev_send,
        netdev_receive,
        usleep,
        gettimeofday,
        epoll_create,
        epoll_ctl,
        epoll_wait,
        pipe,
        splice,
    };
    // SAFETY: the caller gives a table that may be written to.
    unsafe { interface.write(table) };
}

/// The stack that was made last, for [`getsockopt`], which gets no pointer.
static CURRENT: Mutex<Option<Current>> = Mutex::new(None);

#[derive(Debug)]
struct Current(*const Host);

// SAFETY: a `Host` may be shared between threads, which the compiler checks for `Host` itself; the
// pointer is taken out before what it points to goes.
unsafe impl Send for Current {}

/// What C's functions return for success and failure.
trait Returned {
    const FAILURE: Self;
}

impl Returned for c_int {
    const FAILURE: c_int = -1;
}

impl Returned for ssize_t {
    const FAILURE: ssize_t = -1;
}

/// Runs a call; an error or a panic becomes -1 and `errno`.
fn call<R: Returned>(user: User, work: impl FnOnce(&Host) -> Result<R>) -> R {
    // SAFETY: `userdata` is the box that `packetdrill_interface_init` leaked, and `free` is last.
    let host = unsafe { user.cast::<Host>().as_ref() };
    let result = catch_unwind(AssertUnwindSafe(|| work(host.ok_or(Errno::EFAULT)?)));
    let Errno(number) = match result {
        Ok(Ok(value)) => return value,
        Ok(Err(error)) => error,
        Err(_panic) => Errno::EIO,
    };
    // SAFETY: the C library gives the address of this thread's errno.
    unsafe { *libc::__errno_location() = number };
    R::FAILURE
}

fn done(result: Result<()>) -> Result<c_int> {
    result.map(|()| 0)
}

fn length(len: usize) -> Result<ssize_t> {
    ssize_t::try_from(len).map_err(|_| Errno::EINVAL)
}

unsafe extern "C" fn free(user: User) {
    CURRENT.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    if !user.is_null() {
        // SAFETY: the box that was leaked for this table, whose last call this is.
        drop(unsafe { Box::from_raw(user.cast::<Host>()) });
    }
}

unsafe extern "C" fn socket(user: User, domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    call(user, |host| host.now(|stack| stack.socket(domain, kind, protocol)))
}

unsafe extern "C" fn bind(
    user: User,
    fd: c_int,
    address: *const sockaddr,
    len: socklen_t,
) -> c_int {
    call(user, |host| {
        // SAFETY: the caller promises `len` bytes.
        let address = unsafe { read_address(address, len) }?;
        done(host.now(|stack| stack.bind(fd, address)))
    })
}

unsafe extern "C" fn listen(user: User, fd: c_int, backlog: c_int) -> c_int {
    call(user, |host| done(host.now(|stack| stack.listen(fd, backlog))))
}

unsafe extern "C" fn accept(
    user: User,
    fd: c_int,
    address: *mut sockaddr,
    len: *mut socklen_t,
) -> c_int {
    call(user, |host| {
        let (accepted, peer) = host.accept(fd)?;
        // SAFETY: the caller promises as many bytes as `len` says.
        unsafe { write_address(peer, address, len) };
        Ok(accepted)
    })
}

unsafe extern "C" fn connect(
    user: User,
    fd: c_int,
    address: *const sockaddr,
    len: socklen_t,
) -> c_int {
    call(user, |host| {
        // SAFETY: the caller promises `len` bytes.
        let address = unsafe { read_address(address, len) }?;
        done(host.connect(fd, address))
    })
}

/// Reads into `buffers`, or throws away what was read (`MSG_TRUNC`).
fn receive(host: &Host, fd: c_int, mut buffers: Buffers, flags: c_int) -> Result<ssize_t> {
    let discard = flags & libc::MSG_TRUNC != 0;
    if !discard && buffers.len() > 0 && buffers.are_null() {
        return Err(Errno::EFAULT);
    }
    let bytes = host.receive(fd, buffers.len(), flags)?;
    if !discard {
        buffers.fill(&bytes);
    }
    length(bytes.len())
}

unsafe extern "C" fn read(user: User, fd: c_int, to: *mut c_void, len: size_t) -> ssize_t {
    // SAFETY: the caller promises `len` bytes.
    call(user, |host| receive(host, fd, unsafe { Buffers::one(to, len) }, 0))
}

unsafe extern "C" fn readv(user: User, fd: c_int, to: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: the caller promises `count` vectors, each with as many bytes as it says.
    call(user, |host| receive(host, fd, unsafe { Buffers::many(to, count) }?, 0))
}

unsafe extern "C" fn recv(
    user: User,
    fd: c_int,
    to: *mut c_void,
    len: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: the caller promises `len` bytes.
    call(user, |host| receive(host, fd, unsafe { Buffers::one(to, len) }, flags))
}

/// The sender's address of a stream is its peer, and is not told (as with `recvfrom` on Linux).
unsafe extern "C" fn recvfrom(
    user: User,
    fd: c_int,
    to: *mut c_void,
    len: size_t,
    flags: c_int,
    _address: *mut sockaddr,
    address_len: *mut socklen_t,
) -> ssize_t {
    call(user, |host| {
        // SAFETY: the caller promises `len` bytes.
        let received = receive(host, fd, unsafe { Buffers::one(to, len) }, flags)?;
        // SAFETY: null, or a length that may be written to.
        if let Some(address_len) = unsafe { address_len.as_mut() } {
            *address_len = 0;
        }
        Ok(received)
    })
}

unsafe extern "C" fn recvmsg(user: User, fd: c_int, to: *mut msghdr, flags: c_int) -> ssize_t {
    call(user, |host| {
        // SAFETY: null, or a header that may be written to.
        let header = unsafe { to.as_mut() }.ok_or(Errno::EFAULT)?;
        let count = c_int::try_from(header.msg_iovlen).map_err(|_| Errno::EINVAL)?;
        // SAFETY: the caller promises `count` vectors, each with as many bytes as it says.
        let buffers = unsafe { Buffers::many(header.msg_iov, count) }?;
        let received = receive(host, fd, buffers, flags)?;
        header.msg_namelen = 0;
        header.msg_controllen = 0;
        header.msg_flags = 0;
        Ok(received)
    })
}

unsafe extern "C" fn write(user: User, fd: c_int, from: *const c_void, len: size_t) -> ssize_t {
    // SAFETY: the caller promises `len` bytes.
    call(user, |host| length(host.send(fd, unsafe { bytes(from, len) }?, 0)?))
}

unsafe extern "C" fn writev(user: User, fd: c_int, from: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: the caller promises `count` vectors, each with as many bytes as it says.
    call(user, |host| length(host.send(fd, &unsafe { Buffers::many(from, count) }?.gather(), 0)?))
}

unsafe extern "C" fn send(
    user: User,
    fd: c_int,
    from: *const c_void,
    len: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: the caller promises `len` bytes.
    call(user, |host| length(host.send(fd, unsafe { bytes(from, len) }?, flags)?))
}

/// A stream goes to its peer, whatever address is given (as with `sendto` on Linux).
unsafe extern "C" fn sendto(
    user: User,
    fd: c_int,
    from: *const c_void,
    len: size_t,
    flags: c_int,
    _address: *const sockaddr,
    _address_len: socklen_t,
) -> ssize_t {
    // SAFETY: the caller promises `len` bytes.
    call(user, |host| length(host.send(fd, unsafe { bytes(from, len) }?, flags)?))
}

unsafe extern "C" fn sendmsg(user: User, fd: c_int, from: *const msghdr, flags: c_int) -> ssize_t {
    call(user, |host| {
        // SAFETY: null, or a header.
        let header = unsafe { from.as_ref() }.ok_or(Errno::EFAULT)?;
        let count = c_int::try_from(header.msg_iovlen).map_err(|_| Errno::EINVAL)?;
        // SAFETY: the caller promises `count` vectors, each with as many bytes as it says.
        let all = unsafe { Buffers::many(header.msg_iov, count) }?.gather();
        length(host.send(fd, &all, flags)?)
    })
}

unsafe extern "C" fn fcntl(user: User, fd: c_int, command: c_int, argument: c_long) -> c_int {
    call(user, |host| {
        host.now(|stack| match command {
            libc::F_GETFL => {
                let nonblocking = stack.descriptors.is_nonblocking(fd)?;
                Ok(libc::O_RDWR | if nonblocking { libc::O_NONBLOCK } else { 0 })
            }
            libc::F_SETFL => {
                let on = argument & c_long::from(libc::O_NONBLOCK) != 0;
                done(stack.descriptors.set_nonblocking(fd, on))
            }
            _ if !stack.descriptors.has(fd) => Err(Errno::EBADF),
            libc::F_GETFD | libc::F_SETFD => Ok(0),
            _ => Err(Errno::EINVAL),
        })
    })
}

unsafe extern "C" fn ioctl(user: User, fd: c_int, request: c_ulong, value: *mut c_int) -> c_int {
    /// Linux: bytes that were never sent.
    const SIOCOUTQNSD: c_ulong = 0x894b;
    call(user, |host| {
        // SAFETY: null, or an int that may be written to: no request here has another argument.
        let value = unsafe { value.as_mut() }.ok_or(Errno::EFAULT)?;
        let number = |bytes: u64| c_int::try_from(bytes).unwrap_or(c_int::MAX);
        host.now(|stack| {
            *value = match request {
                libc::FIONREAD => number(stack.unread(fd)? as u64),
                libc::TIOCOUTQ => stack.inspect(fd)?.1.map_or(0, |info| number(info.send_queue)),
                SIOCOUTQNSD => stack.inspect(fd)?.1.map_or(0, |info| number(info.unsent)),
                libc::FIONBIO => {
                    stack.descriptors.set_nonblocking(fd, *value != 0)?;
                    *value
                }
                _ => return Err(Errno::EINVAL),
            };
            Ok(0)
        })
    })
}

unsafe extern "C" fn close(user: User, fd: c_int) -> c_int {
    call(user, |host| done(host.close(fd)))
}

unsafe extern "C" fn shutdown(user: User, fd: c_int, how: c_int) -> c_int {
    call(user, |host| done(host.now(|stack| stack.shutdown(fd, how))))
}

unsafe extern "C" fn own_getsockopt(
    user: User,
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut socklen_t,
) -> c_int {
    call(user, |host| {
        let bytes = host.now(|stack| option_value(stack, fd, level, name))?;
        // SAFETY: the caller promises as many bytes as `len` says.
        done(unsafe { write_back(&bytes, value, len) })
    })
}

/// The bytes of an option.
fn option_value(stack: &mut Stack, fd: c_int, level: c_int, name: c_int) -> Result<Vec<u8>> {
    let int = |value: c_int| Ok(value.to_ne_bytes().to_vec());
    let (socket, connection) = stack.inspect(fd)?;
    let mtu = stack.mtu();
    match (level, name) {
        (libc::SOL_SOCKET, libc::SO_ERROR) => int(stack.take_error(fd)?),
        (libc::SOL_SOCKET, libc::SO_ACCEPTCONN) => {
            int(matches!(socket.role, Role::Listening { .. }).into())
        }
        (libc::SOL_SOCKET, libc::SO_DOMAIN) => {
            int(if socket.family == Family::V4 { libc::AF_INET } else { libc::AF_INET6 })
        }
        (libc::SOL_SOCKET, libc::SO_LINGER) => {
            let seconds = socket.options.linger_s;
            let on = c_int::from(seconds.is_some());
            let seconds = c_int::try_from(seconds.unwrap_or(0)).unwrap_or(c_int::MAX);
            Ok([on.to_ne_bytes(), seconds.to_ne_bytes()].concat())
        }
        (libc::SOL_SOCKET, memory::SO_MEMINFO) => {
            Ok(info::memory_info(socket, connection.as_ref()))
        }
        (libc::IPPROTO_TCP, libc::TCP_INFO) => {
            Ok(info::tcp_info(socket, connection.as_ref(), mtu.into()))
        }
        // What Linux tells of an algorithm without variables of its own: nothing.
        (libc::IPPROTO_TCP, libc::TCP_CC_INFO) => Ok(Vec::new()),
        (libc::IPPROTO_TCP, libc::TCP_CONGESTION) => {
            let mut name = socket.options.congestion_name().as_bytes().to_vec();
            name.resize(memory::CONGESTION_NAME_LEN, 0);
            Ok(name)
        }
        (libc::IPPROTO_TCP, libc::TCP_MAXSEG) => {
            let mss = connection.map_or(socket.options.max_segment.unwrap_or(536), |c| c.mss);
            int(mss.into())
        }
        (libc::SOL_SOCKET, libc::SO_RCVBUF) => {
            int(recv_buffer(socket, connection.as_ref()).ok_or(Errno::ENOPROTOOPT)?)
        }
        _ => int(socket.options.number(level, name).ok_or(Errno::ENOPROTOOPT)?),
    }
}

/// `SO_RCVBUF`; FreeBSD makes whole segments of it when a connection begins.
fn recv_buffer(socket: &Socket, connection: Option<&ConnectionInfo>) -> Option<c_int> {
    let bytes = socket.options.number(libc::SOL_SOCKET, libc::SO_RCVBUF)?;
    let whole_segments = |connection: &&ConnectionInfo| {
        socket.options.habits == Habits::FreeBsd && connection.state != State::SynSent
    };
    match connection.filter(whole_segments) {
        Some(connection) => {
            let whole = bytes.unsigned_abs().next_multiple_of(u32::from(connection.mss).max(1));
            c_int::try_from(whole).ok()
        }
        None => Some(bytes),
    }
}

unsafe extern "C" fn setsockopt(
    user: User,
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    len: socklen_t,
) -> c_int {
    call(user, |host| {
        // SAFETY: the caller promises `len` bytes.
        let value = unsafe { bytes(value, len as usize) }?;
        done(
            host.now(|stack| {
                stack.change_options(fd, |options| change(options, level, name, value))
            }),
        )
    })
}

fn change(options: &mut Options, level: c_int, name: c_int, value: &[u8]) -> Result<()> {
    let int = |at: usize| {
        let bytes = value.get(at..at + size_of::<c_int>()).ok_or(Errno::EINVAL)?;
        Ok(c_int::from_ne_bytes(bytes.try_into().map_err(|_| Errno::EINVAL)?))
    };
    match (level, name) {
        (libc::SOL_SOCKET, libc::SO_LINGER) => {
            options.set_linger(int(0)? != 0, int(size_of::<c_int>())?);
            Ok(())
        }
        (libc::IPPROTO_TCP, libc::TCP_CONGESTION) => {
            let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
            options.set_congestion(std::str::from_utf8(&value[..end]).map_err(|_| Errno::EINVAL)?)
        }
        _ => options.set(level, name, int(0)?),
    }
}

unsafe extern "C" fn poll(user: User, fds: *mut pollfd, count: nfds_t, timeout_ms: c_int) -> c_int {
    call(user, |host| {
        let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
        let fds = match (fds.is_null(), count) {
            (_, 0) => &mut [],
            (true, _) => return Err(Errno::EFAULT),
            // SAFETY: not null, and the caller promises `count` of them.
            (false, _) => unsafe { std::slice::from_raw_parts_mut(fds, count) },
        };
        let bits = |events: i16| u32::from(events.cast_unsigned());
        let asked: Vec<_> = fds.iter().map(|fd| (fd.fd, bits(fd.events))).collect();
        let (answers, ready) = host.poll(&asked, timeout_ms);
        for (fd, bits) in fds.iter_mut().zip(answers) {
            fd.revents = (bits as u16).cast_signed();
        }
        c_int::try_from(ready).map_err(|_| Errno::EINVAL)
    })
}

unsafe extern "C" fn netdev_send(user: User, packet: *const c_void, len: size_t) -> c_int {
    call(user, |host| {
        // SAFETY: the caller promises `len` bytes.
        host.inject(unsafe { bytes(packet, len) }?);
        Ok(0)
    })
}

unsafe extern "C" fn netdev_receive(
    user: User,
    to: *mut c_void,
    len: *mut size_t,
    at_us: *mut c_longlong,
) -> c_int {
    call(user, |host| {
        // SAFETY: null, or a length that may be written to.
        let len = unsafe { len.as_mut() }.ok_or(Errno::EFAULT)?;
        // SAFETY: the caller promises as many bytes as `len` says.
        let mut buffers = unsafe { Buffers::one(to, *len) };
        // Nothing will come any more: no bytes, which packetdrill takes for a broken packet. An
        // error would have it ask again for ever.
        *len = 0;
        let Some(packet) = host.sniff() else { return Ok(0) };
        buffers.fill(&packet.bytes);
        *len = packet.bytes.len().min(buffers.len());
        let at = c_longlong::try_from(packet.at.as_micros()).map_err(|_| Errno::EINVAL)?;
        // SAFETY: null, or a time that may be written to.
        done(unsafe { write_value(at_us, at) })
    })
}

unsafe extern "C" fn usleep(user: User, us: useconds_t) -> c_int {
    call(user, |host| {
        host.sleep_us(us.into());
        Ok(0)
    })
}

unsafe extern "C" fn gettimeofday(user: User, time: *mut timeval, _zone: *mut c_void) -> c_int {
    call(user, |host| {
        let us = host.time().as_micros();
        let part = |value: u64| c_long::try_from(value).map_err(|_| Errno::EINVAL);
        let now = timeval { tv_sec: part(us / 1_000_000)?, tv_usec: part(us % 1_000_000)? };
        // SAFETY: null, or a time that may be written to.
        done(unsafe { write_value(time, now) })
    })
}

unsafe extern "C" fn epoll_create(user: User, size: c_int) -> c_int {
    call(user, |host| {
        if size <= 0 {
            return Err(Errno::EINVAL);
        }
        host.now(Stack::epoll_create)
    })
}

unsafe extern "C" fn epoll_ctl(
    user: User,
    epoll: c_int,
    operation: c_int,
    fd: c_int,
    event: *mut epoll_event,
) -> c_int {
    call(user, |host| {
        let event = if operation == libc::EPOLL_CTL_DEL {
            EpollEvent { events: 0, data: 0 }
        } else {
            // SAFETY: null, or an event.
            let event = unsafe { read_value(event) }?;
            EpollEvent { events: event.events, data: event.u64 }
        };
        done(host.now(|stack| stack.epoll_ctl(epoll, operation, fd, event)))
    })
}

unsafe extern "C" fn epoll_wait(
    user: User,
    epoll: c_int,
    events: *mut epoll_event,
    max: c_int,
    timeout_ms: c_int,
) -> c_int {
    call(user, |host| {
        let max = usize::try_from(max).ok().filter(|&max| max > 0).ok_or(Errno::EINVAL)?;
        let ready = host.epoll_wait(epoll, max, timeout_ms)?;
        for (at, event) in ready.iter().enumerate() {
            let event = epoll_event { events: event.events, u64: event.data };
            // SAFETY: the caller promises `max` of them, and there are no more.
            unsafe { write_value(events.add(at), event) }?;
        }
        c_int::try_from(ready.len()).map_err(|_| Errno::EINVAL)
    })
}

unsafe extern "C" fn pipe(user: User, ends: *mut c_int) -> c_int {
    call(user, |host| {
        if ends.is_null() {
            return Err(Errno::EFAULT);
        }
        let (reader, writer) = host.now(Stack::pipe)?;
        // SAFETY: not null, and the caller promises two of them.
        unsafe { ptr::copy_nonoverlapping([reader, writer].as_ptr(), ends, 2) };
        Ok(0)
    })
}

unsafe extern "C" fn splice(
    user: User,
    from: c_int,
    from_at: *mut loff_t,
    to: c_int,
    to_at: *mut loff_t,
    len: size_t,
    flags: c_uint,
) -> ssize_t {
    call(user, |host| {
        // packetdrill gives the address of a number where a script has NULL: 0 is as good as none.
        // SAFETY: null, or a number.
        let places = unsafe { [read_value(from_at), read_value(to_at)] };
        if places.iter().any(|place| place.is_ok_and(|place| place != 0)) {
            // Neither end has a place to seek to.
            return Err(Errno(libc::ESPIPE));
        }
        let nonblocking = flags & libc::SPLICE_F_NONBLOCK != 0;
        length(host.splice(from, to, len, nonblocking)?)
    })
}
