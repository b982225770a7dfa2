//! The table `progress` – the service's word – and what a learner sees: that word joined with what waits.

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::{
    LessonId, ProfileId,
    op::OpKind,
    progress::{Position, Progress, ProgressStatus},
    stamp::Stamp,
};
use sqlx::{Row as _, SqliteConnection, SqlitePool, sqlite::SqliteRow};

use super::view::ProgressView;
use crate::{
    EngineError,
    outbox::{Overlay, overlay, overlay_of_progress},
    rows::{parsed, signed, time, time_option, unsigned},
};

/// Not begun.
pub(crate) const NOT_STARTED: ProgressView = ProgressView {
    status: ProgressStatus::NotStarted,
    percent: 0,
    position: 0,
    completed_at: None,
    updated_at: None,
    unsent: false,
    elsewhere: false,
};

/// Of every lesson that was begun.
pub(crate) async fn of_all(
    readers: &SqlitePool,
    profile: ProfileId,
) -> Result<BTreeMap<LessonId, ProgressView>, EngineError> {
    let mut snapshot = readers.begin().await?;
    joined(read(&mut snapshot, profile, None).await?, overlay_of_progress(&mut snapshot, profile).await?)
}

/// Of one lesson.
pub(crate) async fn of_lesson(
    readers: &SqlitePool,
    profile: ProfileId,
    lesson: LessonId,
) -> Result<ProgressView, EngineError> {
    let mut snapshot = readers.begin().await?;
    let service = read(&mut snapshot, profile, Some(lesson)).await?;
    let pending = overlay(&mut snapshot, profile, Some(lesson)).await?;
    let stamps = service.iter().chain(pending.progress.values()).filter_map(|row| row.position).map(|last| last.stamp);
    let stamp = stamps.max();
    let mut views = joined(service, pending)?;
    let mut view = views.remove(&lesson).unwrap_or(NOT_STARTED);
    if let Some(stamp) = stamp {
        view.elsewhere = !written_here(&mut snapshot, profile, stamp).await?;
    }
    Ok(view)
}

/// Whether a write was made on this device, under whichever id it had then.
async fn written_here(snapshot: &mut SqliteConnection, profile: ProfileId, stamp: Stamp) -> Result<bool, EngineError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM events WHERE profile_id = ?1 AND seq = ?2 AND device_id = ?3)";
    Ok(sqlx::query_scalar(sql)
        .bind(profile.to_string())
        .bind(signed(stamp.seq))
        .bind(stamp.device_id.to_string())
        .fetch_one(snapshot)
        .await?)
}

fn joined(service: Vec<Progress>, overlay: Overlay) -> Result<BTreeMap<LessonId, ProgressView>, EngineError> {
    let mut all = overlay.progress;
    for word in service {
        let key = (word.lesson_id, word.attempt);
        let row = match all.remove(&key) {
            Some(pending) => word.join(pending),
            None => word,
        };
        all.insert(key, row);
    }
    let of_progress = |kind: OpKind| matches!(kind, OpKind::ProgressPosition | OpKind::ProgressCompleted);
    let unsent: BTreeSet<LessonId> =
        overlay.unsent.iter().filter(|(_, kind, _)| of_progress(*kind)).filter_map(|(lesson, ..)| *lesson).collect();
    // Ordered by attempt: the last time through is the one that is shown.
    Ok(all.into_iter().map(|((lesson, _), row)| (lesson, view(&row, unsent.contains(&lesson)))).collect())
}

fn view(row: &Progress, unsent: bool) -> ProgressView {
    ProgressView {
        status: row.status,
        percent: row.percent,
        position: row.position.map_or(0, |position| position.value),
        completed_at: row.completed_at,
        updated_at: row.position.map(|position| position.stamp.at).max(row.completed_at),
        unsent,
        elsewhere: false,
    }
}

/// The service's word.
pub(super) async fn read(
    snapshot: &mut SqliteConnection,
    profile: ProfileId,
    lesson: Option<LessonId>,
) -> Result<Vec<Progress>, EngineError> {
    let rows = sqlx::query("SELECT * FROM progress WHERE profile_id = ?1 AND (?2 IS NULL OR lesson_id = ?2)")
        .bind(profile.to_string())
        .bind(lesson.map(|id| id.to_string()))
        .fetch_all(snapshot)
        .await?;
    rows.iter().map(progress).collect()
}

fn progress(row: &SqliteRow) -> Result<Progress, EngineError> {
    let position = match row.try_get::<Option<i64>, _>("position")? {
        None => None,
        Some(_) => Some(Position {
            value: unsigned(row, "position")?,
            stamp: Stamp {
                at: time(row, "position_at")?,
                device_id: parsed(row, "position_device")?,
                seq: unsigned(row, "position_seq")?,
            },
        }),
    };
    Ok(Progress {
        lesson_id: parsed(row, "lesson_id")?,
        attempt: row.try_get("attempt")?,
        status: parsed(row, "status")?,
        percent: row.try_get("percent")?,
        completed_at: time_option(row, "completed_at")?,
        position,
    })
}

/// Keeps the service's word.
pub(super) async fn put(
    tx: &mut SqliteConnection,
    profile: ProfileId,
    row: &Progress,
    generation: i64,
) -> Result<(), EngineError> {
    sqlx::query(
        "INSERT OR REPLACE INTO progress (profile_id, lesson_id, attempt, status, percent, completed_at, position,
             position_at, position_device, position_seq, generation)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )
    .bind(profile.to_string())
    .bind(row.lesson_id.to_string())
    .bind(row.attempt)
    .bind(row.status.as_str())
    .bind(row.percent)
    .bind(row.completed_at.map(|at| at.as_ms()))
    .bind(row.position.map(|position| signed(position.value)))
    .bind(row.position.map(|position| position.stamp.at.as_ms()))
    .bind(row.position.map(|position| position.stamp.device_id.to_string()))
    .bind(row.position.map(|position| signed(position.stamp.seq)))
    .bind(generation)
    .execute(tx)
    .await?;
    Ok(())
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
