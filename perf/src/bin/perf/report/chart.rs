//! One chart with two axes, whose marks are chosen here and not by plotters.

use std::ops::Range;

use plotters::{
    chart::{ChartBuilder, ChartContext},
    coord::{
        cartesian::Cartesian2d,
        ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter},
    },
    prelude::DrawingBackend,
    style::{
        Color, RGBColor,
        text_anchor::{HPos, VPos},
    },
};

use super::{
    plot::{Area, failed, text_style},
    unit::Unit,
};

/// A chart that series are drawn on.
pub type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<Axis, Axis>>;

const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(222, 222, 222);

/// A range of numbers with the places where it is marked.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    pub from: f64,
    pub to: f64,
    /// Ascending.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From zero to a little above `max`, marked at round numbers.
    pub fn linear(max: f64, text: impl Fn(f64) -> String) -> Self {
        let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
        let step = round_up(max / 6.0);
        let to = max * 1.08;
        let count = (to / step).floor() as u32;
        let ticks = (0..=count).map(|at| f64::from(at) * step).map(|at| (at, text(at))).collect();
        Self { from: 0.0, to, ticks }
    }

    /// Decimal logarithms of nanoseconds between the powers of ten around `min` and `max`, or
    /// between nearer marks if that leaves less empty.
    pub fn log_time(min: f64, max: f64) -> Self {
        let (min, max) = (min.max(1.0), max.max(min).max(1.0));
        let marks: Vec<f64> = (0..=12)
            .flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)))
            .collect();
        let first = marks.iter().rposition(|mark| *mark <= min).unwrap_or(0);
        let last = marks.iter().position(|mark| *mark > max).unwrap_or(marks.len() - 1);
        let shown = &marks[first..=last];
        let crowded = shown.len() > 10;
        let ticks = shown
            .iter()
            .filter(|mark| !crowded || mark.log10().fract().abs() < 1e-9)
            .map(|mark| (mark.log10(), Unit::Nanoseconds.format_short(*mark)))
            .collect();
        Self { from: marks[first].log10(), to: marks[last].log10(), ticks }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let share = (value - self.from) / (self.to - self.from);
        first + (share.clamp(0.0, 1.0) * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.iter().map(|tick| tick.0).collect()
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|tick| tick.0 == *value);
        tick.map_or_else(String::new, |tick| tick.1.clone())
    }
}

/// The least of 1, 2, 5 times a power of ten that is not below `value`.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|step| *step >= value)
        .unwrap_or(10.0 * power)
}

/// Draws title, axes and grid.
///
/// # Errors
/// The backend fails.
pub fn chart<'a, B: DrawingBackend + 'a>(
    area: &'a Area<B>,
    title: &str,
    (x, x_name): (&Axis, &str),
    y: &Axis,
) -> anyhow::Result<Chart<'a, B>> {
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .margin_right(28)
        .caption(title, text_style(18.0, INK, HPos::Center, VPos::Center))
        .x_label_area_size(46)
        .y_label_area_size(78)
        .build_cartesian_2d(x.clone(), y.clone())
        .map_err(failed)?;
    chart
        .configure_mesh()
        .light_line_style(GRID.mix(0.0))
        .bold_line_style(GRID)
        .axis_style(INK)
        .x_desc(x_name)
        .axis_desc_style(text_style(15.0, INK, HPos::Center, VPos::Center))
        .label_style(text_style(15.0, INK, HPos::Center, VPos::Center))
        .draw()
        .map_err(failed)?;
    Ok(chart)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.1.as_str()).collect()
    }

    #[test]
    fn linear_axes_are_marked_at_round_numbers() {
        let axis = Axis::linear(96_000.0, |at| Unit::PerSecond.format_short(at));
        assert_eq!(texts(&axis), ["0", "20 k/s", "40 k/s", "60 k/s", "80 k/s", "100 k/s"]);
    }

    #[test]
    fn logarithmic_axes_enclose_the_data() {
        let axis = Axis::log_time(3_100.0, 41_000.0);
        assert_eq!(texts(&axis), ["2 µs", "5 µs", "10 µs", "20 µs", "50 µs"]);
        let wide = Axis::log_time(900.0, 2e9);
        assert_eq!(texts(&wide), ["1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s"]);
    }

    #[test]
    fn empty_and_odd_data_still_give_an_axis() {
        for max in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Axis::linear(max, |at| at.to_string()).to > 0.0);
        }
        let axis = Axis::log_time(0.0, 0.0);
        assert!(axis.to > axis.from);
        let beyond = Axis::log_time(1e30, 1e30);
        assert!(beyond.to >= beyond.from);
    }
}
