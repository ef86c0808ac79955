//! A world: nodes, clients and wires under one clock, and what is watched over in it.

mod faults;
mod holdings;
mod register;
mod roles;
mod sweep;

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};

use replication::{GateMode, Role};

use crate::check::Checker;
use crate::check::clients::Clients;
use crate::check::connection::Speaker;
use crate::check::states::States;
use crate::coverage::Coverage;
use crate::host::Host;
use crate::host::work::End;
use crate::net::{Frame, Network, Place, Way};
use crate::node::{Outcome, Run};
use crate::panics;
use crate::plan::mistakes::Mistake;
use crate::plan::{Plan, features};
use crate::random::Random;
use crate::time::{DriftingClock, MS, S};
use crate::trace::Trace;
use faults::Mend;
use holdings::Seen;
pub use holdings::expect;
use register::Register;

/// A pair forms within this time.
const FORMING_NS: u64 = 3 * S;
/// Two primaries that can hear each other part within this time: heartbeat, delivery, a loop.
const OVERLAP_NS: u64 = 40 * MS;
/// Once nothing fails any more, something goes forward within this time: the longest timeout of a
/// client, twice.
const PATIENCE_NS: u64 = 130 * S;
/// The same where long segments vanish without a word: it takes four such timeouts to learn that,
/// and one more to get through.
const BLACK_HOLE_PATIENCE_NS: u64 = 330 * S;
/// Who takes longer than this, and goes forward all the time, is left alone: a client that takes
/// each loss for a reason to wait a minute.
const LIFE_NS: u64 = 1200 * S;
/// After this nothing of a connection is left: lifetimes, FIN-WAIT-2, keepalives, and all timeouts
/// of a segment that nobody acknowledges.
const SWEPT_NS: u64 = 600 * S;
/// Time between two looks at whether it is.
const LOOK_NS: u64 = 500 * MS;
/// Silence in both directions after which both nodes are right to believe the other dead: the
/// detection timeout, less the heartbeats that were the last.
const DARK_NS: u64 = 35 * MS;
/// Turns of a node in a row at one moment: more is a node that never comes to rest.
const RUNAWAY_TURNS: u64 = 20_000_000;

/// Why a world failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When, from the start of the world.
    pub at_ns: u64,
    /// What is wrong.
    pub what: String,
}

/// How a world ended.
#[derive(Debug)]
pub struct Report {
    /// What is wrong with it, if anything.
    pub failure: Option<Failure>,
    /// What it has seen.
    pub coverage: Coverage,
    /// Its story.
    pub trace: Trace,
    /// Simulated time, summed over its connections.
    pub connection_ns: u64,
}

/// One node's machine.
struct Node {
    run: Option<Run>,
    /// Started so often.
    runs: u64,
    /// The card forgets what it has not sent when the fuse has burnt down.
    card_dies: bool,
    mends: VecDeque<(u64, Mend)>,
    /// It runs with this.
    mistake: Option<Mistake>,
    seen: Seen,
}

/// A world.
pub struct World {
    plan: Plan,
    now_ns: u64,
    nodes: Vec<Node>,
    hosts: Vec<Host>,
    host_due_ns: Vec<u64>,
    /// Hosts that are no more.
    gone: Vec<bool>,
    client_states: Vec<States<u16>>,
    network: Network,
    register: Register,
    random: Random,
    coverage: Coverage,
    trace: Trace,
    checker: Checker,
    clients: Clients,
    /// Weather that ends: when, and of which line.
    clearing: Vec<(u64, (Place, Way))>,
    formed_ns: Option<u64>,
    /// Nobody holds the state any more, or two may: nothing is promised from then on.
    void: Option<&'static str>,
    divergence_seen: bool,
    overlap_since_ns: Option<u64>,
    turns: u64,
}

type Verdict = Result<(), String>;

impl World {
    /// A world at its beginning.
    #[must_use]
    pub fn new(plan: Plan, keep_story: bool) -> World {
        let seed = plan.seed;
        let hosts: Vec<Host> = plan
            .hosts
            .iter()
            .enumerate()
            .map(|(index, host)| {
                Host::new(index, Random::new(seed, 100 + index as u64).bits(), host)
            })
            .collect();
        let node = || Node {
            run: None,
            runs: 0,
            card_dies: false,
            mends: VecDeque::new(),
            mistake: None,
            seen: Seen::default(),
        };
        World {
            now_ns: 0,
            nodes: plan.machines.iter().map(|_| node()).collect(),
            host_due_ns: vec![0; hosts.len()],
            gone: vec![false; hosts.len()],
            client_states: vec![States::default(); hosts.len()],
            hosts,
            network: Network::new(seed, &plan.lines),
            register: Register::new(plan.register, plan.machines.len(), Random::new(seed, 10)),
            random: Random::new(seed, 5),
            coverage: Coverage::default(),
            trace: Trace::new(keep_story),
            checker: Checker::new(plan.is_stateless(), plan.early_ports().collect()),
            clients: Clients::default(),
            clearing: Vec::new(),
            formed_ns: None,
            void: None,
            divergence_seen: false,
            overlap_since_ns: None,
            turns: 0,
            plan,
        }
    }

    /// Runs it to its end.
    #[must_use]
    pub fn run(mut self) -> Report {
        let lived = panic::catch_unwind(AssertUnwindSafe(|| self.live()));
        let verdict = lived.unwrap_or_else(|_| Err(panics::last()));
        let failure = verdict.err().map(|what| Failure { at_ns: self.now_ns, what });
        if let Some(failure) = &failure {
            self.trace.note(self.now_ns, format_args!("FAILED: {}", failure.what));
        }
        self.checker.count_states(&mut self.coverage);
        features(&self.plan).iter().for_each(|what| self.coverage.count("worlds with", what));
        self.coverage.count(
            "worlds",
            match (&failure, self.void) {
                (Some(_), _) => "failed",
                (None, Some(why)) => why,
                (None, None) => "kept every promise",
            },
        );
        let jobs: usize = self.plan.hosts.iter().map(|host| host.jobs.len()).sum();
        Report {
            failure,
            coverage: self.coverage,
            trace: self.trace,
            connection_ns: self.now_ns * jobs as u64,
        }
    }

    fn live(&mut self) -> Verdict {
        self.form()?;
        let begin_ns = self.now_ns;
        let mut faults: VecDeque<_> = std::mem::take(&mut self.plan.faults).into();
        let mut jobs: Vec<(u64, usize, usize)> = Vec::new();
        for (index, host) in self.plan.hosts.iter().enumerate() {
            let starts = host.jobs.iter().enumerate();
            jobs.extend(starts.map(|(number, job)| (begin_ns + job.start_ns, index, number)));
        }
        jobs.sort_unstable();
        let mut jobs: VecDeque<_> = jobs.into();
        let calm_ns = begin_ns + self.plan.calm_ns;
        let patience_ns =
            if self.plan.has_black_holes() { BLACK_HOLE_PATIENCE_NS } else { PATIENCE_NS };
        let mut calm = false;
        loop {
            while let Some(timed) = faults.front().filter(|t| begin_ns + t.at_ns <= self.now_ns) {
                let fault = timed.fault.clone();
                faults.pop_front();
                self.inflict(&fault);
            }
            while let Some((_, host, number)) = jobs.front().copied().filter(|j| j.0 <= self.now_ns)
            {
                jobs.pop_front();
                let job = self.plan.hosts[host].jobs[number].clone();
                self.hosts[host].start(self.now_ns, job);
                self.host_due_ns[host] = self.now_ns;
            }
            if !calm && self.now_ns >= calm_ns && faults.is_empty() {
                calm = true;
                self.calm_down();
            }
            if calm && jobs.is_empty() && self.jobs_are_done()? {
                break;
            }
            if self.void.is_some() && calm && self.now_ns > calm_ns + S {
                return Ok(());
            }
            if self.now_ns > calm_ns + LIFE_NS {
                self.coverage.count("worlds", "too slow to wait for");
                return Ok(());
            }
            if self.now_ns > self.progress_ns().max(calm_ns) + patience_ns {
                return Err(format!("no progress:\n{}", self.describe_open_jobs()));
            }
            let next = [
                faults.front().map(|timed| begin_ns + timed.at_ns),
                jobs.front().map(|job| job.0),
                (self.now_ns < calm_ns).then_some(calm_ns),
                Some(self.now_ns + S),
            ];
            self.step(next.into_iter().flatten().min().unwrap_or(u64::MAX))?;
        }
        if self.void.is_some() {
            return Ok(());
        }
        self.sweep()
    }

    /// Starts the nodes, and lets them become a cluster.
    fn form(&mut self) -> Verdict {
        let mut starts: Vec<(u64, usize)> =
            self.plan.machines.iter().map(|machine| (machine.start_ns, machine.index)).collect();
        starts.sort_unstable();
        for (at_ns, index) in starts {
            self.run_until(at_ns)?;
            self.start_node(index, None);
        }
        let is_formed = |world: &World| {
            let roles = || world.nodes.iter().filter_map(|node| node.run.as_ref());
            let count = |wanted| roles().filter(|run| run.directive().role == wanted).count();
            let serves = count(Role::Primary(GateMode::Confirmed)) == 1;
            serves && count(Role::Backup) == world.nodes.len() - 1
        };
        while !is_formed(self) {
            if self.now_ns > FORMING_NS {
                return Err("the nodes do not become a cluster".to_owned());
            }
            self.step(FORMING_NS + 1)?;
        }
        self.run_until(self.now_ns + 20 * MS)?;
        self.formed_ns = Some(self.now_ns);
        self.trace.note(self.now_ns, "the pair has formed");
        Ok(())
    }

    fn start_node(&mut self, index: usize, mistake: Option<Mistake>) {
        let machine = &self.plan.machines[index];
        let node = &mut self.nodes[index];
        node.runs += 1;
        // Each boot of a machine begins its clock anew.
        let clock_ns = machine.clock_ns + node.runs * 7 * S;
        let clock = DriftingClock::new(self.now_ns, clock_ns, machine.drift_ppm);
        let run = 1 + index as u64 + self.plan.machines.len() as u64 * node.runs;
        let register = self.register.start(self.now_ns, index);
        node.run = Some(Run::start(self.now_ns, machine, register, clock, run, mistake));
        node.mistake = mistake;
        node.mends.clear();
        node.seen = Seen::default();
        self.trace.note(self.now_ns, format_args!("node {index} starts, run {run}"));
        if let Some(mistake) = mistake {
            self.trace.note(self.now_ns, format_args!("node {index} is told wrong: {mistake:?}"));
        }
    }

    fn run_until(&mut self, at_ns: u64) -> Verdict {
        while self.now_ns < at_ns {
            self.step(at_ns)?;
        }
        Ok(())
    }

    /// Everything that happens at this moment; then time goes on to the next one, `limit_ns` at the
    /// latest.
    fn step(&mut self, limit_ns: u64) -> Verdict {
        self.mend();
        self.register.work(self.now_ns);
        self.deliver();
        for index in 0..self.nodes.len() {
            let due = |run: &Run| run.next_ns() <= self.now_ns;
            if self.nodes[index].run.as_ref().is_some_and(due) {
                self.turn(index)?;
            }
        }
        for index in 0..self.hosts.len() {
            if self.host_due_ns[index] <= self.now_ns {
                self.poll_host(index)?;
            }
        }
        self.watch_roles()?;
        let runs = self.nodes.iter().filter_map(|node| node.run.as_ref());
        let next = runs
            .map(Run::next_ns)
            .chain(self.host_due_ns.iter().copied())
            .chain(self.network.next_ns())
            .chain(self.register.next_ns())
            .chain(self.clearing.iter().map(|(at_ns, _)| *at_ns))
            .chain(self.nodes.iter().filter_map(|node| Some(node.mends.front()?.0)))
            .min();
        self.now_ns = next.unwrap_or(u64::MAX).min(limit_ns).max(self.now_ns + 1);
        Ok(())
    }

    fn deliver(&mut self) {
        while let Some((place, frame)) = self.network.arrived(self.now_ns, &mut self.coverage) {
            let fate = match place {
                Place::Host(host) if self.gone[host] => "  (gone)",
                Place::Host(host) => {
                    if self.hosts[host].is_own() {
                        self.clients.received(self.now_ns, &frame);
                    }
                    self.hosts[host].deliver(frame.bytes.clone());
                    self.host_due_ns[host] = self.now_ns;
                    ""
                }
                Place::Lan(index) | Place::Link(index) | Place::SecondLink(index) => {
                    self.deliver_to_node(place, index, &frame)
                }
            };
            let fate = if frame.damaged { "  (damaged)" } else { fate };
            self.trace.frame(self.now_ns, place, Way::In, &frame.bytes, fate);
        }
    }

    fn deliver_to_node(&mut self, place: Place, index: usize, frame: &Frame) -> &'static str {
        let Some(run) = &self.nodes[index].run else { return "  (dead)" };
        // A frozen node's cards go on filling their rings.
        let card = match place.on_link() {
            Some((link, _)) => &run.links[link.place()],
            None => &run.lan,
        };
        if !card.deliver(frame) {
            self.coverage.count("frames", "no room in a card's ring");
            return "  (no room)";
        }
        if matches!(place, Place::Lan(_)) {
            let speaker = Speaker { epoch: run.directive().epoch.0, run: run.incarnation.0 };
            self.checker.node_received(self.now_ns, frame, speaker, run.heeds_routers());
        }
        ""
    }

    fn poll_host(&mut self, index: usize) -> Verdict {
        if self.gone[index] {
            self.host_due_ns[index] = u64::MAX;
            return Ok(());
        }
        let host = &mut self.hosts[index];
        for frame in host.poll(self.now_ns) {
            let place = Place::Host(index);
            self.trace.frame(self.now_ns, place, Way::Out, &frame, "");
            if host.is_own() {
                let spoke = self.clients.sent(self.now_ns, &frame);
                spoke.map_err(|wrong| format!("client {index}: {wrong}"))?;
            }
            self.network.send(self.now_ns, place, Frame::new(frame), &mut self.coverage);
        }
        let kind = match host {
            Host::Foreign(_) => "transitions on a client with smoltcp",
            Host::Own(_) => "transitions on a client with our engine",
        };
        let states = host.states().into_iter();
        self.client_states[index].look(kind, "CLOSED", states, &mut self.coverage);
        let next_ns = host.next_ns(self.now_ns).unwrap_or(u64::MAX);
        self.host_due_ns[index] = next_ns.max(self.now_ns + 1);
        for job in host.jobs() {
            if let Some(End::Wrong(what)) = &job.end {
                return Err(format!("client {index}: {what}: {job:?}"));
            }
        }
        Ok(())
    }

    fn turn(&mut self, index: usize) -> Verdict {
        self.turns += 1;
        if self.turns > RUNAWAY_TURNS {
            return Err(format!("node {index} never comes to rest"));
        }
        let Some(run) = &mut self.nodes[index].run else { return Ok(()) };
        let outcome = run.turn(self.now_ns, index);
        self.note_states(index);
        self.take_outcome(index, outcome)
    }

    fn take_outcome(&mut self, index: usize, outcome: Outcome) -> Verdict {
        let Some(run) = &self.nodes[index].run else { return Ok(()) };
        let (directive, number) = (run.directive(), run.incarnation.0);
        let mtu = self.plan.machines[index].mtu;
        let mut verdict = Ok(());
        for (at_ns, place, bytes) in outcome.sent {
            self.trace.frame(at_ns, place, Way::Out, &bytes, "");
            if matches!(place, Place::Lan(_)) && verdict.is_ok() && self.void.is_none() {
                let (checker, coverage) = (&mut self.checker, &mut self.coverage);
                let spoke = checker.node_sent(at_ns, &bytes, mtu, &directive, number, coverage);
                verdict = spoke.and_then(|promise| match promise {
                    Some(promise) => self.keep_safe(index, &promise),
                    None => Ok(()),
                });
            }
            self.network.send(at_ns, place, Frame::new(bytes), &mut self.coverage);
        }
        verdict.map_err(|wrong| format!("node {index}: {wrong}"))?;
        for decision in outcome.decisions {
            self.note_decision(index, &decision);
        }
        for event in outcome.events {
            self.note_event(index, event)?;
        }
        if let Some(point) = outcome.blown_at {
            let dead = self.nodes[index].run.as_ref().is_some_and(|run| run.fuse.dead());
            let kind = if dead { "crash at" } else { "freeze at" };
            self.coverage.count(kind, &point.to_string());
            self.trace.note(self.now_ns, format_args!("node {index}: {kind} {point}"));
            if dead {
                self.bury(index);
            }
        }
        Ok(())
    }

    fn bury(&mut self, index: usize) {
        let Some(run) = self.nodes[index].run.take() else { return };
        let role = match run.directive().role {
            Role::Spare => "crash of a spare",
            Role::Joining => "crash of a joining node",
            Role::Backup => "crash of the backup",
            Role::Primary(GateMode::Confirmed) => "crash of a primary with backup",
            Role::Primary(GateMode::Open) => "crash of a primary alone",
        };
        self.coverage.count("faults", role);
        if self.nodes[index].card_dies {
            for place in [Place::Link(index), Place::SecondLink(index), Place::Lan(index)] {
                let leaving = self.network.leaving(place) as u64;
                let lost = self.random.below(leaving + 1) as usize;
                self.network.lose_leaving(place, lost);
            }
        }
    }

    fn jobs_are_done(&self) -> Result<bool, String> {
        let mut done = true;
        let there = self.hosts.iter().enumerate().filter(|(index, _)| !self.gone[*index]);
        for (index, host) in there {
            for job in host.jobs() {
                match &job.end {
                    Some(End::Lost(how)) if self.void.is_none() => {
                        return Err(format!("client {index}: a connection was {how}: {job:?}"));
                    }
                    Some(_) => {}
                    None => done = false,
                }
            }
        }
        Ok(done)
    }

    /// When anything last went forward for a client that still waits.
    fn progress_ns(&self) -> u64 {
        let there = self.hosts.iter().zip(&self.gone).filter(|(_, gone)| !**gone);
        let jobs = there.flat_map(|(host, _)| host.jobs());
        let moved = jobs.filter(|job| job.end.is_none()).map(|job| job.moved_ns).max();
        moved.unwrap_or(0).max(self.checker.progress_ns())
    }

    /// Who waits, and how it looks from the nodes.
    fn describe_open_jobs(&mut self) -> String {
        let mut text = String::new();
        for (index, host) in self.hosts.iter().enumerate() {
            for (number, job) in host.jobs().into_iter().enumerate() {
                if job.end.is_none() {
                    text += &format!("  client {index}: {job:?}\n    {}\n", host.describe(number));
                }
            }
        }
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let lines = node.run.as_mut().map(|run| run.listing(self.now_ns, index));
            for line in lines.unwrap_or_default() {
                text += &format!("  node {index}: {line}\n");
            }
        }
        text
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}
