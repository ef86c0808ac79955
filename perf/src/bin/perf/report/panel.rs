//! The panels of a picture.

use std::collections::{BTreeMap, BTreeSet};

use plotters::{
    prelude::{DashedLineSeries, DrawingBackend, EmptyElement, LineSeries, Rectangle, Text},
    style::{
        Color, RGBColor, WHITE,
        text_anchor::{HPos, VPos},
    },
};

use super::{
    chart::{Axis, Chart, chart},
    plot::{Area, color, failed, shorten, text_style},
    summary::Group,
    unit::Unit,
};
use crate::result::{Interval, RunResult};

/// What a panel shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Panel {
    /// Latency by percentile.
    Percentiles,
    /// Requests per second over time.
    Requests,
    /// Payload per second over time, of runs that have no requests.
    Throughput,
    /// 99th percentile of the latency over time.
    Latency,
    /// Connections by their longest stall.
    Stalls,
}

const ALL: [Panel; 5] =
    [Panel::Percentiles, Panel::Requests, Panel::Throughput, Panel::Latency, Panel::Stalls];

type Point = (f64, f64);

impl Panel {
    /// Those that have something to show, in order.
    pub fn of(groups: &[Group<'_>]) -> Vec<Self> {
        let shown = |panel: &Self| all_runs(groups).any(|(_, run)| panel.shows(run));
        ALL.into_iter().filter(shown).collect()
    }

    fn shows(self, run: &RunResult) -> bool {
        let bulk = run.command == "bulk";
        match self {
            Self::Percentiles => run.latency_ns.is_some(),
            Self::Requests => !bulk && !run.timeline.is_empty(),
            Self::Throughput => bulk && !run.timeline.is_empty(),
            Self::Latency => run.timeline.iter().any(|interval| interval.p99_ns.is_some()),
            Self::Stalls => run.stalls.is_some(),
        }
    }
}

fn all_runs<'a>(groups: &'a [Group<'a>]) -> impl Iterator<Item = (usize, &'a RunResult)> {
    let runs =
        |(index, group): (usize, &'a Group<'a>)| group.runs.iter().map(move |run| (index, *run));
    groups.iter().enumerate().flat_map(runs)
}

/// Draws one panel.
///
/// # Errors
/// A histogram is damaged, or the backend fails.
pub fn draw<B: DrawingBackend>(
    panel: Panel,
    groups: &[Group<'_>],
    area: &Area<B>,
) -> anyhow::Result<()> {
    let runs: Vec<_> = all_runs(groups).filter(|(_, run)| panel.shows(run)).collect();
    match panel {
        Panel::Percentiles => percentiles(&runs, area),
        Panel::Stalls => stalls(groups, area),
        Panel::Requests => rate(&runs, area, "Requests per second", Unit::PerSecond, |interval| {
            interval.requests as f64
        }),
        Panel::Throughput => {
            rate(&runs, area, "Payload per second", Unit::BitsPerSecond, |interval| {
                interval.bytes as f64 * 8.0
            })
        }
        Panel::Latency => latency(&runs, area),
    }
}

/// Place of a quantile on the axis: each further nine is as far from the one before.
fn nines(quantile: f64, highest: f64) -> f64 {
    let place = -(1.0 - quantile).log10();
    place.min(highest)
}

fn percentiles<B: DrawingBackend>(
    runs: &[(usize, &RunResult)],
    area: &Area<B>,
) -> anyhow::Result<()> {
    const TICKS: [(f64, &str); 8] = [
        (0.0, "0 %"),
        (std::f64::consts::LOG10_2, "50 %"),
        (1.0, "90 %"),
        (2.0, "99 %"),
        (3.0, "99.9 %"),
        (4.0, "99.99 %"),
        (5.0, "99.999 %"),
        (6.0, "99.9999 %"),
    ];
    let mut curves: Vec<(usize, Vec<Point>)> = Vec::new();
    let mut highest = 2.0_f64;
    for (index, run) in runs {
        let Some(summary) = &run.latency_ns else { continue };
        let histogram = summary.histogram()?;
        // Beyond one in so many there is but one value: the maximum.
        let last = (histogram.len().max(1) as f64).log10().clamp(1.0, 6.0);
        highest = highest.max(last);
        let mut points = vec![(0.0, histogram.min().max(1) as f64)];
        points.extend(histogram.iter_quantiles(20).map(|step| {
            (nines(step.quantile_iterated_to(), last), step.value_iterated_to().max(1) as f64)
        }));
        curves.push((*index, points));
    }
    let values = || curves.iter().flat_map(|(_, points)| points.iter().map(|point| point.1));
    let y = Axis::log_time(values().fold(f64::INFINITY, f64::min), values().fold(1.0, f64::max));
    let ticks = TICKS.iter().filter(|tick| tick.0 <= highest);
    let ticks = ticks.map(|(at, text)| (*at, (*text).to_owned())).collect();
    let x = Axis { from: 0.0, to: highest, ticks };
    let mut chart = chart(area, "Latency by percentile", (&x, "percentile"), &y)?;
    for (index, points) in curves {
        line(&mut chart, index, points.into_iter().map(|(x, y)| (x, y.log10())).collect())?;
    }
    Ok(())
}

fn line<B: DrawingBackend>(
    chart: &mut Chart<'_, B>,
    index: usize,
    points: Vec<Point>,
) -> anyhow::Result<()> {
    let style = color(index).stroke_width(2);
    chart.draw_series(LineSeries::new(points, style)).map_err(failed)?;
    Ok(())
}

/// The steps of a run, without a rest too short for a rate to mean anything.
fn steps(run: &RunResult) -> impl Iterator<Item = &Interval> {
    let usual_us = run.timeline.iter().map(|step| step.span_us).max().unwrap_or(0);
    run.timeline.iter().filter(move |step| step.span_us > usual_us / 10)
}

/// Both ends of a step, at the same height: what a step tells holds for all of it.
fn level(step: &Interval, height: f64) -> [Point; 2] {
    let second = |us: u64| us as f64 / 1e6;
    [(second(step.at_us), height), (second(step.at_us.saturating_add(step.span_us)), height)]
}

fn time_axis(runs: &[(usize, &RunResult)]) -> Axis {
    let ends = runs.iter().filter_map(|(_, run)| run.timeline.last());
    let end = ends.map(|last| last.at_us.saturating_add(last.span_us)).max().unwrap_or(0);
    let mut axis = Axis::linear(end as f64 / 1e6, |at| format!("{at:.3}"));
    axis.to = axis.to.min((end as f64 / 1e6).max(1e-3));
    axis.ticks.retain(|tick| tick.0 <= axis.to);
    for (_, text) in &mut axis.ticks {
        *text = text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    axis
}

fn rate<B: DrawingBackend>(
    runs: &[(usize, &RunResult)],
    area: &Area<B>,
    title: &str,
    unit: Unit,
    amount: fn(&Interval) -> f64,
) -> anyhow::Result<()> {
    let per_second = |interval: &Interval| amount(interval) * 1e6 / interval.span_us.max(1) as f64;
    let curves: Vec<(usize, Vec<Point>)> = runs
        .iter()
        .map(|(index, run)| {
            (*index, steps(run).flat_map(|step| level(step, per_second(step))).collect())
        })
        .collect();
    let top = curves.iter().flat_map(|curve| curve.1.iter()).map(|point| point.1);
    let y = Axis::linear(top.fold(0.0, f64::max), |at| unit.format_short(at));
    let mut chart = chart(area, title, (&time_axis(runs), "seconds"), &y)?;
    for (index, points) in curves {
        line(&mut chart, index, points)?;
    }
    marks(&mut chart, runs, &y)
}

fn latency<B: DrawingBackend>(runs: &[(usize, &RunResult)], area: &Area<B>) -> anyhow::Result<()> {
    let values = runs.iter().flat_map(|(_, run)| &run.timeline).filter_map(|step| step.p99_ns);
    let values = values.map(|value| value as f64);
    let y =
        Axis::log_time(values.clone().fold(f64::INFINITY, f64::min), values.fold(1.0, f64::max));
    let title = "99th percentile of the latency over time";
    let mut chart = chart(area, title, (&time_axis(runs), "seconds"), &y)?;
    for (index, run) in runs {
        // The line is broken where nothing was answered.
        for piece in run.timeline.split(|step| step.p99_ns.is_none()) {
            let height = |step: &Interval| Some((step.p99_ns?.max(1) as f64).log10());
            let points = piece.iter().filter_map(|step| Some(level(step, height(step)?)));
            line(&mut chart, *index, points.flatten().collect())?;
        }
    }
    marks(&mut chart, runs, &y)
}

/// A dashed line at each mark; its text stands at the first of several with the same one.
fn marks<B: DrawingBackend>(
    chart: &mut Chart<'_, B>,
    runs: &[(usize, &RunResult)],
    y: &Axis,
) -> anyhow::Result<()> {
    const LINES: usize = 5;
    let mut named: Vec<&str> = Vec::new();
    for (index, run) in runs {
        for mark in &run.marks {
            let at = mark.at_us as f64 / 1e6;
            let style = color(*index).mix(0.8).stroke_width(1);
            let dashes = DashedLineSeries::new([(at, y.from), (at, y.to)], 6, 4, style);
            chart.draw_series(dashes).map_err(failed)?;
            if named.contains(&mark.label.as_str()) {
                continue;
            }
            let below = (named.len() % LINES) as f64 * 0.08 + 0.02;
            name_mark(chart, (at, y.to - (y.to - y.from) * below), &mark.label)?;
            named.push(&mark.label);
        }
    }
    Ok(())
}

/// Writes what happened beside its line, on whichever side there is more room.
fn name_mark<B: DrawingBackend>(
    chart: &mut Chart<'_, B>,
    place: Point,
    label: &str,
) -> anyhow::Result<()> {
    const GAP: i32 = 5;
    let label = shorten(label, 60);
    let left = place.0 > chart.x_range().end / 2.0;
    let side = if left { HPos::Right } else { HPos::Left };
    let style = text_style(15.0, RGBColor(40, 40, 40), side, VPos::Top);
    let (width, height) =
        chart.plotting_area().estimate_text_size(&label, &style).map_err(failed)?;
    let (width, height) = (width as i32, height as i32);
    let x = if left { -GAP } else { GAP };
    // Lines behind the text would make it hard to read.
    let paper = if left { (x - width, x) } else { (x, x + width) };
    let element = EmptyElement::at(place)
        + Rectangle::new([(paper.0, -2), (paper.1, height + 2)], WHITE.mix(0.85).filled())
        + Text::new(label, (x, 0), style);
    chart.draw_series([element]).map_err(failed)?;
    Ok(())
}

/// Connections of all runs of each group, by the upper edge of their bucket.
fn buckets(groups: &[Group<'_>]) -> Vec<(usize, BTreeMap<u64, u64>)> {
    let mut counts: Vec<(usize, BTreeMap<u64, u64>)> = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let mut sum = BTreeMap::new();
        let buckets = group.runs.iter().filter_map(|run| run.stalls.as_ref());
        for bucket in buckets.flat_map(|stalls| &stalls.buckets) {
            *sum.entry(bucket.up_to_us).or_default() += bucket.count;
        }
        if !sum.is_empty() {
            counts.push((index, sum));
        }
    }
    counts
}

/// Upper edges of all buckets, with the empty ones between them.
fn edges(counts: &[(usize, BTreeMap<u64, u64>)]) -> Vec<u64> {
    let used: BTreeSet<u64> = counts.iter().flat_map(|(_, sum)| sum.keys().copied()).collect();
    let mut edges: Vec<u64> = Vec::new();
    for edge in used {
        while let Some(next) = edges.last().map(|last| last.saturating_mul(2).max(1)) {
            if next >= edge {
                break;
            }
            edges.push(next);
        }
        edges.push(edge);
    }
    edges
}

fn stalls<B: DrawingBackend>(groups: &[Group<'_>], area: &Area<B>) -> anyhow::Result<()> {
    // So that few bars are not as wide as the picture.
    const LEAST_PLACES: usize = 6;
    let counts = buckets(groups);
    let edges = edges(&counts);
    let label = |edge: &u64| Unit::Nanoseconds.format_short(*edge as f64 * 1e3);
    let ticks = edges.iter().enumerate().map(|(at, edge)| (at as f64 + 0.5, label(edge))).collect();
    let x = Axis { from: 0.0, to: edges.len().max(LEAST_PLACES) as f64, ticks };
    let highest = counts.iter().flat_map(|(_, sum)| sum.values()).max().copied().unwrap_or(0);
    let mut y = Axis::linear(highest as f64, |at| Unit::Count.format_short(at));
    y.ticks.retain(|tick| tick.0.fract() == 0.0);
    let title = "Connections by their longest stall";
    let mut chart = chart(area, title, (&x, "up to"), &y)?;
    let width = 0.8 / counts.len().max(1) as f64;
    let style = text_style(14.0, RGBColor(40, 40, 40), HPos::Center, VPos::Bottom);
    for (place, (index, sum)) in counts.iter().enumerate() {
        for (at, edge) in edges.iter().enumerate() {
            let Some(count) = sum.get(edge) else { continue };
            let left = at as f64 + 0.1 + place as f64 * width;
            let bar = [(left, 0.0), (left + width, *count as f64)];
            chart.draw_series([Rectangle::new(bar, color(*index).filled())]).map_err(failed)?;
            let number = Unit::Count.format_short(*count as f64);
            let top = (left + width / 2.0, *count as f64);
            chart.draw_series([Text::new(number, top, style.clone())]).map_err(failed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures;

    #[test]
    fn a_short_rest_is_no_step_of_its_own() {
        let mut run = fixtures::run("solo", 10);
        assert_eq!(steps(&run).count(), 10);
        run.timeline.push(Interval { at_us: 1_000_000, span_us: 40, ..Interval::default() });
        assert_eq!(steps(&run).count(), 10);
        run.timeline = vec![Interval { span_us: 7, ..Interval::default() }];
        assert_eq!(steps(&run).count(), 1);
    }

    #[test]
    fn empty_buckets_between_full_ones_keep_their_place() {
        let counts =
            [(0, BTreeMap::from([(1_000, 5), (8_000, 1)])), (1, BTreeMap::from([(2_000, 1)]))];
        assert_eq!(edges(&counts), [1_000, 2_000, 4_000, 8_000]);
        assert_eq!(edges(&[(0, BTreeMap::from([(0, 1), (u64::MAX, 1)]))]).len(), 66);
        assert_eq!(edges(&[]), [] as [u64; 0]);
    }
}
