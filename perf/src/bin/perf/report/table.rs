//! A table that can be shown on a terminal and in HTML.

use std::fmt::Write as _;

/// First column: what the row is about. The others are numbers as text, aligned to the right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { head: head.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Drops the columns that say nothing in any row; the first stays.
    #[must_use]
    pub fn without_empty_columns(mut self) -> Self {
        let keep: Vec<bool> = (0..self.head.len())
            .map(|at| at == 0 || self.rows.iter().any(|row| !row[at].is_empty()))
            .collect();
        for row in self.rows.iter_mut().chain([&mut self.head]) {
            let mut columns = keep.iter();
            row.retain(|_| columns.next().copied().unwrap_or(true));
        }
        self
    }

    /// Rows as columns.
    #[must_use]
    pub fn transposed(&self) -> Self {
        let column = |at: usize| {
            std::iter::once(&self.head).chain(&self.rows).map(|row| row[at].clone()).collect()
        };
        let mut columns = (0..self.head.len()).map(column);
        Self { head: columns.next().unwrap_or_default(), rows: columns.collect() }
    }

    /// Lines of text with aligned columns.
    pub fn to_text(&self) -> String {
        let lines = || std::iter::once(&self.head).chain(&self.rows);
        let widths: Vec<usize> = (0..self.head.len())
            .map(|at| lines().map(|row| row[at].chars().count()).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for row in lines() {
            let mut line = String::new();
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if at == 0 {
                    let _ = write!(line, "{cell:width$}");
                } else {
                    let _ = write!(line, "  {cell:>width$}");
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// A `<table>`.
    pub fn to_html(&self) -> String {
        let mut html = String::from("<div class=\"wide\"><table>\n<thead><tr>");
        for cell in &self.head {
            let _ = write!(html, "<th>{}</th>", escape(cell));
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            html.push_str("<tr>");
            for (at, cell) in row.iter().enumerate() {
                let tag = if at == 0 { "th" } else { "td" };
                let _ = write!(html, "<{tag}>{}</{tag}>", escape(cell));
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody></table></div>\n");
        html
    }
}

/// Text as HTML shows it literally.
pub fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["run", "p50", "p99"]);
        table.rows.push(vec!["a <b>".into(), "12.3 µs".into(), String::new()]);
        table.rows.push(vec!["longer".into(), "1 µs".into(), String::new()]);
        table
    }

    #[test]
    fn text_is_aligned() {
        let text = table().without_empty_columns().to_text();
        assert_eq!(text, "run         p50\na <b>   12.3 µs\nlonger     1 µs\n");
    }

    #[test]
    fn transposing_twice_changes_nothing() {
        let transposed = table().transposed();
        assert_eq!(transposed.head, ["run", "a <b>", "longer"]);
        assert_eq!(transposed.rows[0], ["p50", "12.3 µs", "1 µs"]);
        assert_eq!(transposed.transposed(), table());
    }

    #[test]
    fn html_shows_markup_as_text() {
        let html = table().to_html();
        assert!(html.contains("<th>a &lt;b&gt;</th><td>12.3 µs</td>"), "{html}");
    }
}
