//! What is shown of a learner's progress and answers.

use std::collections::BTreeMap;

use carrel_model::{
    BookmarkId, LessonId, SessionId, TimeMs, UnitId,
    progress::ProgressStatus,
    quiz::{Grade, Question, Quiz, Rating, Response},
    session::{Session, SessionStatus, Statistics},
};

pub use super::schedule::CardState;

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
        /// Whether the place was reached on another device.
        pub elsewhere: bool,
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
        /// What it is worth, once finished: the service's word, or for practice this device's own until that is here.
        pub grade: Option<Grade>,
        /// Whether the service has everything of this session.
        pub sent: bool,
        /// Earlier times through that have ended, the last first.
        pub attempts: Vec<AttemptView>,
    }

    /// An earlier time through a quiz.
    pub struct AttemptView {
        /// Identity.
        pub session_id: SessionId,
        /// Which, from 1.
        pub attempt: u32,
        /// How it ended.
        pub status: SessionStatus,
        /// When.
        pub ended_at: Option<TimeMs>,
        /// What it is worth.
        pub grade: Option<Grade>,
        /// Whether the service has everything of it.
        pub sent: bool,
    }

    /// An answer that counts.
    pub struct AnswerView {
        /// What was answered.
        pub response: Response,
        /// When it was durable on this device ("Saved on this device 12:41").
        pub saved_at: TimeMs,
        /// Where the solution is here: for practice quizzes.
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

    /// Speaks of a session.
    pub struct SessionRequest {
        /// Which.
        pub session_id: SessionId,
    }

    /// Everything that can be reviewed.
    pub struct DecksView {
        /// In the order of the library.
        pub decks: Vec<DeckView>,
    }

    /// The cards of one lesson.
    pub struct DeckView {
        /// The lesson whose questions they are.
        pub lesson_id: LessonId,
        /// Its name.
        pub title: String,
        /// Its unit.
        pub unit_id: UnitId,
        /// The name of its unit.
        pub unit_title: String,
        /// BCP 47.
        pub language: String,
        /// `#rrggbb`.
        pub accent: String,
        /// How many cards.
        pub cards: u32,
        /// Of those, due now.
        pub due: u32,
        /// Of those, never seen.
        pub fresh: u32,
        /// When the first one is due.
        pub next_due_at: Option<TimeMs>,
        /// The state of a review that was begun and not ended.
        pub open: Option<SessionStatus>,
    }

    /// The review screen.
    pub struct ReviewView {
        /// The lesson whose questions are the cards.
        pub lesson_id: LessonId,
        /// The last session, once one was started.
        pub session: Option<Session>,
        /// What is shown; none when nothing is left or no session is open.
        pub card: Option<CardView>,
        /// How many cards there are.
        pub cards: u32,
        /// How many the session has before it, or one started now would.
        pub remaining: u32,
        /// When the first card is due.
        pub next_due_at: Option<TimeMs>,
        /// What the session amounts to so far.
        pub statistics: Option<Statistics>,
        /// Whether the service has everything of this session.
        pub sent: bool,
    }

    /// A card.
    pub struct CardView {
        /// The question, with its solution.
        pub question: Question,
        /// How far it is.
        pub state: CardState,
        /// What can be said about it, from "not" to "at once".
        pub ratings: Vec<RatingView>,
    }

    /// One thing that can be said about a card.
    pub struct RatingView {
        /// What.
        pub rating: Rating,
        /// When the card would come back.
        pub due_at: TimeMs,
    }

    /// Says how well the card that is shown was remembered.
    pub struct RateCard {
        /// The session.
        pub session_id: SessionId,
        /// The card.
        pub question_id: String,
        /// How well.
        pub rating: Rating,
    }

    /// The bookmarks of a lesson.
    pub struct BookmarksView {
        /// The lesson.
        pub lesson_id: LessonId,
        /// In the order of the lesson.
        pub bookmarks: Vec<BookmarkView>,
    }

    /// A bookmark.
    pub struct BookmarkView {
        /// Identity.
        pub id: BookmarkId,
        /// Where, in the lesson's own unit.
        #[ts(type = "number")]
        pub position: u64,
        /// What the learner wrote.
        pub note: String,
        /// When.
        pub written_at: TimeMs,
        /// Whether it is still waiting to be sent.
        pub unsent: bool,
    }

    /// Makes a bookmark, or changes one.
    pub struct PutBookmark {
        /// The one to change; none for a new one.
        #[serde(default)]
        pub bookmark_id: Option<BookmarkId>,
        /// The lesson.
        pub lesson_id: LessonId,
        /// Where, in the lesson's own unit.
        #[ts(type = "number")]
        pub position: u64,
        /// What to remember about it.
        #[serde(default)]
        pub note: String,
    }

    /// Removes a bookmark.
    pub struct DeleteBookmark {
        /// Which.
        pub bookmark_id: BookmarkId,
        /// Its lesson.
        pub lesson_id: LessonId,
    }

    /// Time was spent with a lesson's player.
    pub struct RecordStudy {
        /// Which lesson.
        pub lesson_id: LessonId,
        /// What the first report was answered with; none for the first.
        #[serde(default)]
        pub session: Option<StudyView>,
        /// How long since the player was opened, pauses left out.
        #[ts(type = "number")]
        pub active_ms: u64,
    }

    /// What the next report of the same opening says again.
    pub struct StudyView {
        /// Identity of the opening.
        pub session_id: SessionId,
        /// When it began.
        pub started_at: TimeMs,
    }

    /// Asks for what was done.
    pub struct StatisticsRequest {
        /// Where days begin, and where the last one ends.
        pub edges: Vec<TimeMs>,
    }

    /// What a learner has done.
    pub struct LearnerStatistics {
        /// For each two edges.
        pub days: Vec<DayView>,
        /// Ever.
        pub total: DayView,
    }

    /// What was done in a day.
    #[derive(Default)]
    pub struct DayView {
        /// When it began.
        pub from: TimeMs,
        /// Time learned.
        #[ts(type = "number")]
        pub time_ms: u64,
        /// Questions answered.
        pub answered: u32,
        /// Of those, right.
        pub correct: u32,
        /// Lessons completed.
        pub completed: u32,
    }
}
