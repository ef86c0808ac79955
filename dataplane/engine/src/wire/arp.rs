//! ARP for IPv4 over Ethernet (RFC 826).

use std::net::Ipv4Addr;

use super::{Malformed, be16, ethernet::Mac, split};

/// Length of a packet.
pub const PACKET_LEN: usize = 28;

/// Hardware type Ethernet, protocol type IPv4, address lengths 6 and 4.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// What an ARP packet wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has the sender address.
    Reply,
}

/// An ARP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Request or reply.
    pub operation: Operation,
    /// The sender's MAC address.
    pub sender_mac: Mac,
    /// The sender's IP address; `0.0.0.0` in a probe (RFC 5227).
    pub sender_ip: Ipv4Addr,
    /// The target's MAC address; all zero in a request.
    pub target_mac: Mac,
    /// The target's IP address.
    pub target_ip: Ipv4Addr,
}

impl Packet {
    /// Asks who has `target_ip`.
    pub fn request(sender_mac: Mac, sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Packet {
        let operation = Operation::Request;
        Packet { operation, sender_mac, sender_ip, target_mac: Mac::default(), target_ip }
    }

    /// The answer to this request: `mac` has the address that it asks for.
    pub fn reply(&self, mac: Mac) -> Packet {
        Packet {
            operation: Operation::Reply,
            sender_mac: mac,
            sender_ip: self.target_ip,
            target_mac: self.sender_mac,
            target_ip: self.sender_ip,
        }
    }

    /// Tells everybody that `mac` now has `ip`: an ARP announcement (RFC 5227 section 2.3).
    pub fn announcement(mac: Mac, ip: Ipv4Addr) -> Packet {
        Packet::request(mac, ip, ip)
    }

    /// Reads a packet; padding after it is ignored.
    pub fn parse(bytes: &[u8]) -> Result<Packet, Malformed> {
        let (bytes, _) = split::<PACKET_LEN>(bytes)?;
        if bytes[..6] != ETHERNET_IPV4 {
            return Err(Malformed::Protocol);
        }
        let operation = match be16(bytes, 6) {
            1 => Operation::Request,
            2 => Operation::Reply,
            _ => return Err(Malformed::Protocol),
        };
        let (sender_mac, sender_ip) = addresses(bytes, 8);
        let (target_mac, target_ip) = addresses(bytes, 18);
        Ok(Packet { operation, sender_mac, sender_ip, target_mac, target_ip })
    }

    /// The packet as it goes behind an Ethernet header.
    pub fn to_bytes(&self) -> [u8; PACKET_LEN] {
        let mut bytes = [0; PACKET_LEN];
        bytes[..6].copy_from_slice(&ETHERNET_IPV4);
        bytes[7] = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        bytes[8..14].copy_from_slice(&self.sender_mac.0);
        bytes[14..18].copy_from_slice(&self.sender_ip.octets());
        bytes[18..24].copy_from_slice(&self.target_mac.0);
        bytes[24..28].copy_from_slice(&self.target_ip.octets());
        bytes
    }
}

fn addresses(bytes: &[u8; PACKET_LEN], at: usize) -> (Mac, Ipv4Addr) {
    let mut mac = [0; 6];
    mac.copy_from_slice(&bytes[at..at + 6]);
    let ip = &bytes[at + 6..];
    (Mac(mac), Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Packet {
        let (ours, theirs) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
        Packet::request(Mac([2, 0, 0, 0, 0, 1]), ours, theirs)
    }

    #[test]
    fn a_reply_answers_what_was_asked() {
        let mac = Mac([2, 0, 0, 0, 0, 2]);
        let reply = sample().reply(mac);
        assert_eq!((reply.operation, reply.sender_mac), (Operation::Reply, mac));
        assert_eq!(reply.sender_ip, sample().target_ip);
        assert_eq!((reply.target_mac, reply.target_ip), (sample().sender_mac, sample().sender_ip));
    }

    #[test]
    fn agrees_with_etherparse() {
        let bytes = sample().to_bytes();
        let oracle = etherparse::ArpPacketSlice::from_slice(&bytes).unwrap();
        assert_eq!(oracle.operation(), etherparse::ArpOperation::REQUEST);
        assert_eq!(oracle.sender_hw_addr(), sample().sender_mac.0);
        assert_eq!(oracle.sender_protocol_addr(), sample().sender_ip.octets());
        assert_eq!(oracle.target_protocol_addr(), sample().target_ip.octets());
    }

    #[test]
    fn other_networks_are_refused() {
        for at in 0..8 {
            let mut bytes = sample().to_bytes();
            bytes[at] ^= 0x40;
            assert_eq!(Packet::parse(&bytes), Err(Malformed::Protocol), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_comes_back(
            mut bytes in prop::collection::vec(any::<u8>(), 0..40), op in 1u8..3
        ) {
            if bytes.len() >= 8 {
                bytes[..6].copy_from_slice(&ETHERNET_IPV4);
                bytes[6..8].copy_from_slice(&[0, op]);
            }
            match Packet::parse(&bytes) {
                Ok(packet) => prop_assert_eq!(&packet.to_bytes()[..], &bytes[..PACKET_LEN]),
                Err(_) => prop_assert!(bytes.len() < PACKET_LEN),
            }
        }
    }
}
