//! `echo-server`: the yardstick. A plain server on the kernel's sockets, as one would write it by
//! hand: one thread, one epoll, no allocation per request. It offers what a node's services offer
//! (echo, discard, an endless stream), so that the very same load can be put on either.

use std::{
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, AsRawFd},
};

use anyhow::Context;
use clap::Parser;
use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    fd::OwnedFd,
    io::Errno,
    net::{RecvFlags, SendFlags, SocketFlags, accept_with, sockopt::set_tcp_congestion},
};

/// Bytes moved by one system call.
const CHUNK_BYTES: usize = 64 * 1024;
/// Events taken by one `epoll_wait`.
const EVENTS: usize = 256;
/// The stream's pattern repeats after this many bytes: its byte i depends on i modulo 2^24.
const PATTERN_BYTES: usize = 1 << 24;

/// One thread, epoll, the kernel's TCP: what a node is measured against.
#[derive(Debug, Parser)]
#[command(name = "echo-server", version)]
struct Args {
    /// Address to listen on
    #[arg(long, default_value = "0.0.0.0")]
    listen: IpAddr,
    /// Port that sends back what it gets
    #[arg(long, default_value_t = 7)]
    echo: u16,
    /// Port that takes everything and answers nothing
    #[arg(long, default_value_t = 9)]
    discard: u16,
    /// Port that sends the pattern of a node's `stream` service without end
    #[arg(long, default_value_t = 19)]
    stream: u16,
    /// Congestion control of its connections, such as cubic [default: the system's]
    #[arg(long, value_name = "NAME")]
    congestion: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut server = Server::new()?;
    for (port, service) in [
        (args.echo, Service::Echo { unsent: Vec::new() }),
        (args.discard, Service::Discard),
        (args.stream, Service::Stream { offset: 0 }),
    ] {
        let address = SocketAddr::new(args.listen, port);
        server.listen(address, service, args.congestion.as_deref())?;
    }
    server.run()
}

#[derive(Debug, Clone)]
enum Service {
    /// What the socket would not take yet.
    Echo {
        unsent: Vec<u8>,
    },
    Discard,
    /// Position in the pattern, modulo its length.
    Stream {
        offset: usize,
    },
}

#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    service: Service,
    interest: EventFlags,
}

#[derive(Debug)]
enum Entry {
    Listener(TcpListener, Service),
    Connection(Connection),
}

/// Whether a connection goes on.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Over,
}

#[derive(Debug)]
struct Server {
    epoll: OwnedFd,
    /// By file descriptor.
    entries: Vec<Option<Entry>>,
    chunk: Vec<u8>,
    pattern: Vec<u8>,
}

impl Server {
    fn new() -> anyhow::Result<Self> {
        let byte = |i: usize| ((i as u64).wrapping_mul(2_654_435_761) >> 16) as u8;
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC).context("cannot make an epoll instance")?,
            entries: Vec::new(),
            chunk: vec![0; CHUNK_BYTES],
            pattern: (0..PATTERN_BYTES).map(byte).collect(),
        })
    }

    fn listen(
        &mut self,
        address: SocketAddr,
        service: Service,
        congestion: Option<&str>,
    ) -> anyhow::Result<()> {
        let listener = TcpListener::bind(address)
            .with_context(|| format!("cannot listen on {address}: is another server there?"))?;
        // The standard library's backlog of 128 is short for thousands that come at once.
        rustix::net::listen(&listener, 4096)?;
        listener.set_nonblocking(true)?;
        if let Some(name) = congestion {
            // What is accepted inherits it.
            set_tcp_congestion(&listener, name)
                .with_context(|| format!("the kernel has no congestion control {name:?}"))?;
        }
        let index = listener.as_raw_fd();
        epoll::add(&self.epoll, &listener, data(index), EventFlags::IN)?;
        self.put(index, Entry::Listener(listener, service));
        Ok(())
    }

    fn put(&mut self, fd: i32, entry: Entry) {
        let index = fd as usize;
        if index >= self.entries.len() {
            self.entries.resize_with(index + 1, || None);
        }
        self.entries[index] = Some(entry);
    }

    fn run(&mut self) -> anyhow::Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("epoll_wait failed"),
            }
            for event in &events {
                self.handle(event.data.u64() as usize);
            }
        }
    }

    fn handle(&mut self, index: usize) {
        match &mut self.entries[index] {
            Some(Entry::Listener(listener, service)) => {
                let accepted = accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
                    .ok()
                    .map(|socket| (TcpStream::from(socket), service.clone()));
                if let Some((socket, service)) = accepted {
                    self.welcome(socket, service);
                }
            }
            Some(Entry::Connection(connection)) => {
                let fate = connection.progress(&mut self.chunk, &self.pattern);
                if fate == Fate::Over || connection.watch(&self.epoll).is_err() {
                    self.entries[index] = None;
                }
            }
            None => {}
        }
    }

    /// A connection that cannot be set up is closed; the listener stays.
    fn welcome(&mut self, socket: TcpStream, service: Service) {
        let index = socket.as_raw_fd();
        let interest = match service {
            Service::Stream { .. } => EventFlags::OUT,
            Service::Echo { .. } | Service::Discard => EventFlags::IN,
        };
        let ready = socket.set_nodelay(true).is_ok()
            && epoll::add(&self.epoll, &socket, data(index), interest).is_ok();
        if ready {
            self.put(index, Entry::Connection(Connection { socket, service, interest }));
        }
    }
}

fn data(fd: i32) -> EventData {
    EventData::new_u64(fd as u64)
}

impl Connection {
    fn progress(&mut self, chunk: &mut [u8], pattern: &[u8]) -> Fate {
        match &mut self.service {
            Service::Echo { unsent } if unsent.is_empty() => match receive(&self.socket, chunk) {
                Received::Bytes(count) => {
                    let Some(sent) = send(&self.socket, &chunk[..count]) else { return Fate::Over };
                    unsent.extend_from_slice(&chunk[sent..count]);
                    Fate::Open
                }
                Received::Nothing => Fate::Open,
                Received::End => Fate::Over,
            },
            Service::Echo { unsent } => {
                let Some(sent) = send(&self.socket, unsent) else { return Fate::Over };
                unsent.drain(..sent);
                Fate::Open
            }
            Service::Discard => match receive(&self.socket, chunk) {
                Received::End => Fate::Over,
                Received::Bytes(_) | Received::Nothing => Fate::Open,
            },
            Service::Stream { offset } => {
                let end = PATTERN_BYTES.min(*offset + 4 * CHUNK_BYTES);
                let Some(sent) = send(&self.socket, &pattern[*offset..end]) else {
                    return Fate::Over;
                };
                *offset = (*offset + sent) % PATTERN_BYTES;
                Fate::Open
            }
        }
    }

    /// Waits for room while something is unsent, else for bytes.
    fn watch(&mut self, epoll: &impl AsFd) -> Result<(), Errno> {
        let Service::Echo { unsent } = &self.service else { return Ok(()) };
        let interest = if unsent.is_empty() { EventFlags::IN } else { EventFlags::OUT };
        if interest != self.interest {
            epoll::modify(epoll, &self.socket, data(self.socket.as_raw_fd()), interest)?;
            self.interest = interest;
        }
        Ok(())
    }
}

enum Received {
    Bytes(usize),
    Nothing,
    /// The peer closed, or the connection broke.
    End,
}

fn receive(socket: &TcpStream, into: &mut [u8]) -> Received {
    match rustix::net::recv(socket, into, RecvFlags::empty()) {
        Ok((0, _)) => Received::End,
        Ok((count, _)) => Received::Bytes(count),
        Err(Errno::AGAIN | Errno::INTR) => Received::Nothing,
        Err(_) => Received::End,
    }
}

/// How many bytes the socket took; `None` when the connection broke.
fn send(socket: &TcpStream, bytes: &[u8]) -> Option<usize> {
    match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL) {
        Ok(count) => Some(count),
        Err(Errno::AGAIN | Errno::INTR) => Some(0),
        Err(_) => None,
    }
}
