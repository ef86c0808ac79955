//! What a shard counts. Part of the replicated state: a replica counts the same.

use crate::snapshot::{Reader, Snapshot, SnapshotError, Writer};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Events since the shard was made.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Name and value of each counter, in the order of their declaration.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }

        impl Snapshot for Counters {
            fn save(&self, out: &mut Writer<'_>) {
                $(out.u64(self.$name);)*
            }

            fn restore(input: &mut Reader<'_>) -> Result<Counters, SnapshotError> {
                Ok(Counters { $($name: input.total(stringify!($name))?,)* })
            }
        }
    };
}

counters! {
    /// Segments that came in.
    segments_in,
    /// Packets that went out.
    packets_out,
    /// Payload bytes accepted in order.
    bytes_in,
    /// Payload bytes sent for the first time.
    bytes_out,
    /// Connections that peers opened.
    passive_opens,
    /// Connections that we opened.
    active_opens,
    /// Handshakes that were completed.
    established,
    /// Connections that ended with both FINs.
    closed,
    /// Connections that the peer reset.
    resets_received,
    /// RSTs that we sent for connections.
    resets_sent,
    /// RSTs that we sent for segments without a connection (RFC 9293 3.10.7.1).
    stray_resets_sent,
    /// Segments without a connection that got no answer.
    strays_dropped,
    /// Segments sent again.
    retransmissions,
    /// Fast recoveries entered.
    recoveries,
    /// Retransmission timeouts.
    timeouts,
    /// Recoveries and timeouts that turned out to be needless and were undone (RFC 3522, RFC 5682).
    undone,
    /// Windows reduced for the peer's echo of a mark (RFC 3168 6.1.2).
    ecn_reductions,
    /// Segments that came with a mark (RFC 3168 6.1.3).
    ecn_marks,
    /// Times that ICMP lowered the path MTU of a connection (RFC 1191), or told that a probe of it
    /// was too large.
    path_mtu_told,
    /// Segment sizes lowered for full segments that vanish (RFC 4821 7.7).
    black_holes,
    /// Larger segments sent to see whether the path takes them (RFC 4821 7.3).
    mtu_probes,
    /// Active opens that ICMP ended (RFC 1122 4.2.3.9).
    icmp_aborts,
    /// ICMP errors that changed nothing.
    icmp_ignored,
    /// Tail loss probes sent (RFC 8985).
    tail_loss_probes,
    /// Zero-window probes sent.
    window_probes,
    /// Keepalive probes sent.
    keepalive_probes,
    /// Challenge ACKs sent (RFC 5961).
    challenge_acks,
    /// Challenge ACKs that the rate limit held back (RFC 5961 7).
    challenge_acks_limited,
    /// Segments outside of the receive window.
    out_of_window,
    /// Segments dropped by PAWS (RFC 7323 5).
    paws_rejected,
    /// Segments that came before their turn.
    out_of_order,
    /// Segments whose bytes we had already.
    duplicates,
    /// Connections that began with the answer to a SYN cookie.
    cookies_accepted,
    /// Half-open connections given up for newer ones, for the service's backlog was full.
    half_open_recycled,
    /// TIME-WAITs cut short to make room for a new connection.
    time_wait_recycled,
    /// Segments dropped, for no buffer block was free.
    pool_exhausted,
    /// Out-of-order segments dropped, for reassembly was full.
    reassembly_full,
    /// Times that no scoreboard entry was free for a segment.
    scoreboard_exhausted,
    /// Connections given up after too many retransmissions.
    gave_up,
    /// Connections given up after too many unanswered keepalives.
    keepalive_timeouts,
    /// Connections given up after the service's idle timeout.
    idle_timeouts,
    /// Connections that a service aborted.
    aborts,
    /// Packets sent by takeover kicks.
    kicks,
    /// Segments that acknowledged what a former primary had sent, and we had not.
    ahead,
}
