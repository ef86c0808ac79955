//! The socket calls that never wait: what they do at this moment of virtual time, or `EAGAIN`.

use std::collections::VecDeque;
use std::ffi::c_int;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use engine::addr::{Addr, Endpoint};
use engine::service::ByteStream;
use engine::shard::ConnectionInfo;
use engine::tcp::State;

use crate::descriptors::Object;
use crate::errno::{Errno, Result};
use crate::options::Options;
use crate::pipe::PipeId;
use crate::settings::Habits;
use crate::socket::{Connection, Family, Role, Socket, SocketId};
use crate::stack::Stack;

/// Ports tried for a connection that is not bound.
const PORT_TRIES: usize = 64;

impl Stack {
    /// Makes a TCP socket.
    ///
    /// # Errors
    /// Another family, type or protocol.
    pub fn socket(&mut self, domain: c_int, kind: c_int, protocol: c_int) -> Result<c_int> {
        let family = match domain {
            libc::AF_INET => Family::V4,
            libc::AF_INET6 => Family::V6,
            _ => return Err(Errno::EAFNOSUPPORT),
        };
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        if kind & !flags != libc::SOCK_STREAM || !matches!(protocol, 0 | libc::IPPROTO_TCP) {
            return Err(Errno::EPROTONOSUPPORT);
        }
        let options = self.settings.read().1;
        let id = self.add(Socket::new(family, options));
        self.descriptors.open(Object::Socket(id), kind & libc::SOCK_NONBLOCK != 0)
    }

    /// Binds a socket to an address and port of ours.
    ///
    /// # Errors
    /// It has one already, or somebody listens there.
    pub fn bind(&mut self, fd: c_int, to: SocketAddr) -> Result<()> {
        let id = self.descriptors.socket(fd)?;
        if to.port() != 0 && self.listens(to.port()) {
            return Err(Errno::EADDRINUSE);
        }
        let port = if to.port() == 0 { self.free_port() } else { to.port() };
        let addr = self.local_address(to.ip());
        let socket = self.socket_mut(id)?;
        if socket.local.is_some() || !matches!(socket.role, Role::Fresh) {
            return Err(Errno::EINVAL);
        }
        socket.local = Some(Endpoint::new(addr, port));
        Ok(())
    }

    /// Lets peers connect to a socket. The engine has its own limit of half-open connections, so
    /// the backlog says nothing new.
    ///
    /// # Errors
    /// It has a connection.
    pub fn listen(&mut self, fd: c_int, _backlog: c_int) -> Result<()> {
        let id = self.descriptors.socket(fd)?;
        let port = self.free_port();
        let socket = self.socket_mut(id)?;
        match socket.role {
            Role::Fresh => {}
            Role::Listening { .. } => return Ok(()),
            Role::Connection(_) => return Err(Errno::EINVAL),
        }
        let any = Endpoint::new(Addr::UNSPECIFIED_IPV4, port);
        let local = *socket.local.get_or_insert(any);
        let wanted = socket.options.service(local.port);
        if self.listens(local.port) {
            return Err(Errno::EADDRINUSE);
        }
        let service = self.service(&wanted)?;
        self.socket_mut(id)?.role = Role::Listening { service, queue: VecDeque::new() };
        Ok(())
    }

    /// Takes the oldest connection that waits at a listener; gives its descriptor and its peer.
    ///
    /// # Errors
    /// `EAGAIN`: none waits.
    pub fn accept(&mut self, fd: c_int) -> Result<(c_int, SocketAddr)> {
        let id = self.descriptors.socket(fd)?;
        let Role::Listening { queue, .. } = &mut self.socket_mut(id)?.role else {
            return Err(Errno::EINVAL);
        };
        let accepted = queue.pop_front().ok_or(Errno::EAGAIN)?;
        // Linux gives a new descriptor without flags, BSDs copy those of the listener.
        let inherits = self.settings.habits == Habits::FreeBsd;
        let nonblocking = inherits && self.descriptors.is_nonblocking(fd)?;
        let socket = self.socket_mut(accepted)?;
        let peer = socket.remote.ok_or(Errno::ECONNABORTED)?;
        let peer = told_address(peer, socket.family);
        Ok((self.descriptors.open(Object::Socket(accepted), nonblocking)?, peer))
    }

    /// Begins a connection; its SYN leaves at once.
    ///
    /// # Errors
    /// `EALREADY`, `EISCONN`: it has one. What the last attempt failed with, once.
    pub fn begin_connect(&mut self, fd: c_int, to: SocketAddr) -> Result<()> {
        let id = self.descriptors.socket(fd)?;
        let socket = self.socket_mut(id)?;
        match &mut socket.role {
            Role::Fresh => {}
            Role::Listening { .. } => return Err(Errno::EISCONN),
            Role::Connection(connection) if connection.is_over() && !connection.opened => {
                // RFC 9293 3.10.1: the TCB is gone, a new attempt may begin.
                let error = socket.error.take();
                socket.role = Role::Fresh;
                if let Some(error) = error {
                    return Err(error);
                }
            }
            Role::Connection(connection) if !connection.opened => return Err(Errno::EALREADY),
            Role::Connection(connection) if connection.told_opened => return Err(Errno::EISCONN),
            Role::Connection(connection) => {
                connection.told_opened = true;
                return Ok(());
            }
        }
        self.start_connection(id, to)
    }

    fn start_connection(&mut self, id: SocketId, to: SocketAddr) -> Result<()> {
        let socket = self.socket_mut(id)?;
        let (bound, wanted) = (socket.local, socket.options.service(0));
        let remote = Endpoint::new(Addr::from(canonical(to.ip())), to.port());
        let service = self.service(&wanted)?;
        let unspecified = if remote.addr.as_ipv4().is_some() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        } else {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        };
        let own = self.local_address(unspecified);
        for _ in 0..PORT_TRIES {
            let local = match bound {
                Some(local) if local.addr == Addr::UNSPECIFIED_IPV4 => {
                    Endpoint::new(own, local.port)
                }
                Some(local) => local,
                None => Endpoint::new(own, self.free_port()),
            };
            match self.open(local, remote, service) {
                Ok(connection) => {
                    self.by_connection.insert(connection, id);
                    let socket = self.socket_mut(id)?;
                    socket.role = Role::Connection(Connection::new(connection));
                    socket.local = Some(local);
                    socket.remote = Some(remote);
                    self.turn(&[]);
                    return Ok(());
                }
                Err(Errno::EADDRNOTAVAIL) if bound.is_none() => {}
                Err(error) => return Err(error),
            }
        }
        Err(Errno::EADDRNOTAVAIL)
    }

    /// Whether a connection that was begun is there.
    ///
    /// # Errors
    /// `EAGAIN`: not yet. What it failed with.
    pub fn finish_connect(&mut self, fd: c_int) -> Result<()> {
        let id = self.descriptors.socket(fd)?;
        let socket = self.socket_mut(id)?;
        let error = socket.error;
        let connection = socket.connection_mut().ok_or(Errno::ENOTCONN)?;
        if connection.opened {
            connection.told_opened = true;
            return Ok(());
        }
        if !connection.is_over() {
            return Err(Errno::EAGAIN);
        }
        socket.role = Role::Fresh;
        socket.error = None;
        Err(error.unwrap_or(Errno::ECONNABORTED))
    }

    /// Reads up to `max` bytes. None at the end of the stream.
    ///
    /// # Errors
    /// `EAGAIN`: nothing is there yet. What the connection failed with, once.
    pub fn receive(&mut self, fd: c_int, max: usize, flags: c_int) -> Result<Vec<u8>> {
        let id = match *self.descriptors.object(fd)? {
            Object::Socket(id) => id,
            Object::PipeReader(pipe) => return self.pipes.read(pipe, max),
            Object::PipeWriter(_) => return Err(Errno::EBADF),
            Object::Epoll(_) => return Err(Errno::EINVAL),
        };
        if flags & libc::MSG_OOB != 0 {
            // Nothing is ever kept out of band: urgent data stays where it is in the stream
            // (RFC 6093 6).
            return Err(Errno::EINVAL);
        }
        if flags & libc::MSG_ERRQUEUE != 0 {
            return Err(Errno::EAGAIN);
        }
        let peek = flags & libc::MSG_PEEK != 0;
        let bytes = self.take_bytes(id, max, peek)?;
        if !bytes.is_empty() || max == 0 {
            self.turn(&[]);
            return Ok(bytes);
        }
        let socket = self.socket_mut(id)?;
        if let Some(error) = socket.error.take() {
            return Err(error);
        }
        let connection = socket.connection().ok_or(Errno::ENOTCONN)?;
        let ended = connection.peer_closed || connection.read_shut || connection.is_over();
        if ended { Ok(Vec::new()) } else { Err(Errno::EAGAIN) }
    }

    /// Up to `max` bytes that are readable now.
    fn take_bytes(&mut self, id: SocketId, max: usize, peek: bool) -> Result<Vec<u8>> {
        let connection = self.socket_mut(id)?.connection_mut().ok_or(Errno::ENOTCONN)?;
        if !connection.rest.is_empty() {
            let len = max.min(connection.rest.len());
            let rest = &mut connection.rest;
            return Ok(if peek {
                rest.iter().take(len).copied().collect()
            } else {
                rest.drain(..len).collect()
            });
        }
        let Some(id) = connection.id.filter(|_| connection.opened) else { return Ok(Vec::new()) };
        let bytes = self.stream(id, |stream| {
            let mut bytes = vec![0; max.min(stream.readable())];
            let len = stream.peek(0, &mut bytes);
            if !peek {
                stream.consume(len);
            }
            bytes
        });
        Ok(bytes.unwrap_or_default())
    }

    /// Bytes that can be read now.
    ///
    /// # Errors
    /// It is no connection.
    pub fn unread(&mut self, fd: c_int) -> Result<usize> {
        let id = self.descriptors.socket(fd)?;
        let connection = self.socket_mut(id)?.connection().ok_or(Errno::EINVAL)?;
        let (rest, engine_id) = (connection.rest.len(), connection.id);
        let waiting = engine_id.and_then(|id| self.stream(id, |stream| stream.readable()));
        Ok(rest + waiting.unwrap_or(0))
    }

    /// Writes what the send buffer takes of `bytes`, at least one. Returns how many.
    ///
    /// # Errors
    /// `EAGAIN`: it is full, or the handshake is not done. `EPIPE`: nothing may be written any
    /// more. What the connection failed with, once.
    pub fn send(&mut self, fd: c_int, bytes: &[u8]) -> Result<usize> {
        let id = match *self.descriptors.object(fd)? {
            Object::Socket(id) => id,
            Object::PipeWriter(pipe) => return self.pipes.write(pipe, bytes),
            Object::PipeReader(_) => return Err(Errno::EBADF),
            Object::Epoll(_) => return Err(Errno::EINVAL),
        };
        let socket = self.socket_mut(id)?;
        if let Some(error) = socket.error.take() {
            return Err(error);
        }
        let connection = socket.connection().ok_or(Errno::EPIPE)?;
        if connection.write_shut {
            return Err(Errno::EPIPE);
        }
        let (opened, engine_id) = (connection.opened, connection.id.ok_or(Errno::EPIPE)?);
        if !opened {
            return Err(Errno::EAGAIN);
        }
        let taken = self.stream(engine_id, |stream| stream.write(bytes)).ok_or(Errno::EPIPE)?;
        self.turn(&[]);
        if taken == 0 && !bytes.is_empty() { Err(Errno::EAGAIN) } else { Ok(taken) }
    }

    /// Ends one direction of a connection, or both.
    ///
    /// # Errors
    /// It is not connected.
    pub fn shutdown(&mut self, fd: c_int, how: c_int) -> Result<()> {
        let id = self.descriptors.socket(fd)?;
        let (read, write) = match how {
            libc::SHUT_RD => (true, false),
            libc::SHUT_WR => (false, true),
            libc::SHUT_RDWR => (true, true),
            _ => return Err(Errno::EINVAL),
        };
        let connection = self.socket_mut(id)?.connection_mut().ok_or(Errno::ENOTCONN)?;
        let engine_id = connection.id.filter(|_| connection.opened).ok_or(Errno::ENOTCONN)?;
        connection.read_shut |= read;
        connection.write_shut |= write;
        if write {
            self.stream(engine_id, |stream| stream.close());
            self.turn(&[]);
        }
        Ok(())
    }

    /// Closes a descriptor. A connection goes on without the program until it has ended.
    ///
    /// # Errors
    /// It is not open.
    pub fn close(&mut self, fd: c_int) -> Result<()> {
        match self.descriptors.close(fd)? {
            Object::Socket(id) => self.close_socket(id)?,
            Object::PipeReader(id) => self.pipes.close(id, true),
            Object::PipeWriter(id) => self.pipes.close(id, false),
            Object::Epoll(_) => {}
        }
        Ok(())
    }

    fn close_socket(&mut self, id: SocketId) -> Result<()> {
        let socket = self.socket_mut(id)?;
        socket.held = false;
        let (linger_s, habits) = (socket.options.linger_s, socket.options.habits);
        match &mut socket.role {
            Role::Fresh => {}
            Role::Listening { service, queue } => {
                let (service, queue) = (*service, std::mem::take(queue));
                let settings = socket.options.service(0);
                self.change_service(service, settings)?;
                for waiting in queue {
                    self.abort(waiting);
                }
            }
            Role::Connection(connection) => {
                let (engine_id, rest) = (connection.id, connection.rest.len());
                let unread = engine_id.and_then(|id| self.stream(id, |stream| stream.readable()));
                // RFC 9293 3.6.1 (SHLD-3): closing without having read all is told with a RST.
                let lost = rest + unread.unwrap_or(0) > 0 && habits == Habits::Linux;
                if lost || linger_s == Some(0) {
                    self.abort(id);
                } else if let Some(id) = engine_id {
                    self.stream(id, |stream| {
                        let unread = stream.readable();
                        stream.consume(unread);
                        stream.close();
                    });
                }
            }
        }
        self.turn(&[]);
        self.forget_orphans();
        Ok(())
    }

    fn abort(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.held = false;
        if let Some(id) = socket.connection().and_then(|connection| connection.id) {
            self.stream(id, |stream| stream.abort());
        }
    }

    /// Whether a closed socket's connection has sent all it had to (`SO_LINGER`).
    #[must_use]
    pub fn has_lingered(&self, id: SocketId) -> bool {
        use State::{Closed, FinWait2, TimeWait};
        self.state(id).is_none_or(|state| matches!(state, Closed | FinWait2 | TimeWait))
    }

    /// How long a close of `fd` waits, and for which socket.
    #[must_use]
    pub fn lingers(&self, fd: c_int) -> Option<(SocketId, u32)> {
        let id = self.descriptors.socket(fd).ok()?;
        let seconds = self.sockets.get(&id)?.options.linger_s?;
        (seconds > 0).then_some((id, seconds))
    }

    /// Changes the options of a socket, and with them those of its connection or listener.
    ///
    /// # Errors
    /// What `change` fails with, or the engine does not take the result.
    pub fn change_options(
        &mut self,
        fd: c_int,
        change: impl FnOnce(&mut Options) -> Result<()>,
    ) -> Result<()> {
        let id = self.descriptors.socket(fd)?;
        let socket = self.socket_mut(id)?;
        let before = socket.options.clone();
        change(&mut socket.options)?;
        if socket.options == before {
            return Ok(());
        }
        let (wanted, port) = (socket.options.clone(), socket.local.map_or(0, |local| local.port));
        let changed = match &socket.role {
            Role::Fresh => Ok(()),
            Role::Listening { service, .. } => {
                let service = *service;
                self.change_service(service, wanted.service(port))
            }
            Role::Connection(connection) => {
                let engine_id = connection.id;
                self.service(&wanted.service(0)).map(|service| {
                    if let Some(id) = engine_id {
                        self.assign(id, service);
                        self.turn(&[]);
                    }
                })
            }
        };
        if changed.is_err() {
            self.socket_mut(id)?.options = before;
        }
        changed
    }

    /// Takes the error of a socket out (`SO_ERROR`).
    ///
    /// # Errors
    /// It is no socket.
    pub fn take_error(&mut self, fd: c_int) -> Result<c_int> {
        let id = self.descriptors.socket(fd)?;
        Ok(self.socket_mut(id)?.error.take().map_or(0, |error| error.0))
    }

    /// A socket, and what the engine knows of its connection or knew last.
    ///
    /// # Errors
    /// It is no socket.
    pub fn inspect(&self, fd: c_int) -> Result<(&Socket, Option<ConnectionInfo>)> {
        let id = self.descriptors.socket(fd)?;
        let socket = self.sockets.get(&id).ok_or(Errno::EBADF)?;
        let connection = socket.connection();
        let now = connection.and_then(|connection| self.shard()?.connection_info(connection.id?));
        let last = connection.and_then(|connection| connection.last.as_deref().cloned());
        Ok((socket, now.or(last)))
    }

    /// Makes a pipe: its reading end, and its writing end.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn pipe(&mut self) -> Result<(c_int, c_int)> {
        let id: PipeId = self.pipes.make();
        let reader = self.descriptors.open(Object::PipeReader(id), false)?;
        let writer = self.descriptors.open(Object::PipeWriter(id), false)?;
        Ok((reader, writer))
    }

    /// Moves up to `max` bytes from a socket into a pipe, or the other way. Returns how many; 0 at
    /// the end of the stream.
    ///
    /// # Errors
    /// `EAGAIN`: nothing to move, or no room. `EINVAL`: neither is a pipe.
    pub fn splice(&mut self, from: c_int, to: c_int, max: usize) -> Result<usize> {
        match (self.descriptors.object(from)?, self.descriptors.object(to)?) {
            (_, Object::PipeWriter(pipe)) => {
                let pipe = *pipe;
                let room = self.pipes.room(pipe)?;
                if room == 0 {
                    return Err(Errno::EAGAIN);
                }
                let bytes = self.receive(from, max.min(room), 0)?;
                self.pipes.write(pipe, &bytes)
            }
            (Object::PipeReader(pipe), _) => {
                let pipe = *pipe;
                let bytes = self.pipes.read(pipe, max)?;
                let moved = self.send(to, &bytes);
                let taken = *moved.as_ref().unwrap_or(&0);
                self.pipes.unread(pipe, &bytes[taken..]);
                moved
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// Makes an epoll set.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn epoll_create(&mut self) -> Result<c_int> {
        self.descriptors.open(Object::Epoll(crate::poll::Epoll::default()), false)
    }

    pub(crate) fn socket_mut(&mut self, id: SocketId) -> Result<&mut Socket> {
        self.sockets.get_mut(&id).ok_or(Errno::EBADF)
    }

    /// The address that stands for `ip` as an address of ours.
    fn local_address(&self, ip: IpAddr) -> Addr {
        match canonical(ip) {
            IpAddr::V4(v4) if v4.is_unspecified() => self.settings.local_v4.into(),
            IpAddr::V6(v6) if v6.is_unspecified() => self.settings.local_v6.into(),
            other => other.into(),
        }
    }
}

/// An IPv4-mapped address as the IPv4 address that it means.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// An endpoint as a socket of `family` is told of it.
pub fn told_address(endpoint: Endpoint, family: Family) -> SocketAddr {
    let ip = match (endpoint.addr.to_ip(), family) {
        (IpAddr::V4(v4), Family::V6) => IpAddr::V6(v4.to_ipv6_mapped()),
        (ip, _) => ip,
    };
    SocketAddr::new(ip, endpoint.port)
}
