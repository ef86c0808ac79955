//! The line at the bottom of the terminal while a load runs.

use std::cell::Cell;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::load::meter::{Phase, Sample};
use crate::report::unit::Unit;

/// Steps of a bar that runs by time, a second.
const TICKS_PER_SECOND: u64 = 1000;

/// What the end of the bar stands for.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// A length of time.
    Time(Duration),
    /// A number of requests.
    Requests(u64),
    /// Nobody knows.
    Unknown,
}

/// The line.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    goal: Goal,
    /// Connections that are to be opened.
    connections: u64,
    phase: Cell<Option<Phase>>,
}

impl Progress {
    /// A line on standard error, if that is a terminal.
    pub fn new(goal: Goal, connections: u32) -> Progress {
        Progress::on(ProgressBar::no_length(), goal, connections)
    }

    /// Shows nothing.
    pub fn hidden() -> Progress {
        Progress::on(ProgressBar::hidden(), Goal::Unknown, 0)
    }

    fn on(bar: ProgressBar, goal: Goal, connections: u32) -> Progress {
        let progress =
            Progress { bar, goal, connections: connections.into(), phase: Cell::new(None) };
        progress.enter(Phase::Opening);
        progress
    }

    /// Shows a sample; `requests` have been answered in all.
    pub fn show(&self, sample: &Sample, requests: u64) {
        if self.bar.is_hidden() {
            return;
        }
        if self.phase.replace(Some(sample.phase)) != Some(sample.phase) {
            self.enter(sample.phase);
        }
        let end_ns = sample.at_ns + sample.span_ns;
        let ticks = match (sample.phase, self.goal) {
            (Phase::Opening | Phase::Verifying, _) => sample.open,
            (_, Goal::Requests(_)) => requests,
            (_, Goal::Time(_) | Goal::Unknown) => end_ns / (1_000_000_000 / TICKS_PER_SECOND),
        };
        self.bar.set_position(ticks);
        self.bar.set_message(message(sample, end_ns));
    }

    /// Takes the line away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn enter(&self, phase: Phase) {
        let length = match (phase, self.goal) {
            (Phase::Opening | Phase::Verifying, _) => Some(self.connections),
            (_, Goal::Time(time)) => Some((time.as_secs_f64() * TICKS_PER_SECOND as f64) as u64),
            (_, Goal::Requests(count)) => Some(count),
            (_, Goal::Unknown) => None,
        };
        let template = match length {
            Some(length) => {
                self.bar.set_length(length);
                "[{bar:12}] {wide_msg}"
            }
            None => "{spinner} {wide_msg}",
        };
        let style = ProgressStyle::with_template(template).expect("the template is right");
        self.bar.set_style(style.progress_chars("=> "));
    }
}

fn message(sample: &Sample, end_ns: u64) -> String {
    let open = Unit::Count.format(sample.open as f64);
    match sample.phase {
        Phase::Opening => return format!("{open} connections open"),
        Phase::Verifying => return format!("{open} connections have proven to be alive"),
        Phase::Draining => return "waiting for the last answers".to_owned(),
        Phase::Measuring => {}
    }
    let seconds = sample.span_ns.max(1) as f64 / 1e9;
    let bits = (sample.bytes_up + sample.bytes_down) as f64 * 8.0;
    let throughput = Unit::BitsPerSecond.format(bits / seconds);
    let mut text = format!("{:5.1} s  {open} open", end_ns as f64 / 1e9);
    if sample.requests > 0 {
        let rate = Unit::PerSecond.format(sample.requests as f64 / seconds);
        let latency =
            |quantile| Unit::Nanoseconds.format(sample.latency.value_at_quantile(quantile) as f64);
        text += &format!("  {rate}  p50 {}  p99 {}", latency(0.5), latency(0.99));
    }
    let stall = Unit::Nanoseconds.format(sample.longest_stall_ns as f64);
    text + &format!("  {throughput}  longest stall {stall}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_right_in_every_phase() {
        for goal in [Goal::Unknown, Goal::Requests(10), Goal::Time(Duration::from_secs(1))] {
            let progress = Progress::on(ProgressBar::hidden(), goal, 5);
            for phase in [Phase::Opening, Phase::Measuring, Phase::Draining, Phase::Verifying] {
                progress.enter(phase);
            }
        }
    }
}
