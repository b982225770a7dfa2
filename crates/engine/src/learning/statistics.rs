//! What a learner has done, day by day, on all their devices.
//!
//! Time with a player travels as the numbers of a session of its own ([`SessionKind::Study`]): merged by the maximum, so
//! that a report that comes twice or late changes nothing.

use carrel_model::{
    ProfileId, SessionId, TimeMs,
    op::Op,
    session::{Session, SessionKind, SessionMoved, Statistics, StatisticsRecorded},
};

use super::{
    Learning, progress, sessions,
    view::{DayView, LearnerStatistics, RecordStudy, StatisticsRequest, StudyView},
};
use crate::{EngineError, outbox::overlay, rows::json};

/// A year of days, and the end of the last.
const MAX_EDGES: usize = 367;

impl Learning {
    /// What was done between each two of the given moments. Where a day begins is for the caller to know.
    pub async fn statistics(
        &self,
        profile: ProfileId,
        request: StatisticsRequest,
    ) -> Result<LearnerStatistics, EngineError> {
        let edges = request.edges;
        if edges.len() < 2 || edges.len() > MAX_EDGES || !edges.is_sorted() {
            return Err(EngineError::Invalid("edges are 2 to 367 moments in their order"));
        }
        let mut days: Vec<DayView> =
            edges.iter().take(edges.len() - 1).map(|from| DayView { from: *from, ..DayView::default() }).collect();
        let mut total = DayView { from: edges.first().copied().unwrap_or_default(), ..DayView::default() };
        let place = |at: TimeMs| {
            let after = edges.partition_point(|edge| *edge <= at);
            (after < edges.len()).then(|| after.checked_sub(1)).flatten()
        };
        let mut add = |at: TimeMs, done: DayView| {
            total.add(&done);
            if let Some(day) = place(at).and_then(|place| days.get_mut(place)) {
                day.add(&done);
            }
        };
        for session in self.all_sessions(profile).await? {
            let Statistics { answered, correct, duration_ms, .. } = session.statistics;
            add(session.started_at, DayView { time_ms: duration_ms, ..DayView::default() });
            let correct = session.grade.map_or(correct, |grade| grade.correct);
            let answered = session.grade.map_or(answered, |grade| grade.answered);
            add(session.ended_at.unwrap_or(session.started_at), DayView { answered, correct, ..DayView::default() });
        }
        for progress in progress::of_all(self.library.readers(), profile).await?.into_values() {
            if let Some(at) = progress.completed_at {
                add(at, DayView { completed: 1, ..DayView::default() });
            }
        }
        Ok(LearnerStatistics { days, total })
    }

    /// Records time with a lesson's player.
    pub async fn study(&self, profile: ProfileId, request: RecordStudy) -> Result<StudyView, EngineError> {
        let _turn = self.turn.lock().await;
        self.last_position(profile, request.lesson_id).await?;
        let now = self.clock.now();
        let (session_id, started_at) = match request.session {
            Some(session) => (session.session_id, session.started_at),
            None => {
                let active = i64::try_from(request.active_ms).unwrap_or(i64::MAX);
                (self.new_session_id(), now.plus_ms(active.saturating_neg()))
            }
        };
        // Nobody learns longer than the time that has passed.
        let passed = u64::try_from(now.since(started_at)).unwrap_or(0);
        let statistics = Statistics { duration_ms: request.active_ms.min(passed), ..Statistics::default() };
        let kind = SessionKind::Study;
        let session = SessionMoved { lesson_id: request.lesson_id, attempt: 1, kind, started_at, statistics };
        self.write(profile, &[Op::Statistics(session_id, StatisticsRecorded { session })]).await?;
        Ok(StudyView { session_id, started_at })
    }

    async fn all_sessions(&self, profile: ProfileId) -> Result<Vec<Session>, EngineError> {
        let mut snapshot = self.library.readers().begin().await?;
        let pending = overlay(&mut snapshot, profile, None).await?;
        let rows = sqlx::query("SELECT session FROM sessions WHERE profile_id = ?1")
            .bind(profile.to_string())
            .fetch_all(&mut *snapshot)
            .await?;
        let words = rows.iter().map(|row| json(row, "session")).collect::<Result<Vec<Session>, _>>()?;
        let all: std::collections::BTreeMap<SessionId, Session> =
            sessions::joined(words.into_iter().chain(pending.sessions));
        Ok(all.into_values().collect())
    }
}

impl DayView {
    fn add(&mut self, other: &Self) {
        self.time_ms = self.time_ms.saturating_add(other.time_ms);
        self.answered = self.answered.saturating_add(other.answered);
        self.correct = self.correct.saturating_add(other.correct);
        self.completed = self.completed.saturating_add(other.completed);
    }
}
