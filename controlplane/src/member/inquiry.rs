//! How a refusal is explained: a peer's manifest is fetched and compared with ours.
//!
//! Only a node that serves nothing asks, so that the comparison of large manifests can stand in
//! the poll loop; the answering side sends a chunk per request.

use std::collections::VecDeque;

use replication::PeerIndex;

use crate::events::{Difference, Event};
use crate::identity::Identity;
use crate::manifest::{Manifest, difference};
use crate::message::{Body, CHUNK_BYTES, Which};
use crate::register::Register;
use crate::status::Refusal;

use super::Member;

/// A request without an answer is repeated after this time.
const REPEAT_US: u64 = 20_000;
/// The peer is asked this often for one chunk.
const MAX_REQUESTS: u32 = 100;

/// The comparison with one run of the peer.
#[derive(Debug, Default)]
pub(super) struct Inquiry {
    begun: bool,
    /// What is still to be fetched, with the digest that the peer stated.
    wanted: VecDeque<(Difference, Which, [u8; 32])>,
    received: Vec<u8>,
    next_chunk: u32,
    requests: u32,
    next_request_us: u64,
    outcome: Option<Outcome>,
    pub(super) refusals: Vec<Refusal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Complete,
    TooLarge,
    NoAnswer,
}

impl Inquiry {
    pub(super) fn request(&mut self, now_us: u64) -> Option<Body<'static>> {
        let (_, which, _) = self.wanted.front()?;
        if now_us < self.next_request_us || self.outcome.is_some() {
            return None;
        }
        self.requests += 1;
        if self.requests > MAX_REQUESTS {
            self.outcome = Some(Outcome::NoAnswer);
            return None;
        }
        self.next_request_us = now_us + REPEAT_US;
        Some(Body::ManifestRequest { which: *which, chunk: self.next_chunk })
    }

    pub(super) fn receive(
        &mut self,
        now_us: u64,
        which: Which,
        chunk: u32,
        chunks: u32,
        bytes: &[u8],
    ) {
        let expected = self.wanted.front().is_some_and(|(_, wanted, _)| *wanted == which);
        if !expected || chunk != self.next_chunk || self.outcome.is_some() {
            return;
        }
        if chunks as usize > Manifest::MAX_BYTES.div_ceil(CHUNK_BYTES) || chunks == 0 {
            self.outcome = Some(Outcome::TooLarge);
            return;
        }
        self.received.extend_from_slice(bytes);
        self.next_chunk += 1;
        self.requests = 0;
        self.next_request_us = now_us;
        if self.next_chunk >= chunks {
            self.outcome = Some(Outcome::Complete);
        }
    }

    /// The difference that was explained just now, if one was.
    fn conclude(&mut self, identity: &Identity) -> Option<(Difference, String)> {
        let outcome = self.outcome.take()?;
        let (what, which, digest) = self.wanted.pop_front()?;
        let received = std::mem::take(&mut self.received);
        self.next_chunk = 0;
        self.requests = 0;
        self.next_request_us = 0;
        let ours = match which {
            Which::Config => &identity.config,
            Which::Content => &identity.content,
        };
        let diff = match (outcome, String::from_utf8(received)) {
            (Outcome::TooLarge, _) => "(too long to compare line by line)\n".to_owned(),
            (Outcome::Complete, Ok(text))
                if *blake3::hash(text.as_bytes()).as_bytes() == digest =>
            {
                difference(ours.text(), &text)
            }
            _ => "(the peer's text could not be fetched; compare the files by hand)\n".to_owned(),
        };
        Some((what, diff))
    }
}

/// The chunk that a peer asks for, `None` if there is no such chunk. A manifest that is too long
/// says so by having zero chunks.
pub(super) fn answer(which: Which, manifest: &Manifest, chunk: u32) -> Option<Body<'_>> {
    let text = manifest.text().as_bytes();
    if text.len() > Manifest::MAX_BYTES {
        return Some(Body::ManifestChunk { which, chunk, chunks: 0, bytes: &[] });
    }
    let chunks = text.len().div_ceil(CHUNK_BYTES).max(1) as u32;
    let start = (chunk as usize).saturating_mul(CHUNK_BYTES);
    let bytes = text.get(start..).filter(|_| chunk < chunks)?;
    let bytes = &bytes[..bytes.len().min(CHUNK_BYTES)];
    Some(Body::ManifestChunk { which, chunk, chunks, bytes })
}

impl<R: Register> Member<R> {
    /// Finds out what peers differ in, once for each run of them.
    pub(super) fn explain(&mut self, now_us: u64) {
        self.places().for_each(|at| self.explain_one(now_us, at));
    }

    fn explain_one(&mut self, now_us: u64, at: PeerIndex) {
        let inquiry = &mut self.inquiries[at.place()];
        if let Some((what, diff)) = inquiry.conclude(&self.identity) {
            self.refuse(now_us, at, what, diff);
        }
        if self.inquiries[at.place()].begun {
            return;
        }
        let Some(said) = self.peer(at).heartbeat() else { return };
        let digests = (said.config_digest, said.content_digest);
        let differences = self.differences(said);
        let inquiry = &mut self.inquiries[at.place()];
        inquiry.begun = true;
        for what in differences {
            let (which, digest) = match what {
                Difference::Config => (Which::Config, digests.0),
                Difference::Content => (Which::Content, digests.1),
                Difference::LogVersion { ours, theirs } => {
                    let diff = format!("- log version {ours}\n+ log version {theirs}\n");
                    self.refuse(now_us, at, what, diff);
                    continue;
                }
                Difference::LinkVersion { ours, theirs } => {
                    let diff = format!("- link version {ours}\n+ link version {theirs}\n");
                    self.refuse(now_us, at, what, diff);
                    continue;
                }
            };
            self.inquiries[at.place()].wanted.push_back((what, which, digest));
        }
    }

    fn refuse(&mut self, now_us: u64, at: PeerIndex, what: Difference, diff: String) {
        let refusal = Refusal { what: what.to_string(), diff: diff.clone() };
        self.inquiries[at.place()].refusals.push(refusal);
        self.events.push(now_us, Event::Refused { what, diff });
    }
}
