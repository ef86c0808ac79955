//! TCP segments in their packets as bytes and back, by the letter of RFC 9293 3.1.

use super::ip::{self, IpFields, PROTOCOL_TCP, be16, be32};

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

const TCP_HEADER: usize = 20;

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
    let sum = ip.checksum(PROTOCOL_TCP, &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    ip.encode(PROTOCOL_TCP, &segment)
}

/// Takes a packet apart and judges its form.
pub fn decode(bytes: &[u8]) -> Result<Packet, String> {
    let (ip, segment) = ip::decode(bytes)?;
    if segment.len() < TCP_HEADER {
        return Err("no whole TCP header".to_owned());
    }
    if ip.checksum(PROTOCOL_TCP, segment) != 0 {
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
