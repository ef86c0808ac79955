//! Plays a script against a shard. The clock jumps from one thing that happens to the next.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use engine::addr::Endpoint;
use engine::egress::{Egress, Outgoing};
use engine::guard::{Guard, MAX_ANSWER_LEN, Verdict};
use engine::service::ByteStream;
use engine::service::external::Events;
use engine::shard::{ConnectError, ConnectionId, ConnectionInfo, End, Ready, Shard};
use engine::time::Instant;
use engine::wire::checksum::finish_tcp;
use engine::wire::icmp_error::IcmpError;
use engine::wire::segment::{Segment as Received, reset_for};
use engine::wire::{Checksums, Malformed};

use super::check::{compare, render};
use super::flow::{Flow, pattern};
use super::icmp;
use super::ip::{Family, IpFields};
use super::packet::{self, ACK, Packet, SYN};
use super::setup::{self, Setup};
use super::syntax::{
    Assertion, Command, Connect, Content, Icmp, Inbound, Line, Number, Script, Segment, Service,
    Test,
};

/// When a script begins: a whole second, so that timers fire on whole milliseconds.
const START_US: u64 = 1_000_000;
/// How far a packet may be from its time: timers fire on whole milliseconds.
const TOLERANCE_US: u64 = 1_000;
/// Steps at one moment, after which it is not work any more but a loop.
const MANY_STEPS: usize = 10_000;
/// Segments that one line sends together at most.
const MANY_SEGMENTS: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Plain,
    /// The shard is saved and restored before each line.
    Restored,
}

/// Runs a script over each of its IP versions. An error says where it failed, what was expected,
/// and what came.
pub fn run(script: &Script, mode: Mode) -> Result<(), String> {
    let families = setup::families(&script.header);
    let families = families.map_err(|error| format!("{}: {error}", script.path))?;
    families.into_iter().try_for_each(|family| run_over(script, mode, family))
}

fn run_over(script: &Script, mode: Mode, family: Family) -> Result<(), String> {
    let path = format!("{} over {}", script.path, family.name());
    let at = |line: &Line, error: String| {
        format!("{path}:{}: {}\n  {}", line.number, line.text, error.replace('\n', "\n  "))
    };
    let setup = Setup::new(&script.header, family).map_err(|error| format!("{path}: {error}"))?;
    let mut world = World::new(setup, mode);
    let mut lines = script.lines.iter().peekable();
    while let Some(line) = lines.next() {
        let mut together = Vec::new();
        while let Some(next) = lines.next_if(|next| next.is_together()) {
            together.push(next);
        }
        world.run(line, &together).map_err(|error| at(line, error))?;
    }
    let Some(last) = script.lines.last() else {
        return Err(format!("{path}: nothing happens in it"));
    };
    world.settled().map_err(|error| at(last, format!("after the last line: {error}")))
}

impl Line {
    fn is_together(&self) -> bool {
        matches!(self.command, Command::Send { together: true, .. })
    }
}

/// A packet of the shard's that no line has asked for yet.
struct Sent {
    at_us: u64,
    flow: Option<String>,
    packet: Packet,
}

#[derive(Default)]
struct Recorder {
    packets: Vec<Vec<u8>>,
}

impl Egress for Recorder {
    const WANTS_PAYLOAD: bool = true;

    fn emit(&mut self, packet: &Outgoing<'_>) {
        let mut bytes = packet.header.to_vec();
        finish_tcp(&mut bytes, packet.ip_header_len.into(), packet.payload);
        packet.payload.iter().for_each(|part| bytes.extend_from_slice(part));
        self.packets.push(bytes);
    }
}

struct World {
    setup: Setup,
    mode: Mode,
    shard: Shard,
    /// As on a node that serves.
    guard: Option<Guard>,
    now_us: u64,
    flows: BTreeMap<String, Flow>,
    sent: VecDeque<Sent>,
    malformed: BTreeMap<&'static str, u64>,
    /// The first packet that must never be sent.
    offence: Option<String>,
}

impl World {
    fn new(setup: Setup, mode: Mode) -> World {
        World {
            shard: Shard::new(0, Arc::clone(&setup.config), Arc::clone(&setup.content)),
            guard: setup.guarded.then(|| Guard::new(&setup.config, MANY_SEGMENTS)),
            setup,
            mode,
            now_us: START_US,
            flows: BTreeMap::new(),
            sent: VecDeque::new(),
            malformed: BTreeMap::new(),
            offence: None,
        }
    }

    fn run(&mut self, line: &Line, together: &[&Line]) -> Result<(), String> {
        if self.mode == Mode::Restored {
            self.restore()?;
        }
        let (least, most) = line.wait_us;
        let start_us = self.now_us;
        self.add_flow(&line.flow)?;
        for other in together {
            self.add_flow(&other.flow)?;
        }
        if let Command::Expect(expected) = &line.command {
            return self.expect(&line.flow, expected, (start_us + least, start_us + most));
        }
        self.advance(start_us + least)?;
        if !matches!(line.command, Command::Drain) {
            self.settled()?;
        }
        self.perform(line, together)?;
        self.offence.take().map_or(Ok(()), Err)
    }

    fn perform(&mut self, line: &Line, together: &[&Line]) -> Result<(), String> {
        let name = line.flow.as_str();
        match &line.command {
            Command::Send { .. } => {
                let lines = std::iter::once(&line).chain(together.iter());
                let packets: Vec<_> =
                    lines.map(|line| self.inbound(line)).collect::<Result<_, _>>()?;
                self.deliver(&packets)
            }
            // `run` has seen to it.
            Command::Expect(_) | Command::Nothing => Ok(()),
            Command::Drain => {
                self.sent.clear();
                Ok(())
            }
            Command::Handshake(syn) => self.handshake(name, syn),
            Command::Connected(answer) => self.connected(name, answer),
            Command::Connect(connect) => self.connect(name, connect),
            Command::Feed { from, to, each } => self.feed(name, *from, *to, *each),
            Command::PeerIsn(number) => {
                let flow = self.flow_mut(name);
                let isn = flow.peer_number(*number);
                flow.restart(isn);
                Ok(())
            }
            Command::Service(action) => self.serve(name, action),
            Command::Assert(assertion) => self.assert(name, assertion),
        }
    }

    /// Nothing has been sent that no line asked for.
    fn settled(&mut self) -> Result<(), String> {
        if let Some(offence) = self.offence.take() {
            return Err(offence);
        }
        match self.sent.front() {
            None => Ok(()),
            Some(sent) => Err(format!("not expected: {}", self.describe(sent))),
        }
    }

    fn describe(&self, sent: &Sent) -> String {
        let at = self.seconds(sent.at_us);
        match &sent.flow {
            Some(name) => format!("at {at}: [{name}] {}", render(&sent.packet, &self.flows[name])),
            None => format!("at {at}: {:?}", sent.packet),
        }
    }

    /// Time since the start of the script, for people.
    fn seconds(&self, at_us: u64) -> String {
        let us = at_us - START_US;
        format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
    }

    fn add_flow(&mut self, name: &str) -> Result<(), String> {
        let index = name.bytes().next().map_or(0, |letter| letter.wrapping_sub(b'a'));
        if name.len() != 1 || index >= 26 {
            return Err(format!("\"{name}\": the name of a flow is one letter"));
        }
        let (local, remote) = self.setup.endpoints(index.into());
        let isn = self.setup.peer_isn;
        self.flows.entry(name.to_owned()).or_insert_with(|| Flow::new(local, remote, isn));
        Ok(())
    }

    fn flow_mut(&mut self, name: &str) -> &mut Flow {
        self.flows.get_mut(name).expect("flows of a line are added before it runs")
    }

    // Time.

    /// Lets time pass until `at_us`.
    fn advance(&mut self, at_us: u64) -> Result<(), String> {
        let mut steps = 0;
        while let Some(due) = self.shard.next_deadline().map(Instant::as_micros) {
            if due > at_us {
                break;
            }
            steps = if due > self.now_us { 0 } else { steps + 1 };
            if steps > MANY_STEPS {
                return Err(format!("the shard does not come to rest at {}", self.seconds(due)));
            }
            self.now_us = self.now_us.max(due);
            self.step(&[], |_| Ok(()))?;
        }
        self.now_us = self.now_us.max(at_us);
        Ok(())
    }

    /// One step, and what is pending after it.
    fn deliver(&mut self, packets: &[Vec<u8>]) -> Result<(), String> {
        let mut segments: Vec<Received<'_>> = Vec::new();
        for packet in packets {
            match Received::parse(packet, Checksums::Verify) {
                Ok(segment) => segments.push(segment),
                Err(malformed) => match IcmpError::parse(packet) {
                    Ok(error) => {
                        self.shard.take_in_error(Instant::from_micros(self.now_us), &error);
                    }
                    Err(_) => *self.malformed.entry(malformed.name()).or_default() += 1,
                },
            }
        }
        self.screen(&mut segments)?;
        if !segments.is_empty() {
            self.step(&segments, |_| Ok(()))?;
        }
        self.advance(self.now_us)
    }

    /// Takes out what the guard does not let in; its answers are as good as the shard's.
    fn screen(&mut self, segments: &mut Vec<Received<'_>>) -> Result<(), String> {
        let now = Instant::from_micros(self.now_us);
        if self.guard.as_ref().is_some_and(|guard| guard.wants_step(&self.shard, now)) {
            self.step(&[], |_| Ok(()))?;
        }
        let Some(guard) = &mut self.guard else { return Ok(()) };
        guard.stepped();
        let mut out = Recorder::default();
        let _strangers = self.shard.look_up(segments);
        segments.retain(|segment| {
            let mut answer = [0; MAX_ANSWER_LEN];
            let len = match segment.is_stranger() {
                true => match guard.screen(&self.shard, now, segment, &mut answer) {
                    Verdict::Log => return true,
                    Verdict::Answer(len) => len,
                    Verdict::Reset => reset_for(segment, &mut answer),
                    Verdict::Drop => 0,
                },
                false => return true,
            };
            out.packets.extend((len > 0).then(|| answer[..len].to_vec()));
            false
        });
        self.collect(out);
        Ok(())
    }

    /// Takes segments in, lets the program act, and sends.
    fn step(
        &mut self,
        segments: &[Received<'_>],
        act: impl FnOnce(&mut Shard) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut out = Recorder::default();
        self.shard.take_in(Instant::from_micros(self.now_us), segments, &mut out);
        self.hear();
        let result = act(&mut self.shard);
        self.hear();
        self.shard.flush(&mut out);
        self.collect(out);
        result
    }

    /// What the program around the shard is told.
    fn hear(&mut self) {
        while let Some(ready) = self.shard.next_ready() {
            let info = self.shard.connections(ready.id.0).find(|info| info.id == ready.id.0);
            let Some(info) = info else { continue };
            let flow = self.flows.values_mut().find(|flow| flow.remote == info.flow.remote);
            if let Some(flow) = flow {
                flow.events.extend(names_of(&ready));
            }
        }
    }

    fn collect(&mut self, out: Recorder) {
        for bytes in out.packets {
            let packet = match packet::decode(&bytes) {
                Ok(packet) => packet,
                Err(error) => {
                    self.offence.get_or_insert(format!("{error}: {bytes:02x?}"));
                    continue;
                }
            };
            let remote = Endpoint::new(packet.ip.destination, packet.tcp.destination_port);
            let flow = self.flows.iter_mut().find(|(_, flow)| flow.remote == remote);
            let name = flow.as_ref().map(|(name, _)| (*name).clone());
            let judged = flow
                .map_or(Ok(()), |(_, flow)| flow.observe(&packet, self.setup.config.mtu.into()));
            let sent = Sent { at_us: self.now_us, flow: name, packet };
            if let Err(error) = judged {
                let offence = format!("{error}: {}", self.describe(&sent));
                self.offence.get_or_insert(offence);
            }
            self.sent.push_back(sent);
        }
    }

    fn restore(&mut self) -> Result<(), String> {
        let mut bytes = Vec::new();
        self.shard.save(&mut bytes);
        let (config, content) = (Arc::clone(&self.setup.config), Arc::clone(&self.setup.content));
        let shard = Shard::restore(config, content, &bytes).map_err(|error| error.to_string())?;
        if shard.full_digest() != self.shard.full_digest() {
            return Err("the restored shard differs from the saved one".to_owned());
        }
        self.shard = shard;
        Ok(())
    }

    // What the peer sends.

    fn inbound(&mut self, line: &Line) -> Result<Vec<u8>, String> {
        let Command::Send { what, .. } = &line.command else {
            return Err("only what the peer sends can be together".to_owned());
        };
        match what {
            Inbound::Segment(segment) => self.peer_segment(&line.flow, segment),
            Inbound::Icmp(icmp) => self.icmp(&line.flow, icmp),
            Inbound::Raw(bytes) => Ok(bytes.clone()),
        }
    }

    fn peer_segment(&mut self, name: &str, segment: &Segment) -> Result<Vec<u8>, String> {
        let now_us = self.now_us;
        let (local, remote) = (self.setup.local, self.setup.remote);
        let flow = self.flow_mut(name);
        let content = flow.content(segment)?;
        let tcp = flow.header(segment, now_us);
        let controls = (tcp.flags & SYN != 0) as u32 + (tcp.flags & packet::FIN) as u32;
        let end = tcp.seq.wrapping_add(content.len() as u32 + controls);
        if end.wrapping_sub(flow.peer_end) as i32 > 0 {
            flow.peer_end = end;
        }
        let ip = ip_fields(segment, remote, local)?;
        let mut bytes = packet::encode(&ip, &tcp, &content);
        if segment.damage.tcp_checksum {
            bytes[ip.header_len() + 16] ^= 0x55;
        }
        if segment.damage.ip_checksum {
            bytes[10] ^= 0x55;
        }
        bytes.truncate(bytes.len() - segment.damage.cut);
        bytes.resize(bytes.len() + segment.damage.padding, 0xee);
        Ok(bytes)
    }

    /// An ICMP error about a packet that the shard has sent, or may have.
    fn icmp(&mut self, name: &str, icmp: &Icmp) -> Result<Vec<u8>, String> {
        let Setup { local, remote, wider, .. } = self.setup;
        let flow = self.flow_mut(name);
        let tcp = packet::TcpFields {
            source_port: flow.local.port,
            destination_port: flow.remote.port,
            seq: flow.our_number(icmp.quote.seq.unwrap_or(Number::Last)),
            flags: icmp.quote.flags,
            ..packet::TcpFields::default()
        };
        let content = vec![0; icmp.quote.len.unwrap_or(0)];
        let quoted = packet::encode(&ip_fields(&icmp.quote, local, remote)?, &tcp, &content);
        let mtu = icmp.mtu + if icmp.mtu > 0 { u32::from(wider) } else { 0 };
        let ip = IpFields::new(remote, local);
        let mut bytes = icmp::encode(&ip, icmp.kind, mtu, &quoted, icmp.quoted)?;
        if icmp.badsum {
            bytes[ip.header_len() + 2] ^= 0x55;
        }
        Ok(bytes)
    }

    fn send(&mut self, name: &str, segment: &Segment) -> Result<(), String> {
        let packet = self.peer_segment(name, segment)?;
        self.deliver(&[packet])
    }

    fn handshake(&mut self, name: &str, syn: &Segment) -> Result<(), String> {
        let flags = SYN | syn.flags;
        let with = |flags, ack, options: Option<_>| Segment {
            flags,
            seq: syn.seq,
            len: Some(0),
            ack,
            window: syn.window,
            options,
            ..Segment::default()
        };
        self.send(name, &with(flags, None, syn.options.clone()))?;
        let one = Some(Number::Relative(1));
        let answer = Segment { window: None, ..with(SYN | ACK, one, None) };
        self.expect(name, &answer, (self.now_us, self.now_us))?;
        self.send(name, &Segment { seq: one, ..with(ACK, one, None) })
    }

    fn connected(&mut self, name: &str, answer: &Segment) -> Result<(), String> {
        self.connect(name, &Connect { to: None, fails: None })?;
        let first = Some(Number::Relative(0));
        let one = Some(Number::Relative(1));
        let now = (self.now_us, self.now_us);
        let syn = Segment { flags: SYN, seq: first, len: Some(0), ..Segment::default() };
        self.expect(name, &syn, now)?;
        let syn_ack = Segment {
            flags: SYN | ACK,
            seq: first,
            len: Some(0),
            ack: one,
            window: answer.window,
            options: answer.options.clone(),
            ..Segment::default()
        };
        self.send(name, &syn_ack)?;
        let ack = Segment { flags: ACK, seq: one, len: Some(0), ack: one, ..Segment::default() };
        self.expect(name, &ack, now)
    }

    fn feed(&mut self, name: &str, from: i64, to: i64, each: usize) -> Result<(), String> {
        let mut at = from;
        while at < to {
            let segment = Segment {
                flags: ACK,
                seq: Some(Number::Relative(at)),
                len: Some(each),
                ..Segment::default()
            };
            self.send(name, &segment)?;
            self.serve(name, &Service::Read(Content::All))?;
            self.sent.clear();
            at += each as i64;
        }
        Ok(())
    }

    // What the service does.

    fn connect(&mut self, name: &str, connect: &Connect) -> Result<(), String> {
        let flow = &self.flows[name];
        let (local, mut remote) = (flow.local, flow.remote);
        if let Some(address) = connect.to {
            remote = Endpoint::new(address, remote.port);
        }
        let now = Instant::from_micros(self.now_us);
        let mut opened = Ok(ConnectionId(0));
        self.step(&[], |shard| {
            opened = shard.open(now, local, remote, 0);
            Ok(())
        })?;
        match (&connect.fails, opened) {
            (None, Ok(_)) => self.advance(self.now_us),
            (None, Err(error)) => Err(error.to_string()),
            (Some(name), Err(error)) if *name == name_of(&error) => Ok(()),
            (Some(name), other) => Err(format!("expected {name}, got {other:?}")),
        }
    }

    fn connection(&self, name: &str) -> Option<ConnectionInfo> {
        let flow = &self.flows[name];
        self.shard
            .connections(0)
            .find(|info| info.flow.local == flow.local && info.flow.remote == flow.remote)
    }

    fn serve(&mut self, name: &str, action: &Service) -> Result<(), String> {
        let id = ConnectionId(self.connection(name).ok_or("there is no connection")?.id);
        let written = self.flows[name].written.len();
        let mut did = Did::Nothing;
        self.step(&[], |shard| {
            let mut stream = shard.stream(id).ok_or("the connection is over")?;
            did = act(&mut stream, action, written)?;
            Ok(())
        })?;
        let flow = self.flow_mut(name);
        match (did, action) {
            (Did::Wrote { bytes, of }, Service::Write { takes, .. }) => {
                flow.written.extend_from_slice(&bytes);
                let (taken, expected) = (bytes.len(), takes.unwrap_or(of));
                if taken != expected {
                    return Err(format!("expected {expected} bytes to be taken, got {taken}"));
                }
            }
            (Did::Read(bytes), Service::Read(content)) => {
                flow.read += bytes.len();
                judge(&bytes, content, flow.read - bytes.len())?;
            }
            _ => {}
        }
        self.advance(self.now_us)
    }

    // What is expected.

    fn expect(
        &mut self,
        name: &str,
        expected: &Segment,
        (least_us, most_us): (u64, u64),
    ) -> Result<(), String> {
        let mine = |sent: &Sent| sent.flow.as_deref() == Some(name);
        let last_us = most_us + TOLERANCE_US;
        while !self.sent.iter().any(mine) {
            let due = self.shard.next_deadline().map(Instant::as_micros);
            let Some(due) = due.filter(|due| *due <= last_us) else { break };
            self.advance(due.max(self.now_us))?;
        }
        if let Some(offence) = self.offence.take() {
            return Err(offence);
        }
        let Some(at) = self.sent.iter().position(mine) else {
            return Err("expected this, got nothing".to_owned());
        };
        let sent = self.sent.remove(at).expect("it was just found");
        let text = self.describe(&sent);
        if sent.at_us + TOLERANCE_US < least_us || sent.at_us > last_us {
            let due = self.seconds(least_us);
            return Err(format!("expected at {due}\ngot {text}"));
        }
        let flow = self.flow_mut(name);
        let opens = expected.flags & SYN != 0 && expected.seq == Some(Number::Any);
        if opens {
            flow.iss = Some(sent.packet.tcp.seq);
        }
        compare(expected, &sent.packet, flow).map_err(|error| format!("{error}\ngot {text}"))?;
        // Not beyond what was sent: the next line counts from here.
        let until_us = least_us.max(sent.at_us.min(most_us));
        self.advance(until_us)
    }

    /// What the service sees of its stream: readable bytes, and urgent ones.
    fn look(&mut self, name: &str) -> Result<(usize, u32), String> {
        let id = ConnectionId(self.connection(name).ok_or("there is no connection")?.id);
        let mut seen = (0, 0);
        self.step(&[], |shard| {
            let stream = shard.stream(id).ok_or("the connection is over")?;
            seen = (stream.readable(), stream.urgent());
            Ok(())
        })?;
        Ok(seen)
    }

    fn assert(&mut self, name: &str, assertion: &Assertion) -> Result<(), String> {
        let info = self.connection(name);
        let differ = |expected: String, got: String| {
            if expected == got { Ok(()) } else { Err(format!("expected {expected}, got {got}")) }
        };
        match assertion {
            Assertion::State(state) => {
                let got = info.map_or("none", |info| info.state.name());
                differ(state.clone(), got.to_owned())
            }
            Assertion::Events(expected) => {
                let got = std::mem::take(&mut self.flow_mut(name).events);
                let mut expected: Vec<&str> = expected.iter().map(String::as_str).collect();
                expected.retain(|event| *event != "nothing");
                expected.sort_unstable();
                differ(expected.join(" "), got.into_iter().collect::<Vec<_>>().join(" "))
            }
            Assertion::Readable(expected) => {
                let (readable, _) = self.look(name)?;
                differ(expected.to_string(), readable.to_string())
            }
            Assertion::Urgent(expected) => {
                let (_, urgent) = self.look(name)?;
                differ(expected.to_string(), urgent.to_string())
            }
            Assertion::Counter(counter, test) => {
                let found = self.shard.counters().iter().find(|(name, _)| name == counter);
                let guard = self.guard.as_ref().map(|guard| guard.of_service(0).0);
                let found = found.map(|(_, value)| value).or_else(|| {
                    guard
                        .and_then(|guard| guard.iter().find(|(name, _)| name == counter))
                        .map(|c| c.1)
                });
                test.check(found.ok_or_else(|| format!("there is no {counter}"))?)
            }
            Assertion::Malformed(kind, test) => {
                if !Malformed::ALL.iter().any(|known| known.name() == kind) {
                    return Err(format!("there is no {kind}"));
                }
                test.check(self.malformed.get(kind.as_str()).copied().unwrap_or(0))
            }
            Assertion::Info(field, test) => {
                test.check(field_of(&info.ok_or("there is no connection")?, field)?)
            }
            Assertion::Memory(field, test) => {
                let memory = self.shard.memory();
                test.check(match field.as_str() {
                    "connections" => memory.connections.into(),
                    "half_open" => memory.half_open.into(),
                    "pool_used" => memory.pool_used.into(),
                    "sent_used" => memory.sent_used.into(),
                    other => return Err(format!("there is no {other}")),
                })
            }
        }
    }
}

impl Test {
    fn check(&self, got: u64) -> Result<(), String> {
        let holds = match self.relation.as_str() {
            "at-least" => got >= self.value,
            "at-most" => got <= self.value,
            _ => got == self.value,
        };
        if holds {
            Ok(())
        } else {
            Err(format!("expected: {} {}, got {got}", self.relation, self.value))
        }
    }
}

/// What a service has done.
enum Did {
    Nothing,
    Wrote { bytes: Vec<u8>, of: usize },
    Read(Vec<u8>),
}

/// Does what a line says to a stream of which `written` bytes were written before.
fn act(stream: &mut impl ByteStream, action: &Service, written: usize) -> Result<Did, String> {
    match action {
        Service::Write { content, .. } => {
            let mut bytes = match content {
                Content::Bytes(bytes) => bytes.clone(),
                Content::Len(len) => (written..written + len).map(pattern).collect(),
                Content::All => return Err("write how much?".to_owned()),
            };
            let of = bytes.len();
            let taken = stream.write(&bytes);
            bytes.truncate(taken);
            return Ok(Did::Wrote { bytes, of });
        }
        Service::Read(content) => {
            let len = match content {
                Content::Len(len) => *len,
                Content::Bytes(bytes) => bytes.len(),
                Content::All => stream.readable(),
            };
            let mut bytes = vec![0; len];
            let read = stream.peek(0, &mut bytes);
            stream.consume(read);
            bytes.truncate(read);
            return Ok(Did::Read(bytes));
        }
        Service::Close => stream.close(),
        Service::Abort => stream.abort(),
    }
    Ok(Did::Nothing)
}

/// Whether what was read from place `at` of the stream on is what should be there.
fn judge(bytes: &[u8], content: &Content, at: usize) -> Result<(), String> {
    let expected: Vec<u8> = match content {
        Content::Bytes(expected) => expected.clone(),
        Content::Len(len) => (at..at + len).map(pattern).collect(),
        Content::All => return Ok(()),
    };
    if bytes.len() < expected.len() {
        return Err(format!("expected {} bytes, got {}", expected.len(), bytes.len()));
    }
    let same = expected.iter().zip(bytes).take_while(|(a, b)| a == b).count();
    if same == bytes.len() {
        Ok(())
    } else {
        Err(format!("the content differs from byte {same} on"))
    }
}

fn ip_fields(segment: &Segment, source: IpAddr, destination: IpAddr) -> Result<IpFields, String> {
    let ip = &segment.ip;
    let source = ip.source.unwrap_or(source);
    let destination = ip.destination.unwrap_or(destination);
    let of_ipv4 = ip.fragment.is_some() || !ip.options.is_empty() || segment.damage.ip_checksum;
    let of_ipv6 = ip.flow_label.is_some() || !ip.extensions.is_empty();
    let family = Family::of(source);
    let foreign = if family == Family::V4 { of_ipv6 } else { of_ipv4 };
    if foreign || Family::of(destination) != family {
        return Err(format!("that is not of {}", family.name()));
    }
    let mut fields = IpFields::new(source, destination);
    fields.traffic_class = ip.dscp.unwrap_or(0) << 2 | ip.ecn.unwrap_or(0);
    fields.ttl = ip.ttl.unwrap_or(fields.ttl);
    fields.fragment = ip.fragment.unwrap_or(fields.fragment);
    fields.options.clone_from(&ip.options);
    fields.flow_label = ip.flow_label.unwrap_or(0);
    fields.extensions.clone_from(&ip.extensions);
    Ok(fields)
}

/// Names of what the program was told.
fn names_of(ready: &Ready) -> impl Iterator<Item = &'static str> {
    let events = [
        (Events::OPENED, "opened"),
        (Events::READABLE, "readable"),
        (Events::WRITABLE, "writable"),
        (Events::PEER_CLOSED, "peer-closed"),
        (Events::TIMER, "timer"),
        (Events::URGENT, "urgent"),
    ];
    let end = ready.end.map(|end| match end {
        End::Closed => "closed",
        End::Refused => "refused",
        End::Reset => "reset",
        End::TimedOut => "timed-out",
        End::Aborted => "aborted",
    });
    let told = ready.events;
    events.into_iter().filter(move |(event, _)| told.has(*event)).map(|(_, name)| name).chain(end)
}

/// The variant of an error.
fn name_of(error: &ConnectError) -> String {
    let debug = format!("{error:?}");
    debug.split('(').next().unwrap_or_default().to_owned()
}

fn field_of(info: &ConnectionInfo, field: &str) -> Result<u64, String> {
    Ok(match field {
        "recv_queue" => info.recv_queue,
        "send_queue" => info.send_queue,
        "srtt_us" => info.srtt_us.into(),
        "rttvar_us" => info.rttvar_us.into(),
        "rto_us" => info.rto_us,
        "cwnd" => info.cwnd.into(),
        "ssthresh" => info.ssthresh.into(),
        "in_flight" => info.in_flight.into(),
        "retransmissions" => info.retransmissions.into(),
        "mss" => info.mss.into(),
        "send_window" => info.send_window.into(),
        "recv_window" => info.recv_window.into(),
        "bytes_in" => info.bytes_in,
        "bytes_out" => info.bytes_out,
        other => return Err(format!("there is no {other}")),
    })
}
