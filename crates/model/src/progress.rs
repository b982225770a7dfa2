//! Progress on a lesson, as a join: any order, any delay and any duplication of the same writes give the same state.
//!
//! "The newest wins" read literally loses completions: an older device that comes back with "in progress" would undo a
//! finished lesson. So status and percentage only rise, the first completion is kept, and only the position – where a
//! later write really is the better one – goes to the last writer by [`Stamp`] (requirements M1, M2; protocol.md, Merge).

use crate::{LessonId, TimeMs, stamp::Stamp};

words! {
    /// How far a lesson is. Ordered by rank: a join takes the higher.
    #[derive(Default)]
    pub enum ProgressStatus {
        /// Never opened.
        #[default]
        NotStarted = "not_started",
        /// Begun.
        InProgress = "in_progress",
        /// Done; never undone within an attempt.
        Completed = "completed",
    }
}

wire! {
    /// Where a learner is in a lesson, in the lesson's own unit (`LessonKind::position_unit`).
    #[derive(Copy, Eq)]
    pub struct Position {
        /// The place.
        #[cfg_attr(feature = "ts", ts(type = "number"))]
        pub value: u64,
        /// The write that put it there.
        pub stamp: Stamp,
    }

    /// The progress of one learner on one lesson in one attempt.
    #[derive(Eq)]
    pub struct Progress {
        /// The lesson.
        pub lesson_id: LessonId,
        /// Which time through, from 1.
        pub attempt: u32,
        /// The highest status reached.
        pub status: ProgressStatus,
        /// 0–100, the highest reached.
        pub percent: u8,
        /// The earliest completion.
        pub completed_at: Option<TimeMs>,
        /// The last place.
        pub position: Option<Position>,
    }

    /// Payload of `progress.position`.
    #[derive(Copy, Eq)]
    pub struct PositionReached {
        /// Which time through, from 1.
        #[serde(default = "first_attempt")]
        pub attempt: u32,
        /// The place, in the lesson's own unit.
        #[cfg_attr(feature = "ts", ts(type = "number"))]
        pub position: u64,
        /// 0–100.
        pub percent: u8,
    }

    /// Payload of `progress.completed`.
    #[derive(Copy, Eq)]
    pub struct LessonCompleted {
        /// Which time through, from 1.
        #[serde(default = "first_attempt")]
        pub attempt: u32,
    }
}

pub(crate) const fn first_attempt() -> u32 {
    1
}

impl Progress {
    /// Nothing done yet.
    #[must_use]
    pub const fn none(lesson_id: LessonId, attempt: u32) -> Self {
        Self { lesson_id, attempt, status: ProgressStatus::NotStarted, percent: 0, completed_at: None, position: None }
    }

    /// The progress one `progress.position` alone amounts to.
    #[must_use]
    pub fn of_position(lesson_id: LessonId, reached: PositionReached, stamp: Stamp) -> Self {
        Self {
            status: ProgressStatus::InProgress,
            percent: reached.percent.min(100),
            position: Some(Position { value: reached.position, stamp }),
            ..Self::none(lesson_id, reached.attempt)
        }
    }

    /// The progress one `progress.completed` alone amounts to.
    #[must_use]
    pub const fn of_completion(lesson_id: LessonId, completed: LessonCompleted, stamp: Stamp) -> Self {
        Self {
            status: ProgressStatus::Completed,
            percent: 100,
            completed_at: Some(stamp.at),
            ..Self::none(lesson_id, completed.attempt)
        }
    }

    /// The least progress that holds both: commutative, associative, idempotent. Both must be of the same lesson and attempt.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        debug_assert_eq!((self.lesson_id, self.attempt), (other.lesson_id, other.attempt), "progress of one attempt");
        Self {
            lesson_id: self.lesson_id,
            attempt: self.attempt,
            status: self.status.max(other.status),
            percent: self.percent.max(other.percent),
            completed_at: match (self.completed_at, other.completed_at) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
            position: match (self.position, other.position) {
                (Some(a), Some(b)) => Some(if b.stamp > a.stamp { b } else { a }),
                (a, b) => a.or(b),
            },
        }
    }
}
