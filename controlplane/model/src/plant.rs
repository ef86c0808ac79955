//! Errors that can be planted, to see that the checker finds them.

/// A rule that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Plant {
    /// Packets leave before the backup has confirmed their log.
    ReleasesBeforeConfirmation,
    /// The gate opens when the removal of the backup is proposed, not when it is committed.
    OpensBeforeCommit,
    /// A backup that suspects its primary serves without asking the register.
    TakesOverWithoutRegister,
    /// A change is written whatever the register holds by then.
    WritesBlindly,
    /// A joining node is counted in before it has the log of all that left before the gate closed.
    CountsInUnsettled,
    /// An admission is given up, and the gate opened, while the change that counts the partner in
    /// may still take effect.
    AbandonsWhileCountingIn,
    /// A run counts as ended when another run of its node is known, be that older or newer.
    AnotherRunMeansEnded,
    /// A late word of an earlier run is taken for the peer's present one.
    FormerRunReturns,
    /// A node outside the in-sync set takes over with the state that it once had.
    RemovedTakesOver,
    /// A new primary goes on confirming the log of the old one.
    ConfirmsAfterTakeover,
    /// A confirmation of an earlier log counts for the present one.
    ConfirmsAnyLog,
    /// A node that has dropped its state serves when its late proposal wins.
    ServesWithoutState,
    /// A node asks to serve while it says that it is spare.
    AsksAsSpare,
    /// A starting node does not say that it has asked to serve.
    AsksUnsaid,
    /// A node that has asked to serve joins whoever forms a pair with it meanwhile.
    JoinsWhileAsking,
    /// The service is handed over before all that was logged is confirmed.
    HandsOverUnsettled,
    /// A node that was handed the service opens its gate if the one that gave it has ended.
    ServesBesideTheEnded,
    /// A node that was handed the service serves before the one that gave it rests.
    ServesBesideTheFormer,
    /// A node that was handed the service unheard, while it joined, serves at once.
    ServesWhenCountedInUnheard,
    /// Pair: a node that stood still goes on as if nothing had happened.
    NeverDoubts,
    /// Pair: the gate opens before the removed backup, which is still heard, has acknowledged.
    OpensUnacknowledged,
}
