//! What a node answers by itself: ARP, ICMP echo, and a reset where no service listens; neighbour
//! discovery is in `discover`. None of it is logged or gated: it depends on no shard.

use std::ops::Range;

use engine::addr::Addr;
use engine::wire::arp::{Operation, Packet};
use engine::wire::ethernet::{self, Mac};
use engine::wire::segment::{self, Segment};
use engine::wire::{Checksums, icmpv4, icmpv6};
use replication::Path;

use crate::counters::Counters;
use crate::nic::{Frame, Nic};
use crate::poll::Worker;
use crate::port::Port;
use crate::spread::Parcel;
use crate::steward::Steward;
use crate::switchover::came_to;

/// How long after the claim a switch that learned the service's address is told where that is.
const TEACHING_US: u64 = 1_000_000;

impl<N: Nic, S: Steward> Worker<N, S> {
    /// Learns from an ARP packet and answers it if it asks for an address that we own at the
    /// moment.
    pub(crate) fn answer_arp(&mut self, now_us: u64, path: Path, packet: &Packet) {
        let (sender, target) = (packet.sender_ip.into(), packet.target_ip.into());
        let vips = &self.lan_local.vips;
        let for_service = path == Path::Lan && vips.contains(&target);
        let ours = path == Path::Lan && vips.contains(&sender);
        let serving = self.serving();
        let silent = path == Path::Lan && self.is_silent();
        let (port, local) = match path {
            Path::Lan => (&mut self.lan, &self.lan_local),
            Path::Link(link) => {
                let end = &mut self.links[link.place()];
                (&mut end.port, &end.local)
            }
        };
        let for_node = local.own.contains(&target);
        // RFC 826 learns from what is for us; a backup also learns from who asks for the service,
        // so that it knows the clients when it takes over.
        let neighbour = port.net.on_link(sender) && !ours && !local.own.contains(&sender);
        if (for_node || for_service) && neighbour {
            let mac = packet.sender_mac;
            port.learn(now_us, sender, mac, &mut self.counters);
            self.spread.hand_to_all(|| Parcel::Learned(path, sender, mac));
        }
        if packet.operation != Operation::Request {
            if path == Path::Lan && for_node {
                self.hear_answer(sender);
            }
            return;
        }
        let (from, mac) = if for_service && serving {
            (port.service_mac, self.node.vmac)
        } else if for_node && (!silent || port.net.is_peer(sender)) {
            // Silence is for the service's sake; the peers must be able to tell us our epoch.
            (port.mac, port.mac)
        } else {
            return;
        };
        let reply = packet.reply(mac);
        if port.send_arp(from, packet.sender_mac, &reply, &mut self.counters) {
            self.counters.arp_replies += 1;
        }
    }

    /// Tells the LAN where the service addresses are, when that is due.
    pub(crate) fn announce(&mut self, now_us: u64) {
        if !self.announcer.as_mut().is_some_and(|announcer| announcer.due(now_us)) {
            return;
        }
        let vmac = self.node.vmac;
        let from = self.announces_from(now_us);
        for at in 0..self.lan_local.vips.len() {
            match self.lan_local.vips[at].as_ipv4() {
                Some(vip) => {
                    let packet = Packet::announcement(vmac, vip);
                    if self.lan.send_arp(from, Mac::BROADCAST, &packet, &mut self.counters) {
                        self.counters.gratuitous_arps += 1;
                    }
                }
                None => self.advertise(self.lan_local.vips[at], from),
            }
        }
        self.report_groups(Path::Lan);
    }

    /// The source of an announcement. Where the switch is to flood it must not learn the service's
    /// address, unless it did already: then it has to learn where that is now, and may forget it in
    /// time.
    fn announces_from(&self, now_us: u64) -> Mac {
        let claimed_us = self.claimed_us.unwrap_or(now_us);
        let teaches = self.flooding.missed && now_us.saturating_sub(claimed_us) <= TEACHING_US;
        if teaches && self.node.vmac.is_unicast() { self.node.vmac } else { self.lan.service_mac }
    }

    /// Turns an echo request around in its own frame.
    pub(crate) fn answer_icmp(
        &mut self,
        now_us: u64,
        path: Path,
        mut frame: N::Frame,
        service: bool,
    ) {
        if service && !self.serving() || path == Path::Lan && self.is_silent() {
            self.counters.drop_not_serving += 1;
            return;
        }
        if !self.echo_limit.allows(now_us) {
            self.counters.drop_rate_limited += 1;
            return;
        }
        let bytes = frame.bytes_mut();
        let (link, packet) = bytes.split_at_mut(ethernet::HEADER_LEN);
        let reply = match packet.first() {
            Some(first) if first >> 4 == 6 => icmpv6::reply_in_place(packet),
            _ => icmpv4::reply_in_place(packet),
        };
        let Ok(len) = reply else {
            self.counters.drop_protocol += 1;
            return;
        };
        let port = match path {
            Path::Lan => &mut self.lan,
            Path::Link(link) => &mut self.links[link.place()].port,
        };
        let source = if service { port.service_mac } else { port.mac };
        answer_link(link, source);
        frame.reuse();
        frame.truncate(ethernet::HEADER_LEN + len);
        port.push(frame, &mut self.counters);
        self.counters.echo_replies += 1;
    }

    /// Answers a segment for a port on which nothing listens (RFC 9293 3.10.7.1).
    pub(crate) fn refuse_segment(&mut self, now_us: u64, frame: &N::Frame, packet: Range<usize>) {
        if !self.reset_limit.allows(now_us) {
            self.counters.drop_rate_limited += 1;
            return;
        }
        let bytes = frame.bytes();
        let Ok(segment) = Segment::parse(&bytes[packet], Checksums::Trusted) else { return };
        let mut reset = [0; segment::RESET_LEN];
        let len = segment::reset_for(&segment, &mut reset);
        if len == 0 {
            return;
        }
        let Worker { lan, counters, .. } = self;
        if return_to_sender(lan, frame, &reset[..len], counters) {
            counters.resets += 1;
        }
    }
}

/// Sends a packet to the MAC address that `frame` came from. Nobody is asked for the way: who sent
/// `frame` may not exist. One that the peer passed on came from elsewhere; its sender is answered
/// if the way to it is known.
pub(crate) fn return_to_sender<N: Nic>(
    lan: &mut Port<N>,
    frame: &N::Frame,
    packet: &[u8],
    counters: &mut Counters,
) -> bool {
    let mut link = [0; ethernet::HEADER_LEN];
    link.copy_from_slice(&frame.bytes()[..ethernet::HEADER_LEN]);
    if came_to(frame, lan.mac) {
        let hop = destination_of(packet).map(|destination| lan.net.next_hop(destination));
        let Some(mac) = hop.and_then(|hop| lan.neighbours.known_mac(hop)) else {
            counters.drop_neighbour_silent += 1;
            return false;
        };
        link[6..12].copy_from_slice(&mac.0);
    }
    answer_link(&mut link, lan.service_mac);
    send(lan, &[&link, packet], counters)
}

/// Where an IP packet that we made goes to.
fn destination_of(packet: &[u8]) -> Option<Addr> {
    match packet.first()? >> 4 {
        6 => packet.get(24..40)?.try_into().ok().map(Addr::from_octets),
        _ => packet.get(16..20)?.try_into().ok().map(Addr::from_ipv4_octets),
    }
}

/// Turns an Ethernet header around.
fn answer_link(header: &mut [u8], source: Mac) {
    header.copy_within(6..12, 0);
    header[6..12].copy_from_slice(&source.0);
}

fn send<N: Nic>(port: &mut Port<N>, parts: &[&[u8]], counters: &mut Counters) -> bool {
    let Some(mut frame) = port.nic.allocate() else {
        counters.drop_no_frame += 1;
        return false;
    };
    let whole = parts.iter().all(|part| frame.append(part));
    if whole {
        port.push(frame, counters);
    }
    whole
}
