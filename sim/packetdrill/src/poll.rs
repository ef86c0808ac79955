//! Readiness: what a descriptor is ready for, and those who ask for it with poll and epoll.

use std::collections::BTreeMap;
use std::ffi::c_int;

use engine::service::ByteStream;
use engine::tcp::State;

use crate::descriptors::Object;
use crate::errno::{Errno, Result};
use crate::socket::{Role, SocketId};
use crate::stack::Stack;

/// Readiness in the bits of `poll`, which are also those of `epoll`.
pub type Bits = u32;

const IN: Bits = libc::EPOLLIN as Bits | libc::EPOLLRDNORM as Bits;
const OUT: Bits = libc::EPOLLOUT as Bits | libc::EPOLLWRNORM as Bits;
const RDHUP: Bits = libc::EPOLLRDHUP as Bits;
const ERR: Bits = libc::EPOLLERR as Bits;
const HUP: Bits = libc::EPOLLHUP as Bits;
/// Told whether asked for or not.
const ALWAYS: Bits = ERR | HUP;
const EDGE: Bits = libc::EPOLLET as Bits;
const ONCE: Bits = libc::EPOLLONESHOT as Bits;

/// A set of descriptors with what is waited for on each.
#[derive(Debug, Default)]
pub struct Epoll {
    entries: BTreeMap<c_int, Interest>,
}

#[derive(Debug)]
struct Interest {
    events: Bits,
    data: u64,
    /// Edges of the descriptor that were told of.
    seen: u64,
}

/// One descriptor that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpollEvent {
    /// For what.
    pub events: Bits,
    /// What was given with it.
    pub data: u64,
}

impl Stack {
    /// What `fd` is ready for.
    ///
    /// # Errors
    /// It is not open.
    pub fn readiness(&mut self, fd: c_int) -> Result<Bits> {
        Ok(match *self.descriptors.object(fd)? {
            Object::Socket(id) => self.socket_readiness(id),
            Object::PipeReader(id) => match self.pipes.fill(id) {
                (0, writer_gone) => {
                    if writer_gone {
                        HUP
                    } else {
                        0
                    }
                }
                (_, writer_gone) => IN | if writer_gone { HUP } else { 0 },
            },
            Object::PipeWriter(id) => match self.pipes.room(id) {
                Ok(0) => 0,
                Ok(_) => OUT,
                Err(_) => ERR,
            },
            Object::Epoll(_) => 0,
        })
    }

    fn socket_readiness(&mut self, id: SocketId) -> Bits {
        let Some(socket) = self.sockets.get(&id) else { return HUP };
        let failed = if socket.error.is_some() { ERR } else { 0 };
        let connection = match &socket.role {
            Role::Fresh => return OUT | HUP,
            Role::Listening { queue, .. } => return if queue.is_empty() { 0 } else { IN },
            Role::Connection(connection) => connection,
        };
        let ended = connection.peer_closed || connection.read_shut;
        let (rest, write_shut) = (connection.rest.len(), connection.write_shut);
        let (opened, peer_closed) = (connection.opened, connection.peer_closed);
        let Some(engine_id) = connection.id else {
            // Nothing can be read that is missing, and writing fails at once: both are "ready".
            return failed | IN | OUT | RDHUP | HUP;
        };
        if !opened {
            return failed;
        }
        let (unread, room, queued) = self
            .stream(engine_id, |stream| (stream.readable(), stream.writable(), stream.queued()))
            .unwrap_or_default();
        let mut bits = failed;
        if rest + unread > 0 || ended {
            bits |= IN;
        }
        if ended {
            bits |= RDHUP;
        }
        if peer_closed && write_shut {
            bits |= HUP;
        }
        // A third of the buffer must be free, so that a writer is not woken for every segment.
        if write_shut || room as u64 * 2 >= queued.max(1) {
            bits |= OUT;
        }
        bits
    }

    /// What the descriptors of a `poll` are ready for, and how many of them are.
    #[must_use]
    pub fn poll(&mut self, asked: &[(c_int, Bits)]) -> (Vec<Bits>, usize) {
        let answers: Vec<Bits> = asked
            .iter()
            .map(|&(fd, events)| match self.readiness(fd) {
                _ if fd < 0 => 0,
                Ok(bits) => bits & (events | ALWAYS),
                Err(_) => libc::POLLNVAL as Bits,
            })
            .collect();
        let ready = answers.iter().filter(|bits| **bits != 0).count();
        (answers, ready)
    }

    /// Adds, changes or removes a descriptor of an epoll set.
    ///
    /// # Errors
    /// One of them is not open, or the set has it already, or not at all.
    pub fn epoll_ctl(
        &mut self,
        epoll: c_int,
        operation: c_int,
        fd: c_int,
        event: EpollEvent,
    ) -> Result<()> {
        if !self.descriptors.has(fd) {
            return Err(Errno::EBADF);
        }
        let entries = &mut self.descriptors.epoll(epoll)?.entries;
        let interest = Interest { events: event.events, data: event.data, seen: 0 };
        match (operation, entries.contains_key(&fd)) {
            (libc::EPOLL_CTL_ADD, true) => return Err(Errno::EEXIST),
            (libc::EPOLL_CTL_ADD, false) | (libc::EPOLL_CTL_MOD, true) => {
                entries.insert(fd, interest);
            }
            (libc::EPOLL_CTL_DEL, true) => {
                entries.remove(&fd);
            }
            (libc::EPOLL_CTL_MOD | libc::EPOLL_CTL_DEL, false) => return Err(Errno::ENOENT),
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    /// Up to `max` descriptors of an epoll set that are ready.
    ///
    /// # Errors
    /// It is not open, or no epoll set.
    pub fn epoll_ready(&mut self, epoll: c_int, max: usize) -> Result<Vec<EpollEvent>> {
        let fds: Vec<c_int> = self.descriptors.epoll(epoll)?.entries.keys().copied().collect();
        let mut events = Vec::new();
        for fd in fds {
            let Ok(bits) = self.readiness(fd) else { continue };
            let edges = self.edges(fd);
            let entries = &mut self.descriptors.epoll(epoll)?.entries;
            let Some(interest) = entries.get_mut(&fd) else { continue };
            let wanted = bits & (interest.events | ALWAYS);
            let told = interest.events & EDGE != 0 && interest.seen > edges;
            // A set that is armed for one event only has no event left after it.
            if wanted == 0 || told || interest.events & !(EDGE | ONCE) == 0 {
                continue;
            }
            if events.len() == max {
                break;
            }
            interest.seen = edges + 1;
            if interest.events & ONCE != 0 {
                interest.events = ONCE;
            }
            events.push(EpollEvent { events: wanted, data: interest.data });
        }
        Ok(events)
    }

    fn edges(&self, fd: c_int) -> u64 {
        let id = self.descriptors.socket(fd).ok();
        id.and_then(|id| self.sockets.get(&id)).map_or(0, |socket| socket.edges)
    }

    /// State of a socket's connection, as the engine sees it or saw it last.
    pub(crate) fn state(&self, id: SocketId) -> Option<State> {
        let connection = self.sockets.get(&id)?.connection()?;
        match connection.id {
            Some(id) => self.shard()?.connection_info(id).map(|info| info.state),
            None => Some(connection.last.as_ref().map_or(State::Closed, |info| info.state)),
        }
    }
}
