//! Sessions and answers of a lesson, as a learner sees them: the service's word joined with what waits.

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::{
    LessonId, ProfileId, SessionId,
    op::OpKind,
    quiz::{Question, QuestionBody, Quiz, Response},
    session::{Answer, Session, Statistics},
};
use sqlx::SqlitePool;

use super::view::{AnswerView, QuizView};
use crate::{EngineError, outbox::overlay, rows::json};

/// Everything about the sessions of one lesson.
#[derive(Debug)]
pub(super) struct Sessions {
    pub(super) all: BTreeMap<SessionId, Session>,
    /// The answers that count, by session and question.
    answers: BTreeMap<(SessionId, String), Answer>,
    unsent: BTreeSet<(carrel_model::DeviceId, u64)>,
    something_unsent: bool,
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
    let mut all: BTreeMap<SessionId, Session> = BTreeMap::new();
    let words = rows.iter().map(|row| json(row, "session")).collect::<Result<Vec<Session>, _>>()?;
    for session in words.into_iter().chain(pending.sessions) {
        let joined = match all.remove(&session.id) {
            Some(known) => known.join(session),
            None => session,
        };
        all.insert(joined.id, joined);
    }
    let rows = sqlx::query(
        "SELECT a.answer FROM answers a JOIN sessions s ON s.profile_id = a.profile_id AND s.id = a.session_id
         WHERE s.profile_id = ?1 AND s.lesson_id = ?2",
    )
    .bind(profile.to_string())
    .bind(lesson.to_string())
    .fetch_all(&mut *snapshot)
    .await?;
    let words = rows.iter().map(|row| json(row, "answer")).collect::<Result<Vec<Answer>, _>>()?;
    let mut answers: BTreeMap<(SessionId, String), Answer> = BTreeMap::new();
    for answer in words.into_iter().chain(pending.answers) {
        let key = (answer.session_id, answer.question_id.clone());
        match answers.get(&key) {
            Some(known) if known.stamp >= answer.stamp => {}
            _ => {
                answers.insert(key, answer);
            }
        }
    }
    let of_quiz = |kind: OpKind| !matches!(kind, OpKind::ProgressPosition);
    Ok(Sessions {
        all,
        answers,
        unsent: pending.unsent.iter().map(|(_, _, stamp)| (stamp.device_id, stamp.seq)).collect(),
        something_unsent: pending.unsent.iter().any(|(_, kind, _)| of_quiz(*kind)),
    })
}

impl Sessions {
    /// The one that is shown: the last time through.
    pub(super) fn latest(&self) -> Option<&Session> {
        self.all.values().max_by_key(|session| (session.attempt, session.started_at, session.id))
    }

    /// The answers that count in a session, by question.
    pub(super) fn answers_of(&self, session: SessionId) -> impl Iterator<Item = &Answer> {
        self.answers.values().filter(move |answer| answer.session_id == session)
    }

    /// What a session amounts to.
    pub(super) fn statistics(&self, session: &Session, quiz: &Quiz, duration_ms: u64) -> Statistics {
        let mut sum = Statistics { duration_ms, ..Statistics::default() };
        for question in &quiz.questions {
            sum.max_points = sum.max_points.saturating_add(question.points);
            let Some(answer) = self.answers.get(&(session.id, question.id.clone())) else { continue };
            sum.answered += 1;
            if question.is_correct(&answer.response) {
                sum.correct += 1;
                sum.points = sum.points.saturating_add(question.points);
            }
        }
        sum
    }

    /// The quiz screen.
    pub(super) fn view(&self, lesson_id: LessonId, quiz: Quiz) -> QuizView {
        let session = self.latest().cloned();
        let mut answers = BTreeMap::new();
        for answer in session.iter().flat_map(|session| self.answers_of(session.id)) {
            let question = quiz.questions.iter().find(|question| question.id == answer.question_id);
            let correct = question.filter(|_| quiz.practice).map(|question| question.is_correct(&answer.response));
            answers.insert(
                answer.question_id.clone(),
                AnswerView {
                    response: answer.response.clone(),
                    saved_at: answer.stamp.at,
                    correct,
                    unsent: self.unsent.contains(&(answer.stamp.device_id, answer.stamp.seq)),
                },
            );
        }
        let sent = session.is_some() && !self.something_unsent;
        QuizView { lesson_id, quiz, session, answers, sent }
    }
}

/// Whether a response is of the kind a question asks for.
pub(super) const fn fits(question: &Question, response: &Response) -> bool {
    matches!(
        (&question.body, response),
        (QuestionBody::Single { .. }, Response::Single { .. })
            | (QuestionBody::Multiple { .. }, Response::Multiple { .. })
            | (QuestionBody::Order { .. }, Response::Order { .. })
            | (QuestionBody::Match { .. }, Response::Match { .. })
            | (QuestionBody::ShortText { .. }, Response::ShortText { .. })
            | (QuestionBody::Numeric { .. }, Response::Numeric { .. })
    )
}
