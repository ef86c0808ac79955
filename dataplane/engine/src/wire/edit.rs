//! Changes to a TCP packet's headers that are built already: by a node that may not say yet all
//! that its shard has put there.
//!
//! A header here is an IP header of `ip_len` bytes, 40 for IPv6, and a TCP header behind it. Shorter
//! slices are left as they are, and read as zeros.

use super::tcp::{self, Flags};
use super::{ipv4, ipv6};
use crate::seq::SeqNumber;

const SEQ_AT: usize = 4;
const ACK_AT: usize = 8;
const DATA_OFFSET_AT: usize = 12;
const FLAGS_AT: usize = 13;
const WINDOW_AT: usize = 14;
const CHECKSUM_AT: usize = 16;

fn field<const N: usize>(header: &[u8], at: usize) -> [u8; N] {
    header.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
}

fn put(header: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(field) = header.get_mut(at..at + bytes.len()) {
        field.copy_from_slice(bytes);
    }
}

/// The control bits.
#[inline]
#[must_use]
pub fn flags(header: &[u8], ip_len: usize) -> Flags {
    Flags(field::<1>(header, ip_len + FLAGS_AT)[0])
}

/// Number of the first byte.
#[inline]
#[must_use]
pub fn seq(header: &[u8], ip_len: usize) -> SeqNumber {
    SeqNumber(u32::from_be_bytes(field(header, ip_len + SEQ_AT)))
}

/// What a segment says of those that it answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Acknowledgment {
    /// The number that is expected next.
    pub ack: SeqNumber,
    /// The window field.
    pub window: u16,
    /// The echo of a mark (RFC 3168 6.1.3).
    pub echoes_mark: bool,
}

/// Reads it.
#[inline]
#[must_use]
pub fn acknowledgment(header: &[u8], ip_len: usize) -> Acknowledgment {
    Acknowledgment {
        ack: SeqNumber(u32::from_be_bytes(field(header, ip_len + ACK_AT))),
        window: u16::from_be_bytes(field(header, ip_len + WINDOW_AT)),
        echoes_mark: flags(header, ip_len).contains(Flags::ECE),
    }
}

/// Puts another one there.
#[inline]
pub fn set_acknowledgment(header: &mut [u8], ip_len: usize, said: Acknowledgment) {
    put(header, ip_len + ACK_AT, &said.ack.0.to_be_bytes());
    put(header, ip_len + WINDOW_AT, &said.window.to_be_bytes());
    let others = flags(header, ip_len).without(Flags::ECE);
    let flags = if said.echoes_mark { others | Flags::ECE } else { others };
    put(header, ip_len + FLAGS_AT, &[flags.0]);
}

/// Puts another number of the first byte there.
#[inline]
pub fn set_seq(header: &mut [u8], ip_len: usize, seq: SeqNumber) {
    put(header, ip_len + SEQ_AT, &seq.0.to_be_bytes());
}

/// Where TSval is (RFC 7323 3.2), as this stack places it on an established connection.
#[inline]
fn clock_at(header: &[u8], ip_len: usize) -> Option<usize> {
    let options_at = ip_len + tcp::HEADER_LEN;
    let is_there = field(header, options_at) == tcp::ALIGNED_TIMESTAMPS;
    is_there.then_some(options_at + tcp::ALIGNED_TIMESTAMPS.len())
}

/// TSval, if there is one.
#[inline]
#[must_use]
pub fn clock(header: &[u8], ip_len: usize) -> Option<u32> {
    Some(u32::from_be_bytes(field(header, clock_at(header, ip_len)?)))
}

/// Puts another TSval there, if there is one.
#[inline]
pub fn set_clock(header: &mut [u8], ip_len: usize, value: u32) {
    if let Some(at) = clock_at(header, ip_len) {
        put(header, at, &value.to_be_bytes());
    }
}

/// Length of the IP header and of the TCP header with its options, of a whole packet.
#[inline]
#[must_use]
pub fn header_lens(packet: &[u8]) -> (usize, usize) {
    let is_ipv4 = packet.first().is_some_and(|byte| byte >> 4 == 4);
    let ip_len = if is_ipv4 { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN };
    let [offset] = field::<1>(packet, ip_len + DATA_OFFSET_AT);
    (ip_len, usize::from(offset >> 4) * 4)
}

/// Puts zero into the TCP checksum field, and for IPv4 into that of its header.
#[inline]
pub fn clear_checksums(header: &mut [u8], ip_len: usize) {
    put(header, ip_len + CHECKSUM_AT, &[0; 2]);
    if ip_len != ipv6::HEADER_LEN {
        put(header, ipv4::CHECKSUM_AT, &[0; 2]);
    }
}

/// Makes the header of a segment with `payload_len` bytes one of the bare acknowledgment that
/// follows it.
#[inline]
pub fn strip_payload(header: &mut [u8], ip_len: usize, payload_len: u16) {
    let seq = seq(header, ip_len);
    set_seq(header, ip_len, seq + u32::from(payload_len));
    let flags = flags(header, ip_len).without(Flags::PSH | Flags::CWR);
    put(header, ip_len + FLAGS_AT, &[flags.0]);
    let is_ipv6 = ip_len == ipv6::HEADER_LEN;
    let bytes = header.len() - if is_ipv6 { ipv6::HEADER_LEN.min(header.len()) } else { 0 };
    let len_at = if is_ipv6 { 4 } else { 2 };
    put(header, len_at, &(bytes as u16).to_be_bytes());
    // RFC 3168 6.1.4: it must not be marked.
    let (ecn_at, ecn) =
        if is_ipv6 { (ipv6::ECN_AT, ipv6::ECT_0) } else { (ipv4::TOS_AT, ipv4::ECT_0) };
    let [byte] = field::<1>(header, ecn_at);
    put(header, ecn_at, &[byte & !ecn]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::addr::{Addr, Endpoint, Flow};
    use crate::wire::segment::{
        MAX_HEADER_LEN, Segment, SegmentHeader, allow_marks, ip_header_len,
    };
    use crate::wire::tcp::{Options, Timestamps};
    use crate::wire::{Checksums, checksum};

    fn flow(is_ipv6: bool) -> Flow {
        let addr = |last: u8| {
            let text = if is_ipv6 { format!("fd00::{last}") } else { format!("10.0.0.{last}") };
            Addr::from(text.parse::<std::net::IpAddr>().unwrap())
        };
        Flow {
            local: Endpoint { addr: addr(1), port: 80 },
            remote: Endpoint { addr: addr(2), port: 4000 },
        }
    }

    proptest! {
        /// A segment whose payload is taken off and whose numbers are changed reads as one that was
        /// built so.
        #[test]
        fn edited_header_is_the_one_that_would_have_been_built(
            is_ipv6: bool, seq: u32, ack: u32, other: u32, payload_len in 1..1400_u16,
            windows: (u16, u16), stamped: bool, marked: bool, echoes_mark: bool,
        ) {
            let options = Options {
                timestamps: stamped.then_some(Timestamps { value: 7, echo: 9 }),
                ..Options::default()
            };
            let header = |seq, ack, window, flags| SegmentHeader {
                flow: flow(is_ipv6), seq: SeqNumber(seq), ack: SeqNumber(ack), flags, window,
                options: options.clone(),
            };
            let ip_len = ip_header_len(flow(is_ipv6).local.addr);
            let mut bytes = [0; MAX_HEADER_LEN];
            let flags = Flags::ACK | Flags::PSH;
            let len = header(seq, ack, windows.0, flags).emit(payload_len, &mut bytes);
            if marked {
                allow_marks(&mut bytes);
            }
            let edited = &mut bytes[..len];
            prop_assert_eq!(super::seq(edited, ip_len), SeqNumber(seq));
            let said = Acknowledgment { ack: SeqNumber(ack), window: windows.0, echoes_mark: false };
            prop_assert_eq!(acknowledgment(edited, ip_len), said);
            prop_assert_eq!(super::flags(edited, ip_len), flags);
            prop_assert_eq!(header_lens(edited), (ip_len, len - ip_len));
            prop_assert_eq!(clock(edited, ip_len), stamped.then_some(7));
            strip_payload(edited, ip_len, payload_len);
            let said = Acknowledgment { ack: SeqNumber(other), window: windows.1, echoes_mark };
            set_acknowledgment(edited, ip_len, said);
            prop_assert_eq!(acknowledgment(edited, ip_len), said);
            let mut built = [0; MAX_HEADER_LEN];
            let after = seq.wrapping_add(payload_len.into());
            let flags = if echoes_mark { Flags::ACK | Flags::ECE } else { Flags::ACK };
            let len = header(after, other, windows.1, flags).emit(0, &mut built);
            prop_assert_eq!(&*edited, &built[..len]);
            checksum::finish_tcp(edited, ip_len, &[]);
            set_seq(edited, ip_len, SeqNumber(other));
            set_clock(edited, ip_len, 8);
            clear_checksums(edited, ip_len);
            checksum::finish_tcp(edited, ip_len, &[]);
            let read = Segment::parse(edited, Checksums::Verify).unwrap();
            prop_assert_eq!((read.seq, read.window), (SeqNumber(other), windows.1));
            prop_assert_eq!(read.options.timestamps.map(|t| t.value), stamped.then_some(8));
        }
    }

    #[test]
    fn short_headers_are_left_alone() {
        for len in 0..40 {
            let mut bytes = vec![0xff; len];
            strip_payload(&mut bytes, 20, 5);
            set_acknowledgment(&mut bytes, 20, Acknowledgment::default());
            clear_checksums(&mut bytes, 20);
            assert_eq!(flags(&bytes[..len.min(20)], 20), Flags::NONE);
        }
    }
}
