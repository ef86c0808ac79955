//! IP headers as bytes and back, by the letter of RFC 791 and RFC 8200, and what carries over them:
//! a checksum with a pseudo-header.

use std::net::IpAddr;

/// Next header values and protocols have one list.
pub const PROTOCOL_ICMP: u8 = 1;
pub const PROTOCOL_TCP: u8 = 6;
pub const PROTOCOL_ICMPV6: u8 = 58;

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const DONT_FRAGMENT: u16 = 0x4000;
const FLOW_LABEL: u32 = 0x000f_ffff;

/// Which of the two IP versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    pub fn from_name(name: &str) -> Option<Family> {
        Family::ALL.into_iter().find(|family| family.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        }
    }

    /// Bytes of a header without options or extension headers.
    pub fn header_len(self) -> usize {
        match self {
            Family::V4 => IPV4_HEADER,
            Family::V6 => IPV6_HEADER,
        }
    }
}

/// What an IP header says.
#[derive(Clone, Debug)]
pub struct IpFields {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Of IPv6 the hop limit.
    pub ttl: u8,
    /// Flags and offset, of IPv4 alone.
    pub fragment: u16,
    /// Options, of IPv4 alone.
    pub options: Vec<u8>,
    /// Of IPv6 alone.
    pub flow_label: u32,
    /// Types of extension headers, with what follows their first byte; of IPv6 alone.
    pub extensions: Vec<(u8, Vec<u8>)>,
}

impl IpFields {
    pub fn new(source: IpAddr, destination: IpAddr) -> IpFields {
        IpFields {
            source,
            destination,
            traffic_class: 0,
            ttl: 64,
            fragment: DONT_FRAGMENT,
            options: Vec::new(),
            flow_label: 0,
            extensions: Vec::new(),
        }
    }

    pub fn family(&self) -> Family {
        Family::of(self.source)
    }

    /// Bytes of the header with all that belongs to it.
    pub fn header_len(&self) -> usize {
        let extensions: usize = self.extensions.iter().map(|(_, body)| 1 + body.len()).sum();
        self.family().header_len() + self.options.len().next_multiple_of(4) + extensions
    }

    /// The packet that carries `payload`.
    pub fn encode(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        match self.family() {
            Family::V4 => self.encode_ipv4(protocol, payload),
            Family::V6 => self.encode_ipv6(protocol, payload),
        }
    }

    fn encode_ipv4(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let header_len = self.header_len();
        let mut header = vec![0x40 | (header_len / 4) as u8, self.traffic_class];
        header.extend(((header_len + payload.len()) as u16).to_be_bytes());
        header.extend([0, 0]);
        header.extend(self.fragment.to_be_bytes());
        header.extend([self.ttl, protocol, 0, 0]);
        header.extend(octets(self.source));
        header.extend(octets(self.destination));
        header.extend(&self.options);
        header.resize(header_len, 0);
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header.extend(payload);
        header
    }

    fn encode_ipv6(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let behind = self.extensions.iter().skip(1).map(|(kind, _)| *kind).chain([protocol]);
        let chain: Vec<u8> = (self.extensions.iter().zip(behind))
            .flat_map(|((_, body), next)| [&[next], body.as_slice()].concat())
            .collect();
        let first = self.extensions.first().map_or(protocol, |(kind, _)| *kind);
        let word = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & FLOW_LABEL;
        let mut packet = word.to_be_bytes().to_vec();
        packet.extend(((chain.len() + payload.len()) as u16).to_be_bytes());
        packet.extend([first, self.ttl]);
        packet.extend(octets(self.source));
        packet.extend(octets(self.destination));
        packet.extend(chain);
        packet.extend(payload);
        packet
    }

    /// The checksum of `payload` under the pseudo-header of RFC 9293 3.1 or RFC 8200 8.1.
    pub fn checksum(&self, protocol: u8, payload: &[u8]) -> u16 {
        let mut pseudo = [octets(self.source), octets(self.destination)].concat();
        pseudo.extend((payload.len() as u32).to_be_bytes());
        pseudo.extend([0, 0, 0, protocol]);
        checksum(&[&pseudo, payload])
    }
}

/// The header and the TCP segment in a packet of the shard's, which has neither options nor
/// extension headers.
pub fn decode(bytes: &[u8]) -> Result<(IpFields, &[u8]), String> {
    match bytes.first() {
        Some(0x45) => decode_ipv4(bytes),
        Some(first) if first >> 4 == 6 => decode_ipv6(bytes),
        _ => Err("neither an IPv4 header of 20 bytes nor one of IPv6".to_owned()),
    }
}

fn decode_ipv4(bytes: &[u8]) -> Result<(IpFields, &[u8]), String> {
    let (header, rest) = bytes.split_at_checked(IPV4_HEADER).ok_or("no whole IPv4 header")?;
    if usize::from(be16(bytes, 2)) != bytes.len() {
        return Err("the total length is wrong".to_owned());
    }
    if checksum(&[header]) != 0 {
        return Err("the IP checksum is wrong".to_owned());
    }
    carries_tcp(header[9])?;
    let address = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&header[at..at + 4]).expect("four"));
    let fields = IpFields {
        traffic_class: header[1],
        ttl: header[8],
        fragment: be16(header, 6),
        ..IpFields::new(address(12), address(16))
    };
    Ok((fields, rest))
}

fn decode_ipv6(bytes: &[u8]) -> Result<(IpFields, &[u8]), String> {
    let (header, rest) = bytes.split_at_checked(IPV6_HEADER).ok_or("no whole IPv6 header")?;
    if usize::from(be16(bytes, 4)) != rest.len() {
        return Err("the payload length is wrong".to_owned());
    }
    carries_tcp(header[6])?;
    let address =
        |at: usize| IpAddr::from(<[u8; 16]>::try_from(&header[at..at + 16]).expect("sixteen"));
    let word = be32(header, 0);
    let fields = IpFields {
        traffic_class: (word >> 20) as u8,
        ttl: header[7],
        flow_label: word & FLOW_LABEL,
        ..IpFields::new(address(8), address(24))
    };
    Ok((fields, rest))
}

fn carries_tcp(protocol: u8) -> Result<(), String> {
    if protocol == PROTOCOL_TCP { Ok(()) } else { Err(format!("protocol {protocol}")) }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
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
