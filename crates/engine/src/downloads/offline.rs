//! What is on this device for a learner, in one query: for lists of units and lessons.

use std::collections::BTreeMap;

use carrel_model::{DownloadId, LessonId, ProfileId, TimeMs, UnitId, download::DownloadState};
use sqlx::{Row as _, SqlitePool};

use super::rows::optional;
use crate::{
    EngineError,
    catalogue::view::{Availability, OfflineState},
    rows::{parsed, unsigned},
};

/// Not here, and nobody asked for it.
pub const NOT_DOWNLOADED: OfflineState = OfflineState {
    availability: Availability::NotDownloaded,
    wait_reason: None,
    error: None,
    percent: 0,
    download_id: None,
};

/// The units and lessons of a learner that are here, or on their way.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OfflineStates {
    /// Units that were asked for as a whole.
    pub units: BTreeMap<UnitId, OfflineState>,
    /// Lessons that have files, by a download of their unit or of themselves. A quiz has none, and is no key here.
    pub lessons: BTreeMap<LessonId, OfflineState>,
    /// Bytes on disk of each unit in `units` or with a lesson in `lessons`, each blob once.
    pub bytes: BTreeMap<UnitId, u64>,
}

impl OfflineStates {
    /// Of a unit.
    #[must_use]
    pub fn unit(&self, id: UnitId) -> OfflineState {
        self.units.get(&id).cloned().unwrap_or(NOT_DOWNLOADED)
    }

    /// Of a lesson's files.
    #[must_use]
    pub fn lesson(&self, id: LessonId) -> OfflineState {
        self.lessons.get(&id).cloned().unwrap_or(NOT_DOWNLOADED)
    }
}

/// The catalogue lists an asset of the download `d`, none of whose renditions is what was downloaded.
macro_rules! outdated {
    () => {
        "SELECT 1 FROM unit_assets a JOIN assets s ON s.profile_id = a.profile_id AND s.id = a.asset_id
         WHERE a.profile_id = d.profile_id AND a.unit_id = d.unit_id
           AND (d.lesson_id = '' OR s.lesson_id = d.lesson_id)
           AND EXISTS (SELECT 1 FROM renditions r WHERE r.profile_id = a.profile_id AND r.asset_id = a.asset_id)
           AND NOT EXISTS (
               SELECT 1 FROM renditions r CROSS JOIN download_items i ON i.hash = r.hash
               WHERE r.profile_id = a.profile_id AND r.asset_id = a.asset_id
                 AND i.download_id = d.id AND i.generation = d.usable_generation)"
    };
}

/// Whether the catalogue lists something newer than this download has.
pub(super) async fn is_outdated(readers: &SqlitePool, id: DownloadId) -> Result<bool, EngineError> {
    let found = sqlx::query(concat!("SELECT 1 FROM downloads d WHERE d.id = ? AND EXISTS (", outdated!(), ")"))
        .bind(id.to_string())
        .fetch_optional(readers)
        .await?;
    Ok(found.is_some())
}

/// Reads them. `now` is trusted time: what has passed its last day is `expired`.
///
/// *Ready offline* says that every blob of the unit (or lesson) is verified on disk. *Update available* says so too, and
/// that the catalogue lists an asset none of whose renditions is what was downloaded.
pub async fn offline_states(
    readers: &SqlitePool,
    profile: ProfileId,
    now: TimeMs,
) -> Result<OfflineStates, EngineError> {
    let rows = sqlx::query(concat!(
        "WITH mine AS (
             SELECT i.download_id, i.generation, i.lesson_id, i.hash, b.state, b.size,
                    CASE b.state WHEN 'present' THEN b.size ELSE b.verified_bytes END AS done
             FROM download_items i JOIN blobs b USING (hash) WHERE i.profile_id = ?1
             GROUP BY i.download_id, i.generation, i.lesson_id, i.hash
         )
         SELECT d.id, d.unit_id, d.lesson_id AS wish, d.state, d.wait_reason, d.error, d.expires_at, d.generation,
                d.usable_generation, m.lesson_id AS lesson_id, m.generation AS of_generation,
                COALESCE(SUM(m.size), 0) AS total, COALESCE(SUM(m.done), 0) AS done,
                COALESCE(SUM(m.state <> 'present'), 0) AS missing,
                d.state = 'completed' AND EXISTS (
                    ",
        outdated!(),
        "
                ) AS outdated
         FROM downloads d LEFT JOIN mine m ON m.download_id = d.id
         WHERE d.profile_id = ?1 AND d.deleted_at IS NULL AND d.state <> 'cancelled'
         GROUP BY d.id, m.generation, m.lesson_id"
    ))
    .bind(profile.to_string())
    .fetch_all(readers)
    .await?;

    let mut states = OfflineStates::default();
    let mut wholes: BTreeMap<UnitId, (OfflineState, u64, u64, i64)> = BTreeMap::new();
    for row in &rows {
        let unit: UnitId = parsed(row, "unit_id")?;
        let wish: Option<LessonId> = optional(row, "wish")?;
        let lesson: Option<LessonId> = optional(row, "lesson_id")?;
        let total = unsigned(row, "total")?;
        let done = unsigned(row, "done")?;
        let missing: i64 = row.try_get("missing")?;
        let generation: i64 = row.try_get("generation")?;
        let of_generation: Option<i64> = row.try_get("of_generation")?;
        let usable: i64 = row.try_get("usable_generation")?;
        let expires_at: Option<i64> = row.try_get("expires_at")?;
        let expired = expires_at.is_some_and(|end| end <= now.as_ms());
        let base = OfflineState {
            availability: availability(
                parsed(row, "state")?,
                expired,
                row.try_get("outdated")?,
                row.try_get::<Option<String>, _>("wait_reason")?.is_some(),
            ),
            wait_reason: optional(row, "wait_reason")?,
            error: optional(row, "error")?,
            percent: percent(done, total),
            download_id: Some(parsed(row, "id")?),
        };
        if wish.is_none() {
            let whole = wholes.entry(unit).or_insert_with(|| (base.clone(), 0, 0, 0));
            if of_generation.is_none_or(|of| of == generation) {
                whole.1 += done;
                whole.2 += total;
                whole.3 += missing;
            }
        }
        let Some(lesson) = lesson else { continue };
        let state = if missing == 0 && (of_generation == Some(generation) || of_generation == Some(usable)) {
            let here = if expired {
                Availability::Expired
            } else if base.availability == Availability::UpdateAvailable {
                Availability::UpdateAvailable
            } else {
                Availability::ReadyOffline
            };
            OfflineState { availability: here, wait_reason: None, error: None, percent: 100, ..base }
        } else {
            base
        };
        // A lesson may be here twice: by itself and with its unit, or in an old and a new version. The better word holds.
        let better = states.lessons.get(&lesson).is_none_or(|known| rank(known) < rank(&state));
        if better {
            states.lessons.insert(lesson, state);
        }
    }
    for (unit, (mut state, done, total, missing)) in wholes {
        state.percent = percent(done, total);
        if missing > 0 && matches!(state.availability, Availability::ReadyOffline | Availability::UpdateAvailable) {
            // A blob was found damaged and its download is just being told.
            state.availability = Availability::Queued;
        }
        states.units.insert(unit, state);
    }
    states.bytes = bytes(readers, profile).await?;
    Ok(states)
}

async fn bytes(readers: &SqlitePool, profile: ProfileId) -> Result<BTreeMap<UnitId, u64>, EngineError> {
    let rows = sqlx::query(
        "SELECT unit_id, SUM(size) AS bytes FROM (
             SELECT DISTINCT d.unit_id, b.hash, b.size FROM downloads d
             JOIN download_items i ON i.download_id = d.id JOIN blobs b ON b.hash = i.hash AND b.state = 'present'
             WHERE d.profile_id = ? AND d.deleted_at IS NULL
         ) GROUP BY unit_id",
    )
    .bind(profile.to_string())
    .fetch_all(readers)
    .await?;
    rows.iter().map(|row| Ok((parsed(row, "unit_id")?, unsigned(row, "bytes")?))).collect()
}

const fn availability(state: DownloadState, expired: bool, outdated: bool, waits: bool) -> Availability {
    match state {
        DownloadState::Pending if waits => Availability::Waiting,
        DownloadState::Pending => Availability::Queued,
        DownloadState::Downloading => Availability::Downloading,
        DownloadState::Verifying => Availability::Checking,
        DownloadState::Completed if expired => Availability::Expired,
        DownloadState::Completed if outdated => Availability::UpdateAvailable,
        DownloadState::Completed => Availability::ReadyOffline,
        DownloadState::Failed => Availability::Failed,
        DownloadState::Paused => Availability::Paused,
        DownloadState::Cancelled => Availability::NotDownloaded,
        DownloadState::Expired => Availability::Expired,
    }
}

const fn rank(state: &OfflineState) -> u8 {
    match state.availability {
        Availability::ReadyOffline => 4,
        Availability::UpdateAvailable => 3,
        Availability::Downloading | Availability::Checking => 2,
        Availability::NotDownloaded | Availability::Failed => 0,
        _ => 1,
    }
}

fn percent(done: u64, total: u64) -> u8 {
    // Never 100 before the last byte; an empty set is whole.
    let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
    u8::try_from(percent.min(100)).unwrap_or(100)
}
