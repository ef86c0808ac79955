//! Packets as bytes and back, by the letter of RFC 791, RFC 792 and RFC 9293 3.1.

use std::net::{IpAddr, Ipv4Addr};

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;
pub const URG: u8 = 0x20;
const ECE: u8 = 0x40;
const CWR: u8 = 0x80;

/// Letters of the control bits, as packetdrill writes them.
const LETTERS: [(char, u8); 8] = [
    ('S', SYN),
    ('F', FIN),
    ('R', RST),
    ('P', PSH),
    ('U', URG),
    ('E', ECE),
    ('W', CWR),
    ('.', ACK),
];

const IPV4_HEADER: usize = 20;
const TCP_HEADER: usize = 20;
const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_TCP: u8 = 6;
const DONT_FRAGMENT: u16 = 0x4000;

/// Flags from their letters; `-` for none.
pub fn flags(text: &str) -> Result<u8, String> {
    if text == "-" {
        return Ok(0);
    }
    text.chars().try_fold(0, |flags, letter| {
        let known = LETTERS.iter().find(|(known, _)| *known == letter);
        known.map(|(_, bit)| flags | bit).ok_or_else(|| format!("\"{text}\" are no flags"))
    })
}

/// Letters of flags.
pub fn letters(flags: u8) -> String {
    let set = LETTERS.iter().filter(|(_, bit)| flags & bit != 0);
    let text: String = set.map(|(letter, _)| *letter).collect();
    if text.is_empty() { "-".to_owned() } else { text }
}

/// What an IP header says.
#[derive(Clone, Debug)]
pub struct IpFields {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// DSCP and ECN.
    pub traffic_class: u8,
    pub ttl: u8,
    /// Flags and offset, of IPv4 alone.
    pub fragment: u16,
    /// Options, of IPv4 alone.
    pub options: Vec<u8>,
}

impl IpFields {
    pub fn new(source: IpAddr, destination: IpAddr) -> IpFields {
        let fragment = DONT_FRAGMENT;
        IpFields { source, destination, traffic_class: 0, ttl: 64, fragment, options: Vec::new() }
    }
}

/// What a TCP header says.
#[derive(Clone, Debug, Default)]
pub struct TcpFields {
    pub source_port: u16,
    pub destination_port: u16,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    pub urgent: u16,
    /// As they stand in the header, padding included.
    pub options: Vec<u8>,
    /// In words, if it is not what the options make it.
    pub data_offset: Option<u8>,
    pub reserved: u8,
}

/// A packet that the shard has sent.
#[derive(Clone, Debug)]
pub struct Packet {
    pub ip: IpFields,
    pub tcp: TcpFields,
    pub payload: Vec<u8>,
}

/// A TCP segment in its IP packet, checksums included.
pub fn encode(ip: &IpFields, tcp: &TcpFields, payload: &[u8]) -> Vec<u8> {
    let words = (TCP_HEADER + tcp.options.len()) / 4;
    let offset = tcp.data_offset.map_or(words as u8, |offset| offset);
    let mut segment = Vec::new();
    segment.extend(tcp.source_port.to_be_bytes());
    segment.extend(tcp.destination_port.to_be_bytes());
    segment.extend(tcp.seq.to_be_bytes());
    segment.extend(tcp.ack.to_be_bytes());
    segment.extend([offset << 4 | tcp.reserved, tcp.flags]);
    segment.extend(tcp.window.to_be_bytes());
    segment.extend([0, 0]);
    segment.extend(tcp.urgent.to_be_bytes());
    segment.extend(&tcp.options);
    segment.extend(payload);
    let sum = checksum(&[&pseudo_header(ip, segment.len()), &segment]);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    in_ip(ip, PROTOCOL_TCP, &segment)
}

/// An ICMP error that quotes `quoted` bytes of what `packet` carries.
pub fn encode_icmp(
    ip: &IpFields,
    (kind, code, mtu): (u8, u8, u16),
    packet: &[u8],
    quoted: usize,
) -> Vec<u8> {
    let len = packet.len().min(IPV4_HEADER + quoted);
    let mut message = vec![kind, code, 0, 0, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend(&packet[..len]);
    let sum = checksum(&[&message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    in_ip(ip, PROTOCOL_ICMP, &message)
}

/// Takes a packet apart and judges its form.
pub fn decode(bytes: &[u8]) -> Result<Packet, String> {
    let (ip, segment) = decode_ip(bytes)?;
    if segment.len() < TCP_HEADER {
        return Err("no whole TCP header".to_owned());
    }
    if checksum(&[&pseudo_header(&ip, segment.len()), segment]) != 0 {
        return Err("the TCP checksum is wrong".to_owned());
    }
    let header_len = usize::from(segment[12] >> 4) * 4;
    if header_len < TCP_HEADER || header_len > segment.len() {
        return Err(format!("a data offset of {header_len} bytes"));
    }
    if segment[12] & 0x0f != 0 {
        return Err("reserved bits are set".to_owned());
    }
    let tcp = TcpFields {
        source_port: be16(segment, 0),
        destination_port: be16(segment, 2),
        seq: be32(segment, 4),
        ack: be32(segment, 8),
        flags: segment[13],
        window: be16(segment, 14),
        urgent: be16(segment, 18),
        options: segment[TCP_HEADER..header_len].to_vec(),
        data_offset: None,
        reserved: 0,
    };
    Ok(Packet { ip, tcp, payload: segment[header_len..].to_vec() })
}

fn decode_ip(bytes: &[u8]) -> Result<(IpFields, &[u8]), String> {
    if bytes.len() < IPV4_HEADER || bytes[0] != 0x45 {
        return Err("no IPv4 header of 20 bytes".to_owned());
    }
    if usize::from(be16(bytes, 2)) != bytes.len() {
        return Err("the total length is wrong".to_owned());
    }
    let (header, rest) = bytes.split_at(IPV4_HEADER);
    if checksum(&[header]) != 0 {
        return Err("the IP checksum is wrong".to_owned());
    }
    if header[9] != PROTOCOL_TCP {
        return Err(format!("protocol {}", header[9]));
    }
    let address = |at: usize| {
        IpAddr::V4(Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]))
    };
    let ip = IpFields {
        source: address(12),
        destination: address(16),
        traffic_class: header[1],
        ttl: header[8],
        fragment: be16(header, 6),
        options: Vec::new(),
    };
    Ok((ip, rest))
}

fn in_ip(ip: &IpFields, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (ip.source, ip.destination) else {
        panic!("addresses of one family");
    };
    let mut options = ip.options.clone();
    options.resize(options.len().next_multiple_of(4), 0);
    let header_len = IPV4_HEADER + options.len();
    let mut header = vec![0x40 | (header_len / 4) as u8, ip.traffic_class];
    header.extend(((header_len + payload.len()) as u16).to_be_bytes());
    header.extend([0, 0]);
    header.extend(ip.fragment.to_be_bytes());
    header.extend([ip.ttl, protocol, 0, 0]);
    header.extend(source.octets());
    header.extend(destination.octets());
    header.extend(options);
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header.extend(payload);
    header
}

fn pseudo_header(ip: &IpFields, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for address in [ip.source, ip.destination] {
        match address {
            IpAddr::V4(v4) => bytes.extend(v4.octets()),
            IpAddr::V6(v6) => bytes.extend(v6.octets()),
        }
    }
    bytes.extend((len as u32).to_be_bytes());
    bytes.extend([0, 0, 0, PROTOCOL_TCP]);
    bytes
}

/// RFC 1071. All parts but the last have even lengths.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    !(sum as u16)
}

pub fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from(be16(bytes, at)) << 16 | u32::from(be16(bytes, at + 2))
}
