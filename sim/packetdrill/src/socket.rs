//! What a socket is, apart from what the engine knows of its connection.

use std::collections::VecDeque;

use engine::addr::Endpoint;
use engine::shard::{ConnectionId, ConnectionInfo};

use crate::errno::Errno;
use crate::options::Options;

/// Number of a socket; descriptors come and go, and a connection that waits to be accepted has
/// none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

/// IP version that a socket was made for; addresses are told in its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `AF_INET`.
    V4,
    /// `AF_INET6`, which also speaks IPv4 with mapped addresses.
    V6,
}

/// What a socket is used for.
#[derive(Debug)]
pub enum Role {
    /// Nothing yet.
    Fresh,
    /// Waiting for peers.
    Listening {
        /// Index of its service in the engine's configuration.
        service: u16,
        /// Connections that wait to be accepted, oldest first.
        queue: VecDeque<SocketId>,
    },
    /// A connection, or what is left of one.
    Connection(Connection),
}

/// A connection from the program's side.
#[derive(Debug, Default)]
pub struct Connection {
    /// Its number in the engine; `None` when it has ended.
    pub id: Option<ConnectionId>,
    /// What the engine knew last, once it has ended.
    pub last: Option<Box<ConnectionInfo>>,
    /// The handshake is done.
    pub opened: bool,
    /// The program was told that it is.
    pub told_opened: bool,
    /// The peer's FIN is in.
    pub peer_closed: bool,
    /// Bytes that the program has not read, of a peer that sends no more.
    pub rest: VecDeque<u8>,
    /// The program reads no more (`SHUT_RD`).
    pub read_shut: bool,
    /// The program writes no more (`SHUT_WR`).
    pub write_shut: bool,
}

impl Connection {
    /// A connection of the engine's.
    #[must_use]
    pub fn new(id: ConnectionId) -> Connection {
        Connection { id: Some(id), ..Connection::default() }
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.id.is_none()
    }
}

/// A socket.
#[derive(Debug)]
pub struct Socket {
    /// IP version.
    pub family: Family,
    /// Its options.
    pub options: Options,
    /// What it is used for.
    pub role: Role,
    /// Our end, if it is known.
    pub local: Option<Endpoint>,
    /// The peer's end, if there is one.
    pub remote: Option<Endpoint>,
    /// The error that the next call returns, or `SO_ERROR`.
    pub error: Option<Errno>,
    /// The program has a descriptor for it, or will get one.
    pub held: bool,
    /// Things that have happened so far: an edge for those who wait for one.
    pub edges: u64,
}

impl Socket {
    /// A new socket.
    #[must_use]
    pub fn new(family: Family, options: Options) -> Socket {
        Socket {
            family,
            options,
            role: Role::Fresh,
            local: None,
            remote: None,
            error: None,
            held: true,
            edges: 0,
        }
    }

    /// Its connection, if it has one.
    #[must_use]
    pub fn connection(&self) -> Option<&Connection> {
        match &self.role {
            Role::Connection(connection) => Some(connection),
            _ => None,
        }
    }

    /// Its connection, if it has one.
    pub fn connection_mut(&mut self) -> Option<&mut Connection> {
        match &mut self.role {
            Role::Connection(connection) => Some(connection),
            _ => None,
        }
    }
}
