//! TCP: RFC 9293, and what the other RFCs add to it. Pure state: a segment or a deadline comes in,
//! marks on the connection say what must leave, and [`output`] lets it leave.
//!
//! Start at `input` (RFC 9293 3.10.7), then `ack`, `established` and `output`.

pub(crate) mod ack;
mod challenge;
pub(crate) mod check;
pub(crate) mod congestion;
pub(crate) mod cookie;
pub(crate) mod ecn;
pub(crate) mod established;
pub(crate) mod heir;
pub(crate) mod input;
pub(crate) mod isn;
pub(crate) mod judge;
pub(crate) mod kick;
pub(crate) mod output;
pub(crate) mod path;
pub(crate) mod rack;
pub(crate) mod receive;
pub(crate) mod recovery;
pub(crate) mod rto;
pub(crate) mod save;
pub(crate) mod scoreboard;
mod state;
pub(crate) mod stream;
pub(crate) mod tcb;
pub(crate) mod timers;
pub(crate) mod transmit;
pub(crate) mod urgent;

pub(crate) use challenge::{ChallengeLimit, challenge};
pub use state::State;

use crate::buffer::Buffers;
use crate::config::{Config, ServiceConfig};
use crate::content::Content;
use crate::counters::Counters;
use crate::digest::Digest;
use crate::time::Instant;
use scoreboard::SentSlab;
use tcb::Tcb;

/// What the connections of a shard share and change.
#[derive(Debug)]
pub(crate) struct Shared {
    pub buffers: Buffers,
    pub sent: SentSlab,
    pub counters: Counters,
    pub digest: Digest,
    pub challenges: ChallengeLimit,
    /// When this node took the shard over from one that died, if it did.
    pub took_over_at: Option<Instant>,
    /// The slot of the connection whose turn it is to send.
    pub turn: u32,
    /// Where the stream pattern of a packet is made; as long as the MTU.
    pub scratch: Vec<u8>,
}

/// What a connection is handled with: the step's time, the configuration, what is shared.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub now: Instant,
    pub config: &'a Config,
    pub content: &'a Content,
    pub shared: &'a mut Shared,
}

impl<'a> Context<'a> {
    /// The same for a while.
    #[inline]
    pub(crate) fn reborrow(&mut self) -> Context<'_> {
        Context { shared: &mut *self.shared, ..*self }
    }

    /// From now on it is this connection that takes and frees blocks.
    #[inline]
    pub(crate) fn bill(&mut self, tcb: &Tcb) {
        self.shared.buffers.blocks.bill(tcb.service);
    }

    #[inline]
    pub(crate) fn service(&self, tcb: &Tcb) -> &'a ServiceConfig {
        &self.config.services[usize::from(tcb.service)]
    }
}
