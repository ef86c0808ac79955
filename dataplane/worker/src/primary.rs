//! Serving: log the input, step the shard, hold what it sends until the log is safe.

use engine::shard::Shard;
use engine::time::Instant;
use engine::wire::Checksums;
use engine::wire::ethernet::{self, Mac};
use engine::wire::segment::Segment;
use replication::{GateMode, Lane, PeerIndex, RecordKind, Role, confirmed_by_all};

use crate::channel::{self, Channel, Missed};
use crate::counters::Counters;
use crate::door::Door;
use crate::egress::{FrameEgress, Way};
use crate::input::{self, LENGTH_BYTES, MAX_BODY_BYTES, Segments, TIME_BYTES};
use crate::nic::{Frame, Nic};
use crate::poll::Worker;
use crate::port::Port;
use crate::shards::Slot;
use crate::steward::Steward;

/// What a record costs in a batch beside its body, and a digest record as a whole.
pub(crate) const RECORD_BYTES: usize = replication::record::HEADER_BYTES;
pub(crate) const DIGEST_BYTES: usize = RECORD_BYTES + 8;

/// Frames that wait for the card before the shards have to wait for it, too: a longer queue would
/// only be delay, for bulk and interactive connections alike. About 3 ms at 1 Gbit/s.
const BACKLOG_FRAMES: usize = 256;

/// What became of one shard in a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Nothing,
    /// It has its input, as far as that is for it.
    Stepped,
    /// It has input, or a timer is due, and the gate, the log or the port has no room.
    Blocked,
}

/// What a shard is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Step,
    Kick,
}

impl<N: Nic, S: Steward> Worker<N, S> {
    /// Gives each shard its input, or its due timers, and ends the loop's batch. Says whether
    /// there was anything to do.
    pub(crate) fn serve(&mut self, now_us: u64) -> bool {
        if self.is_quiescing() {
            self.rest(now_us);
            return false;
        }
        let now = self.shards.time(now_us);
        // Both take turns to be first at a port that has no room for all.
        let kick_first = self.counters.loops.is_multiple_of(2);
        let mut busy = kick_first && self.kick_next(now, now_us);
        let mut blocked = self.take_in_errors(now, now_us);
        let count = self.shards.slots.len();
        let first = (self.counters.loops % count.max(1) as u64) as usize;
        for place in (first..count).chain(0..first) {
            match self.turn(place, now, now_us, Kind::Step) {
                Turn::Nothing => {}
                Turn::Stepped => busy = true,
                Turn::Blocked => blocked = true,
            }
        }
        busy |= !kick_first && self.kick_next(now, now_us);
        self.blocked = blocked;
        self.counters.back_pressure_loops += u64::from(blocked);
        self.give_shards(now_us);
        self.end_batch();
        busy
    }

    /// The takeover's kick: every connection sends at once, so that no client has to wait for its
    /// own timer. A portion in each loop, of the shard whose next ones were active last: so active
    /// ones go first among all shards, and what clients send meanwhile is served meanwhile. Says
    /// whether there is any kick left.
    fn kick_next(&mut self, now: Instant, now_us: u64) -> bool {
        let slots = &self.shards.slots;
        if self.kicks.shards >= slots.len() {
            return false;
        }
        let next = (0..slots.len()).filter_map(|place| Some((slots[place].kicks_next()?, place)));
        let Some((_, place)) = next.min() else { return false };
        if self.turn(place, now, now_us, Kind::Kick) == Turn::Stepped {
            let slot = &self.shards.slots[place];
            self.kicks.shards += usize::from(slot.kicks_next().is_none());
        }
        true
    }

    fn turn(&mut self, place: usize, now: Instant, now_us: u64, kind: Kind) -> Turn {
        let confirmed = self.directive.role == Role::Primary(GateMode::Confirmed);
        let shards = self.shards.slots.len();
        let Worker { shards: all, channels, gate, lan, counters, node, recorder, .. } = self;
        let (handover, mark) = (&mut self.handover, self.mark);
        let (resets, milestones) = (&mut self.reset_limit, &mut self.milestones);
        let slot = &mut all.slots[place];
        let due = slot.shard.next_deadline().is_some_and(|at| at <= now);
        if kind == Kind::Step && slot.waiting.is_empty() && !due {
            return Turn::Nothing;
        }
        if lan.backlog() >= BACKLOG_FRAMES {
            return Turn::Blocked;
        }
        let alone = kind == Kind::Kick || slot.guard.wants_step(&slot.shard, now);
        let (take, body_len) = if alone { (0, TIME_BYTES) } else { what_fits(slot) };
        let most = node.shard.max_packets_per_step as usize;
        // Digests of all shards may follow in this batch, and a milestone.
        let need = RECORD_BYTES + body_len + DIGEST_BYTES * shards + milestones.need();
        let room = match confirmed {
            true => {
                let early = slot.told.is_on();
                channel::room(channels) >= need
                    && gate.room() >= most
                    && (!early || lan.room() >= most)
            }
            false => lan.room() >= most,
        };
        if !room && slot.screened >= take {
            return Turn::Blocked;
        }
        let mut refused = 0;
        let (held, mut queued) = (Lane::ALL.map(|lane| gate.len_of(lane)), lan.backlog());
        {
            // A scope of its own: handing the list to `drop` would move all of it.
            let mut segments = Segments::new();
            parse_waiting(&slot.waiting[..take], &mut segments);
            let screen = slot.shard.look_up(&mut segments) || slot.shard.is_beset(now);
            if screen && slot.screened < take {
                let mut door = Door { lan, resets, now_us, counters };
                let (shard, guard) = (&slot.shard, &mut slot.guard);
                let frames = &slot.waiting[..take];
                refused = door.screen(shard, guard, now, &segments, frames, slot.screened);
                queued = lan.backlog();
            }
            if room {
                // Strangers that were turned away are no neighbours.
                let frames = slot.waiting[..take].iter();
                learn(lan, now_us, node.vmac, frames.zip(&segments), refused, counters);
                keep_others(&mut segments, refused);
            }
            if room && (due || alone || !segments.is_empty()) {
                if confirmed || slot.logged {
                    let given = handover.as_ref().and_then(|to| to.takes(slot.logged));
                    let missed = append(channels, given, slot.index, kind, now, &segments);
                    if let (true, Some(handover)) = (missed.given, handover) {
                        handover.fail();
                    }
                    if missed.counting {
                        return Turn::Blocked;
                    }
                    if confirmed {
                        milestones.step();
                    }
                }
                let way = if confirmed { Way::Gate(gate, mark) } else { Way::Port };
                counters.steps += 1;
                counters.segments += segments.len() as u64;
                let told = &mut slot.told;
                let mut egress = FrameEgress { lan, way, shard: place, told, now_us, counters };
                // What another node began, and did not end, comes before our own.
                slot.kick_due &= kind == Kind::Step || slot.shard.kicks_next().is_some();
                run(&mut slot.shard, now, &segments, kind, &mut egress);
                slot.touched = true;
            }
        }
        if !room {
            slot.turn_away(refused, take);
            return Turn::Blocked;
        }
        let rx_ns = (take > 0).then_some(slot.waiting_since_ns);
        let into_gate = Lane::ALL.map(|lane| gate.len_of(lane) - held[lane.place()]);
        recorder.stepped(rx_ns, into_gate, lan.backlog() - queued);
        slot.taken(take);
        Turn::Stepped
    }

    /// Appends the digests of what was stepped and closes the batches.
    pub(crate) fn end_batch(&mut self) {
        let confirmed = self.directive.role == Role::Primary(GateMode::Confirmed);
        let Worker { channels, shards, handover, counters, mark, milestones, .. } = self;
        if channels.is_empty() {
            return;
        }
        let logged = |slot: &&mut Slot<N::Frame>| slot.touched && (confirmed || slot.logged);
        for slot in shards.slots.iter_mut().filter(logged) {
            let digest = slot.shard.digest().to_le_bytes();
            let given = handover.as_ref().and_then(|to| to.takes(slot.logged));
            let missed =
                channel::append(channels, given, slot.index, RecordKind::Digest, &[&digest]);
            // Without room the proof comes with the next batch, for a node that joins with the next
            // step.
            slot.touched = missed.counting;
        }
        if confirmed {
            milestones.set(channels, *mark);
        }
        let mut closed = 0;
        for Channel { session, ledger, .. } in channels {
            if let Some(position) = session.close_batch() {
                ledger.confirm(session.confirmed());
                ledger.close(position, *mark);
                closed += 1;
            }
        }
        if closed > 0 {
            counters.batches += closed;
            *mark = mark.next();
        }
    }

    /// Lets packets go whose log is safe.
    pub(crate) fn release(&mut self, now_us: u64) {
        if self.gate.is_empty() || self.lan.room() < self.gate.len() {
            return;
        }
        let by_majority = self.majority_confirmed();
        let Worker { gate, lan, counters, recorder, channels, shards, .. } = self;
        let offloads = lan.nic.offloads();
        let counting = channels.iter().filter(|channel| channel.counts);
        let by_all = confirmed_by_all(counting.map(|channel| &channel.ledger));
        for (lane, confirmed) in [(Lane::All, by_all), (Lane::Majority, by_majority)] {
            let released = gate.release(lane, confirmed, |mut held| {
                if let Some(word) = held.word
                    && let Some(slot) = shards.slots.get_mut(word.shard())
                    && let Some(amendment) = slot.told.left(&word)
                {
                    held.amend(amendment, offloads);
                }
                lan.send_ip(now_us, held.frame, held.remote, counters);
            });
            recorder.released(lane, released);
        }
    }

    /// Whether the port may be asked for more, or has to wait until the peer confirms.
    pub(crate) fn has_room_for_a_burst(&self) -> bool {
        let half = input::MAX_SEGMENTS / 2;
        !self.blocked || self.shards.slots.iter().all(|slot| slot.waiting.len() <= half)
    }

    /// Takes a segment's frame in for its shard's next step.
    pub(crate) fn take_segment(&mut self, shard: u16, frame: N::Frame) {
        let began_ns = self.recorder.began_ns();
        let taken = self.shards.slot_mut(shard).is_some_and(|slot| {
            if slot.waiting.is_empty() {
                slot.waiting_since_ns = began_ns;
            }
            // A frame that finds no room is lost as on a wire; its sender sends again.
            slot.waiting.try_push(frame).is_ok()
        });
        self.counters.drop_back_pressure += u64::from(!taken);
    }
}

/// How many of the waiting segments one record carries, and the length of its body.
fn what_fits<F: Frame>(slot: &Slot<F>) -> (usize, usize) {
    let mut len = TIME_BYTES;
    let mut take = 0;
    for frame in &slot.waiting {
        let more = frame.bytes().len() + LENGTH_BYTES;
        if len + more > MAX_BODY_BYTES {
            break;
        }
        len += more;
        take += 1;
    }
    (take, len)
}

/// The waiting segments; all of them parsed when they came in. Filled in place: as a value, the
/// list is twelve kilobytes to move.
fn parse_waiting<'f, F: Frame>(frames: &'f [F], into: &mut Segments<'f>) {
    for frame in frames {
        let packet = frame.bytes().get(ethernet::HEADER_LEN..).unwrap_or_default();
        if let Ok(segment) = Segment::parse(packet, Checksums::Trusted) {
            into.push(segment);
        }
    }
}

/// Notes where the senders were heard from, but for those that were refused, and those that the
/// peer passed on.
fn learn<'f, N: Nic>(
    lan: &mut Port<N>,
    now_us: u64,
    vmac: Mac,
    segments: impl Iterator<Item = (&'f N::Frame, &'f Segment<'f>)>,
    refused: u64,
    counters: &mut Counters,
) where
    N::Frame: 'f,
{
    let mut learned = None;
    for (number, (frame, segment)) in segments.enumerate() {
        if refused >> number & 1 == 0
            && let Ok((link, _)) = ethernet::Header::parse(frame.bytes())
            && link.destination == vmac
        {
            // Segments of one sender come in a row.
            let heard = Some((segment.flow.remote.addr, link.source));
            if heard != learned {
                lan.learn(now_us, segment.flow.remote.addr, link.source, counters);
                learned = heard;
            }
        }
    }
}

/// Takes out what was refused; the numbers are bits.
fn keep_others(segments: &mut Segments<'_>, refused: u64) {
    if refused != 0 {
        let mut number = 0;
        segments.retain(|_| {
            number += 1;
            refused >> (number - 1) & 1 == 0
        });
    }
}

/// Logs a step.
fn append(
    channels: &mut [Channel],
    given: Option<PeerIndex>,
    shard: u16,
    kind: Kind,
    now: Instant,
    segments: &[Segment<'_>],
) -> Missed {
    let logged = match kind {
        Kind::Step => RecordKind::Input,
        Kind::Kick => RecordKind::Kick,
    };
    input::encode(now, segments, |parts| channel::append(channels, given, shard, logged, parts))
}

fn run<N: Nic>(
    shard: &mut Shard,
    now: Instant,
    segments: &[Segment<'_>],
    kind: Kind,
    egress: &mut FrameEgress<'_, N>,
) {
    match kind {
        Kind::Step => shard.step(now, segments, egress),
        Kind::Kick => shard.kick(now, egress),
    }
}
