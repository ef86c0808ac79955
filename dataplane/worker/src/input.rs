//! The bodies of records that are a shard's input. Of a step:
//!
//! ```text
//! | now, microseconds of shard time | length  | L3 packet ... | length | ...
//! | u64 LE                          | u16 LE  |               |
//! ```
//!
//! Of an ICMP error, whatever the IP version (a version 4 address is an IPv4-mapped one):
//!
//! ```text
//! | now    | local address, port | remote address, port | sequence number | kind | MTU    |
//! | u64 LE | 16 bytes, u16 LE    | 16 bytes, u16 LE     | u32 LE          | u8   | u16 LE |
//! ```

use arrayvec::ArrayVec;
use engine::addr::{Addr, Endpoint, Flow};
use engine::seq::SeqNumber;
use engine::time::Instant;
use engine::wire::Checksums;
use engine::wire::icmp_error::{IcmpError, IcmpErrorKind};
use engine::wire::segment::Segment;

use crate::events::RefusedRecord;

/// Version of the log: of these bodies, and of what a step makes of them. Whoever changes either
/// raises it; nodes with different versions cannot follow each other's log.
pub const LOG_VERSION: u16 = 3;

/// Segments of one step at most.
pub(crate) const MAX_SEGMENTS: usize = 64;
/// Bytes of a record's body at most.
pub(crate) const MAX_BODY_BYTES: usize = 128 * 1024;
/// Bytes of a body beside the segments.
pub(crate) const TIME_BYTES: usize = 8;
/// Bytes of a body beside each segment.
pub(crate) const LENGTH_BYTES: usize = 2;

/// Bytes of an ICMP error's body.
pub(crate) const ERROR_BYTES: usize = TIME_BYTES + 2 * (16 + 2) + 4 + 1 + 2;

/// Segments of one step.
pub(crate) type Segments<'a> = ArrayVec<Segment<'a>, MAX_SEGMENTS>;

/// Hands the parts of a body to `append`, which concatenates them.
pub(crate) fn encode<R>(
    now: Instant,
    segments: &[Segment<'_>],
    append: impl FnOnce(&[&[u8]]) -> R,
) -> R {
    let now = now.as_micros().to_le_bytes();
    let lengths: ArrayVec<[u8; LENGTH_BYTES], MAX_SEGMENTS> =
        segments.iter().map(|segment| (segment.packet.len() as u16).to_le_bytes()).collect();
    let mut parts: ArrayVec<&[u8], { 1 + 2 * MAX_SEGMENTS }> = ArrayVec::new();
    parts.push(&now);
    for (length, segment) in lengths.iter().zip(segments) {
        parts.push(length);
        parts.push(segment.packet);
    }
    append(&parts)
}

/// Takes a body apart, the segments into an empty list. The primary has verified their checksums.
pub(crate) fn decode<'b>(
    body: &'b [u8],
    segments: &mut Segments<'b>,
) -> Result<Instant, RefusedRecord> {
    let (now, mut rest) = body.split_first_chunk::<TIME_BYTES>().ok_or(RefusedRecord::Torn)?;
    while !rest.is_empty() {
        let (length, after) =
            rest.split_first_chunk::<LENGTH_BYTES>().ok_or(RefusedRecord::Torn)?;
        let length = usize::from(u16::from_le_bytes(*length));
        let (packet, after) = after.split_at_checked(length).ok_or(RefusedRecord::Torn)?;
        let segment =
            Segment::parse(packet, Checksums::Trusted).map_err(|_| RefusedRecord::Segment)?;
        segments.try_push(segment).map_err(|_| RefusedRecord::TooMany)?;
        rest = after;
    }
    Ok(Instant::from_micros(u64::from_le_bytes(*now)))
}

const KIND_TOO_BIG: u8 = 0;
const KIND_HARD: u8 = 1;
const KIND_SOFT: u8 = 2;

/// The body that stands for an ICMP error.
pub(crate) fn encode_error(now: Instant, error: &IcmpError) -> [u8; ERROR_BYTES] {
    let (kind, mtu) = match error.kind {
        IcmpErrorKind::TooBig { mtu } => (KIND_TOO_BIG, mtu),
        IcmpErrorKind::Hard => (KIND_HARD, 0),
        IcmpErrorKind::Soft => (KIND_SOFT, 0),
    };
    let (mut body, mut at) = ([0; ERROR_BYTES], 0);
    let mut put = |bytes: &[u8]| {
        body[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(&now.as_micros().to_le_bytes());
    for end in [error.flow.local, error.flow.remote] {
        put(&end.addr.octets());
        put(&end.port.to_le_bytes());
    }
    put(&error.seq.0.to_le_bytes());
    put(&[kind]);
    put(&mtu.to_le_bytes());
    body
}

/// Inverse of [`encode_error`].
pub(crate) fn decode_error(body: &[u8]) -> Result<(Instant, IcmpError), RefusedRecord> {
    fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], RefusedRecord> {
        let (taken, behind) = rest.split_first_chunk::<N>().ok_or(RefusedRecord::Torn)?;
        *rest = behind;
        Ok(*taken)
    }
    let mut rest = body;
    let now = Instant::from_micros(u64::from_le_bytes(take(&mut rest)?));
    let mut end = || {
        let addr = Addr::from_octets(take(&mut rest)?);
        Ok(Endpoint { addr, port: u16::from_le_bytes(take(&mut rest)?) })
    };
    let flow = Flow { local: end()?, remote: end()? };
    let seq = SeqNumber(u32::from_le_bytes(take(&mut rest)?));
    let [kind] = take(&mut rest)?;
    let mtu = u16::from_le_bytes(take(&mut rest)?);
    let kind = match kind {
        KIND_TOO_BIG => IcmpErrorKind::TooBig { mtu },
        KIND_HARD => IcmpErrorKind::Hard,
        KIND_SOFT => IcmpErrorKind::Soft,
        _ => return Err(RefusedRecord::Segment),
    };
    if !rest.is_empty() {
        return Err(RefusedRecord::Torn);
    }
    Ok((now, IcmpError { flow, seq, kind }))
}

#[cfg(test)]
mod tests {
    use engine::wire::segment::SegmentHeader;
    use engine::wire::tcp;
    use proptest::prelude::*;

    use super::*;

    fn packet(port: u16) -> Vec<u8> {
        let (a, b) = (Addr::from_ipv4_octets([10, 0, 0, 1]), Addr::from_ipv4_octets([10, 0, 0, 2]));
        let flow = Flow { local: Endpoint::new(a, port), remote: Endpoint::new(b, 7) };
        let header = SegmentHeader {
            flow,
            seq: SeqNumber(5),
            ack: SeqNumber(6),
            flags: tcp::Flags::ACK,
            window: 7,
            options: tcp::Options::default(),
        };
        let mut packet = vec![0; 60];
        let len = header.emit(0, &mut packet);
        packet.truncate(len);
        packet
    }

    fn body(ports: &[u16]) -> Vec<u8> {
        let packets: Vec<_> = ports.iter().map(|&port| packet(port)).collect();
        let segments: Vec<_> = packets
            .iter()
            .map(|packet| Segment::parse(packet, Checksums::Trusted).unwrap())
            .collect();
        encode(Instant::from_micros(42), &segments, |parts| parts.concat())
    }

    #[test]
    fn body_comes_back_as_it_was_given() {
        let bytes = body(&[1000, 2000]);
        let mut segments = Segments::new();
        let now = decode(&bytes, &mut segments).unwrap();
        assert_eq!(now, Instant::from_micros(42));
        let ports: Vec<_> = segments.iter().map(|s| s.flow.remote.port).collect();
        assert_eq!(ports, [1000, 2000]);
        let (empty, mut segments) = (body(&[]), Segments::new());
        decode(&empty, &mut segments).unwrap();
        assert!(segments.is_empty());
    }

    #[test]
    fn every_cut_is_refused() {
        let bytes = body(&[1000, 2000]);
        let whole = [8, 8 + 2 + 40, bytes.len()];
        for cut in (0..bytes.len()).filter(|cut| !whole.contains(cut)) {
            assert!(decode(&bytes[..cut], &mut Segments::new()).is_err(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes, &mut Segments::new());
            let _ = decode_error(&bytes);
        }

        #[test]
        fn error_comes_back_as_it_was_given(us: u32, port: u16, number: u32, mtu: u16) {
            let end = |last, port| Endpoint::new(Addr::from_ipv4_octets([10, 0, 0, last]), port);
            let flow = Flow { local: end(1, 80), remote: end(2, port) };
            let now = Instant::from_micros(us.into());
            for kind in [IcmpErrorKind::TooBig { mtu }, IcmpErrorKind::Hard, IcmpErrorKind::Soft] {
                let error = IcmpError { flow, seq: SeqNumber(number), kind };
                let body = encode_error(now, &error);
                prop_assert_eq!(decode_error(&body), Ok((now, error)));
                prop_assert!(decode_error(&body[..ERROR_BYTES - 1]).is_err());
            }
        }
    }
}
