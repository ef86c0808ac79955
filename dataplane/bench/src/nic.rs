//! A card whose frames come from a pool, as a driver's do: no allocation once the pool is warm,
//! no lock, and a frame is as small to move as a pointer.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use arrayvec::ArrayVec;
use engine::wire::ethernet::{self, Mac};
use worker::nic::{BURST, Frame, Nic, Offloads, RxChecksum, TxChecksum};

/// Room of a frame: an Ethernet frame with the longest packet of either port.
const FRAME_ROOM: usize = ethernet::HEADER_LEN + crate::LINK_MTU as usize;

thread_local! {
    static POOL: RefCell<Vec<Box<Buffer>>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug)]
struct Buffer {
    len: usize,
    bytes: [u8; FRAME_ROOM],
}

/// A frame of the pool; its memory goes back there.
#[derive(Debug)]
pub struct PoolFrame(Option<Box<Buffer>>);

impl PoolFrame {
    /// An empty frame.
    #[must_use]
    pub fn take() -> PoolFrame {
        let pooled = POOL.with_borrow_mut(Vec::pop);
        let mut buffer =
            pooled.unwrap_or_else(|| Box::new(Buffer { len: 0, bytes: [0; FRAME_ROOM] }));
        buffer.len = 0;
        PoolFrame(Some(buffer))
    }

    fn buffer(&self) -> &Buffer {
        self.0.as_ref().expect("only dropping takes the buffer away")
    }

    fn buffer_mut(&mut self) -> &mut Buffer {
        self.0.as_mut().expect("only dropping takes the buffer away")
    }
}

impl Drop for PoolFrame {
    fn drop(&mut self) {
        if let Some(buffer) = self.0.take() {
            // The thread may be at its end.
            let _ = POOL.try_with(|pool| pool.borrow_mut().push(buffer));
        }
    }
}

impl Frame for PoolFrame {
    fn bytes(&self) -> &[u8] {
        let buffer = self.buffer();
        &buffer.bytes[..buffer.len]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let buffer = self.buffer_mut();
        &mut buffer.bytes[..buffer.len]
    }

    fn append(&mut self, bytes: &[u8]) -> bool {
        let buffer = self.buffer_mut();
        let end = buffer.len + bytes.len();
        let Some(room) = buffer.bytes.get_mut(buffer.len..end) else { return false };
        room.copy_from_slice(bytes);
        buffer.len = end;
        true
    }

    fn truncate(&mut self, len: usize) {
        let buffer = self.buffer_mut();
        buffer.len = buffer.len.min(len);
    }

    fn rx_checksum(&self) -> RxChecksum {
        RxChecksum::Unknown
    }

    fn reuse(&mut self) {}

    fn request_tx_checksum(&mut self, _work: TxChecksum) {
        unreachable!("this card offers no offloads")
    }
}

/// What is on its way to a card, and what came out of it.
pub type Queue = Rc<RefCell<VecDeque<PoolFrame>>>;

/// A card without offloads, as virtual ones are: checksums are software's work both ways.
#[derive(Debug)]
pub struct PoolNic {
    pub to_nic: Queue,
    pub from_nic: Queue,
    pub mac: Mac,
    pub mtu: u16,
}

impl PoolNic {
    /// A card, and the queues at the other end of its wire: to it, and from it.
    pub fn new(mac: Mac, mtu: u16) -> (PoolNic, Queue, Queue) {
        let (to_nic, from_nic) = (Queue::default(), Queue::default());
        let nic = PoolNic { to_nic: Rc::clone(&to_nic), from_nic: Rc::clone(&from_nic), mac, mtu };
        (nic, to_nic, from_nic)
    }
}

impl Nic for PoolNic {
    type Frame = PoolFrame;

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
        true
    }

    fn receive(&mut self, into: &mut ArrayVec<PoolFrame, BURST>) {
        let mut queue = self.to_nic.borrow_mut();
        let count = queue.len().min(into.remaining_capacity());
        into.extend(queue.drain(..count));
    }

    fn allocate(&mut self) -> Option<PoolFrame> {
        Some(PoolFrame::take())
    }

    fn transmit(&mut self, burst: &mut ArrayVec<PoolFrame, BURST>) {
        self.from_nic.borrow_mut().extend(burst.drain(..));
    }
}
