//! Flooded frames: kept while another node serves, taken in when this one does.

use engine::hash::shard_of;
use engine::wire::Checksums;
use engine::wire::ethernet::{self, Mac};
use engine::wire::segment::Segment;
use engine::wire::tcp::Flags;

use crate::duty::Duty;
use crate::events::Event;
use crate::ingress::{Class, classify};
use crate::input::MAX_SEGMENTS;
use crate::kept::{Replay, SLACK_US};
use crate::nic::{Frame, Nic, RxChecksum};
use crate::poll::Worker;
use crate::spread::Parcel;
use crate::steward::Steward;
use replication::Path;

/// Kept frames that one loop takes in: more than come in meanwhile.
const FRAMES_PER_LOOP: usize = MAX_SEGMENTS;

/// Whether a frame is for the service, as far as Ethernet tells. ARP is not: it says where clients
/// are, which a node has to know before it serves.
pub(crate) fn is_for_service(frame: &[u8], vmac: Mac) -> bool {
    frame.get(..6) == Some(&vmac.0[..])
        && frame.get(12..ethernet::HEADER_LEN) != Some(&ethernet::ETHERTYPE_ARP.to_be_bytes()[..])
}

impl<N: Nic, S: Steward> Worker<N, S> {
    /// Whether what comes for the service waits: for this node to serve, or behind what waits
    /// already.
    pub(crate) fn keeps(&self) -> bool {
        self.kept.is_on()
            && match self.duty {
                Duty::Spare => false,
                Duty::Joining | Duty::Following | Duty::Applying { .. } | Duty::Ready => true,
                Duty::Serving => !self.kept.is_empty(),
            }
    }

    /// Takes in some of what was kept, or drops what is too old.
    pub(crate) fn look_after_kept(&mut self, now_us: u64) -> bool {
        if self.serving() {
            return self.replay(now_us);
        }
        if self.duty != Duty::Serving {
            self.kept.expire(now_us);
        }
        false
    }

    /// Keeps a frame that has just come in.
    pub(crate) fn hear(&mut self, now_us: u64, frame: N::Frame) {
        self.board.clients_heard(self.index, now_us);
        self.keep(now_us, frame);
    }

    /// Keeps a frame that came at `at_us`.
    pub(crate) fn keep(&mut self, at_us: u64, frame: N::Frame) {
        self.counters.kept += 1;
        self.counters.drop_kept_full += u64::from(self.kept.put(at_us, frame));
    }

    /// This node begins to serve: what the log has is known now.
    pub(crate) fn begin_replay(&mut self, now_us: u64) {
        if !self.kept.is_on() {
            return;
        }
        self.kept.expire(now_us);
        self.kept.replay = Replay { since_us: Some(now_us), ..Replay::default() };
        for slot in &mut self.shards.slots {
            slot.log_end_us = slot.lag.log_end_us(slot.shard.now());
            let sure_us = slot.log_end_us.saturating_sub(SLACK_US);
            slot.logged_until_us = slot.logged_until_us.max(sure_us);
        }
    }

    /// Takes in the next frames that were kept; says whether there were any.
    fn replay(&mut self, now_us: u64) -> bool {
        if self.kept.is_empty() {
            self.tell_of_replay(now_us);
            return false;
        }
        for _ in 0..FRAMES_PER_LOOP {
            let Some((at_us, frame)) = self.kept.take() else { break };
            if let Err(frame) = self.take_kept(now_us, at_us, frame) {
                self.kept.put_back(at_us, frame);
                break;
            }
        }
        true
    }

    fn tell_of_replay(&mut self, now_us: u64) {
        let Replay { frames, logged, since_us } = std::mem::take(&mut self.kept.replay);
        if let Some(since_us) = since_us.filter(|_| frames + logged > 0) {
            let took_us = now_us.saturating_sub(since_us);
            self.events.tell(now_us, Event::Replayed { frames, logged, took_us });
        }
    }

    /// Takes in a frame that was kept at `at_us`. Gives it back when its shard has no room yet, or
    /// the way to it has none.
    fn take_kept(&mut self, now_us: u64, at_us: u64, frame: N::Frame) -> Result<(), N::Frame> {
        let checksum = frame.rx_checksum();
        let class = classify(frame.bytes(), checksum, &self.lan_local);
        let mut verified = checksum;
        if let Class::Segment { hash, .. } = class {
            verified = RxChecksum::Good;
            let shard = shard_of(hash, self.node.shard.shards);
            let owner = self.shards.owner_of(shard);
            if owner != self.index {
                self.counters.handed_over += 1;
                return match self.spread.hand(owner, Parcel::Kept(at_us, frame)) {
                    Err(Parcel::Kept(_, frame)) => {
                        self.counters.handed_over -= 1;
                        Err(frame)
                    }
                    _ => Ok(()),
                };
            }
            if let Some(slot) = self.shards.slot_mut(shard) {
                let (sure_us, end_us) = (slot.logged_until_us, slot.log_end_us);
                let full = slot.waiting.is_full();
                if at_us < sure_us || self.is_over(frame.bytes(), at_us < end_us) {
                    self.kept.replay.logged += 1;
                    self.counters.drop_kept_logged += 1;
                    return Ok(());
                }
                if full {
                    return Err(frame);
                }
            }
        }
        self.kept.replay.frames += 1;
        self.counters.replayed += 1;
        self.take(now_us, Path::Lan, frame, verified);
        Ok(())
    }

    /// Whether the log has this frame's segment, or goes on behind it: a SYN that a cookie answered
    /// is in no log, but what the client said then is.
    fn is_over(&mut self, frame: &[u8], before_end: bool) -> bool {
        let parsed = Segment::parse(&frame[ethernet::HEADER_LEN..], Checksums::Trusted);
        parsed.is_ok_and(|segment| {
            before_end && segment.flags.contains(Flags::SYN) || self.shards.seen.has(segment.packet)
        })
    }

    /// Whether the switch floods, as far as the lead of a backup can tell.
    pub(crate) fn watch_flooding(&mut self, now_us: u64) {
        if !self.kept.is_on() || self.duty != Duty::Following {
            return;
        }
        let (heard_us, logged_us) = self.board.clients_heard_and_logged();
        if self.flooding.look(heard_us, logged_us) {
            self.events.tell(now_us, Event::NotFlooded);
        }
    }
}
