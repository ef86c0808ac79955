//! The two ends of a queue pair: the hot path.

use std::sync::Arc;

use arrayvec::ArrayVec;
use dpdk_sys as sys;

use super::OpenPort;
use crate::mbuf::Mbuf;

/// One receive and one transmit queue of a port.
#[derive(Debug)]
pub struct QueuePair {
    pub rx: RxQueue,
    pub tx: TxQueue,
}

/// A receive queue. Not `Clone`, and used through `&mut`: it has one user at a time.
#[derive(Debug)]
pub struct RxQueue {
    port: u16,
    queue: u16,
    counters: QueueCounters,
    _open: Arc<OpenPort>,
}

/// A transmit queue. Not `Clone`, and used through `&mut`: it has one user at a time.
#[derive(Debug)]
pub struct TxQueue {
    port: u16,
    queue: u16,
    /// Drivers with offloads want to see frames once before they are sent.
    prepare: bool,
    /// Bytes of the longest frame.
    max_len: u32,
    counters: QueueCounters,
    _open: Arc<OpenPort>,
}

/// What happened to frames here, apart from what the device counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueCounters {
    /// Frames that came in several segments and were copied into one.
    pub linearized: u64,
    /// Frames that came in several segments, too long for one: dropped.
    pub chains_dropped: u64,
    /// Frames longer than the MTU allows, which some drivers would neither send nor drop: dropped.
    pub too_long: u64,
    /// Frames that the driver refused to send (impossible offload request): dropped.
    pub refused: u64,
}

impl QueuePair {
    pub(super) fn new(open: &Arc<OpenPort>, queue: u16, max_len: u32, prepare: bool) -> Self {
        let (port, counters) = (open.id, QueueCounters::default());
        Self {
            rx: RxQueue { port, queue, counters, _open: Arc::clone(open) },
            tx: TxQueue { port, queue, prepare, max_len, counters, _open: Arc::clone(open) },
        }
    }
}

impl RxQueue {
    /// Receives what is there, as far as `into` has room, behind what it holds. Gives the number of
    /// new frames, each of one segment. Room for 32 suits every driver; below 4 some give nothing.
    #[inline]
    pub fn receive<const N: usize>(&mut self, into: &mut ArrayVec<Mbuf, N>) -> usize {
        let len = into.len();
        let room = into.remaining_capacity().min(usize::from(u16::MAX)) as u16;
        // SAFETY: the port is started and open (`_open`), this handle is the queue's only user;
        // there is room for that many pointers behind the first `len`, `Mbuf` is a transparent
        // pointer, and the received ones are live mbufs that are ours alone.
        unsafe {
            let frames = into.as_mut_ptr().add(len).cast();
            let received = sys::shim_rx_burst(self.port, self.queue, frames, room);
            into.set_len(len + usize::from(received));
        }
        if into[len..].iter().any(|frame| frame.segments() != 1) {
            self.linearize(into, len);
        }
        into.len() - len
    }

    #[cold]
    fn linearize<const N: usize>(&mut self, frames: &mut ArrayVec<Mbuf, N>, from: usize) {
        let mut index = 0;
        let counters = &mut self.counters;
        frames.retain(|frame| {
            index += 1;
            if index <= from || frame.segments() == 1 {
                return true;
            }
            let fits = frame.linearize();
            *(if fits { &mut counters.linearized } else { &mut counters.chains_dropped }) += 1;
            fits
        });
    }

    pub fn counters(&self) -> QueueCounters {
        self.counters
    }
}

impl TxQueue {
    /// Sends from the front of `frames`. Gives the number sent; the others stay, in order.
    #[inline]
    pub fn transmit<const N: usize>(&mut self, frames: &mut ArrayVec<Mbuf, N>) -> usize {
        if frames.iter().any(|frame| frame.len() > self.max_len as usize) {
            self.drop_too_long(frames);
        }
        if frames.is_empty() {
            return 0;
        }
        let count = if self.prepare { self.prepare(frames) } else { frames.len() };
        let len = frames.len();
        // SAFETY: the port is started and open (`_open`), this handle is the queue's only user. The
        // first `sent` mbufs are the driver's from here on: the length is zero until they are
        // overwritten by the rest, so none is dropped here.
        unsafe {
            let first = frames.as_mut_ptr();
            frames.set_len(0);
            let sent = sys::shim_tx_burst(self.port, self.queue, first.cast(), count as u16);
            let sent = usize::from(sent);
            if sent < len {
                std::ptr::copy(first.add(sent), first, len - sent);
                frames.set_len(len - sent);
            }
            sent
        }
    }

    #[cold]
    fn drop_too_long<const N: usize>(&mut self, frames: &mut ArrayVec<Mbuf, N>) {
        let before = frames.len();
        frames.retain(|frame| frame.len() <= self.max_len as usize);
        self.counters.too_long += (before - frames.len()) as u64;
    }

    /// Has the driver look at the frames; one that it refuses would block the others for good, and
    /// is dropped. Gives the number of frames that may be sent.
    fn prepare<const N: usize>(&mut self, frames: &mut ArrayVec<Mbuf, N>) -> usize {
        let mut ready = 0;
        while ready < frames.len() {
            let count = (frames.len() - ready).min(usize::from(u16::MAX)) as u16;
            // SAFETY: as in `transmit`; the frames stay ours, and stay in place.
            let good = unsafe {
                let first = frames.as_mut_ptr().add(ready).cast();
                sys::shim_tx_prepare(self.port, self.queue, first, count)
            };
            ready += usize::from(good);
            if good < count {
                frames.remove(ready);
                self.counters.refused += 1;
            }
        }
        ready
    }

    pub fn counters(&self) -> QueueCounters {
        self.counters
    }
}
