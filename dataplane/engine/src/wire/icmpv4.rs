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
