//! Sessions and answers of a lesson, as a learner sees them: the service's word joined with what waits.

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::{
    DeviceId, LessonId, ProfileId, SessionId, TimeMs,
    op::OpKind,
    session::{Answer, Session, SessionKind, SessionMoved, SessionStatus},
    time::MINUTE_MS,
};
use sqlx::SqlitePool;

use crate::{EngineError, outbox::overlay, rows::json};

/// Between two answers nobody thinks longer than this; what is beyond it was something else.
const LONGEST_THOUGHT_MS: i64 = 5 * MINUTE_MS;

/// Everything about the sessions of one lesson.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    pub(super) all: BTreeMap<SessionId, Session>,
    /// By the key of the write.
    answers: BTreeMap<(DeviceId, u64), Answer>,
    unsent_answers: BTreeSet<(DeviceId, u64)>,
    unsent: BTreeSet<SessionId>,
}

/// Reads them.
pub(super) async fn of_lesson(
    readers: &SqlitePool,
    profile: ProfileId,
    lesson: LessonId,
) -> Result<Sessions, EngineError> {
    let mut snapshot = readers.begin().await?;
    let pending = overlay(&mut snapshot, profile, Some(lesson)).await?;
    let rows = sqlx::query("SELECT session FROM sessions WHERE profile_id = ?1 AND lesson_id = ?2")
        .bind(profile.to_string())
        .bind(lesson.to_string())
        .fetch_all(&mut *snapshot)
        .await?;
    let words = rows.iter().map(|row| json(row, "session")).collect::<Result<Vec<Session>, _>>()?;
    let rows = sqlx::query(
        "SELECT a.answer FROM answers a JOIN sessions s ON s.profile_id = a.profile_id AND s.id = a.session_id
         WHERE s.profile_id = ?1 AND s.lesson_id = ?2",
    )
    .bind(profile.to_string())
    .bind(lesson.to_string())
    .fetch_all(&mut *snapshot)
    .await?;
    let answers = rows.iter().map(|row| json(row, "answer")).collect::<Result<Vec<Answer>, _>>()?;
    let key = |answer: Answer| ((answer.stamp.device_id, answer.stamp.seq), answer);
    let unsent_answers = pending.unsent.iter().filter(|(_, kind, _)| *kind == OpKind::AnswerRecorded);
    Ok(Sessions {
        all: joined(words.into_iter().chain(pending.sessions)),
        // The service may have corrected the time of what is pending here as well: its word comes last.
        answers: pending.answers.into_iter().chain(answers).map(key).collect(),
        unsent_answers: unsent_answers.map(|(_, _, stamp)| (stamp.device_id, stamp.seq)).collect(),
        unsent: pending.unsent_sessions,
    })
}

/// Each session once.
pub(super) fn joined(words: impl Iterator<Item = Session>) -> BTreeMap<SessionId, Session> {
    let mut all: BTreeMap<SessionId, Session> = BTreeMap::new();
    for session in words {
        let session = match all.remove(&session.id) {
            Some(known) => known.join(session),
            None => session,
        };
        all.insert(session.id, session);
    }
    all
}

impl Sessions {
    /// The one of a kind that is shown: the last time through.
    pub(super) fn latest(&self, kind: SessionKind) -> Option<&Session> {
        self.of(kind).max_by_key(|session| (session.attempt, session.started_at, session.id))
    }

    /// All of a kind.
    pub(super) fn of(&self, kind: SessionKind) -> impl Iterator<Item = &Session> {
        self.all.values().filter(move |session| session.kind == kind)
    }

    /// Every answer.
    pub(super) fn answers(&self) -> impl Iterator<Item = &Answer> {
        self.answers.values()
    }

    /// Every answer that was ever given in a session.
    pub(super) fn answers_in(&self, session: SessionId) -> impl Iterator<Item = &Answer> {
        self.answers().filter(move |answer| answer.session_id == session)
    }

    /// The answers that count in a session, by question.
    pub(super) fn counting(&self, session: &Session) -> BTreeMap<&str, &Answer> {
        let mut last: BTreeMap<&str, &Answer> = BTreeMap::new();
        for answer in self.answers_in(session.id).filter(|answer| session.counts(answer)) {
            let known = last.entry(&answer.question_id).or_insert(answer);
            if known.stamp < answer.stamp {
                *known = answer;
            }
        }
        last
    }

    /// Whether an answer is still waiting to be sent.
    pub(super) fn is_unsent(&self, answer: &Answer) -> bool {
        self.unsent_answers.contains(&(answer.stamp.device_id, answer.stamp.seq))
    }

    /// Whether the service has everything of a session.
    pub(super) fn is_sent(&self, session: SessionId) -> bool {
        !self.unsent.contains(&session)
    }

    /// How long was worked in a session until now, pauses and long absences left out.
    pub(super) fn time_spent(&self, session: &Session, now: TimeMs) -> u64 {
        if session.status != SessionStatus::Running {
            return session.statistics.duration_ms;
        }
        let since = session.status_stamp.at;
        let mut moments: Vec<TimeMs> =
            self.answers_in(session.id).map(|answer| answer.stamp.at).filter(|at| *at > since).chain([now]).collect();
        moments.sort_unstable();
        let (mut last, mut spent) = (since, 0);
        for moment in moments {
            spent += moment.since(last).clamp(0, LONGEST_THOUGHT_MS);
            last = moment;
        }
        session.statistics.duration_ms.saturating_add(u64::try_from(spent).unwrap_or(0))
    }
}

/// What travels with every change of a session.
pub(super) const fn moved(session: &Session) -> SessionMoved {
    SessionMoved {
        lesson_id: session.lesson_id,
        attempt: session.attempt,
        kind: session.kind,
        started_at: session.started_at,
        statistics: session.statistics,
    }
}
