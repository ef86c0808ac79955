//! What happens when time passes. A connection has several deadlines and one entry on the wheel,
//! for the earliest of them. The entry moves only when a deadline comes before it; one that finds
//! nothing due when it fires is set again.

use crate::buffer::Chain;
use crate::config::{Config, ServiceKind, TcpConfig};
use crate::service::ServiceState;
use crate::snapshot::{Reader, Snapshot, SnapshotError, Writer};
use crate::tcp::stream::{Event, call};
use crate::tcp::tcb::{Marks, Tcb};
use crate::tcp::{Context, State, ack, path, recovery};
use crate::time::Instant;

/// No deadline.
pub(crate) const NEVER: Instant = Instant::from_micros(u64::MAX);

/// When a connection has something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deadlines {
    /// Retransmission timeout, or with nothing in flight the persist timeout.
    pub retransmit: Instant,
    /// RACK's look for reordered segments, or the tail loss probe (`Marks::RACK_LOOK`).
    pub loss: Instant,
    /// Delayed acknowledgment.
    pub ack: Instant,
    /// The service's own timer.
    pub service: Instant,
    /// Keepalive, idle timeout, end of FIN-WAIT-2 or TIME-WAIT.
    pub life: Instant,
    /// When the wheel's entry fires.
    pub armed: Instant,
}

impl Default for Deadlines {
    fn default() -> Self {
        Deadlines {
            retransmit: NEVER,
            loss: NEVER,
            ack: NEVER,
            service: NEVER,
            life: NEVER,
            armed: NEVER,
        }
    }
}

impl Deadlines {
    #[inline]
    pub(crate) fn earliest(&self) -> Instant {
        self.retransmit.min(self.loss).min(self.ack).min(self.service).min(self.life)
    }
}

impl Snapshot for Deadlines {
    fn save(&self, out: &mut Writer<'_>) {
        for at in [self.retransmit, self.loss, self.ack, self.service, self.life, self.armed] {
            out.u64(at.as_micros());
        }
    }

    fn restore(input: &mut Reader<'_>) -> Result<Deadlines, SnapshotError> {
        let mut at = || input.u64("deadline").map(Instant::from_micros);
        let (retransmit, loss, ack) = (at()?, at()?, at()?);
        let (service, life, armed) = (at()?, at()?, at()?);
        Ok(Deadlines { retransmit, loss, ack, service, life, armed })
    }
}

/// Does what is due at this step's time.
pub(crate) fn fire(tcb: &mut Tcb, service: &mut ServiceState, cx: &mut Context<'_>) {
    let now = cx.now;
    if tcb.deadlines.ack <= now {
        tcb.deadlines.ack = NEVER;
        tcb.ack_now();
    }
    if tcb.deadlines.loss <= now {
        tcb.deadlines.loss = NEVER;
        if tcb.has(Marks::RACK_LOOK) {
            ack::reordering_timeout(tcb, cx);
        } else {
            tcb.set(Marks::TAIL_PROBE);
            // RFC 8985 7.2: the probe comes no later than the timeout, and instead of it.
            if tcb.deadlines.retransmit <= now {
                tcb.deadlines.retransmit = now.plus_us(tcb.rtt.rto_us(&cx.config.tcp));
            }
        }
    }
    if tcb.deadlines.retransmit <= now {
        // What ran out while nobody served says nothing of the network.
        let unserved = cx.shared.took_over_at.is_some_and(|at| tcb.deadlines.retransmit <= at);
        tcb.deadlines.retransmit = NEVER;
        if unserved {
            tcb.set(Marks::KICK);
        } else if tcb.sent.count > 0 {
            retransmission_timeout(tcb, cx);
        } else {
            persist_timeout(tcb, cx);
        }
    }
    if tcb.deadlines.service <= now {
        tcb.deadlines.service = NEVER;
        if tcb.state != State::Closed {
            call(Event::Timer, tcb, service, cx, &[]);
        }
    }
    if tcb.deadlines.life <= now {
        tcb.deadlines.life = NEVER;
        life(tcb, cx);
    }
}

/// RFC 6298 5.4 to 5.6, RFC 5681 3.1.
fn retransmission_timeout(tcb: &mut Tcb, cx: &mut Context<'_>) {
    let config = &cx.config.tcp;
    if tries(tcb) >= patience(tcb, config) {
        return give_up(tcb, cx);
    }
    cx.shared.counters.timeouts += 1;
    if tcb.state == State::SynSent {
        // RFC 3168 6.1.1.1: perhaps a SYN that asks for ECN does not get through.
        tcb.clear(Marks::ECN);
    }
    if !is_window_closed(tcb) {
        path::timed_out(tcb, cx);
    }
    recovery::timed_out(tcb);
    let slab = &mut cx.shared.sent;
    // RFC 2018 8: a peer that does not acknowledge what it has sacked may have dropped it.
    if tcb.sent.first(slab).is_some_and(|sent| sent.is_sacked()) {
        tcb.sent.forget_sacks(slab);
    }
    tcb.sent.mark_lost(slab, |_| Some(true));
    tcb.rack.forget_probe();
    tcb.clear(Marks::TAIL_PROBE);
    tcb.deadlines.loss = NEVER;
    tcb.rtt.back_off();
    tcb.unanswered = tcb.unanswered.saturating_add(u8::from(is_window_closed(tcb)));
    tcb.deadlines.retransmit = cx.now.plus_us(tcb.rtt.rto_us(config));
    if let Some(end) = user_timeout_at(tcb, cx.config) {
        tcb.deadlines.life = tcb.deadlines.life.min(end);
    }
}

/// When the user timeout ends a connection whose retransmissions find no answer (RFC 9293 3.9.1);
/// `None` before the first of them.
pub(crate) fn user_timeout_at(tcb: &Tcb, config: &Config) -> Option<Instant> {
    let timeout_us = config.services[usize::from(tcb.service)].user_timeout_us?;
    if tcb.rtt.backoff() == 0 || tcb.sent.count == 0 || tcb.deadlines.retransmit == NEVER {
        return None;
    }
    let end_us = tcb.deadlines.retransmit.as_micros() + timeout_us;
    Some(Instant::from_micros(end_us.saturating_sub(tcb.rtt.timeouts_us(&config.tcp))))
}

/// Timeouts that speak against the peer. With its window closed it cannot take what we send again,
/// but it answers (RFC 9293 3.8.6, SHLD-17).
fn tries(tcb: &Tcb) -> u8 {
    if is_window_closed(tcb) { tcb.unanswered } else { tcb.rtt.backoff() }
}

/// The peer has taken back the window that our data in flight was sent into.
fn is_window_closed(tcb: &Tcb) -> bool {
    tcb.snd_wnd == 0 && tcb.state.is_synchronized()
}

/// Timeouts in a row before we give up: R2 of RFC 9293 3.8.3.
fn patience(tcb: &Tcb, config: &TcpConfig) -> u8 {
    match tcb.state {
        State::SynSent => config.max_syn_retries,
        State::SynReceived if tcb.has(Marks::ACTIVE) => config.max_syn_retries,
        State::SynReceived => config.max_syn_ack_retries,
        _ => config.max_data_retries,
    }
}

/// The peer's window is closed or too small (RFC 9293 3.8.6.1), or buffers ran short.
fn persist_timeout(tcb: &mut Tcb, cx: &mut Context<'_>) {
    if tcb.unsent() == 0 && !tcb.fin_due() {
        return;
    }
    if tcb.unanswered >= cx.config.tcp.max_data_retries {
        return give_up(tcb, cx);
    }
    if tcb.snd_wnd == 0 {
        tcb.set(Marks::PROBE);
        cx.shared.counters.window_probes += 1;
        tcb.unanswered = tcb.unanswered.saturating_add(1);
        tcb.rtt.back_off();
    } else {
        tcb.set(Marks::OVERRIDE);
    }
    tcb.deadlines.retransmit = cx.now.plus_us(tcb.rtt.rto_us(&cx.config.tcp));
}

/// RFC 9293 3.8.3 (R2): the peer is gone.
fn give_up(tcb: &mut Tcb, cx: &mut Context<'_>) {
    cx.shared.counters.gave_up += 1;
    if tcb.state.is_synchronized() { tcb.reset() } else { tcb.drop_silently() }
}

fn life(tcb: &mut Tcb, cx: &mut Context<'_>) {
    match tcb.state {
        // RFC 9293 3.10.8.
        State::TimeWait => tcb.drop_silently(),
        State::FinWait2 => {
            let end = tcb.active_at.plus_us(cx.config.tcp.fin_wait_2_us);
            if end <= cx.now {
                cx.shared.counters.idle_timeouts += 1;
                return tcb.drop_silently();
            }
            tcb.deadlines.life = end;
        }
        State::Closed => {}
        _ if user_timeout_at(tcb, cx.config).is_some_and(|end| end <= cx.now) => give_up(tcb, cx),
        State::SynSent | State::SynReceived => {}
        _ => keep_alive(tcb, cx),
    }
}

/// Starts the clocks of an established connection.
pub(crate) fn start_life(tcb: &mut Tcb, cx: &Context<'_>) {
    let service = cx.service(tcb);
    let keepalive = service.keepalive.map_or(NEVER, |keepalive| {
        let probes = u64::from(tcb.unanswered) * keepalive.interval_us;
        tcb.active_at.plus_us(keepalive.idle_us).plus_us(probes)
    });
    let idle = service.idle_timeout_us.map_or(NEVER, |idle_us| tcb.progress_at.plus_us(idle_us));
    let user = user_timeout_at(tcb, cx.config).unwrap_or(NEVER);
    tcb.deadlines.life = keepalive.min(idle).min(user);
}

/// RFC 9293 3.8.4, and the service's idle timeout.
fn keep_alive(tcb: &mut Tcb, cx: &mut Context<'_>) {
    let service = cx.service(tcb);
    if service.idle_timeout_us.is_some_and(|idle_us| tcb.progress_at.plus_us(idle_us) <= cx.now) {
        cx.shared.counters.idle_timeouts += 1;
        return tcb.reset();
    }
    start_life(tcb, cx);
    if tcb.deadlines.life > cx.now {
        return;
    }
    let Some(keepalive) = service.keepalive else { return };
    // With data in flight the retransmission timer watches the peer.
    if tcb.sent.count > 0 {
        tcb.deadlines.life = cx.now.plus_us(keepalive.interval_us);
        return;
    }
    if tcb.unanswered >= keepalive.probes {
        cx.shared.counters.keepalive_timeouts += 1;
        return tcb.reset();
    }
    tcb.unanswered += 1;
    cx.shared.counters.keepalive_probes += 1;
    tcb.set(Marks::PROBE);
    start_life(tcb, cx);
}

/// Enters TIME-WAIT, or starts it anew (RFC 9293 3.6.1). Nothing is sent or delivered any more; a
/// program around the shard, which is told only after all segments of a step, may still read.
pub(crate) fn time_wait(tcb: &mut Tcb, cx: &mut Context<'_>) {
    let unread = match cx.service(tcb).kind {
        ServiceKind::External => std::mem::take(&mut tcb.recv),
        _ => Chain::default(),
    };
    release_buffers(tcb, cx);
    tcb.recv = unread;
    let armed = tcb.deadlines.armed;
    tcb.deadlines = Deadlines { armed, ..Deadlines::default() };
    tcb.deadlines.life = cx.now.plus_us(2 * cx.config.tcp.msl_us);
}

/// Gives back all that the connection holds of the shard's memory.
pub(crate) fn release_buffers(tcb: &mut Tcb, cx: &mut Context<'_>) {
    let shared = &mut *cx.shared;
    tcb.sent.clear(&mut shared.sent);
    tcb.send.clear(&mut shared.buffers);
    tcb.recv.clear(&mut shared.buffers.blocks);
    tcb.assembler.clear(&mut shared.buffers);
}
