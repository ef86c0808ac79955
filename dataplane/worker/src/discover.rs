//! Neighbour discovery (RFC 4861) as a node takes part in it, and the reports that keep switches
//! sending it solicitations (RFC 3810). As ARP, none of it is logged or gated.
//!
//! The service address is claimed without asking whether it is free (RFC 4862 5.4 would have the
//! clients wait for a second): by configuration nobody else has it, and the claim is for whoever
//! won the epoch. A host that asks before it takes one of our addresses is told that it is taken.

use std::net::Ipv6Addr;

use arrayvec::ArrayVec;
use engine::addr::Addr;
use engine::wire::ethernet::{ETHERTYPE_IPV6, Mac};
use engine::wire::ndp::{Advertisement, Message, Solicitation};
use engine::wire::{ipv6, mld};
use replication::Path;

use crate::nic::Nic;
use crate::poll::Worker;
use crate::spread::Parcel;
use crate::steward::Steward;

impl<N: Nic, S: Steward> Worker<N, S> {
    /// Learns from what a neighbour says, and answers it if it asks for an address that we own at
    /// the moment. `service`: it is about a service address.
    pub(crate) fn answer_neighbour(
        &mut self,
        now_us: u64,
        path: Path,
        from: Mac,
        service: bool,
        message: &Message,
    ) {
        match message {
            Message::Solicitation(asked) => {
                self.answer_solicitation(now_us, path, from, service, asked);
            }
            // The serving node's announcement, which changes nothing here.
            Message::Advertisement(_) if service => {}
            Message::Advertisement(told) => {
                self.hear_advertisement(now_us, path, told);
                if path == Path::Lan && told.solicited {
                    self.hear_answer(told.target.into());
                }
            }
        }
    }

    fn answer_solicitation(
        &mut self,
        now_us: u64,
        path: Path,
        from: Mac,
        service: bool,
        asked: &Solicitation,
    ) {
        let serving = self.serving();
        let silent = path == Path::Lan && self.is_silent();
        let source = Addr::from(asked.source);
        let probe = asked.source.is_unspecified();
        let port = match path {
            Path::Lan => &mut self.lan,
            Path::Link(link) => &mut self.links[link.place()].port,
        };
        // Like ARP, a backup learns from who asks for the service, so that it knows the clients
        // when it takes over.
        if let Some(mac) = asked.source_mac
            && port.net.on_link(source)
        {
            port.learn(now_us, source, mac, &mut self.counters);
            self.spread.hand_to_all(|| Parcel::Learned(path, source, mac));
        }
        let (sender, mac) = if service && serving {
            (port.service_mac, self.node.vmac)
        } else if !service && (!silent || port.net.is_peer(source)) {
            // Silence is for the service's sake; the peers must be able to tell us our epoch.
            (port.mac, port.mac)
        } else {
            return;
        };
        let answer = Advertisement {
            target: asked.target,
            target_mac: Some(mac),
            solicited: !probe,
            replaces: true,
        };
        // RFC 4861 7.2.4: who has no address yet is answered together with everybody else.
        let (destination, link) = match probe {
            true => (ipv6::ALL_NODES, Mac::of_group(ipv6::ALL_NODES)),
            false => (asked.source, asked.source_mac.unwrap_or(from)),
        };
        let packet = answer.to_bytes(destination);
        if port.send_packet(sender, link, ETHERTYPE_IPV6, &packet, &mut self.counters) {
            self.counters.neighbour_advertisements += 1;
        }
    }

    /// RFC 4861 7.2.5. Any worker may have asked, so an answer counts for all of them.
    fn hear_advertisement(&mut self, now_us: u64, path: Path, told: &Advertisement) {
        let (Some(mac), address) = (told.target_mac, Addr::from(told.target)) else { return };
        let port = match path {
            Path::Lan => &mut self.lan,
            Path::Link(link) => &mut self.links[link.place()].port,
        };
        let heeded = match port.neighbours.known_mac(address) {
            Some(known) => told.replaces || known == mac,
            None => told.solicited,
        };
        if heeded && port.net.on_link(address) {
            port.learn(now_us, address, mac, &mut self.counters);
            self.spread.hand_to_all(|| Parcel::Learned(path, address, mac));
        }
    }

    /// Tells all nodes of the LAN that a service address is at our VMAC (RFC 4861 7.2.6).
    pub(crate) fn advertise(&mut self, vip: Addr, from: Mac) {
        let vmac = self.node.vmac;
        let told = Advertisement {
            target: vip.octets().into(),
            target_mac: Some(vmac),
            solicited: false,
            replaces: true,
        };
        let packet = told.to_bytes(ipv6::ALL_NODES);
        let group = Mac::of_group(ipv6::ALL_NODES);
        if self.lan.send_packet(from, group, ETHERTYPE_IPV6, &packet, &mut self.counters) {
            self.counters.unsolicited_advertisements += 1;
        }
    }

    /// Reports the groups in which solicitations for our addresses come, to switches that forward
    /// by listener: those of the service addresses while this node serves.
    pub(crate) fn report_groups(&mut self, path: Path) {
        if path == Path::Lan && self.is_silent() {
            return;
        }
        let serving = self.serving();
        let (port, local) = match path {
            Path::Lan => (&mut self.lan, &self.lan_local),
            Path::Link(link) => {
                let end = &mut self.links[link.place()];
                (&mut end.port, &end.local)
            }
        };
        let Some(source) = local.link_local else { return };
        let vips = local.vips.iter().filter(|_| serving);
        let mut groups: ArrayVec<Ipv6Addr, { mld::MAX_GROUPS }> = ArrayVec::new();
        for address in local.own.iter().chain(vips).filter(|address| !address.is_ipv4()) {
            let group = ipv6::solicited_node(*address);
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        let mut packet = [0; mld::MAX_PACKET_LEN];
        let len = mld::report(source, &groups, &mut packet);
        let to = Mac::of_group(mld::ALL_ROUTERS);
        if port.send_packet(port.mac, to, ETHERTYPE_IPV6, &packet[..len], &mut self.counters) {
            self.counters.listener_reports += 1;
        }
    }
}
