//! Sessions – a quiz, a review, time with a player – and the answers within them.
//!
//! A session, like progress, is a join. Its states could arrive in any order from the network, so an end is terminal
//! (finished outranks abandoned: work is never thrown away by a late "abandon"), and between running and paused the later
//! write wins. Answers are append-only; the one that counts for a question is the last by [`Stamp`].

use std::collections::BTreeMap;

use crate::{
    LessonId, SessionId, TimeMs,
    progress::first_attempt,
    quiz::{Grade, Quiz, Response},
    stamp::Stamp,
};

words! {
    /// What kind of session it is.
    pub enum SessionKind {
        /// The questions of a quiz lesson.
        Quiz = "quiz",
        /// Spaced repetition.
        Review = "review",
        /// Time with a lesson: listening, watching, reading. Has no answers and no end.
        Study = "study",
    }
}

words! {
    /// State of a session. The order is the rank of a join for the two ends.
    pub enum SessionStatus {
        /// Answering.
        Running = "running",
        /// Interrupted by the learner.
        Paused = "paused",
        /// Given up.
        Abandoned = "abandoned",
        /// Handed in.
        Finished = "finished",
    }
}

impl SessionStatus {
    /// Whether nothing can follow.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Abandoned | Self::Finished)
    }
}

wire! {
    /// What a session amounted to; merged by the maximum of each field.
    #[derive(Copy, Eq, Default)]
    pub struct Statistics {
        /// Questions answered.
        pub answered: u32,
        /// Of those, right.
        pub correct: u32,
        /// Points reached.
        pub points: u32,
        /// Points there were.
        pub max_points: u32,
        /// Time spent.
        #[cfg_attr(feature = "ts", ts(type = "number"))]
        pub duration_ms: u64,
    }

    /// One session of one learner.
    #[derive(Eq)]
    pub struct Session {
        /// Identity, made on the device.
        pub id: SessionId,
        /// The lesson it is about.
        pub lesson_id: LessonId,
        /// Which time through, from 1.
        pub attempt: u32,
        /// What kind.
        pub kind: SessionKind,
        /// Its state.
        pub status: SessionStatus,
        /// The write that set `status`.
        pub status_stamp: Stamp,
        /// The earliest start.
        pub started_at: TimeMs,
        /// When it ended: the earliest end of the kind that won.
        pub ended_at: Option<TimeMs>,
        /// What it amounted to, as the devices say.
        pub statistics: Statistics,
        /// What the service found it to be worth; none before it is finished, and for what has no right and wrong.
        #[serde(default)]
        pub grade: Option<Grade>,
    }

    /// One answer, as kept.
    #[derive(Eq)]
    pub struct Answer {
        /// The session it was given in.
        pub session_id: SessionId,
        /// The lesson the question belongs to.
        pub lesson_id: LessonId,
        /// The question, by its id within the quiz.
        pub question_id: String,
        /// What was answered.
        pub response: Response,
        /// The write itself; also its identity.
        pub stamp: Stamp,
    }

    /// Payload of `answer.recorded`.
    #[derive(Eq)]
    pub struct AnswerRecorded {
        /// The lesson the question belongs to.
        pub lesson_id: LessonId,
        /// The question, by its id within the quiz.
        pub question_id: String,
        /// What was answered.
        pub response: Response,
    }

    /// Payload of `session.started`, `session.paused`, `session.finished` and `session.abandoned`. Each carries what
    /// identifies the session, so that any of them may be the first to arrive.
    #[derive(Copy, Eq)]
    pub struct SessionMoved {
        /// The lesson it is about.
        pub lesson_id: LessonId,
        /// Which time through, from 1.
        #[serde(default = "first_attempt")]
        pub attempt: u32,
        /// What kind.
        pub kind: SessionKind,
        /// When it was started.
        pub started_at: TimeMs,
        /// What it amounts to so far.
        #[serde(default)]
        pub statistics: Statistics,
    }

    /// Payload of `statistics.recorded`.
    #[derive(Copy, Eq)]
    pub struct StatisticsRecorded {
        /// The session's identifying part and its statistics.
        pub session: SessionMoved,
    }
}

impl Statistics {
    /// The maximum of each field.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self {
            answered: self.answered.max(other.answered),
            correct: self.correct.max(other.correct),
            points: self.points.max(other.points),
            max_points: self.max_points.max(other.max_points),
            duration_ms: self.duration_ms.max(other.duration_ms),
        }
    }
}

impl Session {
    /// The session one write alone amounts to.
    #[must_use]
    pub const fn of(id: SessionId, status: SessionStatus, moved: SessionMoved, stamp: Stamp) -> Self {
        Self {
            id,
            lesson_id: moved.lesson_id,
            attempt: moved.attempt,
            kind: moved.kind,
            status,
            status_stamp: stamp,
            started_at: moved.started_at,
            ended_at: if status.is_end() { Some(stamp.at) } else { None },
            statistics: moved.statistics,
            grade: None,
        }
    }

    /// Whether an answer was given before the session was handed in. A device counts its writes, whatever its clock says;
    /// between devices the time decides.
    #[must_use]
    pub fn counts(&self, answer: &Answer) -> bool {
        let end = self.status_stamp;
        match self.ended_at {
            Some(_) if answer.stamp.device_id == end.device_id => answer.stamp.seq < end.seq,
            Some(ended_at) => answer.stamp.at <= ended_at,
            None => true,
        }
    }

    /// What a finished quiz is worth, by all answers ever given in it, in any order. None where it can't be said.
    #[must_use]
    pub fn graded(&self, quiz: &Quiz, answers: &[Answer]) -> Option<Grade> {
        if self.kind != SessionKind::Quiz || self.status != SessionStatus::Finished {
            return None;
        }
        let mut last: BTreeMap<&str, &Answer> = BTreeMap::new();
        for answer in answers.iter().filter(|answer| answer.session_id == self.id && self.counts(answer)) {
            let known = last.entry(&answer.question_id).or_insert(answer);
            if known.stamp < answer.stamp {
                *known = answer;
            }
        }
        quiz.grade(last.into_iter().map(|(question, answer)| (question, &answer.response)))
    }

    /// The least session that holds both: commutative, associative, idempotent. Both must have the same id.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        debug_assert_eq!(self.id, other.id, "one session");
        let rank = |s: &Self| if s.status.is_end() { s.status as u8 } else { 0 };
        let ended_at = match (self.ended_at, other.ended_at) {
            (Some(a), Some(b)) if rank(&self) == rank(&other) => Some(a.min(b)),
            (a, b) => match rank(&self).cmp(&rank(&other)) {
                std::cmp::Ordering::Greater => a,
                _ => b,
            },
        };
        let other_wins = (rank(&other), other.status_stamp) > (rank(&self), self.status_stamp);
        // What identifies the session is written by one device with every op; should two writes disagree (a forged
        // or damaged one), the smaller is taken so that the result still does not depend on the order.
        let identity = (self.lesson_id, self.attempt, self.kind).min((other.lesson_id, other.attempt, other.kind));
        Self {
            id: self.id,
            lesson_id: identity.0,
            attempt: identity.1,
            kind: identity.2,
            status: if other_wins { other.status } else { self.status },
            status_stamp: if other_wins { other.status_stamp } else { self.status_stamp },
            started_at: self.started_at.min(other.started_at),
            ended_at,
            statistics: self.statistics.join(other.statistics),
            // Only the service gives grades, and replaces the one before; a write of a device has none.
            grade: self.grade.max(other.grade),
        }
    }
}
