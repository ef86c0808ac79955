//! One socket of a connection.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use engine::addr::Endpoint;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, ipproto, sockopt};

use crate::load::transport::Index;

/// A socket and what is known of its connection.
#[derive(Debug)]
pub(super) struct Socket {
    pub fd: OwnedFd,
    /// Number of the local end that was chosen for it.
    pub end: Option<u32>,
    /// The handshake is through.
    pub is_open: bool,
    /// A write was cut short.
    pub wants_room: bool,
    /// FIN came.
    pub peer_closed: bool,
    /// FIN was sent.
    pub is_shut: bool,
    /// What epoll watches; None: nothing yet.
    watched: Option<EventFlags>,
}

impl Socket {
    /// Begins a connection, from a local end and its number if given.
    pub fn connect(target: SocketAddr, from: Option<(u32, Endpoint)>) -> Result<Socket, Errno> {
        let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
        // Small messages must not wait for each other's ACK.
        sockopt::set_tcp_nodelay(&fd, true)?;
        if let Some((_, end)) = from {
            // Lets it have a port of which an earlier connection is in TIME-WAIT.
            sockopt::set_socket_reuseaddr(&fd, true)?;
            rustix::net::bind(&fd, &SocketAddr::new(end.addr.to_ip(), end.port))?;
        }
        match rustix::net::connect(&fd, &target) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(errno),
        }
        Ok(Socket {
            fd,
            end: from.map(|(number, _)| number),
            is_open: false,
            wants_room: false,
            peer_closed: false,
            is_shut: false,
            watched: None,
        })
    }

    /// Has epoll watch for what is of interest now.
    pub fn watch(&mut self, epoll: &OwnedFd, index: Index) -> Result<(), Errno> {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::OUT, !self.is_open || self.wants_room);
        flags.set(EventFlags::IN | EventFlags::RDHUP, self.is_open && !self.peer_closed);
        if self.watched == Some(flags) {
            return Ok(());
        }
        let data = EventData::new_u64(index.into());
        match self.watched {
            None => epoll::add(epoll, &self.fd, data, flags)?,
            Some(_) => epoll::modify(epoll, &self.fd, data, flags)?,
        }
        self.watched = Some(flags);
        Ok(())
    }

    pub fn send(&self, bytes: &[u8]) -> Result<usize, Errno> {
        rustix::net::send(&self.fd, bytes, SendFlags::NOSIGNAL)
    }

    pub fn local(&self) -> Option<SocketAddr> {
        rustix::net::getsockname(&self.fd).ok()?.try_into().ok()
    }

    /// The error that it holds, if any.
    pub fn error(&self) -> Option<Errno> {
        sockopt::socket_error(&self.fd).unwrap_or_else(Err).err()
    }

    pub fn shut_down(&mut self) {
        self.is_shut = true;
        // It fails only if the connection is over, which epoll tells.
        let _ = rustix::net::shutdown(&self.fd, Shutdown::Write);
    }

    /// Closes it with RST, and without TIME-WAIT.
    pub fn reset(self) {
        // Should it fail, it is closed with FIN.
        let _ = sockopt::set_socket_linger(&self.fd, Some(Duration::ZERO));
    }
}
