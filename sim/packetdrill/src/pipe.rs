//! Pipes, and the splice of bytes between them and sockets.

use std::collections::{BTreeMap, VecDeque};

use crate::errno::{Errno, Result};

/// Bytes that a pipe holds: what Linux gives a new one.
const CAPACITY: usize = 65_536;

/// Number of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PipeId(u32);

#[derive(Debug, Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    reader_gone: bool,
    writer_gone: bool,
}

/// All pipes.
#[derive(Debug, Default)]
pub struct Pipes {
    pipes: BTreeMap<PipeId, Pipe>,
    made: u32,
}

impl Pipes {
    /// A new, empty pipe.
    pub fn make(&mut self) -> PipeId {
        let id = PipeId(self.made);
        self.made += 1;
        self.pipes.insert(id, Pipe::default());
        id
    }

    /// Takes up to `max` bytes out. None at the end: the writing end is closed.
    ///
    /// # Errors
    /// `EAGAIN`: nothing is in it.
    pub fn read(&mut self, id: PipeId, max: usize) -> Result<Vec<u8>> {
        let pipe = self.pipes.get_mut(&id).ok_or(Errno::EBADF)?;
        if pipe.bytes.is_empty() && !pipe.writer_gone && max > 0 {
            return Err(Errno::EAGAIN);
        }
        let len = max.min(pipe.bytes.len());
        Ok(pipe.bytes.drain(..len).collect())
    }

    /// Puts bytes in. Returns how many.
    ///
    /// # Errors
    /// `EAGAIN`: it is full. `EPIPE`: the reading end is closed.
    pub fn write(&mut self, id: PipeId, bytes: &[u8]) -> Result<usize> {
        let room = self.room(id)?;
        if room == 0 && !bytes.is_empty() {
            return Err(Errno::EAGAIN);
        }
        let taken = &bytes[..bytes.len().min(room)];
        if let Some(pipe) = self.pipes.get_mut(&id) {
            pipe.bytes.extend(taken);
        }
        Ok(taken.len())
    }

    /// Bytes that still fit in.
    ///
    /// # Errors
    /// `EPIPE`: the reading end is closed.
    pub fn room(&self, id: PipeId) -> Result<usize> {
        let pipe = self.pipes.get(&id).ok_or(Errno::EBADF)?;
        if pipe.reader_gone { Err(Errno::EPIPE) } else { Ok(CAPACITY - pipe.bytes.len()) }
    }

    /// Bytes in it, and whether the other end is closed.
    #[must_use]
    pub fn fill(&self, id: PipeId) -> (usize, bool) {
        self.pipes.get(&id).map_or((0, true), |pipe| (pipe.bytes.len(), pipe.writer_gone))
    }

    /// Puts bytes back to where they were read.
    pub fn unread(&mut self, id: PipeId, bytes: &[u8]) {
        if let Some(pipe) = self.pipes.get_mut(&id) {
            for &byte in bytes.iter().rev() {
                pipe.bytes.push_front(byte);
            }
        }
    }

    /// Closes one end.
    pub fn close(&mut self, id: PipeId, reader: bool) {
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        if reader {
            pipe.reader_gone = true;
        } else {
            pipe.writer_gone = true;
        }
        if pipe.reader_gone && pipe.writer_gone {
            self.pipes.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_until_the_writer_is_gone() {
        let mut pipes = Pipes::default();
        let id = pipes.make();
        assert_eq!(pipes.read(id, 1), Err(Errno::EAGAIN));
        assert_eq!(pipes.write(id, b"abcdef"), Ok(6));
        let read = pipes.read(id, 4).expect("is in it");
        pipes.unread(id, &read[2..]);
        assert_eq!(pipes.read(id, 10).as_deref(), Ok(&b"cdef"[..]));
        pipes.close(id, false);
        assert_eq!(pipes.read(id, 10).as_deref(), Ok(&b""[..]));
    }

    #[test]
    fn a_pipe_is_bounded_and_breaks_without_a_reader() {
        let mut pipes = Pipes::default();
        let id = pipes.make();
        assert_eq!(pipes.write(id, &vec![0; CAPACITY + 1]), Ok(CAPACITY));
        assert_eq!(pipes.write(id, b"x"), Err(Errno::EAGAIN));
        pipes.close(id, true);
        assert_eq!(pipes.write(id, b"x"), Err(Errno::EPIPE));
    }
}
