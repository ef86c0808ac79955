//! The Internet checksum (RFC 1071) and its uses in IPv4, TCP, UDP and ICMPv6.

use super::{be16, ipv4, ipv6, tcp};

/// A ones-complement sum that grows part by part; parts may have odd lengths.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sum {
    total: u64,
    odd: bool,
}

impl Sum {
    /// The sum of nothing.
    #[inline]
    pub const fn new() -> Sum {
        Sum { total: 0, odd: false }
    }

    /// Adds bytes that follow directly on those before.
    #[inline]
    pub fn add(&mut self, bytes: &[u8]) {
        let sum = sum_words(bytes);
        // After an odd number of bytes, what is a high byte in this part is a low one in the whole.
        self.total += u64::from(if self.odd { sum.swap_bytes() } else { sum });
        self.odd ^= bytes.len() % 2 == 1;
    }

    /// Adds one 16-bit word on an even offset.
    #[inline]
    pub fn add_word(&mut self, word: u16) {
        self.total += u64::from(word);
    }

    /// The sum in 16 bits, not complemented.
    #[inline]
    pub fn folded(self) -> u16 {
        fold(self.total)
    }

    /// The checksum to put into a header; over data with a right checksum it gives 0.
    #[inline]
    pub fn checksum(self) -> u16 {
        !self.folded()
    }
}

/// The ones-complement sum of big-endian words; a last odd byte counts as a high byte.
#[inline]
fn sum_words(bytes: &[u8]) -> u16 {
    // The sum does not depend on byte order (RFC 1071 section 2 B), so add in the machine's own.
    // Halves of 32 bits leave the 64-bit total room for 2^31 additions.
    let (eights, rest) = bytes.as_chunks::<8>();
    let mut total = 0u64;
    for eight in eights {
        let word = u64::from_ne_bytes(*eight);
        total += (word & 0xffff_ffff) + (word >> 32);
    }
    // Lengths that the compiler knows: a copy of the rest would cost more than the sum of a header.
    let (fours, rest) = rest.as_chunks::<4>();
    total += fours.iter().map(|four| u64::from(u32::from_ne_bytes(*four))).sum::<u64>();
    let (twos, rest) = rest.as_chunks::<2>();
    total += twos.iter().map(|two| u64::from(u16::from_ne_bytes(*two))).sum::<u64>();
    if let [last] = rest {
        total += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    u16::from_be(fold(total))
}

#[inline]
fn fold(total: u64) -> u16 {
    let total = (total & 0xffff_ffff) + (total >> 32);
    let total = (total & 0xffff) + (total >> 16 & 0xffff) + (total >> 32);
    let total = (total & 0xffff) + (total >> 16);
    ((total & 0xffff) + (total >> 16)) as u16
}

/// The checksum of one run of bytes.
#[inline]
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = Sum::new();
    sum.add(bytes);
    sum.checksum()
}

/// The sum of the IPv4 pseudo-header (RFC 9293 section 3.1): `addresses` are source and
/// destination as they stand in the header, `len` is the length of what follows the IP header.
#[inline]
pub fn pseudo_header_ipv4(addresses: &[u8; 8], protocol: u8, len: u16) -> Sum {
    let mut sum = Sum::new();
    sum.add(addresses);
    sum.add_word(protocol.into());
    sum.add_word(len);
    sum
}

/// The sum of the IPv6 pseudo-header (RFC 8200 section 8.1): `addresses` are source and destination
/// as they stand in the header, `protocol` is the last next header, `len` the length of what that
/// names.
#[inline]
pub fn pseudo_header_ipv6(addresses: &[u8; ipv6::ADDRESSES_LEN], protocol: u8, len: u16) -> Sum {
    let mut sum = Sum::new();
    sum.add(addresses);
    sum.add_word(protocol.into());
    sum.add_word(len);
    sum
}

/// Fills in the TCP checksum of `header` (IP and TCP header, with zeros in all checksum fields) for
/// a payload in parts; for IPv4 also the header checksum.
///
/// # Panics
/// If `header` is not an IP header of `ip_header_len` bytes, which tells the version
/// ([`ip_header_len`]), followed by a TCP header.
///
/// [`ip_header_len`]: super::segment::ip_header_len
#[inline]
pub fn finish_tcp(header: &mut [u8], ip_header_len: usize, payload: &[&[u8]]) {
    let payload_len: usize = payload.iter().map(|part| part.len()).sum();
    let mut sum = tcp_pseudo_header(header, ip_header_len, payload_len as u16);
    sum.add(&header[ip_header_len..]);
    for part in payload {
        sum.add(part);
    }
    put_tcp_checksum(header, ip_header_len, sum.checksum());
    if ip_header_len != ipv6::HEADER_LEN {
        finish_ipv4(&mut header[..ip_header_len]);
    }
}

/// Fills in the IPv4 header checksum; the field must be zero.
///
/// # Panics
/// If `header` is shorter than 20 bytes.
#[inline]
pub fn finish_ipv4(header: &mut [u8]) {
    let checksum = checksum(header);
    header[ipv4::CHECKSUM_AT..ipv4::CHECKSUM_AT + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// The value that a NIC wants in the TCP checksum field when it is to finish the checksum itself:
/// the pseudo-header's sum, not complemented.
///
/// # Panics
/// As [`finish_tcp`].
#[inline]
pub fn pseudo_header_sum(header: &[u8], ip_header_len: usize, payload_len: u16) -> u16 {
    tcp_pseudo_header(header, ip_header_len, payload_len).folded()
}

/// Writes the TCP checksum field of `header`.
///
/// # Panics
/// As [`finish_tcp`].
#[inline]
pub fn put_tcp_checksum(header: &mut [u8], ip_header_len: usize, value: u16) {
    let at = ip_header_len + tcp::CHECKSUM_AT;
    debug_assert_eq!(be16(header, at), 0, "the checksum field is zero until it is filled in");
    header[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[inline]
fn tcp_pseudo_header(header: &[u8], ip_header_len: usize, payload_len: u16) -> Sum {
    let len = (header.len() - ip_header_len) as u16 + payload_len;
    if ip_header_len == ipv6::HEADER_LEN {
        let addresses = header[ipv6::SOURCE_AT..]
            .first_chunk()
            .expect("an IPv6 header holds two addresses behind its first 8 bytes");
        return pseudo_header_ipv6(addresses, ipv6::PROTOCOL_TCP, len);
    }
    let addresses = header[ipv4::SOURCE_AT..]
        .first_chunk()
        .expect("an IPv4 header holds two addresses behind its first 12 bytes");
    pseudo_header_ipv4(addresses, ipv4::PROTOCOL_TCP, len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Word by word, as RFC 1071 section 1 says.
    fn reference(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(!checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    }

    #[test]
    fn the_largest_sums_fold_to_16_bits() {
        assert_eq!(fold(u64::MAX), 0xffff);
        assert_eq!(checksum(&[0xff; 65_535]), reference(&[0xff; 65_535]));
    }

    proptest! {
        #[test]
        fn matches_the_reference(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(checksum(&bytes), reference(&bytes));
        }

        #[test]
        fn parts_of_any_length_add_up(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)
        ) {
            let mut sum = Sum::new();
            parts.iter().for_each(|part| sum.add(part));
            prop_assert_eq!(sum.checksum(), reference(&parts.concat()));
        }
    }
}
