use proptest::prelude::*;

use super::*;
use crate::wire::tcp::{Flags, Options, Timestamps};

const CLIENT: [u8; 4] = [192, 0, 2, 1];
const SERVER: [u8; 4] = [192, 0, 2, 2];

/// A packet from the client, made by etherparse.
fn packet(payload: &[u8], edit: impl FnOnce(&mut etherparse::TcpHeader)) -> Vec<u8> {
    let mut tcp = etherparse::TcpHeader::new(40_000, 80, 1_000, 500);
    edit(&mut tcp);
    let mut bytes = Vec::new();
    etherparse::PacketBuilder::ipv4(CLIENT, SERVER, 64)
        .tcp_header(tcp)
        .write(&mut bytes, payload)
        .unwrap();
    bytes
}

fn parse(packet: &[u8]) -> Result<Segment<'_>, Malformed> {
    Segment::parse(packet, Checksums::Verify)
}

#[test]
fn reads_what_etherparse_writes() {
    let bytes = packet(b"hello", |tcp| {
        (tcp.syn, tcp.fin, tcp.ack, tcp.acknowledgment_number) = (true, true, true, 77);
        tcp.set_options(&[etherparse::TcpOptionElement::Timestamp(5, 6)]).unwrap();
    });
    let padded = [&bytes[..], &[0; 9]].concat();
    let segment = parse(&padded).unwrap();
    assert_eq!(segment.flow.local, Endpoint::new(Ipv4Addr::from(SERVER), 80));
    assert_eq!(segment.flow.remote, Endpoint::new(Ipv4Addr::from(CLIENT), 40_000));
    assert_eq!(segment.hash, flow_hash(&segment.flow));
    assert_eq!((segment.seq, segment.ack, segment.window), (SeqNumber(1_000), SeqNumber(77), 500));
    assert_eq!(segment.flags, Flags::SYN | Flags::FIN | Flags::ACK);
    assert_eq!(segment.options.timestamps, Some(Timestamps { value: 5, echo: 6 }));
    assert_eq!((segment.payload, segment.packet), (&b"hello"[..], &bytes[..]));
    assert_eq!(segment.len_seq(), 7);
}

#[test]
fn a_flipped_bit_is_noticed_unless_the_checksum_is_trusted() {
    let good = packet(b"odd", |_| {});
    // The IP header's length and version fields have errors of their own.
    for at in (8..good.len()).filter(|&at| at != 9) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x01;
        assert!(parse(&bytes).is_err(), "byte {at}");
    }
    let mut bytes = good;
    *bytes.last_mut().unwrap() ^= 0x01;
    assert_eq!(parse(&bytes), Err(Malformed::Checksum));
    assert!(Segment::parse(&bytes, Checksums::Trusted).is_ok());
}

#[test]
fn addresses_of_no_host_are_refused() {
    for (at, octets) in [
        (12, [0, 0, 0, 0]),
        (12, [255; 4]),
        (12, [224, 0, 0, 1]),
        (16, [239, 1, 1, 1]),
        (16, [255; 4]),
    ] {
        let mut bytes = packet(b"", |_| {});
        bytes[at..at + 4].copy_from_slice(&octets);
        let parsed = Segment::parse(&bytes, Checksums::Trusted);
        assert_eq!(parsed, Err(Malformed::Address), "{octets:?}");
    }
}

#[test]
fn other_protocols_and_short_headers_are_refused() {
    let mut bytes = packet(b"", |_| {});
    bytes[9] = 17;
    assert_eq!(Segment::parse(&bytes, Checksums::Trusted), Err(Malformed::Protocol));
    for (offset, expected) in [(4, Malformed::HeaderLength), (6, Malformed::HeaderLength)] {
        let mut bytes = packet(b"", |_| {});
        bytes[32] = offset << 4;
        assert_eq!(Segment::parse(&bytes, Checksums::Trusted), Err(expected));
    }
}

const CLIENT_V6: [u8; 16] = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const SERVER_V6: [u8; 16] = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

/// A packet over IPv6 from the client, made by etherparse.
fn packet_ipv6(payload: &[u8], edit: impl FnOnce(&mut etherparse::TcpHeader)) -> Vec<u8> {
    let mut tcp = etherparse::TcpHeader::new(40_000, 80, 1_000, 500);
    edit(&mut tcp);
    let mut bytes = Vec::new();
    etherparse::PacketBuilder::ipv6(CLIENT_V6, SERVER_V6, 64)
        .tcp_header(tcp)
        .write(&mut bytes, payload)
        .unwrap();
    bytes
}

#[test]
fn reads_what_etherparse_writes_over_ipv6() {
    let bytes = packet_ipv6(b"hello", |tcp| {
        (tcp.fin, tcp.ack, tcp.acknowledgment_number) = (true, true, 77);
        tcp.set_options(&[etherparse::TcpOptionElement::Timestamp(5, 6)]).unwrap();
    });
    let padded = [&bytes[..], &[0; 9]].concat();
    let segment = parse(&padded).unwrap();
    assert_eq!(segment.flow.local, Endpoint::new(Ipv6Addr::from(SERVER_V6), 80));
    assert_eq!(segment.flow.remote, Endpoint::new(Ipv6Addr::from(CLIENT_V6), 40_000));
    assert_eq!(segment.hash, flow_hash(&segment.flow));
    assert_eq!((segment.seq, segment.ack, segment.window), (SeqNumber(1_000), SeqNumber(77), 500));
    assert_eq!(segment.options.timestamps, Some(Timestamps { value: 5, echo: 6 }));
    assert_eq!((segment.payload, segment.packet), (&b"hello"[..], &bytes[..]));
}

#[test]
fn a_flipped_bit_over_ipv6_is_noticed() {
    let good = packet_ipv6(b"odd", |_| {});
    // The header's length and version have errors of their own; class, label and hop limit change
    // on the way.
    for at in (8..good.len()).filter(|&at| at != 6) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x01;
        assert!(parse(&bytes).is_err(), "byte {at}");
    }
}

#[test]
fn addresses_of_no_host_are_refused_over_ipv6() {
    let mapped = Ipv4Addr::from(CLIENT).to_ipv6_mapped().octets();
    let all_nodes = ipv6::ALL_NODES.octets();
    for (at, octets) in [(8, [0; 16]), (8, all_nodes), (24, all_nodes), (8, mapped), (24, mapped)] {
        let mut bytes = packet_ipv6(b"", |_| {});
        bytes[at..at + 16].copy_from_slice(&octets);
        let parsed = Segment::parse(&bytes, Checksums::Trusted);
        assert_eq!(parsed, Err(Malformed::Address), "{octets:?}");
    }
}

fn flow_ipv6() -> Flow {
    Flow {
        local: Endpoint::new(Ipv6Addr::from(SERVER_V6), 80),
        remote: Endpoint::new(Ipv6Addr::from(CLIENT_V6), 40_000),
    }
}

fn flow() -> Flow {
    Flow {
        local: Endpoint::new(Ipv4Addr::from(SERVER), 80),
        remote: Endpoint::new(Ipv4Addr::from(CLIENT), 40_000),
    }
}

proptest! {
    #[test]
    fn etherparse_finds_our_packets_right(
        seq: u32, ack: u32, window: u16, ts: Option<(u32, u32)>,
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..4)
    ) {
        let payload = parts.concat();
        let timestamps = ts.map(|(value, echo)| Timestamps { value, echo });
        let header = SegmentHeader {
            flow: flow(),
            seq: SeqNumber(seq),
            ack: SeqNumber(ack),
            flags: Flags::ACK | Flags::PSH,
            window,
            options: Options { timestamps, ..Options::default() },
        };
        let mut bytes = [0xaa; MAX_HEADER_LEN];
        let len = header.emit(payload.len() as u16, &mut bytes);
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        checksum::finish_tcp(&mut bytes[..len], ipv4::HEADER_LEN, &parts);
        let bytes = [&bytes[..len], &payload].concat();

        let (ip, rest) = etherparse::Ipv4Header::from_slice(&bytes).unwrap();
        prop_assert_eq!(ip.calc_header_checksum(), ip.header_checksum);
        prop_assert_eq!((ip.source, ip.destination), (SERVER, CLIENT));
        let (tcp, data) = etherparse::TcpHeader::from_slice(rest).unwrap();
        prop_assert_eq!(tcp.calc_checksum_ipv4(&ip, data).unwrap(), tcp.checksum);
        prop_assert_eq!((tcp.sequence_number, tcp.acknowledgment_number), (seq, ack));
        prop_assert_eq!(data, &payload[..]);
        let parsed = parse(&bytes).unwrap();
        prop_assert_eq!((parsed.seq, parsed.payload), (header.seq, data));
        prop_assert_eq!(parsed.options, header.options);
    }

    #[test]
    fn etherparse_finds_our_packets_over_ipv6_right(
        seq: u32, ack: u32, window: u16, ts: Option<(u32, u32)>,
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..4)
    ) {
        let payload = parts.concat();
        let timestamps = ts.map(|(value, echo)| Timestamps { value, echo });
        let (flow, flags) = (flow_ipv6(), Flags::ACK | Flags::PSH);
        let options = Options { timestamps, ..Options::default() };
        let (seq, ack) = (SeqNumber(seq), SeqNumber(ack));
        let header = SegmentHeader { flow, seq, ack, flags, window, options };
        let mut bytes = [0xaa; MAX_HEADER_LEN];
        let len = header.emit(payload.len() as u16, &mut bytes);
        let ip_len = ip_header_len(flow.local.addr);
        // What a card would be asked to complete must come to the same.
        let mut offloaded = bytes[..len].to_vec();
        let pseudo = checksum::pseudo_header_sum(&offloaded, ip_len, payload.len() as u16);
        checksum::put_tcp_checksum(&mut offloaded, ip_len, pseudo);
        let by_nic = checksum::checksum(&[&offloaded[ip_len..], &payload].concat());
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        checksum::finish_tcp(&mut bytes[..len], ip_len, &parts);
        let bytes = [&bytes[..len], &payload].concat();

        let (ip, rest) = etherparse::Ipv6Header::from_slice(&bytes).unwrap();
        prop_assert_eq!((ip.source, ip.destination), (SERVER_V6, CLIENT_V6));
        prop_assert_eq!(usize::from(ip.payload_length), rest.len());
        prop_assert_eq!(ip.flow_label.value(), flow_label(&flow));
        let (tcp, data) = etherparse::TcpHeader::from_slice(rest).unwrap();
        prop_assert_eq!(tcp.calc_checksum_ipv6(&ip, data).unwrap(), tcp.checksum);
        prop_assert_eq!(tcp.checksum, by_nic);
        prop_assert_eq!(data, &payload[..]);
        let parsed = parse(&bytes).unwrap();
        prop_assert_eq!((parsed.seq, parsed.payload), (header.seq, data));
        prop_assert_eq!(parsed.options, header.options);
    }

    #[test]
    fn a_nic_completes_the_pseudo_header_sum_to_the_same_checksum(
        payload in prop::collection::vec(any::<u8>(), 0..100)
    ) {
        let (flow, options) = (flow(), Options::default());
        let (seq, ack) = (SeqNumber(1), SeqNumber(2));
        let header = SegmentHeader { flow, seq, ack, flags: Flags::ACK, window: 3, options };
        let mut bytes = [0; MAX_HEADER_LEN];
        let len = header.emit(payload.len() as u16, &mut bytes);
        let header = &mut bytes[..len];
        let pseudo = checksum::pseudo_header_sum(header, ipv4::HEADER_LEN, payload.len() as u16);
        let mut offloaded = header.to_vec();
        checksum::put_tcp_checksum(&mut offloaded, ipv4::HEADER_LEN, pseudo);
        let by_nic = checksum::checksum(&[&offloaded[ipv4::HEADER_LEN..], &payload].concat());
        checksum::finish_tcp(header, ipv4::HEADER_LEN, &[&payload]);
        prop_assert_eq!(header[36..38].to_vec(), by_nic.to_be_bytes());
    }

    #[test]
    fn any_bytes_are_safe(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200), shape in any::<Option<u8>>()
    ) {
        // Random bytes alone would hardly ever get beyond the IP header.
        if let (Some(shape), true) = (shape, bytes.len() >= 40) {
            let len = bytes.len() as u8;
            bytes[..12].copy_from_slice(&[0x45, 0, 0, len, 0, 0, 0, 0, 64, 6, 0, 0]);
            (bytes[12], bytes[16], bytes[32]) = (10, 10, shape);
        }
        if let (Some(shape), true) = (shape, bytes.len() >= 80 && bytes[13] % 2 == 0) {
            let len = bytes.len() as u8 - 40;
            bytes[..9].copy_from_slice(&[0x60, 0, 0, 0, 0, len, 6, 64, 0xfd]);
            (bytes[24], bytes[52]) = (0xfd, shape);
        }
        if let Ok(segment) = Segment::parse(&bytes, Checksums::Trusted) {
            let mut out = [0; RESET_LEN];
            let len = reset_for(&segment, &mut out);
            prop_assert_eq!(len == 0, segment.flags.rst());
        }
    }
}

#[test]
fn a_reset_over_ipv6_goes_back_to_the_sender() {
    let bytes = packet_ipv6(b"data", |tcp| (tcp.ack, tcp.acknowledgment_number) = (true, 77));
    let segment = parse(&bytes).unwrap();
    let mut out = [0xaa; RESET_LEN];
    assert_eq!(reset_for(&segment, &mut out), RESET_LEN);
    let reset = parse(&out).unwrap();
    assert_eq!((reset.flow.local, reset.flow.remote), (segment.flow.remote, segment.flow.local));
    assert_eq!((reset.seq, reset.flags), (SeqNumber(77), Flags::RST));
}

/// The reset for a packet with these flags, parsed as its receiver would.
fn reset(
    payload: &[u8],
    edit: impl FnOnce(&mut etherparse::TcpHeader),
) -> Option<(u32, u32, Flags)> {
    let bytes = packet(payload, edit);
    let segment = parse(&bytes).unwrap();
    let mut out = [0xaa; RESET_LEN];
    let len = reset_for(&segment, &mut out);
    (len > 0).then(|| {
        let reset = parse(&out[..len]).unwrap();
        assert_eq!(
            (reset.flow.local, reset.flow.remote),
            (segment.flow.remote, segment.flow.local)
        );
        (reset.seq.0, reset.ack.0, reset.flags)
    })
}

#[test]
fn resets_follow_rfc_9293_section_3_10_7_1() {
    let acked = reset(b"data", |tcp| (tcp.ack, tcp.acknowledgment_number) = (true, 77));
    assert_eq!(acked, Some((77, 0, Flags::RST)));
    let syn = reset(b"", |tcp| tcp.syn = true);
    assert_eq!(syn, Some((0, 1_001, Flags::RST | Flags::ACK)));
    let data = reset(b"data", |tcp| tcp.fin = true);
    assert_eq!(data, Some((0, 1_005, Flags::RST | Flags::ACK)));
    assert_eq!(reset(b"", |tcp| tcp.rst = true), None);
}
