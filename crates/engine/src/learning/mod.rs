//! Progress, quizzes, reviews, bookmarks: event, local state and outbox entry in one transaction, durable before it returns.
//!
//! The local state *is* the outbox entry: what a learner sees is the service's word joined with everything that waits, by
//! the rules of `carrel_model` the service itself uses. There is no third copy that could disagree with the two.

mod bookmarks;
pub(crate) mod progress;
pub(crate) mod pulled;
mod quizzes;
mod reviews;
mod schedule;
mod sessions;
mod statistics;
pub mod view;

use std::sync::Arc;

use carrel_model::{
    LessonId, ProfileId,
    content::{LessonKind, PositionUnit},
    op::Op,
    progress::{LessonCompleted, PositionReached, ProgressStatus},
};
use sqlx::Row as _;

use crate::{EngineError, library::Library, outbox::Outbox, ports::Clock, rows::parsed};
use view::{CompleteLesson, ProgressView, RecordPosition};

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
}
