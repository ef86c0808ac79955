//! Which shard a packet belongs to: the hash that a NIC computes for RSS, made symmetric.
//!
//! Toeplitz with a key of period 16 bits gives both directions of a connection the same value. For
//! such a key the hash depends only on the XOR of the input's 16-bit words, which makes it two
//! table look-ups here. It also means that both halves of the result are equal: there are 65,536
//! different values, enough to spread load; a table of connections must mix in more.

use crate::addr::Flow;

/// The RSS key, to be programmed into NICs as well.
pub const RSS_KEY: [u8; 40] = {
    let mut key = [0x6d; 40];
    let mut i = 1;
    while i < key.len() {
        key[i] = 0x5a;
        i += 2;
    }
    key
};

/// The hash of a first (`[0]`) and second (`[1]`) byte of a 16-bit word.
const TABLES: [[u32; 256]; 2] = [byte_table(0), byte_table(8)];

const fn byte_table(first_bit: u32) -> [u32; 256] {
    // Any 32 bits of the periodic key, starting at bit 0.
    let key = u32::from_be_bytes([RSS_KEY[0], RSS_KEY[1], RSS_KEY[2], RSS_KEY[3]]);
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut bit = 0;
        while bit < 8 {
            if byte & (0x80 >> bit) != 0 {
                table[byte] ^= key.rotate_left(first_bit + bit);
            }
            bit += 1;
        }
        byte += 1;
    }
    table
}

/// The symmetric Toeplitz hash of a TCP flow, as a NIC computes it over source address,
/// destination address, source port and destination port.
#[inline]
pub fn flow_hash(flow: &Flow) -> u32 {
    // The IPv4-mapped prefix is in both addresses and cancels out, so that one path serves both
    // versions.
    let both = u128::from_be_bytes(flow.local.addr.octets())
        ^ u128::from_be_bytes(flow.remote.addr.octets());
    let folded = (both >> 64) as u64 ^ both as u64;
    let folded = (folded >> 32) as u32 ^ folded as u32;
    let word = (folded >> 16) as u16 ^ folded as u16 ^ flow.local.port ^ flow.remote.port;
    let [first, second] = word.to_be_bytes();
    TABLES[0][usize::from(first)] ^ TABLES[1][usize::from(second)]
}

/// The IPv6 flow label of what we send on a flow (RFC 6437 section 3): 20 bits that differ between
/// flows, are the same for all packets of one, and on all nodes. They are no secret: whoever can
/// choose a flow's ports knows them, and learns nothing from them. Never 0, which means "none".
#[inline]
pub fn flow_label(flow: &Flow) -> u32 {
    let ports = u64::from(flow.local.port) << 16 | u64::from(flow.remote.port);
    let mut mixed = ports;
    for addr in [flow.local.addr, flow.remote.addr] {
        let whole = u128::from_be_bytes(addr.octets());
        for half in [(whole >> 64) as u64, whole as u64] {
            mixed = (mixed.rotate_left(23) ^ half).wrapping_mul(GOLDEN);
        }
    }
    ((mixed >> 44) as u32).max(1)
}

/// 2^64 divided by the golden ratio: multiplying by it spreads neighbours apart.
pub const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The shard, in `0..shards`, of a flow with this hash. `shards` must not be 0.
#[inline]
pub fn shard_of(hash: u32, shards: u16) -> u16 {
    debug_assert!(shards > 0, "a cluster has at least one shard");
    ((u64::from(hash) * u64::from(shards)) >> 32) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Addr, Endpoint};
    use proptest::prelude::*;

    /// Toeplitz as its definition has it: for each set input bit, XOR the key's 32 bits from there.
    fn toeplitz(input: &[u8]) -> u32 {
        let key_bit = |i: usize| u32::from(RSS_KEY[i / 8] >> (7 - i % 8) & 1);
        let mut hash = 0;
        for i in (0..input.len() * 8).filter(|i| input[i / 8] >> (7 - i % 8) & 1 == 1) {
            hash ^= (0..32).fold(0, |window, bit| window << 1 | key_bit(i + bit));
        }
        hash
    }

    fn flow(local: Addr, remote: Addr, ports: (u16, u16)) -> Flow {
        Flow { local: Endpoint::new(local, ports.0), remote: Endpoint::new(remote, ports.1) }
    }

    proptest! {
        #[test]
        fn matches_the_definition_for_ipv4(src: [u8; 4], dst: [u8; 4], ports: (u16, u16)) {
            let input =
                [&src[..], &dst, &ports.1.to_be_bytes(), &ports.0.to_be_bytes()].concat();
            let (src, dst) = (Addr::from_ipv4_octets(src), Addr::from_ipv4_octets(dst));
            prop_assert_eq!(flow_hash(&flow(dst, src, ports)), toeplitz(&input));
        }

        #[test]
        fn matches_the_definition_for_ipv6(src: [u8; 16], dst: [u8; 16], ports: (u16, u16)) {
            let input =
                [&src[..], &dst, &ports.1.to_be_bytes(), &ports.0.to_be_bytes()].concat();
            let (src, dst) = (Addr::from_octets(src), Addr::from_octets(dst));
            prop_assert_eq!(flow_hash(&flow(dst, src, ports)), toeplitz(&input));
        }

        #[test]
        fn both_directions_agree(a: [u8; 4], b: [u8; 4], ports: (u16, u16)) {
            let (a, b) = (Addr::from_ipv4_octets(a), Addr::from_ipv4_octets(b));
            prop_assert_eq!(
                flow_hash(&flow(a, b, ports)),
                flow_hash(&flow(b, a, (ports.1, ports.0)))
            );
        }

        #[test]
        fn a_shard_is_in_range(hash: u32, shards in 1u16..) {
            prop_assert!(shard_of(hash, shards) < shards);
        }
    }

    #[test]
    fn flow_labels_have_20_bits_and_spread() {
        let addr = |last: u16| Addr::from(std::net::Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last));
        let labels: std::collections::HashSet<u32> =
            (0..4000).map(|port| flow_label(&flow(addr(100), addr(9), (80, port)))).collect();
        assert!(labels.iter().all(|label| (1..1 << 20).contains(label)));
        assert!(labels.len() > 3950, "{} labels for 4000 flows", labels.len());
    }

    #[test]
    fn ports_spread_evenly_over_shards() {
        let (local, remote) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        let (local, remote) = (Addr::from_ipv4_octets(local), Addr::from_ipv4_octets(remote));
        let mut counts = [0u32; 4];
        for port in 32768..61000 {
            let hash = flow_hash(&flow(local, remote, (80, port)));
            counts[usize::from(shard_of(hash, 4))] += 1;
        }
        assert!(counts.iter().all(|&n| (5500..8700).contains(&n)), "{counts:?}");
    }
}
