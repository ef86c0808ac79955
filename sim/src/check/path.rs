//! What routers said of one connection's packets, and whether it was heeded.

use std::net::IpAddr;

use super::Key;
use super::segment::Segment;
use crate::time::{MS, S};
use crate::wire::{ICMP, ICMPV6, Packet, be16, be32};

/// A node that was told has formed its last long packet by then, and the gate has released it.
const HEEDED_NS: u64 = 3 * S;
/// A longer packet may try again after this (RFC 1191 section 6.3 says more; where no router had
/// spoken before, the stack tries after a minute).
const TRIES_AGAIN_NS: u64 = 50 * S;

/// What is known of a connection's path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Path {
    told: Option<Told>,
    flow_label: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    mtu: usize,
    at_ns: u64,
    run: u64,
}

impl Path {
    /// A router has told a run of a node that its path takes `mtu` bytes.
    pub fn told(&mut self, now_ns: u64, mtu: usize, run: u64) {
        self.told = Some(Told { mtu, at_ns: now_ns, run });
    }

    /// A segment of the service leaves a node.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn service_spoke(
        &mut self,
        now_ns: u64,
        segment: &Segment,
        run: u64,
    ) -> Result<(), String> {
        // RFC 6437 section 2: one flow has one label. It does not change with a takeover.
        let label = *self.flow_label.get_or_insert(segment.flow_label);
        if label != segment.flow_label {
            return Err(format!("the flow label was {label:#x}, and is another now"));
        }
        let Some(told) = self.told.filter(|told| told.run == run) else { return Ok(()) };
        let ago_ns = now_ns.saturating_sub(told.at_ns);
        if segment.packet_len > told.mtu && (HEEDED_NS..TRIES_AGAIN_NS).contains(&ago_ns) {
            return Err(format!(
                "a packet of {} bytes, {} ms after a router said that the path takes {}",
                segment.packet_len,
                ago_ns / MS,
                told.mtu
            ));
        }
        Ok(())
    }
}

/// Which connection a router's message is about, and what its path takes; 0 if that was not said.
pub(super) fn too_big(frame: &[u8]) -> Option<(Key, usize)> {
    let packet = Packet::parse(frame).ok()??;
    packet.check_sum().ok()?;
    let message = packet.payload.get(..8)?;
    let mtu = match (packet.protocol, message[0], message[1]) {
        (ICMP, 3, 4) => be32(message, 4) & 0xffff,
        (ICMPV6, 2, _) => be32(message, 4),
        _ => return None,
    };
    let quoted = &packet.payload[8..];
    let (addresses, ports_at) = if packet.protocol == ICMP { (16, 20) } else { (24, 40) };
    let ports = quoted.get(ports_at..ports_at + 4)?;
    let client = match packet.source {
        IpAddr::V4(_) => IpAddr::from(<[u8; 4]>::try_from(&quoted[addresses..ports_at]).ok()?),
        IpAddr::V6(_) => IpAddr::from(<[u8; 16]>::try_from(&quoted[addresses..ports_at]).ok()?),
    };
    Some(((client, be16(ports, 2), be16(ports, 0)), mtu as usize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Frame, Router};

    #[test]
    fn a_router_names_the_connection() {
        for (kind, client, head) in [([8, 0], "10.77.0.10", 20), ([0x86, 0xdd], "fd4d::a", 40)] {
            let client: IpAddr = client.parse().unwrap();
            let mut ip = vec![0; head];
            match client {
                IpAddr::V4(v4) => {
                    ip[0] = 0x45;
                    ip[2..4].copy_from_slice(&1420_u16.to_be_bytes());
                    ip[9] = 6;
                    ip[16..].copy_from_slice(&v4.octets());
                }
                IpAddr::V6(v6) => {
                    ip[0] = 0x60;
                    ip[4..6].copy_from_slice(&1400_u16.to_be_bytes());
                    ip[6] = 6;
                    ip[24..].copy_from_slice(&v6.octets());
                }
            }
            let tcp = [&[0, 80, 0x9c, 0x40][..], &[0; 1396]].concat();
            let mut frame = [&[2; 12][..], &kind, &ip, &tcp].concat();
            crate::wire::set_ecn(&mut frame, 0);
            let told = Router::Tells.answer(&Frame::new(frame), 1300).unwrap();
            assert_eq!(too_big(&told.bytes), Some(((client, 40_000, 80), 1300)));
        }
    }

    #[test]
    fn a_router_is_heeded_for_a_while() {
        let segment = |packet_len| Segment { packet_len, ..Segment::default() };
        let mut path = Path::default();
        path.told(S, 1300, 1);
        assert!(path.service_spoke(2 * S, &segment(1500), 1).is_ok(), "it may not know yet");
        assert!(path.service_spoke(5 * S, &segment(1300), 1).is_ok());
        assert!(path.service_spoke(5 * S, &segment(1301), 1).is_err());
        assert!(path.service_spoke(5 * S, &segment(1301), 2).is_ok(), "nobody told this one");
        assert!(path.service_spoke(99 * S, &segment(1500), 1).is_ok());
    }

    #[test]
    fn a_flow_has_one_label() {
        let segment = |flow_label| Segment { flow_label, ..Segment::default() };
        let mut path = Path::default();
        assert!(path.service_spoke(0, &segment(7), 1).is_ok());
        assert!(path.service_spoke(0, &segment(8), 2).is_err());
    }
}
