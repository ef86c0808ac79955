//! A worker's share of a DPDK port.

use arrayvec::ArrayVec;
use dpdk::{ChecksumStatus, Mbuf, Mempool, QueuePair};
use engine::wire::ethernet::Mac;

use crate::nic::{BURST, Frame, Nic, Offloads, RxChecksum, TxChecksum};

/// One queue pair of a port, or none of a port that has fewer than there are workers, and the
/// pool that its frames come from.
#[derive(Debug)]
pub struct DpdkNic {
    queues: Option<QueuePair>,
    pool: Mempool,
    mac: Mac,
    mtu: u16,
    offloads: Offloads,
}

impl DpdkNic {
    /// A share of `port`, whose address is `mac`.
    #[must_use]
    pub fn new(port: &dpdk::Port, mac: Mac, queues: Option<QueuePair>, pool: Mempool) -> DpdkNic {
        let has = port.offloads();
        let offloads = Offloads {
            tx_ipv4_checksum: has.tx_ipv4_checksum,
            tx_tcp_checksum: has.tx_tcp_checksum,
        };
        DpdkNic { queues, pool, mac, mtu: port.mtu(), offloads }
    }
}

impl Nic for DpdkNic {
    type Frame = Mbuf;

    fn mac(&self) -> Mac {
        self.mac
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn offloads(&self) -> Offloads {
        self.offloads
    }

    fn has_queues(&self) -> bool {
        self.queues.is_some()
    }

    #[inline]
    fn receive(&mut self, into: &mut ArrayVec<Mbuf, BURST>) {
        if let Some(queues) = &mut self.queues {
            queues.rx.receive(into);
        }
    }

    #[inline]
    fn allocate(&mut self) -> Option<Mbuf> {
        self.pool.allocate()
    }

    #[inline]
    fn transmit(&mut self, burst: &mut ArrayVec<Mbuf, BURST>) {
        if let Some(queues) = &mut self.queues {
            queues.tx.transmit(burst);
        }
    }
}

impl Frame for Mbuf {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.data()
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        self.data_mut()
    }

    #[inline]
    fn append(&mut self, bytes: &[u8]) -> bool {
        self.extend_from_slice(bytes)
    }

    #[inline]
    fn truncate(&mut self, len: usize) {
        Mbuf::truncate(self, len);
    }

    #[inline]
    fn rx_checksum(&self) -> RxChecksum {
        match Mbuf::rx_checksum(self) {
            ChecksumStatus::Unknown => RxChecksum::Unknown,
            ChecksumStatus::Good => RxChecksum::Good,
            ChecksumStatus::Bad => RxChecksum::Bad,
        }
    }

    #[inline]
    fn reuse(&mut self) {
        self.clear_offloads();
    }

    #[inline]
    fn request_tx_checksum(&mut self, work: TxChecksum) {
        let TxChecksum { l2_len, l3_len, is_ipv6, ipv4, tcp } = work;
        Mbuf::request_tx_checksum(
            self,
            dpdk::TxChecksum { l2_len, l3_len, l4_len: 0, is_ipv6, ipv4, tcp, udp: false },
        );
    }
}
