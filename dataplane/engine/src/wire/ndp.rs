//! Neighbour discovery over Ethernet (RFC 4861): solicitations and advertisements of neighbours.

use std::net::Ipv6Addr;

use super::{Checksums, Malformed, ethernet::Mac, icmpv6, ipv6, split};

/// Length of the packets that we emit: IPv6 header, message, and one link-layer address.
pub const PACKET_LEN: usize = ipv6::HEADER_LEN + MESSAGE_LEN + OPTION_LEN;
/// Hop limit of neighbour discovery: no router can have sent it on (RFC 4861 section 7.1).
pub const HOP_LIMIT: u8 = 255;

/// Type, code, checksum, flags and target.
const MESSAGE_LEN: usize = 24;
const TARGET_AT: usize = 8;
/// A link-layer address of Ethernet with its type and length.
const OPTION_LEN: usize = 8;
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// Asks who has an address (RFC 4861 section 4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Solicitation {
    /// Who asks; `::` while it finds out whether the address is free (RFC 4862 section 5.4).
    pub source: Ipv6Addr,
    /// The address that is asked for.
    pub target: Ipv6Addr,
    /// The MAC address of who asks.
    pub source_mac: Option<Mac>,
}

/// Tells who has an address (RFC 4861 section 4.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Advertisement {
    /// The address that it is about.
    pub target: Ipv6Addr,
    /// Who has it.
    pub target_mac: Option<Mac>,
    /// It answers a solicitation.
    pub solicited: bool,
    /// What others know of the target shall be replaced by this.
    pub replaces: bool,
}

/// What neighbours say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message {
    /// Who has an address?
    Solicitation(Solicitation),
    /// Who has it.
    Advertisement(Advertisement),
}

impl Message {
    /// Reads the message in a parsed packet, and checks all that RFC 4861 sections 7.1.1 and 7.1.2
    /// want checked.
    ///
    /// # Errors
    /// It is no message of neighbours, or none that may be heeded.
    pub fn parse(ip: &ipv6::Packet<'_>, checks: Checksums) -> Result<Message, Malformed> {
        let (kind, code, bytes) = icmpv6::message(ip, checks)?;
        let (solicits, option) = match (kind, code) {
            (icmpv6::NEIGHBOUR_SOLICITATION, 0) => (true, SOURCE_LINK_LAYER_ADDRESS),
            (icmpv6::NEIGHBOUR_ADVERTISEMENT, 0) => (false, TARGET_LINK_LAYER_ADDRESS),
            _ => return Err(Malformed::Protocol),
        };
        if ip.header.hop_limit != HOP_LIMIT {
            return Err(Malformed::HopLimit);
        }
        let (message, options) = split::<MESSAGE_LEN>(bytes)?;
        let mut target = [0; 16];
        target.copy_from_slice(&message[TARGET_AT..]);
        let target = Ipv6Addr::from(target);
        let mac = link_layer_address(options, option)?;
        if target.is_multicast() || target.is_unspecified() || target.to_ipv4_mapped().is_some() {
            return Err(Malformed::Address);
        }
        let (source, destination) = (ip.header.source, ip.header.destination);
        if solicits {
            let probe = source.is_unspecified();
            if probe && (destination != ipv6::solicited_node(target.into()) || mac.is_some()) {
                return Err(Malformed::Address);
            }
            return Ok(Message::Solicitation(Solicitation { source, target, source_mac: mac }));
        }
        let solicited = message[4] & SOLICITED != 0;
        if solicited && destination.is_multicast() {
            return Err(Malformed::Address);
        }
        let replaces = message[4] & OVERRIDE != 0;
        Ok(Message::Advertisement(Advertisement { target, target_mac: mac, solicited, replaces }))
    }
}

/// The MAC address in the options of a message, if there is one of this type.
fn link_layer_address(mut options: &[u8], wanted: u8) -> Result<Option<Mac>, Malformed> {
    let mut found = None;
    while let [kind, length, ..] = *options {
        let len = usize::from(length) * 8;
        // Section 4.6: an option of no length has the whole message dropped.
        let (option, rest) =
            options.split_at_checked(len).filter(|_| len > 0).ok_or(Malformed::Option)?;
        if kind == wanted && len == OPTION_LEN && found.is_none() {
            let mut mac = [0; 6];
            mac.copy_from_slice(&option[2..]);
            found = Some(Mac(mac));
        }
        options = rest;
    }
    if options.is_empty() { Ok(found) } else { Err(Malformed::Option) }
}

impl Solicitation {
    /// The packet, which goes to `destination`: the target's [`ipv6::solicited_node`] address, or
    /// the target itself if its MAC address is known.
    pub fn to_bytes(&self, destination: Ipv6Addr) -> [u8; PACKET_LEN] {
        let mac = self.source_mac.unwrap_or_default();
        let option = (SOURCE_LINK_LAYER_ADDRESS, mac);
        let kind = icmpv6::NEIGHBOUR_SOLICITATION;
        packet((self.source, destination), kind, 0, self.target, option)
    }
}

impl Advertisement {
    /// The packet, from the target itself to `destination`.
    pub fn to_bytes(&self, destination: Ipv6Addr) -> [u8; PACKET_LEN] {
        let solicited = if self.solicited { SOLICITED } else { 0 };
        let replaces = if self.replaces { OVERRIDE } else { 0 };
        let option = (TARGET_LINK_LAYER_ADDRESS, self.target_mac.unwrap_or_default());
        let kind = icmpv6::NEIGHBOUR_ADVERTISEMENT;
        packet((self.target, destination), kind, solicited | replaces, self.target, option)
    }
}

fn packet(
    (source, destination): (Ipv6Addr, Ipv6Addr),
    kind: u8,
    flags: u8,
    target: Ipv6Addr,
    (option, mac): (u8, Mac),
) -> [u8; PACKET_LEN] {
    let header = ipv6::Header {
        source,
        destination,
        protocol: ipv6::PROTOCOL_ICMPV6,
        hop_limit: HOP_LIMIT,
        traffic_class: 0,
        flow_label: 0,
    };
    let mut bytes = [0; PACKET_LEN];
    let message_len = (MESSAGE_LEN + OPTION_LEN) as u16;
    bytes[..ipv6::HEADER_LEN].copy_from_slice(&header.to_bytes(message_len));
    let message = &mut bytes[ipv6::HEADER_LEN..];
    message[0] = kind;
    message[4] = flags;
    message[TARGET_AT..MESSAGE_LEN].copy_from_slice(&target.octets());
    message[MESSAGE_LEN..MESSAGE_LEN + 2].copy_from_slice(&[option, 1]);
    message[MESSAGE_LEN + 2..].copy_from_slice(&mac.0);
    icmpv6::finish(&mut bytes, ipv6::HEADER_LEN);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn address(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    fn parse(bytes: &[u8]) -> Result<Message, Malformed> {
        Message::parse(&ipv6::Packet::parse(bytes)?, Checksums::Verify)
    }

    fn solicitation() -> Solicitation {
        let (source, target) = (address("fd77::9"), address("fd77::64"));
        Solicitation { source, target, source_mac: Some(MAC) }
    }

    fn advertisement() -> Advertisement {
        let target = address("fd77::64");
        Advertisement { target, target_mac: Some(MAC), solicited: true, replaces: true }
    }

    /// Changes one byte, and mends the checksum.
    fn spoilt(bytes: &[u8], at: usize, value: u8) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        bytes[at] = value;
        icmpv6::finish(&mut bytes, ipv6::HEADER_LEN);
        bytes
    }

    #[test]
    fn messages_come_back() {
        let asked = solicitation();
        let group = ipv6::solicited_node(asked.target.into());
        assert_eq!(parse(&asked.to_bytes(group)), Ok(Message::Solicitation(asked)));
        for (solicited, replaces) in [(true, true), (false, true), (true, false)] {
            let told = Advertisement { solicited, replaces, ..advertisement() };
            let to = if solicited { asked.source } else { ipv6::ALL_NODES };
            assert_eq!(parse(&told.to_bytes(to)), Ok(Message::Advertisement(told)));
        }
    }

    #[test]
    fn smoltcp_reads_them_as_they_were_meant() {
        use smoltcp::wire::{
            Icmpv6Packet, Icmpv6Repr, Ipv6Packet, NdiscNeighborFlags, NdiscRepr, RawHardwareAddress,
        };
        let read = |bytes: &[u8]| {
            let ip = Ipv6Packet::new_checked(bytes).unwrap();
            let icmp = Icmpv6Packet::new_checked(ip.payload()).unwrap();
            let checks = smoltcp::phy::ChecksumCapabilities::default();
            match Icmpv6Repr::parse(&ip.src_addr(), &ip.dst_addr(), &icmp, &checks) {
                Ok(Icmpv6Repr::Ndisc(ndisc)) => (ip.hop_limit(), format!("{ndisc:?}")),
                other => panic!("{other:?}"),
            }
        };
        let lladdr = Some(RawHardwareAddress::from_bytes(&MAC.0));
        let target_addr = address("fd77::64");
        let expected = NdiscRepr::NeighborSolicit { target_addr, lladdr };
        let group = ipv6::solicited_node(target_addr.into());
        assert_eq!(read(&solicitation().to_bytes(group)), (255, format!("{expected:?}")));
        let flags = NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE;
        let expected = NdiscRepr::NeighborAdvert { flags, target_addr, lladdr };
        let bytes = advertisement().to_bytes(address("fd77::9"));
        assert_eq!(read(&bytes), (255, format!("{expected:?}")));
    }

    #[test]
    fn each_check_of_rfc_4861_section_7_1_is_made() {
        let asked = solicitation();
        let group = ipv6::solicited_node(asked.target.into());
        let good = asked.to_bytes(group);
        for (at, value, expected) in [
            (7, 254, Malformed::HopLimit),
            (40, 133, Malformed::Protocol),
            (41, 1, Malformed::Protocol),
            (48, 0xff, Malformed::Address),
            (65, 0, Malformed::Option),
            (65, 2, Malformed::Option),
        ] {
            assert_eq!(parse(&spoilt(&good, at, value)), Err(expected), "byte {at} = {value}");
        }
        let mut bytes = good;
        bytes[50] ^= 1;
        assert_eq!(parse(&bytes), Err(Malformed::Checksum));
        let probe = Solicitation { source: Ipv6Addr::UNSPECIFIED, ..asked };
        assert_eq!(parse(&probe.to_bytes(group)), Err(Malformed::Address), "a probe with a MAC");
        let without_option = |bytes: &[u8]| {
            let mut bytes = bytes[..PACKET_LEN - OPTION_LEN].to_vec();
            bytes[5] -= OPTION_LEN as u8;
            icmpv6::finish(&mut bytes, ipv6::HEADER_LEN);
            bytes
        };
        let bare = Solicitation { source_mac: None, ..probe };
        assert_eq!(parse(&without_option(&probe.to_bytes(group))), Ok(Message::Solicitation(bare)));
        let astray = without_option(&probe.to_bytes(asked.target));
        assert_eq!(parse(&astray), Err(Malformed::Address), "a probe to no group");
        let shouted = advertisement().to_bytes(ipv6::ALL_NODES);
        assert_eq!(parse(&shouted), Err(Malformed::Address), "solicited, but to all nodes");
    }

    proptest! {
        #[test]
        fn any_message_is_safe(
            mut bytes in prop::collection::vec(any::<u8>(), 4..80), solicits: bool
        ) {
            bytes[..2].copy_from_slice(&[if solicits { 135 } else { 136 }, 0]);
            let header = ipv6::Header {
                source: address("fd77::9"),
                destination: address("fd77::64"),
                protocol: ipv6::PROTOCOL_ICMPV6,
                hop_limit: HOP_LIMIT,
                traffic_class: 0,
                flow_label: 0,
            };
            let mut packet = [&header.to_bytes(bytes.len() as u16)[..], &bytes].concat();
            icmpv6::finish(&mut packet, ipv6::HEADER_LEN);
            let _ = parse(&packet);
        }
    }
}
