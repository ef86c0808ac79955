//! One connection, as the wires saw it: what each segment of the service must keep to.
//!
//! Numbers are offsets from the initial sequence number of their direction, without wrapping: the
//! SYN has 0, the first byte 1.

use std::collections::VecDeque;

use super::marks::Marks;
use super::path::Path;
use super::ranges::Ranges;
use super::segment::{Segment, flags};
use crate::coverage::Coverage;
use crate::time::MS;

/// A node's word, and what it knew of its role when it spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// Its epoch.
    pub epoch: u64,
    /// Which run of which node.
    pub run: u64,
}

/// What a SYN-ACK of the service says.
#[derive(Clone, Copy, Debug, Default)]
struct Offer {
    iss: u32,
    scale: u8,
    scaled: bool,
    sack: bool,
    timestamps: bool,
}

/// What a segment of the service tells its client for the first time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// It acknowledges more.
    pub acknowledged: bool,
    /// It has other numbers.
    pub said: bool,
}

/// Transmissions of one segment in a row, without a word of the client.
const SILENT_SENDS: usize = 8;
/// Timeouts of a segment must grow at least by this, in percent.
const BACKOFF_PERCENT: u64 = 150;
/// Gaps beyond this are at the timer's ceiling.
const LONGEST_RTO_NS: u64 = 29_000 * MS;

/// The service's state, as its segments tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
    Closed,
}

/// What is known of a connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The client's initial sequence number.
    irs: u32,
    client_scale: Option<u8>,
    client_mss: usize,
    client_sack: bool,
    /// What the nodes' cards have received of the client's numbers.
    delivered: Ranges,
    /// The same, of any instance of the client's words: what could have been logged.
    delivered_top: u64,
    client_fin: Option<u64>,
    /// TSvals of the client that a node has received: the newest.
    client_clock: Option<u32>,

    /// The service's SYN-ACK, once there was one.
    offer: Option<Offer>,
    /// Others, from nodes without a memory of them: the client may have taken any.
    offers: Vec<Offer>,
    /// The service's bytes: what left first is what must leave ever after.
    stream: Vec<u8>,
    known: Ranges,
    fin_at: Option<u64>,
    /// Highest ACK of the client that a node has received, and right edge of its window.
    acked: u64,
    edge: u64,
    ack_top: u64,
    edge_top: u64,
    /// Behind the last number that left.
    sent_top: u64,
    clock_top: Option<u32>,
    speaker: Speaker,
    marks: Marks,
    path: Path,
    /// Sends of the same first number since the client was last heard.
    silent: VecDeque<(u64, u64)>,
    /// The connection that a late copy of the client's SYN begins when this one is over.
    again: Option<Box<Connection>>,
    /// The service's state.
    pub state: State,
    /// A RST has ended it.
    pub reset: bool,
    /// When either side last acknowledged something new.
    pub progress_ns: u64,
}

/// Unwraps `number`, which lies near `near`.
fn offset(number: u32, base: u32, near: u64) -> u64 {
    let low = number.wrapping_sub(base);
    let ahead = low.wrapping_sub(near as u32) as i32;
    near.wrapping_add_signed(i64::from(ahead))
}

/// Whether clock `a` is before `b`.
fn is_before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

impl Connection {
    /// A connection that the client's SYN begins.
    #[must_use]
    pub fn new(now_ns: u64, syn: &Segment, speaker: Speaker) -> Connection {
        let mut connection = Connection {
            irs: syn.seq,
            client_scale: syn.scale,
            client_mss: usize::from(syn.mss.unwrap_or(536)),
            client_sack: syn.sack_permitted,
            delivered: Ranges::default(),
            delivered_top: 0,
            client_fin: None,
            client_clock: None,
            offer: None,
            offers: Vec::new(),
            stream: Vec::new(),
            known: Ranges::default(),
            fin_at: None,
            acked: 0,
            edge: 0,
            ack_top: 0,
            edge_top: 0,
            sent_top: 0,
            clock_top: None,
            speaker,
            marks: Marks::default(),
            path: Path::default(),
            silent: VecDeque::new(),
            again: None,
            state: State::SynReceived,
            reset: false,
            progress_ns: now_ns,
        };
        connection.client_heard(now_ns, syn);
        connection
    }

    /// Whether `syn` begins this connection, and not another one on its flow.
    #[must_use]
    pub fn is_of(&self, syn: &Segment) -> bool {
        self.irs == syn.seq
    }

    /// A node's card has received a segment of the client.
    pub fn client_heard(&mut self, now_ns: u64, segment: &Segment) {
        if self.state == State::Closed && segment.has(flags::SYN) {
            self.again = Some(Box::new(Connection::new(now_ns, segment, self.speaker)));
        }
        let start = offset(segment.seq, self.irs, self.delivered_top);
        let end = start.wrapping_add(segment.len_seq());
        // Far behind is nothing of this connection.
        if start > u64::from(u32::MAX) * 1024 {
            return;
        }
        self.silent.clear();
        let fresh = self.delivered.missing(start, end) == [(start, end)];
        self.marks.client_heard(segment, (start, end), fresh);
        self.delivered.add(start, end);
        self.delivered_top = self.delivered_top.max(end);
        if segment.has(flags::FIN) {
            self.client_fin = Some(end);
        }
        if let Some((value, _)) = segment.timestamps
            && self.client_clock.is_none_or(|clock| is_before(clock, value))
        {
            self.client_clock = Some(value);
        }
        if segment.has(flags::ACK) {
            self.settle_offer(segment.ack);
        }
        if let (true, Some(offer)) = (segment.has(flags::ACK), self.offer) {
            let ack = offset(segment.ack, offer.iss, self.acked);
            let shift = if offer.scaled { self.client_scale.unwrap_or(0) } else { 0 };
            if ack > self.acked {
                self.acked = ack;
                self.progress_ns = now_ns;
            }
            self.edge = self.edge.max(ack + (u64::from(segment.window) << shift));
            self.note_state_of_ack();
        }
    }

    /// A node's card has received a router's word that packets were too long: a path takes `mtu`
    /// bytes, 0 for it did not say. If a run heeds it, that is to be seen.
    pub fn router_heard(&mut self, now_ns: u64, mtu: usize, heeded_by: Option<u64>) {
        // What was too long is sent again at once.
        self.silent.clear();
        if let Some(run) = heeded_by.filter(|_| mtu > 0) {
            self.path.told(now_ns, mtu, run);
        }
    }

    /// The state that the service will be in once it has read what it has received.
    fn note_state_of_ack(&mut self) {
        let fin_acked = self.fin_at.is_some_and(|fin_at| self.acked > fin_at);
        self.state = match self.state {
            State::SynReceived if self.acked >= 1 => State::Established,
            State::FinWait1 if fin_acked => State::FinWait2,
            State::Closing if fin_acked => State::TimeWait,
            State::LastAck if fin_acked => State::Closed,
            other => other,
        };
    }

    /// A segment of the service leaves a node. Says whether the client learns something from it: an
    /// ACK of more than its SYN, or bytes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn service_spoke(
        &mut self,
        now_ns: u64,
        segment: &Segment,
        speaker: Speaker,
        coverage: &mut Coverage,
    ) -> Result<News, String> {
        if segment.has(flags::RST) {
            self.reset = true;
            coverage.count("service", "RST");
            return Ok(News::default());
        }
        // What an old primary still says is old; it must be true, but it is not news.
        let current = speaker.epoch >= self.speaker.epoch;
        if current && speaker != self.speaker {
            coverage.count("takeover of a connection in", &format!("{:?}", self.state));
            self.silent.clear();
            self.speaker = speaker;
        }
        if segment.has(flags::SYN) {
            let another = self.offer.is_some_and(|offer| offer.iss != segment.seq);
            if let Some(again) = self.again.take_if(|_| another) {
                coverage.count("service", "a late copy of a SYN began another connection");
                *self = *again;
            }
            self.take_syn_ack(segment)?;
        }
        let Some(Offer { iss, .. }) = self.offer else {
            return Err("the service speaks before its SYN".to_owned());
        };
        let before = (self.ack_top, self.sent_top);
        self.check_ack(segment, current, coverage)?;
        if self.ack_top > before.0 {
            self.progress_ns = now_ns;
        }
        self.check_clock(segment, current)?;
        let near = self.known.reach(0);
        let start = offset(segment.seq, iss, near);
        let known = self.known.has(start, start + segment.len_seq());
        self.marks.service_spoke(segment, self.ack_top, current, known, coverage)?;
        self.path.service_spoke(now_ns, segment, speaker.run)?;
        self.check_data(segment, start, coverage)?;
        self.check_backoff(now_ns, segment, start, coverage)?;
        Ok(News { acknowledged: self.ack_top > before.0, said: self.sent_top > before.1 })
    }

    /// Nobody has acknowledged the service's SYN, and the service may have forgotten that there was
    /// one (RFC 4987 section 3.6): the next has another number.
    pub fn forget_unanswered(&mut self) {
        if self.state == State::SynReceived && self.acked == 0 {
            self.offers.extend(self.offer.take());
            // Cookies have their own order.
            self.clock_top = None;
        }
    }

    /// The client has answered one of several SYN-ACKs: that one counts.
    fn settle_offer(&mut self, ack: u32) {
        let answered = |offer: &&Offer| offer.iss.wrapping_add(1) == ack;
        if self.state == State::SynReceived
            && self.acked == 0
            && let Some(offer) = self.offers.iter().find(answered)
        {
            self.offer = Some(*offer);
        }
    }

    fn take_syn_ack(&mut self, segment: &Segment) -> Result<(), String> {
        if !segment.has(flags::ACK) {
            return Err("a SYN of the service has no ACK".to_owned());
        }
        match self.offer {
            None => {
                self.offer = Some(Offer {
                    iss: segment.seq,
                    scale: segment.scale.unwrap_or(0),
                    scaled: segment.scale.is_some() && self.client_scale.is_some(),
                    sack: segment.sack_permitted,
                    timestamps: segment.timestamps.is_some(),
                });
                if segment.sack_permitted && !self.client_sack {
                    return Err("SACK was offered to a client that had not".to_owned());
                }
                if segment.timestamps.is_some() && self.client_clock.is_none() {
                    return Err("timestamps were offered to a client that had not".to_owned());
                }
                Ok(())
            }
            Some(Offer { iss, .. }) if iss == segment.seq => Ok(()),
            Some(Offer { iss, .. }) => {
                Err(format!("the service's ISN was {iss}, and is {} now", segment.seq))
            }
        }
    }

    /// RFC 9293 3.4, 3.8.6: the ACK names what has come, it never goes back, and neither does the
    /// right edge of the window. None of it changes with a takeover: what a client was told stands.
    fn check_ack(
        &mut self,
        segment: &Segment,
        current: bool,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        if !segment.has(flags::ACK) {
            return Err("a segment of the service has no ACK".to_owned());
        }
        let ack = offset(segment.ack, self.irs, self.ack_top.max(1));
        let reach = self.delivered.reach(0);
        if ack > reach {
            return Err(format!("ACK of {ack}, but the nodes have received up to {reach} only"));
        }
        if current && ack < self.ack_top {
            return Err(format!("the ACK goes back from {} to {ack}", self.ack_top));
        }
        self.ack_top = self.ack_top.max(ack);
        let offer = self.offer.unwrap_or_default();
        let scale = if offer.scaled { offer.scale } else { 0 };
        // RFC 7323 2.2, 2.4: a SYN says its window as it is. Said again in later segments it has
        // been rounded up, which a node that inherits the SYN alone knows nothing of.
        let (shift, grain) =
            if segment.has(flags::SYN) { (0, (1 << scale) - 1) } else { (scale, 0) };
        let edge = ack + (u64::from(segment.window) << shift);
        if current && edge + grain < self.edge_top {
            return Err(format!("the window's edge goes back from {} to {edge}", self.edge_top));
        }
        self.edge_top = self.edge_top.max(edge);
        if self.client_fin.is_some_and(|end| ack >= end) {
            self.state = match self.state {
                State::Established | State::SynReceived => State::CloseWait,
                State::FinWait1 => State::Closing,
                State::FinWait2 => State::TimeWait,
                other => other,
            };
        }
        for (start, end) in &segment.sack {
            let start = offset(*start, self.irs, ack);
            let end = offset(*end, self.irs, ack);
            // A block at or below the ACK, or within another, is a D-SACK (RFC 2883).
            coverage.count("service", if end <= ack { "D-SACK" } else { "SACK block" });
            if start >= end || !self.delivered.has(start, end) {
                return Err(format!("SACK of {start}..{end}, of which something never came"));
            }
        }
        let permitted = self.client_sack && self.offer.is_some_and(|offer| offer.sack);
        if !segment.sack.is_empty() && !permitted {
            return Err("SACK blocks without permission".to_owned());
        }
        Ok(())
    }

    /// RFC 7323 3.2, 5.
    fn check_clock(&mut self, segment: &Segment, current: bool) -> Result<(), String> {
        let agreed = self.offer.is_some_and(|offer| offer.timestamps);
        let Some((value, echo)) = segment.timestamps else {
            return if agreed { Err("a timestamp is missing".to_owned()) } else { Ok(()) };
        };
        if !agreed {
            return Err("a timestamp that was not agreed on".to_owned());
        }
        if let Some(top) = self.clock_top
            && current
            && is_before(value, top)
        {
            return Err(format!("TSval goes back from {top} to {value}"));
        }
        if self.clock_top.is_none_or(|top| is_before(top, value)) {
            self.clock_top = Some(value);
        }
        match self.client_clock {
            Some(clock) if is_before(clock, echo) => {
                Err(format!("TSecr {echo} was never sent: the client's newest is {clock}"))
            }
            _ => Ok(()),
        }
    }

    fn check_data(
        &mut self,
        segment: &Segment,
        start: u64,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        let first = start + u64::from(segment.has(flags::SYN));
        let end = start + segment.len_seq();
        let data_end = first + segment.payload.len() as u64;
        if segment.payload.len() > self.client_mss {
            return Err(format!(
                "{} bytes, the client's MSS is {}",
                segment.payload.len(),
                self.client_mss
            ));
        }
        // RFC 9293 3.8.6: nothing beyond the window. A SYN has no window yet.
        if !segment.payload.is_empty() && data_end > self.edge {
            return Err(format!("data up to {data_end}, the window ends at {}", self.edge));
        }
        if let Some(fin_at) = self.fin_at
            && (!segment.payload.is_empty() && data_end > fin_at
                || segment.has(flags::FIN) && data_end != fin_at)
        {
            return Err(format!("the stream had ended at {fin_at}, and now goes to {data_end}"));
        }
        self.check_bytes(first, &segment.payload)?;
        if segment.len_seq() > 0 && self.known.has(start, end) {
            coverage.count("service", "retransmission");
        }
        self.known.add(start, end);
        self.sent_top = self.sent_top.max(end);
        if segment.has(flags::FIN) && self.fin_at.is_none() {
            self.fin_at = Some(data_end);
            self.state = match self.state {
                State::Established | State::SynReceived => State::FinWait1,
                State::CloseWait => State::LastAck,
                other => other,
            };
        }
        Ok(())
    }

    /// A byte that left once is that byte for ever, whichever node says it.
    fn check_bytes(&mut self, first: u64, payload: &[u8]) -> Result<(), String> {
        if payload.is_empty() {
            return Ok(());
        }
        let at = (first - 1) as usize;
        let end = at + payload.len();
        if self.stream.len() < end {
            self.stream.resize(end, 0);
        }
        let news = self.known.missing(first, first + payload.len() as u64);
        for (from, to) in news {
            let (from, to) = ((from - 1) as usize, (to - 1) as usize);
            self.stream[from..to].copy_from_slice(&payload[from - at..to - at]);
        }
        if self.stream[at..end] == *payload {
            return Ok(());
        }
        let other = self.stream[at..end].iter().zip(payload).position(|(was, is)| was != is);
        Err(format!("byte {} left with two values", at + other.unwrap_or(0)))
    }

    /// RFC 6298 5.5: each timeout doubles the next one. The first gap may be that of a tail loss
    /// probe, the second begins with it.
    fn check_backoff(
        &mut self,
        now_ns: u64,
        segment: &Segment,
        start: u64,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        // Two segments at one moment are one flight.
        let sends = |first: u64| segment.len_seq() > 0 && first == self.acked;
        if !sends(start) || self.silent.back().is_some_and(|(at_ns, _)| *at_ns == now_ns) {
            return Ok(());
        }
        if self.silent.back().is_some_and(|(_, first)| *first != start) {
            self.silent.clear();
        }
        self.silent.push_back((now_ns, start));
        if self.silent.len() > SILENT_SENDS {
            self.silent.pop_front();
        }
        let times: Vec<u64> = self.silent.iter().map(|(at_ns, _)| *at_ns).collect();
        let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let [.., before, last] = gaps[..] else { return Ok(()) };
        if gaps.len() >= 4 {
            coverage.count("service", "timeouts in a row");
            if before < LONGEST_RTO_NS && last < before * BACKOFF_PERCENT / 100 {
                return Err(format!(
                    "sent again after {} ms, then after {} ms: no backoff",
                    before / MS,
                    last / MS
                ));
            }
        }
        Ok(())
    }

    /// How far the service has told the client that its bytes are safe.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.ack_top
    }
}

#[cfg(test)]
mod tests;
