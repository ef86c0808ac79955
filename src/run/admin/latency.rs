//! The workers' histograms as the admin API tells them: each worker's, and all added up.

use controlplane::admin::{Bucket, Distribution, Distributions, LatencyReport, WorkerLatency};
use worker::{latency::Latency, query::LatencySummary};

/// `cores`: each worker's core.
pub fn report(summaries: &[LatencySummary], cores: &[u16], now_us: u64) -> LatencyReport {
    let mut all = Latency::default();
    summaries.iter().for_each(|summary| all.add(&summary.latency));
    let worker = |summary: &LatencySummary| WorkerLatency {
        index: summary.worker,
        core: cores.get(usize::from(summary.worker)).copied().map(u32::from),
        distributions: distributions(&summary.latency),
    };
    LatencyReport {
        now_us,
        since_us: summaries.iter().map(|summary| summary.since_us).min().unwrap_or(0),
        all: distributions(&all),
        workers: summaries.iter().map(worker).collect(),
    }
}

fn distributions(latency: &Latency) -> Distributions {
    let distribution = latency.named().map(|(name, histogram)| {
        let at = |quantile| histogram.value_at_quantile(quantile);
        let buckets = histogram.iter_recorded().map(|value| Bucket {
            from: histogram.lowest_equivalent(value.value_iterated_to()),
            to: histogram.highest_equivalent(value.value_iterated_to()),
            count: value.count_at_value(),
        });
        let distribution = Distribution {
            count: histogram.len(),
            min: histogram.min(),
            mean: histogram.mean().round() as u64,
            max: histogram.max(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            buckets: buckets.collect(),
        };
        (name.to_owned(), distribution)
    });
    distribution.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(worker: u16, since_us: u64, gate_ns: &[u64]) -> LatencySummary {
        let mut latency = Latency::default();
        gate_ns.iter().for_each(|value| latency.gate_ns.saturating_record(*value));
        LatencySummary { worker, since_us, latency }
    }

    #[test]
    fn cores_add_up_and_stand_alone() {
        let summaries = [summary(0, 7, &[100, 100, 50_000]), summary(1, 9, &[3_000])];
        let report = report(&summaries, &[2, 3], 1_000);
        assert_eq!((report.since_us, report.now_us), (7, 1_000));
        let all = &report.all["gate_ns"];
        assert_eq!((all.count, all.min, all.p50), (4, 100, 100));
        let buckets: u64 = all.buckets.iter().map(|bucket| bucket.count).sum();
        assert_eq!((all.buckets.len(), buckets), (3, 4));
        assert!(all.buckets.iter().any(|bucket| bucket.from <= 50_000 && 50_000 <= bucket.to));
        assert_eq!(report.workers[1].core, Some(3));
        assert_eq!(report.workers[1].distributions["gate_ns"].count, 1);
        assert_eq!(report.all["poll_ns"], Distribution::default());
    }
}
