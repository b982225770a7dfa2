//! What a learner does to downloads: stop, go on, call off, try again. Their order is in [`super::order`], what is
//! done to all of them in [`super::all`].

use carrel_model::{
    DownloadId, ErrorCode, ProfileId,
    download::{DownloadAction, DownloadState},
};

use super::{
    items,
    queue::Queue,
    rows::{self, Change, DownloadRow},
    start,
    view::{DownloadView, StartDownload},
};
use crate::{EngineError, library::WriteTx};

pub(super) async fn pause(queue: &Queue, profile: ProfileId, id: DownloadId) -> Result<DownloadView, EngineError> {
    act(queue, profile, &[id], DownloadAction::Pause).await?;
    queue.stop_unneeded().await?;
    queue.one(profile, id).await
}

pub(super) async fn resume(queue: &Queue, profile: ProfileId, id: DownloadId) -> Result<DownloadView, EngineError> {
    act(queue, profile, &[id], DownloadAction::Resume).await?;
    queue.settle().await?;
    queue.news.tell(&[id]);
    queue.one(profile, id).await
}

/// Moves downloads to the state after an action, all or none.
async fn act(queue: &Queue, profile: ProfileId, ids: &[DownloadId], action: DownloadAction) -> Result<(), EngineError> {
    let mut tx = queue.library.write().await?;
    for id in ids {
        let row = rows::get(&mut *tx, profile, *id).await?;
        rows::set_state(&mut tx, *id, row.after(action)?, Change::default()).await?;
    }
    tx.commit().await?;
    queue.publish(ids).await
}

/// Calls a download off. Where an older quality or version of it is usable, only the new one is called off.
pub(super) async fn cancel(queue: &Queue, profile: ProfileId, id: DownloadId) -> Result<DownloadView, EngineError> {
    let mut tx = queue.library.write().await?;
    let row = rows::get(&mut *tx, profile, id).await?;
    let has_older = call_off(queue, &mut tx, &row).await?;
    tx.commit().await?;
    if has_older {
        // What was usable may have been found damaged meanwhile: then it isn't complete, and is fetched.
        queue.settle().await?;
    }
    queue.news.tell(&[id]);
    queue.release().await?;
    queue.publish(&[id]).await?;
    queue.one(profile, id).await
}

/// As [`cancel`], within a transaction; true: an older version of it stays.
pub(super) async fn call_off(queue: &Queue, tx: &mut WriteTx, row: &DownloadRow) -> Result<bool, EngineError> {
    let cancelled = row.after(DownloadAction::Cancel)?;
    if row.usable_generation > 0 && row.usable_generation != row.generation {
        keep_older(tx, row).await?;
        return Ok(true);
    }
    rows::set_state(tx, row.id, cancelled, Change::default()).await?;
    sqlx::query("UPDATE downloads SET usable_generation = 0, completed_at = NULL WHERE id = ?")
        .bind(row.id.to_string())
        .execute(&mut **tx)
        .await?;
    sqlx::query("DELETE FROM download_items WHERE download_id = ?").bind(row.id.to_string()).execute(&mut **tx).await?;
    items::recount(tx, row.id).await?;
    queue.rooms.enqueue(tx, row.profile_id, &row.report(cancelled, 0, false)).await?;
    Ok(false)
}

pub(super) async fn keep_older(tx: &mut WriteTx, row: &DownloadRow) -> Result<(), EngineError> {
    let back = match row.state {
        DownloadState::Paused => DownloadAction::Resume,
        DownloadState::Failed => DownloadAction::Retry,
        _ => DownloadAction::Requeue,
    };
    rows::set_state(tx, row.id, row.after(back)?, Change::default()).await?;
    sqlx::query("DELETE FROM download_items WHERE download_id = ? AND generation = ?")
        .bind(row.id.to_string())
        .bind(row.generation)
        .execute(&mut **tx)
        .await?;
    // The quality is that of what plays.
    sqlx::query(
        "UPDATE downloads SET generation = usable_generation,
             quality = COALESCE((SELECT quality FROM download_items i WHERE i.download_id = downloads.id
                                 ORDER BY CASE quality WHEN 'high' THEN 0 WHEN 'medium' THEN 1 ELSE 2 END LIMIT 1), quality)
         WHERE id = ?",
    )
    .bind(row.id.to_string())
    .execute(&mut **tx)
    .await?;
    items::recount(tx, row.id).await
}

pub(super) async fn retry(queue: &Queue, profile: ProfileId, id: DownloadId) -> Result<DownloadView, EngineError> {
    let row = rows::get(queue.library.readers(), profile, id).await?;
    let expired = row.expires_at.is_some_and(|end| end <= queue.rooms.trusted_now());
    // What the service took back, or what has no items any more, must be granted anew; the rest just goes on.
    let granted_still = !expired
        && row.state == DownloadState::Failed
        && !matches!(
            row.error,
            Some(
                ErrorCode::Gone
                    | ErrorCode::Forbidden
                    | ErrorCode::NotEnrolled
                    | ErrorCode::EnrolmentExpired
                    | ErrorCode::PremiumRequired
                    | ErrorCode::QuotaExceeded
                    | ErrorCode::BadManifest
            )
        );
    if granted_still {
        act(queue, profile, &[id], DownloadAction::Retry).await?;
        queue.settle().await?;
        queue.news.tell(&[id]);
        return queue.one(profile, id).await;
    }
    if !expired && !matches!(row.state, DownloadState::Failed | DownloadState::Cancelled | DownloadState::Expired) {
        return Err(EngineError::Refused(ErrorCode::WrongState));
    }
    let request = StartDownload { unit_id: row.unit_id, lesson_id: row.lesson_id, quality: Some(row.quality) };
    start::authorised(queue, profile, request, row.quality, Some(row)).await
}
