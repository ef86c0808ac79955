//! The report: one HTML file with tables and pictures in it, and no reference to anything outside.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    time::{Duration, UNIX_EPOCH},
};

use serde_json::Value;

use super::{
    compare,
    panel::Panel,
    plot::{Picture, color},
    summary::{self, Group},
    table::{Table, escape},
    unit::Unit,
};
use crate::result::RunResult;

const STYLE: &str = include_str!("report.css");

/// The report of `results` as text of an HTML file.
///
/// `warnings` stand on top, such as that the results are of different machines.
///
/// # Errors
/// A histogram in the results is damaged.
pub fn html(results: &[RunResult], warnings: &[String]) -> anyhow::Result<String> {
    let groups = summary::groups(results);
    let title = title(&groups);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{0}</title>\n<style>\n{STYLE}</style></head>\n<body>\n<h1>{0}</h1>\n",
        escape(&title)
    );
    for warning in warnings {
        let _ = writeln!(page, "<p class=\"warning\">{}</p>", escape(warning));
    }
    page.push_str(&machines(results));
    page.push_str(&legend(&groups));
    section(&mut page, "Summary", &summary::table(&groups));
    if groups.iter().any(|group| group.runs.len() > 1) {
        page.push_str("<p>Median of the runs, with the least and the greatest.</p>\n");
    }
    for panel in Panel::of(&groups) {
        let picture = Picture { title: "", groups: &groups, panels: vec![panel] };
        let _ = writeln!(page, "<figure>\n{}</figure>", picture.svg()?);
    }
    for other in groups.iter().skip(1) {
        if groups[0].runs[0].command == other.runs[0].command {
            let name = format!("{} against {}", other.label, groups[0].label);
            section(&mut page, &name, &compare::ratios(&groups[0], other));
        }
    }
    section(&mut page, "Runs", &runs(&groups));
    failures(&mut page, &groups);
    section(&mut page, "Parameters", &parameters(&groups));
    page.push_str("</body></html>\n");
    Ok(page)
}

fn title(groups: &[Group<'_>]) -> String {
    let commands: BTreeSet<&str> =
        groups.iter().map(|group| group.runs[0].command.as_str()).collect();
    let commands: Vec<&str> = commands.into_iter().collect();
    format!("holdfast-perf: {}", commands.join(", "))
}

fn machines(results: &[RunResult]) -> String {
    let told: BTreeSet<&str> = results.iter().map(|run| run.machine.fingerprint.as_str()).collect();
    told.into_iter().map(|machine| format!("<p>Machine: {}</p>\n", escape(machine))).collect()
}

fn legend(groups: &[Group<'_>]) -> String {
    let mut html = String::from("<ul class=\"legend\">\n");
    for (index, group) in groups.iter().enumerate() {
        let color = color(index);
        let _ = writeln!(
            html,
            "<li><span style=\"background:#{:02x}{:02x}{:02x}\"></span>{}</li>",
            color.0,
            color.1,
            color.2,
            escape(&group.label)
        );
    }
    html.push_str("</ul>\n");
    html
}

fn section(page: &mut String, name: &str, table: &Table) {
    let _ = writeln!(page, "<h2>{}</h2>\n{}", escape(name), table.to_html());
}

fn runs(groups: &[Group<'_>]) -> Table {
    let mut table = Table::new([
        "run",
        "started",
        "seconds",
        "over",
        "connections",
        "opened",
        "alive at the end",
        "resets",
        "errors",
        "requests",
        "sent",
        "received",
        "events",
    ]);
    let count = |value: u64| value.to_string();
    for run in groups.iter().flat_map(|group| &group.runs) {
        let events = run.marks.iter().map(|mark| {
            format!("{} at {}", mark.label, Unit::Nanoseconds.format(mark.at_us as f64 * 1e3))
        });
        table.rows.push(vec![
            summary::label_of(run),
            started(run),
            format!("{:.3}", run.duration_us as f64 / 1e6),
            run.backend.clone(),
            count(run.connections.asked),
            count(run.connections.opened),
            count(run.connections.alive),
            count(run.connections.resets),
            count(run.connections.errors),
            if run.command == "bulk" { String::new() } else { count(run.requests) },
            Unit::Bytes.format(run.bytes_up as f64),
            Unit::Bytes.format(run.bytes_down as f64),
            events.collect::<Vec<_>>().join("; "),
        ]);
    }
    table.without_empty_columns()
}

fn started(run: &RunResult) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_micros(run.started_unix_us));
    // Beyond the year 9999 there is no HTTP date.
    let sane = time.filter(|_| run.started_unix_us < 253_402_300_800_000_000);
    sane.map_or_else(String::new, httpdate::fmt_http_date)
}

fn failures(page: &mut String, groups: &[Group<'_>]) {
    let mut table = Table::new(["failure", "run", "count"]);
    for run in groups.iter().flat_map(|group| &group.runs) {
        table.rows.extend(run.failures.iter().map(|failure| {
            vec![failure.text.clone(), summary::label_of(run), failure.count.to_string()]
        }));
    }
    if table.rows.is_empty() {
        page.push_str("<p>No run failed in anything.</p>\n");
    } else {
        section(page, "Failures", &table);
    }
}

/// One row per option, one column per group: what its first run was started with.
fn parameters(groups: &[Group<'_>]) -> Table {
    let labels = groups.iter().map(|group| group.label.clone());
    let mut table = Table::new(["option".to_owned()].into_iter().chain(labels));
    let members = |group: &Group<'_>| group.runs[0].parameters.as_object().cloned();
    let names: BTreeSet<String> = groups
        .iter()
        .filter_map(members)
        .flat_map(|object| object.into_iter().map(|m| m.0))
        .collect();
    for name in names {
        let cells = groups.iter().map(|group| shown(group.runs[0].parameters.get(&name)));
        table.rows.push([name.clone()].into_iter().chain(cells).collect());
    }
    table
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{report::fixtures, result::Failures};

    #[test]
    fn report_stands_alone_and_shows_foreign_text_as_text() {
        let mut results = [fixtures::run("<script>alert(1)</script>", 5), fixtures::run("b", 50)];
        results[0].failures.push(Failures { text: "reset & gone".into(), count: 3 });
        let page = html(&results, &["careful".into()]).unwrap();
        assert!(!page.contains("<script"), "label became markup");
        for outside in ["http://", "https://", "src=", "href=", "url(", "@import"] {
            let page = page.replace("http://www.w3.org/2000/svg", "");
            assert!(!page.contains(outside), "refers to something outside: {outside}");
        }
        for text in ["careful", "reset &amp; gone", "takeover at 450 ms", "10.0.0.1:7", "GMT"] {
            assert!(page.contains(text), "{text}");
        }
        assert_eq!(page.matches("<svg").count(), 4);
        assert_eq!(page.matches("</svg>").count(), 4);
    }

    #[test]
    fn odd_results_make_a_report_all_the_same() {
        let mut run = fixtures::run("", 5);
        run.parameters = Value::Null;
        run.started_unix_us = u64::MAX;
        run.requests_per_second = f64::INFINITY;
        run.timeline.clear();
        run.latency_ns = None;
        assert!(html(&[run], &[]).unwrap().contains("rpc over memif"));
    }
}
