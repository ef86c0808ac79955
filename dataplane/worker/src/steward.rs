//! Who tells the node what it is: the worker's view of the control plane.

use replication::{Directive, Path, PeerIndex, Report};

/// Decides the node's role. The lead worker calls it once in each loop; it must not block.
pub trait Steward {
    /// Takes a datagram that arrived on the control port.
    fn receive(&mut self, now_us: u64, path: Path, datagram: &[u8]);

    /// Looks at the time and at `report`, hands datagrams for the other nodes to `emit`, and says
    /// what the node is from now on. Called before the loop transmits anything.
    fn poll(
        &mut self,
        now_us: u64,
        report: &Report,
        emit: &mut impl FnMut(Path, PeerIndex, &[u8]),
    ) -> Directive;

    /// When it wants to be polled next at the latest.
    fn next_deadline_us(&self) -> Option<u64>;
}
