//! Against another implementation: smoltcp as client, with every byte compared.

use smoltcp::iface::{Config as IfaceConfig, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant as SmolInstant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

use engine::shard::Shard;
use engine::time::Instant;

use crate::support::link::{Link, Quality};
use crate::support::{
    CLIENT, CLIENT_V6, ECHO, FILE_LEN, HTTP, Recorder, SERVER, SERVER_V6, STREAM, STREAM_N, config,
    parse, pattern, shard,
};

/// The client's network card: what has arrived, and what is to be sent.
#[derive(Default)]
struct Wire {
    arrived: std::collections::VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

struct Arrived(Vec<u8>);
struct Sender<'a>(&'a mut Vec<Vec<u8>>);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Sender<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push(packet);
        result
    }
}

impl Device for Wire {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Sender<'a>;

    fn receive(&mut self, _: SmolInstant) -> Option<(Arrived, Sender<'_>)> {
        Some((Arrived(self.arrived.pop_front()?), Sender(&mut self.sent)))
    }

    fn transmit(&mut self, _: SmolInstant) -> Option<Sender<'_>> {
        Some(Sender(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.max_transmission_unit = 1500;
        capabilities.medium = Medium::Ip;
        capabilities
    }
}

struct Bench {
    now_us: u64,
    server: Shard,
    link: Link,
    wire: Wire,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
}

impl Bench {
    fn new(port: u16, (quality, ipv6): (Quality, bool), seed: u64) -> Bench {
        let (client, server) = match ipv6 {
            false => (IpCidr::new(CLIENT.into(), 24), IpAddress::from(SERVER)),
            true => (IpCidr::new(CLIENT_V6.into(), 64), IpAddress::from(SERVER_V6)),
        };
        let mut wire = Wire::default();
        let now = SmolInstant::from_micros(1_000_000);
        let mut interface = Interface::new(IfaceConfig::new(HardwareAddress::Ip), &mut wire, now);
        interface.update_ip_addrs(|addrs| {
            addrs.push(client).expect("room");
        });
        let buffer = || tcp::SocketBuffer::new(vec![0; 128 * 1024]);
        let socket = tcp::Socket::new(buffer(), buffer());
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);
        let socket = sockets.get_mut::<tcp::Socket>(handle);
        let remote = (server, port);
        socket.connect(interface.context(), remote, 40_000).expect("it connects");
        let server = shard(config());
        let link = Link::new(quality, seed);
        Bench { now_us: 1_000_000, server, link, wire, interface, sockets, handle }
    }

    fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut::<tcp::Socket>(self.handle)
    }

    /// Runs until the client has done what `work` does, or the time is up.
    fn run(
        &mut self,
        limit_us: u64,
        mut work: impl FnMut(&mut tcp::Socket<'static>) -> bool,
    ) -> bool {
        let end = self.now_us + limit_us;
        while self.now_us < end {
            let now = SmolInstant::from_micros(self.now_us as i64);
            self.interface.poll(now, &mut self.wire, &mut self.sockets);
            if work(self.socket()) {
                return true;
            }
            self.interface.poll(now, &mut self.wire, &mut self.sockets);
            for packet in std::mem::take(&mut self.wire.sent) {
                self.link.send(self.now_us, true, packet);
            }
            let smol =
                self.interface.poll_at(now, &self.sockets).map(|at| at.total_micros() as u64);
            let deadline = self.server.next_deadline().map(Instant::as_micros);
            let next = [smol, deadline, self.link.next_arrival_us()].into_iter().flatten().min();
            self.now_us = next.unwrap_or(end).max(self.now_us + 1);
            let mut to_server = Vec::new();
            for (up, packet) in self.link.arrivals(self.now_us) {
                if up { to_server.push(packet) } else { self.wire.arrived.push_back(packet) }
            }
            let segments: Vec<_> = to_server.iter().map(|packet| parse(packet)).collect();
            let mut out = Recorder::default();
            self.server.step(Instant::from_micros(self.now_us), &segments, &mut out);
            for packet in out.packets {
                self.link.send(self.now_us, false, packet);
            }
        }
        false
    }

    /// Reads what is there, and compares it with what `expected` says of each position.
    fn read(socket: &mut tcp::Socket<'static>, got: &mut u64, expected: impl Fn(u64) -> u8) {
        while socket.can_recv() {
            let taken = socket.recv(|bytes| {
                for (i, byte) in bytes.iter().enumerate() {
                    assert_eq!(*byte, expected(*got + i as u64), "byte {}", *got + i as u64);
                }
                (bytes.len(), bytes.len())
            });
            *got += taken.expect("it can receive") as u64;
        }
    }
}

/// Links of all kinds, each with IPv4 and with IPv6.
fn ways() -> impl Iterator<Item = (Quality, bool)> {
    let both = |quality| [(quality, false), (quality, true)];
    qualities().into_iter().flat_map(both)
}

fn qualities() -> [Quality; 3] {
    let mixed = Quality {
        delay_us: 2_000,
        loss_permille: 20,
        reorder_permille: 50,
        duplicate_permille: 20,
    };
    [Quality::perfect(1_000), Quality::lossy(2_000, 30), mixed]
}

#[test]
fn downloads_the_pattern_byte_by_byte() {
    for (seed, way) in (0..).zip(ways()) {
        let mut bench = Bench::new(STREAM, way, seed);
        let mut got = 0;
        let done = bench.run(120_000_000, |socket| {
            Bench::read(socket, &mut got, pattern);
            got >= 1 << 20
        });
        assert!(done, "{got}");
    }
}

#[test]
fn echoes_half_a_megabyte_and_closes() {
    const TOTAL: u64 = 1 << 19;
    for (seed, way) in (0..).zip(ways()) {
        let mut bench = Bench::new(ECHO, way, seed);
        let (mut sent, mut got) = (0, 0);
        let done = bench.run(240_000_000, |socket| {
            while sent < TOTAL && socket.can_send() {
                let chunk: Vec<u8> = (sent..TOTAL.min(sent + 4096)).map(pattern).collect();
                sent += socket.send_slice(&chunk).expect("it can send") as u64;
                if sent == TOTAL {
                    socket.close();
                }
            }
            Bench::read(socket, &mut got, pattern);
            // The echo of everything, and the server's FIN.
            got == TOTAL && !socket.may_recv()
        });
        assert!(done, "sent {sent}, got {got}");
        bench.run(1_000_000, |_| false);
        assert_eq!(bench.server.counters().resets_sent, 0);
        assert_eq!(bench.server.memory().connections, 0, "LAST-ACK ends with the client's ACK");
    }
}

#[test]
fn requested_stream_ends_with_fin() {
    for (seed, way) in (0..).zip(ways()) {
        let mut bench = Bench::new(STREAM_N, way, seed);
        let (mut asked, mut got) = (false, 0);
        let done = bench.run(120_000_000, |socket| {
            if !asked && socket.can_send() {
                socket.send_slice(b"300000\n").expect("it can send");
                asked = true;
            }
            Bench::read(socket, &mut got, pattern);
            got == 300_000 && !socket.may_recv()
        });
        assert!(done, "{got}");
    }
}

#[test]
fn file_is_served_by_reference_and_arrives_whole() {
    for (seed, way) in (0..).zip(ways()) {
        let mut bench = Bench::new(HTTP, way, seed);
        let (mut asked, mut answer) = (false, Vec::new());
        let done = bench.run(120_000_000, |socket| {
            if !asked && socket.can_send() {
                let request = b"GET /file.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
                socket.send_slice(request).expect("it can send");
                asked = true;
            }
            while socket.can_recv() {
                let taken = socket.recv(|bytes| {
                    answer.extend_from_slice(bytes);
                    (bytes.len(), ())
                });
                taken.expect("it can receive");
            }
            asked && !socket.may_recv()
        });
        assert!(done, "{}", answer.len());
        let body = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
        assert!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer[..body])
        );
        let expected: Vec<u8> = (7..7 + FILE_LEN).map(pattern).collect();
        assert!(answer[body..] == expected, "{} bytes", answer.len() - body);
    }
}
