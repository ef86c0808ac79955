//! The transmission control block (RFC 9293 3.3.1): all that a shard knows of one connection,
//! except for what its service remembers.

use crate::addr::Flow;
use crate::buffer::{Assembler, Chain, SendQueue};
use crate::config::{Commit, Config, Ecn, ServiceConfig};
use crate::seq::SeqNumber;
use crate::tcp::congestion::Congestion;
use crate::tcp::path::Path;
use crate::tcp::rack::Rack;
use crate::tcp::recovery::Recovery;
use crate::tcp::rto::Rtt;
use crate::tcp::scoreboard::SentQueue;
use crate::tcp::state::State;
use crate::tcp::timers::Deadlines;
use crate::tcp::{ecn, isn};
use crate::time::Instant;
use crate::wire::segment::{Segment, ip_header_len};
use crate::wire::tcp;

/// [`default_mss`] over IPv4 and over IPv6.
const DEFAULT_MSS_IPV4: u16 = 536;
const DEFAULT_MSS_IPV6: u16 = 1220;
/// Smallest segment size that we let a peer talk us into.
const MIN_MSS: u16 = 88;
/// Length of the timestamps option with its padding.
pub(crate) const TIMESTAMPS_LEN: u16 = 12;
/// Largest shift of a window (RFC 7323 2.3).
const MAX_WINDOW_SCALE: u8 = 14;
/// Duplicate ACKs that one step sends at most, to a peer without SACK.
pub(crate) const MAX_DUP_ACKS_OWED: u8 = 8;

/// Conditions of a connection that are on or off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks(pub u32);

impl Marks {
    /// SACK is in use (RFC 2018 2).
    pub const SACK: Marks = Marks(1);
    /// Timestamps are in use (RFC 7323 3.2).
    pub const TIMESTAMPS: Marks = Marks(1 << 1);
    /// Windows are scaled (RFC 7323 2.2).
    pub const SCALED: Marks = Marks(1 << 2);
    /// We sent the first SYN.
    pub const ACTIVE: Marks = Marks(1 << 3);
    /// The service was told of the connection.
    pub const ACCEPTED: Marks = Marks(1 << 4);
    /// The service has closed: FIN follows the queued data.
    pub const CLOSING: Marks = Marks(1 << 5);
    /// Our FIN was sent at least once; it took the number before SND.NXT.
    pub const FIN_SENT: Marks = Marks(1 << 6);
    /// The peer's FIN is in order.
    pub const FIN_RECEIVED: Marks = Marks(1 << 7);
    /// The peer's FIN came before its turn, and stands at `fin_at`.
    pub const FIN_AHEAD: Marks = Marks(1 << 8);
    /// An ACK must leave in this step.
    pub const ACK_NOW: Marks = Marks(1 << 9);
    /// A RST must leave.
    pub const RESET: Marks = Marks(1 << 10);
    /// A takeover's packet must leave.
    pub const KICK: Marks = Marks(1 << 11);
    /// A probe of one number below SND.UNA must leave (zero window or keepalive).
    pub const PROBE: Marks = Marks(1 << 12);
    /// A tail loss probe must leave (RFC 8985 7.3).
    pub const TAIL_PROBE: Marks = Marks(1 << 13);
    /// In the run queue.
    pub const QUEUED: Marks = Marks(1 << 14);
    /// Waits for buffers or scoreboard entries of the shard.
    pub const STARVED: Marks = Marks(1 << 15);
    /// The congestion window was what ended the last output.
    pub const CWND_LIMITED: Marks = Marks(1 << 16);
    /// A write took less than it was given, for want of blocks or extents.
    pub const SHORT_WRITE: Marks = Marks(1 << 17);
    /// A segment may leave although it is short: the override timeout of SWS avoidance.
    pub const OVERRIDE: Marks = Marks(1 << 18);
    /// `dsack` names a range that came twice (RFC 2883).
    pub const DSACK: Marks = Marks(1 << 19);
    /// Counted as half-open.
    pub const HALF_OPEN: Marks = Marks(1 << 20);
    /// Our SYN is not acknowledged.
    pub const SYN_UNACKED: Marks = Marks(1 << 21);
    /// In the list of TIME-WAITs.
    pub const LISTED: Marks = Marks(1 << 22);
    /// In the queue of those that wait for memory.
    pub const WAITING: Marks = Marks(1 << 23);
    /// `deadlines.loss` is for RACK's look for reordered segments, not for the tail loss probe.
    pub const RACK_LOOK: Marks = Marks(1 << 24);
    /// The outstanding tail loss probe was a retransmission.
    pub const PROBE_RESENT: Marks = Marks(1 << 25);
    /// The peer acknowledges what a former primary has sent, up to `recovery.point`, and we have
    /// not. Nothing is in flight.
    pub const AHEAD: Marks = Marks(1 << 30);
    /// Counted among the connections of its service and of its source.
    pub const COUNTED: Marks = Marks(1 << 31);
    /// ECN is in use, or asked for in our SYN (RFC 3168 6.1.1).
    pub const ECN: Marks = Marks(1 << 26);
    /// A mark is echoed until the peer has answered it (RFC 3168 6.1.3).
    pub const ECN_ECHO: Marks = Marks(1 << 27);
    /// New data must say that the window was reduced (RFC 3168 6.1.2).
    pub const ECN_REDUCED: Marks = Marks(1 << 28);
    /// The peer has urgent data that the service has not read (RFC 9293 3.8.5).
    pub const URGENT: Marks = Marks(1 << 29);
}

impl Marks {
    /// Whether one of `marks` is on.
    #[inline]
    pub(crate) fn contains(self, marks: Marks) -> bool {
        self.0 & marks.0 != 0
    }
}

/// State of one connection.
#[derive(Debug)]
pub(crate) struct Tcb {
    // What header prediction and acknowledgments touch.
    pub marks: Marks,
    pub state: State,
    /// Shift of windows that we receive (Snd.Wind.Shift).
    pub snd_scale: u8,
    /// Shift of windows that we send (Rcv.Wind.Shift).
    pub rcv_scale: u8,
    /// Acknowledgments still to be sent at once.
    pub quick_acks: u8,
    pub snd_una: SeqNumber,
    pub snd_nxt: SeqNumber,
    pub snd_wnd: u32,
    pub snd_wl1: SeqNumber,
    pub rcv_nxt: SeqNumber,
    /// Right edge of the window that the peer knows of.
    pub rcv_adv: SeqNumber,
    /// Last RCV.NXT that was sent (Last.ACK.sent).
    pub last_ack: SeqNumber,
    /// TS.Recent; means nothing after 24 idle days (RFC 7323 5.5).
    pub ts_recent: u32,
    /// Added to the shard's milliseconds in TSval.
    pub ts_offset: u32,
    /// Payload bytes of a full segment, options taken off (SMSS).
    pub mss: u16,
    pub path: Path,
    /// Largest payload that came, an estimate of the peer's full segment.
    pub rcv_mss: u16,
    /// When the peer was last heard of.
    pub active_at: Instant,
    pub sent: SentQueue,
    pub congestion: Congestion,
    pub rtt: Rtt,
    pub deadlines: Deadlines,
    pub recovery: Recovery,
    /// Bytes of the receive queue that the service may leave unread before the window closes.
    pub rcv_limit: u32,
    /// Bytes that the service has taken since the limit last grew.
    pub rcv_taken: u32,
    /// Largest window that the peer ever gave us (RFC 9293 3.8.6.2.1, Max(SND.WND)).
    pub max_window: u32,
    pub recv: Chain,
    pub send: SendQueue,
    pub assembler: Assembler,
    pub rack: Rack,

    // What is rarely touched.
    pub flow: Flow,
    pub service: u16,
    /// ACKs to be sent that carry no data; to a peer without SACK, one for each segment that calls
    /// for one.
    pub dup_acks_owed: u8,
    /// Probes and timeouts since the peer was last heard of.
    pub unanswered: u8,
    /// Behind the last urgent byte that the peer has told of; means something with `Marks::URGENT`.
    pub urgent_at: SeqNumber,
    /// Where the peer's FIN stands that came too early.
    pub fin_at: SeqNumber,
    /// The range to report as a duplicate.
    pub dsack: (SeqNumber, SeqNumber),
    pub opened_at: Instant,
    /// When data last left; a long pause restarts the window (RFC 5681 4.1).
    pub sent_at: Instant,
    /// When data last went forward in either direction.
    pub progress_at: Instant,
    /// When a takeover kicked this connection; what was sent before may never have left.
    pub kicked_at: Option<Instant>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub retransmissions: u32,
    /// Neighbours in the list of TIME-WAITs, oldest first.
    pub older: u32,
    pub newer: u32,
}

impl Tcb {
    /// A connection whose SYN is to be sent (RFC 9293 3.10.1).
    pub(crate) fn active(flow: Flow, now: Instant, config: &Config, index: u16) -> Tcb {
        let mut tcb = Tcb::new(flow, now, config, index);
        tcb.state = State::SynSent;
        tcb.set(Marks::ACTIVE);
        tcb.put(Marks::ECN, config.tcp.ecn == Ecn::Ask);
        tcb.rcv_scale = window_scale(config, &config.services[usize::from(index)]);
        tcb
    }

    /// Reads a word here and there, for the cache's sake; the value means nothing.
    #[inline]
    pub(crate) fn touch(&self) -> u32 {
        self.marks.0
            ^ self.congestion.cwnd
            ^ self.sent.count
            ^ self.deadlines.armed.as_micros() as u32
            ^ self.send.len() as u32
            ^ self.recv.len() as u32
            ^ self.bytes_in as u32
            ^ u32::from(self.rack.probe_end().is_some())
            ^ u32::from(self.mss)
    }

    /// A connection that `syn` asks for (RFC 9293 3.10.7.2).
    pub(crate) fn passive(syn: &Segment<'_>, now: Instant, config: &Config, index: u16) -> Tcb {
        let mut tcb = Tcb::new(syn.flow, now, config, index);
        tcb.state = State::SynReceived;
        tcb.rcv_scale = window_scale(config, &config.services[usize::from(index)]);
        tcb.take_syn(syn, config);
        tcb
    }

    fn new(flow: Flow, now: Instant, config: &Config, index: u16) -> Tcb {
        let service = &config.services[usize::from(index)];
        let iss = isn::initial_sequence(&config.isn_key, &flow, now);
        let mss = default_mss(&flow).min(largest_segment(&flow, config, service));
        Tcb {
            marks: Marks::SYN_UNACKED,
            state: State::Closed,
            snd_scale: 0,
            rcv_scale: 0,
            quick_acks: config.tcp.quick_acks,
            snd_una: iss,
            snd_nxt: iss,
            snd_wnd: 0,
            snd_wl1: SeqNumber(0),
            rcv_nxt: SeqNumber(0),
            rcv_adv: SeqNumber(0),
            last_ack: SeqNumber(0),
            ts_recent: 0,
            ts_offset: isn::timestamp_offset(&config.isn_key, &flow),
            mss,
            path: Path { limit: mss, raise_at: 0 },
            rcv_mss: 0,
            active_at: now,
            sent: SentQueue::default(),
            congestion: Congestion::new(service.congestion, config.tcp.initial_cwnd, mss),
            rtt: Rtt::default(),
            deadlines: Deadlines::default(),
            recovery: Recovery::new(iss),
            rcv_limit: initial_recv_limit(service),
            rcv_taken: 0,
            max_window: 0,
            recv: Chain::default(),
            send: SendQueue::default(),
            assembler: Assembler::default(),
            rack: Rack::new(iss),
            flow,
            service: index,
            dup_acks_owed: 0,
            unanswered: 0,
            urgent_at: SeqNumber(0),
            fin_at: SeqNumber(0),
            dsack: (SeqNumber(0), SeqNumber(0)),
            opened_at: now,
            sent_at: now,
            progress_at: now,
            kicked_at: None,
            bytes_in: 0,
            bytes_out: 0,
            retransmissions: 0,
            older: u32::MAX,
            newer: u32::MAX,
        }
    }

    /// Gives a connection that has sent nothing another initial sequence number.
    pub(crate) fn renumber(&mut self, iss: SeqNumber) {
        (self.snd_una, self.snd_nxt) = (iss, iss);
        self.recovery = Recovery::new(iss);
        self.rack = Rack::new(iss);
    }

    /// Our SYN-ACK is out, with the number `iss`; nothing else is known of it.
    pub(crate) fn answered_before(&mut self, iss: SeqNumber) {
        self.renumber(iss);
        self.snd_nxt = iss + 1;
    }

    /// Takes numbers and options of the peer's SYN.
    pub(crate) fn take_syn(&mut self, syn: &Segment<'_>, config: &Config) {
        let options = &syn.options;
        self.rcv_nxt = syn.seq + 1;
        self.last_ack = self.rcv_nxt;
        // RFC 7323 2.2: the window of a SYN is never scaled.
        self.snd_wnd = syn.window.into();
        self.max_window = self.snd_wnd;
        self.snd_wl1 = syn.seq;
        if config.tcp.window_scaling
            && let Some(shift) = options.window_scale
        {
            self.set(Marks::SCALED);
            self.snd_scale = shift.min(MAX_WINDOW_SCALE);
        } else {
            self.rcv_scale = 0;
        }
        let window = self.rcv_limit.min(0xffff);
        // What our SYN says is told again in a scaled field, and rounded up then.
        let again = config.services[usize::from(self.service)].commit == Commit::Swfr;
        let step = if again { 1 << self.rcv_scale } else { 1 };
        self.rcv_adv = self.rcv_nxt + window.next_multiple_of(step);
        if config.tcp.sack && options.sack_permitted {
            self.set(Marks::SACK);
        }
        ecn::negotiate(self, syn, config.tcp.ecn);
        // RFC 9293 3.7.1, RFC 6691 2: the option counts neither IP nor TCP options.
        let offered = options.mss.unwrap_or(default_mss(&self.flow)).max(MIN_MSS);
        let service = &config.services[usize::from(self.service)];
        self.mss = offered.min(largest_segment(&self.flow, config, service));
        if config.tcp.timestamps
            && let Some(timestamps) = options.timestamps
        {
            self.set(Marks::TIMESTAMPS);
            self.ts_recent = timestamps.value;
            self.mss -= TIMESTAMPS_LEN;
        }
        self.path.limit = self.mss;
        let timed_out = self.congestion.cwnd < u32::from(default_mss(&self.flow)) * 2;
        let segments = if timed_out { 1 } else { config.tcp.initial_cwnd };
        self.congestion = Congestion::new(service.congestion, segments, self.mss);
    }

    #[inline]
    pub(crate) fn has(&self, marks: Marks) -> bool {
        self.marks.contains(marks)
    }

    #[inline]
    pub(crate) fn set(&mut self, marks: Marks) {
        self.marks.0 |= marks.0;
    }

    #[inline]
    pub(crate) fn clear(&mut self, marks: Marks) {
        self.marks.0 &= !marks.0;
    }

    /// Sets or clears.
    #[inline]
    pub(crate) fn put(&mut self, marks: Marks, on: bool) {
        self.marks.0 = self.marks.0 & !marks.0 | if on { marks.0 } else { 0 };
    }

    /// Sequence number of the first byte in the send queue.
    #[inline]
    pub(crate) fn queue_start(&self) -> SeqNumber {
        self.snd_una + u32::from(self.has(Marks::SYN_UNACKED))
    }

    /// Bytes of the send queue that were sent before.
    #[inline]
    pub(crate) fn queue_sent(&self) -> u32 {
        let numbers = self.snd_nxt.distance(self.queue_start()).max(0).unsigned_abs();
        // Our FIN takes a number but no byte.
        numbers - u32::from(self.has(Marks::FIN_SENT) && numbers > 0)
    }

    /// Bytes of the send queue that were never sent.
    #[inline]
    pub(crate) fn unsent(&self) -> u64 {
        self.send.len() - u64::from(self.queue_sent())
    }

    /// Whether our FIN is due but not sent.
    #[inline]
    pub(crate) fn fin_due(&self) -> bool {
        self.has(Marks::CLOSING) && !self.has(Marks::FIN_SENT)
    }

    /// Whether all that we sent, FIN included, is acknowledged.
    pub(crate) fn fin_acknowledged(&self) -> bool {
        self.has(Marks::FIN_SENT) && self.snd_una == self.snd_nxt
    }

    /// Numbers sent and not acknowledged (FlightSize of RFC 5681 2).
    #[inline]
    pub(crate) fn flight(&self) -> u32 {
        self.snd_nxt.distance(self.snd_una).unsigned_abs()
    }

    /// Bytes that count against the congestion window.
    #[inline]
    pub(crate) fn pipe(&self) -> u32 {
        // Without SACK each duplicate ACK says that one segment has arrived (RFC 5681 3.2 (4)).
        let arrived = u32::from(self.recovery.dup_acks) * u32::from(self.mss);
        if self.has(Marks::SACK) {
            self.sent.in_flight
        } else {
            self.sent.in_flight.saturating_sub(arrived)
        }
    }

    /// The peer's window in bytes as a segment gives it.
    #[inline]
    pub(crate) fn scaled_window(&self, segment: &Segment<'_>) -> u32 {
        u32::from(segment.window) << self.snd_scale
    }

    /// Asks for an ACK in this step.
    #[inline]
    pub(crate) fn ack_now(&mut self) {
        self.set(Marks::ACK_NOW);
    }

    /// Asks for one that neither waits for data nor rides on them.
    pub(crate) fn ack_alone(&mut self) {
        self.ack_now();
        self.dup_acks_owed = (self.dup_acks_owed + 1).min(MAX_DUP_ACKS_OWED);
    }

    /// Ends the connection without a word to the peer.
    pub(crate) fn drop_silently(&mut self) {
        self.state = State::Closed;
        self.clear(Marks::RESET);
    }

    /// Ends the connection with a RST.
    pub(crate) fn reset(&mut self) {
        self.state = State::Closed;
        self.set(Marks::RESET);
    }
}

/// Receive buffer of a new connection of the service.
pub(crate) fn initial_recv_limit(service: &ServiceConfig) -> u32 {
    service.initial_recv_buffer_bytes.min(service.recv_buffer_bytes)
}

/// Largest segment, options not counted, that the MTU and the service allow: what the MSS option
/// says.
pub(crate) fn largest_segment(flow: &Flow, config: &Config, service: &ServiceConfig) -> u16 {
    let fitting = largest_mss(flow, config);
    service.max_segment_bytes.map_or(fitting, |bytes| fitting.min(bytes))
}

/// The MSS that we offer: what the MTU leaves when IP and TCP header without options are taken off
/// (RFC 6691 2).
pub(crate) fn largest_mss(flow: &Flow, config: &Config) -> u16 {
    config.mtu - (ip_header_len(flow.local.addr) + tcp::HEADER_LEN) as u16
}

/// Segment size to a peer that names none (RFC 9293 3.7.1).
pub(crate) fn default_mss(flow: &Flow) -> u16 {
    if flow.local.addr.is_ipv4() { DEFAULT_MSS_IPV4 } else { DEFAULT_MSS_IPV6 }
}

/// Smallest shift with which the service's largest window fits into 16 bits (RFC 7323 2.2).
pub(crate) fn window_scale(config: &Config, service: &ServiceConfig) -> u8 {
    if !config.tcp.window_scaling {
        return 0;
    }
    let mut shift = 0;
    while shift < MAX_WINDOW_SCALE && service.recv_buffer_bytes >> shift > 0xffff {
        shift += 1;
    }
    shift
}
