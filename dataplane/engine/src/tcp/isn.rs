//! Numbers that must not be guessed: initial sequence numbers (RFC 6528), timestamp offsets
//! (RFC 7323 5.4 and its advice on randomising them) and SYN cookies, from a key that all nodes
//! share. The clock is shard time, so that a replica chooses the same ones.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::addr::{Addr, Flow};
use crate::seq::SeqNumber;
use crate::time::Instant;

/// Domains of the keyed hash, so that one number tells nothing about another.
const SEQUENCE: u8 = 0;
const TIMESTAMP: u8 = 1;
const TABLE: u8 = 2;
const COOKIE: u8 = 3;
const SOURCE: u8 = 4;
const LOT: u8 = 5;

/// ISN = M + F(local, remote, key), M being a clock of 4 µs (RFC 6528 3).
pub(crate) fn initial_sequence(key: &[u8; 16], flow: &Flow, now: Instant) -> SeqNumber {
    let clock = (now.as_micros() / 4) as u32;
    SeqNumber(clock.wrapping_add(keyed(key, SEQUENCE, flow) as u32))
}

/// What is added to the shard's millisecond clock in timestamps of this flow.
pub(crate) fn timestamp_offset(key: &[u8; 16], flow: &Flow) -> u32 {
    keyed(key, TIMESTAMP, flow) as u32
}

/// The flow table's secret.
pub(crate) fn table_secret(key: &[u8; 16]) -> u64 {
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write(&[TABLE]);
    hasher.finish()
}

/// What a SYN cookie proves itself with: nobody else can compute it for this flow and these words.
pub(crate) fn cookie(key: &[u8; 16], flow: &Flow, words: [u32; 3]) -> u32 {
    let mut hasher = hasher(key, COOKIE, flow);
    words.iter().for_each(|word| hasher.write(&word.to_be_bytes()));
    hasher.finish() as u32
}

/// A number for a source of connections. No peer can find two sources with the same one.
pub(crate) fn source_id(key: &[u8; 16], source: Addr) -> u64 {
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write(&[SOURCE]);
    hasher.write(&source.octets());
    hasher.finish()
}

/// A number that nobody can foretell for a second of shard time.
pub(crate) fn lot(key: &[u8; 16], second: u64) -> u64 {
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write(&[LOT]);
    hasher.write(&second.to_be_bytes());
    hasher.finish()
}

fn keyed(key: &[u8; 16], domain: u8, flow: &Flow) -> u64 {
    hasher(key, domain, flow).finish()
}

fn hasher(key: &[u8; 16], domain: u8, flow: &Flow) -> SipHasher24 {
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write(&[domain]);
    for endpoint in [flow.local, flow.remote] {
        hasher.write(&endpoint.addr.octets());
        hasher.write(&endpoint.port.to_be_bytes());
    }
    hasher
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Endpoint;
    use std::net::Ipv4Addr;

    fn flow(port: u16) -> Flow {
        Flow {
            local: Endpoint::new(Ipv4Addr::new(10, 0, 0, 1), 80),
            remote: Endpoint::new(Ipv4Addr::new(10, 0, 0, 2), port),
        }
    }

    #[test]
    fn sequence_grows_with_the_clock_of_four_microseconds() {
        let at = |us| initial_sequence(&[1; 16], &flow(1), Instant::from_micros(us));
        assert_eq!(at(4_000_000) - at(0), 1_000_000);
    }

    #[test]
    fn flows_and_keys_and_domains_give_unrelated_numbers() {
        let isn = |key, port| initial_sequence(&[key; 16], &flow(port), Instant::ZERO).0;
        assert_ne!(isn(1, 1), isn(1, 2));
        assert_ne!(isn(1, 1), isn(2, 1));
        assert_ne!(isn(1, 1), timestamp_offset(&[1; 16], &flow(1)));
    }
}
