//! Progress and answers: event, local state and outbox entry in one transaction, durable before it returns.

pub mod view;

use carrel_model::{LessonId, ProfileId};

use crate::EngineError;
use view::{AnswerQuestion, CompleteLesson, FinishSession, ProgressView, QuizView, RecordPosition, StartQuiz};

/// The room's handle.
#[derive(Debug, Clone)]
pub struct Learning {}

impl Learning {
    /// Records a place.
    pub async fn record_position(
        &self,
        _profile: ProfileId,
        _request: RecordPosition,
    ) -> Result<ProgressView, EngineError> {
        todo!()
    }

    /// Records a completion.
    pub async fn complete(&self, _profile: ProfileId, _request: CompleteLesson) -> Result<ProgressView, EngineError> {
        todo!()
    }

    /// The quiz of a lesson with its session and answers.
    pub async fn quiz(&self, _profile: ProfileId, _lesson: LessonId) -> Result<QuizView, EngineError> {
        todo!()
    }

    /// Starts or goes on with a quiz.
    pub async fn start_quiz(&self, _profile: ProfileId, _request: StartQuiz) -> Result<QuizView, EngineError> {
        todo!()
    }

    /// Records an answer.
    pub async fn answer(&self, _profile: ProfileId, _request: AnswerQuestion) -> Result<QuizView, EngineError> {
        todo!()
    }

    /// Hands a session in; the lesson is completed with it.
    pub async fn finish(&self, _profile: ProfileId, _request: FinishSession) -> Result<QuizView, EngineError> {
        todo!()
    }
}
