//! Latencies as an `HdrHistogram` interval log, which the usual tools read.

use std::{
    collections::HashSet,
    io::Write,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::anyhow;
use hdrhistogram::{
    Histogram,
    serialization::{
        V2DeflateSerializer,
        interval_log::{IntervalLogWriterBuilder, Tag},
    },
};

use super::summary;
use crate::result::RunResult;

/// Latencies of one stretch of time.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The run's label; tools show the tags apart.
    pub label: String,
    /// Start, in microseconds since the Unix epoch.
    pub started_unix_us: u64,
    pub span_us: u64,
    /// In nanoseconds.
    pub latency_ns: Histogram<u64>,
}

/// Writes a log of `entries`, which are brought into order of time.
///
/// The third column, the greatest value, is in milliseconds, as tools expect; the histograms are in
/// nanoseconds.
///
/// # Errors
/// `out` can't be written, or there is nothing to write.
pub fn write(out: &mut impl Write, mut entries: Vec<Entry>) -> anyhow::Result<()> {
    entries.sort_by_key(|entry| entry.started_unix_us);
    let Some(first) = entries.first() else {
        return Err(anyhow!("no latency was measured, so there is nothing to log"));
    };
    let base_us = first.started_unix_us;
    let start = UNIX_EPOCH
        .checked_add(Duration::from_micros(base_us))
        .ok_or_else(|| anyhow!("the run's start, {base_us} us since 1970, is no time"))?;
    let labels: HashSet<&str> = entries.iter().map(|entry| entry.label.as_str()).collect();
    let tagged = labels.len() > 1;
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("[Logged with holdfast-perf; histograms in nanoseconds]")
        .add_comment("[Histogram log format version 1.3]")
        .with_start_time(start)
        .with_base_time(start)
        .with_max_value_divisor(1e6)
        .begin_log_with(out, &mut serializer)?;
    for entry in &entries {
        let tag = tag_of(&entry.label);
        let offset = Duration::from_micros(entry.started_unix_us - base_us);
        let span = Duration::from_micros(entry.span_us);
        let tag = if tagged { Tag::new(&tag) } else { None };
        log.write_histogram(&entry.latency_ns, offset, span, tag)
            .map_err(|error| anyhow!("cannot write the histogram log: {error}"))?;
    }
    Ok(())
}

/// One entry for each result that has latencies: the whole run.
///
/// # Errors
/// A histogram in the results is damaged.
pub fn entries(results: &[RunResult]) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for run in results {
        let Some(latency) = &run.latency_ns else { continue };
        entries.push(Entry {
            label: summary::label_of(run),
            started_unix_us: run.started_unix_us,
            span_us: run.duration_us,
            latency_ns: latency.histogram()?,
        });
    }
    Ok(entries)
}

/// The label without what the format forbids in a tag.
fn tag_of(label: &str) -> String {
    let allowed = |letter: char| letter != ',' && !letter.is_whitespace() && !letter.is_control();
    label.chars().map(|letter| if allowed(letter) { letter } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use hdrhistogram::serialization::{
        Deserializer,
        interval_log::{IntervalLogIterator, LogEntry},
    };

    use super::*;
    use crate::report::fixtures;

    #[test]
    fn a_log_reads_back_in_order_with_tags_and_the_same_counts() {
        let mut late = fixtures::run("two words, comma", 30);
        late.started_unix_us += 2_500_000;
        let early = fixtures::run("solo", 10);
        let mut log = Vec::new();
        write(&mut log, entries(&[late, early.clone()]).unwrap()).unwrap();

        let lines: Vec<_> = IntervalLogIterator::new(&log)
            .filter_map(|entry| match entry.unwrap() {
                LogEntry::Interval(line) => Some(line),
                _ => None,
            })
            .collect();
        let tags: Vec<_> = lines.iter().map(|line| line.tag().unwrap().as_str()).collect();
        assert_eq!(tags, ["solo", "two_words__comma"]);
        assert_eq!(lines[1].start_timestamp().as_millis(), 2_500);
        let packed = STANDARD.decode(lines[0].encoded_histogram()).unwrap();
        let read: Histogram<u64> = Deserializer::new().deserialize(&mut &packed[..]).unwrap();
        assert_eq!(read, early.latency_ns.unwrap().histogram().unwrap());
        assert!((lines[0].max() - read.max() as f64 / 1e6).abs() < 0.001);
    }

    #[test]
    fn no_latency_is_an_error_and_not_an_empty_file() {
        let mut run = fixtures::run("bulk", 1);
        run.latency_ns = None;
        let mut log = Vec::new();
        let error = write(&mut log, entries(&[run]).unwrap()).unwrap_err();
        assert!(error.to_string().contains("no latency was measured"), "{error}");
        assert!(log.is_empty());
    }
}
