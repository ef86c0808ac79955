//! Every wire format on any frame. The first byte says whether lengths and checksums are made right
//! before: most mutations would not get past them.

use engine::wire::icmp_error::{IcmpError, IcmpErrorKind};
use engine::wire::segment::{
    MAX_HEADER_LEN, RESET_LEN, Segment, SegmentHeader, ip_header_len, reset_for,
};
use engine::wire::{
    Checksums, Malformed, arp, checksum, ethernet, icmpv4, icmpv6, ipv4, ipv6, mld, ndp, udp,
};

use crate::packets;

pub fn run(input: &[u8]) {
    let Some((&mode, bytes)) = input.split_first() else { return };
    let mut frame = bytes.to_vec();
    if mode & 1 == 1 && frame.len() > ethernet::HEADER_LEN {
        packets::mend(&mut frame[ethernet::HEADER_LEN..]);
    }
    let Ok((header, packet)) = ethernet::Header::parse(&frame) else { return };
    assert_eq!(header.to_bytes(), frame[..ethernet::HEADER_LEN]);
    // Each parser on its own: what a frame says it carries is for the worker to act on.
    arp(packet);
    ipv4(packet);
    ipv6(packet);
    icmp(packet);
    icmp_error(packet);
}

fn arp(bytes: &[u8]) {
    if let Ok(packet) = arp::Packet::parse(bytes) {
        assert_eq!(packet.to_bytes(), bytes[..arp::PACKET_LEN]);
        let reply = packet.reply(packet.sender_mac);
        assert_eq!(arp::Packet::parse(&reply.to_bytes()), Ok(reply));
    }
}

fn ipv4(bytes: &[u8]) {
    let verified = ipv4::Packet::parse(bytes, Checksums::Verify);
    let trusted = ipv4::Packet::parse(bytes, Checksums::Trusted);
    agree(&verified, &trusted);
    let Ok(ip) = trusted else { return };
    assert!(ip.bytes.len() <= bytes.len() && ip.payload.len() + 20 <= ip.bytes.len());
    let as_udp = udp::Datagram::parse(&ip, Checksums::Trusted);
    agree(&udp::Datagram::parse(&ip, Checksums::Verify), &as_udp);
    as_udp.iter().for_each(|datagram| emit_udp(&ip.header, datagram));
    let segment = Segment::parse(bytes, Checksums::Trusted);
    agree(&Segment::parse(bytes, Checksums::Verify), &segment);
    segment.iter().for_each(tcp);
}

fn ipv6(bytes: &[u8]) {
    let Ok(ip) = ipv6::Packet::parse(bytes) else { return };
    assert!(ip.bytes.len() <= bytes.len() && ip.payload.len() + 40 <= ip.bytes.len());
    let as_udp = udp::Datagram::parse_ipv6(&ip, Checksums::Trusted);
    agree(&udp::Datagram::parse_ipv6(&ip, Checksums::Verify), &as_udp);
    let segment = Segment::parse(bytes, Checksums::Trusted);
    agree(&Segment::parse(bytes, Checksums::Verify), &segment);
    segment.iter().for_each(tcp);
    let message = ndp::Message::parse(&ip, Checksums::Trusted);
    agree(&ndp::Message::parse(&ip, Checksums::Verify), &message);
    message.iter().for_each(neighbour);
    agree(&mld::check_query(&ip, Checksums::Verify), &mld::check_query(&ip, Checksums::Trusted));
}

/// What we would say comes back as it was meant.
fn neighbour(message: &ndp::Message) {
    let packet = match *message {
        ndp::Message::Solicitation(asked) if asked.source_mac.is_some() => {
            asked.to_bytes(ipv6::solicited_node(asked.target.into()))
        }
        ndp::Message::Advertisement(told) if told.target_mac.is_some() => {
            told.to_bytes("fd77::9".parse().expect("an address"))
        }
        _ => return,
    };
    let ip = ipv6::Packet::parse(&packet).expect("our own header is right");
    assert_eq!(ndp::Message::parse(&ip, Checksums::Verify), Ok(*message));
}

/// Checking more can only refuse more.
fn agree<T: PartialEq + std::fmt::Debug>(
    verified: &Result<T, Malformed>,
    trusted: &Result<T, Malformed>,
) {
    assert!(verified == trusted || *verified == Err(Malformed::Checksum));
}

fn emit_udp(ip: &ipv4::Header, datagram: &udp::Datagram<'_>) {
    let ports = (datagram.source_port, datagram.destination_port);
    let mut out = vec![0; ipv4::HEADER_LEN + udp::HEADER_LEN];
    if datagram.payload.len() > 1472 {
        return;
    }
    udp::emit(ip, ports, &[datagram.payload], &mut out);
    out.extend_from_slice(datagram.payload);
    let ip = ipv4::Packet::parse(&out, Checksums::Verify).expect("our own header is right");
    assert_eq!(udp::Datagram::parse(&ip, Checksums::Verify), Ok(*datagram));
}

fn tcp(segment: &Segment<'_>) {
    let options = segment.options.clone();
    let header = SegmentHeader {
        flow: engine::addr::Flow { local: segment.flow.remote, remote: segment.flow.local },
        seq: segment.seq,
        ack: segment.ack,
        flags: segment.flags,
        window: segment.window,
        options,
    };
    let mut out = [0; MAX_HEADER_LEN];
    let len = header.emit(0, &mut out);
    checksum::finish_tcp(&mut out[..len], ip_header_len(header.flow.local.addr), &[]);
    let again = Segment::parse(&out[..len], Checksums::Verify).expect("our own header is right");
    assert_eq!((again.flow, again.hash), (segment.flow, segment.hash));
    assert_eq!((again.seq, again.ack, again.flags), (segment.seq, segment.ack, segment.flags));
    let mut reset = [0; RESET_LEN];
    let len = reset_for(segment, &mut reset);
    assert_eq!(len == 0, segment.flags.rst(), "a reset answers everything but a reset");
    if len > 0 {
        let reset = Segment::parse(&reset[..len], Checksums::Verify).expect("it is right");
        assert!(reset.flags.rst() && reset.flow.local == segment.flow.remote);
    }
}

/// What is read as an error is one, and names two ends that can have a connection.
fn icmp_error(bytes: &[u8]) {
    let Ok(error) = IcmpError::parse(bytes) else { return };
    assert!(error.flow.local.addr.is_same_version(&error.flow.remote.addr));
    assert_eq!(error.flow.local.addr.is_ipv4(), bytes[0] >> 4 == 4);
    assert_ne!(error.kind, IcmpErrorKind::TooBig { mtu: 0 });
    let is_error = match bytes[0] >> 4 {
        4 => ipv4::Packet::parse(bytes, Checksums::Verify).map(|ip| icmpv4::is_error(ip.payload)),
        _ => ipv6::Packet::parse(bytes).map(|ip| icmpv6::is_error(ip.payload[0])),
    };
    assert_eq!(is_error, Ok(true));
    assert!(Segment::parse(bytes, Checksums::Trusted).is_err(), "it is no segment as well");
}

fn icmp(bytes: &[u8]) {
    let mut packet = bytes.to_vec();
    match icmpv4::reply_in_place(&mut packet) {
        Ok(len) => {
            let reply = ipv4::Packet::parse(&packet[..len], Checksums::Verify);
            let reply = reply.expect("our own header is right");
            assert_eq!(checksum::checksum(reply.payload), 0);
            assert_eq!(icmpv4::reply_in_place(&mut packet), Err(Malformed::Protocol));
        }
        Err(_) => assert_eq!(packet, bytes, "what is no request is left alone"),
    }
    let mut packet = bytes.to_vec();
    match icmpv6::reply_in_place(&mut packet) {
        Ok(len) => {
            let reply = ipv6::Packet::parse(&packet[..len]).expect("our own header is right");
            assert!(icmpv6::message(&reply, Checksums::Verify).is_ok());
            assert_eq!(icmpv6::reply_in_place(&mut packet), Err(Malformed::Protocol));
        }
        Err(_) => assert_eq!(packet, bytes, "what is no request is left alone"),
    }
}
