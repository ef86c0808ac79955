//! The sending half: a ring of unconfirmed frames, their confirmation and their retransmission.
//!
//! Payload buffers are reused last in, first out, so that a short queue stays in the cache however
//! long the window is.

use crate::frame::{Confirm, Data};
use crate::record::{HEADER_BYTES, RecordKind, header};
use crate::role::Position;
use crate::session::rtt::Rtt;
use crate::session::{AppendError, Rejected, SessionConfig, SessionCounters};

/// What is known about one unconfirmed frame.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// When it was first due to be sent, even if the NIC or the peer had no room for it.
    due_since_us: Option<u64>,
    sent_us: u64,
    /// Which payload buffer it has.
    buffer: u32,
    length: u32,
    sends: u32,
    batch_end: bool,
    /// The peer reported that it has this frame, out of order.
    held: bool,
    /// The peer reported that this frame is missing, after it was sent last.
    missing: bool,
}

/// Frames `oldest..unsent` are in flight, `unsent..sealed` wait to be sent, and `sealed` is the
/// open one, which takes records as long as the batch is open.
#[derive(Debug)]
pub(super) struct Sender {
    slots: Box<[Slot]>,
    payloads: Box<[u8]>,
    payload_bytes: usize,
    /// Payload buffers that no sealed frame has; the last one is the open frame's.
    free: Vec<u32>,
    max_batch_bytes: usize,
    oldest: u64,
    unsent: u64,
    sealed: u64,
    /// Bytes in the open frame and in the open batch.
    open_bytes: usize,
    batch_bytes: usize,
    position: Position,
    confirmed: Position,
    /// The peer has room for frames below this one.
    limit: u64,
    missing: usize,
    /// Not before this time is one of the missing frames old enough to be sent again.
    missing_due_us: u64,
    rtt: Rtt,
    backoff: u32,
    /// The retransmission timer runs from here.
    timer_us: Option<u64>,
}

fn all_buffers(config: &SessionConfig) -> Vec<u32> {
    (0..config.window_frames as u32).rev().collect()
}

impl Sender {
    pub(super) fn new(config: &SessionConfig) -> Sender {
        let payload_bytes = config.payload_bytes();
        Sender {
            slots: vec![Slot::default(); config.window_frames].into_boxed_slice(),
            payloads: vec![0; config.window_frames * payload_bytes].into_boxed_slice(),
            payload_bytes,
            free: all_buffers(config),
            max_batch_bytes: config.max_batch_bytes,
            oldest: 0,
            unsent: 0,
            sealed: 0,
            open_bytes: 0,
            batch_bytes: 0,
            position: Position(1),
            confirmed: Position::START,
            limit: config.window_frames as u64,
            missing: 0,
            missing_due_us: 0,
            rtt: Rtt::new(config.retransmit_min_us, config.retransmit_max_us),
            backoff: 0,
            timer_us: None,
        }
    }

    /// Back to the state of a new sender; the buffers stay.
    pub(super) fn reset(&mut self, config: &SessionConfig) {
        self.free = all_buffers(config);
        self.oldest = 0;
        self.unsent = 0;
        self.sealed = 0;
        self.open_bytes = 0;
        self.batch_bytes = 0;
        self.position = Position(1);
        self.confirmed = Position::START;
        self.limit = config.window_frames as u64;
        self.missing = 0;
        self.rtt = Rtt::new(config.retransmit_min_us, config.retransmit_max_us);
        self.backoff = 0;
        self.timer_us = None;
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    pub(super) fn confirmed(&self) -> Position {
        self.confirmed
    }

    pub(super) fn rtt_us(&self) -> Option<u64> {
        self.rtt.smoothed_us()
    }

    pub(super) fn unconfirmed_since_us(&self) -> Option<u64> {
        if self.oldest == self.sealed {
            return None;
        }
        self.slots[self.index(self.oldest)].due_since_us
    }

    /// The open frame's slot counts as used; a batch that must be closed early wastes one more.
    pub(super) fn room(&self) -> usize {
        (self.free_frames().saturating_sub(1) * self.payload_bytes).min(self.max_batch_bytes)
    }

    fn free_frames(&self) -> usize {
        let used = self.sealed - self.oldest + u64::from(self.open_bytes > 0);
        self.slots.len() - used as usize
    }

    fn index(&self, sequence: u64) -> usize {
        // The window is a power of two (asserted at construction).
        sequence as usize & (self.slots.len() - 1)
    }

    pub(super) fn append(
        &mut self,
        shard: u16,
        kind: RecordKind,
        parts: &[&[u8]],
        counters: &mut SessionCounters,
    ) -> Result<Position, AppendError> {
        let body_bytes: usize = parts.iter().map(|part| part.len()).sum();
        let length = HEADER_BYTES + body_bytes;
        if length > self.max_batch_bytes {
            return Err(AppendError::TooLong { length, limit: self.max_batch_bytes });
        }
        let fits_batch = self.batch_bytes + length <= self.max_batch_bytes;
        let in_open_frame = if fits_batch && self.open_bytes > 0 {
            self.payload_bytes - self.open_bytes
        } else {
            0
        };
        if length > in_open_frame + self.free_frames() * self.payload_bytes {
            counters.window_full += 1;
            return Err(AppendError::Full);
        }
        if !fits_batch {
            self.close_batch(counters);
        }
        self.put(&header(shard, kind, body_bytes as u32));
        for part in parts {
            self.put(part);
        }
        self.batch_bytes += length;
        Ok(self.position)
    }

    fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.open_bytes == self.payload_bytes {
                self.seal(false);
            }
            let take = bytes.len().min(self.payload_bytes - self.open_bytes);
            let (now, later) = bytes.split_at(take);
            let start = self.open_buffer() as usize * self.payload_bytes + self.open_bytes;
            self.payloads[start..start + take].copy_from_slice(now);
            self.open_bytes += take;
            bytes = later;
        }
    }

    fn open_buffer(&self) -> u32 {
        *self.free.last().expect("append saw that a frame is free")
    }

    fn seal(&mut self, batch_end: bool) {
        let index = self.index(self.sealed);
        let (buffer, length) = (self.open_buffer(), self.open_bytes as u32);
        self.free.pop();
        self.slots[index] = Slot { buffer, length, batch_end, ..Slot::default() };
        self.sealed += 1;
        self.open_bytes = 0;
    }

    pub(super) fn close_batch(&mut self, counters: &mut SessionCounters) -> Option<Position> {
        if self.batch_bytes == 0 {
            return None;
        }
        let closed = self.position;
        self.seal(true);
        self.batch_bytes = 0;
        self.position = closed.next();
        counters.batches_closed += 1;
        let used = self.sealed - self.oldest;
        counters.window_high_water = counters.window_high_water.max(used);
        Some(closed)
    }

    /// Takes what the peer says it has. A confirmation that was overtaken by a newer one changes
    /// nothing.
    pub(super) fn confirm(
        &mut self,
        now_us: u64,
        confirm: &Confirm,
        counters: &mut SessionCounters,
    ) -> Result<(), Rejected> {
        let reported: u64 =
            confirm.gaps.iter().map(|gap| u64::from(gap.missing) + u64::from(gap.held)).sum();
        let end = confirm.next.checked_add(reported).ok_or(Rejected::ConfirmsUnsent)?;
        if end > self.unsent {
            return Err(Rejected::ConfirmsUnsent);
        }
        counters.confirms_received += 1;
        self.limit = self.limit.max(confirm.next.saturating_add(u64::from(confirm.credit)));
        if confirm.next < self.oldest {
            return Ok(());
        }
        let mut progress = self.advance(now_us, confirm.next, counters);
        let mut sequence = confirm.next;
        for gap in &confirm.gaps {
            for _ in 0..gap.missing {
                self.mark_missing(sequence);
                sequence += 1;
            }
            for _ in 0..gap.held {
                progress |= self.mark_held(sequence);
                sequence += 1;
            }
        }
        if progress {
            self.backoff = 0;
            self.timer_us = (self.oldest < self.unsent).then_some(now_us);
        }
        Ok(())
    }

    /// Forgets the frames below `next`. Says whether there were any.
    fn advance(&mut self, now_us: u64, next: u64, counters: &mut SessionCounters) -> bool {
        let mut newest_sent_once_us = None;
        let progress = self.oldest < next;
        for sequence in self.oldest..next {
            let slot = self.slots[self.index(sequence)];
            if slot.batch_end {
                self.confirmed = self.confirmed.next();
                counters.batches_confirmed += 1;
            }
            self.missing -= usize::from(slot.missing);
            self.give_back(slot.buffer);
            if slot.sends == 1 && !slot.held {
                newest_sent_once_us = Some(slot.sent_us);
            }
        }
        if let Some(sent_us) = newest_sent_once_us {
            self.rtt.sample(now_us.saturating_sub(sent_us));
        }
        self.oldest = next;
        progress
    }

    /// The last one stays the open frame's while that has bytes.
    fn give_back(&mut self, buffer: u32) {
        self.free.push(buffer);
        if let (true, [.., open, given]) = (self.open_bytes > 0, &mut self.free[..]) {
            std::mem::swap(open, given);
        }
    }

    fn mark_missing(&mut self, sequence: u64) {
        let delay_us = self.rtt.loss_delay_us();
        let index = self.index(sequence);
        let slot = &mut self.slots[index];
        if slot.missing || slot.held {
            return;
        }
        slot.missing = true;
        let due_us = slot.sent_us.saturating_add(delay_us);
        self.missing_due_us =
            if self.missing == 0 { due_us } else { self.missing_due_us.min(due_us) };
        self.missing += 1;
    }

    fn mark_held(&mut self, sequence: u64) -> bool {
        let index = self.index(sequence);
        let slot = &mut self.slots[index];
        if slot.held {
            return false;
        }
        slot.held = true;
        self.missing -= usize::from(std::mem::take(&mut slot.missing));
        true
    }

    /// Every frame in flight that the peer is not known to hold counts as lost. How long the peer
    /// takes to confirm it tells nothing about the way that it takes from now on.
    pub(super) fn send_again(&mut self) {
        for sequence in self.oldest..self.unsent {
            let index = self.index(sequence);
            let slot = &mut self.slots[index];
            if slot.held {
                continue;
            }
            self.missing += usize::from(!std::mem::replace(&mut slot.missing, true));
            slot.sent_us = 0;
            slot.sends = slot.sends.saturating_add(1);
        }
        self.missing_due_us = 0;
        self.backoff = 0;
        self.timer_us = None;
    }

    #[cfg(test)]
    pub(super) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// There are frames that [`poll`](Self::poll) would send for the first time.
    pub(super) fn has_new(&self) -> bool {
        self.unsent < self.sealed.min(self.limit)
    }

    pub(super) fn next_deadline_us(&self) -> Option<u64> {
        if self.has_new() {
            return Some(0);
        }
        let timer_us = self.timer_us.map(|from_us| from_us + self.rtt.timeout_us(self.backoff));
        let missing_us = (self.missing > 0).then_some(self.missing_due_us);
        [timer_us, missing_us].into_iter().flatten().min()
    }

    /// Sends what is due: lost frames first, then new ones, then what the timer asks for. `send`
    /// says `false` when it cannot take a frame now.
    pub(super) fn poll(
        &mut self,
        now_us: u64,
        counters: &mut SessionCounters,
        send: &mut impl FnMut(&Data<'_>) -> bool,
    ) {
        if self.oldest == self.unsent && self.unsent < self.sealed {
            let index = self.index(self.unsent);
            self.slots[index].due_since_us.get_or_insert(now_us);
        }
        let all_taken =
            self.send_missing(now_us, counters, send) && self.send_new(now_us, counters, send);
        if !all_taken {
            return;
        }
        let waits = self.oldest < self.sealed;
        match self.timer_us {
            // Sealed frames and none in flight: the peer has no room. Its word of new room may be
            // lost, so the timer will send a frame to ask.
            None if waits => self.timer_us = Some(now_us),
            Some(from_us) if now_us >= from_us + self.rtt.timeout_us(self.backoff) => {
                self.timer_us = Some(now_us);
                self.backoff = self.backoff.saturating_add(1);
                counters.timeouts += 1;
                self.send_for_timer(now_us, counters, send);
            }
            _ => {}
        }
    }

    fn send_missing(
        &mut self,
        now_us: u64,
        counters: &mut SessionCounters,
        send: &mut impl FnMut(&Data<'_>) -> bool,
    ) -> bool {
        if self.missing == 0 || now_us < self.missing_due_us {
            return true;
        }
        let delay_us = self.rtt.loss_delay_us();
        let mut next_due_us = u64::MAX;
        for sequence in self.oldest..self.unsent {
            let slot = self.slots[self.index(sequence)];
            if !slot.missing {
                continue;
            }
            let due_us = slot.sent_us.saturating_add(delay_us);
            if now_us < due_us {
                next_due_us = next_due_us.min(due_us);
            } else if !self.send_one(now_us, sequence, counters, send) {
                return false;
            }
        }
        self.missing_due_us = next_due_us;
        true
    }

    fn send_new(
        &mut self,
        now_us: u64,
        counters: &mut SessionCounters,
        send: &mut impl FnMut(&Data<'_>) -> bool,
    ) -> bool {
        while self.has_new() {
            if !self.send_one(now_us, self.unsent, counters, send) {
                return false;
            }
        }
        true
    }

    /// The oldest frame, since a lost one holds up all behind it, and the newest, since its
    /// arrival makes the peer report every gap at once.
    fn send_for_timer(
        &mut self,
        now_us: u64,
        counters: &mut SessionCounters,
        send: &mut impl FnMut(&Data<'_>) -> bool,
    ) {
        let newest = self.unsent.saturating_sub(1);
        let sent = self.send_one(now_us, self.oldest, counters, send);
        if sent && newest > self.oldest && !self.slots[self.index(newest)].held {
            self.send_one(now_us, newest, counters, send);
        }
    }

    fn send_one(
        &mut self,
        now_us: u64,
        sequence: u64,
        counters: &mut SessionCounters,
        send: &mut impl FnMut(&Data<'_>) -> bool,
    ) -> bool {
        let index = self.index(sequence);
        let slot = &mut self.slots[index];
        let start = slot.buffer as usize * self.payload_bytes;
        let payload = &self.payloads[start..start + slot.length as usize];
        if !send(&Data { sequence, batch_end: slot.batch_end, payload }) {
            return false;
        }
        slot.sent_us = now_us;
        slot.sends = slot.sends.saturating_add(1);
        self.missing -= usize::from(std::mem::take(&mut slot.missing));
        if sequence == self.unsent {
            slot.due_since_us.get_or_insert(now_us);
            self.unsent += 1;
            counters.frames_sent += 1;
            counters.bytes_sent += u64::from(slot.length);
            if sequence == self.oldest {
                self.timer_us = Some(now_us);
            }
        } else {
            counters.frames_retransmitted += 1;
        }
        true
    }
}
