//! The tables `downloads` and `download_items`: reading them as they are, and moving a download from state to state.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use carrel_model::{
    AssetId, BlobHash, CourseId, DownloadId, ErrorCode, LessonId, ProfileId, TimeMs, UnitId,
    content::Quality,
    download::{DownloadAction, DownloadState, WaitReason},
    op::{DownloadReported, Op},
};
use sqlx::{Row as _, SqliteExecutor, SqlitePool, sqlite::SqliteRow};

use super::view::DownloadView;
use crate::{
    EngineError,
    blobs::read_hash,
    library::WriteTx,
    rows::{parsed, time_option, unsigned},
};

/// A row of `downloads`, with what its items add up to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DownloadRow {
    pub(crate) id: DownloadId,
    pub(crate) profile_id: ProfileId,
    pub(crate) course_id: CourseId,
    pub(crate) unit_id: UnitId,
    pub(crate) lesson_id: Option<LessonId>,
    pub(crate) title: String,
    pub(crate) accent: String,
    pub(crate) cover_asset_id: Option<AssetId>,
    pub(crate) course_is_open: bool,
    pub(crate) quality: Quality,
    pub(crate) state: DownloadState,
    pub(crate) wait_reason: Option<WaitReason>,
    pub(crate) error: Option<ErrorCode>,
    pub(crate) priority: u8,
    pub(crate) position: i64,
    pub(crate) generation: i64,
    pub(crate) usable_generation: i64,
    pub(crate) round: u32,
    pub(crate) retry: Option<(TimeMs, WaitReason)>,
    pub(crate) created_at: TimeMs,
    pub(crate) completed_at: Option<TimeMs>,
    pub(crate) expires_at: Option<TimeMs>,
    pub(crate) deleted_at: Option<TimeMs>,
    /// Of the generation being fetched: all, and verified on disk.
    pub(crate) bytes_total: u64,
    pub(crate) bytes_done: u64,
}

/// Each blob counts once, however many assets it serves.
const SELECT: &str = "
    SELECT d.*, COALESCE(n.total, d.bytes_total) AS total, COALESCE(n.done, 0) AS done
    FROM downloads d LEFT JOIN (
        SELECT download_id, generation, SUM(size) AS total,
               SUM(CASE state WHEN 'present' THEN size ELSE verified_bytes END) AS done
        FROM (SELECT DISTINCT download_id, generation, hash FROM download_items
              WHERE ?1 IS NULL OR download_id IN (SELECT value FROM json_each(?1))) JOIN blobs USING (hash)
        GROUP BY download_id, generation
    ) n ON n.download_id = d.id AND n.generation = d.generation
    WHERE (?1 IS NULL OR d.id IN (SELECT value FROM json_each(?1)))";

impl DownloadRow {
    fn read(row: &SqliteRow) -> Result<Self, EngineError> {
        let retry_at: Option<i64> = row.try_get("retry_at")?;
        let retry_reason = optional(row, "retry_reason")?.unwrap_or(WaitReason::Server);
        Ok(Self {
            id: parsed(row, "id")?,
            profile_id: parsed(row, "profile_id")?,
            course_id: parsed(row, "course_id")?,
            unit_id: parsed(row, "unit_id")?,
            lesson_id: optional(row, "lesson_id")?,
            title: row.try_get("title")?,
            accent: row.try_get("accent")?,
            cover_asset_id: optional(row, "cover_asset_id")?,
            course_is_open: row.try_get("course_is_open")?,
            quality: parsed(row, "quality")?,
            state: parsed(row, "state")?,
            wait_reason: optional(row, "wait_reason")?,
            error: optional(row, "error")?,
            priority: row.try_get("priority")?,
            position: row.try_get("position")?,
            generation: row.try_get("generation")?,
            usable_generation: row.try_get("usable_generation")?,
            round: row.try_get("round")?,
            retry: retry_at.map(|at| (TimeMs::from_ms(at), retry_reason)),
            created_at: TimeMs::from_ms(row.try_get("created_at")?),
            completed_at: time_option(row, "completed_at")?,
            expires_at: time_option(row, "expires_at")?,
            deleted_at: time_option(row, "deleted_at")?,
            bytes_total: unsigned(row, "total")?,
            bytes_done: unsigned(row, "done")?,
        })
    }

    /// As a front end sees it at `now`; what a running transfer knows better is laid over it by the caller.
    pub(crate) fn view(&self, now: TimeMs) -> DownloadView {
        let expired = self.state == DownloadState::Completed && self.expires_at.is_some_and(|end| end <= now);
        DownloadView {
            id: self.id,
            unit_id: self.unit_id,
            lesson_id: self.lesson_id,
            title: self.title.clone(),
            cover_asset_id: self.cover_asset_id,
            accent: self.accent.clone(),
            quality: self.quality,
            state: if expired { DownloadState::Expired } else { self.state },
            wait_reason: self.wait_reason,
            error: self.error,
            bytes_done: self.bytes_done,
            bytes_total: self.bytes_total,
            bytes_per_second: 0,
            seconds_left: None,
            priority: self.priority,
            created_at: self.created_at,
            completed_at: self.completed_at,
            expires_at: self.expires_at,
        }
    }

    /// The state after an action, or the refusal of it.
    pub(crate) fn after(&self, action: DownloadAction) -> Result<DownloadState, EngineError> {
        self.state.after(action).ok_or(EngineError::Refused(ErrorCode::WrongState))
    }

    /// What the service is told about it.
    pub(crate) const fn report(&self, state: DownloadState, bytes: u64, deleted: bool) -> Op {
        Op::Download(self.id, DownloadReported { unit_id: self.unit_id, state, quality: self.quality, bytes, deleted })
    }
}

/// Downloads of a learner that were not deleted, in queue order, finished ones last.
pub(crate) async fn of_profile(readers: &SqlitePool, profile: ProfileId) -> Result<Vec<DownloadRow>, EngineError> {
    let sql = format!(
        "{SELECT} AND d.profile_id = ?2 AND d.deleted_at IS NULL
         ORDER BY d.state IN ('completed', 'cancelled', 'expired'), d.priority DESC, d.position, d.id"
    );
    let rows = sqlx::query(&sql).bind(None::<String>).bind(profile.to_string()).fetch_all(readers).await?;
    rows.iter().map(DownloadRow::read).collect()
}

/// These downloads, deleted ones too.
pub(crate) async fn of_ids(
    executor: impl SqliteExecutor<'_>,
    ids: &[DownloadId],
) -> Result<Vec<DownloadRow>, EngineError> {
    let rows = sqlx::query(SELECT).bind(serde_json::to_string(ids)?).fetch_all(executor).await?;
    rows.iter().map(DownloadRow::read).collect()
}

/// One download of a learner that was not deleted.
pub(crate) async fn get(
    executor: impl SqliteExecutor<'_>,
    profile: ProfileId,
    id: DownloadId,
) -> Result<DownloadRow, EngineError> {
    let row = of_ids(executor, &[id]).await?.pop();
    row.filter(|row| row.profile_id == profile && row.deleted_at.is_none()).ok_or(EngineError::NotFound("download"))
}

/// The download of this wish, where there is one that was not deleted.
pub(crate) async fn of_wish(
    readers: &SqlitePool,
    profile: ProfileId,
    unit: UnitId,
    lesson: Option<LessonId>,
) -> Result<Option<DownloadRow>, EngineError> {
    let sql =
        format!("{SELECT} AND d.profile_id = ?2 AND d.unit_id = ?3 AND d.lesson_id = ?4 AND d.deleted_at IS NULL");
    let row = sqlx::query(&sql)
        .bind(None::<String>)
        .bind(profile.to_string())
        .bind(unit.to_string())
        .bind(lesson.map(|id| id.to_string()).unwrap_or_default())
        .fetch_optional(readers)
        .await?;
    row.as_ref().map(DownloadRow::read).transpose()
}

/// Everything in the queue, of all learners.
pub(crate) async fn queued(executor: impl SqliteExecutor<'_>) -> Result<Vec<DownloadRow>, EngineError> {
    let rows = sqlx::query(
        "SELECT d.*, 0 AS total, 0 AS done FROM downloads d
         WHERE d.deleted_at IS NULL AND d.state IN ('pending', 'downloading', 'verifying')
         ORDER BY d.priority DESC, d.position, d.id",
    )
    .fetch_all(executor)
    .await?;
    rows.iter().map(DownloadRow::read).collect()
}

/// Queued downloads that need a blob, the first in the queue first.
pub(crate) async fn queued_for(tx: &mut WriteTx, hash: BlobHash) -> Result<Vec<DownloadRow>, EngineError> {
    let rows = sqlx::query(
        "SELECT d.*, 0 AS total, 0 AS done FROM downloads d
         WHERE d.deleted_at IS NULL AND d.state IN ('pending', 'downloading', 'verifying')
           AND EXISTS (SELECT 1 FROM download_items i
                       WHERE i.hash = ? AND i.download_id = d.id AND i.generation = d.generation)
         ORDER BY d.priority DESC, d.position, d.id",
    )
    .bind(hash.to_string())
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(DownloadRow::read).collect()
}

/// Blobs a download still misses, in its order, with their sizes.
pub(crate) async fn missing(
    executor: impl SqliteExecutor<'_>,
    id: DownloadId,
    limit: usize,
) -> Result<Vec<(BlobHash, u64)>, EngineError> {
    let rows = sqlx::query(
        "SELECT i.hash, b.size FROM downloads d
         JOIN download_items i ON i.download_id = d.id AND i.generation = d.generation
         JOIN blobs b USING (hash)
         WHERE d.id = ? AND b.state <> 'present' GROUP BY i.hash ORDER BY MIN(i.ordinal) LIMIT ?",
    )
    .bind(id.to_string())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(executor)
    .await?;
    rows.iter().map(|row| Ok((read_hash(row)?, unsigned(row, "size")?))).collect()
}

/// Every blob that queued downloads still miss, with its size: what the disk has to keep room for.
pub(crate) async fn missing_of_queue(readers: &SqlitePool) -> Result<BTreeMap<BlobHash, u64>, EngineError> {
    let rows = sqlx::query(
        "SELECT DISTINCT b.hash, b.size FROM downloads d
         JOIN download_items i ON i.download_id = d.id AND i.generation = d.generation
         JOIN blobs b ON b.hash = i.hash AND b.state = 'partial'
         WHERE d.deleted_at IS NULL AND d.state IN ('pending', 'downloading', 'verifying')",
    )
    .fetch_all(readers)
    .await?;
    rows.iter().map(|row| Ok((read_hash(row)?, unsigned(row, "size")?))).collect()
}

/// Which of these blobs some queued download still needs.
pub(crate) async fn still_needed(readers: &SqlitePool, hashes: &[BlobHash]) -> Result<Vec<BlobHash>, EngineError> {
    let rows = sqlx::query(
        "SELECT DISTINCT i.hash FROM download_items i
         JOIN downloads d ON d.id = i.download_id AND d.generation = i.generation
         WHERE i.hash IN (SELECT value FROM json_each(?)) AND d.deleted_at IS NULL
           AND d.state IN ('pending', 'downloading', 'verifying')",
    )
    .bind(serde_json::to_string(hashes)?)
    .fetch_all(readers)
    .await?;
    rows.iter().map(read_hash).collect()
}

/// What becomes of a download besides its state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) wait_reason: Option<WaitReason>,
    pub(crate) error: Option<ErrorCode>,
    pub(crate) round: u32,
    pub(crate) retry: Option<(TimeMs, WaitReason)>,
}

impl Change {
    /// Leaves all as it is but the reason to wait.
    pub(crate) const fn waiting(row: &DownloadRow, wait_reason: Option<WaitReason>) -> Self {
        Self { wait_reason, error: row.error, round: row.round, retry: row.retry }
    }
}

/// Writes a state; the caller asked [`DownloadRow::after`] for it.
pub(crate) async fn set_state(
    tx: &mut WriteTx,
    id: DownloadId,
    state: DownloadState,
    change: Change,
) -> Result<(), EngineError> {
    sqlx::query(
        "UPDATE downloads SET state = ?, wait_reason = ?, error = ?, round = ?, retry_at = ?, retry_reason = ? WHERE id = ?",
    )
    .bind(state.as_str())
    .bind(change.wait_reason.map(WaitReason::as_str))
    .bind(change.error.map(ErrorCode::as_str))
    .bind(change.round)
    .bind(change.retry.map(|(at, _)| at.as_ms()))
    .bind(change.retry.map(|(_, reason)| reason.as_str()))
    .bind(id.to_string())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A column of words or ids that may be NULL or empty.
pub(crate) fn optional<T: FromStr<Err: Display>>(row: &SqliteRow, column: &str) -> Result<Option<T>, EngineError> {
    match row.try_get::<Option<String>, _>(column)?.as_deref() {
        None | Some("") => Ok(None),
        Some(_) => parsed(row, column).map(Some),
    }
}
