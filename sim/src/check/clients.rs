//! The same rules for clients that have our engine: what they say is ours, too.
//!
//! Seen from there the service is the peer. So its SYN-ACK begins the connection, and the client's
//! SYN, which was first, counts as the answer.

use std::collections::BTreeMap;

use super::Key;
use super::connection::{Connection, Speaker};
use super::segment::{Segment, flags};
use crate::coverage::Coverage;
use crate::net::Frame;

/// A client does not change.
const SPEAKER: Speaker = Speaker { epoch: 1, run: 1 };

/// Connections of clients with our engine.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    /// The SYN of each client, as it last left.
    asked: BTreeMap<Key, Segment>,
    connections: BTreeMap<Key, Connection>,
    /// What is counted is counted of services.
    uncounted: Coverage,
}

impl Clients {
    /// A frame reaches such a client.
    pub fn received(&mut self, now_ns: u64, frame: &Frame) {
        if frame.damaged {
            return;
        }
        let Ok(Some(segment)) = Segment::parse(&frame.bytes) else { return };
        let key = (segment.destination.0, segment.destination.1, segment.source.1);
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.client_heard(now_ns, &segment);
            return;
        }
        let Some(syn) = self.asked.get(&key) else { return };
        let answers = segment.has(flags::SYN) && segment.ack == syn.seq.wrapping_add(1);
        if !answers {
            return;
        }
        let mut connection = Connection::new(now_ns, &segment, SPEAKER);
        let as_answer = Segment {
            flags: syn.flags | flags::ACK,
            ack: segment.seq.wrapping_add(1),
            scale: syn.scale.and(segment.scale).and(syn.scale),
            sack_permitted: segment.sack_permitted,
            timestamps: segment.timestamps.map(|(value, echo)| (echo, value)),
            ..syn.clone()
        };
        let begun = connection.service_spoke(now_ns, &as_answer, SPEAKER, &mut self.uncounted);
        if begun.is_ok() {
            connection.client_heard(now_ns, &segment);
            self.connections.insert(key, connection);
        }
    }

    /// A frame leaves such a client.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn sent(&mut self, now_ns: u64, frame: &[u8]) -> Result<(), String> {
        let Some(segment) = Segment::parse(frame)? else { return Ok(()) };
        let key = (segment.source.0, segment.source.1, segment.destination.1);
        if segment.has(flags::SYN) {
            self.asked.insert(key, segment);
            return Ok(());
        }
        let Some(connection) = self.connections.get_mut(&key) else { return Ok(()) };
        let verdict = connection.service_spoke(now_ns, &segment, SPEAKER, &mut self.uncounted);
        verdict.map_err(|wrong| format!("{wrong}\n  {}", segment.describe()))?;
        Ok(())
    }
}
