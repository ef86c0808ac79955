//! The receiving half: puts frames in order, hands whole batches on, says what it has.

use arrayvec::ArrayVec;

use crate::frame::{Confirm, Data, Gap, MAX_GAPS};
use crate::pending::{PREFIX_BYTES, PendingLog, StageError};
use crate::role::Position;
use crate::session::{Rejected, SessionConfig, SessionCounters};

/// Least time between two confirmations that only tell of gaps or duplicates.
const URGENT_INTERVAL_US: u64 = 100;

/// A frame that came before its turn.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// 0: the slot is empty.
    length: u32,
    batch_end: bool,
}

/// Frames below `delivery.expected` went to the log; some of those from there to `highest` are in
/// the ring.
#[derive(Debug)]
pub(super) struct Receiver {
    slots: Box<[Slot]>,
    payloads: Box<[u8]>,
    payload_bytes: usize,
    highest: u64,
    delivery: Delivery,
    /// What the last confirmation promised: room for frames below this one.
    promised: u64,
    unconfirmed_bytes: usize,
    unconfirmed_since_us: Option<u64>,
    urgent: bool,
    confirmed_at_us: Option<u64>,
}

impl Receiver {
    pub(super) fn new(config: &SessionConfig) -> Receiver {
        let payload_bytes = config.payload_bytes();
        Receiver {
            slots: vec![Slot::default(); config.window_frames].into_boxed_slice(),
            payloads: vec![0; config.window_frames * payload_bytes].into_boxed_slice(),
            payload_bytes,
            highest: 0,
            delivery: Delivery::new(config.max_batch_bytes),
            promised: config.window_frames as u64,
            unconfirmed_bytes: 0,
            unconfirmed_since_us: None,
            urgent: false,
            confirmed_at_us: None,
        }
    }

    /// Back to the state of a new receiver; the buffers stay.
    pub(super) fn reset(&mut self) {
        self.slots.fill(Slot::default());
        self.highest = 0;
        self.delivery = Delivery::new(self.delivery.max_batch_bytes);
        self.promised = self.slots.len() as u64;
        self.unconfirmed_bytes = 0;
        self.unconfirmed_since_us = None;
        self.urgent = false;
        self.confirmed_at_us = None;
    }

    pub(super) fn refused(&self) -> bool {
        self.delivery.refused
    }

    fn index(&self, sequence: u64) -> usize {
        // The window is a power of two (asserted at construction).
        sequence as usize & (self.slots.len() - 1)
    }

    /// Frames below the returned one certainly find a slot and room in the log. It never falls:
    /// a frame takes no more of the log than what is counted for it here.
    fn limit(&self, log: &PendingLog) -> u64 {
        let in_log = log.room() / (self.payload_bytes + PREFIX_BYTES);
        self.delivery.expected + in_log.min(self.slots.len()) as u64
    }

    pub(super) fn accept(
        &mut self,
        now_us: u64,
        data: &Data<'_>,
        log: &mut PendingLog,
        counters: &mut SessionCounters,
    ) -> Result<(), Rejected> {
        let sequence = data.sequence;
        if self.delivery.refused {
            return Err(Rejected::OutOfSync);
        }
        if data.payload.len() > self.payload_bytes {
            let (length, limit) = (data.payload.len(), self.payload_bytes);
            return Err(Rejected::FrameTooLong { length, limit });
        }
        // Whatever is refused from here on, the sender should hear soon how things stand.
        if sequence < self.delivery.expected {
            self.urgent = true;
            return Err(Rejected::Duplicate(sequence));
        }
        let end = self.delivery.expected.saturating_add(self.slots.len() as u64);
        if sequence >= end {
            self.urgent = true;
            return Err(Rejected::BeyondWindow { sequence, end });
        }
        if sequence >= self.limit(log) {
            self.urgent = true;
            return Err(Rejected::NoRoom(sequence));
        }
        if sequence > self.delivery.expected {
            self.store(data)?;
            counters.frames_out_of_order += 1;
        } else {
            self.delivery.deliver(data.payload, data.batch_end, log, counters)?;
            self.highest = self.highest.max(self.delivery.expected);
            self.deliver_stored(log, counters)?;
        }
        counters.frames_received += 1;
        counters.bytes_received += data.payload.len() as u64;
        self.unconfirmed_bytes += data.payload.len();
        self.unconfirmed_since_us.get_or_insert(now_us);
        self.urgent |= self.delivery.expected < self.highest;
        Ok(())
    }

    fn store(&mut self, data: &Data<'_>) -> Result<(), Rejected> {
        let index = self.index(data.sequence);
        if self.slots[index].length != 0 {
            self.urgent = true;
            return Err(Rejected::Duplicate(data.sequence));
        }
        let start = index * self.payload_bytes;
        self.payloads[start..start + data.payload.len()].copy_from_slice(data.payload);
        self.slots[index] = Slot { length: data.payload.len() as u32, batch_end: data.batch_end };
        self.highest = self.highest.max(data.sequence + 1);
        Ok(())
    }

    fn deliver_stored(
        &mut self,
        log: &mut PendingLog,
        counters: &mut SessionCounters,
    ) -> Result<(), Rejected> {
        while self.delivery.expected < self.highest {
            let index = self.index(self.delivery.expected);
            let slot = std::mem::take(&mut self.slots[index]);
            if slot.length == 0 {
                break;
            }
            let start = index * self.payload_bytes;
            let payload = &self.payloads[start..start + slot.length as usize];
            self.delivery.deliver(payload, slot.batch_end, log, counters)?;
        }
        Ok(())
    }
}

/// When to confirm, and what to say.
impl Receiver {
    pub(super) fn confirm_due(
        &self,
        now_us: u64,
        idle: bool,
        config: &SessionConfig,
        log: &PendingLog,
    ) -> bool {
        if self.delivery.refused {
            return false;
        }
        self.unconfirmed_bytes >= config.confirm_every_bytes
            || (idle && self.unconfirmed_since_us.is_some())
            || self.confirm_deadline_us(config).is_some_and(|deadline_us| now_us >= deadline_us)
            || self.room_opened(idle, log)
    }

    pub(super) fn confirm_deadline_us(&self, config: &SessionConfig) -> Option<u64> {
        if self.delivery.refused {
            return None;
        }
        let delayed_us =
            self.unconfirmed_since_us.map(|since_us| since_us + config.confirm_delay_us);
        let urgent_us =
            self.urgent.then(|| self.confirmed_at_us.map_or(0, |at_us| at_us + URGENT_INTERVAL_US));
        [delayed_us, urgent_us].into_iter().flatten().min()
    }

    /// The last confirmation may be lost.
    pub(super) fn confirm_again(&mut self) {
        self.urgent = true;
        self.confirmed_at_us = None;
    }

    /// The sender may stand still for want of a promise that can now be given.
    fn room_opened(&self, idle: bool, log: &PendingLog) -> bool {
        let window = self.slots.len() as u64;
        let promised_now = self.promised.saturating_sub(self.delivery.expected);
        if promised_now >= window / 2 {
            return false;
        }
        let gained = self.limit(log).saturating_sub(self.promised);
        gained >= window / 4 || (idle && gained > 0)
    }

    pub(super) fn confirm(&self, log: &PendingLog) -> Confirm {
        let limit = self.limit(log);
        let credit = u32::try_from(limit - self.delivery.expected).unwrap_or(u32::MAX);
        Confirm { next: self.delivery.expected, credit, gaps: self.gaps() }
    }

    fn gaps(&self) -> ArrayVec<Gap, MAX_GAPS> {
        let mut gaps = ArrayVec::new();
        let mut sequence = self.delivery.expected;
        while sequence < self.highest && !gaps.is_full() {
            let missing = self.run(sequence, false);
            let held = self.run(sequence + u64::from(missing), true);
            sequence += u64::from(missing) + u64::from(held);
            gaps.push(Gap { missing, held });
        }
        gaps
    }

    /// How many frames from `sequence` on are there, or are not.
    fn run(&self, sequence: u64, there: bool) -> u32 {
        let run = (sequence..self.highest)
            .take_while(|&sequence| (self.slots[self.index(sequence)].length != 0) == there)
            .count();
        run as u32
    }

    pub(super) fn confirm_sent(&mut self, now_us: u64, confirm: &Confirm) {
        self.promised = confirm.next + u64::from(confirm.credit);
        self.unconfirmed_bytes = 0;
        self.unconfirmed_since_us = None;
        self.urgent = false;
        self.confirmed_at_us = Some(now_us);
    }
}

/// Hands frames in order to the log, and batches to its consumer.
#[derive(Debug)]
struct Delivery {
    max_batch_bytes: usize,
    /// The next frame to hand on.
    expected: u64,
    mid_batch: bool,
    received: Position,
    refused: bool,
}

impl Delivery {
    fn new(max_batch_bytes: usize) -> Delivery {
        Delivery {
            max_batch_bytes,
            expected: 0,
            mid_batch: false,
            received: Position::START,
            refused: false,
        }
    }

    /// Hands on the frame `expected`.
    fn deliver(
        &mut self,
        payload: &[u8],
        batch_end: bool,
        log: &mut PendingLog,
        counters: &mut SessionCounters,
    ) -> Result<(), Rejected> {
        if !self.mid_batch {
            log.stage_begin();
            self.mid_batch = true;
        }
        log.stage(payload).map_err(|error| self.refuse(error))?;
        if batch_end {
            log.commit(self.received.next()).map_err(|error| self.refuse(error))?;
            self.received = self.received.next();
            self.mid_batch = false;
            counters.batches_received += 1;
        }
        self.expected += 1;
        Ok(())
    }

    /// No room: the sender will try again. Anything else in an undamaged frame of the right peer
    /// means that the log cannot be followed any more.
    fn refuse(&mut self, error: StageError) -> Rejected {
        match error {
            StageError::NoRoom => Rejected::NoRoom(self.expected),
            StageError::TooLong => {
                self.refused = true;
                Rejected::BatchTooLong { limit: self.max_batch_bytes }
            }
            StageError::Torn(error) => {
                self.refused = true;
                Rejected::TornBatch(error)
            }
        }
    }
}
