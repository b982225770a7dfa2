//! The table `downloads`: reading it as it is, and moving a download from state to state. Its queue is in [`super::line`],
//! its items are in [`super::items`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    str::FromStr,
};

use carrel_model::{
    AssetId, CourseId, DownloadId, ErrorCode, LessonId, ProfileId, TimeMs, UnitId,
    content::Quality,
    download::{DownloadAction, DownloadState, WaitReason},
    op::{DownloadReported, Op},
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use sqlx::{Row as _, SqliteExecutor, SqlitePool, sqlite::SqliteRow};

use super::view::{DownloadView, OwnConditions};
use crate::{
    EngineError,
    library::WriteTx,
    rows::{parsed, time_option, unsigned},
};

/// A row of `downloads`.
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
    /// Of the generation being fetched, each blob once however many assets it serves: all, and verified on disk.
    pub(crate) bytes_total: u64,
    pub(crate) bytes_done: u64,
    /// Blobs that are not whole on disk.
    pub(crate) blobs_missing: u64,
    pub(crate) own: OwnConditions,
}

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
            bytes_total: unsigned(row, "bytes_total")?,
            bytes_done: unsigned(row, "bytes_done")?,
            blobs_missing: unsigned(row, "blobs_missing")?,
            own: own_conditions(row)?,
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
            position: self.position,
            created_at: self.created_at,
            completed_at: self.completed_at,
            expires_at: self.expires_at,
            own: self.own,
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
    // Read one by one: as SQLite gives them, rows take ten times the memory.
    sqlx::query(
        "SELECT * FROM downloads WHERE profile_id = ? AND deleted_at IS NULL
         ORDER BY state IN ('completed', 'cancelled', 'expired'), priority DESC, position, id",
    )
    .bind(profile.to_string())
    .fetch(readers)
    .map(|row| DownloadRow::read(&row?))
    .try_collect()
    .await
}

/// These downloads, deleted ones too.
pub(crate) async fn of_ids(
    executor: impl SqliteExecutor<'_>,
    ids: &[DownloadId],
) -> Result<Vec<DownloadRow>, EngineError> {
    let rows = sqlx::query("SELECT * FROM downloads WHERE id IN (SELECT value FROM json_each(?))")
        .bind(serde_json::to_string(ids)?)
        .fetch_all(executor)
        .await?;
    rows.iter().map(DownloadRow::read).collect()
}

/// Whose these downloads are, and whether an older version or quality of them can be opened meanwhile.
pub(crate) async fn owners(
    readers: &SqlitePool,
    ids: impl Iterator<Item = DownloadId>,
) -> Result<BTreeMap<DownloadId, (ProfileId, bool)>, EngineError> {
    let rows = sqlx::query(
        "SELECT id, profile_id, usable_generation > 0 AS usable FROM downloads
         WHERE id IN (SELECT value FROM json_each(?))",
    )
    .bind(serde_json::to_string(&ids.collect::<Vec<_>>())?)
    .fetch_all(readers)
    .await?;
    rows.iter().map(|row| Ok((parsed(row, "id")?, (parsed(row, "profile_id")?, row.try_get("usable")?)))).collect()
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
    let row = sqlx::query(
        "SELECT * FROM downloads WHERE profile_id = ? AND unit_id = ? AND lesson_id = ? AND deleted_at IS NULL",
    )
    .bind(profile.to_string())
    .bind(unit.to_string())
    .bind(lesson.map(|id| id.to_string()).unwrap_or_default())
    .fetch_optional(readers)
    .await?;
    row.as_ref().map(DownloadRow::read).transpose()
}

/// The downloads of these units and their lessons that were not deleted, by wish.
pub(crate) async fn of_units(
    executor: impl SqliteExecutor<'_>,
    profile: ProfileId,
    units: &BTreeSet<UnitId>,
) -> Result<BTreeMap<(UnitId, Option<LessonId>), DownloadRow>, EngineError> {
    // Read one by one: as SQLite gives them, rows take ten times the memory.
    sqlx::query(
        "SELECT d.* FROM json_each(?2) j CROSS JOIN downloads d INDEXED BY downloads_by_wish
             ON d.profile_id = ?1 AND d.unit_id = j.value AND d.deleted_at IS NULL",
    )
    .bind(profile.to_string())
    .bind(serde_json::to_string(units)?)
    .fetch(executor)
    .map(|row| {
        let row = DownloadRow::read(&row?)?;
        Ok(((row.unit_id, row.lesson_id), row))
    })
    .try_collect()
    .await
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

/// Does the same to all downloads of a learner that it makes sense for; says how many.
pub(crate) async fn act_on_all(
    tx: &mut WriteTx,
    profile: ProfileId,
    action: DownloadAction,
    from: impl Fn(DownloadState) -> bool,
) -> Result<u64, EngineError> {
    let mut changed = 0;
    for state in DownloadState::ALL.iter().copied().filter(|state| from(*state)) {
        let Some(after) = state.after(action) else { continue };
        changed += sqlx::query(
            "UPDATE downloads SET state = ?, wait_reason = NULL, error = NULL, round = 0, retry_at = NULL, retry_reason = NULL
             WHERE profile_id = ? AND deleted_at IS NULL AND state = ?",
        )
        .bind(after.as_str())
        .bind(profile.to_string())
        .bind(state.as_str())
        .execute(&mut **tx)
        .await?
        .rows_affected();
    }
    Ok(changed)
}

/// Reads what a download may do that the settings don't say.
pub(crate) fn own_conditions(row: &SqliteRow) -> Result<OwnConditions, EngineError> {
    Ok(OwnConditions {
        wifi_only: row.try_get("wifi_only")?,
        at_any_hour: row.try_get("at_any_hour")?,
        on_battery: row.try_get("on_battery")?,
    })
}

/// A column of words or ids that may be NULL or empty.
pub(crate) fn optional<T: FromStr<Err: Display>>(row: &SqliteRow, column: &str) -> Result<Option<T>, EngineError> {
    match row.try_get::<Option<String>, _>(column)?.as_deref() {
        None | Some("") => Ok(None),
        Some(_) => parsed(row, column).map(Some),
    }
}
