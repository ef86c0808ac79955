//! The services of a node, a line for each.

use controlplane::admin::{ServiceStatus, Status};

use crate::text::{self, Table};

/// What each service has, and what was refused on its behalf.
pub fn render(status: &Status) -> String {
    if status.services.is_empty() {
        return String::new();
    }
    let headings = ["service", "port", "connections", "half-open", "buffers", "cookies", "refused"];
    let mut table = Table::with_headings(&headings);
    for service in &status.services {
        table.row([
            service.name.clone(),
            service.port.to_string(),
            text::count(service.connections),
            text::count(service.half_open),
            text::bytes(service.buffer_bytes),
            cookies(service),
            refused(service),
        ]);
    }
    format!("\n{}", table.render(0))
}

fn cookies(service: &ServiceStatus) -> String {
    let counter = |name: &str| service.counters.get(name).copied().unwrap_or(0);
    let (sent, accepted) = (counter("cookies_sent"), counter("cookies_accepted"));
    let now = if service.syn_cookies { "SENDING, " } else { "" };
    match sent + accepted {
        0 => format!("{now}none"),
        _ => format!("{now}{} sent, {} good", text::count(sent), text::count(accepted)),
    }
}

fn refused(service: &ServiceStatus) -> String {
    let reasons: Vec<String> = service
        .counters
        .iter()
        .filter(|(_, count)| **count > 0)
        .filter_map(|(name, count)| {
            let reason = name.strip_prefix("refused_")?.replace('_', " ");
            Some(format!("{} {reason}", text::count(*count)))
        })
        .collect();
    if reasons.is_empty() { "none".into() } else { reasons.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flood_and_refusals_are_seen_at_a_glance() {
        let mut service = ServiceStatus { syn_cookies: true, ..ServiceStatus::default() };
        service.counters.extend([
            ("cookies_sent".to_owned(), 12_345),
            ("cookies_accepted".to_owned(), 6),
            ("refused_source_rate".to_owned(), 7),
            ("refused_full".to_owned(), 0),
        ]);
        assert_eq!(cookies(&service), "SENDING, 12,345 sent, 6 good");
        assert_eq!(refused(&service), "7 source rate");
        let quiet = ServiceStatus::default();
        assert_eq!((cookies(&quiet), refused(&quiet)), ("none".to_owned(), "none".to_owned()));
    }
}
