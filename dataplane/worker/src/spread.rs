//! Frames that land on one worker and belong to another go there by bounded rings, one for each
//! ordered pair of workers, each with one writer and one reader.

use engine::addr::Addr;
use engine::wire::ethernet::Mac;
use replication::Path;
use rtrb::{Consumer, Producer, PushError, RingBuffer};

/// Parcels that one ring holds.
const RING: usize = 1024;

/// What one worker hands to another.
#[derive(Debug)]
pub enum Parcel<F> {
    /// A frame that was received on a port and is the other worker's to handle.
    Received(Path, F),
    /// A frame of a client that was kept since that time, in microseconds.
    Kept(u64, F),
    /// A finished frame for a port whose queue the other worker owns.
    Transmit(Path, F),
    /// A neighbour that was heard.
    Learned(Path, Addr, Mac),
    /// A neighbour on the service LAN that answered a question of this node.
    Answered(Addr),
}

/// One worker's ends of the rings.
#[derive(Debug)]
pub struct Spread<F> {
    to: Vec<Option<Producer<Parcel<F>>>>,
    from: Vec<Option<Consumer<Parcel<F>>>>,
}

impl<F> Spread<F> {
    /// The rings between `workers` workers; element `w` is for worker `w`.
    #[must_use]
    pub fn mesh(workers: usize) -> Vec<Spread<F>> {
        let nobody = || Spread {
            to: (0..workers).map(|_| None).collect(),
            from: (0..workers).map(|_| None).collect(),
        };
        let mut mesh: Vec<Spread<F>> = (0..workers).map(|_| nobody()).collect();
        for writer in 0..workers {
            for reader in (0..workers).filter(|&reader| reader != writer) {
                let (to, from) = RingBuffer::new(RING);
                mesh[writer].to[reader] = Some(to);
                mesh[reader].from[writer] = Some(from);
            }
        }
        mesh
    }

    /// Hands `parcel` to worker `to`; gives it back when the ring is full or there is no such
    /// worker.
    pub fn hand(&mut self, to: u16, parcel: Parcel<F>) -> Result<(), Parcel<F>> {
        match self.to.get_mut(usize::from(to)) {
            Some(Some(ring)) => ring.push(parcel).map_err(|PushError::Full(parcel)| parcel),
            _ => Err(parcel),
        }
    }

    /// Hands what `parcel` makes to every other worker, as far as there is room.
    pub fn hand_to_all(&mut self, mut parcel: impl FnMut() -> Parcel<F>) {
        for ring in self.to.iter_mut().flatten() {
            // A full ring means a busy worker; it will learn from its own frames.
            let _ = ring.push(parcel());
        }
    }

    /// The next parcel from any worker, or nothing.
    pub fn take(&mut self) -> Option<Parcel<F>> {
        self.from.iter_mut().flatten().find_map(|ring| ring.pop().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parcel_reaches_the_worker_it_is_for() {
        let mut mesh: Vec<Spread<u8>> = Spread::mesh(3);
        mesh[0].hand(2, Parcel::Received(Path::Lan, 7)).unwrap();
        assert!(mesh[1].take().is_none());
        assert!(matches!(mesh[2].take(), Some(Parcel::Received(Path::Lan, 7))));
        assert!(mesh[2].take().is_none());
    }

    #[test]
    fn full_ring_gives_the_parcel_back() {
        let mut mesh: Vec<Spread<usize>> = Spread::mesh(2);
        for n in 0..RING {
            mesh[0].hand(1, Parcel::Transmit(Path::Link(replication::Link::First), n)).unwrap();
        }
        assert!(
            mesh[0].hand(1, Parcel::Transmit(Path::Link(replication::Link::First), 0)).is_err()
        );
        assert!(
            mesh[0].hand(0, Parcel::Transmit(Path::Link(replication::Link::First), 0)).is_err()
        );
    }
}
