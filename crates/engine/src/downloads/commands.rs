//! What a learner does to downloads: stop, go on, call off, try again, move.

use carrel_model::{
    DownloadId, ErrorCode, ProfileId,
    download::{DownloadAction, DownloadState},
};

use super::{
    queue::Queue,
    rows::{self, Change, DownloadRow},
    start::{self, POSITION_STEP},
    view::{DownloadView, DownloadsView, MoveDownload, StartDownload},
};
use crate::{EngineError, library::WriteTx};

pub(super) async fn pause(queue: &Queue, profile: ProfileId, id: DownloadId) -> Result<DownloadView, EngineError> {
    act(queue, profile, &[id], DownloadAction::Pause).await?;
    queue.stop_unneeded().await?;
    queue.one(profile, id).await
}

pub(super) async fn resume(queue: &Queue, profile: ProfileId, id: DownloadId) -> Result<DownloadView, EngineError> {
    act(queue, profile, &[id], DownloadAction::Resume).await?;
    queue.settle(id).await?;
    queue.wake.notify_one();
    queue.one(profile, id).await
}

pub(super) async fn pause_all(queue: &Queue, profile: ProfileId) -> Result<DownloadsView, EngineError> {
    let all = rows::of_profile(queue.library.readers(), profile).await?;
    let ids: Vec<_> = all.iter().filter(|row| row.state.is_active()).map(|row| row.id).collect();
    act(queue, profile, &ids, DownloadAction::Pause).await?;
    queue.stop_unneeded().await?;
    queue.list(profile).await
}

pub(super) async fn resume_all(queue: &Queue, profile: ProfileId) -> Result<DownloadsView, EngineError> {
    let all = rows::of_profile(queue.library.readers(), profile).await?;
    let ids: Vec<_> = all.iter().filter(|row| row.state == DownloadState::Paused).map(|row| row.id).collect();
    act(queue, profile, &ids, DownloadAction::Resume).await?;
    queue.wake.notify_one();
    queue.list(profile).await
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
    let cancelled = row.after(DownloadAction::Cancel)?;
    let older = row.usable_generation > 0 && row.usable_generation != row.generation;
    if older {
        keep_older(&mut tx, &row).await?;
    } else {
        rows::set_state(&mut tx, id, cancelled, Change::default()).await?;
        sqlx::query("UPDATE downloads SET usable_generation = 0, completed_at = NULL WHERE id = ?")
            .bind(id.to_string())
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM download_items WHERE download_id = ?").bind(id.to_string()).execute(&mut *tx).await?;
        queue.rooms.enqueue(&mut tx, profile, &row.report(cancelled, 0, false)).await?;
    }
    tx.commit().await?;
    if older {
        // What was usable may have been found damaged meanwhile: then it isn't complete, and is fetched.
        queue.settle(id).await?;
    }
    queue.release().await?;
    queue.publish(&[id]).await?;
    queue.one(profile, id).await
}

async fn keep_older(tx: &mut WriteTx, row: &DownloadRow) -> Result<(), EngineError> {
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
    Ok(())
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
        queue.settle(id).await?;
        queue.wake.notify_one();
        return queue.one(profile, id).await;
    }
    if !expired && !matches!(row.state, DownloadState::Failed | DownloadState::Cancelled | DownloadState::Expired) {
        return Err(EngineError::Refused(ErrorCode::WrongState));
    }
    let request = StartDownload { unit_id: row.unit_id, lesson_id: row.lesson_id, quality: Some(row.quality) };
    start::authorised(queue, profile, request, row.quality, Some(row)).await
}

/// Moves a waiting download before another, or to the end; it takes the priority of its new neighbour.
pub(super) async fn reorder(
    queue: &Queue,
    profile: ProfileId,
    request: MoveDownload,
) -> Result<DownloadsView, EngineError> {
    let mut tx = queue.library.write().await?;
    let row = rows::get(&mut *tx, profile, request.download_id).await?;
    if !row.state.is_active() && !matches!(row.state, DownloadState::Paused | DownloadState::Failed) {
        return Err(EngineError::Refused(ErrorCode::WrongState));
    }
    if request.before == Some(row.id) {
        drop(tx);
        return queue.list(profile).await;
    }
    let (priority, position) = match request.before {
        Some(before) => before_neighbour(&mut tx, profile, row.id, before).await?,
        None => at_the_end(&mut tx, row.id).await?,
    };
    place(&mut tx, row.id, priority, position).await?;
    tx.commit().await?;
    queue.wake.notify_one();
    queue.publish(&[row.id]).await?;
    queue.list(profile).await
}

async fn before_neighbour(
    tx: &mut WriteTx,
    profile: ProfileId,
    id: DownloadId,
    before: DownloadId,
) -> Result<(u8, i64), EngineError> {
    for _ in 0..2 {
        let neighbour = rows::get(&mut **tx, profile, before).await?;
        let above: Option<i64> = sqlx::query_scalar(
            "SELECT MAX(position) FROM downloads
             WHERE deleted_at IS NULL AND priority = ? AND position < ? AND id <> ?",
        )
        .bind(neighbour.priority)
        .bind(neighbour.position)
        .bind(id.to_string())
        .fetch_one(&mut **tx)
        .await?;
        let above = above.unwrap_or(neighbour.position - 2 * POSITION_STEP);
        let middle = above + (neighbour.position - above) / 2;
        if middle > above && middle < neighbour.position {
            return Ok((neighbour.priority, middle));
        }
        spread(tx, neighbour.priority).await?;
    }
    Err(EngineError::Unreadable("positions of the queue".to_owned()))
}

async fn at_the_end(tx: &mut WriteTx, id: DownloadId) -> Result<(u8, i64), EngineError> {
    let last: Option<(u8, i64)> = sqlx::query_as(
        "SELECT priority, position FROM downloads
         WHERE deleted_at IS NULL AND state NOT IN ('completed', 'cancelled', 'expired') AND id <> ?
         ORDER BY priority, position DESC LIMIT 1",
    )
    .bind(id.to_string())
    .fetch_optional(&mut **tx)
    .await?;
    let (priority, position) = last.unwrap_or((5, 0));
    Ok((priority, position + POSITION_STEP))
}

async fn place(tx: &mut WriteTx, id: DownloadId, priority: u8, position: i64) -> Result<(), EngineError> {
    sqlx::query("UPDATE downloads SET priority = ?, position = ? WHERE id = ?")
        .bind(priority)
        .bind(position)
        .bind(id.to_string())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Makes room between positions that have come too close.
async fn spread(tx: &mut WriteTx, priority: u8) -> Result<(), EngineError> {
    sqlx::query(
        "UPDATE downloads SET position = n.place * ?1
         FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY position, id) AS place FROM downloads
               WHERE deleted_at IS NULL AND priority = ?2) n
         WHERE downloads.id = n.id",
    )
    .bind(POSITION_STEP)
    .bind(priority)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
