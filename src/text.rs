//! Text for people: tables and numbers.

use std::fmt::Write;

/// Lines of cells, aligned in columns as wide as their widest cell.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table that starts with a line of headings.
    pub fn with_headings(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(ToString::to_string).collect()] }
    }

    /// Appends a line.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The text, each line ended by a newline and begun with `indent` spaces.
    pub fn render(&self, indent: usize) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(indent);
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(line, "{cell:width$}  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Bytes with a binary unit, e.g. `1.5 MiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A number with its thousands apart, e.g. `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A short time with three digits and a unit that suits it, e.g. `850 ns`, `1.25 us`, `12.5 ms`.
pub fn duration_ns(ns: u64) -> String {
    const UNITS: [&str; 3] = ["us", "ms", "s"];
    if ns < 1_000 {
        return format!("{ns} ns");
    }
    let mut value = ns as f64 / 1e3;
    let mut unit = 0;
    // What would be rounded to 1000 belongs to the next unit.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1e3;
        unit += 1;
    }
    let decimals = match value {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// A span of time with a unit that suits it, e.g. `250 us`, `12.5 ms`, `3.0 s`, `2 h 5 min`.
pub fn duration_us(us: u64) -> String {
    let seconds = us / 1_000_000;
    match us {
        0..1000 => format!("{us} us"),
        1000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        1_000_000..120_000_000 => format!("{:.1} s", us as f64 / 1e6),
        120_000_000..7_200_000_000 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(123), "123");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(duration_ns(999), "999 ns");
        assert_eq!(duration_ns(1_254), "1.25 us");
        assert_eq!(duration_ns(99_960), "100 us");
        assert_eq!(duration_ns(999_700), "1.00 ms");
        assert_eq!(duration_ns(10_000_000_000), "10.0 s");
        assert_eq!(duration_us(999), "999 us");
        assert_eq!(duration_us(12_500), "12.5 ms");
        assert_eq!(duration_us(7_500_000_000), "2 h 5 min");
    }

    #[test]
    fn table_aligns_columns() {
        let mut table = Table::with_headings(&["a", "long"]);
        table.row(["wider".into(), "x".into()]);
        assert_eq!(table.render(2), "  a      long\n  wider  x\n");
    }
}
