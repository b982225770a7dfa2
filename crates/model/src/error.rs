//! The closed set of error codes a front end can meet, and errors shared by the vocabulary types.

/// A word that does not belong to a vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is not a {vocabulary}")]
pub struct UnknownWord {
    /// The vocabulary asked.
    pub vocabulary: &'static str,
    /// What was given.
    pub word: String,
}

words! {
    /// What went wrong, as a word. The UI chooses its sentences by code and never by message; a code is only added with its
    /// words in every language.
    pub enum ErrorCode {
        /// A request that can't be read: wrong shape, type or length.
        InvalidRequest = "invalid_request",
        /// The thing asked for is not here (any more).
        NotFound = "not_found",
        /// Name or password are wrong.
        WrongCredentials = "wrong_credentials",
        /// Too many attempts; `details.retry_after_ms` says how long to wait.
        RateLimited = "rate_limited",
        /// Nobody is signed in, or the session has ended: sign in again. Nothing was lost.
        SignInNeeded = "sign_in_needed",
        /// This window or learner may not do that.
        Forbidden = "forbidden",
        /// The learner is not enrolled in the course.
        NotEnrolled = "not_enrolled",
        /// The enrolment has ended.
        EnrolmentExpired = "enrolment_expired",
        /// The course needs the premium role.
        PremiumRequired = "premium_required",
        /// The service's quota for this learner is used up.
        QuotaExceeded = "quota_exceeded",
        /// The unit, lesson or asset was withdrawn.
        Gone = "gone",
        /// What was downloaded has passed its last day; it can be renewed online.
        Expired = "expired",
        /// No network.
        Offline = "offline",
        /// A network, but no service behind it.
        ServiceUnreachable = "service_unreachable",
        /// The service answered with something that is not its protocol (a captive portal, another program).
        NotAService = "not_a_service",
        /// The service failed on its side.
        ServiceFailed = "service_failed",
        /// The app is too old for the service.
        UpgradeRequired = "upgrade_required",
        /// The service has withdrawn this device's permission.
        DeviceRevoked = "device_revoked",
        /// The cursor is older than the service's tombstones; everything is pulled again.
        CursorExpired = "cursor_expired",
        /// This device's sequence went backwards: its data was restored or cloned.
        DeviceSeqRegressed = "device_seq_regressed",
        /// The disk has too little space; `details` has the numbers.
        StorageFull = "storage_full",
        /// The store's folder can't be read or written.
        StorageUnavailable = "storage_unavailable",
        /// Another process of Carrel has this store open.
        StoreInUse = "store_in_use",
        /// A file on disk is missing or not what was downloaded; it can be fetched again.
        Damaged = "damaged",
        /// A manifest does not fit its own hash.
        BadManifest = "bad_manifest",
        /// The database was written by a newer Carrel.
        DatabaseTooNew = "database_too_new",
        /// The database could not be read; it was set aside and a fresh one made.
        DatabaseDamaged = "database_damaged",
        /// This can't be done in the present state (resuming what is finished, say).
        WrongState = "wrong_state",
        /// Writes are waiting that this would lose; the request must say what becomes of them.
        UnsentWrites = "unsent_writes",
        /// Not played or shown on this device (format or codec).
        Unsupported = "unsupported",
        /// A fault of Carrel itself; details are in the log.
        Internal = "internal",
    }
}
