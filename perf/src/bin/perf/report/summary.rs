//! Runs of the same thing taken together, and the figures they are compared by.

use crate::{
    report::{table::Table, unit::Unit},
    result::RunResult,
};

/// Runs of one command under one label: repetitions of the same measurement.
#[derive(Debug, Clone)]
pub struct Group<'a> {
    pub label: String,
    pub runs: Vec<&'a RunResult>,
}

/// Groups in the order in which their first run comes.
pub fn groups(results: &[RunResult]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for run in results {
        let label = label_of(run);
        match groups.iter_mut().find(|g| g.label == label && g.runs[0].command == run.command) {
            Some(group) => group.runs.push(run),
            None => groups.push(Group { label, runs: vec![run] }),
        }
    }
    groups
}

/// The name of a run: its label, or what it is if it has none.
pub fn label_of(run: &RunResult) -> String {
    match run.label.trim() {
        "" => format!("{} over {}", run.command, run.backend),
        label => label.to_owned(),
    }
}

/// A figure of a run.
#[derive(Debug)]
pub struct Metric {
    pub name: &'static str,
    pub unit: Unit,
    pub more_is_better: bool,
    /// `None` if the run did not measure it.
    pub of: fn(&RunResult) -> Option<f64>,
}

const fn metric(
    name: &'static str,
    unit: Unit,
    more_is_better: bool,
    of: fn(&RunResult) -> Option<f64>,
) -> Metric {
    Metric { name, unit, more_is_better, of }
}

/// Every figure that is compared, in the order of columns.
pub const METRICS: [Metric; 11] = [
    metric("requests", Unit::PerSecond, true, |run| {
        (run.command != "bulk").then_some(run.requests_per_second)
    }),
    metric("throughput", Unit::BitsPerSecond, true, |run| Some(run.throughput_bps)),
    metric("mean", Unit::Nanoseconds, false, |run| Some(run.latency_ns.as_ref()?.mean)),
    metric("p50", Unit::Nanoseconds, false, |run| Some(run.latency_ns.as_ref()?.p50 as f64)),
    metric("p90", Unit::Nanoseconds, false, |run| Some(run.latency_ns.as_ref()?.p90 as f64)),
    metric("p99", Unit::Nanoseconds, false, |run| Some(run.latency_ns.as_ref()?.p99 as f64)),
    metric("p99.9", Unit::Nanoseconds, false, |run| Some(run.latency_ns.as_ref()?.p99_9 as f64)),
    metric("p99.99", Unit::Nanoseconds, false, |run| Some(run.latency_ns.as_ref()?.p99_99 as f64)),
    metric("max", Unit::Nanoseconds, false, |run| Some(run.latency_ns.as_ref()?.max as f64)),
    metric("median stall", Unit::Nanoseconds, false, |run| {
        Some(run.stalls.as_ref()?.p50_us as f64 * 1e3)
    }),
    metric("longest stall", Unit::Nanoseconds, false, |run| {
        Some(run.stalls.as_ref()?.max_us as f64 * 1e3)
    }),
];

/// A figure over the runs of a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub runs: usize,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min, max, runs: values.len() })
    }

    /// The median; with more than one run, minimum and maximum too.
    pub fn format(&self, unit: Unit) -> String {
        let median = unit.format(self.median);
        if self.runs == 1 {
            return median;
        }
        let ends = [self.min, self.max].map(|end| unit.format(end));
        // A unit that all three share is said once.
        let shared = median.find(' ').map_or("", |at| &median[at..]);
        let [min, max] = match ends.each_ref().map(|end| end.strip_suffix(shared)) {
            [Some(min), Some(max)] => [min, max],
            _ => [ends[0].as_str(), ends[1].as_str()],
        };
        format!("{median} ({min} – {max})")
    }
}

impl Group<'_> {
    /// `None` if no run of the group measured it.
    pub fn spread(&self, metric: &Metric) -> Option<Spread> {
        Spread::of(self.runs.iter().filter_map(|run| (metric.of)(run)).collect())
    }
}

/// One row per group, one column per figure that any group has.
pub fn table(groups: &[Group<'_>]) -> Table {
    let names = METRICS.iter().map(|metric| metric.name);
    let mut table = Table::new(["run", "runs"].into_iter().chain(names));
    for group in groups {
        let cells = METRICS.iter().map(|metric| {
            group.spread(metric).map_or_else(String::new, |spread| spread.format(metric.unit))
        });
        let head = [group.label.clone(), group.runs.len().to_string()];
        table.rows.push(head.into_iter().chain(cells).collect());
    }
    table.without_empty_columns()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures;

    #[test]
    fn runs_of_one_label_are_one_group() {
        let mut results =
            ["solo", "pair", "solo", ""].map(|label| fixtures::run(label, 10)).to_vec();
        results[2].command = "crr".into();
        let labels: Vec<_> =
            groups(&results).into_iter().map(|g| (g.label, g.runs.len())).collect();
        let expected = [("solo", 1), ("pair", 1), ("solo", 1), ("rpc over memif", 1)];
        assert_eq!(labels, expected.map(|(label, runs)| (label.to_owned(), runs)));
    }

    #[test]
    fn median_stands_between_the_middle_two_of_an_even_count() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 10.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (3.5, 1.0, 10.0));
        assert_eq!(Spread::of(vec![3.0, 9.0, 5.0]).unwrap().median, 5.0);
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn a_unit_that_all_figures_share_is_said_once() {
        let format =
            |min, max| Spread { median: 12_000.0, min, max, runs: 3 }.format(Unit::Nanoseconds);
        assert_eq!(format(11_000.0, 13_000.0), "12.0 µs (11.0 – 13.0)");
        assert_eq!(format(900.0, 13_000.0), "12.0 µs (900 ns – 13.0 µs)");
    }

    #[test]
    fn table_has_no_column_that_nobody_measured() {
        let mut run = fixtures::run("flood", 10);
        run.command = "bulk".into();
        run.latency_ns = None;
        run.stalls = None;
        let results = [run];
        assert_eq!(table(&groups(&results)).head, ["run", "runs", "throughput"]);
    }

    #[test]
    fn a_target_that_answered_nothing_is_shown_with_zero_requests() {
        let mut run = fixtures::run("dead", 10);
        run.requests_per_second = 0.0;
        let results = [run];
        assert_eq!(table(&groups(&results)).rows[0][2], "0 /s");
    }
}
