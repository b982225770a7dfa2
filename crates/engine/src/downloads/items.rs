//! The table `download_items`: the assets of a download and the blob each of them is.

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::{
    AssetId, BlobHash, DownloadId, LessonId, ProfileId,
    content::{AssetKind, Quality, Unit},
    wire::downloads::{Authorized, AuthorizedBlob},
};

use crate::{EngineError, library::WriteTx};

/// Rows of one statement: a unit of 50,000 items takes a hundred statements and not 50,000.
const AT_ONCE: usize = 500;

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
    let of_blob = |blob: &AuthorizedBlob, lesson_id| Item {
        asset_id: blob.asset_id,
        lesson_id,
        hash: blob.manifest.hash(),
        kind: blob.kind,
        quality: blob.quality,
        mime: blob.mime.clone(),
    };
    let mut seen = BTreeSet::new();
    let mut items: Vec<Item> = Vec::with_capacity(granted.blobs.len());
    for blob in &granted.blobs {
        if seen.insert((blob.asset_id, blob.lesson_id)) {
            items.push(of_blob(blob, blob.lesson_id));
        }
    }
    let by_asset: BTreeMap<AssetId, &AuthorizedBlob> = granted.blobs.iter().map(|blob| (blob.asset_id, blob)).collect();
    let hashes: BTreeSet<BlobHash> = granted.blobs.iter().map(|blob| blob.manifest.hash()).collect();
    let mut add = |id: AssetId, lesson_id: Option<LessonId>| {
        if seen.contains(&(id, lesson_id)) {
            return;
        }
        let granted = by_asset.get(&id).map(|blob| of_blob(blob, lesson_id));
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
            seen.insert((id, lesson_id));
            items.push(item);
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
    items
}

/// Writes the items of the generation that is being fetched. Of several that are the same blob, the first leads: it is the
/// one that counts and is fetched.
pub(super) async fn insert(
    tx: &mut WriteTx,
    id: DownloadId,
    profile: ProfileId,
    items: &[Item],
) -> Result<(), EngineError> {
    let mut seen = BTreeSet::new();
    for (chunk, first) in items.chunks(AT_ONCE).zip((0..).step_by(AT_ONCE)) {
        let rows: Vec<_> = chunk
            .iter()
            .zip(first..)
            .map(|(item, ordinal): (&Item, u64)| {
                let leads = u8::from(seen.insert(item.hash));
                (item.asset_id, item.lesson_id, item.hash, item.kind, item.quality, &item.mime, ordinal, leads)
            })
            .collect();
        sqlx::query(
            "INSERT INTO download_items (download_id, profile_id, generation, asset_id, lesson_id, hash, kind, quality,
                                         mime, ordinal, leads, missing)
             SELECT d.id, ?2, d.generation, j.value ->> 0, COALESCE(j.value ->> 1, ''), j.value ->> 2, j.value ->> 3,
                    j.value ->> 4, j.value ->> 5, j.value ->> 6, j.value ->> 7, b.state <> 'present'
             FROM downloads d CROSS JOIN json_each(?3) j CROSS JOIN blobs b ON b.hash = j.value ->> 2 WHERE d.id = ?1",
        )
        .bind(id.to_string())
        .bind(profile.to_string())
        .bind(serde_json::to_string(&rows)?)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// Counts anew after the items or the generation of a download changed; what blobs do is counted by triggers.
pub(super) async fn recount(tx: &mut WriteTx, id: DownloadId) -> Result<(), EngineError> {
    sqlx::query(
        "UPDATE downloads SET bytes_total = CASE WHEN n.items > 0 THEN n.total ELSE bytes_total END,
                              bytes_done = n.done, blobs_missing = n.missing
         FROM (SELECT COUNT(*) AS items, COALESCE(SUM(b.size), 0) AS total, COALESCE(SUM(b.verified_bytes), 0) AS done,
                      COALESCE(SUM(i.missing), 0) AS missing
               FROM downloads d CROSS JOIN download_items i ON i.download_id = d.id AND i.generation = d.generation
               CROSS JOIN blobs b ON b.hash = i.hash WHERE d.id = ?1 AND i.leads = 1) n
         WHERE downloads.id = ?1",
    )
    .bind(id.to_string())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
