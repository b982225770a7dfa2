//! Asking for a unit or a lesson to be taken along.

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::{
    AssetId, BlobHash, DownloadId, ErrorCode, LessonId, ProfileId,
    content::{AssetKind, Course, Quality, Unit},
    download::{DownloadAction, DownloadState},
    wire::downloads::{AuthorizeRequest, Authorized},
};

use super::{
    queue::Queue,
    rows::{self, Change, DownloadRow},
    view::{DownloadView, StartDownload},
};
use crate::{EngineError, library::WriteTx};

/// Positions are spread, so that one can be put between two others without touching the rest.
pub(super) const POSITION_STEP: i64 = 1 << 20;

/// Authorises, reserves and queues; gives the download that is there already where that is what was asked for.
pub(super) async fn start(
    queue: &Queue,
    profile: ProfileId,
    request: StartDownload,
) -> Result<DownloadView, EngineError> {
    let quality = match request.quality {
        Some(quality) => quality,
        None => queue.rooms.settings(profile).await?.default_quality,
    };
    let there = rows::of_wish(queue.library.readers(), profile, request.unit_id, request.lesson_id).await?;
    if let Some(row) = there.as_ref().filter(|row| row.quality == quality) {
        if row.state.is_active() {
            return queue.one(profile, row.id).await;
        }
        if row.state == DownloadState::Paused {
            return super::commands::resume(queue, profile, row.id).await;
        }
        if row.state == DownloadState::Completed && !is_due(queue, row).await? {
            return queue.one(profile, row.id).await;
        }
    }
    authorised(queue, profile, request, quality, there).await
}

/// Completed, but past its last day or behind the catalogue.
async fn is_due(queue: &Queue, row: &DownloadRow) -> Result<bool, EngineError> {
    use crate::catalogue::view::Availability;
    let now = queue.rooms.trusted_now();
    let states = super::offline_states(queue.library.readers(), row.profile_id, now).await?;
    let of_wish = row.lesson_id.map_or_else(|| states.unit(row.unit_id), |lesson| states.lesson(lesson));
    Ok(matches!(of_wish.availability, Availability::Expired | Availability::UpdateAvailable))
}

/// The whole way to the service, for a new wish or a new version of an old one.
pub(super) async fn authorised(
    queue: &Queue,
    profile: ProfileId,
    request: StartDownload,
    quality: Quality,
    there: Option<DownloadRow>,
) -> Result<DownloadView, EngineError> {
    let (course, unit) = queue.rooms.unit(profile, request.unit_id).await?.ok_or(EngineError::NotFound("unit"))?;
    let title = match request.lesson_id {
        None => unit.title.clone(),
        Some(id) => {
            let lesson = unit.lessons.iter().find(|lesson| lesson.id == id);
            lesson.ok_or(EngineError::NotFound("lesson"))?.title.clone()
        }
    };
    let wish = AuthorizeRequest {
        unit_id: request.lesson_id.is_none().then_some(request.unit_id),
        lesson_id: request.lesson_id,
        quality: Some(quality),
        ..AuthorizeRequest::default()
    };
    let granted = queue.rooms.authorize(profile, wish).await?;
    let items = expand(&granted, &unit, request.lesson_id, quality);

    let lock = queue.blobs.lock().await;
    reserve(queue, &granted).await?;
    let mut tx = queue.library.write().await?;
    for blob in &granted.blobs {
        queue.blobs.expect(&lock, &mut tx, &blob.manifest, blob.kind, &blob.mime).await?;
    }
    let record = Record { profile, request: &request, quality, title, course: &course, unit: &unit, granted: &granted };
    let id = record.write(queue, &mut tx, there.as_ref()).await?;
    insert_items(&mut tx, id, profile, &items).await?;
    tx.commit().await?;
    drop(lock);

    let now = queue.clock.now();
    for blob in &granted.blobs {
        queue.addresses.keep(blob.manifest.hash(), &blob.url, blob.url_expires_at, granted.server_time, now);
    }
    if !queue.settle(id).await? {
        queue.release().await?;
        queue.publish(&[id]).await?;
    }
    queue.one(profile, id).await
}

/// Refuses early, with the numbers, what the disk has no room for (S1).
async fn reserve(queue: &Queue, granted: &Authorized) -> Result<(), EngineError> {
    let queued = rows::missing_of_queue(queue.library.readers()).await?;
    let blobs: Vec<_> = granted.blobs.iter().map(|blob| (blob.manifest.hash(), blob.manifest.size())).collect();
    let absent = absent(queue, &blobs).await?;
    let with = queued.iter().chain(&absent).map(|(hash, size)| (*hash, *size)).collect();
    let before = queue.blobs.space(queued).await?;
    let after = queue.blobs.space(with).await?;
    let needed = after.reserved_bytes.saturating_sub(before.reserved_bytes);
    let available = before.available_bytes();
    if needed > available {
        return Err(EngineError::StorageFull { needed, available });
    }
    Ok(())
}

/// Of these blobs those that are not whole on disk.
async fn absent(queue: &Queue, blobs: &[(BlobHash, u64)]) -> Result<BTreeMap<BlobHash, u64>, EngineError> {
    let hashes: Vec<_> = blobs.iter().map(|(hash, _)| *hash).collect();
    let here =
        sqlx::query("SELECT hash FROM blobs WHERE state = 'present' AND hash IN (SELECT value FROM json_each(?))")
            .bind(serde_json::to_string(&hashes)?)
            .fetch_all(queue.library.readers())
            .await?;
    let here: BTreeSet<BlobHash> = here.iter().map(crate::blobs::read_hash).collect::<Result<_, _>>()?;
    Ok(blobs.iter().copied().filter(|(hash, _)| !here.contains(hash)).collect())
}

/// Of these blobs, the bytes that are not on this device yet.
pub(super) async fn net_bytes(queue: &Queue, blobs: &[(BlobHash, u64)]) -> Result<u64, EngineError> {
    Ok(absent(queue, blobs).await?.values().copied().fold(0, u64::saturating_add))
}

/// An asset of a lesson (or of the unit as a whole) and the blob it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    asset_id: AssetId,
    lesson_id: Option<LessonId>,
    hash: BlobHash,
    kind: AssetKind,
    quality: Quality,
    mime: String,
}

/// Which assets of which lessons the authorised blobs are. The service lists each blob once; the catalogue knows every asset
/// and lesson that needs it.
pub(super) fn expand(granted: &Authorized, unit: &Unit, only: Option<LessonId>, quality: Quality) -> Vec<Item> {
    let mut items: Vec<Item> = granted
        .blobs
        .iter()
        .map(|blob| Item {
            asset_id: blob.asset_id,
            lesson_id: blob.lesson_id,
            hash: blob.manifest.hash(),
            kind: blob.kind,
            quality: blob.quality,
            mime: blob.mime.clone(),
        })
        .collect();
    let by_asset: BTreeMap<AssetId, Item> = items.iter().map(|item| (item.asset_id, item.clone())).collect();
    let hashes: BTreeSet<BlobHash> = items.iter().map(|item| item.hash).collect();
    let mut add = |id: AssetId, lesson_id: Option<LessonId>| {
        let granted = by_asset.get(&id).cloned();
        let listed = || {
            let asset = unit.cover.iter().chain(&unit.assets).find(|asset| asset.id == id)?;
            let rendition = asset.rendition_for(quality).filter(|rendition| hashes.contains(&rendition.hash))?;
            Some(Item {
                asset_id: id,
                lesson_id,
                hash: rendition.hash,
                kind: asset.kind,
                quality: rendition.quality,
                mime: rendition.mime.clone(),
            })
        };
        if let Some(item) = granted.or_else(listed) {
            items.push(Item { lesson_id, ..item });
        }
    };
    for asset in unit.cover.iter().chain(&unit.assets).filter(|asset| only.is_none() || asset.lesson_id == only) {
        add(asset.id, asset.lesson_id);
    }
    for lesson in unit.lessons.iter().filter(|lesson| only.is_none_or(|only| only == lesson.id)) {
        let payload = &lesson.payload;
        for id in lesson.primary_asset_id.iter().chain(&payload.caption_asset_ids).chain(&payload.image_asset_ids) {
            add(*id, Some(lesson.id));
        }
    }
    let mut seen = BTreeSet::new();
    items.retain(|item| seen.insert((item.asset_id, item.lesson_id)));
    items
}

/// What is written of a wish.
struct Record<'a> {
    profile: ProfileId,
    request: &'a StartDownload,
    quality: Quality,
    title: String,
    course: &'a Course,
    unit: &'a Unit,
    granted: &'a Authorized,
}

impl Record<'_> {
    /// A new row, or a new generation of the one that is there.
    async fn write(
        &self,
        queue: &Queue,
        tx: &mut WriteTx,
        there: Option<&DownloadRow>,
    ) -> Result<DownloadId, EngineError> {
        let total: u64 = self.granted.blobs.iter().map(|blob| blob.manifest.size()).fold(0, u64::saturating_add);
        let (now, new) = super::new_id(queue.clock.as_ref());
        let id = if let Some(row) = there {
            // Read again within the transaction: the runner may have moved it meanwhile.
            let row = rows::get(&mut **tx, self.profile, row.id).await?;
            let state = back_to_pending(&row)?;
            rows::set_state(tx, row.id, state, Change::default()).await?;
            sqlx::query("DELETE FROM download_items WHERE download_id = ? AND generation <> ?")
                .bind(row.id.to_string())
                .bind(row.usable_generation)
                .execute(&mut **tx)
                .await?;
            sqlx::query("UPDATE downloads SET generation = MAX(generation, usable_generation) + 1 WHERE id = ?")
                .bind(row.id.to_string())
                .execute(&mut **tx)
                .await?;
            row.id
        } else {
            sqlx::query(
                "INSERT INTO downloads (id, profile_id, course_id, unit_id, lesson_id, title, accent, quality, state,
                                        position, created_at)
                 VALUES (?, ?, ?, ?, ?, '', '', ?, 'pending', (SELECT COALESCE(MAX(position), 0) + ? FROM downloads), ?)",
            )
            .bind(new.to_string())
            .bind(self.profile.to_string())
            .bind(self.course.id.to_string())
            .bind(self.request.unit_id.to_string())
            .bind(self.request.lesson_id.map(|id| id.to_string()).unwrap_or_default())
            .bind(self.quality.as_str())
            .bind(POSITION_STEP)
            .bind(now.as_ms())
            .execute(&mut **tx)
            .await?;
            new
        };
        let cover = self.unit.cover.as_ref().or(self.course.cover.as_ref());
        sqlx::query(
            "UPDATE downloads SET title = ?, accent = ?, cover_asset_id = ?, course_is_open = ?, quality = ?,
                                  bytes_total = ?, expires_at = ? WHERE id = ?",
        )
        .bind(&self.title)
        .bind(&self.course.accent)
        .bind(cover.map(|asset| asset.id.to_string()))
        .bind(self.course.open)
        .bind(self.quality.as_str())
        .bind(total.cast_signed())
        .bind(self.granted.expires_at.map(carrel_model::TimeMs::as_ms))
        .bind(id.to_string())
        .execute(&mut **tx)
        .await?;
        Ok(id)
    }
}

fn back_to_pending(row: &DownloadRow) -> Result<DownloadState, EngineError> {
    let action = match row.state {
        DownloadState::Paused => DownloadAction::Resume,
        DownloadState::Pending | DownloadState::Downloading | DownloadState::Verifying => DownloadAction::Requeue,
        _ => DownloadAction::Retry,
    };
    row.state.after(action).ok_or(EngineError::Refused(ErrorCode::WrongState))
}

async fn insert_items(tx: &mut WriteTx, id: DownloadId, profile: ProfileId, items: &[Item]) -> Result<(), EngineError> {
    for (ordinal, item) in items.iter().enumerate() {
        sqlx::query(
            "INSERT INTO download_items (download_id, profile_id, generation, asset_id, lesson_id, hash, kind, quality,
                                         mime, ordinal)
             VALUES (?1, ?2, (SELECT generation FROM downloads WHERE id = ?1), ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .bind(id.to_string())
        .bind(profile.to_string())
        .bind(item.asset_id.to_string())
        .bind(item.lesson_id.map(|id| id.to_string()).unwrap_or_default())
        .bind(item.hash.to_string())
        .bind(item.kind.as_str())
        .bind(item.quality.as_str())
        .bind(&item.mime)
        .bind(i64::try_from(ordinal).unwrap_or(i64::MAX))
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}
