//! Deleting with ten seconds to think again.
//!
//! A deletion only marks: the download's row gets `deleted_at`, which takes it out of every list and out of playback. When
//! the time is over its items go, the service is told through the outbox in the same transaction, and blobs that nothing
//! needs any more leave the disk.

use std::{collections::BTreeSet, time::Duration};

use carrel_model::{
    DownloadId, ProfileId, TimeMs, UnitId,
    download::{DownloadAction, DownloadState},
};

use super::{
    StorageParts,
    usage::{self, Holder},
    view::Deleted,
};
use crate::{
    EngineError, EngineEvent,
    downloads::rows::{self, Change},
    library::WriteTx,
    rows::parsed,
};

/// How long a deletion can be undone.
pub(super) const UNDO: Duration = Duration::from_secs(10);
const UNDO_MS: i64 = 10_000;

/// Marks a learner's downloads as deleted: those of a unit, or all of them together with what was kept by opening it.
pub(super) async fn delete(
    parts: &StorageParts,
    profile: ProfileId,
    unit: Option<UnitId>,
) -> Result<Deleted, EngineError> {
    let going: Vec<_> = rows::of_profile(parts.library.readers(), profile)
        .await?
        .into_iter()
        .filter(|row| row.state != DownloadState::Cancelled && unit.is_none_or(|unit| unit == row.unit_id))
        .collect();
    if let (true, Some(_)) = (going.is_empty(), unit) {
        return Err(EngineError::NotFound("download"));
    }
    let ids: Vec<DownloadId> = going.iter().map(|row| row.id).collect();
    let unit_ids: BTreeSet<UnitId> = going.iter().map(|row| row.unit_id).collect();
    let now = parts.clock.now();

    let mut tx = parts.library.write().await?;
    for row in rows::of_ids(&mut *tx, &ids).await?.into_iter().filter(|row| row.deleted_at.is_none()) {
        if let Some(state) = row.state.after(DownloadAction::Requeue) {
            rows::set_state(&mut tx, row.id, state, Change::waiting(&row, None)).await?;
        }
        mark(&mut tx, row.id, now, if unit.is_some() { "learner_unit" } else { "learner_all" }).await?;
    }
    if unit.is_none() {
        // Covers stay: the library looks the same afterwards.
        sqlx::query(
            "UPDATE cache_entries SET deleted_at = ? WHERE profile_id = ? AND lesson_id <> '' AND deleted_at IS NULL",
        )
        .bind(now.as_ms())
        .bind(profile.to_string())
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    parts.downloads.stop_unneeded().await?;

    let holders = usage::holders(parts.library.readers()).await?;
    let on_disk = parts.blobs.bytes_on_disk().await?;
    let frees_bytes = usage::frees(&holders, &on_disk, |holder| match holder {
        Holder::Download(id) => ids.contains(id),
        Holder::Cache(owner, _, lesson) => unit.is_none() && *owner == profile && lesson.is_some(),
    });
    let waiting = parts.rooms.waiting(profile).await?;
    let waiting = unit_ids.iter().filter_map(|unit| waiting.get(unit)).sum();
    parts.downloads.publish(&ids).await?;
    parts.events.send(EngineEvent::Storage);
    Ok(Deleted { unit_ids: unit_ids.into_iter().collect(), frees_bytes, waiting, undo_until: now.plus_ms(UNDO_MS) })
}

async fn mark(tx: &mut WriteTx, id: DownloadId, now: TimeMs, reason: &str) -> Result<(), EngineError> {
    sqlx::query("UPDATE downloads SET deleted_at = ?, deleted_reason = ? WHERE id = ?")
        .bind(now.as_ms())
        .bind(reason)
        .bind(id.to_string())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Takes back what was deleted within the last ten seconds. Where the same was asked for again meanwhile, that stands.
pub(super) async fn undo(parts: &StorageParts, profile: ProfileId, units: &[UnitId]) -> Result<(), EngineError> {
    let units = serde_json::to_string(units)?;
    let since = parts.clock.now().plus_ms(-UNDO_MS).as_ms();
    let mut tx = parts.library.write().await?;
    let back = sqlx::query(
        "UPDATE downloads SET deleted_at = NULL, deleted_reason = NULL
         WHERE profile_id = ?1 AND unit_id IN (SELECT value FROM json_each(?2)) AND deleted_at > ?3
           AND released_at IS NULL
           AND NOT EXISTS (SELECT 1 FROM downloads o WHERE o.profile_id = downloads.profile_id
                           AND o.unit_id = downloads.unit_id AND o.lesson_id = downloads.lesson_id
                           AND o.deleted_at IS NULL)
         RETURNING id",
    )
    .bind(profile.to_string())
    .bind(&units)
    .bind(since)
    .fetch_all(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE cache_entries SET deleted_at = NULL
         WHERE profile_id = ? AND unit_id IN (SELECT value FROM json_each(?)) AND deleted_at > ?",
    )
    .bind(profile.to_string())
    .bind(&units)
    .bind(since)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    let ids: Vec<DownloadId> = back.iter().map(|row| parsed(row, "id")).collect::<Result<_, _>>()?;
    parts.downloads.wake();
    parts.downloads.publish(&ids).await?;
    parts.events.send(EngineEvent::Storage);
    Ok(())
}

/// Lets go of what can't be undone any more at `now` (none: of everything deleted); says how many bytes that freed.
pub(super) async fn release(parts: &StorageParts, now: Option<TimeMs>) -> Result<u64, EngineError> {
    let until = now.map_or(i64::MAX, |now| now.plus_ms(-UNDO_MS).as_ms());
    let mut tx = parts.library.write().await?;
    let due = sqlx::query("SELECT id FROM downloads WHERE deleted_at <= ? AND released_at IS NULL")
        .bind(until)
        .fetch_all(&mut *tx)
        .await?;
    let ids: Vec<DownloadId> = due.iter().map(|row| parsed(row, "id")).collect::<Result<_, _>>()?;
    for row in rows::of_ids(&mut *tx, &ids).await? {
        sqlx::query("DELETE FROM download_items WHERE download_id = ?")
            .bind(row.id.to_string())
            .execute(&mut *tx)
            .await?;
        sqlx::query("UPDATE downloads SET released_at = ?, usable_generation = 0 WHERE id = ?")
            .bind(parts.clock.now().as_ms())
            .bind(row.id.to_string())
            .execute(&mut *tx)
            .await?;
        parts.rooms.enqueue(&mut tx, row.profile_id, &row.report(row.state, 0, true)).await?;
    }
    sqlx::query("DELETE FROM cache_entries WHERE deleted_at <= ?").bind(until).execute(&mut *tx).await?;
    tx.commit().await?;
    parts.downloads.release().await
}
