//! A world: nodes, clients and wires under one clock, and what is watched over in it.

use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};

use controlplane::Event as Decision;
use controlplane::events::{Removal, Suspicion};
use replication::{GateMode, Role};
use worker::Event;
use worker::query::Summary;

use crate::check::Checker;
use crate::check::connection::Speaker;
use crate::coverage::Coverage;
use crate::host::Host;
use crate::host::work::End;
use crate::net::{Frame, Network, Place, Way, Weather};
use crate::node::card::Limits;
use crate::node::fuse::Blow;
use crate::node::{Outcome, Run};
use crate::panics;
use crate::plan::{Fault, NODES, Plan};
use crate::random::Random;
use crate::time::{DriftingClock, MS, S};
use crate::trace::Trace;

/// A pair forms within this time.
const FORMING_NS: u64 = 3 * S;
/// Two primaries that can hear each other part within this time: heartbeat, delivery, a loop.
const OVERLAP_NS: u64 = 40 * MS;
/// Once nothing fails any more, something goes forward within this time: the longest timeout of a
/// client, twice.
const PATIENCE_NS: u64 = 130 * S;
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
}

#[derive(Clone, Copy, Debug)]
enum Mend {
    Speed,
    Cards,
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
    network: Network,
    random: Random,
    coverage: Coverage,
    trace: Trace,
    checker: Checker,
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
        let node = || Node { run: None, runs: 0, card_dies: false, mends: VecDeque::new() };
        World {
            now_ns: 0,
            nodes: (0..NODES).map(|_| node()).collect(),
            host_due_ns: vec![0; hosts.len()],
            gone: vec![false; hosts.len()],
            hosts,
            network: Network::new(seed, &plan.lines),
            random: Random::new(seed, 5),
            coverage: Coverage::default(),
            trace: Trace::new(keep_story),
            checker: Checker::default(),
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
            if self.now_ns > self.progress_ns().max(calm_ns) + PATIENCE_NS {
                return Err(format!("no progress:\n{}", self.describe_open_jobs()));
            }
            let next = [
                faults.front().map(|timed| begin_ns + timed.at_ns),
                jobs.front().map(|job| job.0),
                (!calm).then_some(calm_ns),
                Some(self.now_ns + S),
            ];
            self.step(next.into_iter().flatten().min().unwrap_or(u64::MAX))?;
        }
        if self.void.is_some() {
            return Ok(());
        }
        self.sweep()
    }

    /// Starts the nodes, and lets them become a pair.
    fn form(&mut self) -> Verdict {
        let mut starts: Vec<(u64, usize)> =
            self.plan.machines.iter().map(|machine| (machine.start_ns, machine.index)).collect();
        starts.sort_unstable();
        for (at_ns, index) in starts {
            self.run_until(at_ns)?;
            self.start_node(index);
        }
        let wanted = [Role::Primary(GateMode::Confirmed), Role::Backup];
        let is_formed = |world: &World| {
            let roles = world.nodes.iter().map(|node| Some(node.run.as_ref()?.directive().role));
            roles.zip(wanted).all(|(role, wanted)| role == Some(wanted))
        };
        while !is_formed(self) {
            if self.now_ns > FORMING_NS {
                return Err("the nodes do not become a pair".to_owned());
            }
            self.step(FORMING_NS + 1)?;
        }
        self.run_until(self.now_ns + 20 * MS)?;
        self.formed_ns = Some(self.now_ns);
        self.trace.note(self.now_ns, "the pair has formed");
        Ok(())
    }

    fn start_node(&mut self, index: usize) {
        let machine = &self.plan.machines[index];
        let node = &mut self.nodes[index];
        node.runs += 1;
        // Each boot of a machine begins its clock anew.
        let clock_ns = machine.clock_ns + node.runs * 7 * S;
        let clock = DriftingClock::new(self.now_ns, clock_ns, machine.drift_ppm);
        let run = 1 + index as u64 + NODES as u64 * node.runs;
        node.run = Some(Run::start(self.now_ns, machine, clock, run));
        node.mends.clear();
        self.trace.note(self.now_ns, format_args!("node {index} starts, run {run}"));
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
                    self.hosts[host].deliver(frame.bytes.clone());
                    self.host_due_ns[host] = self.now_ns;
                    ""
                }
                Place::Lan(index) | Place::Link(index) => {
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
        let card = if matches!(place, Place::Lan(_)) { &run.lan } else { &run.link };
        if !card.deliver(frame) {
            self.coverage.count("frames", "no room in a card's ring");
            return "  (no room)";
        }
        if matches!(place, Place::Lan(_)) {
            let speaker = Speaker { epoch: run.directive().epoch.0, run: run.incarnation.0 };
            self.checker.node_received(self.now_ns, frame, speaker);
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
            self.network.send(self.now_ns, place, Frame::new(frame), &mut self.coverage);
        }
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
                verdict = checker.node_sent(at_ns, &bytes, mtu, &directive, number, coverage);
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
            Role::Backup => "crash of the backup",
            Role::Primary(GateMode::Confirmed) => "crash of a primary with backup",
            Role::Primary(GateMode::Open) => "crash of a primary alone",
        };
        self.coverage.count("faults", role);
        if self.nodes[index].card_dies {
            for place in [Place::Link(index), Place::Lan(index)] {
                let leaving = self.network.leaving(place) as u64;
                let lost = self.random.below(leaving + 1) as usize;
                self.network.lose_leaving(place, lost);
            }
        }
    }

    fn note_decision(&mut self, index: usize, decision: &Decision) {
        self.trace.note(self.now_ns, format_args!("node {index}: {decision}"));
        self.coverage.count("decisions", &name_of(decision));
        if matches!(decision, Decision::Stranded { .. }) {
            self.lose("a node does not know whether it is the last one");
        }
    }

    fn note_event(&mut self, index: usize, event: Event) -> Verdict {
        self.trace.note(self.now_ns, format_args!("node {index}: {event:?}"));
        match event {
            Event::DigestMismatch(mismatch) if self.plan.diverges.is_some() => {
                self.coverage.count("faults", "divergence noticed");
                self.divergence_seen = true;
                self.trace.note(self.now_ns, mismatch);
                Ok(())
            }
            Event::DigestMismatch(mismatch) => Err(format!("node {index}: {mismatch}")),
            Event::RecordRefused { shard, reason } => {
                Err(format!("node {index} refuses a record of shard {shard}: {reason}"))
            }
            _ => Ok(()),
        }
    }

    /// From here on nothing is promised.
    fn lose(&mut self, why: &'static str) {
        if self.void.is_none() && self.formed_ns.is_some() {
            self.void = Some(why);
            self.checker.give_up();
            self.trace.note(self.now_ns, format_args!("nothing is promised any more: {why}"));
        }
    }

    /// Who holds the state, and whether two believe that they serve.
    fn watch_roles(&mut self) -> Verdict {
        if self.formed_ns.is_none() || self.void.is_some() {
            return Ok(());
        }
        let runs = || self.nodes.iter().filter_map(|node| node.run.as_ref());
        if !runs().any(Run::holds_state) {
            self.lose("nobody holds the state");
            return Ok(());
        }
        let serving = |run: &&Run| {
            let directive = run.directive();
            let awake = run.frozen_until_ns <= self.now_ns;
            awake && matches!(directive.role, Role::Primary(_)) && !directive.silent
        };
        let both = runs().filter(serving).count() == NODES;
        if runs().count() == NODES && self.is_dark() {
            self.lose("the nodes were cut off from each other");
            return Ok(());
        }
        let since_ns = both.then_some(self.overlap_since_ns.unwrap_or(self.now_ns));
        self.overlap_since_ns = since_ns;
        if both {
            self.coverage.count("moments", "two primaries");
        }
        match since_ns {
            Some(since_ns) if self.now_ns - since_ns > OVERLAP_NS => {
                Err(format!("two primaries for {} ms", OVERLAP_NS / MS))
            }
            _ => Ok(()),
        }
    }

    /// Nothing passed between the nodes for so long that both must believe the other dead, and in
    /// pair form both are then right to serve.
    fn is_dark(&mut self) -> bool {
        let now_ns = self.now_ns;
        let mut passed_ns = |place: Place, way: Way| {
            self.network.line((place, way)).map_or(0, |line| line.passed_ns)
        };
        (0..NODES).all(|node| {
            let link = passed_ns(Place::Link(node), Way::Out);
            let lan =
                passed_ns(Place::Lan(node), Way::Out).min(passed_ns(Place::Lan(1 - node), Way::In));
            now_ns.saturating_sub(link.max(lan)) > DARK_NS
        })
    }

    fn inflict(&mut self, fault: &Fault) {
        self.trace.note(self.now_ns, format_args!("fault: {fault:?}"));
        self.coverage.count("faults", fault.name());
        let now_ns = self.now_ns;
        match *fault {
            Fault::Blow { node, aim, calls, blow, part, card_dies } => {
                self.nodes[node].card_dies = card_dies;
                let Some(run) = &self.nodes[node].run else { return };
                if blow == Blow::Crash && run.frozen_until_ns > now_ns {
                    self.coverage.count("crash at", "asleep");
                    self.bury(node);
                } else {
                    run.fuse.light(aim, calls, blow, part);
                }
            }
            Fault::Restart { node } => {
                if self.nodes[node].run.is_none() {
                    self.start_node(node);
                }
            }
            Fault::Slow { node, loop_ns, for_ns } => {
                if let Some(run) = &mut self.nodes[node].run {
                    run.loop_ns = loop_ns;
                    self.nodes[node].mends.push_back((now_ns + for_ns, Mend::Speed));
                }
            }
            Fault::Drift { node, ppm } => {
                if let Some(run) = &mut self.nodes[node].run {
                    run.clock.drift(now_ns, ppm);
                }
            }
            Fault::Scarce { node, link, pool, ring, for_ns } => {
                if let Some(run) = &self.nodes[node].run {
                    let card = if link { &run.link } else { &run.lan };
                    card.limit(Limits { receive_ring: ring, transmit_ring: ring, pool });
                    self.nodes[node].mends.push_back((now_ns + for_ns, Mend::Cards));
                }
            }
            Fault::Tail { place, frames } => {
                let lost = self.network.lose_tail(place, frames);
                self.coverage.add("frames", "lost at a tail", lost as u64);
            }
            Fault::Unplug { host, for_ns } => {
                for way in [Way::Out, Way::In] {
                    let line = (Place::Host(host), way);
                    self.change(line, for_ns, |weather| weather.cut = true);
                }
            }
            Fault::Vanish { host } => self.gone[host] = true,
            Fault::Cut { line, for_ns } => self.change(line, for_ns, |weather| weather.cut = true),
            Fault::Loss { line, permille, for_ns } => {
                self.change(line, for_ns, |weather| weather.loss = permille);
            }
            Fault::Bursts { line, burst, for_ns } => {
                self.change(line, for_ns, |weather| weather.burst = Some(burst));
            }
            Fault::Mess { line, reorder, duplicate, corrupt, for_ns } => {
                self.change(line, for_ns, |weather| {
                    *weather = Weather { reorder, duplicate, corrupt, ..*weather };
                });
            }
            Fault::Throttle { line, bits_per_s, delay_ns, jitter_ns, for_ns } => {
                self.change(line, for_ns, |weather| {
                    *weather = Weather { bits_per_s, delay_ns, jitter_ns, ..*weather };
                });
            }
        }
    }

    fn change(&mut self, id: (Place, Way), for_ns: u64, change: impl FnOnce(&mut Weather)) {
        if let Some(line) = self.network.line(id) {
            line.set(change);
            self.clearing.push((self.now_ns + for_ns, id));
        }
    }

    /// Ends what has lasted long enough.
    fn mend(&mut self) {
        let now_ns = self.now_ns;
        let network = &mut self.network;
        self.clearing.retain(|(at_ns, id)| {
            if *at_ns <= now_ns
                && let Some(line) = network.line(*id)
            {
                line.clear_up();
            }
            *at_ns > now_ns
        });
        for (node, machine) in self.nodes.iter_mut().zip(&self.plan.machines) {
            node.mends.make_contiguous().sort_by_key(|(at_ns, _)| *at_ns);
            while let Some((_, mend)) = node.mends.front().copied().filter(|m| m.0 <= now_ns) {
                node.mends.pop_front();
                if let Some(run) = &mut node.run {
                    mend.apply(run, machine.loop_ns);
                }
            }
        }
    }

    /// Nothing fails any more.
    fn calm_down(&mut self) {
        self.trace.note(self.now_ns, "calm: nothing fails from here on");
        self.clearing.clear();
        self.network.lines().for_each(|(_, line)| line.clear_up());
        for (node, machine) in self.nodes.iter_mut().zip(&self.plan.machines) {
            node.mends.clear();
            if let Some(run) = &mut node.run {
                Mend::Speed.apply(run, machine.loop_ns);
                Mend::Cards.apply(run, machine.loop_ns);
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

    fn describe_open_jobs(&self) -> String {
        let mut text = String::new();
        for (index, host) in self.hosts.iter().enumerate() {
            for (number, job) in host.jobs().into_iter().enumerate() {
                if job.end.is_none() {
                    text += &format!("  client {index}: {job:?}\n    {}\n", host.describe(number));
                }
            }
        }
        text
    }

    /// Everything is done: nothing of it may be left, and replicas must be equal.
    fn sweep(&mut self) -> Verdict {
        let end_ns = self.now_ns + SWEPT_NS;
        loop {
            self.run_until(self.now_ns + LOOK_NS)?;
            let looks = self.look()?;
            let left = looks.iter().find_map(|(index, look)| leftover(*index, look));
            let differ = self.difference(&looks);
            match left.or(differ) {
                None => {
                    self.note_summaries(&looks);
                    return self.divergence();
                }
                Some(what) if self.now_ns > end_ns => return Err(what),
                Some(_) => {}
            }
        }
    }

    /// Asks the nodes that hold the state how they fare.
    fn look(&mut self) -> Result<Vec<(usize, Vec<Summary>)>, String> {
        let mut looks = Vec::new();
        for index in 0..self.nodes.len() {
            let Some(run) = self.nodes[index].run.as_mut().filter(|run| run.holds_state()) else {
                continue;
            };
            let (summaries, outcomes) = run.summaries(self.now_ns, index);
            for outcome in outcomes {
                self.take_outcome(index, outcome)?;
            }
            looks.push((index, summaries));
        }
        Ok(looks)
    }

    fn difference(&self, looks: &[(usize, Vec<Summary>)]) -> Option<String> {
        let [(_, first), (_, second)] = looks else { return None };
        let digests = |summaries: &[Summary]| {
            let shards = summaries.iter().flat_map(|summary| &summary.shards);
            let mut digests: Vec<_> = shards.map(|shard| (shard.index, shard.digest)).collect();
            digests.sort_unstable();
            digests
        };
        let differ = self.plan.diverges.is_none() && digests(first) != digests(second);
        differ.then(|| "the replicas' digests differ at rest".to_owned())
    }

    fn note_summaries(&mut self, looks: &[(usize, Vec<Summary>)]) {
        for summary in looks.iter().flat_map(|(_, summaries)| summaries) {
            for (name, count) in summary.counters.iter() {
                self.coverage.add("workers count", name, count);
            }
            for shard in &summary.shards {
                for (name, count) in shard.counters.iter() {
                    self.coverage.add("shards count", name, count);
                }
            }
        }
    }

    /// A backup with another configuration must have noticed, if it ever had a connection to see.
    fn divergence(&self) -> Verdict {
        let Some(what) = self.plan.diverges else { return Ok(()) };
        let other = &self.nodes[1];
        let was_there = other.runs == 1 && other.run.is_some();
        if self.divergence_seen || !was_there || !self.checker.replicated {
            return Ok(());
        }
        Err(format!("the backup has another {what} and nobody noticed"))
    }
}

impl Mend {
    fn apply(self, run: &mut Run, loop_ns: u64) {
        match self {
            Mend::Speed => run.loop_ns = loop_ns,
            Mend::Cards => {
                [&run.lan, &run.link].into_iter().for_each(|card| card.limit(Limits::USUAL))
            }
        }
    }
}

/// What a node still holds although everything is over.
fn leftover(index: usize, summaries: &[Summary]) -> Option<String> {
    for summary in summaries {
        for shard in &summary.shards {
            let memory = &shard.memory;
            let used = (memory.connections, memory.half_open, memory.pool_used, memory.sent_used);
            if used != (0, 0, 0, 0) {
                return Some(format!("node {index} still holds something: {memory:?}"));
            }
        }
        if summary.gate_len > 0 {
            return Some(format!(
                "node {index} still has {} packets in its gate",
                summary.gate_len
            ));
        }
    }
    None
}

fn name_of(decision: &Decision) -> String {
    let name = decision.name().replace('_', " ");
    match decision {
        Decision::TookOver { suspicion, .. } => {
            let why = match suspicion {
                Suspicion::AllPathsSilent => "all paths silent",
                Suspicion::RunEnded => "the primary's run ended",
                Suspicion::GaveUp => "the primary gave up",
            };
            format!("{name}: {why}")
        }
        Decision::BackupRemoved { removal, .. } => {
            let why = match removal {
                Removal::AllPathsSilent => "all paths silent",
                Removal::RunEnded => "its run ended",
                Removal::Left => "it left",
                Removal::LinkSilent => "link silent",
                Removal::LogUnconfirmed { .. } => "log unconfirmed",
            };
            format!("{name}: {why}")
        }
        Decision::BecameSpare { reason, .. } => format!("{name}: {}", reason.in_words()),
        _ => name,
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}
