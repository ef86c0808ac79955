//! Asks the kernel how many bytes of a connection its peer has not acknowledged (sock_diag(7), as
//! `ss` does). This is how a sender sees that nothing moves while its socket still takes bytes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

/// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST` of linux/netlink.h.
const NLM_F_REQUEST: u16 = 1;
/// `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// `struct inet_diag_req_v2`.
const REQUEST_BYTES: usize = 56;
/// Offset of `idiag_wqueue` in `struct inet_diag_msg`.
const WQUEUE_OFFSET: usize = 60;
/// `INET_DIAG_NOCOOKIE`, both halves.
const NO_COOKIE: [u8; 8] = [0xff; 8];

/// A socket to the kernel's socket diagnosis.
#[derive(Debug)]
pub struct QueueDepth {
    netlink: OwnedFd,
}

impl QueueDepth {
    /// Opens it.
    pub fn open() -> io::Result<QueueDepth> {
        let netlink = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            Some(netlink::SOCK_DIAG),
        )?;
        Ok(QueueDepth { netlink })
    }

    /// Bytes between the first unacknowledged and the last written one; a FIN counts as one.
    pub fn unacknowledged(&self, local: SocketAddr, remote: SocketAddr) -> io::Result<u64> {
        rustix::net::send(&self.netlink, &request(local, remote), SendFlags::empty())?;
        let mut answer = [0; 1024];
        let (_, len) = rustix::net::recv(&self.netlink, &mut answer[..], RecvFlags::empty())?;
        parse(&answer[..len.min(answer.len())])
    }
}

fn request(local: SocketAddr, remote: SocketAddr) -> [u8; HEADER_BYTES + REQUEST_BYTES] {
    const IPPROTO_TCP: u8 = 6;
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    let mut bytes = [0; HEADER_BYTES + REQUEST_BYTES];
    let len = u32::try_from(bytes.len()).expect("72 bytes");
    bytes[0..4].copy_from_slice(&len.to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    let body = &mut bytes[HEADER_BYTES..];
    body[0] = if local.is_ipv4() { AF_INET } else { AF_INET6 };
    body[1] = IPPROTO_TCP;
    body[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
    body[8..10].copy_from_slice(&local.port().to_be_bytes());
    body[10..12].copy_from_slice(&remote.port().to_be_bytes());
    body[12..28].copy_from_slice(&address(local.ip()));
    body[28..44].copy_from_slice(&address(remote.ip()));
    body[48..56].copy_from_slice(&NO_COOKIE);
    bytes
}

fn address(ip: IpAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    match ip {
        IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes.copy_from_slice(&ip.octets()),
    }
    bytes
}

fn parse(answer: &[u8]) -> io::Result<u64> {
    let word = |at: usize| {
        let bytes = answer.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_ne_bytes).ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))
    };
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    if kind == Some(SOCK_DIAG_BY_FAMILY) {
        return word(HEADER_BYTES + WQUEUE_OFFSET).map(u64::from);
    }
    // NLMSG_ERROR: a negative errno follows the header.
    let errno = word(HEADER_BYTES)?.cast_signed();
    Err(io::Error::from_raw_os_error(errno.wrapping_neg()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn tells_what_the_peer_has_not_acknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let depth = QueueDepth::open().unwrap();
        let (local, remote) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        client.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(len) = client.write(&[0; 65536]) {
            written += len as u64;
        }
        let stuck = depth.unacknowledged(local, remote).unwrap();
        assert!(stuck > 0 && stuck <= written, "{stuck} of {written}");
        server.set_nonblocking(true).unwrap();
        let mut sink = vec![0; 1 << 20];
        let mut left = written;
        while left > 0 {
            match server.read(&mut sink) {
                Ok(len) => left -= len as u64,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        // The last ACK may be a delayed one.
        let deadline = Instant::now() + Duration::from_secs(5);
        while depth.unacknowledged(local, remote).unwrap() > 0 {
            assert!(Instant::now() < deadline, "all was read");
        }
    }

    #[test]
    fn unknown_connection_is_an_error() {
        let depth = QueueDepth::open().unwrap();
        let nobody = "127.0.0.1:1".parse().unwrap();
        let error = depth.unacknowledged(nobody, nobody).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
    }
}
