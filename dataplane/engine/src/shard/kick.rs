//! The takeover's kick of a whole shard: every connection sends once, the most recently active
//! first, in portions that a poll loop can afford. Connections are counted by how long they have
//! been idle, then put in order by that, then sent from: no sorting, no memory but what is there.

use super::{Context, NONE, Shard, context};
use crate::egress::Egress;
use crate::snapshot::{Reader, SnapshotError, Writer};
use crate::tcp::State;
use crate::tcp::tcb::{Marks, Tcb};
use crate::time::Instant;

/// Connections that one portion looks at: some ten microseconds.
const LOOKS: usize = 4096;
/// Connections whose memory is asked for before the first of them sends.
const LOOKAHEAD: usize = 16;
/// Idle times of an octave that are told apart: 2 to the power of this.
const FINE_BITS: u32 = 5;
const OCTAVES: usize = 32;
const CLASSES: usize = OCTAVES << FINE_BITS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Rest,
    Count,
    Place,
    Send,
}

/// How far a kick has come.
#[derive(Debug)]
pub(super) struct Kick {
    phase: Phase,
    /// When it began: idle times count back from here.
    at: Instant,
    /// Slots there were then.
    slots: usize,
    /// The next slot to be looked at, or place in the order.
    next: usize,
    /// Connections of each class; when all are counted, the place of each class's next one.
    classes: Box<[u32]>,
    order: Vec<u32>,
}

impl Kick {
    pub fn with_capacity(connections: usize) -> Kick {
        Kick {
            phase: Phase::Rest,
            at: Instant::ZERO,
            slots: 0,
            next: 0,
            classes: vec![0; CLASSES].into_boxed_slice(),
            order: Vec::with_capacity(connections),
        }
    }

    fn begin(&mut self, now: Instant, slots: usize) {
        *self = Kick {
            phase: Phase::Count,
            at: now,
            slots,
            next: 0,
            classes: std::mem::take(&mut self.classes),
            order: std::mem::take(&mut self.order),
        };
        self.classes.fill(0);
        self.order.clear();
    }

    /// From counts to places.
    fn lay_out(&mut self) {
        let mut sum = 0;
        for class in &mut self.classes {
            sum += std::mem::replace(class, sum);
        }
        self.order.resize(sum as usize, NONE);
    }

    /// The next portion of slots, and whether it is the last one.
    fn portion(&mut self, looks: &mut usize) -> std::ops::Range<usize> {
        let end = self.slots.min(self.next + *looks);
        let portion = self.next..end;
        *looks -= portion.len();
        self.next = end;
        portion
    }

    fn enter(&mut self, phase: Phase) {
        (self.phase, self.next) = (phase, 0);
    }

    /// `slots`: how many the shard has. What it has noted lies within them.
    pub fn check(&self, slots: usize) -> Result<(), &'static str> {
        let places = self.classes.iter().map(|&class| class as usize);
        let holds = match self.phase {
            Phase::Rest => self.order.is_empty(),
            Phase::Count => self.next <= self.slots && places.sum::<usize>() <= self.slots,
            Phase::Place => self.next <= self.slots && places.max() <= Some(self.order.len()),
            Phase::Send => self.next <= self.order.len(),
        };
        if holds && self.slots <= slots && self.order.len() <= slots { Ok(()) } else { Err("kick") }
    }

    pub fn save(&self, out: &mut Writer<'_>) {
        out.u8(self.phase as u8);
        if self.phase == Phase::Rest {
            return;
        }
        out.u64(self.at.as_micros());
        out.u32(self.slots as u32);
        out.u32(self.next as u32);
        self.classes.iter().for_each(|class| out.u32(*class));
        out.u32(self.order.len() as u32);
        self.order.iter().for_each(|id| out.u32(*id));
    }

    /// `slots`: how many the shard has.
    pub fn restore(&mut self, slots: usize, input: &mut Reader<'_>) -> Result<(), SnapshotError> {
        self.phase = match input.u8("phase of a kick")? {
            0 => return Ok(()),
            1 => Phase::Count,
            2 => Phase::Place,
            3 => Phase::Send,
            other => return Err(input.invalid("phase of a kick", other.into())),
        };
        self.at = Instant::from_micros(input.u64("time of a kick")?);
        let mut number = |what, most: usize| match input.u32(what)? {
            number if number as usize <= most => Ok(number),
            number => Err(input.invalid(what, number.into())),
        };
        self.slots = number("slots to be kicked", slots)? as usize;
        self.next = number("next slot to be kicked", slots)? as usize;
        for class in &mut self.classes {
            *class = number("number of a class", slots)?;
        }
        for _ in 0..number("number of slots to be kicked", slots)? {
            let id = number("slot to be kicked", NONE as usize)?;
            if id != NONE && id as usize >= slots {
                return Err(input.invalid("slot to be kicked", id.into()));
            }
            self.order.push(id);
        }
        Ok(())
    }
}

/// How long a connection has been idle, exact to 3 %: up to 32 us each for itself.
fn class_of(idle_us: u64) -> usize {
    let octave = (idle_us >> FINE_BITS).checked_ilog2().map_or(0, |octave| octave + 1);
    let fine = (idle_us >> octave.saturating_sub(1)) & ((1 << FINE_BITS) - 1);
    ((octave as usize) << FINE_BITS | fine as usize).min(CLASSES - 1)
}

fn octave_of(class: usize) -> u16 {
    (class >> FINE_BITS) as u16
}

/// Whether the kick under way has not come to this connection yet, nor will its turn in the run
/// queue bring it. Nothing has touched such a connection since the kick began.
fn waits(tcb: &Tcb) -> bool {
    tcb.has(Marks::KICK) && !tcb.has(Marks::QUEUED)
}

impl Shard {
    /// Takeover: has every connection send at once what its peer may be waiting for, the most
    /// recently active first: the first unacknowledged segment, or an ACK. One call does a portion,
    /// and emits as much as one step may; it is to be repeated while there are
    /// [more](Self::kicks_next). Steps may come between; connections that have something to do then
    /// have their kick with it.
    ///
    /// Each call counts: a replica must be given all of them.
    pub fn kick<E: Egress>(&mut self, now: Instant, egress: &mut E) {
        self.now = self.now.max(now);
        if self.kick.phase == Phase::Rest {
            self.kick.begin(self.now, self.slots.len());
        }
        if self.kick.phase == Phase::Send {
            self.send_kicks(egress);
        } else {
            self.put_in_order();
        }
        self.shared.digest.fold(self.now.as_micros());
    }

    /// Whom the next call of [`kick`](Self::kick) is for: the longer these have been idle, the
    /// higher, a step for each octave; 0 as long as that is not known. `None`: no kick is under
    /// way.
    #[must_use]
    pub fn kicks_next(&self) -> Option<u16> {
        match self.kick.phase {
            Phase::Rest => None,
            Phase::Count | Phase::Place => Some(0),
            Phase::Send => {
                let next = self.kick.order.get(self.kick.next);
                let slot = next.and_then(|&id| self.slots[id as usize].as_ref());
                Some(slot.map_or(1, |slot| 1 + octave_of(self.idle_class(&slot.tcb))))
            }
        }
    }

    fn idle_class(&self, tcb: &Tcb) -> usize {
        class_of(self.kick.at.since_us(tcb.active_at))
    }

    fn put_in_order(&mut self) {
        let mut looks = LOOKS;
        if self.kick.phase == Phase::Count {
            self.count_for_kick(&mut looks);
        }
        if self.kick.phase == Phase::Place {
            self.place_for_kick(&mut looks);
        }
        self.end_if_all_are_kicked();
    }

    fn count_for_kick(&mut self, looks: &mut usize) {
        let Shard { kick, slots, .. } = self;
        for slot in slots[kick.portion(looks)].iter_mut().flatten() {
            let tcb = &mut slot.tcb;
            if matches!(tcb.state, State::Closed | State::TimeWait) {
                continue;
            }
            tcb.set(Marks::KICK);
            if waits(tcb) {
                kick.classes[class_of(kick.at.since_us(tcb.active_at))] += 1;
            }
        }
        if kick.next == kick.slots {
            kick.lay_out();
            kick.enter(Phase::Place);
        }
    }

    fn place_for_kick(&mut self, looks: &mut usize) {
        let Shard { kick, slots, .. } = self;
        for id in kick.portion(looks) {
            let Some(slot) = &slots[id] else { continue };
            if waits(&slot.tcb) {
                let place = &mut kick.classes[class_of(kick.at.since_us(slot.tcb.active_at))];
                // Counts that came in a snapshot may be those of other connections.
                if let Some(noted) = kick.order.get_mut(*place as usize) {
                    *noted = id as u32;
                    *place += 1;
                }
            }
        }
        if kick.next == kick.slots {
            kick.enter(Phase::Send);
        }
    }

    /// Kicks some of the next ones, as long as they are of one octave.
    fn send_kicks<E: Egress>(&mut self, egress: &mut E) {
        let end = self.kick.order.len().min(self.kick.next + LOOKS);
        let mut budget = self.config.max_packets_per_step;
        let mut octave = None;
        let mut asked_for = self.kick.next;
        while self.kick.next < end && budget > 0 {
            if self.kick.next == asked_for {
                asked_for = end.min(asked_for + LOOKAHEAD);
                self.ask_for_kicked(asked_for);
            }
            let id = self.kick.order[self.kick.next];
            if let Some(Some(slot)) = self.slots.get(id as usize)
                && waits(&slot.tcb)
            {
                let own = octave_of(self.idle_class(&slot.tcb));
                if *octave.get_or_insert(own) != own {
                    return;
                }
                self.send_kick(id, egress, &mut budget);
            }
            self.kick.next += 1;
        }
        self.end_if_all_are_kicked();
    }

    fn end_if_all_are_kicked(&mut self) {
        if self.kick.phase == Phase::Send && self.kick.next == self.kick.order.len() {
            self.kick.enter(Phase::Rest);
            self.kick.order.clear();
        }
    }

    /// One packet and no more: whatever else it has to send waits until all are kicked, or for its
    /// turn in the next step.
    fn send_kick<E: Egress>(&mut self, id: u32, egress: &mut E, budget: &mut u32) {
        let mut context = context!(self);
        let Some(slot) = &mut self.slots[id as usize] else { return };
        context.bill(&slot.tcb);
        let mut quota = 1;
        let more = slot.send(id, &mut context, egress, &mut quota);
        *budget -= 1 - quota;
        self.settle(id, more);
    }

    /// Has the caches fetch the next ones side by side.
    fn ask_for_kicked(&self, end: usize) {
        let mut touched = 0;
        for &id in &self.kick.order[self.kick.next..end] {
            if let Some(Some(slot)) = self.slots.get(id as usize) {
                touched ^= slot.tcb.touch();
            }
        }
        std::hint::black_box(touched);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_keep_the_order_of_idle_times_and_tell_three_percent_apart() {
        let mut last = 0;
        for idle_us in (0..100_000).chain((100_000..10_000_000_000).step_by(777_777)) {
            let class = class_of(idle_us);
            assert!(class >= last, "{idle_us}");
            let longer = class_of(idle_us + idle_us / 30 + 1);
            assert!(longer > class || class == CLASSES - 1, "{idle_us}");
            last = class;
        }
        assert_eq!(class_of(u64::MAX), CLASSES - 1);
    }
}
