//! Push and pull of the learner's own rows.

use crate::{
    DeviceId, TimeMs,
    bookmark::Bookmark,
    lease::{Enrolment, SignedLease},
    op::{RawOp, RejectCode},
    progress::Progress,
    session::{Answer, Session},
    wire::content::Tombstone,
};

wire! {
    /// `POST /sync/push`
    pub struct PushRequest {
        /// The device; with `seq` the idempotency key.
        pub device_id: DeviceId,
        /// The device's clock now, so that the service can correct the ops' times.
        pub client_now: TimeMs,
        /// At most 500, oldest first.
        pub ops: Vec<RawOp>,
    }

    /// The answer: a verdict on each op.
    #[derive(Eq)]
    pub struct PushResponse {
        /// The service's clock.
        pub server_now: TimeMs,
        /// Every op of this device up to this number has a final verdict.
        #[cfg_attr(feature = "ts", ts(type = "number"))]
        pub acked_through: u64,
        /// In the order of the ops.
        pub results: Vec<PushResult>,
    }

    /// The verdict on one op.
    #[derive(Eq)]
    pub struct PushResult {
        /// Which.
        #[cfg_attr(feature = "ts", ts(type = "number"))]
        pub seq: u64,
        /// What became of it.
        #[serde(flatten)]
        pub outcome: PushOutcome,
    }

    /// What became of an op.
    #[derive(Eq)]
    #[serde(tag = "outcome", rename_all = "snake_case")]
    pub enum PushOutcome {
        /// It changed something.
        Applied,
        /// It had been applied before.
        Duplicate,
        /// It was right, but something later is already known. A success.
        Superseded,
        /// It is wrong in itself; sending it again is pointless.
        Rejected {
            /// Why.
            code: RejectCode,
            /// For the log.
            detail: String,
        },
        /// Not now.
        Retry {
            /// When.
            #[cfg_attr(feature = "ts", ts(type = "number"))]
            after_ms: u64,
        },
    }

    /// `GET /sync/pull`: a page of the learner's own rows that changed.
    #[derive(Eq)]
    pub struct PullPage {
        /// Progress.
        pub progress: Vec<Progress>,
        /// Sessions with their statistics.
        pub sessions: Vec<Session>,
        /// Answers.
        pub answers: Vec<Answer>,
        /// Bookmarks.
        pub bookmarks: Vec<Bookmark>,
        /// All enrolments, when any changed; else none.
        pub enrolments: Option<Vec<Enrolment>>,
        /// What is gone.
        pub tombstones: Vec<Tombstone>,
        /// A fresh lease, when the old one is due or enrolments changed.
        pub lease: Option<SignedLease>,
        /// Where to go on. Opaque.
        pub cursor: String,
        /// Whether to go on at once.
        pub has_more: bool,
        /// The service's clock.
        pub server_time: TimeMs,
        /// On the last page: what the learner's rows should amount to.
        #[serde(default)]
        pub checksums: Option<RecordChecksums>,
    }

    /// A checksum for each set of a learner's rows: equal sets give equal texts, in whatever order they are listed.
    #[derive(Eq)]
    pub struct RecordChecksums {
        /// Of progress.
        pub progress: String,
        /// Of sessions.
        pub sessions: String,
        /// Of answers.
        pub answers: String,
        /// Of bookmarks, removed ones included.
        pub bookmarks: String,
    }
}
