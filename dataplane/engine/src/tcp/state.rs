//! Connection states (RFC 9293 3.3.2). LISTEN is not among them: a listener is a service in the
//! configuration, not a connection. CLOSED is a connection whose end is not yet swept up.

/// State of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum State {
    /// Over; perhaps a RST is still to be sent.
    Closed = 0,
    /// Our SYN is out.
    SynSent = 1,
    /// SYN received, ours (with the ACK) is out.
    SynReceived = 2,
    /// Data flows both ways.
    Established = 3,
    /// Our FIN is out, the peer may go on.
    FinWait1 = 4,
    /// Our FIN is acknowledged, the peer may go on.
    FinWait2 = 5,
    /// The peer's FIN is in, we may go on.
    CloseWait = 6,
    /// Both FINs are out, ours is not acknowledged.
    Closing = 7,
    /// The peer closed first, our FIN is out.
    LastAck = 8,
    /// Both directions are done; late segments are waited for.
    TimeWait = 9,
}

impl State {
    /// All states, in the order of their numbers.
    pub const ALL: [State; 10] = [
        State::Closed,
        State::SynSent,
        State::SynReceived,
        State::Established,
        State::FinWait1,
        State::FinWait2,
        State::CloseWait,
        State::Closing,
        State::LastAck,
        State::TimeWait,
    ];

    /// Inverse of `self as u8`.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<State> {
        State::ALL.get(usize::from(number)).copied()
    }

    /// Whether the handshake is done: the states from ESTABLISHED on.
    #[inline]
    #[must_use]
    pub fn is_synchronized(self) -> bool {
        self >= State::Established
    }

    /// Whether the peer may still send data that we take (RFC 9293 3.10.7.4, segment text).
    #[inline]
    #[must_use]
    pub fn can_receive(self) -> bool {
        matches!(self, State::Established | State::FinWait1 | State::FinWait2)
    }

    /// Whether data may leave for the first time: our FIN is not out yet.
    #[inline]
    #[must_use]
    pub fn can_send(self) -> bool {
        matches!(self, State::Established | State::CloseWait)
    }

    /// Next state when our FIN leaves.
    #[must_use]
    pub fn fin_sent(self) -> State {
        match self {
            State::Established => State::FinWait1,
            State::CloseWait => State::LastAck,
            other => other,
        }
    }

    /// Next state when our FIN is acknowledged.
    #[must_use]
    pub fn fin_acknowledged(self) -> State {
        match self {
            State::FinWait1 => State::FinWait2,
            State::Closing => State::TimeWait,
            State::LastAck => State::Closed,
            other => other,
        }
    }

    /// Next state when the peer's FIN is in order. Our FIN's acknowledgment is looked at before.
    #[must_use]
    pub fn fin_received(self) -> State {
        match self {
            State::SynReceived | State::Established => State::CloseWait,
            State::FinWait1 => State::Closing,
            State::FinWait2 => State::TimeWait,
            other => other,
        }
    }

    /// The name that RFC 9293 and `ss` use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Closed => "CLOSED",
            State::SynSent => "SYN-SENT",
            State::SynReceived => "SYN-RECEIVED",
            State::Established => "ESTABLISHED",
            State::FinWait1 => "FIN-WAIT-1",
            State::FinWait2 => "FIN-WAIT-2",
            State::CloseWait => "CLOSE-WAIT",
            State::Closing => "CLOSING",
            State::LastAck => "LAST-ACK",
            State::TimeWait => "TIME-WAIT",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stable_for_snapshots() {
        for (number, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, number);
            assert_eq!(State::from_u8(number as u8), Some(state));
        }
        assert_eq!(State::from_u8(10), None);
    }

    /// The closing half of the diagram in RFC 9293 3.3.2, row by row.
    #[test]
    fn closing_transitions_are_those_of_the_diagram() {
        use State::*;
        assert_eq!(Established.fin_sent().fin_acknowledged().fin_received(), TimeWait);
        assert_eq!(Established.fin_sent().fin_received().fin_acknowledged(), TimeWait);
        assert_eq!(Established.fin_received().fin_sent().fin_acknowledged(), Closed);
        assert_eq!(TimeWait.fin_received(), TimeWait);
    }
}
