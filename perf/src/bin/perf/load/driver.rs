//! The loop of a run: opens the connections, measures, waits for last answers, and ends, all within
//! the bounds of its plan whatever the target does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;

use super::context::{Context, Counts};
use super::meter::{Meter, Phase};
use super::opening::Opening;
use super::transport::{Events, Failure, Notice, Transport};
use super::trouble::{Tally, Trouble};
use super::workload::Workload;

/// Length of a step of the timeline.
pub const STEP_NS: u64 = 100_000_000;
/// Last answers are waited for so long at most.
const DRAIN_NS: u64 = 2_000_000_000;
/// Connections reset between two polls at the end.
const RESETS_AT_ONCE: u32 = 64;
/// The last packets may take so long to leave.
const FLUSH_NS: u64 = 1_000_000;
/// Longest stall that is told apart from longer ones: an hour.
const MAX_STALL_US: u64 = 3_600_000_000;
/// Notices of a poll for which there is room without asking for more.
const NOTICES: usize = 4096;

/// How a run goes.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The opening of the connections is spread over so long.
    pub ramp_ns: u64,
    /// Handshakes that may be under way at a time.
    pub handshakes: u32,
    /// The measurement ends after so long; None: when the workload is complete.
    pub duration_ns: Option<u64>,
    /// The run is given up when nothing was heard for so long.
    pub timeout_ns: u64,
}

/// How others have a say in a run.
pub trait Control {
    /// The measurement begins now.
    fn measuring(&mut self);
    /// What happened since the last call, if anything: when, and its name.
    fn mark(&mut self) -> Option<(Instant, String)>;
}

/// What came of a run, beside the samples.
#[derive(Debug)]
pub struct Outcome {
    /// When the measurement began, in microseconds since the Unix epoch.
    pub started_unix_us: u64,
    /// How long it lasted.
    pub measured_ns: u64,
    /// How many connections were wanted.
    pub asked: u64,
    /// Connections, as they were when the last answers had come.
    pub counts: Counts,
    /// Of the ones that were open at the end, how many have proven to be alive, if asked.
    pub verified: Option<u64>,
    /// Longest time without progress of each connection, in microseconds.
    pub stalls: Histogram<u64>,
    /// What others marked, from the measurement's start.
    pub marks: Vec<(u64, String)>,
    /// What went wrong.
    pub tally: Tally,
    /// Why the run ended before its time, if it did.
    pub cut_short: Option<Cut>,
    /// What the user should know beside the numbers.
    pub remarks: Vec<String>,
}

/// Why a run ended before its time.
#[derive(Debug)]
pub enum Cut {
    /// The user wants it to.
    Interrupted,
    /// Not a single connection could be opened, or none is left.
    NoConnection,
    /// Nothing was heard for too long.
    Silence,
    /// No more connections can be opened.
    Exhausted(Failure),
    /// The transport failed as a whole.
    Broken(anyhow::Error),
}

/// Runs `workload` over `transport`. Returns what came of it, complete or not.
pub fn run<T: Transport, W: Workload>(
    transport: T,
    workload: W,
    plan: Plan,
    meter: Meter,
    interrupted: &AtomicBool,
    control: &mut dyn Control,
) -> Outcome {
    let context = Context::new(transport, meter);
    let opening = Opening::new(context.now_ns, workload.connections(), plan);
    let mut run = Run {
        next_step_ns: context.now_ns + STEP_NS,
        begun_ns: context.now_ns,
        started_unix_us: unix_us(),
        context,
        workload,
        plan,
        opening,
        notices: Vec::with_capacity(NOTICES),
        interrupted,
        control,
        marks: Vec::new(),
    };
    let cut_short = run.open_and_measure().err();
    run.wind_up(cut_short)
}

struct Run<'a, T, W> {
    context: Context<T>,
    workload: W,
    plan: Plan,
    opening: Opening,
    notices: Vec<Notice>,
    interrupted: &'a AtomicBool,
    control: &'a mut dyn Control,
    marks: Vec<(u64, String)>,
    begun_ns: u64,
    started_unix_us: u64,
    next_step_ns: u64,
}

impl<T: Transport, W: Workload> Run<'_, T, W> {
    fn open_and_measure(&mut self) -> Result<(), Cut> {
        self.open_all()?;
        self.measure()
    }

    fn open_all(&mut self) -> Result<(), Cut> {
        while !self.opening.is_done() {
            let due_ns = self.opening.due(&mut self.context);
            self.check_exhausted()?;
            match self.turn(due_ns).and_then(|stepped| self.check(stepped)) {
                // The ones that did open will do.
                Err(Cut::Silence) => self.opening.abandon(&mut self.context),
                other => other?,
            }
        }
        self.check_alive()
    }

    fn measure(&mut self) -> Result<(), Cut> {
        let now_ns = self.now();
        (self.begun_ns, self.started_unix_us) = (now_ns, unix_us());
        self.context.heard_ns = now_ns;
        self.context.meter.enter(Phase::Measuring, 0, 0, self.context.counts.open);
        self.next_step_ns = now_ns + STEP_NS;
        self.control.measuring();
        self.workload.begin(&mut self.context);
        let end_ns = self.plan.duration_ns.map_or(u64::MAX, |ns| now_ns.saturating_add(ns));
        loop {
            if self.context.now_ns >= end_ns {
                return Ok(());
            }
            let due_ns = self.workload.due(&mut self.context);
            if self.workload.is_complete() {
                return Ok(());
            }
            self.check_exhausted()?;
            self.check_alive()?;
            let stepped = self.turn(due_ns.min(end_ns))?;
            self.check(stepped)?;
        }
    }

    /// Waits for last answers.
    fn drain(&mut self) -> Result<(), Cut> {
        let deadline_ns = self.now() + DRAIN_NS.min(self.plan.timeout_ns);
        while self.workload.is_waiting() && self.context.now_ns < deadline_ns {
            self.workload.due(&mut self.context);
            self.turn(deadline_ns)?;
        }
        Ok(())
    }

    /// Asks every connection whether it is alive, if the workload does that.
    fn verify(&mut self) -> Result<Option<u64>, Cut> {
        if !self.workload.verify() {
            return Ok(None);
        }
        self.context.heard_ns = self.now();
        self.enter(Phase::Verifying);
        loop {
            let due_ns = self.workload.due(&mut self.context);
            if due_ns == u64::MAX && !self.workload.is_waiting() {
                return Ok(Some(self.workload.verified()));
            }
            let stepped = self.turn(due_ns)?;
            match self.check(stepped) {
                Err(Cut::Silence) => return Ok(Some(self.workload.verified())),
                other => other?,
            }
        }
    }

    /// Takes a run that went as far as it could to its end, in good order as far as possible.
    fn wind_up(mut self, mut cut_short: Option<Cut>) -> Outcome {
        let end_ns = self.now();
        let is_measured = self.context.meter.phase() == Phase::Measuring;
        let measured_ns = if is_measured { end_ns - self.begun_ns } else { 0 };
        self.workload.stop(end_ns);
        self.take_marks();
        self.enter(Phase::Draining);
        let mut verified = None;
        if is_measured && matches!(cut_short, None | Some(Cut::Interrupted | Cut::Exhausted(_))) {
            let rest = self.drain();
            cut_short = cut_short.or(rest.err());
        }
        let stalls = self.stalls();
        self.workload.give_up(&mut self.context);
        if cut_short.is_none() {
            match self.verify() {
                Ok(count) => verified = count,
                Err(cut) => cut_short = Some(cut),
            }
        }
        let counts = self.context.counts;
        let asked = match self.workload.connections() {
            0 => counts.begun,
            held => held.into(),
        };
        let missing = verified.map_or(0, |verified| counts.open.saturating_sub(verified));
        self.context.tally.add_many(Trouble::Unanswered, missing, None);
        self.enter(Phase::Draining);
        if !matches!(cut_short, Some(Cut::Broken(_))) {
            self.reset_all();
        }
        if matches!(cut_short, Some(Cut::Silence)) {
            self.context.tally.add(Trouble::Silence, None);
        }
        Outcome {
            started_unix_us: self.started_unix_us,
            measured_ns,
            asked,
            counts,
            verified,
            stalls,
            marks: self.marks,
            tally: self.context.tally,
            cut_short,
            remarks: [self.workload.remarks(), self.context.transport.remarks()].concat(),
        }
    }

    /// Frees the connections' ports, here and there, for the next run.
    fn reset_all(&mut self) {
        for index in 0..self.context.indices() {
            if self.context.is_open(index) || self.context.is_pending(index) {
                self.context.forget(index);
            }
            if index % RESETS_AT_ONCE == 0 && !self.flush() {
                return;
            }
        }
        self.flush();
    }

    fn flush(&mut self) -> bool {
        let until_ns = self.now() + FLUSH_NS;
        self.notices.clear();
        // Nothing that is heard now matters any more.
        self.context.transport.poll(until_ns, &mut self.notices).is_ok()
    }

    fn stalls(&mut self) -> Histogram<u64> {
        let mut histogram =
            Histogram::new_with_bounds(1, MAX_STALL_US, 3).expect("the bounds are in order");
        let now_ns = self.now();
        let context = &self.context;
        let mut tell = |ns| histogram.saturating_record(u64::max(ns / 1000, 1));
        self.workload.stalls(now_ns, &|index| context.is_open(index), &mut tell);
        histogram
    }

    /// One poll, and what comes of it. Returns whether it ended a step.
    fn turn(&mut self, until_ns: u64) -> Result<bool, Cut> {
        let until_ns = until_ns.min(self.next_step_ns);
        self.context.transport.poll(until_ns, &mut self.notices).map_err(Cut::Broken)?;
        let mut notices = std::mem::take(&mut self.notices);
        for notice in notices.drain(..) {
            self.now();
            if notice.events.has(Events::OPENED.and(Events::OVER)) && self.context.count(notice) {
                self.opening.settled();
            }
            self.workload.notice(&mut self.context, notice);
        }
        self.notices = notices;
        let is_due = self.now() >= self.next_step_ns;
        if is_due {
            self.step();
        }
        Ok(is_due)
    }

    fn step(&mut self) {
        self.take_marks();
        self.workload.inspect(&mut self.context);
        let at_ns = self.context.now_ns - self.begun_ns;
        self.context.meter.step(at_ns, self.open());
        self.next_step_ns = self.context.now_ns + STEP_NS - at_ns % STEP_NS;
        if !self.workload.is_waiting() && !self.opening.is_waiting() {
            self.context.heard_ns = self.context.now_ns;
        }
    }

    fn enter(&mut self, phase: Phase) {
        let at_ns = self.now() - self.begun_ns;
        let open = self.open();
        self.context.meter.enter(phase, at_ns, at_ns, open);
    }

    fn open(&self) -> u64 {
        match self.context.meter.phase() {
            Phase::Verifying => self.workload.verified(),
            _ => self.context.counts.open,
        }
    }

    fn take_marks(&mut self) {
        while let Some((when, label)) = self.control.mark() {
            let ago_ns = u64::try_from(when.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let at_ns = self.context.now_ns.saturating_sub(ago_ns).saturating_sub(self.begun_ns);
            self.marks.push((at_ns, label));
            self.workload.forget_stalls();
        }
    }

    fn check(&self, stepped: bool) -> Result<(), Cut> {
        if !stepped {
            return Ok(());
        }
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Cut::Interrupted);
        }
        match self.context.now_ns - self.context.heard_ns > self.plan.timeout_ns {
            true => Err(Cut::Silence),
            false => Ok(()),
        }
    }

    fn check_exhausted(&self) -> Result<(), Cut> {
        self.context.exhausted.map_or(Ok(()), |failure| Err(Cut::Exhausted(failure)))
    }

    fn check_alive(&self) -> Result<(), Cut> {
        match self.workload.connections() > 0 && self.context.counts.open == 0 {
            true => Err(Cut::NoConnection),
            false => Ok(()),
        }
    }

    #[inline]
    fn now(&mut self) -> u64 {
        self.context.now_ns = self.context.transport.now_ns();
        self.context.now_ns
    }
}

fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
