//! A network card that is two queues in memory: what simulations and tests put behind a worker.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrayvec::ArrayVec;
use engine::wire::ethernet::{self, Mac};

use crate::nic::{BURST, Frame, Nic, Offloads, RxChecksum, TxChecksum};

/// A frame in the heap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryFrame {
    bytes: Vec<u8>,
    room: usize,
}

impl Frame for MemoryFrame {
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

/// The wire's end of a [`MemoryNic`].
#[derive(Clone, Debug)]
pub struct Wire {
    queues: Arc<Mutex<Queues>>,
}

#[derive(Debug, Default)]
struct Queues {
    to_nic: VecDeque<Vec<u8>>,
    from_nic: VecDeque<Vec<u8>>,
    unplugged: bool,
}

impl Wire {
    /// Lets the card receive a frame.
    pub fn deliver(&self, frame: Vec<u8>) {
        self.lock().to_nic.push_back(frame);
    }

    /// The next frame that the card sent.
    #[must_use]
    pub fn take(&self) -> Option<Vec<u8>> {
        self.lock().from_nic.pop_front()
    }

    /// While it is not plugged in, the card takes no frames.
    pub fn plug_in(&self, plugged: bool) {
        self.lock().unplugged = !plugged;
    }

    /// Loses the frames that wait to be received by the card.
    pub fn forget_input(&self) {
        self.lock().to_nic.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The worker's end.
#[derive(Debug)]
pub struct MemoryNic {
    wire: Wire,
    mac: Mac,
    mtu: u16,
    has_queues: bool,
}

impl MemoryNic {
    /// A card with this address and MTU, and the other end of its wire.
    #[must_use]
    pub fn new(mac: Mac, mtu: u16) -> (MemoryNic, Wire) {
        let wire = Wire { queues: Arc::default() };
        (MemoryNic { wire: wire.clone(), mac, mtu, has_queues: true }, wire)
    }

    /// A share of the same card for a worker for which it has no queues.
    #[must_use]
    pub fn without_queues(&self) -> MemoryNic {
        MemoryNic { wire: self.wire.clone(), has_queues: false, ..*self }
    }
}

impl Nic for MemoryNic {
    type Frame = MemoryFrame;

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

    fn receive(&mut self, into: &mut ArrayVec<MemoryFrame, BURST>) {
        if !self.has_queues {
            return;
        }
        let mut queues = self.wire.lock();
        while !into.is_full() {
            let Some(bytes) = queues.to_nic.pop_front() else { break };
            let room = bytes.len();
            into.push(MemoryFrame { bytes, room });
        }
    }

    fn allocate(&mut self) -> Option<MemoryFrame> {
        let room = ethernet::HEADER_LEN + usize::from(self.mtu);
        Some(MemoryFrame { bytes: Vec::with_capacity(room), room })
    }

    fn transmit(&mut self, burst: &mut ArrayVec<MemoryFrame, BURST>) {
        assert!(self.has_queues, "a share without queues is asked to transmit");
        let mut queues = self.wire.lock();
        if !queues.unplugged {
            queues.from_nic.extend(burst.drain(..).map(|frame| frame.bytes));
        }
    }
}
