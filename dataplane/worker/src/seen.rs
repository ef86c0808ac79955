//! Which packets the log had last. A takeover takes in what clients sent meanwhile, and what came
//! just before the log's end may be in it or not; these tell. Taken in twice, most packets would
//! do no harm, but a SYN of a connection that is over would begin another one.

use engine::hash::GOLDEN;

/// Fingerprints of the packets that were applied last, in no particular order.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    fingerprints: Vec<u64>,
    most: usize,
    /// The oldest, once there are `most`.
    next: usize,
    sorted: bool,
}

/// Bytes of a packet that tell it from all others: both headers, which have the checksum of the rest.
const TELLING_BYTES: usize = 80;

impl Seen {
    /// Remembers `most` packets; none if that is zero.
    pub fn new(most: usize) -> Seen {
        Seen { fingerprints: Vec::with_capacity(most), most, ..Seen::default() }
    }

    /// Notes an L3 packet, in place of the oldest.
    #[inline]
    pub fn note(&mut self, packet: &[u8]) {
        if self.most == 0 {
            return;
        }
        let fingerprint = fingerprint(packet);
        match self.fingerprints.get_mut(self.next) {
            Some(oldest) => *oldest = fingerprint,
            None => self.fingerprints.push(fingerprint),
        }
        self.next = (self.next + 1) % self.most;
        self.sorted = false;
    }

    /// Whether an L3 packet, bytes behind its end not counted, was among them.
    pub fn has(&mut self, packet: &[u8]) -> bool {
        if !self.sorted {
            self.fingerprints.sort_unstable();
            self.sorted = true;
        }
        self.fingerprints.binary_search(&fingerprint(packet)).is_ok()
    }
}

fn fingerprint(packet: &[u8]) -> u64 {
    let telling = &packet[..packet.len().min(TELLING_BYTES)];
    let mix = |mixed: u64, word: u64| (mixed.rotate_left(23) ^ word).wrapping_mul(GOLDEN);
    let (words, rest) = telling.as_chunks::<8>();
    let mixed = words.iter().fold(0, |mixed, word| mix(mixed, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(mixed, u64::from_le_bytes(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_packets_are_known_and_older_ones_forgotten() {
        let packet = |number: u8| [[7; 40], [number; 40]].concat();
        let mut seen = Seen::new(3);
        (1..=5).for_each(|number| seen.note(&packet(number)));
        let known: Vec<_> = (0..=6).filter(|number| seen.has(&packet(*number))).collect();
        assert_eq!(known, [3, 4, 5]);
        seen.note(&packet(6));
        assert!(seen.has(&packet(6)));
        let mut nobody = Seen::default();
        nobody.note(&packet(1));
        assert!(!nobody.has(&packet(1)));
    }

    #[test]
    fn each_byte_of_the_headers_tells() {
        let packet = [5; TELLING_BYTES - 3];
        let mut seen = Seen::new(1);
        seen.note(&packet);
        for at in 0..packet.len() {
            let mut other = packet;
            other[at] ^= 1;
            assert!(!seen.has(&other), "byte {at}");
        }
    }
}
