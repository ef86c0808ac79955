//! Which state of a connection follows which, as far as that can be seen between two loops: what
//! happens within one loop is one transition.

use std::collections::BTreeMap;

use engine::tcp::State;

use crate::coverage::Coverage;

/// The steps of the state diagram that a service takes (RFC 9293 section 3.3.2, figure 5).
pub const OF_SERVICES: [&str; 12] = [
    "LISTEN -> SYN-RECEIVED",
    "SYN-RECEIVED -> ESTABLISHED",
    "ESTABLISHED -> FIN-WAIT-1",
    "ESTABLISHED -> CLOSE-WAIT",
    "FIN-WAIT-1 -> FIN-WAIT-2",
    "FIN-WAIT-1 -> CLOSING",
    "FIN-WAIT-1 -> TIME-WAIT",
    "FIN-WAIT-2 -> TIME-WAIT",
    "CLOSING -> TIME-WAIT",
    "CLOSE-WAIT -> LAST-ACK",
    "LAST-ACK -> CLOSED",
    "TIME-WAIT -> CLOSED",
];

/// The connections that one party had when it was last looked at.
#[derive(Clone, Debug)]
pub struct States<K>(BTreeMap<K, State>);

impl<K> Default for States<K> {
    fn default() -> States<K> {
        States(BTreeMap::new())
    }
}

impl<K: Copy + Ord> States<K> {
    /// Counts what has become of them since. A new connection comes from `origin`.
    pub fn look(
        &mut self,
        kind: &'static str,
        origin: &str,
        now: impl Iterator<Item = (K, State)>,
        coverage: &mut Coverage,
    ) {
        let now: BTreeMap<K, State> = now.collect();
        let mut count = |from: &str, to: State| {
            if from != to.name() {
                coverage.count(kind, &format!("{from} -> {}", to.name()));
            }
        };
        for (key, state) in &now {
            count(self.0.get(key).map_or(origin, |before| before.name()), *state);
        }
        for (_, before) in self.0.iter().filter(|(key, _)| !now.contains_key(*key)) {
            count(before.name(), State::Closed);
        }
        self.0 = now;
    }

    /// What it held is lost, or not its own any more.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_counts_once_and_an_end_is_a_change() {
        let (mut states, mut coverage) = (States::default(), Coverage::default());
        let looks: [&[(u8, State)]; 4] = [
            &[(1, State::SynReceived), (2, State::Established)],
            &[(1, State::Established), (2, State::Established)],
            &[(1, State::Established), (2, State::TimeWait)],
            &[(1, State::Closed)],
        ];
        for look in looks {
            states.look("server", "LISTEN", look.iter().copied(), &mut coverage);
        }
        states.forget();
        states.look("server", "LISTEN", [].into_iter(), &mut coverage);
        let expected = [
            ("LISTEN -> SYN-RECEIVED", 1),
            ("LISTEN -> ESTABLISHED", 1),
            ("SYN-RECEIVED -> ESTABLISHED", 1),
            ("ESTABLISHED -> TIME-WAIT", 1),
            ("ESTABLISHED -> CLOSED", 1),
            ("TIME-WAIT -> CLOSED", 1),
            ("CLOSED -> CLOSED", 0),
        ];
        for (name, times) in expected {
            assert_eq!(coverage.get("server", name), times, "{name}");
        }
    }
}
