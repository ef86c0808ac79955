//! Who has which MAC address on one port (RFC 826, RFC 4861), with ageing as RFC 4861 7.3 does it:
//! what was heard lately is used at once, what is old is used while it is being asked for again.
//!
//! Bounded twice: known neighbours live in a set-associative table that forgets the one it heard
//! longest ago, and packets for unknown ones wait in a few small queues.

use std::net::Ipv6Addr;

use arrayvec::ArrayVec;
use engine::addr::Addr;
use engine::wire::ethernet::Mac;

/// Known neighbours of a port at most: `SETS * WAYS`.
const SETS: usize = 4096;
const WAYS: usize = 4;
/// Neighbours that are being asked for at once.
const ASKED: usize = 256;
/// Packets that wait for one neighbour.
const WAITING: usize = 8;
/// After so long without a frame from it, a neighbour is asked again when it is used.
const STALE_US: u64 = 30_000_000;
/// After so long without a frame from it, a neighbour counts as unknown.
const EXPIRE_US: u64 = 300_000_000;
/// Time between two questions about a stale neighbour that is still in use.
const REFRESH_US: u64 = 1_000_000;
/// When an unknown neighbour is asked for again, counted from the question before. Dense at the
/// start: after a takeover clients wait for exactly this.
const RETRY_US: [u64; 5] = [5_000, 20_000, 75_000, 200_000, 500_000];

/// What the table knows of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Use it.
    Known(Mac),
    /// Use it, and ask again.
    Stale(Mac),
    /// Ask.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// `FREE_ADDRESS` marks a free place.
    address: Addr,
    mac: Mac,
    heard_us: u64,
    asked_us: u64,
}

/// `::`, which nobody has.
const FREE_ADDRESS: Addr = Addr::from_octets([0; 16]);
const FREE: Entry = Entry { address: FREE_ADDRESS, mac: Mac([0; 6]), heard_us: 0, asked_us: 0 };

#[derive(Debug)]
struct Question<F> {
    address: Addr,
    asked_us: u64,
    retries: usize,
    waiting: ArrayVec<F, WAITING>,
}

/// What became of a packet for an unknown neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// It waits; nobody has asked yet, so ask now.
    Ask,
    /// It waits for an answer that is under way.
    Asked,
    /// No room: the packet is gone.
    Dropped,
}

/// The neighbours of one port.
#[derive(Debug)]
pub struct Neighbours<F> {
    sets: Box<[[Entry; WAYS]]>,
    questions: Vec<Question<F>>,
}

impl<F> Default for Neighbours<F> {
    fn default() -> Self {
        Neighbours {
            sets: vec![[FREE; WAYS]; SETS].into_boxed_slice(),
            questions: Vec::with_capacity(ASKED),
        }
    }
}

impl<F> Neighbours<F> {
    /// What is known of `address`. A stale answer counts as asked, so that it is given once in
    /// a while only.
    pub fn lookup(&mut self, now_us: u64, address: Addr) -> Lookup {
        let set = &mut self.sets[set_of(address)];
        let Some(entry) = set.iter_mut().find(|entry| entry.address == address) else {
            return Lookup::Unknown;
        };
        let silent_us = now_us.saturating_sub(entry.heard_us);
        if silent_us >= EXPIRE_US {
            *entry = FREE;
            return Lookup::Unknown;
        }
        if silent_us >= STALE_US && now_us.saturating_sub(entry.asked_us) >= REFRESH_US {
            entry.asked_us = now_us;
            return Lookup::Stale(entry.mac);
        }
        Lookup::Known(entry.mac)
    }

    /// Notes that `address` was heard from `mac`, and hands packets that waited for it to
    /// `ready`. Addresses and MACs that can't be a single host's are ignored.
    pub fn learn(&mut self, now_us: u64, address: Addr, mac: Mac, mut ready: impl FnMut(F)) {
        if !is_a_hosts(address) || !mac.is_unicast() || mac == Mac([0; 6]) {
            return;
        }
        let set = &mut self.sets[set_of(address)];
        let place = set.iter().position(|entry| entry.address == address).or_else(|| {
            (0..WAYS).min_by_key(|&way| match set[way].address {
                FREE_ADDRESS => 0,
                _ => set[way].heard_us.saturating_add(1),
            })
        });
        if let Some(way) = place {
            set[way] = Entry { address, mac, heard_us: now_us, asked_us: 0 };
        }
        if self.questions.is_empty() {
            return;
        }
        if let Some(at) = self.questions.iter().position(|q| q.address == address) {
            self.questions.swap_remove(at).waiting.into_iter().for_each(&mut ready);
        }
    }

    /// The MAC address that `address` has as far as is known. Says nothing of how old that is.
    pub fn known_mac(&self, address: Addr) -> Option<Mac> {
        let set = &self.sets[set_of(address)];
        set.iter().find(|entry| entry.address == address).map(|entry| entry.mac)
    }

    /// Lets a packet wait for `address` to become known.
    pub fn wait(&mut self, now_us: u64, address: Addr, packet: F) -> Waiting {
        if let Some(question) = self.questions.iter_mut().find(|q| q.address == address) {
            return match question.waiting.try_push(packet) {
                Ok(()) => Waiting::Asked,
                Err(_) => Waiting::Dropped,
            };
        }
        if self.questions.len() == ASKED {
            return Waiting::Dropped;
        }
        let mut waiting = ArrayVec::new();
        waiting.push(packet);
        self.questions.push(Question { address, asked_us: now_us, retries: 0, waiting });
        Waiting::Ask
    }

    /// Says whether to ask for `address`, which will be needed: nothing waits for it yet.
    pub fn want(&mut self, now_us: u64, address: Addr) -> bool {
        match self.lookup(now_us, address) {
            Lookup::Known(_) => false,
            Lookup::Stale(_) => true,
            Lookup::Unknown => {
                let asked = self.questions.iter().any(|q| q.address == address);
                if asked || self.questions.len() == ASKED {
                    return false;
                }
                let waiting = ArrayVec::new();
                self.questions.push(Question { address, asked_us: now_us, retries: 0, waiting });
                true
            }
        }
    }

    /// Asks again where an answer is late, and gives up where none came: returns how many
    /// packets were dropped for that.
    pub fn poll(&mut self, now_us: u64, mut ask: impl FnMut(Addr)) -> u64 {
        let mut dropped = 0;
        let mut at = 0;
        while at < self.questions.len() {
            let question = &mut self.questions[at];
            if now_us.saturating_sub(question.asked_us) < RETRY_US[question.retries] {
                at += 1;
                continue;
            }
            if question.retries + 1 == RETRY_US.len() {
                dropped += self.questions.swap_remove(at).waiting.len() as u64;
                continue;
            }
            question.retries += 1;
            question.asked_us = now_us;
            ask(question.address);
            at += 1;
        }
        dropped
    }

    /// Drops those packets that wait for a neighbour and that `keep` does not want.
    pub fn keep_waiting(&mut self, mut keep: impl FnMut(&F) -> bool) {
        self.questions.iter_mut().for_each(|question| question.waiting.retain(|frame| keep(frame)));
    }

    /// When [`Neighbours::poll`] has something to do next.
    pub fn next_deadline_us(&self) -> Option<u64> {
        self.questions.iter().map(|q| q.asked_us.saturating_add(RETRY_US[q.retries])).min()
    }

    /// How many neighbours are known, stale ones included. Walks the table.
    pub fn known(&self) -> usize {
        self.sets.iter().flatten().filter(|entry| entry.address != FREE_ADDRESS).count()
    }
}

/// Whether a single host can have this address.
fn is_a_hosts(address: Addr) -> bool {
    match address.as_ipv4() {
        Some(v4) => !(v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast()),
        None => {
            let v6 = Ipv6Addr::from(address.octets());
            !(v6.is_unspecified() || v6.is_multicast() || v6.is_loopback())
        }
    }
}

/// Fibonacci hashing: neighbours of one subnet differ in the low bits, the product spreads them.
fn set_of(address: Addr) -> usize {
    let bits = u128::from_be_bytes(address.octets());
    let folded = (bits >> 64) as u64 ^ bits as u64;
    let product = ((folded >> 32) as u32 ^ folded as u32).wrapping_mul(0x9e37_79b1);
    (product >> (u32::BITS - SETS.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: Addr = Addr::from_ipv4_octets([10, 77, 0, 9]);
    const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn host(bits: u32) -> Addr {
        Addr::from_ipv4_octets(bits.to_be_bytes())
    }

    fn heard_at_zero() -> Neighbours<u8> {
        let mut neighbours = Neighbours::default();
        neighbours.learn(0, CLIENT, MAC, |_| {});
        neighbours
    }

    #[test]
    fn neighbour_ages_from_known_over_stale_to_unknown() {
        let mut neighbours = heard_at_zero();
        assert_eq!(neighbours.lookup(1, CLIENT), Lookup::Known(MAC));
        assert_eq!(neighbours.lookup(STALE_US, CLIENT), Lookup::Stale(MAC));
        assert_eq!(neighbours.lookup(STALE_US + 1, CLIENT), Lookup::Known(MAC));
        assert_eq!(neighbours.lookup(STALE_US + REFRESH_US, CLIENT), Lookup::Stale(MAC));
        assert_eq!(neighbours.lookup(EXPIRE_US, CLIENT), Lookup::Unknown);
        assert_eq!(neighbours.known(), 0);
    }

    #[test]
    fn neighbours_of_both_ip_versions_are_told_apart() {
        let mut neighbours = heard_at_zero();
        let other: Addr = "fd77::9".parse().unwrap();
        let other_mac = Mac([2, 0, 0, 0, 0, 6]);
        neighbours.learn(0, other, other_mac, |_| {});
        assert_eq!(neighbours.lookup(1, CLIENT), Lookup::Known(MAC));
        assert_eq!(neighbours.lookup(1, other), Lookup::Known(other_mac));
        assert_eq!(neighbours.known(), 2);
        assert_eq!(neighbours.lookup(1, "fd77::8".parse().unwrap()), Lookup::Unknown);
    }

    #[test]
    fn packets_wait_in_order_until_the_neighbour_is_heard() {
        let mut neighbours = Neighbours::default();
        assert_eq!(neighbours.wait(0, CLIENT, 1), Waiting::Ask);
        assert_eq!(neighbours.wait(0, CLIENT, 2), Waiting::Asked);
        let mut ready = Vec::new();
        neighbours.learn(5, CLIENT, MAC, |packet| ready.push(packet));
        assert_eq!(ready, [1, 2]);
        assert_eq!(neighbours.next_deadline_us(), None);
    }

    #[test]
    fn waiting_packets_and_questions_are_bounded() {
        let mut neighbours = Neighbours::default();
        for n in 0..WAITING {
            assert_ne!(neighbours.wait(0, CLIENT, n), Waiting::Dropped);
        }
        assert_eq!(neighbours.wait(0, CLIENT, 99), Waiting::Dropped);
        for n in 1..ASKED {
            let other = host(u32::try_from(n).unwrap());
            assert_eq!(neighbours.wait(0, other, n), Waiting::Ask);
        }
        assert_eq!(neighbours.wait(0, host(0x0909_0909), 0), Waiting::Dropped);
    }

    #[test]
    fn wanted_neighbour_is_asked_for_once_and_again_when_stale() {
        let mut neighbours: Neighbours<u8> = Neighbours::default();
        assert!(neighbours.want(0, CLIENT) && !neighbours.want(1, CLIENT));
        assert_eq!(neighbours.wait(2, CLIENT, 1), Waiting::Asked);
        neighbours.learn(3, CLIENT, MAC, |_| {});
        assert!(!neighbours.want(4, CLIENT) && neighbours.want(3 + STALE_US, CLIENT));
    }

    #[test]
    fn silent_neighbour_is_asked_a_few_times_and_given_up() {
        let mut neighbours = Neighbours::default();
        neighbours.wait(0, CLIENT, 7);
        let (mut asked, mut dropped) = (0, 0);
        while let Some(at) = neighbours.next_deadline_us() {
            dropped += neighbours.poll(at, |_| asked += 1);
        }
        assert_eq!((asked, dropped), (RETRY_US.len() - 1, 1));
    }

    #[test]
    fn full_set_forgets_the_neighbour_heard_longest_ago() {
        let mut neighbours = heard_at_zero();
        let same_set = (1..u32::MAX).map(host);
        let same_set = same_set.filter(|a| *a != CLIENT && set_of(*a) == set_of(CLIENT));
        for (n, other) in same_set.take(WAYS).enumerate() {
            neighbours.learn(1 + n as u64, other, MAC, |_| {});
        }
        assert_eq!(neighbours.known(), WAYS);
        assert_eq!(neighbours.lookup(10, CLIENT), Lookup::Unknown);
    }

    #[test]
    fn group_addresses_are_not_learnt() {
        let mut neighbours = Neighbours::<u8>::default();
        neighbours.learn(0, CLIENT, Mac([0xff; 6]), |_| {});
        for nobody in ["255.255.255.255", "0.0.0.0", "::", "::1", "ff02::1"] {
            neighbours.learn(0, nobody.parse().unwrap(), MAC, |_| {});
        }
        assert_eq!(neighbours.known(), 0);
    }
}
