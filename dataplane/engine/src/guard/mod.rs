//! The guard at a shard's door: what is done with segments that belong to no connection, before
//! they cost a log record or any memory; and in a flood with those of connections that would change
//! nothing.
//!
//! A guard decides for one shard on the node that serves, and is no part of the replicated state:
//! whatever it lets through is judged again by the step, from the shard's state alone. What it
//! keeps of its own (rates, whether cookies were sent lately) begins anew at a takeover.
//!
//! Limits are about connections, not about SYNs: where SYNs are answered with cookies, it is the
//! answer to the cookie that counts against a rate. So a flood of forged SYNs uses up nobody's.

mod cookies;
mod rate;

use std::sync::Arc;

use crate::addr::Flow;
use crate::config::Config;
use crate::shard::{Refusal, Refusals, Shard, is_opening};
use crate::tcp::cookie;
use crate::tcp::judge::{Flaw, Judgement};
use crate::time::Instant;
use crate::wire::checksum;
use crate::wire::segment::{MAX_HEADER_LEN, Segment, ip_header_len, set_ttl_and_dscp};
use cookies::CookieMode;
use rate::{Bucket, SourceRates};

/// Bytes that a packet of the guard's own needs at most.
pub const MAX_ANSWER_LEN: usize = MAX_HEADER_LEN;
/// The shard's time may be behind by so much when cookies are made of it.
const PULSE_US: u64 = 1_000_000;

/// What to do with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Log it and give it to the step.
    Log,
    /// Answer it with the packet that was written, so many bytes long.
    Answer(usize),
    /// Answer it with a RST, if the limit for these allows.
    Reset,
    /// Do nothing.
    Drop,
}

/// The guard of one shard.
#[derive(Debug)]
pub struct Guard {
    config: Arc<Config>,
    services: Box<[ServiceGuard]>,
    sources: Option<SourceRates>,
    /// Flows that were let in and that the shard does not know yet.
    fresh: Vec<Flow>,
}

#[derive(Debug)]
struct ServiceGuard {
    rate: Option<Bucket>,
    cookies: CookieMode,
    counters: GuardCounters,
}

/// What a guard did for one service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardCounters {
    /// SYNs answered with a cookie.
    pub cookies_sent: u64,
    /// Connections that were opened by the answer to one.
    pub cookies_accepted: u64,
    /// Segments that came while cookies were out, and proved nothing.
    pub cookies_invalid: u64,
    /// Times that cookies became necessary.
    pub cookie_periods: u64,
    /// Segments of no connection, other than these.
    pub strays: u64,
    /// Connections refused.
    pub refused: Refusals,
}

impl GuardCounters {
    /// Each counter with its name; refusals have a prefix.
    pub fn iter(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let own = [
            ("cookies_sent", self.cookies_sent),
            ("cookies_accepted", self.cookies_accepted),
            ("cookies_invalid", self.cookies_invalid),
            ("cookie_periods", self.cookie_periods),
            ("strays", self.strays),
        ];
        let own = own.into_iter().map(|(name, count)| (name.to_owned(), count));
        own.chain(self.refused.iter().map(|(name, count)| (format!("refused_{name}"), count)))
    }
}

impl Guard {
    /// A guard that has seen nothing. `batch`: most segments between two calls of
    /// [`Guard::stepped`].
    #[must_use]
    pub fn new(config: &Arc<Config>, batch: usize) -> Guard {
        let services = config.services.iter().map(|service| ServiceGuard {
            rate: service.limits.rate.map(Bucket::new),
            cookies: CookieMode::new(service.cookies_above),
            counters: GuardCounters::default(),
        });
        Guard {
            services: services.collect(),
            sources: config.sources.rate.map(SourceRates::new),
            fresh: Vec::with_capacity(batch),
            config: Arc::clone(config),
        }
    }

    /// The node has taken over at `now`: the one before may have sent cookies.
    pub fn take_over(&mut self, now: Instant) {
        self.services.iter_mut().for_each(|service| service.cookies.may_be_out(now));
    }

    /// Decides about a segment for which `shard` has no connection. An answer is written to `out`.
    ///
    /// # Panics
    /// If `out` is shorter than [`MAX_ANSWER_LEN`].
    pub fn screen(
        &mut self,
        shard: &Shard,
        now: Instant,
        segment: &Segment<'_>,
        out: &mut [u8],
    ) -> Verdict {
        let Some(service) = self.config.service_on(segment.flow.local.port) else {
            return Verdict::Reset;
        };
        // What follows a segment that was let in belongs to the connection that it opens.
        if self.fresh.contains(&segment.flow) {
            return Verdict::Log;
        }
        if is_opening(segment) {
            return self.screen_syn(shard, now, segment, service, out);
        }
        self.screen_other(shard, now, segment, service)
    }

    /// Decides about a segment for which `shard` has a connection, while it
    /// [is beset](Shard::is_beset). `first`: none of that connection goes before it in the same
    /// step.
    ///
    /// What the shard would ignore is dropped, and so is what it would answer with a challenge when
    /// it has none left: the step would change nothing but its counters.
    pub fn screen_known(
        &self,
        shard: &Shard,
        now: Instant,
        segment: &Segment<'_>,
        first: bool,
    ) -> Verdict {
        // Data before a RST makes its number the next one; an end before a SYN makes room for it.
        // What is old or far away stays so.
        let stays = |flaw| first || flaw != Flaw::Flags;
        match shard.judge(now, segment) {
            Judgement::Ignore(flaw) if stays(flaw) => Verdict::Drop,
            Judgement::Challenge(flaw) if stays(flaw) && !shard.may_challenge(now) => Verdict::Drop,
            Judgement::Stray if first => Verdict::Reset,
            _ => Verdict::Log,
        }
    }

    /// The shard has been given what was let in.
    pub fn stepped(&mut self) {
        self.fresh.clear();
    }

    /// Whether the shard must be told the time, by a step, before anything is screened: cookies may
    /// be made, and they are made of the time that was logged last.
    #[must_use]
    pub fn wants_step(&self, shard: &Shard, now: Instant) -> bool {
        if now.since_us(shard.now()) < PULSE_US {
            return false;
        }
        let mut services = self.config.services.iter().zip(&self.services).zip(shard.services());
        services.any(|((config, guard), usage)| {
            let many = usage.half_open >= config.cookies_above;
            config.uses_cookies() && (many || guard.cookies.are_made())
        })
    }

    /// What was done for a service, and whether its SYNs are answered with cookies now.
    #[must_use]
    pub fn of_service(&self, service: usize) -> (GuardCounters, bool) {
        let service = &self.services[service];
        (service.counters, service.cookies.are_made())
    }

    fn screen_syn(
        &mut self,
        shard: &Shard,
        now: Instant,
        syn: &Segment<'_>,
        service: u16,
        out: &mut [u8],
    ) -> Verdict {
        if let Some(refusal) = self.refusal(shard, now, syn, service) {
            return self.refuse(shard, service, refusal);
        }
        let uses_cookies = self.config.services[usize::from(service)].uses_cookies();
        let half_open = shard.services()[usize::from(service)].half_open + self.fresh.len() as u32;
        let guard = &mut self.services[usize::from(service)];
        let before = guard.cookies.are_made();
        if !uses_cookies || !guard.cookies.wanted(now, half_open) {
            return self.let_in(now, syn, service);
        }
        guard.cookies.made(now);
        guard.counters.cookie_periods += u64::from(!before);
        guard.counters.cookies_sent += 1;
        let header = cookie::answer(&self.config, service, syn, shard.now());
        let len = header.emit(0, out);
        let dscp = self.config.services[usize::from(service)].dscp;
        set_ttl_and_dscp(out, self.config.tcp.ttl, dscp);
        checksum::finish_tcp(&mut out[..len], ip_header_len(syn.flow.local.addr), &[]);
        Verdict::Answer(len)
    }

    /// Anything but a SYN.
    fn screen_other(
        &mut self,
        shard: &Shard,
        now: Instant,
        segment: &Segment<'_>,
        service: u16,
    ) -> Verdict {
        let guard = &mut self.services[usize::from(service)];
        // RFC 9293 3.10.7.2: a listener drops a RST, and what neither opens nor acknowledges.
        if segment.flags.rst() || !segment.flags.ack() {
            guard.counters.strays += 1;
            return Verdict::Drop;
        }
        // RFC 4987 3.6: only while there are cookies that may be answered is an ACK taken for such
        // an answer. At other times nobody can guess one.
        if !guard.cookies.are_out(now) {
            guard.counters.strays += 1;
            return Verdict::Reset;
        }
        if cookie::syn_of(&self.config, segment, now).is_none() {
            guard.counters.cookies_invalid += 1;
            // With data or FIN it may be a client's second segment, whose first was lost or is
            // late.
            return if segment.len_seq() == 0 { Verdict::Reset } else { Verdict::Drop };
        }
        if let Some(refusal) = self.refusal(shard, now, segment, service) {
            self.services[usize::from(service)].counters.refused.count(refusal);
            // The client takes the connection for established.
            return Verdict::Reset;
        }
        let guard = &mut self.services[usize::from(service)];
        guard.cookies.answered();
        guard.counters.cookies_accepted += 1;
        self.let_in(now, segment, service)
    }

    /// What is in the way of a new connection.
    fn refusal(
        &mut self,
        shard: &Shard,
        now: Instant,
        segment: &Segment<'_>,
        service: u16,
    ) -> Option<Refusal> {
        let client = segment.flow.remote.addr;
        let guard = &self.services[usize::from(service)];
        if guard.rate.as_ref().is_some_and(|rate| rate.is_empty(now)) {
            return Some(Refusal::Rate);
        }
        let source = self.config.sources.source_of(client);
        if self.sources.as_ref().is_some_and(|sources| sources.is_empty(source, now)) {
            return Some(Refusal::SourceRate);
        }
        shard.refusal(service, client)
    }

    fn refuse(&mut self, shard: &Shard, service: u16, refusal: Refusal) -> Verdict {
        self.services[usize::from(service)].counters.refused.count(refusal);
        if shard.tells_refusal(service) { Verdict::Reset } else { Verdict::Drop }
    }

    fn let_in(&mut self, now: Instant, segment: &Segment<'_>, service: u16) -> Verdict {
        if let Some(rate) = &mut self.services[usize::from(service)].rate {
            rate.take(now);
        }
        if let Some(sources) = &mut self.sources {
            sources.take(self.config.sources.source_of(segment.flow.remote.addr), now);
        }
        self.fresh.push(segment.flow);
        Verdict::Log
    }
}

#[cfg(test)]
mod tests;
