//! ICMP echo (RFC 792), as much of ICMP as a node answers.

use super::{Checksums, Malformed, checksum, ipv4, split};

/// Length of an echo message's header.
pub const HEADER_LEN: usize = 8;

const TYPE_ECHO_REPLY: u8 = 0;
const TYPE_ECHO_REQUEST: u8 = 8;
const CHECKSUM_AT: usize = 2;

/// Turns the L3 packet of an echo request into its reply, in place. Returns the length of the
/// reply, which leaves Ethernet padding out; an error if it is no whole, right echo request.
pub fn reply_in_place(packet: &mut [u8]) -> Result<usize, Malformed> {
    let ip = ipv4::Packet::parse(packet, Checksums::Verify)?;
    if ip.header.protocol != ipv4::PROTOCOL_ICMP {
        return Err(Malformed::Protocol);
    }
    let (header, _) = split::<HEADER_LEN>(ip.payload)?;
    if header[..2] != [TYPE_ECHO_REQUEST, 0] {
        return Err(Malformed::Protocol);
    }
    if checksum::checksum(ip.payload) != 0 {
        return Err(Malformed::Checksum);
    }
    let (len, header_len) = (ip.bytes.len(), ip.bytes.len() - ip.payload.len());
    let (header, message) = packet[..len].split_at_mut(header_len);
    message[0] = TYPE_ECHO_REPLY;
    put_checksum(message, CHECKSUM_AT);
    // RFC 1122 section 3.2.2.6: the reply comes from the address that was asked. Options of the
    // request stay as they are.
    let (source, destination) = header[ipv4::SOURCE_AT..].split_at_mut(4);
    source.swap_with_slice(&mut destination[..4]);
    header[ipv4::TTL_AT] = ipv4::DEFAULT_TTL;
    put_checksum(header, ipv4::CHECKSUM_AT);
    Ok(len)
}

fn put_checksum(bytes: &mut [u8], at: usize) {
    bytes[at..at + 2].fill(0);
    let checksum = checksum::checksum(bytes);
    bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        etherparse::PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 3)
            .icmpv4_echo_request(7, 9)
            .write(&mut bytes, payload)
            .unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn etherparse_finds_the_reply_right(
            payload in prop::collection::vec(any::<u8>(), 0..100), padding in 0usize..20
        ) {
            let mut bytes = [request(&payload), vec![0; padding]].concat();
            let len = reply_in_place(&mut bytes).unwrap();
            let (ip, rest) = etherparse::Ipv4Header::from_slice(&bytes[..len]).unwrap();
            prop_assert_eq!((ip.source, ip.destination), ([192, 0, 2, 2], [192, 0, 2, 1]));
            prop_assert_eq!(ip.calc_header_checksum(), ip.header_checksum);
            prop_assert_eq!(ip.time_to_live, ipv4::DEFAULT_TTL);
            let (icmp, data) = etherparse::Icmpv4Header::from_slice(rest).unwrap();
            let reply = etherparse::IcmpEchoHeader { id: 7, seq: 9 };
            prop_assert_eq!(&icmp.icmp_type, &etherparse::Icmpv4Type::EchoReply(reply));
            prop_assert_eq!(icmp.icmp_type.calc_checksum(data), icmp.checksum);
            prop_assert_eq!(data, &payload[..]);
        }

        #[test]
        fn any_bytes_are_safe(mut bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(reply_in_place(&mut bytes).is_err());
        }
    }

    #[test]
    fn a_reply_is_not_answered_again() {
        let mut bytes = request(b"x");
        reply_in_place(&mut bytes).unwrap();
        assert_eq!(reply_in_place(&mut bytes), Err(Malformed::Protocol));
    }

    #[test]
    fn a_damaged_request_is_left_alone() {
        let mut bytes = request(b"x");
        bytes[28] ^= 1;
        let before = bytes.clone();
        assert_eq!(reply_in_place(&mut bytes), Err(Malformed::Checksum));
        assert_eq!(bytes, before);
    }
}
