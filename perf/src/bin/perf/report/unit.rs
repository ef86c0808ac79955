//! Numbers as people read them: three digits and a unit.

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Requests or connections.
    Count,
    PerSecond,
    BitsPerSecond,
    Bytes,
    Nanoseconds,
}

const DECIMAL: [(f64, &str); 5] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")];
const TIME: [(f64, &str); 4] = [(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")];

impl Unit {
    /// Three significant digits, the prefix that suits them, and the unit.
    pub fn format(self, value: f64) -> String {
        let (steps, unit): (&[(f64, &str)], &str) = match self {
            Self::Count => (&DECIMAL, ""),
            Self::PerSecond => (&DECIMAL, "/s"),
            Self::BitsPerSecond => (&DECIMAL, "bit/s"),
            Self::Bytes => (&DECIMAL, "B"),
            Self::Nanoseconds => (&TIME, ""),
        };
        // Half a digit early, so that 999.9 becomes 1.00 k and not 1000.
        let fits = |step: f64| value.abs() >= step * 0.9995;
        let (step, prefix) =
            steps.iter().copied().find(|(step, _)| fits(*step)).unwrap_or(steps[steps.len() - 1]);
        let scaled = value / step;
        let digits = match scaled.abs() {
            _ if step == 1.0 && value.fract() == 0.0 => 0,
            size if size >= 99.95 => 0,
            size if size >= 9.995 => 1,
            _ => 2,
        };
        format!("{scaled:.digits$} {prefix}{unit}").trim_end().to_owned()
    }

    /// As [`Unit::format`], without digits that are zero: for axes.
    pub fn format_short(self, value: f64) -> String {
        if value == 0.0 {
            return "0".to_owned();
        }
        let text = self.format(value);
        let (number, unit) = text.split_once(' ').unwrap_or((&text, ""));
        let number = if number.contains('.') {
            number.trim_end_matches('0').trim_end_matches('.')
        } else {
            number
        };
        format!("{number} {unit}").trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::Unit::{Bytes, Count, Nanoseconds, PerSecond};

    #[test]
    fn numbers_have_three_digits_and_a_prefix() {
        assert_eq!(PerSecond.format(3_214_567.0), "3.21 M/s");
        assert_eq!(PerSecond.format(146_000.0), "146 k/s");
        assert_eq!(PerSecond.format(12.34), "12.3 /s");
        assert_eq!(Nanoseconds.format(850.0), "850 ns");
        assert_eq!(Nanoseconds.format(12_345.0), "12.3 µs");
        assert_eq!(Nanoseconds.format(0.0), "0 ns");
        assert_eq!(Count.format(64.0), "64");
        assert_eq!(Bytes.format(999_999.0), "1.00 MB");
    }

    #[test]
    fn axes_have_no_trailing_zeros() {
        assert_eq!(Nanoseconds.format_short(10_000.0), "10 µs");
        assert_eq!(PerSecond.format_short(1_500_000.0), "1.5 M/s");
        assert_eq!(Count.format_short(100.0), "100");
    }
}
