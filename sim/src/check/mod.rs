//! What must hold at every moment, whatever fails. The checkers see the wires, and the service's
//! documentation; nothing of the nodes' inside.

pub mod clients;
pub mod connection;
mod marks;
mod path;
mod ranges;
pub mod segment;
pub mod states;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use engine::addr::Flow;
use engine::seq::SeqNumber;
use replication::{Directive, GateMode, Role};

use crate::coverage::Coverage;
use crate::net::Frame;
use crate::plan::{VMAC, is_vip};
use connection::{Connection, News, Speaker, State};
use segment::{Segment, flags};

/// A connection's name: the client's end, and the service's port.
pub type Key = (IpAddr, u16, u16);

/// What a segment of the service makes its client rely on, for as long as the connection lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The connection.
    pub flow: Flow,
    /// The client may forget what it has sent below this number.
    pub ack: SeqNumber,
    /// The client knows what the service says below this number, and the service needs all that this
    /// follows from to say it again. Nothing with payload under commit rule SWFR.
    pub end: Option<SeqNumber>,
}

/// All connections that the wires have seen.
#[derive(Clone, Debug, Default)]
pub struct Checker {
    connections: BTreeMap<Key, Connection>,
    /// Segments of established connections that the backup had confirmed.
    pub replicated: u32,
    /// The service may answer a SYN without keeping anything of it.
    stateless: bool,
    /// Ports of services whose payload does not wait for the log.
    early: BTreeSet<u16>,
    off: bool,
}

/// Whether a frame comes from the service's MAC address, or from one of its addresses, or says where
/// one of these is.
fn speaks_for_service(frame: &[u8]) -> bool {
    let v4 = |at: usize| frame.get(at..at + 4).and_then(|v4| <[u8; 4]>::try_from(v4).ok());
    let v6 = |at: usize| frame.get(at..at + 16).and_then(|v6| <[u8; 16]>::try_from(v6).ok());
    let from = match frame.get(12..14) {
        Some([0x08, 0x00]) => v4(26).map(IpAddr::from),
        Some([0x08, 0x06]) => v4(28).map(IpAddr::from),
        Some([0x86, 0xdd]) => v6(22).map(IpAddr::from),
        _ => None,
    };
    frame.get(6..12) == Some(&VMAC.0) || from.is_some_and(is_vip)
}

impl Checker {
    /// Of a service that may answer a SYN `stateless`ly, or not, and whose payload may leave `early`
    /// from these ports.
    #[must_use]
    pub fn new(stateless: bool, early: BTreeSet<u16>) -> Checker {
        Checker { stateless, early, ..Checker::default() }
    }

    /// The service's state is lost by definition: there is nothing left to promise.
    pub fn give_up(&mut self) {
        self.off = true;
    }

    /// A node's card has taken a frame in. `heeds`: the node is in a state to heed a router, too.
    pub fn node_received(&mut self, now_ns: u64, frame: &Frame, speaker: Speaker, heeds: bool) {
        if frame.damaged || self.off {
            return;
        }
        if let Some((key, mtu)) = path::too_big(&frame.bytes) {
            if let Some(connection) = self.connections.get_mut(&key) {
                connection.router_heard(now_ns, mtu, heeds.then_some(speaker.run));
            }
            return;
        }
        let Ok(Some(segment)) = Segment::parse(&frame.bytes) else { return };
        if !is_vip(segment.destination.0) {
            return;
        }
        let key = (segment.source.0, segment.source.1, segment.destination.1);
        let opens = segment.has(flags::SYN) && !segment.has(flags::ACK);
        match self.connections.get_mut(&key) {
            Some(connection) if !opens || connection.is_of(&segment) => {
                connection.client_heard(now_ns, &segment);
            }
            _ if opens => {
                let connection = Connection::new(now_ns, &segment, speaker);
                self.connections.insert(key, connection);
            }
            _ => {}
        }
    }

    /// A frame leaves a node for the service LAN. What it newly promises in the name of both nodes
    /// is returned.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn node_sent(
        &mut self,
        now_ns: u64,
        frame: &[u8],
        mtu: u16,
        directive: &Directive,
        run: u64,
        coverage: &mut Coverage,
    ) -> Result<Option<Promise>, String> {
        if self.off {
            return Ok(None);
        }
        if speaks_for_service(frame) && !matches!(directive.role, Role::Primary(_)) {
            return Err("a node that is not the primary speaks for the service".to_owned());
        }
        if frame.len() > usize::from(mtu) + 14 {
            return Err(format!("a frame of {} bytes for an MTU of {mtu}", frame.len()));
        }
        let Some(segment) = Segment::parse(frame)? else { return Ok(None) };
        if directive.passes_on.is_some() && is_vip(segment.destination.0) {
            coverage.count("service", "segment passed on to the node that serves now");
            return Ok(None);
        }
        if !is_vip(segment.source.0) {
            return Err(format!(
                "a segment leaves that is not the service's: {}",
                segment.describe()
            ));
        }
        let key = (segment.destination.0, segment.destination.1, segment.source.1);
        let speaker = Speaker { epoch: directive.epoch.0, run };
        let mut shared = false;
        let verdict = match self.connections.get_mut(&key) {
            Some(connection) => {
                let confirmed = directive.role == Role::Primary(GateMode::Confirmed);
                shared = confirmed && connection.state >= State::Established;
                self.replicated += u32::from(shared);
                if self.stateless && segment.has(flags::SYN) {
                    connection.forget_unanswered();
                }
                connection.service_spoke(now_ns, &segment, speaker, coverage)
            }
            None if segment.has(flags::RST) => Ok(News::default()),
            None => Err("the service speaks to nobody".to_owned()),
        };
        let news = verdict.map_err(|wrong| format!("{wrong}\n  {}", segment.describe()))?;
        let early = self.early.contains(&segment.source.1);
        let binds = !early || segment.has(flags::SYN | flags::FIN);
        let promises = news.acknowledged || news.said && binds;
        Ok((promises && shared).then(|| segment.promise(early)))
    }

    /// When any connection last went forward.
    #[must_use]
    pub fn progress_ns(&self) -> u64 {
        self.connections.values().map(|connection| connection.progress_ns).max().unwrap_or(0)
    }

    /// Counts the states in which connections are.
    pub fn count_states(&self, coverage: &mut Coverage) {
        for connection in self.connections.values() {
            let state = format!("{:?}", connection.state);
            coverage.count("last state of a connection", &state);
        }
    }
}
