//! Who speaks without being the peer: worth a line in the log, but not one for each datagram.

use replication::Path;

use crate::events::Event;
use crate::message::MessageError;

/// Least time between two events, in µs: whoever floods a node must not flood its log.
const INTERVAL_US: u64 = 10_000_000;

#[derive(Debug, Default)]
pub(super) struct Intrusions {
    /// Refused since the last event.
    refused: u64,
    quiet_until_us: u64,
}

impl Intrusions {
    /// Notes a refusal, and says what the log should be told of it, if anything.
    pub fn note(&mut self, now_us: u64, path: Path, error: MessageError) -> Option<Event> {
        let key = match error {
            MessageError::UnknownKey(key) => Some(key),
            MessageError::Unauthentic => None,
            // The peer itself may do these, or the network.
            _ => return None,
        };
        self.refused += 1;
        if now_us < self.quiet_until_us {
            return None;
        }
        self.quiet_until_us = now_us + INTERVAL_US;
        Some(Event::Intrusion { path, key, refused: std::mem::take(&mut self.refused) })
    }
}

#[cfg(test)]
mod tests {
    use replication::KeyId;

    use super::*;

    #[test]
    fn a_flood_of_refusals_is_told_now_and_then_with_its_size() {
        let mut intrusions = Intrusions::default();
        let unknown = MessageError::UnknownKey(KeyId(7));
        let first = intrusions.note(0, Path::Lan, unknown);
        let told = |key, refused| Some(Event::Intrusion { path: Path::Lan, key, refused });
        assert_eq!(first, told(Some(KeyId(7)), 1));
        for now_us in 1..=1_000 {
            assert_eq!(intrusions.note(now_us, Path::Lan, unknown), None);
        }
        let next = intrusions.note(INTERVAL_US, Path::Lan, MessageError::Unauthentic);
        assert_eq!(next, told(None, 1_001));
        assert_eq!(intrusions.note(3 * INTERVAL_US, Path::Lan, MessageError::Replayed), None);
    }
}
