//! What is shown of a learner's progress and answers.

use std::collections::BTreeMap;

use carrel_model::{
    LessonId, SessionId, TimeMs,
    progress::ProgressStatus,
    quiz::{Quiz, Response},
    session::Session,
};

view! {
    /// Progress on a lesson: the service's word joined with what is still waiting to be sent.
    pub struct ProgressView {
        /// State.
        pub status: ProgressStatus,
        /// 0–100.
        pub percent: u8,
        /// The last place, in the lesson's own unit.
        #[ts(type = "number")]
        pub position: u64,
        /// First completion.
        pub completed_at: Option<TimeMs>,
        /// When the place was recorded.
        pub updated_at: Option<TimeMs>,
        /// Whether something of it is still waiting to be sent.
        pub unsent: bool,
    }

    /// A place was reached.
    pub struct RecordPosition {
        /// In which lesson.
        pub lesson_id: LessonId,
        /// In the lesson's own unit.
        #[ts(type = "number")]
        pub position: u64,
        /// 0–100.
        pub percent: u8,
    }

    /// A lesson was completed.
    pub struct CompleteLesson {
        /// Which.
        pub lesson_id: LessonId,
    }

    /// The quiz screen.
    pub struct QuizView {
        /// The lesson.
        pub lesson_id: LessonId,
        /// The questions.
        pub quiz: Quiz,
        /// The session, once started.
        pub session: Option<Session>,
        /// By question id: the answer that counts.
        pub answers: BTreeMap<String, AnswerView>,
        /// Whether the service has everything of this session.
        pub sent: bool,
    }

    /// An answer that counts.
    pub struct AnswerView {
        /// What was answered.
        pub response: Response,
        /// When it was durable on this device ("Saved on this device 12:41").
        pub saved_at: TimeMs,
        /// For practice quizzes.
        pub correct: Option<bool>,
        /// Whether it is still waiting to be sent.
        pub unsent: bool,
    }

    /// Starts the quiz of a lesson, or goes on with its running session.
    pub struct StartQuiz {
        /// The lesson.
        pub lesson_id: LessonId,
        /// Start anew although one is finished.
        #[serde(default)]
        pub again: bool,
    }

    /// Answers a question.
    pub struct AnswerQuestion {
        /// The session.
        pub session_id: SessionId,
        /// The question.
        pub question_id: String,
        /// The answer.
        pub response: Response,
    }

    /// Hands a session in.
    pub struct FinishSession {
        /// Which.
        pub session_id: SessionId,
    }
}
