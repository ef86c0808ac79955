//! What a call fails with: the error numbers of the host's C library.

use std::ffi::c_int;

/// An error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error number {0}")]
pub struct Errno(pub c_int);

macro_rules! errors {
    ($($name:ident,)*) => {
        #[allow(missing_docs)]
        impl Errno {
            $(pub const $name: Errno = Errno(libc::$name);)*
        }
    };
}

errors! {
    EADDRINUSE,
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EAGAIN,
    EALREADY,
    EBADF,
    ECONNABORTED,
    ECONNREFUSED,
    ECONNRESET,
    EDESTADDRREQ,
    EEXIST,
    EFAULT,
    EHOSTUNREACH,
    EINPROGRESS,
    EINVAL,
    EIO,
    EISCONN,
    EMFILE,
    ENETUNREACH,
    ENOBUFS,
    ENOENT,
    ENOPROTOOPT,
    ENOTCONN,
    ENOTSOCK,
    EOPNOTSUPP,
    EPIPE,
    EPROTONOSUPPORT,
    ETIMEDOUT,
}

/// What a call returns.
pub type Result<T> = std::result::Result<T, Errno>;
