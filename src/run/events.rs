//! The log thread: what workers and member say happened, as log lines.
//!
//! Neither formats nor writes anything itself: a poll loop must not wait for a terminal.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
};

use controlplane::Severity;
use crossbeam::channel::Receiver;
use replication::{GateMode, Role};
use tracing::{debug, error, info, warn};

use super::admin::EventLog;

/// Starts the thread. It keeps the member's events in `kept` as well, and ends when all senders of
/// both channels are gone.
///
/// # Errors
/// The system gives no thread.
pub fn start(
    member: Receiver<(u64, controlplane::Event)>,
    workers: Receiver<(u16, u64, worker::Event)>,
    kept: Arc<EventLog>,
) -> std::io::Result<JoinHandle<()>> {
    let log = move || {
        let (mut member, mut workers) = (Some(member), Some(workers));
        let silent_member = crossbeam::channel::never();
        let silent_workers = crossbeam::channel::never();
        while member.is_some() || workers.is_some() {
            crossbeam::channel::select! {
                recv(member.as_ref().unwrap_or(&silent_member)) -> event => match event {
                    Ok((at_us, event)) => {
                        member_event(at_us, &event);
                        kept.push(&event);
                    }
                    Err(_) => member = None,
                },
                recv(workers.as_ref().unwrap_or(&silent_workers)) -> event => match event {
                    Ok((worker, at_us, event)) => worker_event(worker, at_us, &event),
                    Err(_) => workers = None,
                },
            }
        }
    };
    thread::Builder::new().name("log".into()).spawn(log)
}

fn member_event(at_us: u64, event: &controlplane::Event) {
    let name = event.name();
    match event.severity() {
        Severity::Info => info!(event = name, at_us, "{event}"),
        Severity::Warning => warn!(event = name, at_us, "{event}"),
        Severity::Error => error!(event = name, at_us, "{event}"),
    }
}

fn worker_event(worker: u16, at_us: u64, event: &worker::Event) {
    use worker::Event;
    match event {
        Event::Directive(directive) => {
            let role = match directive.role {
                Role::Spare => "spare",
                Role::Joining => "joining",
                Role::Backup => "backup",
                Role::Primary(GateMode::Confirmed) => "primary, gate confirmed",
                Role::Primary(GateMode::Open) => "primary, gate open",
            };
            let (epoch, silent) = (directive.epoch.0, directive.silent);
            debug!(event = "directive", worker, at_us, epoch, silent, "worker is {role}");
        }
        Event::Stalled { for_us } => {
            debug!(event = "stalled", worker, at_us, for_us, "poll loop stood still");
        }
        Event::LogApplied { epoch, records, took_us } => info!(
            event = "log_applied",
            worker,
            at_us,
            epoch = epoch.0,
            records,
            took_us,
            "the rest of the log is applied"
        ),
        Event::Claimed { epoch } => {
            info!(event = "claimed", worker, at_us, epoch = epoch.0, "service address claimed");
        }
        Event::FirstPacket { after_us } => {
            info!(event = "first_packet", worker, at_us, after_us, "first packet of the service");
        }
        Event::LastKick { after_us, kicked } => {
            info!(event = "last_kick", worker, at_us, after_us, kicked, "all connections kicked");
        }
        Event::Replayed { frames, logged, took_us } => info!(
            event = "replayed",
            worker, at_us, frames, logged, took_us, "what clients had sent meanwhile is taken in"
        ),
        Event::NotFlooded => warn!(
            event = "not_flooded",
            worker,
            at_us,
            "the primary hears clients and this node does not: the switch sends what is for the \
             virtual MAC to one port; see `ingress` in docs/operations.md"
        ),
        Event::DigestMismatch(mismatch) => {
            error!(event = "digest_mismatch", worker, at_us, "{mismatch}");
        }
        Event::RecordRefused { shard, reason } => error!(
            event = "record_refused",
            worker,
            at_us,
            shard,
            "a record of the log can't be applied: {reason}; run the same release on both nodes"
        ),
        Event::GateDiscarded { packets } => {
            info!(event = "gate_discarded", worker, at_us, packets, "packets of an ended role");
        }
    }
}
