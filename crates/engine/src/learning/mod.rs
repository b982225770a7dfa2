//! Progress and answers: event, local state and outbox entry in one transaction, durable before it returns.
//!
//! The local state *is* the outbox entry: what a learner sees is the service's word joined with everything that waits, by
//! the rules of `carrel_model` the service itself uses. There is no third copy that could disagree with the two.

pub(crate) mod progress;
pub(crate) mod pulled;
mod quizzes;
pub mod view;

use std::sync::Arc;

use carrel_model::{
    ErrorCode, LessonId, ProfileId, SessionId,
    content::{LessonKind, PositionUnit},
    op::Op,
    progress::{LessonCompleted, PositionReached, ProgressStatus},
    quiz::Quiz,
    session::{AnswerRecorded, Session, SessionKind, SessionMoved, SessionStatus, Statistics},
};
use sqlx::Row as _;

use crate::{EngineError, catalogue::rows as catalogue, library::Library, outbox::Outbox, ports::Clock, rows::parsed};
use view::{AnswerQuestion, CompleteLesson, FinishSession, ProgressView, QuizView, RecordPosition, StartQuiz};

/// Which time through a lesson it is. Only quizzes are taken again, and their attempts are those of their sessions.
const ATTEMPT: u32 = 1;

/// The room's handle.
#[derive(Debug, Clone)]
pub struct Learning {
    library: Library,
    outbox: Outbox,
    clock: Arc<dyn Clock>,
    /// One write at a time, so that what it is decided on is still true when it is written.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Learning {
    pub(crate) fn new(library: Library, outbox: Outbox, clock: Arc<dyn Clock>) -> Self {
        Self { library, outbox, clock, turn: Arc::default() }
    }

    /// Records a place.
    pub async fn record_position(
        &self,
        profile: ProfileId,
        request: RecordPosition,
    ) -> Result<ProgressView, EngineError> {
        if request.percent > 100 {
            return Err(EngineError::Invalid("percent is more than 100"));
        }
        let _turn = self.turn.lock().await;
        let last = self.last_position(profile, request.lesson_id).await?;
        // Players round; what lies past the end is the end, and not an op the service would refuse.
        let position = last.map_or(request.position, |last| request.position.min(last));
        let reached = PositionReached { attempt: ATTEMPT, position, percent: request.percent };
        self.write(profile, &[Op::Position(request.lesson_id, reached)]).await?;
        self.progress(profile, request.lesson_id).await
    }

    /// Records a completion.
    pub async fn complete(&self, profile: ProfileId, request: CompleteLesson) -> Result<ProgressView, EngineError> {
        let _turn = self.turn.lock().await;
        self.last_position(profile, request.lesson_id).await?;
        if let Some(op) = self.completion(profile, request.lesson_id).await? {
            self.write(profile, &[op]).await?;
        }
        self.progress(profile, request.lesson_id).await
    }

    /// The quiz of a lesson with its session and answers.
    pub async fn quiz(&self, profile: ProfileId, lesson: LessonId) -> Result<QuizView, EngineError> {
        let quiz = self.questions(profile, lesson).await?;
        Ok(quizzes::of_lesson(self.library.readers(), profile, lesson).await?.view(lesson, quiz))
    }

    /// Starts or goes on with a quiz.
    pub async fn start_quiz(&self, profile: ProfileId, request: StartQuiz) -> Result<QuizView, EngineError> {
        let lesson = request.lesson_id;
        let _turn = self.turn.lock().await;
        self.questions(profile, lesson).await?;
        let sessions = quizzes::of_lesson(self.library.readers(), profile, lesson).await?;
        let attempt = match sessions.latest() {
            Some(session) if session.status.is_end() && request.again => session.attempt.saturating_add(1),
            Some(_) => return self.quiz(profile, lesson).await,
            None => 1,
        };
        let now = self.clock.now();
        let mut random = [0; 10];
        self.clock.fill_random(&mut random);
        let moved = SessionMoved {
            lesson_id: lesson,
            attempt,
            kind: SessionKind::Quiz,
            started_at: now,
            statistics: Statistics::default(),
        };
        let op = Op::Session(SessionId::from_parts(now, random), SessionStatus::Running, moved);
        self.write(profile, &[op]).await?;
        self.quiz(profile, lesson).await
    }

    /// Records an answer.
    pub async fn answer(&self, profile: ProfileId, request: AnswerQuestion) -> Result<QuizView, EngineError> {
        let _turn = self.turn.lock().await;
        let (session, quiz) = self.session(profile, request.session_id).await?;
        if session.status.is_end() {
            return Err(EngineError::Refused(ErrorCode::WrongState));
        }
        let question = quiz.questions.iter().find(|question| question.id == request.question_id);
        let question = question.ok_or(EngineError::NotFound("question"))?;
        if !quizzes::fits(question, &request.response) || !request.response.is_within_limits() {
            return Err(EngineError::Invalid("the response does not fit the question"));
        }
        let sessions = quizzes::of_lesson(self.library.readers(), profile, session.lesson_id).await?;
        let said_before = sessions
            .answers_of(session.id)
            .any(|answer| answer.question_id == request.question_id && answer.response == request.response);
        // A second press of the same button is not a second answer.
        if !said_before {
            let recorded = AnswerRecorded {
                lesson_id: session.lesson_id,
                question_id: request.question_id,
                response: request.response,
            };
            self.write(profile, &[Op::Answer(session.id, recorded)]).await?;
        }
        self.quiz(profile, session.lesson_id).await
    }

    /// Hands a session in; the lesson is completed with it.
    pub async fn finish(&self, profile: ProfileId, request: FinishSession) -> Result<QuizView, EngineError> {
        let _turn = self.turn.lock().await;
        let (session, quiz) = self.session(profile, request.session_id).await?;
        match session.status {
            SessionStatus::Finished => return self.quiz(profile, session.lesson_id).await,
            SessionStatus::Abandoned => return Err(EngineError::Refused(ErrorCode::WrongState)),
            SessionStatus::Running | SessionStatus::Paused => {}
        }
        let sessions = quizzes::of_lesson(self.library.readers(), profile, session.lesson_id).await?;
        let spent = u64::try_from(self.clock.now().since(session.started_at)).unwrap_or(0);
        let moved = SessionMoved {
            lesson_id: session.lesson_id,
            attempt: session.attempt,
            kind: session.kind,
            started_at: session.started_at,
            statistics: sessions.statistics(&session, &quiz, spent),
        };
        let mut ops = vec![Op::Session(session.id, SessionStatus::Finished, moved)];
        ops.extend(self.completion(profile, session.lesson_id).await?);
        self.write(profile, &ops).await?;
        self.quiz(profile, session.lesson_id).await
    }

    /// How far a learner is in a lesson.
    pub(crate) async fn progress(&self, profile: ProfileId, lesson: LessonId) -> Result<ProgressView, EngineError> {
        progress::of_lesson(self.library.readers(), profile, lesson).await
    }

    /// All of them, or none.
    async fn write(&self, profile: ProfileId, ops: &[Op]) -> Result<(), EngineError> {
        let mut tx = self.library.write().await?;
        for op in ops {
            self.outbox.enqueue(&mut tx, profile, op).await?;
        }
        tx.commit().await?;
        self.outbox.wake();
        Ok(())
    }

    /// The op that completes a lesson; none when it is complete.
    async fn completion(&self, profile: ProfileId, lesson: LessonId) -> Result<Option<Op>, EngineError> {
        let known = self.progress(profile, lesson).await?;
        let op = Op::Completed(lesson, LessonCompleted { attempt: ATTEMPT });
        Ok((known.status != ProgressStatus::Completed).then_some(op))
    }

    /// The last place there is in a lesson, where that is known. A lesson that was begun may have been withdrawn since: what
    /// is done in it still counts.
    async fn last_position(&self, profile: ProfileId, lesson: LessonId) -> Result<Option<u64>, EngineError> {
        let row = sqlx::query("SELECT kind, duration_ms FROM lessons WHERE profile_id = ?1 AND id = ?2")
            .bind(profile.to_string())
            .bind(lesson.to_string())
            .fetch_optional(self.library.readers())
            .await?;
        let Some(row) = row else {
            let begun = self.progress(profile, lesson).await?.status != ProgressStatus::NotStarted;
            return if begun { Ok(None) } else { Err(EngineError::NotFound("lesson")) };
        };
        let kind: LessonKind = parsed(&row, "kind")?;
        Ok(match kind.position_unit() {
            PositionUnit::Millisecond => {
                row.try_get::<Option<i64>, _>("duration_ms")?.and_then(|ms| u64::try_from(ms).ok())
            }
            PositionUnit::PerMille => Some(1_000),
            PositionUnit::Page | PositionUnit::Question => None,
        })
    }

    async fn questions(&self, profile: ProfileId, lesson: LessonId) -> Result<Quiz, EngineError> {
        let lesson = catalogue::lesson(self.library.readers(), profile, lesson).await?;
        lesson.and_then(|lesson| lesson.payload.quiz).ok_or(EngineError::NotFound("quiz"))
    }

    /// A session of a learner, and the questions it is about.
    async fn session(&self, profile: ProfileId, id: SessionId) -> Result<(Session, Quiz), EngineError> {
        let lesson: Option<String> = sqlx::query_scalar(
            "SELECT lesson_id FROM sessions WHERE profile_id = ?1 AND id = ?2
             UNION SELECT lesson_id FROM outbox WHERE profile_id = ?1 AND entity_id = ?2",
        )
        .bind(profile.to_string())
        .bind(id.to_string())
        .fetch_optional(self.library.readers())
        .await?;
        let lesson = lesson.and_then(|text| text.parse().ok()).ok_or(EngineError::NotFound("session"))?;
        let mut sessions = quizzes::of_lesson(self.library.readers(), profile, lesson).await?;
        let session = sessions.all.remove(&id).ok_or(EngineError::NotFound("session"))?;
        Ok((session, self.questions(profile, lesson).await?))
    }
}
