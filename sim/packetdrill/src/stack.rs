//! The shard with its virtual clock, and the sockets on it. Time stands still unless somebody moves
//! it; on the way to a later moment each deadline of the shard gets its step.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use engine::config::{Config, ServiceConfig};
use engine::content::Content;
use engine::service::ByteStream;
use engine::service::external::Events;
use engine::shard::{ConnectionId, End, Ready, Shard};
use engine::time::Instant;
use engine::wire::Checksums;
use engine::wire::icmp_error::IcmpError;
use engine::wire::segment::Segment;

use crate::descriptors::Descriptors;
use crate::errno::Errno;
use crate::pipe::Pipes;
use crate::settings::Settings;
use crate::socket::{Connection, Role, Socket, SocketId};
use crate::wire::{Packet, Wire};

/// Where virtual time begins: not at zero, which clocks of programs take for "never".
const START: Instant = Instant::from_micros(1_000_000_000);
/// Key of the initial sequence numbers; scripts compare relative ones.
const ISN_KEY: [u8; 16] = [0x5a; 16];
/// Turns after which a shard that still has work gets it at the next microsecond.
const MAX_TURNS: usize = 64;
/// First port for connections that are not bound.
const FIRST_PORT: u16 = 49_152;

/// The shard, its time, and everything on it.
#[derive(Debug)]
pub struct Stack {
    pub(crate) settings: Settings,
    pub(crate) descriptors: Descriptors,
    pub(crate) pipes: Pipes,
    pub(crate) sockets: BTreeMap<SocketId, Socket>,
    pub(crate) by_connection: HashMap<ConnectionId, SocketId>,
    shard: Option<Shard>,
    config: Config,
    now: Instant,
    out: Wire,
    sockets_made: u32,
    next_port: u16,
}

impl Stack {
    /// A stack without sockets. The shard comes with the first listener or connection, when a
    /// script has made its settings.
    #[must_use]
    pub fn new(settings: Settings) -> Stack {
        let habits = settings.habits;
        Stack {
            settings,
            descriptors: Descriptors::default(),
            pipes: Pipes::default(),
            sockets: BTreeMap::new(),
            by_connection: HashMap::new(),
            shard: None,
            config: Config::default(),
            now: START,
            out: Wire::new(habits),
            sockets_made: 0,
            next_port: FIRST_PORT,
        }
    }

    /// Virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Largest packet that leaves.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.config.mtu
    }

    /// When something will happen by itself.
    #[must_use]
    pub fn next_event(&self) -> Option<Instant> {
        let deadline = self.shard.as_ref()?.next_deadline()?;
        // Work that is left over has its turn a moment later, so that time moves in any case.
        Some(deadline.max(self.now.plus_us(1)))
    }

    /// Moves time on, with a step at each deadline on the way.
    pub fn advance(&mut self, to: Instant) {
        while let Some(at) = self.next_event().filter(|&at| at <= to) {
            self.now = at;
            self.turn(&[]);
        }
        self.now = self.now.max(to);
    }

    /// A packet arrives: a segment, or an ICMP error about one of ours. Others are dropped.
    pub fn inject(&mut self, packet: &[u8]) {
        // Also who listens to nothing answers: with a RST.
        if self.shard.is_none() && self.configure().is_err() {
            return;
        }
        if let Ok(segment) = Segment::parse(packet, Checksums::Verify) {
            return self.turn(&[segment]);
        }
        if let Ok(error) = IcmpError::parse(packet)
            && let Some(shard) = &mut self.shard
        {
            shard.take_in_error(self.now, &error);
            self.turn(&[]);
        }
    }

    /// The oldest packet that has left and was not looked at.
    pub fn sniff(&mut self) -> Option<Packet> {
        self.out.take()
    }

    /// One step of the shard with all that it tells, and more of them while it has work.
    pub(crate) fn turn(&mut self, segments: &[Segment<'_>]) {
        let mut segments = segments;
        for _ in 0..MAX_TURNS {
            let (Some(shard), now) = (&mut self.shard, self.now) else { return };
            self.out.set_time(now);
            shard.take_in(now, segments, &mut self.out);
            while let Some(ready) = self.shard.as_mut().and_then(Shard::next_ready) {
                self.told(ready);
            }
            let Some(shard) = &mut self.shard else { return };
            shard.flush(&mut self.out);
            if shard.next_deadline().is_none_or(|deadline| deadline > now) {
                break;
            }
            segments = &[];
        }
        self.out.finish();
        self.forget_orphans();
    }

    /// Works on a connection's byte stream. `None`: it has ended.
    pub(crate) fn stream<T>(
        &mut self,
        id: ConnectionId,
        work: impl FnOnce(&mut engine::shard::Stream<'_>) -> T,
    ) -> Option<T> {
        self.shard.as_mut()?.stream(id).map(|mut stream| work(&mut stream))
    }

    /// The shard, if there is one.
    pub(crate) fn shard(&self) -> Option<&Shard> {
        self.shard.as_ref()
    }

    /// Opens a connection; its SYN leaves with the next [`turn`](Self::turn).
    pub(crate) fn open(
        &mut self,
        local: engine::addr::Endpoint,
        remote: engine::addr::Endpoint,
        service: u16,
    ) -> Result<ConnectionId, Errno> {
        use engine::shard::ConnectError;
        let now = self.now;
        let shard = self.shard.as_mut().ok_or(Errno::EIO)?;
        shard.open(now, local, remote, service).map_err(|error| match error {
            ConnectError::FlowInUse => Errno::EADDRNOTAVAIL,
            ConnectError::Full => Errno::ENOBUFS,
            _ => Errno::ENETUNREACH,
        })
    }

    /// Gives a connection the settings of another service.
    pub(crate) fn assign(&mut self, id: ConnectionId, service: u16) {
        if let Some(shard) = &mut self.shard {
            shard.assign(id, service);
        }
    }

    /// Index of a service like `wanted`: one that is there, or a new one.
    ///
    /// # Errors
    /// The engine does not take it, or there are too many.
    pub(crate) fn service(&mut self, wanted: &ServiceConfig) -> Result<u16, Errno> {
        let services = &mut self.config.services;
        let known = services.iter().position(|service| service == wanted);
        let index = known.unwrap_or(services.len());
        if known.is_none() {
            services.push(wanted.clone());
        }
        if let Err(error) = self.configure() {
            // What the engine refuses must not stay in the way of what comes later.
            if known.is_none() {
                self.config.services.pop();
            }
            return Err(error);
        }
        u16::try_from(index).map_err(|_| Errno::ENOBUFS)
    }

    /// Replaces the settings of a service.
    pub(crate) fn change_service(&mut self, index: u16, to: ServiceConfig) -> Result<(), Errno> {
        let service = self.config.services.get_mut(usize::from(index)).ok_or(Errno::EINVAL)?;
        let before = std::mem::replace(service, to);
        self.configure().inspect_err(|_| {
            self.config.services[usize::from(index)] = before;
        })
    }

    /// Whether somebody listens on `port`.
    pub(crate) fn listens(&self, port: u16) -> bool {
        self.config.service_on(port).is_some()
    }

    /// A port for a connection that is not bound.
    pub(crate) fn free_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
        port
    }

    /// Adds a socket.
    pub(crate) fn add(&mut self, socket: Socket) -> SocketId {
        let id = SocketId(self.sockets_made);
        self.sockets_made += 1;
        self.sockets.insert(id, socket);
        id
    }

    /// Gives the shard the configuration as it should be now, and makes it first if need be.
    fn configure(&mut self) -> Result<(), Errno> {
        let services = std::mem::take(&mut self.config.services);
        self.config = Config { services, isn_key: ISN_KEY, ..self.settings.read().0 };
        if self.config.validate().is_err() {
            return Err(Errno::EINVAL);
        }
        let config = Arc::new(self.config.clone());
        match &mut self.shard {
            Some(shard) => shard.reconfigure(config).map_err(|_| Errno::EINVAL),
            None => {
                self.shard = Some(Shard::new(0, config, Arc::new(Content::default())));
                Ok(())
            }
        }
    }

    /// Something has happened on a connection.
    fn told(&mut self, ready: Ready) {
        let known = self.by_connection.get(&ready.id).copied();
        let Some(id) = known.or_else(|| self.welcome(ready)) else { return };
        if ready.events.has(Events::PEER_CLOSED) {
            self.keep_rest(id, ready.id);
        }
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.edges += 1;
        let orphan = !socket.held;
        let Some(connection) = socket.connection_mut() else { return };
        connection.opened |= ready.events.has(Events::OPENED);
        connection.peer_closed |= ready.events.has(Events::PEER_CLOSED);
        if let Some(end) = ready.end {
            return self.ended(id, ready.id, end);
        }
        // RFC 9293 3.6.1 (SHLD-3): who gets data after the program is gone says so with a RST.
        let unread = self.stream(ready.id, |stream| stream.readable()).unwrap_or(0);
        if orphan && unread > 0 {
            self.stream(ready.id, |stream| stream.abort());
        }
    }

    /// A connection that a listener has let in. `None`: nobody waits for it.
    fn welcome(&mut self, ready: Ready) -> Option<SocketId> {
        let info = self.shard.as_ref()?.connection_info(ready.id)?;
        let service = info.service;
        let listening = |socket: &Socket| matches!(&socket.role, Role::Listening { service: own, .. } if *own == service);
        let Some(listener) = self.sockets.iter().find(|(_, s)| listening(s)).map(|(id, _)| *id)
        else {
            self.stream(ready.id, |stream| stream.abort());
            return None;
        };
        let (family, options) = {
            let socket = &self.sockets[&listener];
            (socket.family, socket.options.clone())
        };
        // Its settings are its own from now on.
        if let Ok(own) = self.service(&options.service(0)) {
            self.assign(ready.id, own);
        }
        let mut socket = Socket::new(family, options);
        socket.local = Some(info.flow.local);
        socket.remote = Some(info.flow.remote);
        socket.role = Role::Connection(Connection::new(ready.id));
        let id = self.add(socket);
        self.by_connection.insert(ready.id, id);
        let listener = self.sockets.get_mut(&listener)?;
        listener.edges += 1;
        if let Role::Listening { queue, .. } = &mut listener.role {
            queue.push_back(id);
        }
        Some(id)
    }

    /// Takes what the program has not read out of the engine: nothing more will come behind it,
    /// and the connection may end before the program reads.
    fn keep_rest(&mut self, id: SocketId, connection: ConnectionId) {
        let rest = self.stream(connection, |stream| {
            let mut rest = vec![0; stream.readable()];
            let len = stream.peek(0, &mut rest);
            stream.consume(len);
            rest
        });
        let socket = self.sockets.get_mut(&id).and_then(Socket::connection_mut);
        if let (Some(rest), Some(connection)) = (rest, socket) {
            connection.rest.extend(rest);
        }
    }

    fn ended(&mut self, id: SocketId, connection: ConnectionId, end: End) {
        let last = self.shard.as_ref().and_then(|shard| shard.connection_info(connection));
        self.by_connection.remove(&connection);
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let Some(connection) = socket.connection_mut() else { return };
        connection.id = None;
        connection.last = last.map(Box::new);
        socket.error = match end {
            End::Closed | End::Aborted => socket.error,
            End::Refused => Some(Errno::ECONNREFUSED),
            // The peer has sent all it wanted to: what the RST ends is our sending.
            End::Reset if connection.peer_closed => Some(Errno::EPIPE),
            End::Reset => Some(Errno::ECONNRESET),
            End::TimedOut => Some(Errno::ETIMEDOUT),
        };
    }

    /// Sockets that the program has closed live as long as their connection.
    pub(crate) fn forget_orphans(&mut self) {
        self.sockets.retain(|_, socket| {
            socket.held || socket.connection().is_some_and(|connection| !connection.is_over())
        });
    }
}

#[cfg(test)]
mod tests {
    use engine::addr::{Addr, Endpoint};
    use engine::config::ServiceKind;
    use engine::wire::{checksum, ipv4, ipv6};

    use super::*;

    /// "Port unreachable" about `packet`, from where it was to go.
    fn unreachable(packet: &[u8]) -> Vec<u8> {
        let is_ipv6 = packet[0] >> 4 == 6;
        let mut message = vec![if is_ipv6 { 1 } else { 3 }, if is_ipv6 { 4 } else { 3 }, 0, 0];
        message.extend([0; 4]);
        message.extend(packet);
        let len = message.len() as u16;
        let (header, mut sum) = if is_ipv6 {
            let ip = ipv6::Packet::parse(packet).unwrap().header;
            let (source, destination) = (ip.destination, ip.source);
            let ip = ipv6::Header { source, destination, protocol: ipv6::PROTOCOL_ICMPV6, ..ip };
            let header = ip.to_bytes(len).to_vec();
            let addresses = header[8..].first_chunk().unwrap();
            let sum = checksum::pseudo_header_ipv6(addresses, ipv6::PROTOCOL_ICMPV6, len);
            (header, sum)
        } else {
            let ip = ipv4::Packet::parse(packet, Checksums::Verify).unwrap().header;
            let (source, destination) = (ip.destination, ip.source);
            let ip = ipv4::Header { source, destination, protocol: ipv4::PROTOCOL_ICMP, ..ip };
            (ip.to_bytes(len).to_vec(), checksum::Sum::new())
        };
        sum.add(&message);
        message[2..4].copy_from_slice(&sum.checksum().to_be_bytes());
        [header, message].concat()
    }

    #[test]
    fn icmp_errors_of_both_versions_reach_their_connection() {
        for (ours, theirs) in [("192.168.0.1", "192.0.2.1"), ("fd3d:a0b:17d6::1", "fd3d::1")] {
            let [ours, theirs]: [Addr; 2] = [ours, theirs].map(|text| text.parse().unwrap());
            let mut stack = Stack::new(Settings::default());
            let service = ServiceConfig::new("test", 80, ServiceKind::External);
            let service = stack.service(&service).unwrap();
            let (local, remote) = (Endpoint::new(ours, 5000), Endpoint::new(theirs, 80));
            stack.open(local, remote, service).unwrap();
            stack.turn(&[]);
            let syn = stack.sniff().unwrap();
            assert_eq!(stack.shard().unwrap().memory().connections, 1);
            stack.inject(&unreachable(&syn.bytes));
            assert_eq!(stack.shard().unwrap().memory().connections, 0, "{theirs}");
        }
    }
}
