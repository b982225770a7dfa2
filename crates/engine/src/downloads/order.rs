//! The order of the queue: priorities (D2), and places within one priority.
//!
//! Positions are spread, so that a move writes one row. Where many moves to one place have used the room up, the rows
//! behind it move apart: as few as will do, so that a move costs the same however long the queue is.

use carrel_model::{DownloadId, ErrorCode, ProfileId, download::DownloadState};

use super::{
    enqueue::POSITION_STEP,
    queue::Queue,
    rows::{self, DownloadRow},
    view::{DownloadView, MoveDownload, SetConditions, SetPriority},
};
use crate::{EngineError, library::WriteTx};

/// The priority of what is wanted before all else.
const HIGHEST: u8 = 10;

/// So many rows move apart at first; eight times as many where that isn't enough.
const FEW: i64 = 32;

/// Moves a waiting download before another, or to the end; it takes the priority of its new neighbour.
pub(super) async fn reorder(
    queue: &Queue,
    profile: ProfileId,
    request: MoveDownload,
) -> Result<DownloadView, EngineError> {
    let mut tx = queue.library.write().await?;
    let row = movable(&mut tx, profile, request.download_id).await?;
    if request.before != Some(row.id) {
        let (priority, position) = match request.before {
            Some(before) => before_neighbour(&mut tx, profile, row.id, before).await?,
            None => at_the_end(&mut tx, row.id).await?,
        };
        place(&mut tx, row.id, priority, position).await?;
        tx.commit().await?;
        queue.news.tell(&[]);
        queue.publish(&[row.id]).await?;
    }
    queue.one(profile, row.id).await
}

/// Gives a waiting download another priority; among those that have it, its position counts as before.
pub(super) async fn set_priority(
    queue: &Queue,
    profile: ProfileId,
    request: SetPriority,
) -> Result<DownloadView, EngineError> {
    if !(1..=10).contains(&request.priority) {
        return Err(EngineError::Invalid("priority is 1 to 10"));
    }
    let mut tx = queue.library.write().await?;
    let row = movable(&mut tx, profile, request.download_id).await?;
    if row.priority != request.priority {
        place(&mut tx, row.id, request.priority, row.position).await?;
        tx.commit().await?;
        queue.news.tell(&[]);
        queue.publish(&[row.id]).await?;
    }
    queue.one(profile, row.id).await
}

/// Gives a download conditions of its own (D8, D9): "download anyway" is one of them.
pub(super) async fn set_conditions(
    queue: &Queue,
    profile: ProfileId,
    request: SetConditions,
) -> Result<DownloadView, EngineError> {
    let mut tx = queue.library.write().await?;
    let row = movable(&mut tx, profile, request.download_id).await?;
    if row.own != request.own {
        sqlx::query("UPDATE downloads SET wifi_only = ?, at_any_hour = ?, on_battery = ? WHERE id = ?")
            .bind(request.own.wifi_only)
            .bind(request.own.at_any_hour)
            .bind(request.own.on_battery)
            .bind(row.id.to_string())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        queue.news.tell(&[row.id]);
        queue.publish(&[row.id]).await?;
    }
    queue.one(profile, row.id).await
}

/// Puts a waiting download before all others: with the highest priority, above whatever has it.
pub(super) async fn first(queue: &Queue, profile: ProfileId, id: DownloadId) -> Result<DownloadView, EngineError> {
    let mut tx = queue.library.write().await?;
    let row = movable(&mut tx, profile, id).await?;
    let top: Option<i64> =
        sqlx::query_scalar("SELECT MIN(position) FROM downloads WHERE deleted_at IS NULL AND priority = ? AND id <> ?")
            .bind(HIGHEST)
            .bind(id.to_string())
            .fetch_one(&mut *tx)
            .await?;
    place(&mut tx, row.id, HIGHEST, top.map_or(row.position, |top| top.saturating_sub(POSITION_STEP))).await?;
    tx.commit().await?;
    queue.news.tell(&[]);
    queue.publish(&[row.id]).await?;
    queue.one(profile, row.id).await
}

/// A download that still has an order.
async fn movable(tx: &mut WriteTx, profile: ProfileId, id: DownloadId) -> Result<DownloadRow, EngineError> {
    let row = rows::get(&mut **tx, profile, id).await?;
    if !row.state.is_active() && !matches!(row.state, DownloadState::Paused | DownloadState::Failed) {
        return Err(EngineError::Refused(ErrorCode::WrongState));
    }
    Ok(row)
}

async fn before_neighbour(
    tx: &mut WriteTx,
    profile: ProfileId,
    id: DownloadId,
    before: DownloadId,
) -> Result<(u8, i64), EngineError> {
    let neighbour = rows::get(&mut **tx, profile, before).await?;
    let above: Option<i64> = sqlx::query_scalar(
        "SELECT position FROM downloads WHERE deleted_at IS NULL AND priority = ? AND position < ? AND id <> ?
         ORDER BY position DESC LIMIT 1",
    )
    .bind(neighbour.priority)
    .bind(neighbour.position)
    .bind(id.to_string())
    .fetch_optional(&mut **tx)
    .await?;
    let above = above.unwrap_or(neighbour.position - 2 * POSITION_STEP);
    let middle = above + (neighbour.position - above) / 2;
    if middle > above && middle < neighbour.position {
        return Ok((neighbour.priority, middle));
    }
    make_room(tx, id, neighbour.priority, above).await
}

/// Moves the rows after a position apart, and gives the place right behind it.
async fn make_room(tx: &mut WriteTx, id: DownloadId, priority: u8, above: i64) -> Result<(u8, i64), EngineError> {
    let mut many = FEW;
    loop {
        let behind: Vec<(String, i64)> = sqlx::query_as(
            "SELECT id, position FROM downloads WHERE deleted_at IS NULL AND priority = ? AND position > ? AND id <> ?
             ORDER BY position, id LIMIT ?",
        )
        .bind(priority)
        .bind(above)
        .bind(id.to_string())
        .bind(many)
        .fetch_all(&mut **tx)
        .await?;
        let count = i64::try_from(behind.len()).unwrap_or(i64::MAX - 1);
        let last = behind.last().map_or(above, |(_, position)| *position);
        // Behind the last of all there is room without end.
        let end = if count < many { last.max(above) + (count + 2) * POSITION_STEP } else { last };
        let step = (end - above) / (count + 1);
        if step < POSITION_STEP / 64 && count == many {
            many *= 8;
            continue;
        }
        for ((other, _), place) in behind.iter().zip(2..) {
            sqlx::query("UPDATE downloads SET position = ? WHERE id = ?")
                .bind(above + step * place)
                .bind(other)
                .execute(&mut **tx)
                .await?;
        }
        return Ok((priority, above + step));
    }
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
