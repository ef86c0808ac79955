//! Multicast listener discovery, version 2 (RFC 3810): as much as a host needs to be heard by
//! switches that forward a group's frames only to its listeners.

use std::net::Ipv6Addr;

use super::{Checksums, Malformed, icmpv6, ipv6};

/// Where reports go: all routers that speak MLDv2, `ff02::16`.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

/// Groups in one report at most.
pub const MAX_GROUPS: usize = 32;
/// Longest report.
pub const MAX_PACKET_LEN: usize = RECORDS_AT + MAX_GROUPS * RECORD_LEN;

/// Hop limit of all messages (RFC 3810 section 5).
const HOP_LIMIT: u8 = 1;
/// Hop-by-hop options with the router alert for MLD (RFC 2711) and two bytes of padding.
const ROUTER_ALERT: [u8; 8] = [ipv6::PROTOCOL_ICMPV6, 0, 5, 2, 0, 0, 1, 0];
const MESSAGE_AT: usize = ipv6::HEADER_LEN + ROUTER_ALERT.len();
/// Type, code, checksum, two bytes that mean nothing and the number of records.
const RECORDS_AT: usize = MESSAGE_AT + 8;
const RECORD_LEN: usize = 20;
/// A record that joins a group: all sources but none in particular (RFC 3810 section 5.2.12).
const CHANGE_TO_EXCLUDE_MODE: u8 = 4;
/// Shortest query, that of version 1 (RFC 2710 section 3).
const MIN_QUERY_LEN: usize = 24;

/// Writes the L3 packet of a report that joins `groups`, and returns its length. `source` is a
/// link-local address of the sender (RFC 3810 section 5.2.13).
///
/// # Panics
/// If there are more than [`MAX_GROUPS`], or `out` is shorter than [`MAX_PACKET_LEN`].
pub fn report(source: Ipv6Addr, groups: &[Ipv6Addr], out: &mut [u8]) -> usize {
    assert!(groups.len() <= MAX_GROUPS, "a report has room for {MAX_GROUPS} groups");
    let len = RECORDS_AT + groups.len() * RECORD_LEN;
    let packet = &mut out[..len];
    packet.fill(0);
    let header = ipv6::Header {
        source,
        destination: ALL_ROUTERS,
        protocol: ipv6::HOP_BY_HOP,
        hop_limit: HOP_LIMIT,
        traffic_class: 0,
        flow_label: 0,
    };
    packet[..ipv6::HEADER_LEN].copy_from_slice(&header.to_bytes((len - ipv6::HEADER_LEN) as u16));
    packet[ipv6::HEADER_LEN..MESSAGE_AT].copy_from_slice(&ROUTER_ALERT);
    packet[MESSAGE_AT] = icmpv6::MULTICAST_LISTENER_REPORT;
    packet[RECORDS_AT - 2..RECORDS_AT].copy_from_slice(&(groups.len() as u16).to_be_bytes());
    for (record, group) in packet[RECORDS_AT..].chunks_exact_mut(RECORD_LEN).zip(groups) {
        record[0] = CHANGE_TO_EXCLUDE_MODE;
        record[4..].copy_from_slice(&group.octets());
    }
    icmpv6::finish(packet, MESSAGE_AT);
    len
}

/// Checks a query, of any version: whoever sends one wants to hear of all groups that we are in.
///
/// # Errors
/// It is no query that may be answered (RFC 3810 sections 5.1.14 and 6.2).
pub fn check_query(ip: &ipv6::Packet<'_>, checks: Checksums) -> Result<(), Malformed> {
    let (kind, _, bytes) = icmpv6::message(ip, checks)?;
    if kind != icmpv6::MULTICAST_LISTENER_QUERY {
        return Err(Malformed::Protocol);
    }
    if bytes.len() < MIN_QUERY_LEN {
        return Err(Malformed::Truncated);
    }
    if ip.header.hop_limit != HOP_LIMIT {
        return Err(Malformed::HopLimit);
    }
    if ip.header.source.is_unicast_link_local() { Ok(()) } else { Err(Malformed::Address) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoltcp_reads_a_report_as_it_was_meant() {
        use smoltcp::wire::{
            Icmpv6Packet, Icmpv6Repr, Ipv6Packet, MldAddressRecord, MldRecordType, MldRepr,
        };
        let source: Ipv6Addr = "fe80::1".parse().unwrap();
        let groups: Vec<Ipv6Addr> =
            ["ff02::1:ff00:64", "ff02::1:ff12:3456"].map(|group| group.parse().unwrap()).to_vec();
        let mut bytes = [0xaa; MAX_PACKET_LEN];
        let len = report(source, &groups, &mut bytes);
        let ip = Ipv6Packet::new_checked(&bytes[..len]).unwrap();
        assert_eq!((ip.hop_limit(), ip.dst_addr()), (1, ALL_ROUTERS));
        let router_alert_and_padding = [5, 2, 0, 0, 1, 0];
        assert_eq!(ip.payload()[..2], [ipv6::PROTOCOL_ICMPV6, 0]);
        assert_eq!(ip.payload()[2..8], router_alert_and_padding);
        let icmp = Icmpv6Packet::new_checked(&ip.payload()[8..]).unwrap();
        let checks = smoltcp::phy::ChecksumCapabilities::default();
        let parsed = Icmpv6Repr::parse(&source, &ALL_ROUTERS, &icmp, &checks).unwrap();
        let Icmpv6Repr::Mld(MldRepr::Report { nr_mcast_addr_rcrds, data }) = parsed else {
            panic!("{parsed:?}");
        };
        assert_eq!(nr_mcast_addr_rcrds, 2);
        for (bytes, group) in data.chunks(20).zip(groups) {
            let record = MldAddressRecord::new_checked(bytes).unwrap();
            assert_eq!(record.record_type(), MldRecordType::ChangeToExclude);
            assert_eq!((record.num_srcs(), record.mcast_addr()), (0, group));
        }
    }

    #[test]
    fn queries_are_checked() {
        let query = |source: &str, hop_limit, len: usize| {
            let header = ipv6::Header {
                source: source.parse().unwrap(),
                destination: ipv6::ALL_NODES,
                protocol: ipv6::HOP_BY_HOP,
                hop_limit,
                traffic_class: 0,
                flow_label: 0,
            };
            let mut message = vec![0; len];
            message[0] = icmpv6::MULTICAST_LISTENER_QUERY;
            let payload_len = (ROUTER_ALERT.len() + len) as u16;
            let mut bytes = [&header.to_bytes(payload_len)[..], &ROUTER_ALERT, &message].concat();
            icmpv6::finish(&mut bytes, MESSAGE_AT);
            check_query(&ipv6::Packet::parse(&bytes).unwrap(), Checksums::Verify)
        };
        assert_eq!(query("fe80::9", 1, 28), Ok(()));
        assert_eq!(query("fe80::9", 1, 24), Ok(()), "of version 1");
        assert_eq!(query("fe80::9", 1, 20), Err(Malformed::Truncated));
        assert_eq!(query("fe80::9", 2, 28), Err(Malformed::HopLimit));
        assert_eq!(query("fd77::9", 1, 28), Err(Malformed::Address));
    }
}
