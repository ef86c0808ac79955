//! A node's latencies for people: percentiles, and bars over a scale of 1, 2, 5, 10, …

use std::fmt::Write;

use controlplane::admin::{Bucket, Distribution, Distributions, LatencyReport};

use crate::text::{self, Table};

/// Length of a bar that stands for everything.
const BAR_CHARS: f64 = 50.0;

/// What the node's names mean, in the order in which a packet meets them, and what is counted.
const TITLES: [(&str, &str, &str); 5] = [
    ("rx_to_tx_ns", "rx to tx", "packets"),
    ("gate_ns", "in the gate", "packets"),
    ("link_rtt_ns", "link round trip", "batches"),
    ("poll_ns", "poll", "polls that had work"),
    ("batch_segments", "segments per poll", "polls that had some"),
];

/// All workers together; with `per_core` each of them, too.
pub fn render(report: &LatencyReport, per_core: bool) -> String {
    let age = text::duration_us(report.now_us.saturating_sub(report.since_us));
    let begin = if report.since_us == 0 { "the node's start" } else { "the last reset" };
    let mut text = format!("recorded since {begin}, {age} ago\n");
    let workers = report.workers.len();
    let _ = match workers {
        1 => writeln!(text, "\n{}", one(&report.all)),
        _ => writeln!(text, "\n{workers} workers together\n\n{}", one(&report.all)),
    };
    for worker in report.workers.iter().filter(|_| per_core) {
        let core = worker.core.map_or_else(String::new, |core| format!(" on core {core}"));
        let _ = writeln!(text, "worker {}{core}\n\n{}", worker.index, one(&worker.distributions));
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

fn one(distributions: &Distributions) -> String {
    let known = TITLES.iter().filter_map(|(name, title, counted)| {
        let distribution = distributions.get(*name)?;
        Some(render_distribution(title, counted, unit_of(name), distribution))
    });
    known.collect::<Vec<_>>().join("\n")
}

/// How values are written, by the unit at the end of their name.
fn unit_of(name: &str) -> fn(u64) -> String {
    if name.ends_with("_ns") { text::duration_ns } else { text::count }
}

fn render_distribution(
    title: &str,
    counted: &str,
    write: fn(u64) -> String,
    distribution: &Distribution,
) -> String {
    let Distribution { count, min, mean, max, p50, p90, p99, p99_9, p99_99, buckets } =
        distribution;
    if *count == 0 {
        return format!("{title}: no {counted}\n");
    }
    let mut text = format!("{title}: {} {counted}\n", text::count(*count));
    let mut table =
        Table::with_headings(&["min", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"]);
    table.row([min, mean, p50, p90, p99, p99_9, p99_99, max].map(|value| write(*value)));
    text += &table.render(2);
    text += &bars(buckets, *count, write);
    text
}

fn bars(buckets: &[Bucket], all: u64, write: fn(u64) -> String) -> String {
    let mut table = Table::default();
    for (from, count) in steps(buckets) {
        let share = count as f64 / all as f64;
        // What is rare is what one looks for: it must be seen, too.
        let bar = "#".repeat((share * BAR_CHARS).ceil() as usize);
        let percent = format!("{:.3} %", share * 100.0);
        table.row([format!("from {}", write(from)), format!("{percent:>9}"), bar]);
    }
    table.render(2)
}

/// The buckets in steps of 1, 2, 5, 10, …: where each step begins and what it counts, without
/// holes between the first and the last one.
fn steps(buckets: &[Bucket]) -> Vec<(u64, u64)> {
    let mut steps: Vec<(u64, u64)> = Vec::new();
    for bucket in buckets {
        let begin = step_of(bucket.from);
        while steps.last().is_some_and(|(last, _)| *last < begin) {
            let (last, _) = steps[steps.len() - 1];
            steps.push((step_after(last), 0));
        }
        match steps.last_mut() {
            Some((_, count)) => *count += bucket.count,
            None => steps.push((begin, bucket.count)),
        }
    }
    steps
}

/// The largest number of the scale that is not above `value`.
fn step_of(value: u64) -> u64 {
    let Some(digits) = value.checked_ilog10() else { return 0 };
    let decade = 10_u64.pow(digits);
    match value / decade {
        1 => decade,
        2..5 => 2 * decade,
        _ => 5 * decade,
    }
}

/// The next number of the scale.
fn step_after(step: u64) -> u64 {
    match step.checked_ilog10().map(|digits| (step, 10_u64.pow(digits))) {
        None => 1,
        Some((step, decade)) if step == 2 * decade => 5 * decade,
        Some((step, _)) => step.saturating_mul(2),
    }
}

#[cfg(test)]
mod tests {
    use controlplane::admin::WorkerLatency;

    use super::*;

    fn bucket(from: u64, count: u64) -> Bucket {
        Bucket { from, to: from, count }
    }

    fn report() -> LatencyReport {
        let gate = Distribution {
            count: 1_000,
            min: 700,
            mean: 1_500,
            max: 12_000,
            p50: 1_250,
            p90: 1_900,
            p99: 1_990,
            p99_9: 12_000,
            p99_99: 12_000,
            buckets: vec![bucket(700, 9), bucket(1_250, 990), bucket(12_000, 1)],
        };
        let distributions: Distributions =
            [("gate_ns".to_owned(), gate), ("poll_ns".to_owned(), Distribution::default())].into();
        let worker =
            WorkerLatency { index: 0, core: Some(3), distributions: distributions.clone() };
        LatencyReport { now_us: 5_000_000, since_us: 0, all: distributions, workers: vec![worker] }
    }

    #[test]
    fn shows_percentiles_and_a_bar_for_the_rarest_too() {
        let expected = "\
recorded since the node's start, 5.0 s ago

in the gate: 1,000 packets
  min     mean     p50      p90      p99      p99.9    p99.99   max
  700 ns  1.50 us  1.25 us  1.90 us  1.99 us  12.0 us  12.0 us  12.0 us
  from 500 ns     0.900 %  #
  from 1.00 us   99.000 %  ##################################################
  from 2.00 us    0.000 %
  from 5.00 us    0.000 %
  from 10.0 us    0.100 %  #

poll: no polls that had work
";
        assert_eq!(render(&report(), false), expected);
    }

    #[test]
    fn shows_each_core_when_asked() {
        let text = render(&report(), true);
        assert!(text.contains("\nworker 0 on core 3\n\nin the gate: 1,000 packets\n"), "{text}");
        assert_eq!(text.matches("in the gate").count(), 2);
    }

    #[test]
    fn scale_covers_every_value() {
        assert_eq!([0, 1, 4, 5, 9, 10, 49, 99].map(step_of), [0, 1, 2, 5, 5, 10, 20, 50]);
        assert_eq!([0, 1, 2, 5, 10, 50].map(step_after), [1, 2, 5, 10, 20, 100]);
        assert_eq!(steps(&[bucket(0, 1), bucket(3, 2), bucket(4, 5)]), [(0, 1), (1, 0), (2, 7)]);
        assert_eq!(step_of(u64::MAX), 10_000_000_000_000_000_000);
    }
}
