//! Push and pull of the learner's own rows.

use crate::{
    DeviceId, TimeMs,
    bookmark::Bookmark,
    lease::{Enrolment, SignedLease},
    op::{RawOp, RejectCode},
    progress::Progress,
    session::{Answer, Session},
    stamp::Stamp,
    wire::content::{Tombstone, set_checksum},
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
        /// On the last page: what the learner's rows should amount to. None where the service finds too many to sum up.
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

impl RecordChecksums {
    /// Over the rows as the service has them, without what is still pending. An answer never changes, so its stamp is
    /// enough.
    #[must_use]
    pub fn of<'a>(
        progress: impl IntoIterator<Item = &'a Progress>,
        sessions: impl IntoIterator<Item = &'a Session>,
        answers: impl IntoIterator<Item = Stamp>,
        bookmarks: impl IntoIterator<Item = &'a Bookmark>,
    ) -> Self {
        Self {
            progress: checksum(
                progress.into_iter().map(|row| (format!("{}/{}", row.lesson_id, row.attempt), version(row))),
            ),
            sessions: checksum(sessions.into_iter().map(|row| (row.id.to_string(), version(row)))),
            answers: checksum(
                answers.into_iter().map(|stamp| (format!("{}/{}", stamp.device_id, stamp.seq), stamp.at.as_ms())),
            ),
            bookmarks: checksum(bookmarks.into_iter().map(|row| (row.id.to_string(), version(row)))),
        }
    }
}

fn checksum(rows: impl Iterator<Item = (String, i64)>) -> String {
    let rows: Vec<_> = rows.collect();
    set_checksum(rows.iter().map(|(id, version)| (id.as_str(), *version)))
}

/// Rows have no number of their own on the wire; what they say is their version.
fn version<T: serde::Serialize>(row: &T) -> i64 {
    // None of these types can fail to be written.
    let text = serde_json::to_vec(row).unwrap_or_default();
    let mut first = [0; 8];
    blake3::Hasher::new().update(&text).finalize_xof().fill(&mut first);
    i64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::ProgressStatus;

    #[test]
    fn checksums_tell_sets_apart_and_not_orders() {
        let lesson = |n: u8| format!("01900000-0000-7000-8000-0000000000{n:02}").parse().unwrap();
        let (a, b) = (Progress::none(lesson(1), 1), Progress::none(lesson(2), 1));
        let of = |rows: &[&Progress]| RecordChecksums::of(rows.iter().copied(), [], [], []).progress;
        assert_eq!(of(&[&a, &b]), of(&[&b, &a]), "the order doesn't matter");
        assert_ne!(of(&[&a, &b]), of(&[&a]), "a missing row does");
        let changed = Progress { status: ProgressStatus::InProgress, ..a.clone() };
        assert_ne!(of(&[&a]), of(&[&changed]), "and so does a row that says something else");
    }
}
