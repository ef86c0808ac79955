//! DPDK's log, forwarded to `tracing`, and kept while something is tried, to explain a failure.
//!
//! What DPDK complains about during an attempt is for debugging only: it complains of much that
//! does no harm, and if the attempt fails, the error carries it.

use std::ffi::c_char;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use dpdk_sys as sys;

/// Messages at warning level or worse since [`record`] began; `None` when nobody listens.
static RECORDING: Mutex<Option<Vec<String>>> = Mutex::new(None);

/// Takes DPDK's log over for the rest of the process.
pub(crate) fn install() {
    // SAFETY: `sink` has the wanted signature, never unwinds, and lives for the process.
    let result = unsafe { sys::shim_log_to(Some(sink)) };
    if result != 0 {
        tracing::warn!(result, "DPDK's log stays on stderr: no stream could be made for it");
    }
}

/// Runs `attempt` and returns with its result what DPDK complained about meanwhile.
pub(crate) fn record<T>(attempt: impl FnOnce() -> T) -> (T, Vec<String>) {
    *lock() = Some(Vec::new());
    let result = attempt();
    let complaints = lock().take().unwrap_or_default();
    (result, complaints)
}

fn lock() -> std::sync::MutexGuard<'static, Option<Vec<String>>> {
    RECORDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

unsafe extern "C" fn sink(level: u32, text: *const c_char, length: usize) {
    // SAFETY: the C library hands over `length` bytes that stay valid during the call.
    let bytes = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length) };
    // A subscriber that panics must not unwind into C; its message is lost, no more.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let text = String::from_utf8_lossy(bytes);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            forward(level, line);
        }
    }));
}

fn forward(level: u32, line: &str) {
    if level <= sys::RTE_LOG_WARNING
        && let Some(complaints) = lock().as_mut()
    {
        complaints.push(line.to_owned());
        tracing::debug!(target: "dpdk", "{line}");
        return;
    }
    match level {
        0..=sys::RTE_LOG_ERR => tracing::error!(target: "dpdk", "{line}"),
        sys::RTE_LOG_WARNING => tracing::warn!(target: "dpdk", "{line}"),
        sys::RTE_LOG_NOTICE => tracing::info!(target: "dpdk", "{line}"),
        sys::RTE_LOG_INFO => tracing::debug!(target: "dpdk", "{line}"),
        _ => tracing::trace!(target: "dpdk", "{line}"),
    }
}
