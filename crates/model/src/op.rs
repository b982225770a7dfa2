//! Ops: what a device sends. Read leniently, checked strictly, one at a time.
//!
//! A batch is read as [`RawOp`]s so that one bad op never fails the others (protocol.md, Push): a kind this version does
//! not know or a payload of the wrong shape becomes a rejection of that op alone.

use serde_json::Value;

use crate::{
    BookmarkId, DownloadId, LessonId, SessionId, TimeMs, UnitId,
    bookmark::Bookmark,
    content::Quality,
    download::DownloadState,
    ids::InvalidId,
    progress::{LessonCompleted, PositionReached, Progress},
    session::{Answer, AnswerRecorded, Session, SessionMoved, SessionStatus, StatisticsRecorded},
    stamp::Stamp,
};

/// Most ops in one batch.
pub const MAX_BATCH_OPS: usize = 500;
/// Most bytes of JSON in one batch.
pub const MAX_BATCH_BYTES: usize = 512 * 1024;

words! {
    /// The kinds of ops.
    pub enum OpKind {
        /// A place in a lesson was reached.
        ProgressPosition = "progress.position",
        /// A lesson was completed.
        ProgressCompleted = "progress.completed",
        /// A question was answered.
        AnswerRecorded = "answer.recorded",
        /// A session began.
        SessionStarted = "session.started",
        /// A session was interrupted.
        SessionPaused = "session.paused",
        /// A session was handed in.
        SessionFinished = "session.finished",
        /// A session was given up.
        SessionAbandoned = "session.abandoned",
        /// A session's numbers.
        StatisticsRecorded = "statistics.recorded",
        /// A download changed its state on a device.
        DownloadState = "download.state",
        /// A bookmark was made or changed.
        BookmarkPut = "bookmark.put",
        /// A bookmark was removed.
        BookmarkDeleted = "bookmark.deleted",
    }
}

words! {
    /// Why an op was refused for good.
    pub enum RejectCode {
        /// A kind this service does not know.
        Unsupported = "unsupported",
        /// The payload has the wrong shape.
        Malformed = "malformed",
        /// A value is out of its range.
        OutOfRange = "out_of_range",
        /// The lesson, unit or session is unknown.
        UnknownEntity = "unknown_entity",
        /// The learner was not enrolled at the op's time.
        NotEnrolled = "not_enrolled",
        /// The session belongs to something else, or had ended.
        WrongState = "wrong_state",
        /// The same key came with another content.
        KeyReused = "key_reused",
    }
}

wire! {
    /// An op as it travels: the kind is a text and the payload any JSON.
    pub struct RawOp {
        /// The device's running number.
        #[cfg_attr(feature = "ts", ts(type = "number"))]
        pub seq: u64,
        /// An [`OpKind`], or one of a newer version.
        pub kind: String,
        /// The lesson, session, download or bookmark.
        pub entity_id: String,
        /// The device's time.
        pub at: TimeMs,
        /// What it says; its shape depends on the kind.
        #[cfg_attr(feature = "ts", ts(type = "unknown"))]
        #[cfg_attr(feature = "openapi", schema(value_type = Object))]
        pub payload: Value,
    }

    /// Payload of `download.state`.
    #[derive(Copy, Eq)]
    pub struct DownloadReported {
        /// What is downloaded.
        pub unit_id: UnitId,
        /// Its state on the device.
        pub state: DownloadState,
        /// The rendition asked for.
        pub quality: Quality,
        /// Bytes on the device.
        #[cfg_attr(feature = "ts", ts(type = "number"))]
        pub bytes: u64,
        /// Whether the files were deleted; the record stays.
        #[serde(default)]
        pub deleted: bool,
    }

    /// Payload of `bookmark.put`.
    #[derive(Eq)]
    pub struct BookmarkPut {
        /// The lesson.
        pub lesson_id: LessonId,
        /// Where, in the lesson's own unit.
        #[cfg_attr(feature = "ts", ts(type = "number"))]
        pub position: u64,
        /// What the learner wrote.
        #[serde(default)]
        pub note: String,
    }

    /// Payload of `bookmark.deleted`.
    #[derive(Copy, Eq)]
    pub struct BookmarkDeleted {
        /// The lesson.
        pub lesson_id: LessonId,
    }
}

/// What an op says, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// `progress.position`
    Position(LessonId, PositionReached),
    /// `progress.completed`
    Completed(LessonId, LessonCompleted),
    /// `answer.recorded`
    Answer(SessionId, AnswerRecorded),
    /// `session.started|paused|finished|abandoned`
    Session(SessionId, SessionStatus, SessionMoved),
    /// `statistics.recorded`
    Statistics(SessionId, StatisticsRecorded),
    /// `download.state`
    Download(DownloadId, DownloadReported),
    /// `bookmark.put`
    BookmarkPut(BookmarkId, BookmarkPut),
    /// `bookmark.deleted`
    BookmarkDeleted(BookmarkId, BookmarkDeleted),
}

/// Why an op can't be taken: it is wrong in itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Rejection {
    /// The stable word.
    pub code: RejectCode,
    /// For the log and "Copy details"; holds nothing of the payload.
    pub detail: String,
}

impl Rejection {
    /// A rejection.
    #[must_use]
    pub fn new(code: RejectCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

impl From<InvalidId> for Rejection {
    fn from(error: InvalidId) -> Self {
        Self::new(RejectCode::Malformed, error.to_string())
    }
}

/// What the checking side knows about the lesson an op speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LessonFacts {
    /// The largest position there is, in the lesson's own unit; `None` where it isn't known.
    pub max_position: Option<u64>,
}

/// How far past the end a position may lie: encoders and players round differently.
pub const POSITION_TOLERANCE: u64 = 5_000;
/// The longest note of a bookmark, in bytes.
pub const MAX_NOTE_BYTES: usize = 8 * 1024;

impl Op {
    /// Decodes an op; the error is a rejection of this op alone.
    pub fn decode(raw: &RawOp) -> Result<Self, Rejection> {
        fn payload<T: serde::de::DeserializeOwned>(raw: &RawOp) -> Result<T, Rejection> {
            T::deserialize(&raw.payload)
                .map_err(|_| Rejection::new(RejectCode::Malformed, format!("payload of {}", raw.kind)))
        }
        let kind: OpKind =
            raw.kind.parse().map_err(|_| Rejection::new(RejectCode::Unsupported, format!("kind {:.40}", raw.kind)))?;
        let id = &raw.entity_id;
        let session = |status| Ok(Self::Session(id.parse()?, status, payload(raw)?));
        match kind {
            OpKind::ProgressPosition => Ok(Self::Position(id.parse()?, payload(raw)?)),
            OpKind::ProgressCompleted => Ok(Self::Completed(id.parse()?, payload(raw)?)),
            OpKind::AnswerRecorded => Ok(Self::Answer(id.parse()?, payload(raw)?)),
            OpKind::SessionStarted => session(SessionStatus::Running),
            OpKind::SessionPaused => session(SessionStatus::Paused),
            OpKind::SessionFinished => session(SessionStatus::Finished),
            OpKind::SessionAbandoned => session(SessionStatus::Abandoned),
            OpKind::StatisticsRecorded => Ok(Self::Statistics(id.parse()?, payload(raw)?)),
            OpKind::DownloadState => Ok(Self::Download(id.parse()?, payload(raw)?)),
            OpKind::BookmarkPut => Ok(Self::BookmarkPut(id.parse()?, payload(raw)?)),
            OpKind::BookmarkDeleted => Ok(Self::BookmarkDeleted(id.parse()?, payload(raw)?)),
        }
    }

    /// The op as it travels.
    ///
    /// # Errors
    /// Only if a payload can't be written as JSON, which none of these types can cause.
    pub fn encode(&self, seq: u64, at: TimeMs) -> Result<RawOp, serde_json::Error> {
        let payload = match self {
            Self::Position(_, p) => serde_json::to_value(p),
            Self::Completed(_, p) => serde_json::to_value(p),
            Self::Answer(_, p) => serde_json::to_value(p),
            Self::Session(_, _, p) => serde_json::to_value(p),
            Self::Statistics(_, p) => serde_json::to_value(p),
            Self::Download(_, p) => serde_json::to_value(p),
            Self::BookmarkPut(_, p) => serde_json::to_value(p),
            Self::BookmarkDeleted(_, p) => serde_json::to_value(p),
        }?;
        Ok(RawOp { seq, kind: self.kind().as_str().to_owned(), entity_id: self.entity_id(), at, payload })
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> OpKind {
        match self {
            Self::Position(..) => OpKind::ProgressPosition,
            Self::Completed(..) => OpKind::ProgressCompleted,
            Self::Answer(..) => OpKind::AnswerRecorded,
            Self::Session(_, SessionStatus::Running, _) => OpKind::SessionStarted,
            Self::Session(_, SessionStatus::Paused, _) => OpKind::SessionPaused,
            Self::Session(_, SessionStatus::Finished, _) => OpKind::SessionFinished,
            Self::Session(_, SessionStatus::Abandoned, _) => OpKind::SessionAbandoned,
            Self::Statistics(..) => OpKind::StatisticsRecorded,
            Self::Download(..) => OpKind::DownloadState,
            Self::BookmarkPut(..) => OpKind::BookmarkPut,
            Self::BookmarkDeleted(..) => OpKind::BookmarkDeleted,
        }
    }

    /// What it is about; ops of one entity keep their order.
    #[must_use]
    pub fn entity_id(&self) -> String {
        match self {
            Self::Position(id, _) | Self::Completed(id, _) => id.to_string(),
            Self::Answer(id, _) | Self::Session(id, ..) | Self::Statistics(id, _) => id.to_string(),
            Self::Download(id, _) => id.to_string(),
            Self::BookmarkPut(id, _) | Self::BookmarkDeleted(id, _) => id.to_string(),
        }
    }

    /// The lesson it speaks of; none for a download.
    #[must_use]
    pub const fn lesson_id(&self) -> Option<LessonId> {
        Some(match self {
            Self::Position(id, _) | Self::Completed(id, _) => *id,
            Self::Answer(_, p) => p.lesson_id,
            Self::Session(_, _, p) => p.lesson_id,
            Self::Statistics(_, p) => p.session.lesson_id,
            Self::BookmarkPut(_, p) => p.lesson_id,
            Self::BookmarkDeleted(_, p) => p.lesson_id,
            Self::Download(..) => return None,
        })
    }

    /// Checks the values against what is known of the lesson. Being merely old is no reason to refuse.
    pub fn check(&self, facts: LessonFacts) -> Result<(), Rejection> {
        let out_of_range = |what: &str| Err(Rejection::new(RejectCode::OutOfRange, what));
        match self {
            Self::Position(_, p) if p.percent > 100 => out_of_range("percent"),
            Self::Position(_, p)
                if facts.max_position.is_some_and(|max| p.position > max.saturating_add(POSITION_TOLERANCE)) =>
            {
                out_of_range("position")
            }
            Self::Position(_, PositionReached { attempt: 0, .. })
            | Self::Completed(_, LessonCompleted { attempt: 0 })
            | Self::Session(_, _, SessionMoved { attempt: 0, .. }) => out_of_range("attempt"),
            Self::Answer(_, p) if p.question_id.len() > 200 || !p.response.is_within_limits() => {
                out_of_range("response")
            }
            Self::BookmarkPut(_, p) if p.note.len() > MAX_NOTE_BYTES => out_of_range("note"),
            _ => Ok(()),
        }
    }

    /// What the op alone amounts to, ready to be joined with what is there.
    #[must_use]
    pub fn effect(&self, stamp: Stamp) -> Effect {
        match self {
            Self::Position(id, p) => Effect::Progress(Progress::of_position(*id, *p, stamp)),
            Self::Completed(id, p) => Effect::Progress(Progress::of_completion(*id, *p, stamp)),
            Self::Answer(id, p) => Effect::Answer(Answer {
                session_id: *id,
                lesson_id: p.lesson_id,
                question_id: p.question_id.clone(),
                response: p.response.clone(),
                stamp,
            }),
            Self::Session(id, status, p) => Effect::Session(Session::of(*id, *status, *p, stamp)),
            // Numbers alone never end or pause a session: they travel as the state that any other outranks.
            Self::Statistics(id, p) => Effect::Session(Session::of(
                *id,
                SessionStatus::Running,
                p.session,
                Stamp { at: p.session.started_at, ..stamp },
            )),
            Self::Download(id, p) => Effect::Download(*id, *p, stamp),
            Self::BookmarkPut(id, p) => Effect::Bookmark(Bookmark {
                id: *id,
                lesson_id: p.lesson_id,
                position: p.position,
                note: p.note.clone(),
                deleted: false,
                stamp,
            }),
            Self::BookmarkDeleted(id, p) => Effect::Bookmark(Bookmark {
                id: *id,
                lesson_id: p.lesson_id,
                position: 0,
                note: String::new(),
                deleted: true,
                stamp,
            }),
        }
    }
}

/// What an op amounts to: a value to be joined with the row that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Join with the progress of the same lesson and attempt.
    Progress(Progress),
    /// Join with the session of the same id.
    Session(Session),
    /// Append, keyed by its stamp.
    Answer(Answer),
    /// Keep the later by stamp.
    Download(DownloadId, DownloadReported, Stamp),
    /// Join with the bookmark of the same id.
    Bookmark(Bookmark),
}

#[cfg(test)]
#[path = "op_tests.rs"]
mod tests;
