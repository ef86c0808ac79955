//! Congestion avoidance of RFC 5681, with bytes counted as RFC 3465 does.

/// Growth for `bytes` acknowledged: one segment for each full window (RFC 5681 3.1 (3)).
#[inline]
pub(super) fn growth(acked: &mut u32, cwnd: u32, bytes: u32, mss: u16) -> u32 {
    *acked = acked.saturating_add(bytes);
    if *acked < cwnd {
        return 0;
    }
    *acked -= cwnd;
    u32::from(mss)
}

/// Threshold after a loss (RFC 5681 3.1 (4)).
pub(super) fn reduced(flight: u32) -> u32 {
    flight / 2
}
