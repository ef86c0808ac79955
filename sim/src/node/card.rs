//! A network card in memory: rings with ends, a pool that can run dry, and a count of every frame.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrayvec::ArrayVec;
use engine::wire::ethernet::{self, Mac};
use worker::nic::{BURST, Offloads, RxChecksum, TxChecksum};
use worker::{Frame, Nic};

use super::fuse::{Fuse, Point};
use crate::net;

/// A frame of the card's pool. It goes back when it is dropped.
#[derive(Debug)]
pub struct CardFrame {
    bytes: Vec<u8>,
    room: usize,
    in_use: Arc<AtomicUsize>,
}

impl Drop for CardFrame {
    fn drop(&mut self) {
        self.in_use.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Frame for CardFrame {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn append(&mut self, bytes: &[u8]) -> bool {
        let fits = self.bytes.len() + bytes.len() <= self.room;
        if fits {
            self.bytes.extend_from_slice(bytes);
        }
        fits
    }

    fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    fn rx_checksum(&self) -> RxChecksum {
        RxChecksum::Unknown
    }

    fn reuse(&mut self) {}

    fn request_tx_checksum(&mut self, _work: TxChecksum) {
        unreachable!("this card offers no offloads")
    }
}

/// What a card can do at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Frames that wait to be received; what comes then is lost.
    pub receive_ring: usize,
    /// Frames that the card takes in one loop.
    pub transmit_ring: usize,
    /// Frames in the pool.
    pub pool: usize,
}

impl Limits {
    /// As on a machine.
    pub const USUAL: Limits = Limits { receive_ring: 1024, transmit_ring: 1024, pool: 16_384 };
}

#[derive(Debug)]
struct State {
    received: VecDeque<Vec<u8>>,
    /// With how late they left within the loop.
    sent: Vec<(u64, Vec<u8>)>,
    limits: Limits,
}

/// The world's end of a card.
#[derive(Clone, Debug)]
pub struct CardEnd {
    state: Rc<RefCell<State>>,
    in_use: Arc<AtomicUsize>,
}

impl CardEnd {
    /// A frame comes in from the wire; false when the ring is full.
    #[must_use]
    pub fn deliver(&self, frame: &net::Frame) -> bool {
        let mut state = self.state.borrow_mut();
        let fits = state.received.len() < state.limits.receive_ring;
        if fits {
            state.received.push_back(frame.bytes.clone());
        }
        fits
    }

    /// What the card was given to send since this was last asked, each with its lateness.
    #[must_use]
    pub fn take_sent(&self) -> Vec<(u64, Vec<u8>)> {
        std::mem::take(&mut self.state.borrow_mut().sent)
    }

    /// Frames wait to be received.
    #[must_use]
    pub fn has_input(&self) -> bool {
        !self.state.borrow().received.is_empty()
    }

    /// Other limits, from now on.
    pub fn limit(&self, limits: Limits) {
        self.state.borrow_mut().limits = limits;
    }

    /// Whether it has as much memory as on a machine.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        self.state.borrow().limits == Limits::USUAL
    }

    /// Frames of the pool that the node holds.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }
}

/// The worker's end.
#[derive(Debug)]
pub struct Card {
    end: CardEnd,
    fuse: Rc<Fuse>,
    mac: Mac,
    mtu: u16,
    has_queues: bool,
    is_link: bool,
}

impl Card {
    /// A card, and the world's end of it.
    #[must_use]
    pub fn new(mac: Mac, mtu: u16, is_link: bool, fuse: Rc<Fuse>) -> (Card, CardEnd) {
        let limits = Limits::USUAL;
        let state = State { received: VecDeque::new(), sent: Vec::new(), limits };
        let end = CardEnd { state: Rc::new(RefCell::new(state)), in_use: Arc::default() };
        (Card { end: end.clone(), fuse, mac, mtu, has_queues: true, is_link }, end)
    }

    /// A share of the same card for a worker for which it has no queues.
    #[must_use]
    pub fn without_queues(&self) -> Card {
        let (end, fuse) = (self.end.clone(), Rc::clone(&self.fuse));
        Card { end, fuse, has_queues: false, ..*self }
    }

    fn point(&self, link: Point, lan: Point) -> Point {
        if self.is_link { link } else { lan }
    }

    fn frame(&self, bytes: Vec<u8>, room: usize) -> Option<CardFrame> {
        let in_use = self.end.in_use.fetch_add(1, Ordering::Relaxed);
        let frame = CardFrame { bytes, room, in_use: Arc::clone(&self.end.in_use) };
        (in_use < self.end.state.borrow().limits.pool).then_some(frame)
    }
}

impl Nic for Card {
    type Frame = CardFrame;

    fn mac(&self) -> Mac {
        self.mac
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn offloads(&self) -> Offloads {
        Offloads::default()
    }

    fn has_queues(&self) -> bool {
        self.has_queues
    }

    fn receive(&mut self, into: &mut ArrayVec<CardFrame, BURST>) {
        if !self.has_queues {
            return;
        }
        self.fuse.pass(self.point(Point::ReceiveLink, Point::ReceiveLan));
        while !into.is_full() && !self.fuse.dead() {
            let Some(bytes) = self.end.state.borrow_mut().received.pop_front() else { break };
            let room = bytes.len();
            // A card without a buffer drops what comes.
            into.extend(self.frame(bytes, room));
        }
    }

    fn allocate(&mut self) -> Option<CardFrame> {
        self.fuse.pass(self.point(Point::AllocateLink, Point::AllocateLan));
        let room = ethernet::HEADER_LEN + usize::from(self.mtu);
        self.frame(Vec::with_capacity(room), room)
    }

    fn transmit(&mut self, burst: &mut ArrayVec<CardFrame, BURST>) {
        assert!(self.has_queues, "a share without queues is asked to transmit");
        let point = self.point(Point::TransmitLink, Point::TransmitLan);
        let was_late_ns = self.fuse.late_ns();
        let counted = self.fuse.pass_some(point, burst.len());
        let mut state = self.end.state.borrow_mut();
        let room = state.limits.transmit_ring.saturating_sub(state.sent.len());
        let taken = burst.len().min(room);
        // A freeze at this point comes after the card has taken the burst.
        let frames = burst.drain(..taken).map(|mut frame| std::mem::take(&mut frame.bytes));
        state.sent.extend(frames.take(counted).map(|bytes| (was_late_ns, bytes)));
    }
}
