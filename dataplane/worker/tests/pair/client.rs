//! Clients: smoltcp's TCP, which shares no line with ours, and what they check.

use std::collections::VecDeque;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};

use crate::network::Random;

/// What a client does with its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Sends so many bytes, wants them back, then a FIN.
    Echo(u64),
    /// As `Echo`, but a few bytes at a time, the next when the last are back.
    Ask(u64),
    /// Asks for so many bytes of the pattern.
    Download(u64),
    /// Sends so many bytes that nobody answers.
    Upload(u64),
    /// As `Echo`, but says nothing between its first half and [`Client::wake`].
    Idle(u64),
}

impl Work {
    fn port(self) -> u16 {
        match self {
            Work::Echo(_) | Work::Ask(_) | Work::Idle(_) => 7,
            Work::Upload(_) => 9,
            Work::Download(_) => 20,
        }
    }

    /// Bytes in all.
    fn total(self) -> u64 {
        match self {
            Work::Echo(total)
            | Work::Ask(total)
            | Work::Download(total)
            | Work::Upload(total)
            | Work::Idle(total) => total,
        }
    }
}

/// Bytes of one question of [`Work::Ask`].
const QUESTION: u64 = 64;

#[derive(Debug)]
struct Job {
    work: Work,
    handle: SocketHandle,
    sent: u64,
    received: u64,
    closed: bool,
    done: bool,
    asleep: bool,
}

pub struct Client {
    device: Queues,
    interface: Interface,
    sockets: SocketSet<'static>,
    jobs: Vec<Job>,
}

/// Byte `i` of the stream, as it is documented.
fn pattern(i: u64) -> u8 {
    (i.wrapping_mul(2_654_435_761) >> 16) as u8
}

impl Client {
    pub fn new(index: usize, seed: u64) -> Client {
        let last = 10 + u8::try_from(index).unwrap();
        let mac = HardwareAddress::Ethernet(EthernetAddress([2, 0, 0, 0, 9, last]));
        let mut config = Config::new(mac);
        config.random_seed = seed;
        let mut device = Queues::default();
        let mut interface = Interface::new(config, &mut device, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(IpAddress::v4(10, 77, 0, last), 24)).unwrap();
            let last = u16::from(last);
            addresses.push(IpCidr::new(IpAddress::v6(0xfd77, 0, 0, 0, 0, 0, 0, last), 64)).unwrap();
        });
        Client { device, interface, sockets: SocketSet::new(Vec::new()), jobs: Vec::new() }
    }

    pub fn start(&mut self, work: Work, vip: IpAddress, random: &mut Random) {
        let buffer = || SocketBuffer::new(vec![0; 32 * 1024]);
        let mut socket = Socket::new(buffer(), buffer());
        let port = 40_000 + (random.below(1000) * 16) as u16 + self.jobs.len() as u16;
        socket.connect(self.interface.context(), (vip, work.port()), port).unwrap();
        let handle = self.sockets.add(socket);
        let asleep = matches!(work, Work::Idle(_));
        let job = Job { work, handle, sent: 0, received: 0, closed: false, done: false, asleep };
        self.jobs.push(job);
    }

    pub fn deliver(&mut self, frame: Vec<u8>) {
        self.device.received.push_back(frame);
    }

    /// Lets time and frames work, and returns what the client sends.
    pub fn poll(&mut self, now_us: u64) -> VecDeque<Vec<u8>> {
        let now = Instant::from_micros(now_us as i64);
        loop {
            self.interface.poll(now, &mut self.device, &mut self.sockets);
            let mut moved = false;
            for job in &mut self.jobs {
                moved |= job.run(self.sockets.get_mut(job.handle));
            }
            if !moved {
                break;
            }
        }
        std::mem::take(&mut self.device.sent)
    }

    pub fn next_deadline_us(&mut self, now_us: u64) -> Option<u64> {
        let now = Instant::from_micros(now_us as i64);
        let at = self.interface.poll_at(now, &self.sockets)?;
        Some(u64::try_from(at.total_micros()).unwrap_or(0).max(now_us))
    }

    /// The local port of each connection, and the service's.
    pub fn ports(&self) -> Vec<(u16, u16)> {
        let local = |job: &Job| self.sockets.get::<Socket<'_>>(job.handle).local_endpoint();
        let ports = self.jobs.iter().filter_map(|job| Some((local(job)?.port, job.work.port())));
        ports.collect()
    }

    /// What each connection has got through so far, in bytes: what is acknowledged, or is back.
    pub fn progress(&self) -> Vec<u64> {
        let of = |job: &Job| match job.work {
            Work::Upload(_) => {
                let socket = self.sockets.get::<Socket<'_>>(job.handle);
                job.sent - socket.send_queue() as u64
            }
            _ => job.received,
        };
        self.jobs.iter().map(of).collect()
    }

    /// Idle connections go on.
    pub fn wake(&mut self) {
        self.jobs.iter_mut().for_each(|job| job.asleep = false);
    }

    pub fn is_done(&self) -> bool {
        self.jobs.iter().all(|job| job.done)
    }

    /// Where each connection stands, for the message of a test that fails.
    pub fn describe(&self) -> String {
        let state = |job: &Job| self.sockets.get::<Socket<'_>>(job.handle).state();
        self.jobs.iter().map(|job| format!("{job:?} {}\n", state(job))).collect()
    }
}

impl Job {
    /// Moves bytes; says whether any moved.
    fn run(&mut self, socket: &mut Socket<'_>) -> bool {
        if self.done {
            return false;
        }
        let moved = self.send(socket) | self.receive(socket);
        match self.work {
            Work::Echo(total) | Work::Ask(total) | Work::Idle(total) | Work::Download(total) => {
                let ended = !socket.may_recv() && socket.state() != State::SynSent;
                if self.received == total && ended {
                    self.done = true;
                    socket.close();
                    return true;
                }
            }
            // All of it is acknowledged, our FIN too.
            Work::Upload(_) => {
                self.done = matches!(socket.state(), State::FinWait2 | State::TimeWait);
            }
        }
        assert!(self.done || socket.state() != State::Closed, "the connection was reset: {self:?}");
        moved
    }

    fn send(&mut self, socket: &mut Socket<'_>) -> bool {
        let before = self.sent;
        let total = match self.work {
            Work::Echo(total) | Work::Upload(total) => total,
            Work::Ask(_) if self.received < self.sent => return false,
            Work::Ask(total) => total.min(self.sent + QUESTION),
            Work::Idle(total) if self.asleep => total / 2,
            Work::Idle(total) => total,
            Work::Download(total) => {
                if self.sent == 0 && socket.can_send() {
                    let line = format!("{total}\n");
                    assert_eq!(socket.send_slice(line.as_bytes()), Ok(line.len()));
                    self.sent = line.len() as u64;
                }
                return self.sent != before;
            }
        };
        while self.sent < total && socket.can_send() {
            let len = (total - self.sent).min(1000);
            let bytes: Vec<u8> = (self.sent..self.sent + len).map(pattern).collect();
            self.sent += socket.send_slice(&bytes).unwrap() as u64;
        }
        if self.sent == self.work.total() && !self.asleep && !self.closed && socket.may_send() {
            self.closed = true;
            socket.close();
        }
        self.sent != before
    }

    fn receive(&mut self, socket: &mut Socket<'_>) -> bool {
        let before = self.received;
        while socket.can_recv() {
            let from = self.received;
            let len = socket
                .recv(|bytes| {
                    for (i, byte) in bytes.iter().enumerate() {
                        let at = from + i as u64;
                        assert_eq!(*byte, pattern(at), "byte {at} of {:?}", self.work);
                    }
                    (bytes.len(), bytes.len())
                })
                .unwrap();
            self.received += len as u64;
        }
        self.received != before
    }
}

#[derive(Default)]
struct Queues {
    received: VecDeque<Vec<u8>>,
    sent: VecDeque<Vec<u8>>,
}

struct Received(Vec<u8>);
struct Sent<'a>(&'a mut VecDeque<Vec<u8>>);

impl Device for Queues {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received, Sent<'_>)> {
        let frame = self.received.pop_front()?;
        Some((Received(frame), Sent(&mut self.sent)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sent<'_>> {
        Some(Sent(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push_back(frame);
        result
    }
}
