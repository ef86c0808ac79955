//! One non-blocking connection of the kernel's TCP, and what became of it.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use crate::bytes::Mismatch;
use crate::stall::Stall;

/// Why a connection did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The peer sent RST.
    Reset,
    /// A byte is not what it must be.
    Data(Mismatch),
    /// The peer sent FIN while bytes were still due.
    Early {
        /// Bytes that came.
        at: u64,
    },
    /// More bytes came than were due.
    Late {
        /// Bytes that were due.
        at: u64,
    },
    /// It had not done its work when the run was over.
    Unfinished,
    /// Anything else that the system says.
    System(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Reset => f.write_str("reset by the peer"),
            Failure::Data(Mismatch(at)) => write!(f, "wrong byte at position {at}"),
            Failure::Early { at } => write!(f, "FIN after {at} bytes, more were due"),
            Failure::Late { at } => write!(f, "more than the {at} bytes that were due"),
            Failure::Unfinished => f.write_str("not finished in time"),
            Failure::System(text) => f.write_str(text),
        }
    }
}

#[derive(Debug)]
enum Phase {
    New,
    Connecting(TcpStream),
    Open(TcpStream),
    Over,
}

/// A connection from before its SYN until after its end.
#[derive(Debug)]
pub struct Connection {
    target: SocketAddr,
    phase: Phase,
    /// What there is to report.
    pub record: Record,
}

/// What became of a connection, or of whatever else moves bytes.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Bytes that arrived where they should.
    pub bytes: u64,
    /// Its pauses.
    pub stall: Stall,
    /// Our end, once there is one.
    pub local: Option<SocketAddr>,
    /// When it was opened, microseconds of the run's clock.
    pub opened_us: Option<u64>,
    /// When it was over.
    pub ended_us: Option<u64>,
    /// What went wrong, if anything.
    pub failure: Option<Failure>,
}

impl Connection {
    /// A connection that is not open yet.
    pub fn new(target: SocketAddr) -> Connection {
        Connection { target, phase: Phase::New, record: Record::default() }
    }

    /// Sends the SYN. `receive_buffer` fixes the receive buffer's size in bytes.
    pub fn open(&mut self, now_us: u64, receive_buffer: Option<usize>) {
        assert!(matches!(self.phase, Phase::New), "a connection is opened once");
        match connect(self.target, receive_buffer) {
            Ok(stream) => {
                self.record.opened_us = Some(now_us);
                self.phase = Phase::Connecting(stream);
            }
            Err(error) => self.fail_with(now_us, &error),
        }
    }

    /// Whether the connection stands. Finds out if it was not known yet.
    pub fn is_open(&mut self, now_us: u64) -> bool {
        if let Phase::Connecting(stream) = &self.phase {
            match check_connected(stream) {
                Ok(None) => {}
                Ok(Some(local)) => {
                    self.record.local = Some(local);
                    let Phase::Connecting(stream) = std::mem::replace(&mut self.phase, Phase::Over)
                    else {
                        unreachable!("it was connecting a moment ago");
                    };
                    self.phase = Phase::Open(stream);
                }
                Err(error) => self.fail_with(now_us, &error),
            }
        }
        matches!(self.phase, Phase::Open(_))
    }

    /// Whether it has not been opened yet.
    pub fn is_new(&self) -> bool {
        matches!(self.phase, Phase::New)
    }

    /// Whether the SYN is not answered yet.
    pub fn is_connecting(&self) -> bool {
        matches!(self.phase, Phase::Connecting(_))
    }

    /// Whether nothing will happen any more.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Whether it ended without having begun, and nobody minds.
    pub fn was_never_used(&self) -> bool {
        self.is_over() && self.record.opened_us.is_none() && self.record.failure.is_none()
    }

    /// Both addresses of an open connection.
    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self.phase {
            Phase::Open(_) => self.record.local.map(|local| (local, self.target)),
            _ => None,
        }
    }

    /// Reads what is there. Some(0) is the peer's FIN; None: nothing there now, or over.
    pub fn read(&mut self, now_us: u64, into: &mut [u8]) -> Option<usize> {
        self.transfer(now_us, |mut stream| stream.read(into))
    }

    /// Writes what the socket takes; 0 if it takes nothing now, or is over.
    pub fn write(&mut self, now_us: u64, bytes: &[u8]) -> usize {
        self.transfer(now_us, |mut stream| stream.write(bytes)).unwrap_or(0)
    }

    /// Sends FIN; reading goes on.
    pub fn shut_down(&mut self, now_us: u64) {
        self.transfer(now_us, |stream| stream.shutdown(Shutdown::Write));
    }

    /// The work is done.
    pub fn finish(&mut self, now_us: u64) {
        self.end(now_us, None);
    }

    /// The work cannot be done.
    pub fn fail(&mut self, now_us: u64, failure: Failure) {
        self.end(now_us, Some(failure));
    }

    /// Fails with the error that the socket holds, if it holds one.
    pub fn check_error(&mut self, now_us: u64) {
        let error = self.fd().map(sockopt::socket_error);
        if let Some(Ok(Err(error))) = error {
            self.fail_with(now_us, &error.into());
        }
    }

    /// For the event loop.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.phase {
            Phase::Connecting(stream) | Phase::Open(stream) => Some(stream.as_fd()),
            Phase::New | Phase::Over => None,
        }
    }

    fn transfer<T>(
        &mut self,
        now_us: u64,
        act: impl FnOnce(&TcpStream) -> io::Result<T>,
    ) -> Option<T> {
        let Phase::Open(stream) = &self.phase else { return None };
        match act(stream) {
            Ok(result) => Some(result),
            Err(error) => {
                use io::ErrorKind::{Interrupted, WouldBlock};
                if !matches!(error.kind(), WouldBlock | Interrupted) {
                    self.fail_with(now_us, &error);
                }
                None
            }
        }
    }

    fn fail_with(&mut self, now_us: u64, error: &io::Error) {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        self.fail(
            now_us,
            match error.kind() {
                ConnectionReset | BrokenPipe => Failure::Reset,
                _ => Failure::System(error.to_string()),
            },
        );
    }

    fn end(&mut self, now_us: u64, failure: Option<Failure>) {
        if !self.is_over() {
            self.phase = Phase::Over;
            self.record.failure = failure;
            self.record.ended_us = Some(now_us);
            if self.record.failure.is_none() {
                self.record.stall.satisfied(now_us);
            }
        }
    }
}

fn connect(target: SocketAddr, receive_buffer: Option<usize>) -> io::Result<TcpStream> {
    let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket: OwnedFd =
        rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    // Small messages must not wait for each other's ACK.
    sockopt::set_tcp_nodelay(&socket, true)?;
    if let Some(bytes) = receive_buffer {
        sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
    }
    match rustix::net::connect(&socket, &target) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket.into()),
        Err(error) => Err(error.into()),
    }
}

/// Our address once the handshake is through.
fn check_connected(stream: &TcpStream) -> io::Result<Option<SocketAddr>> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => stream.local_addr().map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(None),
        Err(error) => Err(error),
    }
}
