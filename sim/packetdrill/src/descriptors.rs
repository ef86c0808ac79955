//! File descriptors. packetdrill compares them with those of its own files and closes some of them
//! itself, so they are real ones: each stands for an open `/dev/null`.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::fs::File;
use std::os::fd::{AsRawFd, IntoRawFd};

use crate::errno::{Errno, Result};
use crate::pipe::PipeId;
use crate::poll::Epoll;
use crate::socket::SocketId;

/// What a descriptor stands for.
#[derive(Debug)]
pub enum Object {
    /// A socket.
    Socket(SocketId),
    /// An epoll set.
    Epoll(Epoll),
    /// The reading end of a pipe.
    PipeReader(PipeId),
    /// The writing end of a pipe.
    PipeWriter(PipeId),
}

#[derive(Debug)]
struct Entry {
    file: File,
    object: Object,
    nonblocking: bool,
}

/// All descriptors that are open.
#[derive(Debug, Default)]
pub struct Descriptors {
    entries: BTreeMap<c_int, Entry>,
}

impl Descriptors {
    /// Opens a descriptor.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn open(&mut self, object: Object, nonblocking: bool) -> Result<c_int> {
        let file = File::options().read(true).write(true).open("/dev/null");
        let file = file.map_err(|_| Errno::EMFILE)?;
        let fd = file.as_raw_fd();
        // A number that comes back was closed without us: what it stood for is gone.
        if let Some(stale) = self.entries.insert(fd, Entry { file, object, nonblocking }) {
            let _closed_elsewhere = stale.file.into_raw_fd();
        }
        Ok(fd)
    }

    /// Closes it and gives what it stood for.
    ///
    /// # Errors
    /// It is not open.
    pub fn close(&mut self, fd: c_int) -> Result<Object> {
        Ok(self.entries.remove(&fd).ok_or(Errno::EBADF)?.object)
    }

    /// Whether it is one of ours.
    #[must_use]
    pub fn has(&self, fd: c_int) -> bool {
        self.entries.contains_key(&fd)
    }

    /// What it stands for.
    ///
    /// # Errors
    /// It is not open.
    pub fn object(&self, fd: c_int) -> Result<&Object> {
        self.entries.get(&fd).map(|entry| &entry.object).ok_or(Errno::EBADF)
    }

    /// The socket it stands for.
    ///
    /// # Errors
    /// It is not open, or no socket.
    pub fn socket(&self, fd: c_int) -> Result<SocketId> {
        match self.object(fd)? {
            Object::Socket(id) => Ok(*id),
            _ => Err(Errno::ENOTSOCK),
        }
    }

    /// The epoll set it stands for.
    ///
    /// # Errors
    /// It is not open, or no epoll set.
    pub fn epoll(&mut self, fd: c_int) -> Result<&mut Epoll> {
        match self.entries.get_mut(&fd).map(|entry| &mut entry.object) {
            Some(Object::Epoll(epoll)) => Ok(epoll),
            Some(_) => Err(Errno::EINVAL),
            None => Err(Errno::EBADF),
        }
    }

    /// Whether calls on it return instead of waiting.
    ///
    /// # Errors
    /// It is not open.
    pub fn is_nonblocking(&self, fd: c_int) -> Result<bool> {
        self.entries.get(&fd).map(|entry| entry.nonblocking).ok_or(Errno::EBADF)
    }

    /// Sets whether calls on it return instead of waiting.
    ///
    /// # Errors
    /// It is not open.
    pub fn set_nonblocking(&mut self, fd: c_int, on: bool) -> Result<()> {
        self.entries.get_mut(&fd).ok_or(Errno::EBADF)?.nonblocking = on;
        Ok(())
    }
}

/// packetdrill has closed those sockets itself that a script left open, and another file may have
/// the number by now. So none is closed here; the process is about to end.
impl Drop for Descriptors {
    fn drop(&mut self) {
        for entry in std::mem::take(&mut self.entries).into_values() {
            let _left_to_the_process = entry.file.into_raw_fd();
        }
    }
}
