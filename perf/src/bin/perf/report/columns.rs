//! `holdfast-perf draw`: a table of numbers as curves.
//!
//! Lines of fields between tabs; the first line names the columns. The first column is the
//! horizontal axis of all panels. Another one is named `panel: curve`; those with the same panel
//! share it, those with the same curve its colour. An empty field, or none, is a gap.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use plotters::{
    prelude::{DrawingBackend, IntoDrawingArea, LineSeries, SVGBackend},
    style::{Color, WHITE},
};

use super::{
    chart::{Axis, chart},
    command::{plot_path, save},
    font,
    head::Head,
    plot::{Area, PANEL_HEIGHT, WIDTH, color, failed},
    raster,
    unit::Unit,
};

/// Arguments of `draw`.
#[derive(Debug, Args)]
pub struct DrawArgs {
    /// A table, with tabs between its fields and the names of its columns in the first line
    #[arg(value_name = "TABLE.tsv")]
    pub table: PathBuf,
    /// The picture: .svg or .png
    #[arg(long, value_name = "FILE", value_parser = plot_path)]
    pub plot: PathBuf,
    /// Stands on top
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub title: String,
}

/// Draws a table.
///
/// # Errors
/// The table can't be read, is none, or the picture can't be written.
pub fn run(args: &DrawArgs) -> anyhow::Result<ExitCode> {
    let path = args.table.display();
    let text = fs::read_to_string(&args.table).with_context(|| format!("cannot read {path}"))?;
    let table = Table::parse(&text).with_context(|| format!("{path} is no table to draw"))?;
    let png = args.plot.extension().is_some_and(|ending| ending == "png");
    save(&args.plot, &table.picture(&args.title, png)?)?;
    Ok(ExitCode::SUCCESS)
}

type Point = (f64, f64);

#[derive(Debug, PartialEq)]
struct Curve {
    panel: usize,
    /// Place of its name, and its colour.
    name: usize,
    /// Without the gaps: a piece for each run of points.
    pieces: Vec<Vec<Point>>,
}

/// What is drawn.
#[derive(Debug, PartialEq)]
struct Table {
    /// Name of the horizontal axis.
    x: String,
    panels: Vec<String>,
    names: Vec<String>,
    curves: Vec<Curve>,
}

impl Table {
    fn parse(text: &str) -> anyhow::Result<Table> {
        let mut lines = text.lines().enumerate();
        let (_, head) = lines.next().context("it is empty")?;
        let (x, columns) = head.split_once('\t').context("its first line names one column only")?;
        let (mut panels, mut names, mut curves) = (Vec::new(), Vec::new(), Vec::new());
        for column in columns.split('\t') {
            let (panel, name) = column.split_once(": ").with_context(|| {
                format!("column '{column}' has to be named 'panel: curve', with one space")
            })?;
            let pieces = vec![Vec::new()];
            let (panel, name) = (place_of(panel, &mut panels), place_of(name, &mut names));
            curves.push(Curve { panel, name, pieces });
        }
        for (at, line) in lines.filter(|(_, line)| !line.is_empty()) {
            let mut fields = line.split('\t').map(number);
            let wrong = || anyhow!("line {} begins with no number", at + 1);
            let x = fields.next().ok_or_else(wrong)?.with_context(wrong)?.ok_or_else(wrong)?;
            for curve in &mut curves {
                let y = fields.next().transpose();
                let y = y.with_context(|| format!("line {} has no number", at + 1))?.flatten();
                match (y, curve.pieces.last_mut()) {
                    (Some(y), Some(piece)) => piece.push((x, y)),
                    (None, Some(piece)) if !piece.is_empty() => curve.pieces.push(Vec::new()),
                    _ => {}
                }
            }
            if fields.next().is_some() {
                bail!("line {} has more fields than the first line has names", at + 1);
            }
        }
        Ok(Table { x: x.to_owned(), panels, names, curves })
    }

    fn points(&self, panel: Option<usize>) -> impl Iterator<Item = &Point> {
        let shown = move |curve: &&Curve| panel.is_none_or(|panel| curve.panel == panel);
        self.curves.iter().filter(shown).flat_map(|curve| curve.pieces.iter().flatten())
    }

    fn picture(&self, title: &str, png: bool) -> anyhow::Result<Vec<u8>> {
        font::register()?;
        let head = Head { title, labels: self.names.iter().map(String::as_str).collect() };
        let panels = u32::try_from(self.panels.len()).unwrap_or(u32::MAX);
        let height = head.height().unsigned_abs() + PANEL_HEIGHT.saturating_mul(panels);
        let size = (WIDTH, height);
        if png {
            return raster::png(size, |area| self.draw(&head, area));
        }
        let mut text = String::new();
        {
            let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
            self.draw(&head, &area)?;
            area.present().map_err(failed)?;
        }
        Ok(text.into_bytes())
    }

    fn draw<B: DrawingBackend>(&self, head: &Head<'_>, area: &Area<B>) -> anyhow::Result<()> {
        area.fill(&WHITE).map_err(failed)?;
        let (top, body) = area.split_vertically(head.height());
        head.draw(&top)?;
        let text = |at: f64| Unit::Count.format_short(at);
        let x = Axis::linear(self.points(None).map(|point| point.0).fold(0.0, f64::max), text);
        for (panel, part) in body.split_evenly((self.panels.len(), 1)).iter().enumerate() {
            let highest = self.points(Some(panel)).map(|point| point.1).fold(0.0, f64::max);
            let y = Axis::linear(highest, text);
            let mut chart = chart(part, &self.panels[panel], (&x, &self.x), &y)?;
            for curve in self.curves.iter().filter(|curve| curve.panel == panel) {
                for piece in &curve.pieces {
                    let style = color(curve.name).stroke_width(2);
                    chart.draw_series(LineSeries::new(piece.clone(), style)).map_err(failed)?;
                }
            }
        }
        Ok(())
    }
}

/// Where the name stands; it is added if it is new.
fn place_of(name: &str, names: &mut Vec<String>) -> usize {
    names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
}

/// A field's number; none if it is empty.
fn number(field: &str) -> anyhow::Result<Option<f64>> {
    if field.is_empty() {
        return Ok(None);
    }
    let number: f64 = field.parse().with_context(|| format!("'{field}' is no number"))?;
    if !number.is_finite() {
        bail!("'{field}' cannot be drawn");
    }
    Ok(Some(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "minutes\tMiB: a\tMiB: b\tms: a\n0\t1\t2\t3\n1\t4\t\t5\n2\t6\t7\n";

    #[test]
    fn columns_become_curves_with_gaps() {
        let table = Table::parse(TABLE).unwrap();
        assert_eq!((table.x.as_str(), table.panels.len(), table.names.len()), ("minutes", 2, 2));
        let pieces: Vec<_> = table.curves.iter().map(|curve| curve.pieces.clone()).collect();
        assert_eq!(pieces[0], [vec![(0.0, 1.0), (1.0, 4.0), (2.0, 6.0)]]);
        assert_eq!(pieces[1], [vec![(0.0, 2.0)], vec![(2.0, 7.0)]]);
        assert_eq!(pieces[2], [vec![(0.0, 3.0), (1.0, 5.0)], vec![]]);
        assert_eq!((table.curves[2].panel, table.curves[2].name), (1, 0));
    }

    #[test]
    fn what_is_no_table_is_refused_with_its_place() {
        for (text, what) in [
            ("", "empty"),
            ("minutes\n", "one column"),
            ("minutes\tMiB\n", "'MiB'"),
            ("minutes\tMiB: a\n0\tx\n", "line 2"),
            ("minutes\tMiB: a\nx\t0\n", "line 2"),
            ("minutes\tMiB: a\n\t0\n", "line 2"),
            ("minutes\tMiB: a\n0\t1\t2\n", "line 2"),
            ("minutes\tMiB: a\n0\tinf\n", "line 2"),
        ] {
            let error = format!("{:#}", Table::parse(text).unwrap_err());
            assert!(error.contains(what), "{text:?}: {error}");
        }
    }

    #[test]
    fn both_kinds_of_picture_are_drawn() {
        let table = Table::parse(TABLE).unwrap();
        let svg = String::from_utf8(table.picture("A soak", false).unwrap()).unwrap();
        for text in ["A soak", "MiB", "ms", "minutes", "<polyline"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(table.picture("", true).unwrap().starts_with(b"\x89PNG"));
        assert!(Table::parse("x\tnothing: yet\n").unwrap().picture("", false).is_ok());
    }
}
