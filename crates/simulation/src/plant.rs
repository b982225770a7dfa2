//! Bugs that sync is known to have elsewhere, planted one at a time: a check that finds none of them proves nothing.

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plant {
    /// The device forgets an entry when it sends it, not when it is acknowledged.
    ForgetsWhenSent,
    /// Acknowledged entries leave the outbox before their effect was pulled.
    ForgetsBeforePull,
    /// The cursor is kept before the page it came with.
    CursorBeforePage,
    /// A 401 empties the outbox.
    UnauthorizedDrops,
    /// A full pull empties the outbox.
    FullPullPurgesOutbox,
    /// The pause after failures is never reset.
    BackoffNeverResets,
    /// A refused batch is refused as a whole, and dropped.
    BatchFailsAsAWhole,
    /// A place is put into an entry that was sent already.
    CoalescesAfterSending,
    /// After a crash the running number starts from what was acknowledged.
    NumbersAreReused,
    /// The service keeps the keys of ops apart from their effects, and a crash comes between.
    KeyOutsideTheTransaction,
    /// The service acknowledges before it has committed.
    AcknowledgesBeforeCommit,
    /// The service has no keys: whatever arrives counts.
    NoIdempotency,
    /// Progress goes to whoever comes last.
    LastArrivalWins,
    /// A session that has finished can be set back by a late pause.
    SessionsRunBackwards,
    /// The service refuses a position of a lesson that is completed.
    StrictTransitions,
    /// The cursor is the time of the last row seen.
    TimestampCursor,
    /// The service restored from a backup keeps its epoch.
    RestoreKeepsEpoch,
    /// A full pull doesn't sweep what it didn't bring.
    FullPullDoesNotSweep,
    /// Waiting for an op that was told to wait holds back everything.
    WaitingHoldsBackAll,
    /// A batch on which the service fails is sent whole for ever.
    NeverBisects,
    /// A restored or cloned device goes on under its old id.
    KeepsItsIdWhenCloned,
    /// A cloned device takes ops along under its new id that the service has not judged.
    RekeysTheUnjudged,
}

impl Plant {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::ForgetsWhenSent,
        Self::ForgetsBeforePull,
        Self::CursorBeforePage,
        Self::UnauthorizedDrops,
        Self::FullPullPurgesOutbox,
        Self::BackoffNeverResets,
        Self::BatchFailsAsAWhole,
        Self::CoalescesAfterSending,
        Self::NumbersAreReused,
        Self::KeyOutsideTheTransaction,
        Self::AcknowledgesBeforeCommit,
        Self::NoIdempotency,
        Self::LastArrivalWins,
        Self::SessionsRunBackwards,
        Self::StrictTransitions,
        Self::TimestampCursor,
        Self::RestoreKeepsEpoch,
        Self::FullPullDoesNotSweep,
        Self::WaitingHoldsBackAll,
        Self::NeverBisects,
        Self::KeepsItsIdWhenCloned,
        Self::RekeysTheUnjudged,
    ];
}
