//! The poll loop of a core.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::channel::Receiver;
use replication::{
    Directive, Gate, GateMode, Link, MAX_PEERS, Mark, Numbers, Path, Protection, Report, Role,
    Transfer, confirmed_by_all,
};

use crate::admission::Admission;
use crate::announce::Announcer;
use crate::backup::{self, Fault};
use crate::board::{Board, Standing, earliest};
use crate::channel::Channel;
use crate::clock::{Clock, NS_PER_US};
use crate::config::NodeConfig;
use crate::counters::Counters;
use crate::duty::Duty;
use crate::egress::Held;
use crate::events::{Event, Events};
use crate::handover::Handover;
use crate::idle::{Idler, Load};
use crate::ingress::Local;
use crate::kept::{Flooding, Kept};
use crate::latency::Recorder;
use crate::limit::RateLimit;
use crate::links::{LinkEnd, Links};
use crate::logs::Logs;
use crate::majority::Milestones;
use crate::nic::{BURST, Nic};
use crate::port::{Destination, Port};
use crate::query::Query;
use crate::shards::{Placement, Shards};
use crate::solicit::Solicitor;
use crate::spread::Spread;
use crate::steward::Steward;
use crate::takeover::Kicks;

/// Loops between two looks at the queries, and at what else has time.
const QUERY_LOOPS: u64 = 64;
/// Bursts that are heard before the first decision after a stall: more than a card's ring holds.
const CATCH_UP_BURSTS: usize = 256;

/// One core's worker: its share of all ports, its shards, its sessions, its gate.
pub struct Worker<N: Nic, S: Steward> {
    pub(crate) index: u16,
    pub(crate) node: Arc<NodeConfig>,
    /// The lead has it: worker 0.
    pub(crate) steward: Option<S>,
    pub(crate) board: Arc<Board>,
    pub(crate) lan: Port<N>,
    pub(crate) links: Links<N>,
    pub(crate) lan_local: Local,
    pub(crate) spread: Spread<N::Frame>,

    pub(crate) directive: Directive,
    pub(crate) duty: Duty,
    pub(crate) shards: Shards<N::Frame>,
    /// Shards made ahead, for the first role: making them takes longer than a peer may wait.
    pub(crate) made_ahead: Option<(Placement, Shards<N::Frame>)>,
    pub(crate) channels: Vec<Channel>,
    /// Those of logs that are over: their memory serves for the next.
    pub(crate) idle_channels: Vec<Channel>,
    /// How the log is protected on the link.
    pub(crate) protection: Protection,
    /// Of every datagram that leaves on a session channel in this run.
    numbers: Numbers,
    pub(crate) gate: Gate<Held<N::Frame>>,
    /// Set when the log could not be applied; final for this role.
    pub(crate) fault: Option<Fault>,
    /// Shard time is the log's, not the local clock's.
    pub(crate) follows_a_log: bool,
    /// Shards on their way to this node.
    pub(crate) admission: Admission,
    /// Shards on their way from this node.
    pub(crate) handover: Option<Handover>,
    /// The longest loop in which a shard was saved.
    pub(crate) handover_pause_ns: u64,
    /// The logs that the session channels were opened for.
    pub(crate) logs: Logs,
    /// As a sealed backup: the exchanges that session channels were opened for.
    pub(crate) tails: Logs,
    /// Of this loop, if it logs anything.
    pub(crate) mark: Mark,
    pub(crate) milestones: Milestones,
    pub(crate) kicks: Kicks,
    /// A shard waits for room in the gate or in the log, or for another node to serve.
    pub(crate) blocked: bool,
    /// Keeps segments for the node that serves next.
    pub(crate) detains: bool,
    /// Other workers have handed over more than this loop took.
    pub(crate) parcels_left: bool,
    /// All workers were quiet when the lead looked last.
    was_quiet: bool,

    /// This loop knows that its directive is no older than its last stall.
    pub(crate) trusted: bool,
    distrust_since_us: Option<u64>,
    last_loop_us: Option<u64>,
    pub(crate) lan_polled_us: u64,
    pub(crate) link_idle: bool,

    /// What clients send while this node does not serve, where it hears them.
    pub(crate) kept: Kept<N::Frame>,
    pub(crate) flooding: Flooding,

    pub(crate) announcer: Option<Announcer>,
    /// The lead's, while it asks neighbours on the service LAN.
    pub(crate) solicitor: Option<Solicitor>,
    /// No switch has heard yet which groups this node is in.
    unreported: bool,
    pub(crate) claimed_us: Option<u64>,
    pub(crate) serving_since_us: Option<u64>,
    pub(crate) first_packet_us: Option<u64>,
    pub(crate) echo_limit: RateLimit,
    pub(crate) reset_limit: RateLimit,
    pub(crate) icmp_limit: RateLimit,

    pub(crate) counters: Counters,
    pub(crate) recorder: Recorder,
    pub(crate) events: Events,
    pub(crate) queries: Receiver<Query>,
    idler: Idler,
}

/// What a loop found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// There was something to do.
    pub busy: bool,
    /// The service exchanged a few frames, more than one question's and its answer's, and nothing
    /// waits: a later poll may find more of them.
    pub few_frames: bool,
    /// When there will be at the latest, as far as this worker knows, in microseconds.
    pub deadline_us: Option<u64>,
    /// When the loop last looked at the clock, in microseconds.
    pub ended_us: u64,
}

impl Turn {
    fn load(&self) -> Load {
        match (self.busy, self.few_frames) {
            (false, _) => Load::Nothing,
            (true, true) => Load::Few,
            (true, false) => Load::Urgent,
        }
    }
}

/// What a new worker is made of; the crew puts it together.
pub(crate) struct Parts<N: Nic, S> {
    pub index: u16,
    pub node: Arc<NodeConfig>,
    pub steward: Option<S>,
    pub board: Arc<Board>,
    pub lan: Port<N>,
    pub links: Links<N>,
    pub lan_local: Local,
    pub spread: Spread<N::Frame>,
    pub events: Events,
    pub queries: Receiver<Query>,
}

impl<N: Nic, S: Steward> Worker<N, S> {
    pub(crate) fn new(parts: Parts<N, S>) -> Worker<N, S> {
        let placement = Placement::own(parts.board.workers());
        let made_ahead =
            Shards::fresh(parts.index, placement, &parts.node.shard, &parts.node.content);
        let (idle, gate) = (parts.node.idle, parts.node.gate_packets());
        let protection = parts.node.protection.clone();
        let commit = parts.node.commit.rule;
        let keep = parts.node.ingress.keep();
        let shards = parts.node.shard.shards;
        let by_majority = parts.node.waits_for_majority();
        Worker {
            index: parts.index,
            node: parts.node,
            steward: parts.steward,
            board: parts.board,
            lan: parts.lan,
            links: parts.links,
            lan_local: parts.lan_local,
            spread: parts.spread,
            directive: Directive::SPARE,
            duty: Duty::Spare,
            shards: Shards::none(shards),
            made_ahead: Some((placement, made_ahead)),
            channels: Vec::new(),
            idle_channels: Vec::new(),
            protection,
            numbers: Numbers::default(),
            gate: Gate::new(gate, commit),
            fault: None,
            follows_a_log: false,
            logs: Logs::default(),
            tails: Logs::default(),
            mark: Mark::START.next(),
            milestones: Milestones::new(by_majority),
            admission: Admission::default(),
            handover: None,
            handover_pause_ns: 0,
            kicks: Kicks::default(),
            blocked: false,
            detains: false,
            parcels_left: false,
            was_quiet: false,
            trusted: false,
            distrust_since_us: None,
            last_loop_us: None,
            lan_polled_us: 0,
            link_idle: true,
            kept: Kept::new(keep),
            flooding: Flooding::default(),
            announcer: None,
            solicitor: None,
            unreported: parts.index == 0,
            claimed_us: None,
            serving_since_us: None,
            first_packet_us: None,
            echo_limit: RateLimit::per_second(ECHO_REPLIES_PER_SECOND),
            reset_limit: RateLimit::per_second(RESETS_PER_SECOND),
            icmp_limit: RateLimit::per_second(ICMP_ERRORS_PER_SECOND),
            counters: Counters::default(),
            recorder: Recorder::new(),
            events: parts.events,
            queries: parts.queries,
            idler: Idler::new(idle),
        }
    }

    /// Polls until `stop` says so.
    pub fn run<C: Clock>(&mut self, clock: &mut C, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let turn = self.run_once(clock);
            self.idler.decide(turn.load(), turn.ended_us, turn.deadline_us).take();
        }
    }

    /// One loop. The clock is read at its start, and again before anything leaves: whoever was
    /// put to sleep in between must not speak before it has listened. A third reading ends a loop
    /// that had something to do, and tells how long it took.
    pub fn run_once<C: Clock>(&mut self, clock: &mut C) -> Turn {
        let now_ns = clock.now_ns();
        let now_us = now_ns / NS_PER_US;
        self.recorder.begin(now_ns);
        let lan_before = self.counters.lan_frames();
        let gap_us = self.look_back(now_us);
        let mut busy = self.receive(now_us);
        if !self.trusted {
            self.catch_up(now_us);
        }
        self.consult(now_us, gap_us);
        busy |= self.work(now_us);
        self.send_log(now_us);
        let mut ended_ns = clock.now_ns();
        self.note_log(ended_ns);
        let late_us = (ended_ns / NS_PER_US).saturating_sub(now_us);
        let in_time = late_us <= self.node.detection_timeout_us;
        let left = if in_time { self.transmit(clock, now_us) } else { 0 };
        if busy || left > 0 {
            ended_ns = clock.now_ns();
            self.recorder.end(ended_ns, left, !self.lan.has_backlog());
        }
        self.note_handover(ended_ns - now_ns);
        self.tell_board();
        self.counters.loops += 1;
        if self.counters.loops.is_multiple_of(QUERY_LOOPS) {
            self.answer_queries(now_us);
            self.learn_ways(now_us);
        }
        if busy {
            self.counters.busy_loops += 1;
        }
        let backlog = self.lan.has_backlog() || self.links.iter().any(|end| end.port.has_backlog());
        Turn {
            busy: busy || backlog,
            // What the pair's link carries is waited for.
            few_frames: !backlog && self.channels.is_empty() && self.passed_few(lan_before),
            deadline_us: self.next_deadline_us(now_us),
            ended_us: ended_ns / NS_PER_US,
        }
    }

    /// Whether a few frames passed the LAN port since it had passed `before`. One frame and its
    /// answer are not a few: somebody may wait for the next.
    fn passed_few(&self, before: u64) -> bool {
        (3..BURST as u64).contains(&(self.counters.lan_frames() - before))
    }

    /// How long this loop stood still. After a long gap nothing that was prepared for the service
    /// may leave, and no directive from before the gap counts.
    fn look_back(&mut self, now_us: u64) -> u64 {
        let gap_us = self.last_loop_us.map_or(0, |last| now_us.saturating_sub(last));
        self.last_loop_us = Some(now_us);
        self.board.tick(self.index, now_us);
        if gap_us > self.node.detection_timeout_us {
            self.counters.stalls += 1;
            self.board.stalled(self.index, gap_us);
            self.trusted = false;
            self.distrust_since_us = Some(now_us);
            self.lan.forget_frames_of(&self.lan_local.vips);
            self.events.tell(now_us, Event::Stalled { for_us: gap_us });
        }
        gap_us
    }

    /// What came while this loop stood still is heard before anything is decided: the peer's last
    /// word is behind its older ones.
    fn catch_up(&mut self, now_us: u64) {
        for _ in 0..CATCH_UP_BURSTS {
            if !self.receive(now_us) {
                return;
            }
        }
    }

    /// Hears what the node is from now on: the lead from the steward, the others from the lead.
    fn consult(&mut self, now_us: u64, gap_us: u64) {
        let directive = if self.steward.is_some() {
            self.ask_steward(now_us, gap_us)
        } else {
            self.read_board(now_us)
        };
        if let Some(directive) = directive {
            self.obey(now_us, directive);
        }
    }

    fn ask_steward(&mut self, now_us: u64, gap_us: u64) -> Option<Directive> {
        self.watch_flooding(now_us);
        let (standing, stalled_us) = self.board.survey(now_us);
        // Twice: what followers had handed to the lead to be sent has left since the first time.
        let quiet = standing.quiet != 0 && standing.quiet == self.directive.quiesce;
        let was_quiet = std::mem::replace(&mut self.was_quiet, quiet);
        let report = Report {
            stalled_for_us: gap_us.max(stalled_us),
            unconfirmed_since_us: standing.unconfirmed_since_us,
            session_open: standing.session_open,
            digest_mismatch: standing.mismatch,
            refused_log: standing.refused_log,
            log_applied: standing.log_applied,
            transfer: self.transfer(&standing),
            quiet: quiet && was_quiet,
            parted: standing.parted,
            gathered: standing.gathered,
            serving_since_us: self.claimed_us,
            first_packet_us: standing.first_packet_us,
            last_kick_us: standing.last_kick_us,
            lan: self.solicitor.as_ref().map(Solicitor::report),
        };
        let Worker { steward, lan, links, counters, node, .. } = self;
        let directive = steward.as_mut()?.poll(now_us, &report, &mut |path, peer, datagram| {
            let port = match path {
                Path::Lan => &mut *lan,
                Path::Link(link) => &mut links[link.place()].port,
            };
            let to = Destination { peer, port: node.control_port };
            port.send_datagram(now_us, to, datagram, counters);
        });
        self.board.publish(now_us, &directive, directive != self.directive);
        self.trusted = true;
        self.distrust_since_us = None;
        Some(directive)
    }

    /// What all workers together say of a handover.
    fn transfer(&self, standing: &Standing) -> Transfer {
        let restored = standing.held == self.node.shard.shards;
        match self.directive.role {
            Role::Primary(_) if standing.handover_failed => Transfer::Failed,
            Role::Joining if standing.refused_log || standing.mismatch.is_some() => {
                Transfer::Failed
            }
            Role::Primary(GateMode::Confirmed) if standing.settled => Transfer::Settled,
            Role::Primary(_) if standing.handed_over => Transfer::Complete,
            Role::Joining if restored => Transfer::Complete,
            _ => Transfer::Incomplete,
        }
    }

    fn read_board(&mut self, now_us: u64) -> Option<Directive> {
        let (given_us, directive) = self.board.read()?;
        let heeded = self.distrust_since_us.is_none_or(|since| given_us >= since);
        if heeded {
            self.distrust_since_us = None;
        }
        // A lead that stands still can't know whether this node is still the primary.
        let late_us = now_us.saturating_sub(given_us);
        self.trusted = heeded && late_us <= self.node.detection_timeout_us;
        Some(directive)
    }

    /// Whether this worker speaks for the service at this moment.
    pub(crate) fn serving(&self) -> bool {
        self.duty == Duty::Serving && self.trusted && !self.directive.silent
    }

    /// Whether this worker suspects that its node is not what it was: after a stall it says nothing
    /// on the service LAN, but to its peers, which alone can tell.
    pub(crate) fn is_silent(&self) -> bool {
        self.directive.silent || !self.trusted
    }

    fn work(&mut self, now_us: u64) -> bool {
        match self.duty {
            Duty::Spare => false,
            Duty::Joining => {
                self.send_log(now_us);
                self.admit(now_us)
            }
            // Confirmations first: what is held need not be applied to be safe.
            Duty::Following => {
                self.send_log(now_us);
                let applied = self.apply(now_us, backup::RECORDS_PER_LOOP);
                self.give_tails();
                applied > 0
            }
            Duty::Applying { .. } | Duty::Ready => {
                self.take_over(now_us);
                if self.serving() {
                    self.serve(now_us);
                }
                true
            }
            Duty::Serving => self.serving() && self.serve(now_us),
        }
    }

    /// Hands batches, retransmissions and confirmations to their links' ports, and lets them go.
    fn send_log(&mut self, now_us: u64) {
        let Worker { channels, numbers, links, counters, node, link_idle, spread, .. } = self;
        for Channel { peer, number, link, session, log, .. } in channels.iter_mut() {
            let link = &mut links[link.place()].port;
            let port = node.control_port.wrapping_add(1).wrapping_add(*number);
            let to = Destination { peer: *peer, port };
            session.poll_transmit(now_us, *link_idle, log, numbers, &mut |sending| {
                link.room() > CONTROL_FRAMES && link.send_sealed(now_us, to, sending, counters)
            });
        }
        for LinkEnd { port, .. } in links {
            port.poll_neighbours(now_us, false, counters);
            port.flush(spread);
        }
    }

    /// Takes down what is confirmed, and tells the recorder what the logs and the shards got, at
    /// `now_ns`.
    fn note_log(&mut self, now_ns: u64) {
        for Channel { session, ledger, .. } in &mut self.channels {
            ledger.confirm(session.confirmed());
        }
        // While none counts, the one by which the state is handed over.
        let open = self.gate.mode() == GateMode::Open;
        let timed = || self.channels.iter().filter(|channel| channel.counts || open);
        let logged = timed().map(|channel| channel.ledger.last_closed()).min();
        let confirmed = confirmed_by_all(timed().map(|channel| &channel.ledger));
        let segments = self.counters.segments + self.counters.segments_applied;
        self.recorder.ready(now_ns, segments, logged.unwrap_or(Mark::START));
        self.recorder.confirmed(confirmed);
    }

    /// Lets go what may, and says how many frames the LAN's card took.
    fn transmit<C: Clock>(&mut self, clock: &mut C, now_us: u64) -> usize {
        let silent = self.is_silent();
        self.lan.poll_neighbours(now_us, silent, &mut self.counters);
        if std::mem::take(&mut self.unreported) {
            for link in Link::ALL.into_iter().take(self.links.len()) {
                self.report_groups(Path::Link(link));
            }
            self.report_groups(Path::Lan);
        }
        self.solicit(now_us);
        if self.serving() {
            self.announce(now_us);
            self.release(now_us);
        }
        let since_us = self.serving_since_us.filter(|_| self.first_packet_us.is_none());
        let first = since_us.filter(|_| self.lan.holds_packet_of(&self.lan_local.vips));
        let waiting = self.lan.waiting();
        self.lan.flush(&mut self.spread);
        if let Some(since_us) = first {
            let at_us = clock.now_us();
            self.first_packet_us = Some(at_us);
            let after_us = at_us.saturating_sub(since_us);
            self.events.tell(at_us, Event::FirstPacket { after_us });
        }
        self.note_last_kick(clock);
        waiting - self.lan.waiting()
    }

    fn tell_board(&mut self) {
        let open = self.channels.iter().all(|channel| channel.session.is_open());
        let held = if self.admission.is_idle() { self.shards.slots.len() } else { 0 };
        let refused = matches!(self.fault, Some(Fault::Refused { .. }))
            || self.channels.iter().any(|channel| channel.session.refused_log());
        let joiner = self.joiner();
        let settled = joiner.is_some_and(|(to, channel)| {
            let held = |mark| mark <= channel.ledger.confirmed() && self.all_have_come_to(mark);
            to.settles_at().is_some_and(held)
        });
        let handed_over =
            joiner.is_some_and(|(to, channel)| to.is_complete(channel.session.confirmed()));
        let standing = Standing {
            unconfirmed_since_us: self.unconfirmed_since_us(),
            first_packet_us: self.first_packet_us,
            last_kick_us: self.kicks.last_us,
            session_open: match self.duty {
                Duty::Joining | Duty::Following => open && self.fault.is_none(),
                Duty::Serving => open,
                Duty::Spare | Duty::Applying { .. } | Duty::Ready => false,
            },
            held: u16::try_from(held).unwrap_or(u16::MAX),
            handed_over,
            settled: handed_over && settled,
            quiet: self.quiet(),
            parted: self.parted(),
            gathered: self.gathered(),
            handover_failed: self.handover.as_ref().is_some_and(Handover::has_failed),
            refused_log: refused,
            log_applied: self.log_is_applied(),
            mismatch: match self.fault {
                Some(Fault::Mismatch(mismatch)) => Some(mismatch),
                _ => None,
            },
        };
        self.board.stand(self.index, &standing);
    }

    /// Since when each of the other nodes keeps this one waiting.
    fn unconfirmed_since_us(&self) -> [Option<u64>; MAX_PEERS] {
        let mut since_us = [None; MAX_PEERS];
        let outgoing = self.channels.iter().filter(|_| self.duty == Duty::Serving);
        for Channel { peer, session, .. } in outgoing {
            since_us[peer.place()] = session.unconfirmed_since_us();
        }
        since_us
    }

    fn next_deadline_us(&self, now_us: u64) -> Option<u64> {
        // The peer's confirmation is worth waiting for: it comes sooner than any sleep ends.
        if self.blocked || !self.gate.is_empty() {
            return Some(now_us);
        }
        let shards = self.shards.next_deadline_us().filter(|_| self.serving());
        let sessions = self.channels.iter().map(|channel| channel.session.next_deadline_us());
        let links = self.links.iter().map(|end| end.port.neighbours.next_deadline_us());
        let others = [
            shards,
            self.steward.as_ref().and_then(Steward::next_deadline_us),
            self.lan.neighbours.next_deadline_us(),
            self.announcer.map(|announcer| announcer.next_deadline_us()),
            self.solicitor.as_ref().map(Solicitor::next_deadline_us),
        ];
        sessions.chain(links).chain(others).fold(None, earliest)
    }
}

/// Frames of a link's queue that the log leaves to heartbeats: they tell that the link lives.
const CONTROL_FRAMES: usize = 16;
/// Echo replies of a worker: enough for any monitoring, too few to be of use to a flood.
const ECHO_REPLIES_PER_SECOND: u32 = 50_000;
/// Stateless resets of a worker.
const RESETS_PER_SECOND: u32 = 10_000;
/// ICMP errors that a worker's shards are given: all their connections may meet a narrower path at
/// once, but who guesses numbers in flight must not fill the log.
const ICMP_ERRORS_PER_SECOND: u32 = 1_000;

impl<N: Nic, S: Steward> std::fmt::Debug for Worker<N, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("index", &self.index)
            .field("duty", &self.duty)
            .field("directive", &self.directive)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
