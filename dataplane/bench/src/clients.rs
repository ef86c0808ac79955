//! Clients that keep a node busy: as little TCP as it takes on wires that lose nothing.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use engine::addr::{Endpoint, Flow};
use engine::seq::SeqNumber;
use engine::wire::arp;
use engine::wire::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, Header, Mac};
use engine::wire::segment::{MAX_HEADER_LEN, Segment, SegmentHeader};
use engine::wire::tcp::{Flags, Options, Timestamps};
use engine::wire::{Checksums, checksum, ethernet, ipv4};
use worker::nic::{BURST, Frame};

use crate::nic::PoolFrame;
use crate::node::Node;
use crate::{DISCARD_PORT, ECHO_PORT, Meter, VIP, VMAC};

/// Bytes of a request and of its response.
const REQUEST_BYTES: usize = 64;
/// Bytes of a full segment with timestamps.
const FULL_BYTES: usize = 1448;
/// Data that an upload has on its way at most: less than the first window offers.
const UPLOAD_WINDOW: u32 = 40 * FULL_BYTES as u32;
/// Responses that a connection leaves unacknowledged before it acknowledges one by one: less
/// than the initial congestion window.
const ACKS_OWED: u32 = 8;
const WINDOW: u16 = 65_000;

/// Each client address has the ports from this one on.
const FIRST_PORT: u16 = 1024;
const PORTS: u32 = 50_000;
const FIRST_HOST: u8 = 110;
const PAYLOAD: [u8; FULL_BYTES] = [0x5a; FULL_BYTES];

/// What each connection does, again and again. A unit is what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Sends a request to the echo service and waits for all of it. Unit: a request.
    Rpc,
    /// Sends full segments to the discard service. Unit: a segment.
    Upload,
    /// Acknowledges responses, one each. Unit: a pure ACK that covers a segment.
    Ack,
    /// Connects, closes. Unit: a connection.
    Connect,
}

#[derive(Clone, Copy, Debug, Default)]
struct Connection {
    next: SeqNumber,
    unacknowledged: SeqNumber,
    expected: SeqNumber,
    /// Acknowledged to the node so far.
    told: SeqNumber,
    /// The node's clock, to be echoed.
    echo: u32,
    /// Bytes of the response so far.
    received: usize,
    open: bool,
    /// Has sent as much as may be on its way.
    waits: bool,
    finished: bool,
    /// When the node's last packet came.
    active_us: u64,
}

/// Clients with a connection each.
#[derive(Debug)]
pub struct Clients {
    work: Work,
    connections: Vec<Connection>,
    ready: VecDeque<u32>,
    /// Ready from the next turn on: a node forgets a connection at the end of its last turn.
    resting: Vec<u32>,
    input: Vec<PoolFrame>,
    output: Vec<PoolFrame>,
    done: u64,
    now_us: u64,
}

impl Clients {
    /// So many connections, all established, or for [`Work::Connect`] about to be.
    ///
    /// # Panics
    /// When the node does not accept them.
    pub fn new(work: Work, connections: u32, node: &mut impl Node) -> Clients {
        let mut clients = Clients {
            work,
            connections: vec![Connection::default(); connections as usize],
            ready: VecDeque::with_capacity(connections as usize),
            resting: Vec::new(),
            input: Vec::with_capacity(2 * BURST),
            output: Vec::with_capacity(4 * BURST),
            done: 0,
            now_us: 0,
        };
        if work == Work::Connect {
            clients.ready.extend(0..connections);
        } else {
            clients.establish(node);
        }
        clients
    }

    fn establish(&mut self, node: &mut impl Node) {
        let mut meter = Meter::default();
        let mut turns = 0;
        let mut begun = 0;
        while self.ready.len() < self.connections.len() {
            for _ in 0..BURST / 2 {
                if begun < self.connections.len() {
                    self.begin(begun as u32);
                    begun += 1;
                }
            }
            self.turn(node, &mut meter);
            turns += 1;
            assert!(turns < 1000 + self.connections.len(), "connections are not accepted");
        }
        // The last ACKs of the handshakes.
        (0..4).for_each(|_| self.turn(node, &mut meter));
    }

    /// Runs until `units` more are done, or a few more than that. Says how many were.
    ///
    /// # Panics
    /// When nothing goes on for long, or when the node answers what it must not.
    pub fn run(&mut self, units: u64, node: &mut impl Node, meter: &mut Meter) -> u64 {
        if self.work == Work::Ack {
            return self.run_acks(units, node, meter);
        }
        let before = self.done;
        let mut idle_turns = 0;
        while self.done - before < units {
            let last = self.done;
            self.fill_burst();
            self.turn(node, meter);
            idle_turns = if self.done == last { idle_turns + 1 } else { 0 };
            assert!(idle_turns < 10_000, "{:?} stands still: {} done", self.work, self.done);
        }
        self.done - before
    }

    /// Takes what is still on its way to the clients, and to the backup.
    pub(crate) fn wait(&mut self, node: &mut impl Node) {
        (0..16).for_each(|_| self.turn(node, &mut Meter::default()));
    }

    /// Acknowledges whatever has come, so that nothing is on its way any more.
    pub(crate) fn come_to_rest(&mut self, node: &mut impl Node) {
        self.wait(node);
        let mut meter = Meter::default();
        for index in 0..self.connections.len() {
            let connection = &mut self.connections[index];
            if connection.told != connection.expected {
                connection.told = connection.expected;
                self.send(index as u32, Flags::ACK, 0);
            }
            if self.input.len() == BURST {
                self.turn(node, &mut meter);
            }
        }
        self.wait(node);
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// To which connection a frame goes that is not taken in, and when that one last was sent to.
    pub(crate) fn activity(&self, frame: &PoolFrame) -> Option<(usize, u64)> {
        let packet = frame.bytes().get(ethernet::HEADER_LEN..).filter(|_| is_packet(frame))?;
        let segment = Segment::parse(packet, Checksums::Verify).ok()?;
        let index = index_of(segment.flow.local) as usize;
        Some((index, self.connections[index].active_us))
    }

    fn fill_burst(&mut self) {
        // A connection in `Work::Connect` sends up to two frames in a turn.
        while self.input.len() < BURST {
            let Some(index) = self.ready.pop_front() else { break };
            self.act(index);
        }
    }

    /// Rounds of unmeasured requests, then of measured acknowledgments.
    fn run_acks(&mut self, units: u64, node: &mut impl Node, meter: &mut Meter) -> u64 {
        let mut acks = 0;
        let count = self.connections.len() as u32;
        let mut off = Meter::default();
        while acks < units {
            for _ in 0..ACKS_OWED {
                let wanted = self.done + u64::from(count);
                while self.done < wanted {
                    self.fill_burst();
                    self.turn(node, &mut off);
                }
            }
            // What the backup still owes is not the ACKs' cost.
            (0..4).for_each(|_| self.turn(node, &mut off));
            for _ in 0..ACKS_OWED {
                for index in 0..count {
                    let connection = &mut self.connections[index as usize];
                    connection.told += REQUEST_BYTES as u32;
                    self.send(index, Flags::ACK, 0);
                    if self.input.len() == BURST || index + 1 == count {
                        self.turn(node, meter);
                    }
                }
            }
            acks += u64::from(ACKS_OWED * count);
        }
        acks
    }

    fn turn(&mut self, node: &mut impl Node, meter: &mut Meter) {
        node.turn(&mut self.input, &mut self.output, meter);
        self.now_us = node.now_us();
        let mut output = std::mem::take(&mut self.output);
        output.drain(..).for_each(|frame| self.take(&frame));
        self.output = output;
        self.ready.extend(self.resting.drain(..));
    }

    /// What a connection that may act does.
    fn act(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        match self.work {
            Work::Rpc | Work::Ack => {
                connection.received = 0;
                if self.work == Work::Rpc {
                    connection.told = connection.expected;
                }
                self.send(index, Flags::PSH | Flags::ACK, REQUEST_BYTES);
            }
            Work::Upload => {
                self.send(index, Flags::ACK, FULL_BYTES);
                self.done += 1;
                let connection = &mut self.connections[index as usize];
                let on_the_way = connection.next.distance(connection.unacknowledged) as u32;
                connection.waits = on_the_way + FULL_BYTES as u32 > UPLOAD_WINDOW;
                if !connection.waits {
                    self.ready.push_back(index);
                }
            }
            Work::Connect if connection.finished => {
                connection.told = connection.expected;
                self.send(index, Flags::ACK, 0);
                self.done += 1;
                self.connections[index as usize].open = false;
                self.connections[index as usize].finished = false;
                self.resting.push(index);
            }
            Work::Connect if connection.open => {
                connection.told = connection.expected;
                self.send(index, Flags::ACK, 0);
                self.send(index, Flags::FIN | Flags::ACK, 0);
            }
            Work::Connect => self.begin(index),
        }
    }

    fn begin(&mut self, index: u32) {
        let next = self.connections[index as usize].next;
        self.connections[index as usize] = Connection { next, ..Connection::default() };
        self.send(index, Flags::SYN, 0);
    }

    fn take(&mut self, frame: &PoolFrame) {
        let Ok((link, _)) = Header::parse(frame.bytes()) else { return };
        if link.ethertype != ETHERTYPE_IPV4 {
            return;
        }
        let packet = &frame.bytes()[ethernet::HEADER_LEN..];
        let Ok(segment) = Segment::parse(packet, Checksums::Trusted) else { return };
        assert!(!segment.flags.rst(), "a client was reset");
        let index = index_of(segment.flow.local);
        let connection = &mut self.connections[index as usize];
        connection.active_us = self.now_us;
        if let Some(timestamps) = segment.options.timestamps {
            connection.echo = timestamps.value;
        }
        if segment.flags.syn() {
            connection.expected = segment.seq + 1;
            connection.unacknowledged = segment.ack;
            connection.open = true;
            if self.work != Work::Connect {
                connection.told = connection.expected;
                self.send(index, Flags::ACK, 0);
            }
            return self.ready.push_back(index);
        }
        assert!(connection.open && segment.seq == connection.expected, "nothing is lost here");
        connection.expected = segment.seq + segment.len_seq();
        connection.unacknowledged = segment.ack;
        connection.received += segment.payload.len();
        self.go_on(index, segment.flags.fin());
    }

    /// Lets a connection act again if it has what it waited for.
    fn go_on(&mut self, index: u32, fin: bool) {
        let connection = &mut self.connections[index as usize];
        let ready = match self.work {
            Work::Rpc | Work::Ack => {
                let answered = connection.received == REQUEST_BYTES;
                self.done += u64::from(answered);
                answered
            }
            Work::Upload => std::mem::take(&mut connection.waits),
            Work::Connect => {
                connection.finished |= fin;
                fin
            }
        };
        if ready {
            self.ready.push_back(index);
        }
    }

    fn send(&mut self, index: u32, flags: Flags, payload_len: usize) {
        let connection = &mut self.connections[index as usize];
        let mut options = Options {
            timestamps: Some(Timestamps {
                value: (self.now_us / 1000) as u32,
                echo: connection.echo,
            }),
            ..Options::default()
        };
        if flags.syn() {
            options.mss = Some(1460);
            options.window_scale = Some(7);
            options.sack_permitted = true;
        }
        let service = match self.work {
            Work::Upload => DISCARD_PORT,
            Work::Rpc | Work::Ack | Work::Connect => ECHO_PORT,
        };
        let header = SegmentHeader {
            flow: Flow { local: endpoint_of(index), remote: Endpoint::new(VIP, service) },
            seq: connection.next,
            ack: connection.told,
            flags,
            window: WINDOW,
            options,
        };
        let control = u32::from(flags.syn()) + u32::from(flags.fin());
        connection.next += payload_len as u32 + control;
        let payload = &PAYLOAD[..payload_len];
        let mut bytes = [0; MAX_HEADER_LEN];
        let len = header.emit(payload_len as u16, &mut bytes);
        checksum::finish_tcp(&mut bytes[..len], ipv4::HEADER_LEN, &[payload]);
        let source = mac_of(host_of(index));
        let link = Header { destination: VMAC, source, ethertype: ETHERTYPE_IPV4 };
        let mut frame = PoolFrame::take();
        let parts = [&link.to_bytes()[..], &bytes[..len], payload];
        assert!(parts.iter().all(|part| frame.append(part)), "a packet within the MTU");
        self.input.push(frame);
    }
}

/// The answer to a question after a client's MAC.
pub(crate) fn arp_reply(question: &PoolFrame) -> Option<PoolFrame> {
    let (link, packet) = Header::parse(question.bytes()).ok()?;
    let asked = arp::Packet::parse(packet).ok().filter(|_| link.ethertype == ETHERTYPE_ARP)?;
    let host = asked.target_ip.octets()[3];
    if asked.operation != arp::Operation::Request || host < FIRST_HOST {
        return None;
    }
    let source = mac_of(host);
    let link = Header { destination: asked.sender_mac, source, ethertype: ETHERTYPE_ARP };
    let mut frame = PoolFrame::take();
    let fits = frame.append(&link.to_bytes()) && frame.append(&asked.reply(source).to_bytes());
    fits.then_some(frame)
}

/// Whether the service sent it, and it is no announcement of its address.
pub(crate) fn is_packet(frame: &PoolFrame) -> bool {
    Header::parse(frame.bytes())
        .is_ok_and(|(link, _)| link.ethertype == ETHERTYPE_IPV4 && link.source == VMAC)
}

fn mac_of(host: u8) -> Mac {
    Mac([2, 0, 0, 0, 9, host])
}

fn host_of(index: u32) -> u8 {
    FIRST_HOST + (index / PORTS) as u8
}

fn endpoint_of(index: u32) -> Endpoint {
    let address = Ipv4Addr::new(10, 77, 0, host_of(index));
    Endpoint::new(address, FIRST_PORT + (index % PORTS) as u16)
}

fn index_of(endpoint: Endpoint) -> u32 {
    let host = endpoint.addr.as_ipv4().expect("clients speak IPv4").octets()[3];
    u32::from(host - FIRST_HOST) * PORTS + u32::from(endpoint.port - FIRST_PORT)
}
