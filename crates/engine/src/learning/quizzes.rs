//! Quizzes: each answer is kept at once, every attempt stays, and what can be graded here is graded here.
//!
//! A practice quiz brings its solutions along, so its grade shows when it is finished. Of any other quiz the service says
//! the grade when it has everything; until then the quiz is finished, and not sent yet.

use std::collections::BTreeMap;

use carrel_model::{
    ErrorCode, LessonId, ProfileId, SessionId,
    op::Op,
    quiz::{Grade, Quiz},
    session::{Answer, AnswerRecorded, Session, SessionKind, SessionMoved, SessionStatus, Statistics},
};

use super::{
    Learning,
    sessions::{self, Sessions, moved},
    view::{AnswerQuestion, AnswerView, AttemptView, FinishSession, QuizView, SessionRequest, StartQuiz},
};
use crate::{EngineError, catalogue::rows as catalogue};

impl Learning {
    /// The quiz of a lesson with its session and answers.
    pub async fn quiz(&self, profile: ProfileId, lesson: LessonId) -> Result<QuizView, EngineError> {
        let quiz = self.questions(profile, lesson).await?;
        Ok(view(&sessions::of_lesson(self.library.readers(), profile, lesson).await?, lesson, quiz))
    }

    /// Starts a quiz, or goes on with the one that was begun.
    pub async fn start_quiz(&self, profile: ProfileId, request: StartQuiz) -> Result<QuizView, EngineError> {
        let lesson = request.lesson_id;
        let _turn = self.turn.lock().await;
        self.questions(profile, lesson).await?;
        let sessions = sessions::of_lesson(self.library.readers(), profile, lesson).await?;
        match sessions.latest(SessionKind::Quiz) {
            Some(session) if session.status == SessionStatus::Paused => {
                self.write(profile, &[Op::Session(session.id, SessionStatus::Running, moved(session))]).await?;
            }
            Some(session) if !session.status.is_end() => {}
            Some(session) if session.status == SessionStatus::Finished && !request.again => {}
            last => {
                let attempt = last.map_or(1, |session| session.attempt.saturating_add(1));
                self.write(profile, &[self.begun(lesson, attempt, SessionKind::Quiz)]).await?;
            }
        }
        self.quiz(profile, lesson).await
    }

    /// Records an answer. Whoever answers in a paused quiz goes on with it.
    pub async fn answer(&self, profile: ProfileId, request: AnswerQuestion) -> Result<QuizView, EngineError> {
        let _turn = self.turn.lock().await;
        let (session, sessions) = self.session(profile, request.session_id).await?;
        let quiz = self.questions(profile, session.lesson_id).await?;
        if session.status.is_end() || session.kind != SessionKind::Quiz {
            return Err(EngineError::Refused(ErrorCode::WrongState));
        }
        let question = quiz.questions.iter().find(|question| question.id == request.question_id);
        let question = question.ok_or(EngineError::NotFound("question"))?;
        if !question.fits(&request.response) || !request.response.is_within_limits() {
            return Err(EngineError::Invalid("the response does not fit the question"));
        }
        let known = sessions.counting(&session);
        // A second press of the same button is not a second answer.
        if known.get(request.question_id.as_str()).is_none_or(|answer| answer.response != request.response) {
            let recorded = AnswerRecorded {
                lesson_id: session.lesson_id,
                question_id: request.question_id,
                response: request.response,
            };
            let mut ops = Vec::new();
            if session.status == SessionStatus::Paused {
                ops.push(Op::Session(session.id, SessionStatus::Running, moved(&session)));
            }
            ops.push(Op::Answer(session.id, recorded));
            self.write(profile, &ops).await?;
        }
        self.quiz(profile, session.lesson_id).await
    }

    /// Hands a quiz in; the lesson is completed with it.
    pub async fn finish(&self, profile: ProfileId, request: FinishSession) -> Result<QuizView, EngineError> {
        let _turn = self.turn.lock().await;
        let (session, sessions) = self.session(profile, request.session_id).await?;
        let quiz = self.questions(profile, session.lesson_id).await?;
        match session.status {
            SessionStatus::Finished => return self.quiz(profile, session.lesson_id).await,
            SessionStatus::Running | SessionStatus::Paused if session.kind == SessionKind::Quiz => {}
            _ => return Err(EngineError::Refused(ErrorCode::WrongState)),
        }
        let statistics = statistics(&sessions, &session, &quiz, sessions.time_spent(&session, self.clock.now()));
        let handed_in = SessionMoved { statistics, ..moved(&session) };
        let mut ops = vec![Op::Session(session.id, SessionStatus::Finished, handed_in)];
        ops.extend(self.completion(profile, session.lesson_id).await?);
        self.write(profile, &ops).await?;
        self.quiz(profile, session.lesson_id).await
    }

    /// Interrupts a quiz or a review.
    pub async fn pause(&self, profile: ProfileId, request: SessionRequest) -> Result<Session, EngineError> {
        self.change(profile, request.session_id, SessionStatus::Paused).await
    }

    /// Goes on with it.
    pub async fn resume(&self, profile: ProfileId, request: SessionRequest) -> Result<Session, EngineError> {
        self.change(profile, request.session_id, SessionStatus::Running).await
    }

    /// Gives it up. Its answers are kept.
    pub async fn abandon(&self, profile: ProfileId, request: SessionRequest) -> Result<Session, EngineError> {
        self.change(profile, request.session_id, SessionStatus::Abandoned).await
    }

    async fn change(&self, profile: ProfileId, id: SessionId, to: SessionStatus) -> Result<Session, EngineError> {
        let _turn = self.turn.lock().await;
        let (mut session, sessions) = self.session(profile, id).await?;
        if session.status == to {
            return Ok(session);
        }
        if session.status.is_end() {
            return Err(EngineError::Refused(ErrorCode::WrongState));
        }
        session.statistics.duration_ms = sessions.time_spent(&session, self.clock.now());
        self.write(profile, &[Op::Session(session.id, to, moved(&session))]).await?;
        Ok(self.session(profile, id).await?.0)
    }

    /// The op that begins a session now.
    pub(super) fn begun(&self, lesson_id: LessonId, attempt: u32, kind: SessionKind) -> Op {
        let (started_at, statistics) = (self.clock.now(), Statistics::default());
        let moved = SessionMoved { lesson_id, attempt, kind, started_at, statistics };
        Op::Session(self.new_session_id(), SessionStatus::Running, moved)
    }

    pub(super) fn new_session_id(&self) -> SessionId {
        let mut random = [0; 10];
        self.clock.fill_random(&mut random);
        SessionId::from_parts(self.clock.now(), random)
    }

    pub(super) async fn questions(&self, profile: ProfileId, lesson: LessonId) -> Result<Quiz, EngineError> {
        let lesson = catalogue::lesson(self.library.readers(), profile, lesson).await?;
        lesson.and_then(|lesson| lesson.payload.quiz).ok_or(EngineError::NotFound("quiz"))
    }

    /// A session of a learner, and all those of its lesson.
    pub(super) async fn session(&self, profile: ProfileId, id: SessionId) -> Result<(Session, Sessions), EngineError> {
        let lesson: Option<String> = sqlx::query_scalar(
            "SELECT lesson_id FROM sessions WHERE profile_id = ?1 AND id = ?2
             UNION SELECT lesson_id FROM outbox WHERE profile_id = ?1 AND entity_id = ?2",
        )
        .bind(profile.to_string())
        .bind(id.to_string())
        .fetch_optional(self.library.readers())
        .await?;
        let lesson = lesson.and_then(|text| text.parse().ok()).ok_or(EngineError::NotFound("session"))?;
        let sessions = sessions::of_lesson(self.library.readers(), profile, lesson).await?;
        let session = sessions.all.get(&id).cloned().ok_or(EngineError::NotFound("session"))?;
        Ok((session, sessions))
    }
}

/// What a session amounts to. Where solutions are missing, right answers are not counted: that is for the service to say.
fn statistics(sessions: &Sessions, session: &Session, quiz: &Quiz, duration_ms: u64) -> Statistics {
    let counting = sessions.counting(session);
    let grade = quiz.grade(counting.iter().map(|(question, answer)| (*question, &answer.response)));
    let answered = quiz.questions.iter().filter(|question| counting.contains_key(question.id.as_str())).count();
    let max_points = quiz.questions.iter().fold(0_u32, |sum, question| sum.saturating_add(question.points));
    Statistics {
        answered: u32::try_from(answered).unwrap_or(u32::MAX),
        correct: grade.map_or(0, |grade| grade.correct),
        points: grade.map_or(0, |grade| grade.points),
        max_points,
        duration_ms,
    }
}

/// The quiz screen.
fn view(sessions: &Sessions, lesson_id: LessonId, quiz: Quiz) -> QuizView {
    let session = sessions.latest(SessionKind::Quiz).cloned();
    let mut answers = BTreeMap::new();
    for (id, answer) in session.iter().flat_map(|session| sessions.counting(session)) {
        let question = quiz.questions.iter().find(|question| question.id == id);
        let view = AnswerView {
            response: answer.response.clone(),
            saved_at: answer.stamp.at,
            correct: question.and_then(|question| question.is_correct(&answer.response)),
            unsent: sessions.is_unsent(answer),
        };
        answers.insert(id.to_owned(), view);
    }
    let mut attempts: Vec<AttemptView> = sessions
        .of(SessionKind::Quiz)
        .filter(|other| other.status.is_end() && session.as_ref().is_none_or(|session| session.id != other.id))
        .map(|other| AttemptView {
            session_id: other.id,
            attempt: other.attempt,
            status: other.status,
            ended_at: other.ended_at,
            grade: grade(sessions, other, &quiz),
            sent: sessions.is_sent(other.id),
        })
        .collect();
    attempts.sort_by_key(|attempt| std::cmp::Reverse((attempt.attempt, attempt.ended_at)));
    QuizView {
        lesson_id,
        grade: session.as_ref().and_then(|session| grade(sessions, session, &quiz)),
        sent: session.as_ref().is_some_and(|session| sessions.is_sent(session.id)),
        quiz,
        session,
        answers,
        attempts,
    }
}

/// The service's grade; before it is here, the one that can be given on this device.
fn grade(sessions: &Sessions, session: &Session, quiz: &Quiz) -> Option<Grade> {
    let answers: Vec<Answer> = sessions.answers_in(session.id).cloned().collect();
    session.grade.or_else(|| session.graded(quiz, &answers))
}
