//! ICMP errors about segments of ours: what they say is input of the shard that it concerns, and so
//! goes through the log. Anybody can send them. Only what the shard would heed is logged, and only
//! so many of them.

use std::ops::Range;

use engine::hash::{flow_hash, shard_of};
use engine::time::Instant;
use engine::wire::icmp_error::IcmpError;
use replication::{GateMode, Path, RecordKind, Role};

use crate::channel;
use crate::egress::{FrameEgress, Way};
use crate::input::{self, ERROR_BYTES};
use crate::nic::{Frame, Nic};
use crate::poll::Worker;
use crate::primary::{DIGEST_BYTES, RECORD_BYTES};
use crate::steward::Steward;

impl<N: Nic, S: Steward> Worker<N, S> {
    /// Keeps an error, of either IP version, for the shard's next turn.
    pub(crate) fn take_icmp_error(
        &mut self,
        now_us: u64,
        path: Path,
        frame: N::Frame,
        packet: Range<usize>,
    ) {
        if !self.serving() {
            self.counters.drop_not_serving += 1;
            return;
        }
        let Ok(error) = IcmpError::parse(&frame.bytes()[packet]) else {
            self.counters.drop_icmp_error += 1;
            return;
        };
        let shard = shard_of(flow_hash(&error.flow), self.node.shard.shards);
        let owner = self.shards.owner_of(shard);
        if owner != self.index {
            return self.hand_over(owner, path, frame);
        }
        let limit = &mut self.icmp_limit;
        let taken = self.shards.slot_mut(shard).is_some_and(|slot| {
            slot.shard.heeds(&error) && limit.allows(now_us) && slot.errors.try_push(error).is_ok()
        });
        self.counters.icmp_errors += u64::from(taken);
        self.counters.drop_icmp_error += u64::from(!taken);
    }

    /// Gives the shards the errors that wait for them. Says whether some have to wait on.
    pub(crate) fn take_in_errors(&mut self, now: Instant, now_us: u64) -> bool {
        let mut blocked = false;
        for place in 0..self.shards.slots.len() {
            while !blocked && !self.shards.slots[place].errors.is_empty() {
                blocked = !self.take_in_error(place, now, now_us);
            }
        }
        blocked
    }

    /// Logs a shard's first error and has the shard take it in. False: there is no room for that.
    fn take_in_error(&mut self, place: usize, now: Instant, now_us: u64) -> bool {
        let confirmed = self.directive.role == Role::Primary(GateMode::Confirmed);
        let need = RECORD_BYTES + ERROR_BYTES + DIGEST_BYTES * self.shards.slots.len();
        let need = need + self.milestones.need();
        let Worker { shards, channels, gate, lan, counters, node, handover, mark, .. } = self;
        let milestones = &mut self.milestones;
        let slot = &mut shards.slots[place];
        let Some(error) = slot.errors.first() else { return true };
        let most = node.shard.max_packets_per_step as usize;
        let room = match confirmed {
            true => channel::room(channels) >= need && gate.room() >= most,
            false => lan.room() >= most,
        };
        if !room {
            return false;
        }
        let given = handover.as_ref().and_then(|handover| handover.takes(slot.logged));
        let body = input::encode_error(now, error);
        let missed = channel::append(channels, given, slot.index, RecordKind::Icmp, &[&body]);
        if let (true, Some(handover)) = (missed.given, handover) {
            handover.fail();
        }
        if missed.counting {
            return false;
        }
        if confirmed {
            milestones.step();
        }
        let way = if confirmed { Way::Gate(gate, *mark) } else { Way::Port };
        counters.steps += 1;
        let told = &mut slot.told;
        let mut egress = FrameEgress { lan, way, shard: place, told, now_us, counters };
        slot.shard.icmp_error(now, error, &mut egress);
        slot.errors.remove(0);
        slot.touched = true;
        true
    }
}
