//! The link session: reliable, in-order, exactly-once batches over datagrams that get lost,
//! reordered and duplicated.
//!
//! A primary [`append`](Session::append)s records, [`close_batch`](Session::close_batch)es at the
//! end of its poll loop and lets [`poll_transmit`](Session::poll_transmit) send. A backup gives
//! what came to [`receive`](Session::receive), and `poll_transmit` sends its confirmations.
//! Confirmations are cumulative and name the first gaps; a batch counts as confirmed only when
//! the peer holds every frame of it and of all batches before.

mod counters;
mod receiver;
mod rtt;
mod sender;
#[cfg(test)]
mod tests;

pub use counters::{Rejected, SessionCounters};

use crate::frame::{self, Address, DATA_OVERHEAD_BYTES, MIN_DATAGRAM_BYTES};
use crate::pending::PendingLog;
use crate::record::{HEADER_BYTES, RecordKind};
use crate::role::{Epoch, Incarnation, Position};
use crate::seal::{Numbers, Opener, Protection, Sealer, Sending};
use receiver::Receiver;
use sender::Sender;

/// Largest payload of a UDP datagram over IPv4.
const MAX_UDP_BYTES: usize = 65_507;
/// Datagrams of at least so many bytes are those of a link with jumbo frames.
const JUMBO_DATAGRAM_BYTES: usize = 3_900;

/// Limits and timing of a session. Both nodes must agree on `max_datagram` and `max_batch_bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionConfig {
    /// Which of the sender's workers this is.
    pub channel: u16,
    /// Largest UDP payload, in bytes: the link's MTU without IP and UDP header (1472 or 8972 over
    /// IPv4, 20 less over IPv6).
    pub max_datagram: usize,
    /// Frames that may be unconfirmed; also frames kept out of order. A power of two.
    pub window_frames: usize,
    /// Largest batch, in bytes. At most what half a window carries.
    pub max_batch_bytes: usize,
    /// Confirm at the latest when this many bytes are unconfirmed.
    pub confirm_every_bytes: usize,
    /// Confirm at the latest after this time, also when the loop is never idle.
    pub confirm_delay_us: u64,
    /// Bounds of the retransmission timeout.
    pub retransmit_min_us: u64,
    pub retransmit_max_us: u64,
}

impl SessionConfig {
    /// What fits a link that carries datagrams of so many bytes: about 9 MiB of window with jumbo
    /// frames, 6 MiB without.
    #[must_use]
    pub fn for_datagrams(channel: u16, max_datagram: usize) -> SessionConfig {
        SessionConfig {
            channel,
            max_datagram,
            window_frames: if max_datagram >= JUMBO_DATAGRAM_BYTES { 1_024 } else { 4_096 },
            max_batch_bytes: 1 << 20,
            confirm_every_bytes: 64 << 10,
            confirm_delay_us: 200,
            retransmit_min_us: 1_500,
            retransmit_max_us: 12_000,
        }
    }

    /// Bytes of a batch that one frame carries.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.max_datagram - DATA_OVERHEAD_BYTES
    }

    /// Checked once at construction, so that nothing on the way has to.
    fn assert_usable(&self) {
        let SessionConfig { max_datagram, window_frames, max_batch_bytes, .. } = *self;
        assert!(
            (MIN_DATAGRAM_BYTES..=MAX_UDP_BYTES).contains(&max_datagram),
            "max_datagram is {max_datagram}, expected {MIN_DATAGRAM_BYTES} to {MAX_UDP_BYTES}: \
             is the link's MTU right?"
        );
        assert!(
            window_frames.is_power_of_two() && window_frames <= 1 << 20,
            "window_frames is {window_frames}, expected a power of two up to 2^20"
        );
        assert!(
            (HEADER_BYTES..=window_frames / 2 * self.payload_bytes()).contains(&max_batch_bytes),
            "max_batch_bytes is {max_batch_bytes}, expected at most half a window"
        );
        assert!(
            0 < self.retransmit_min_us && self.retransmit_min_us <= self.retransmit_max_us,
            "retransmit_min_us must be above 0 and not above retransmit_max_us"
        );
    }
}

/// Why a record could not be appended. Nothing of it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("the window is full of unconfirmed frames; take no input until room() grows")]
    Full,
    #[error("a record of {length} bytes exceeds the largest batch of {limit} bytes")]
    TooLong { length: usize, limit: usize },
    #[error("the session is not open")]
    Closed,
}

/// One channel of the link, both directions.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    /// `None` while closed.
    opening: Option<Opening>,
    sender: Sender,
    receiver: Receiver,
    last_heard_us: Option<u64>,
    counters: SessionCounters,
}

/// Between whom the session is open, and how their datagrams are proven.
#[derive(Debug)]
struct Opening {
    /// Of our frames.
    address: Address,
    sealer: Sealer,
    opener: Opener,
}

impl Session {
    /// Takes all memory that it will ever use: twice `window_frames * max_datagram`, and a little.
    ///
    /// # Panics
    /// When the configuration cannot work; the message says which value and what is expected.
    #[must_use]
    pub fn new(config: SessionConfig) -> Session {
        config.assert_usable();
        Session {
            config,
            opening: None,
            sender: Sender::new(&config),
            receiver: Receiver::new(&config),
            last_heard_us: None,
            counters: SessionCounters::default(),
        }
    }

    #[must_use]
    pub fn config(&self) -> &SessionConfig {
        &self.config
    }

    /// From the next opening on it is another channel.
    pub fn renumber(&mut self, channel: u16) {
        self.close();
        self.config.channel = channel;
    }

    /// Starts anew in both directions: positions begin at 1 again, an incomplete batch is dropped.
    /// What the log and the gate still hold belongs to the old positions: apply it or
    /// [`reset`](PendingLog::reset) the log, and empty the gate, before.
    ///
    /// Each end opens one (epoch, local, peer) once: frames of two openings with the same names
    /// could not be told apart.
    pub fn open(
        &mut self,
        epoch: Epoch,
        local: Incarnation,
        peer: Incarnation,
        protection: &Protection,
    ) {
        let channel = self.config.channel;
        let address = Address { channel, epoch, sender: local, receiver: peer };
        let sealer = Sealer::new(address, protection);
        let opener = Opener::new(address.reversed(), protection);
        self.opening = Some(Opening { address, sealer, opener });
        self.sender.reset(&self.config);
        self.receiver.reset();
        self.last_heard_us = None;
    }

    /// Forgets everything unsent and unconfirmed; refuses datagrams until opened.
    pub fn close(&mut self) {
        self.opening = None;
        self.sender.reset(&self.config);
        self.receiver.reset();
        self.last_heard_us = None;
    }

    #[must_use]
    pub fn is_open(&self) -> bool {
        self.opening.is_some()
    }

    /// Goes on with other keys: what leaves from now on is sealed with the first of them, what
    /// comes may be sealed with any.
    pub fn protect(&mut self, protection: &Protection) {
        if let Some(opening) = &mut self.opening {
            opening.sealer.protect(protection);
            opening.opener.protect(protection);
        }
    }

    /// What was sent last may be lost, since the way it took has failed: all that is not confirmed
    /// is due to be sent again, and a confirmation.
    pub fn send_again(&mut self) {
        self.sender.send_again();
        self.receiver.confirm_again();
    }

    /// Appends a record (its body is the concatenation of `parts`) to the open batch and returns
    /// the position of the batch that it is in. A batch that would grow too long is closed first.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was appended then.
    pub fn append(
        &mut self,
        shard: u16,
        kind: RecordKind,
        parts: &[&[u8]],
    ) -> Result<Position, AppendError> {
        if !self.is_open() {
            return Err(AppendError::Closed);
        }
        self.sender.append(shard, kind, parts, &mut self.counters)
    }

    /// Ends the open batch, so that all of it can be sent, and returns its position. `None` when
    /// nothing was appended.
    pub fn close_batch(&mut self) -> Option<Position> {
        self.sender.close_batch(&mut self.counters)
    }

    /// The position that the open batch has, or will have.
    #[must_use]
    pub fn position(&self) -> Position {
        self.sender.position()
    }

    /// The position of the last batch that was closed; [`Position::START`] before the first.
    #[must_use]
    pub fn last_closed(&self) -> Position {
        Position(self.position().0 - 1)
    }

    /// Bytes that can certainly be appended now, in records of any size: bodies, and
    /// [`HEADER_BYTES`] for each record. When it runs low, take no
    /// more input.
    #[must_use]
    pub fn room(&self) -> usize {
        self.sender.room()
    }

    /// Every batch up to this one is held by the peer.
    #[must_use]
    pub fn confirmed(&self) -> Position {
        self.sender.confirmed()
    }

    /// Every closed batch is held by the peer.
    #[must_use]
    pub fn all_confirmed(&self) -> bool {
        self.confirmed().next() == self.position()
    }

    /// Since when the oldest unconfirmed frame waits: when `poll_transmit` first had it to send,
    /// whether or not the NIC or the peer had room for it.
    #[must_use]
    pub fn unconfirmed_since_us(&self) -> Option<u64> {
        self.sender.unconfirmed_since_us()
    }

    /// When the last acceptable datagram of the peer came in this epoch.
    #[must_use]
    pub fn last_heard_us(&self) -> Option<u64> {
        self.last_heard_us
    }

    /// Smoothed time from a frame's sending to its confirmation.
    #[must_use]
    pub fn rtt_us(&self) -> Option<u64> {
        self.sender.rtt_us()
    }

    /// The peer's log could not be taken (a torn or malformed batch): out of sync until opened.
    #[must_use]
    pub fn refused_log(&self) -> bool {
        self.receiver.refused()
    }

    #[must_use]
    pub fn counters(&self) -> &SessionCounters {
        &self.counters
    }

    /// Takes one UDP payload, and decrypts it in place. Whole batches, in order, go to `log`.
    ///
    /// # Errors
    /// Says why it was refused. Only counters changed then, and the state that
    /// [`refused_log`](Self::refused_log) tells of; a confirmation beside refused data counts.
    pub fn receive(
        &mut self,
        now_us: u64,
        datagram: &mut [u8],
        log: &mut PendingLog,
    ) -> Result<(), Rejected> {
        let result = self.try_receive(now_us, datagram, log);
        if let Err(reason) = &result {
            self.counters.count(reason);
        }
        result
    }

    fn try_receive(
        &mut self,
        now_us: u64,
        datagram: &mut [u8],
        log: &mut PendingLog,
    ) -> Result<(), Rejected> {
        let opening = self.opening.as_mut().ok_or(Rejected::Closed)?;
        check_address(&frame::address_of(datagram)?, &opening.address.reversed())?;
        let frame = frame::parse(opening.opener.open(datagram)?)?;
        if let Some(confirm) = &frame.confirm {
            self.sender.confirm(now_us, confirm, &mut self.counters)?;
        }
        self.last_heard_us = Some(now_us);
        match &frame.data {
            Some(data) => self.receiver.accept(now_us, data, log, &mut self.counters),
            None => Ok(()),
        }
    }

    /// Emits what is due: a confirmation, retransmissions, new frames. `idle` says that nothing
    /// more was received in this loop, so that what is unconfirmed is confirmed now. `log` is the
    /// one that [`receive`](Self::receive) fills: its room is what the confirmation promises.
    /// `numbers` are those of all that this node sends on this channel in this run. `emit` gets
    /// each datagram in parts to be concatenated and sealed, and says `false` when it cannot take
    /// it now; it is offered again at the next call.
    pub fn poll_transmit(
        &mut self,
        now_us: u64,
        idle: bool,
        log: &PendingLog,
        numbers: &mut Numbers,
        emit: &mut impl FnMut(Sending<'_>) -> bool,
    ) {
        let Some(Opening { address, sealer, .. }) = &mut self.opening else { return };
        let due = self.receiver.confirm_due(now_us, idle, &self.config, log);
        let mut confirm = due.then(|| self.receiver.confirm(log));
        // Only a confirmation without gaps is sure to fit beside data.
        if let Some(alone) = confirm.take_if(|c| !c.gaps.is_empty() || !self.sender.has_new()) {
            let header = frame::encode(address, Some(&alone), None);
            if !emit(Sending::new([&header, &[]], sealer, numbers)) {
                return;
            }
            self.receiver.confirm_sent(now_us, &alone);
            self.counters.confirms_sent += 1;
        }
        let Session { sender, receiver, counters, .. } = self;
        let mut confirms_sent = 0;
        sender.poll(now_us, counters, &mut |data| {
            let header = frame::encode(address, confirm.as_ref(), Some(data));
            let taken = emit(Sending::new([&header, data.payload], sealer, numbers));
            if let Some(beside) = confirm.take_if(|_| taken) {
                receiver.confirm_sent(now_us, &beside);
                confirms_sent += 1;
            }
            taken
        });
        counters.confirms_sent += confirms_sent;
    }

    /// When [`poll_transmit`](Self::poll_transmit) has something to do, also when the loop is not
    /// idle; a time in the past means at once.
    #[must_use]
    pub fn next_deadline_us(&self) -> Option<u64> {
        self.opening.as_ref()?;
        let confirm_us = self.receiver.confirm_deadline_us(&self.config);
        [confirm_us, self.sender.next_deadline_us()].into_iter().flatten().min()
    }
}

fn check_address(carried: &Address, ours: &Address) -> Result<(), Rejected> {
    if carried.channel != ours.channel {
        return Err(Rejected::Channel { carried: carried.channel, ours: ours.channel });
    }
    // Incarnation first: a dead run's frames say nothing about epochs either.
    if carried.sender != ours.sender || carried.receiver != ours.receiver {
        return Err(Rejected::Incarnation);
    }
    let (epoch, our_epoch) = (carried.epoch.0, ours.epoch.0);
    if epoch < our_epoch {
        return Err(Rejected::StaleEpoch { carried: epoch, ours: our_epoch });
    }
    if epoch > our_epoch {
        return Err(Rejected::FutureEpoch { carried: epoch, ours: our_epoch });
    }
    Ok(())
}
