//! Requests and responses on connections that stay open.

use super::exchange::{Exchange, Incoming};
use super::{Context, Index, Notice, Transport, Workload};
use crate::load::meter::Meter;
use crate::load::schedule::Schedule;
use crate::load::transport::{Events, Stream};
use crate::load::trouble::Trouble;

/// First requests sent, or requests of a schedule, before the transport is polled again.
const AT_ONCE: u32 = 64;
/// Connections that are asked at a time whether they are alive.
const VERIFIED_AT_ONCE: u64 = 1024;
/// Connections looked at in one inspection.
const INSPECTED: u32 = 4096;

/// When requests begin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As soon as a connection may have another one on its way.
    Closed,
    /// So many a second, on the connections in turn.
    Open(f64),
    /// Never.
    Silent,
}

/// What to do.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Connections.
    pub connections: u32,
    /// Requests of one connection that may be on their way.
    pub pipeline: u32,
    /// When requests begin.
    pub pace: Pace,
    /// How many requests; None: until the time is over.
    pub count: Option<u64>,
    /// Whether each connection has to answer one more request in the end, to prove that it lives.
    pub verifies: bool,
}

/// The load.
#[derive(Debug)]
pub struct Rpc {
    config: Config,
    exchange: Exchange,
    connections: Vec<Connection>,
    /// When the requests on their way were sent: `pipeline` places for each connection.
    sent_ns: Vec<u64>,
    stage: Stage,
    /// Requests begun, or due in an open loop.
    handed_out: u64,
    /// Requests due and not begun, of open connections.
    owed: u64,
    /// Requests begun and not answered, of open connections.
    waiting: u64,
    /// Requests that were due and could not be sent before the end.
    unsent: u64,
    inspected: Index,
    stopped_ns: Option<u64>,
    verified: u64,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Idle,
    /// Closed loop: connections up to this one have begun.
    Starting(Index),
    /// Open loop: the next request is this connection's.
    Scheduled(Schedule, Index),
    /// Connections up to this one have been asked whether they are alive.
    Verifying(Index),
}

#[derive(Debug, Default)]
struct Connection {
    /// Requests that may begin; in a closed loop more than ever will.
    due: u64,
    /// Requests whose first byte was written.
    begun: u64,
    /// Responses that came in full.
    answered: u64,
    /// When there was progress last.
    progress_ns: u64,
    longest_stall_ns: u64,
    /// Bytes of the last request begun that the send buffer has not taken yet.
    left: u32,
    incoming: Incoming,
}

impl Rpc {
    /// A load that has not begun.
    pub fn new(config: Config, exchange: Exchange) -> Rpc {
        let count = config.connections as usize;
        Rpc {
            config,
            exchange,
            connections: (0..count).map(|_| Connection::default()).collect(),
            sent_ns: vec![0; count * config.pipeline as usize],
            stage: Stage::Idle,
            handed_out: 0,
            owed: 0,
            waiting: 0,
            unsent: 0,
            inspected: 0,
            stopped_ns: None,
            verified: 0,
        }
    }

    /// When a connection's request was due to be sent.
    #[inline]
    fn intended_ns(&self, index: Index, number: u64) -> u64 {
        match &self.stage {
            Stage::Scheduled(schedule, _) => {
                schedule.due_ns(number * u64::from(self.config.connections) + u64::from(index))
            }
            _ => self.sent_ns[self.ring(index, number)],
        }
    }

    #[inline]
    fn ring(&self, index: Index, number: u64) -> usize {
        let depth = self.config.pipeline as usize;
        let place = if depth == 1 { 0 } else { (number % depth as u64) as usize };
        index as usize * depth + place
    }

    /// Reads what came, and sends what may be sent.
    #[inline]
    fn serve<T: Transport>(&mut self, context: &mut Context<T>, index: Index) {
        let Some(mut stream) = context.transport.stream(index) else { return };
        let connection = &mut self.connections[index as usize];
        let before = connection.answered;
        let mut trouble = None;
        let mut came = 0;
        let exchange = &mut self.exchange;
        stream.read(|bytes| {
            if trouble.is_none() {
                let number = connection.answered;
                match exchange.take(&mut connection.incoming, index, number, bytes) {
                    Ok(complete) => connection.answered += complete,
                    Err((kind, at)) => trouble = Some((kind, came + at as u64)),
                }
            }
            came += bytes.len() as u64;
        });
        let answered = connection.answered;
        let is_partial = connection.incoming.is_partial();
        if answered + u64::from(is_partial) > connection.begun {
            trouble = trouble.or(Some((Trouble::TooMuch, came)));
        }
        if let Some((kind, at)) = trouble {
            drop(stream);
            connection.answered = before;
            self.lost(&mut context.meter, context.now_ns, index);
            let position = before * u64::from(self.exchange.request_len()) + at;
            context.condemn(index, kind, position);
            return;
        }
        if came > 0 {
            context.heard_ns = context.now_ns;
            context.meter.received(came);
            self.progress(&mut context.meter, context.now_ns, index, before);
        }
        self.send(&mut stream, &mut context.meter, context.now_ns, index);
    }

    /// Bytes came that answered requests from `before` on, or a part of one.
    #[inline]
    fn progress(&mut self, meter: &mut Meter, now_ns: u64, index: Index, before: u64) {
        let expected_ns = self.intended_ns(index, before);
        let answered = self.connections[index as usize].answered;
        for number in before..answered {
            meter.answered(now_ns.saturating_sub(self.intended_ns(index, number)));
        }
        self.waiting -= answered - before;
        let connection = &mut self.connections[index as usize];
        let gap_ns = now_ns.saturating_sub(expected_ns.max(connection.progress_ns));
        connection.longest_stall_ns = connection.longest_stall_ns.max(gap_ns);
        connection.progress_ns = now_ns;
        meter.stalled(gap_ns);
        if let Stage::Verifying(_) = self.stage
            && answered == connection.due
        {
            self.verified += 1;
        }
    }

    /// Writes what is left of a request, and begins the ones that may begin.
    #[inline]
    fn send(&mut self, stream: &mut impl Stream, meter: &mut Meter, now_ns: u64, index: Index) {
        loop {
            let connection = &self.connections[index as usize];
            if connection.left == 0 {
                let on_their_way = connection.begun - connection.answered;
                let may_begin = connection.begun < connection.due
                    && on_their_way < u64::from(self.config.pipeline)
                    && self.may_hand_out();
                if !may_begin {
                    return;
                }
                self.begin_request(now_ns, index);
            }
            let connection = &mut self.connections[index as usize];
            let number = connection.begun - 1;
            let took = self.exchange.write(stream, index, number, connection.left);
            connection.left -= took;
            meter.sent(took.into());
            if connection.left > 0 {
                return;
            }
        }
    }

    fn may_hand_out(&self) -> bool {
        match self.stage {
            Stage::Scheduled(..) => self.stopped_ns.is_none(),
            Stage::Verifying(_) => true,
            Stage::Idle | Stage::Starting(_) => {
                self.stopped_ns.is_none() && self.handed_out < self.limit()
            }
        }
    }

    fn limit(&self) -> u64 {
        self.config.count.unwrap_or(u64::MAX)
    }

    #[inline]
    fn begin_request(&mut self, now_ns: u64, index: Index) {
        let number = self.connections[index as usize].begun;
        match self.stage {
            Stage::Scheduled(..) => self.owed -= 1,
            _ => {
                let place = self.ring(index, number);
                self.sent_ns[place] = now_ns;
                self.handed_out += 1;
            }
        }
        let connection = &mut self.connections[index as usize];
        connection.begun += 1;
        connection.left = self.exchange.request_len();
        self.waiting += 1;
    }

    fn send_on<T: Transport>(&mut self, context: &mut Context<T>, index: Index) {
        if let Some(mut stream) = context.transport.stream(index) {
            self.send(&mut stream, &mut context.meter, context.now_ns, index);
        }
    }

    /// A connection is over, or about to be: nothing of it is waited for any more.
    fn lost(&mut self, meter: &mut Meter, now_ns: u64, index: Index) {
        let connection = &self.connections[index as usize];
        let (begun, answered) = (connection.begun, connection.answered);
        for number in answered..begun {
            meter.unanswered(now_ns.saturating_sub(self.intended_ns(index, number)));
        }
        self.waiting -= begun - answered;
        if let Stage::Scheduled(..) = self.stage {
            self.owed -= connection.due - begun;
        }
        let connection = &mut self.connections[index as usize];
        (connection.due, connection.begun, connection.left) = (answered, answered, 0);
    }

    /// For how long an open connection has been making no progress although it should.
    fn current_stall_ns(&self, now_ns: u64, index: Index) -> u64 {
        let connection = &self.connections[index as usize];
        let is_owed =
            matches!(self.stage, Stage::Scheduled(..)) && connection.due > connection.begun;
        if connection.begun == connection.answered && !is_owed {
            return 0;
        }
        let expected_ns = self.intended_ns(index, connection.answered);
        now_ns.saturating_sub(expected_ns.max(connection.progress_ns))
    }

    fn start_some<T: Transport>(&mut self, context: &mut Context<T>, from: Index) -> u64 {
        let end = from.saturating_add(AT_ONCE).min(self.config.connections);
        self.stage = Stage::Starting(end);
        for index in from..end {
            if context.is_open(index) {
                self.connections[index as usize].due = u64::MAX;
                self.send_on(context, index);
            }
        }
        if end == self.config.connections { u64::MAX } else { context.now_ns }
    }

    fn send_scheduled<T: Transport>(
        &mut self,
        context: &mut Context<T>,
        schedule: Schedule,
        mut index: Index,
    ) -> u64 {
        for _ in 0..AT_ONCE {
            if self.handed_out >= self.limit() || self.stopped_ns.is_some() {
                return u64::MAX;
            }
            let due_ns = schedule.due_ns(self.handed_out);
            if due_ns > context.now_ns {
                return due_ns;
            }
            self.handed_out += 1;
            let next = if index + 1 == self.config.connections { 0 } else { index + 1 };
            self.stage = Stage::Scheduled(schedule, next);
            if context.is_open(index) {
                self.connections[index as usize].due += 1;
                self.owed += 1;
                self.send_on(context, index);
            }
            index = next;
        }
        context.now_ns
    }

    fn verify_some<T: Transport>(&mut self, context: &mut Context<T>, from: Index) -> u64 {
        let mut index = from;
        while index < self.config.connections && self.waiting < VERIFIED_AT_ONCE {
            if context.is_open(index) {
                let connection = &mut self.connections[index as usize];
                connection.due = connection.begun + 1;
                self.send_on(context, index);
            }
            index += 1;
            self.stage = Stage::Verifying(index);
        }
        u64::MAX
    }
}

impl Workload for Rpc {
    fn connections(&self) -> u32 {
        self.config.connections
    }

    fn begin<T: Transport>(&mut self, context: &mut Context<T>) {
        for index in (0..self.config.connections).filter(|index| context.is_open(*index)) {
            self.connections[index as usize].progress_ns = context.now_ns;
        }
        self.stage = match self.config.pace {
            Pace::Closed => Stage::Starting(0),
            Pace::Open(rate) => Stage::Scheduled(Schedule::new(context.now_ns, rate), 0),
            Pace::Silent => Stage::Idle,
        };
    }

    #[inline]
    fn notice<T: Transport>(&mut self, context: &mut Context<T>, notice: Notice) {
        let index = notice.index;
        if notice.events.has(Events::OVER) {
            self.lost(&mut context.meter, context.now_ns, index);
            return;
        }
        if notice.events.has(Events::READABLE.and(Events::WRITABLE)) {
            self.serve(context, index);
        }
        if notice.events.has(Events::PEER_CLOSED) && context.is_open(index) {
            // What came before the FIN counts, if there is still some.
            self.serve(context, index);
            if context.is_open(index) {
                let answered = self.connections[index as usize].answered;
                self.lost(&mut context.meter, context.now_ns, index);
                let position = answered * u64::from(self.exchange.request_len());
                context.condemn(index, Trouble::ClosedEarly, position);
            }
        }
    }

    fn due<T: Transport>(&mut self, context: &mut Context<T>) -> u64 {
        match self.stage {
            Stage::Starting(from) if from < self.config.connections => {
                self.start_some(context, from)
            }
            Stage::Scheduled(schedule, next) => self.send_scheduled(context, schedule, next),
            Stage::Verifying(from) => self.verify_some(context, from),
            Stage::Idle | Stage::Starting(_) => u64::MAX,
        }
    }

    fn inspect<T: Transport>(&mut self, context: &mut Context<T>) {
        for _ in 0..INSPECTED.min(self.config.connections) {
            let index = self.inspected;
            self.inspected = (index + 1) % self.config.connections;
            if context.is_open(index) {
                context.meter.stalled(self.current_stall_ns(context.now_ns, index));
            }
        }
    }

    fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    fn is_complete(&self) -> bool {
        self.handed_out >= self.limit() && self.waiting == 0 && self.owed == 0
    }

    fn stop(&mut self, now_ns: u64) {
        self.stopped_ns = Some(now_ns);
    }

    fn give_up<T: Transport>(&mut self, context: &mut Context<T>) {
        let stopped_ns = self.stopped_ns.unwrap_or(context.now_ns);
        for index in 0..self.config.connections {
            if !context.is_open(index) {
                continue;
            }
            let connection = &self.connections[index as usize];
            let (due, begun, answered) = (connection.due, connection.begun, connection.answered);
            context.tally.add_many(Trouble::Unanswered, begun - answered, None);
            for number in answered..begun {
                let waited_ns = context.now_ns.saturating_sub(self.intended_ns(index, number));
                context.meter.unanswered(waited_ns);
            }
            if let Stage::Scheduled(..) = self.stage {
                for number in begun..due {
                    let waited_ns = stopped_ns.saturating_sub(self.intended_ns(index, number));
                    context.meter.unanswered(waited_ns);
                }
                self.unsent += due - begun;
            }
        }
    }

    fn verify(&mut self) -> bool {
        if self.config.verifies {
            self.stage = Stage::Verifying(0);
        }
        self.config.verifies
    }

    fn verified(&self) -> u64 {
        self.verified
    }

    fn stalls(&self, now_ns: u64, is_open: &dyn Fn(Index) -> bool, tell: &mut dyn FnMut(u64)) {
        for (index, connection) in (0..).zip(&self.connections) {
            let current_ns = if is_open(index) { self.current_stall_ns(now_ns, index) } else { 0 };
            let longest_ns = connection.longest_stall_ns.max(current_ns);
            if longest_ns > 0 {
                tell(longest_ns);
            }
        }
    }

    fn forget_stalls(&mut self) {
        for connection in &mut self.connections {
            connection.longest_stall_ns = 0;
        }
    }

    fn remarks(&self) -> Vec<String> {
        let remark = || {
            format!(
                "the target did not keep up with the rate: {} requests that were due had not been \
                 sent at the end; they count in the latencies with the time until then",
                self.unsent
            )
        };
        (self.unsent > 0).then(remark).into_iter().collect()
    }
}
