//! Writing down what the service granted: blobs, records and items.
//!
//! Many small downloads share a transaction; a large one takes several, so that a change of priority never waits for 50,000
//! items. Until the last of them it is `expanding`: it counts as one blob short, so that nothing completes it early, and what
//! a crash leaves of it is removed with the next start – nobody was told that it was queued.

use std::collections::BTreeSet;

use carrel_model::{
    BlobHash, DownloadId, ErrorCode, ProfileId, TimeMs,
    content::Quality,
    download::{DownloadAction, DownloadState},
};
use sqlx::{QueryBuilder, Sqlite};

use super::{
    items::{self, Item, Part, Weight},
    line,
    queue::Queue,
    rooms::Outline,
    rows::{self, Change, DownloadRow},
    view::StartDownload,
};
use crate::{EngineError, blobs::read_hash, library::WriteTx, rows::signed};

/// Positions are spread, so that one can be put between two others without touching the rest.
pub(super) const POSITION_STEP: i64 = 1 << 20;
/// Items of one transaction: it takes some 30 ms.
pub(super) const ITEMS_AT_ONCE: usize = 2_000;
/// So does the writing of so many downloads.
const DOWNLOADS_AT_ONCE: usize = 1_000;
/// The journal is written back in between, while the next are asked for.
const WRITTEN_BACK_AFTER: usize = 8;
/// Rows of one statement.
const ROWS: usize = 100;

/// A wish that was granted.
pub(super) struct Entry {
    pub(super) request: StartDownload,
    pub(super) quality: Quality,
    /// Without its uses.
    pub(super) outline: Outline,
    pub(super) items: Vec<Item>,
    pub(super) expires_at: Option<TimeMs>,
    /// What there is of the wish already.
    pub(super) there: Option<Box<DownloadRow>>,
}

/// Writes entries, as many together as is quick, and tells of them; gives those that the disk has no room for.
pub(super) async fn write_all(
    queue: &Queue,
    profile: ProfileId,
    entries: Vec<Entry>,
) -> Result<Vec<(StartDownload, EngineError)>, EngineError> {
    let mut refused = Vec::new();
    let mut rest = entries.as_slice();
    let mut turns = 0;
    while !rest.is_empty() {
        let mut items = 0;
        let together = rest.iter().take(DOWNLOADS_AT_ONCE).take_while(|entry| {
            items += entry.items.len();
            items <= ITEMS_AT_ONCE
        });
        let (now, later) = rest.split_at(together.count().max(1).min(rest.len()));
        rest = later;
        match write(queue, profile, now).await {
            Ok(ids) => told(queue, &ids).await?,
            // Together they are too much; one by one, as many as there is room for.
            Err(EngineError::StorageFull { .. }) => {
                for entry in now {
                    match write(queue, profile, std::slice::from_ref(entry)).await {
                        Ok(ids) => told(queue, &ids).await?,
                        Err(error @ EngineError::StorageFull { .. }) => refused.push((entry.request, error)),
                        Err(error) => return Err(error),
                    }
                }
            }
            Err(error) => return Err(error),
        }
        turns += 1;
        if turns % WRITTEN_BACK_AFTER == 0 {
            queue.library.checkpoint_behind();
        }
    }
    Ok(refused)
}

async fn told(queue: &Queue, ids: &[DownloadId]) -> Result<(), EngineError> {
    queue.news.tell(ids);
    queue.publish(ids).await
}

/// Writes entries down; durable when this returns.
pub(super) async fn write(
    queue: &Queue,
    profile: ProfileId,
    entries: &[Entry],
) -> Result<Vec<DownloadId>, EngineError> {
    let lock = queue.blobs.lock().await;
    reserve(queue, entries).await?;
    let mut tx = queue.library.write().await?;
    // All but a large one are written as a whole.
    let first: Vec<&[Item]> = entries.iter().map(|entry| head(&entry.items)).collect();
    // Collected: an iterator that lives across an await would bind this future to one lifetime.
    let together: Vec<&Item> = first.iter().flat_map(|items| items.iter()).collect();
    expect(queue, &lock, &mut tx, together).await?;
    let records = records(queue, &mut tx, profile, entries).await?;
    let mut led = BTreeSet::new();
    let parts: Vec<_> = records
        .iter()
        .zip(&first)
        .filter(|(record, _)| record.is_new)
        .map(|(record, items)| Part { download: record.id, generation: record.generation, items, first: 0 })
        .collect();
    let weights = items::insert(&mut tx, profile, &parts, &mut led).await?;
    for (part, weight) in parts.iter().zip(weights) {
        if weight.bytes_done > 0 || weight.blobs_missing < weight.blobs {
            count(&mut tx, part.download, part.generation, weight).await?;
        }
    }
    tx.commit().await?;
    drop(lock);
    for (record, entry) in records.iter().zip(entries) {
        if record.is_new && entry.items.len() > ITEMS_AT_ONCE {
            let rest = entry.items.get(ITEMS_AT_ONCE..).unwrap_or_default();
            write_rest(queue, profile, record, rest, &mut led).await?;
        }
    }
    Ok(records.into_iter().map(|record| record.id).collect())
}

fn head(items: &[Item]) -> &[Item] {
    items.get(..ITEMS_AT_ONCE).unwrap_or(items)
}

/// The items of a large download that didn't come with its record.
async fn write_rest(
    queue: &Queue,
    profile: ProfileId,
    record: &Record,
    rest: &[Item],
    led: &mut BTreeSet<(DownloadId, BlobHash)>,
) -> Result<(), EngineError> {
    let mut first = ITEMS_AT_ONCE;
    for (turn, items) in rest.chunks(ITEMS_AT_ONCE).enumerate() {
        let lock = queue.blobs.lock().await;
        let mut tx = queue.library.write().await?;
        if !is_expanding(&mut tx, record).await? {
            // It was called off or deleted meanwhile.
            return Err(EngineError::Refused(ErrorCode::WrongState));
        }
        expect(queue, &lock, &mut tx, items).await?;
        let part = Part { download: record.id, generation: record.generation, items, first };
        for weight in items::insert(&mut tx, profile, &[part], led).await? {
            count(&mut tx, record.id, record.generation, weight).await?;
        }
        first += items.len();
        if first == ITEMS_AT_ONCE + rest.len() {
            sqlx::query("UPDATE downloads SET expanding = 0, blobs_missing = blobs_missing - 1 WHERE id = ?")
                .bind(record.id.to_string())
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        if turn % WRITTEN_BACK_AFTER == WRITTEN_BACK_AFTER - 1 {
            queue.library.checkpoint_behind();
        }
    }
    Ok(())
}

async fn is_expanding(tx: &mut WriteTx, record: &Record) -> Result<bool, EngineError> {
    let found = sqlx::query(
        "SELECT 1 FROM downloads WHERE id = ? AND generation = ? AND expanding = 1 AND deleted_at IS NULL
           AND state IN ('pending', 'downloading', 'verifying', 'paused')",
    )
    .bind(record.id.to_string())
    .bind(record.generation)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(found.is_some())
}

/// Takes off what is here already.
async fn count(tx: &mut WriteTx, id: DownloadId, generation: i64, weight: Weight) -> Result<(), EngineError> {
    sqlx::query(
        "UPDATE downloads SET bytes_done = bytes_done + ?, blobs_missing = blobs_missing - ?
         WHERE id = ? AND generation = ?",
    )
    .bind(signed(weight.bytes_done))
    .bind(signed(weight.blobs - weight.blobs_missing))
    .bind(id.to_string())
    .bind(generation)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Makes the blobs of items known, in the order of their hashes, so that each page of the tables is come to once.
async fn expect(
    queue: &Queue,
    lock: &crate::blobs::StoreLock<'_>,
    tx: &mut WriteTx,
    items: impl IntoIterator<Item = &Item>,
) -> Result<(), EngineError> {
    let mut blobs: Vec<_> = items.into_iter().map(Item::blob).collect();
    blobs.sort_unstable_by_key(|blob| blob.manifest.hash());
    blobs.dedup_by_key(|blob| blob.manifest.hash());
    let expected: Vec<_> = blobs.iter().map(|blob| (&blob.manifest, blob.kind, &*blob.mime)).collect();
    queue.blobs.expect_all(lock, tx, &expected).await
}

/// Refuses early, with the numbers, what the disk has no room for (S1).
async fn reserve(queue: &Queue, entries: &[Entry]) -> Result<(), EngineError> {
    let mut seen = BTreeSet::new();
    let items = entries.iter().flat_map(|entry| &entry.items);
    let blobs: Vec<(BlobHash, u64)> =
        items.filter(|item| seen.insert(item.hash())).map(|item| (item.hash(), item.blob().manifest.size())).collect();
    let at_most = blobs.iter().map(|(_, size)| *size).fold(0, u64::saturating_add);
    if at_most <= queue.space_for(at_most).await?.available_bytes() {
        return Ok(());
    }
    let begun = queue.blobs.begun().await?;
    let needed = line::needed_bytes(queue.library.readers(), &blobs, &begun).await?;
    let available = queue.space_for(needed).await?.available_bytes();
    if needed > available {
        return Err(EngineError::StorageFull { needed, available });
    }
    Ok(())
}

/// Of these blobs, the bytes that are not on this device yet.
pub(super) async fn net_bytes(queue: &Queue, blobs: &[(BlobHash, u64)]) -> Result<u64, EngineError> {
    let hashes: Vec<_> = blobs.iter().map(|(hash, _)| *hash).collect();
    let here =
        sqlx::query("SELECT hash FROM blobs WHERE state = 'present' AND hash IN (SELECT value FROM json_each(?))")
            .bind(serde_json::to_string(&hashes)?)
            .fetch_all(queue.library.readers())
            .await?;
    let mut seen: BTreeSet<BlobHash> = here.iter().map(read_hash).collect::<Result<_, _>>()?;
    Ok(blobs.iter().filter(|(hash, _)| seen.insert(*hash)).map(|(_, size)| *size).fold(0, u64::saturating_add))
}

/// The record of an entry.
struct Record {
    id: DownloadId,
    generation: i64,
    /// It was there by the time it was to be written: somebody asked twice.
    is_new: bool,
}

/// New rows, or new generations of those that are there.
async fn records(
    queue: &Queue,
    tx: &mut WriteTx,
    profile: ProfileId,
    entries: &[Entry],
) -> Result<Vec<Record>, EngineError> {
    let units: BTreeSet<_> = entries.iter().map(|entry| entry.request.unit_id).collect();
    let there = rows::of_units(&mut **tx, profile, &units).await?;
    let mut last: i64 =
        sqlx::query_scalar("SELECT COALESCE(MAX(position), 0) FROM downloads").fetch_one(&mut **tx).await?;
    let mut records = Vec::with_capacity(entries.len());
    let mut new = Vec::new();
    for entry in entries {
        let row = there.get(&(entry.request.unit_id, entry.request.lesson_id));
        match (row, &entry.there) {
            (Some(row), Some(known)) if row.id == known.id => {
                let generation = again(tx, row, entry).await?;
                records.push(Record { id: row.id, generation, is_new: true });
            }
            (Some(row), _) => {
                records.push(Record { id: row.id, generation: row.generation, is_new: false });
            }
            (None, _) => {
                let (now, id) = super::new_id(queue.clock.as_ref());
                last += POSITION_STEP;
                new.push((id, now, last, entry));
                records.push(Record { id, generation: 1, is_new: true });
            }
        }
    }
    for rows in new.chunks(ROWS) {
        let mut insert = QueryBuilder::<Sqlite>::new(
            "INSERT INTO downloads (id, profile_id, course_id, unit_id, lesson_id, title, accent, cover_asset_id,
                                    course_is_open, quality, state, position, bytes_total, blobs_missing, expanding,
                                    created_at, expires_at) ",
        );
        insert.push_values(rows, |mut row, (id, now, position, entry)| {
            let (weight, expanding) = weight(entry);
            row.push_bind(id.to_string())
                .push_bind(profile.to_string())
                .push_bind(entry.outline.course_id.to_string())
                .push_bind(entry.request.unit_id.to_string())
                .push_bind(entry.request.lesson_id.map(|id| id.to_string()).unwrap_or_default())
                .push_bind(&entry.outline.title)
                .push_bind(&entry.outline.accent)
                .push_bind(entry.outline.cover_asset_id.map(|id| id.to_string()))
                .push_bind(entry.outline.course_is_open)
                .push_bind(entry.quality.as_str())
                .push_bind(DownloadState::Pending.as_str())
                .push_bind(*position)
                .push_bind(signed(weight.bytes_total))
                .push_bind(signed(weight.blobs_missing))
                .push_bind(expanding)
                .push_bind(now.as_ms())
                .push_bind(entry.expires_at.map(TimeMs::as_ms));
        });
        insert.build().execute(&mut **tx).await?;
    }
    Ok(records)
}

/// As long as nothing is known to be here; one blob more where items follow.
fn weight(entry: &Entry) -> (Weight, bool) {
    let expanding = entry.items.len() > ITEMS_AT_ONCE;
    let weight = Weight::of(&entry.items);
    (Weight { blobs_missing: weight.blobs_missing + u64::from(expanding), ..weight }, expanding)
}

/// A new generation of a download that is there.
async fn again(tx: &mut WriteTx, row: &DownloadRow, entry: &Entry) -> Result<i64, EngineError> {
    rows::set_state(tx, row.id, back_to_pending(row)?, Change::default()).await?;
    sqlx::query("DELETE FROM download_items WHERE download_id = ? AND generation <> ?")
        .bind(row.id.to_string())
        .bind(row.usable_generation)
        .execute(&mut **tx)
        .await?;
    let generation = row.generation.max(row.usable_generation) + 1;
    let (weight, expanding) = weight(entry);
    sqlx::query(
        "UPDATE downloads SET generation = ?, title = ?, accent = ?, cover_asset_id = ?, course_is_open = ?, quality = ?,
                              bytes_total = ?, bytes_done = 0, blobs_missing = ?, expanding = ?, expires_at = ?
         WHERE id = ?",
    )
    .bind(generation)
    .bind(&entry.outline.title)
    .bind(&entry.outline.accent)
    .bind(entry.outline.cover_asset_id.map(|id| id.to_string()))
    .bind(entry.outline.course_is_open)
    .bind(entry.quality.as_str())
    .bind(signed(weight.bytes_total))
    .bind(signed(weight.blobs_missing))
    .bind(expanding)
    .bind(entry.expires_at.map(TimeMs::as_ms))
    .bind(row.id.to_string())
    .execute(&mut **tx)
    .await?;
    Ok(generation)
}

fn back_to_pending(row: &DownloadRow) -> Result<DownloadState, EngineError> {
    let action = match row.state {
        DownloadState::Paused => DownloadAction::Resume,
        DownloadState::Pending | DownloadState::Downloading | DownloadState::Verifying => DownloadAction::Requeue,
        _ => DownloadAction::Retry,
    };
    row.state.after(action).ok_or(EngineError::Refused(ErrorCode::WrongState))
}

/// After a crash: what was being written down is no download, and what was there before is as it was.
pub(super) async fn undo_unfinished(queue: &Queue) -> Result<(), EngineError> {
    let mut tx = queue.library.write().await?;
    let rows = sqlx::query("SELECT id FROM downloads WHERE expanding = 1").fetch_all(&mut *tx).await?;
    let ids = rows.iter().map(|row| crate::rows::parsed(row, "id")).collect::<Result<Vec<DownloadId>, _>>()?;
    for row in rows::of_ids(&mut *tx, &ids).await? {
        if row.usable_generation > 0 {
            super::commands::keep_older(&mut tx, &row).await?;
        } else {
            sqlx::query("DELETE FROM downloads WHERE id = ?").bind(row.id.to_string()).execute(&mut *tx).await?;
        }
    }
    Ok(tx.commit().await?)
}
