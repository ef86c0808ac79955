//! The last events of a node, for operators who were not looking when they happened.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use controlplane::{Event, Severity, admin::EventRecord};

/// Events that are kept.
const CAPACITY: usize = 1000;

/// A bounded list of events; the newest push the oldest out.
#[derive(Debug, Default)]
pub struct EventLog {
    records: Mutex<VecDeque<EventRecord>>,
}

impl EventLog {
    /// Keeps `event`, which happened just now.
    pub fn push(&self, event: &Event) {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let severity = match event.severity() {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let seq = records.back().map_or(1, |last| last.seq + 1);
        if records.len() == CAPACITY {
            records.pop_front();
        }
        records.push_back(EventRecord {
            seq,
            unix_ms: u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX),
            severity: severity.into(),
            name: event.name().into(),
            text: event.to_string(),
        });
    }

    /// The first `limit` events with a number above `after`.
    pub fn after(&self, after: u64, limit: usize) -> Vec<EventRecord> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().filter(|record| record.seq > after).take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_and_numbers_all() {
        let log = EventLog::default();
        for after_us in 0..CAPACITY as u64 + 5 {
            log.push(&Event::DoubtSettled { after_us });
        }
        let kept = log.after(0, usize::MAX);
        assert_eq!(kept.len(), CAPACITY);
        assert_eq!(kept[0].seq, 6);
        assert_eq!(log.after(CAPACITY as u64 + 3, 10).len(), 2);
        assert_eq!(log.after(0, 1), kept[..1]);
    }
}
