//! What a learner does to all downloads, or to a whole course, at once.

use std::sync::Arc;

use carrel_model::{
    DownloadId, ProfileId,
    download::{DownloadAction, DownloadState},
};

use super::{
    commands,
    queue::Queue,
    rows, start,
    view::{CourseStarted, DownloadsView, RefusedUnit, StartCourse, StartDownload},
};
use crate::{EngineError, EngineEvent};

/// Called off in one transaction.
const CANCELLED_AT_ONCE: usize = 200;

/// Stops all that wait or run.
pub(super) async fn pause(queue: &Queue, profile: ProfileId) -> Result<DownloadsView, EngineError> {
    act(queue, profile, DownloadAction::Pause, DownloadState::is_active).await?;
    queue.stop_unneeded().await?;
    queue.list(profile).await
}

/// Lets all that were stopped go on.
pub(super) async fn resume(queue: &Queue, profile: ProfileId) -> Result<DownloadsView, EngineError> {
    act(queue, profile, DownloadAction::Resume, |state| state == DownloadState::Paused).await?;
    queue.settle().await?;
    queue.news.tell_all();
    queue.list(profile).await
}

/// Calls off all that are not finished; of those that have an older version, only the new one.
pub(super) async fn cancel(queue: &Queue, profile: ProfileId) -> Result<DownloadsView, EngineError> {
    let unfinished =
        |state: DownloadState| state.is_active() || matches!(state, DownloadState::Paused | DownloadState::Failed);
    let ids = in_states(queue, profile, unfinished).await?;
    for ids in ids.chunks(CANCELLED_AT_ONCE) {
        let mut tx = queue.library.write().await?;
        for row in rows::of_ids(&mut *tx, ids).await? {
            // One may have ended meanwhile.
            if unfinished(row.state) && row.deleted_at.is_none() {
                commands::call_off(queue, &mut tx, &row).await?;
            }
        }
        tx.commit().await?;
    }
    queue.settle().await?;
    queue.news.tell_all();
    queue.release().await?;
    queue.events.send(EngineEvent::Resync);
    queue.list(profile).await
}

/// Tries again all that have failed; each that is refused keeps its reason.
pub(super) async fn retry(queue: &Queue, profile: ProfileId) -> Result<DownloadsView, EngineError> {
    for id in in_states(queue, profile, |state| state == DownloadState::Failed).await? {
        if let Err(error) = commands::retry(queue, profile, id).await {
            tracing::info!(%error, "a download is refused again");
        }
    }
    queue.list(profile).await
}

/// Takes every unit of a course along.
pub(super) async fn start_course(
    queue: &Arc<Queue>,
    profile: ProfileId,
    request: StartCourse,
) -> Result<CourseStarted, EngineError> {
    let units = queue.rooms.units_of(profile, request.course_id).await?;
    if units.is_empty() {
        return Err(EngineError::NotFound("course"));
    }
    let wish = |unit_id| StartDownload { unit_id, lesson_id: None, quality: request.quality };
    let asked = units.len();
    let refused = start::start_all(queue, profile, units.into_iter().map(wish).collect()).await?;
    let queued = u32::try_from(asked.saturating_sub(refused.len())).unwrap_or(u32::MAX);
    let refused = refused.into_iter().map(|(wish, error)| RefusedUnit { unit_id: wish.unit_id, error: error.code() });
    Ok(CourseStarted { queued, refused: refused.collect() })
}

/// The caller gets the whole list; others who listen are told to read it.
async fn act(
    queue: &Queue,
    profile: ProfileId,
    action: DownloadAction,
    from: impl Fn(DownloadState) -> bool,
) -> Result<(), EngineError> {
    let mut tx = queue.library.write().await?;
    let changed = rows::act_on_all(&mut tx, profile, action, from).await?;
    tx.commit().await?;
    if changed > 0 {
        queue.events.send(EngineEvent::Resync);
    }
    Ok(())
}

async fn in_states(
    queue: &Queue,
    profile: ProfileId,
    wanted: impl Fn(DownloadState) -> bool,
) -> Result<Vec<DownloadId>, EngineError> {
    let states: Vec<_> =
        DownloadState::ALL.iter().copied().filter(|state| wanted(*state)).map(DownloadState::as_str).collect();
    let rows = sqlx::query(
        "SELECT id FROM downloads WHERE profile_id = ? AND deleted_at IS NULL
           AND state IN (SELECT value FROM json_each(?)) ORDER BY priority DESC, position",
    )
    .bind(profile.to_string())
    .bind(serde_json::to_string(&states)?)
    .fetch_all(queue.library.readers())
    .await?;
    rows.iter().map(|row| crate::rows::parsed(row, "id")).collect()
}
