//! How long things take in a worker: histograms that were made at the start, filled by the poll
//! loop and copied out when somebody asks.
//!
//! Filling them costs the packet path no heap, lock or system call, and nothing per packet: the
//! packets of one step share their times, so that a poll records runs of them (see `recorder`).

pub(crate) mod recorder;
pub(crate) mod runs;

use hdrhistogram::Histogram;

pub(crate) use recorder::Recorder;

/// Longest time that is told from longer ones: 10 s.
const MAX_NS: u64 = 10_000_000_000;
/// The largest batch that is told from larger ones.
const MAX_BATCH_SEGMENTS: u64 = 1 << 16;
/// Values within one per cent of each other may share a bucket.
const DIGITS: u8 = 2;

/// The histograms of one worker, or of several added up. Times are in nanoseconds of the
/// monotonic clock.
#[derive(Clone, Debug)]
pub struct Latency {
    /// From the beginning of the poll that took a segment in to the end of the poll that gave the
    /// card a packet which it caused; once for each such packet. Packets that a timer caused do
    /// not count, nor do those that wait for a neighbour's address.
    pub rx_to_tx_ns: Histogram<u64>,
    /// From the beginning of the poll whose step made a packet to its release; once for each
    /// packet that waited for the peer.
    pub gate_ns: Histogram<u64>,
    /// From handing a batch to the link's port to the beginning of the poll that found it
    /// confirmed; once for each poll's batch, whether or not its frames had to be sent again.
    pub link_rtt_ns: Histogram<u64>,
    /// Duration of a poll that found something to do, up to its last packet's way out.
    pub poll_ns: Histogram<u64>,
    /// Segments that one poll gave to its shards, received or out of the log; polls without any
    /// do not count.
    pub batch_segments: Histogram<u64>,
}

impl Latency {
    /// Each histogram with its name, which ends in its unit.
    #[must_use]
    pub fn named(&self) -> [(&'static str, &Histogram<u64>); 5] {
        [
            ("rx_to_tx_ns", &self.rx_to_tx_ns),
            ("gate_ns", &self.gate_ns),
            ("link_rtt_ns", &self.link_rtt_ns),
            ("poll_ns", &self.poll_ns),
            ("batch_segments", &self.batch_segments),
        ]
    }

    /// Adds what another worker recorded.
    pub fn add(&mut self, other: &Latency) {
        for (sum, (_, more)) in self.all_mut().into_iter().zip(other.named()) {
            sum.add(more).expect("all workers' histograms have the same bounds");
        }
    }

    /// Forgets all; the memory stays.
    pub fn reset(&mut self) {
        self.all_mut().into_iter().for_each(Histogram::reset);
    }

    /// In the order of [`named`](Self::named).
    fn all_mut(&mut self) -> [&mut Histogram<u64>; 5] {
        let Latency { rx_to_tx_ns, gate_ns, link_rtt_ns, poll_ns, batch_segments } = self;
        [rx_to_tx_ns, gate_ns, link_rtt_ns, poll_ns, batch_segments]
    }
}

impl Default for Latency {
    fn default() -> Self {
        Latency {
            rx_to_tx_ns: up_to(MAX_NS),
            gate_ns: up_to(MAX_NS),
            link_rtt_ns: up_to(MAX_NS),
            poll_ns: up_to(MAX_NS),
            batch_segments: up_to(MAX_BATCH_SEGMENTS),
        }
    }
}

/// A histogram of [`DIGITS`] digits' precision; larger values count as `max`.
fn up_to(max: u64) -> Histogram<u64> {
    Histogram::new_with_bounds(1, max, DIGITS).expect("the bounds are constants and in range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_add_up_and_reset_forgets() {
        let mut first = Latency::default();
        let mut second = Latency::default();
        first.gate_ns.saturating_record_n(50_000, 3);
        second.gate_ns.saturating_record(u64::MAX);
        second.batch_segments.saturating_record(32);
        first.add(&second);
        assert_eq!((first.gate_ns.len(), first.batch_segments.len()), (4, 1));
        assert!(first.gate_ns.value_at_quantile(0.5).abs_diff(50_000) <= 500);
        // Beyond the end counts as the end.
        assert!(first.gate_ns.max().abs_diff(MAX_NS) <= MAX_NS / 50);
        first.reset();
        assert!(first.named().iter().all(|(_, histogram)| histogram.is_empty()));
    }

    #[test]
    fn names_and_histograms_stand_in_the_same_order() {
        let mut latency = Latency::default();
        for (place, histogram) in latency.all_mut().into_iter().enumerate() {
            histogram.saturating_record_n(1, place as u64 + 1);
        }
        let counts = latency.named().map(|(_, histogram)| histogram.len());
        assert_eq!(counts, [1, 2, 3, 4, 5]);
        assert_eq!((latency.rx_to_tx_ns.len(), latency.poll_ns.len()), (1, 4));
    }
}
