//! What a worker counts: plain integers of its own, copied out when somebody asks.

use replication::Link;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Totals since the worker started. `drop_*` says why a frame went no further.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Each counter with its name, in the order of the list.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                [$((stringify!($name), self.$name),)*].into_iter()
            }

            /// Adds another worker's totals.
            pub fn add(&mut self, other: &Counters) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counters! {
    /// Loops of the worker.
    loops,
    /// Loops that found something to do.
    busy_loops,
    /// Loop gaps longer than the detection timeout.
    stalls,
    /// Frames received on the service LAN.
    lan_rx_frames,
    /// Bytes of them.
    lan_rx_bytes,
    /// Frames handed to the service LAN's port.
    lan_tx_frames,
    /// Bytes of them.
    lan_tx_bytes,
    /// Frames received on the link.
    link_rx_frames,
    /// Bytes of them.
    link_rx_bytes,
    /// Frames handed to the link's port.
    link_tx_frames,
    /// Bytes of them.
    link_tx_bytes,
    /// Frames received on the second link.
    second_link_rx_frames,
    /// Bytes of them.
    second_link_rx_bytes,
    /// Frames handed to the second link's port.
    second_link_tx_frames,
    /// Bytes of them.
    second_link_tx_bytes,
    /// Logs that went on over another link than before, or their confirmations.
    logs_moved,
    /// Steps of shards on live input.
    steps,
    /// Segments given to those steps.
    segments,
    /// Segments of no connection that were kept from the log, answered or not.
    strangers,
    /// Segments of connections that would have changed nothing, kept from the log while many came.
    suspects,
    /// Packets that those steps emitted.
    packets,
    /// Of these, the ones that left before what they follow from was safe (commit rule SWFR).
    packets_early,
    /// Shards handed over to a node that joined.
    shards_given,
    /// Shards taken in while joining.
    shards_taken,
    /// Log batches closed, of each log.
    batches,
    /// Log records applied as a backup.
    records_applied,
    /// Segments in those records.
    segments_applied,
    /// Log records that another backup gave, which this one lacked (commit rule quorum).
    records_gathered,
    /// Digests compared and found equal.
    digests_equal,
    /// Log records that could not be applied.
    records_refused,
    /// Loops in which a shard had to wait for other nodes to confirm.
    back_pressure_loops,
    /// ARP requests sent.
    arp_requests,
    /// ARP replies sent.
    arp_replies,
    /// Gratuitous ARP frames sent.
    gratuitous_arps,
    /// Neighbour solicitations sent (RFC 4861).
    neighbour_solicitations,
    /// Neighbour advertisements sent in answer to one.
    neighbour_advertisements,
    /// Neighbour advertisements sent unasked, for the service addresses.
    unsolicited_advertisements,
    /// Multicast listener reports sent (RFC 3810).
    listener_reports,
    /// ICMP and ICMPv6 echo replies sent.
    echo_replies,
    /// ICMP errors given to shards.
    icmp_errors,
    /// Stateless resets sent for ports without a service.
    resets,
    /// Segments passed on to the peer, to which this node had handed the service over.
    passed_on,
    /// Frames handed to another worker.
    handed_over,
    /// Frames of clients that were kept while another node served.
    kept,
    /// Kept frames that were taken in after a takeover.
    replayed,
    /// Not addressed to this node: flooded by the switch.
    drop_not_for_us,
    /// Shorter or longer than its headers say, or with fields that no host sends.
    drop_malformed,
    /// VLAN-tagged.
    drop_vlan,
    /// IPv4 and IPv6 fragments.
    drop_fragment,
    /// IPv6 routing headers that want the packet sent on, and extension headers that must not be
    /// skipped.
    drop_extension_header,
    /// Checksum wrong, of whatever protocol.
    drop_checksum,
    /// Neither IPv4, IPv6 nor ARP.
    drop_ethertype,
    /// Neither TCP, UDP, ICMP echo nor neighbour discovery.
    drop_protocol,
    /// UDP to a port that is not ours.
    drop_udp_port,
    /// Source address that can't be a client's: group, broadcast or one of our own.
    drop_martian,
    /// For the service address while this node does not serve.
    drop_not_serving,
    /// Kept frames that the log had, too.
    drop_kept_logged,
    /// Kept frames pushed out by newer ones.
    drop_kept_full,
    /// A reset or echo reply that the rate limit held back.
    drop_rate_limited,
    /// ICMP errors that are damaged, about nothing that is in flight, without news, or too many.
    drop_icmp_error,
    /// No room for a segment while the peer was late to confirm.
    drop_back_pressure,
    /// The ring to the worker that owns the frame was full.
    drop_ring_full,
    /// The pool had no frame for a packet.
    drop_no_frame,
    /// No room for a packet that waits for its neighbour's address.
    drop_neighbour_waiting,
    /// The neighbour never answered.
    drop_neighbour_silent,
    /// The transmit queue was full.
    drop_tx_full,
    /// Packets of an ended role, discarded from the gate.
    drop_gate_discarded,
    /// Session datagrams refused: torn, corrupted, replayed, of another epoch, or without room.
    drop_session_datagram,
}

impl Counters {
    /// A frame of `bytes` came on `link`.
    pub(crate) fn received_on(&mut self, link: Link, bytes: usize) {
        let (frames, all_bytes) = match link {
            Link::First => (&mut self.link_rx_frames, &mut self.link_rx_bytes),
            Link::Second => (&mut self.second_link_rx_frames, &mut self.second_link_rx_bytes),
        };
        *frames += 1;
        *all_bytes += bytes as u64;
    }

    /// Frames that passed the service LAN's port, in both directions.
    pub(crate) fn lan_frames(&self) -> u64 {
        self.lan_rx_frames + self.lan_tx_frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up_by_name() {
        let mut sum = Counters { loops: 1, drop_vlan: 2, ..Counters::default() };
        sum.add(&Counters { loops: 10, ..Counters::default() });
        let named: Vec<_> = sum.iter().filter(|(_, value)| *value != 0).collect();
        assert_eq!(named, [("loops", 11), ("drop_vlan", 2)]);
    }
}
