//! The copy of an asset on this device, for the learner who has it by a download or by having opened it.

use std::path::PathBuf;

use carrel_model::{
    AssetId, BlobHash, ProfileId, TimeMs, UnitId,
    content::{Asset, Quality},
};
use sqlx::Row as _;

use super::PlaybackParts;
use crate::{
    EngineError,
    blobs::{Located, read_hash},
    rows::{parsed, time_option},
};

/// A verified file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LocalCopy {
    pub(super) path: PathBuf,
    pub(super) hash: BlobHash,
    pub(super) size: u64,
    pub(super) mime: String,
    pub(super) quality: Quality,
    /// The last day of the download it came with.
    pub(super) expires_at: Option<TimeMs>,
    pub(super) cached: bool,
}

/// The best copy: the quality asked for before others, downloads before the cache, and of a download the version that is
/// complete before one that is still coming in. Also the blobs that were found damaged on the way.
pub(super) async fn find(
    parts: &PlaybackParts,
    profile: ProfileId,
    asset: &Asset,
    quality: Option<Quality>,
) -> Result<(Option<LocalCopy>, Vec<BlobHash>), EngineError> {
    let rows = sqlx::query(
        "SELECT * FROM (
         SELECT i.hash, i.mime, i.quality, d.expires_at, 0 AS cached, i.generation = d.usable_generation AS usable
         FROM download_items i JOIN downloads d ON d.id = i.download_id JOIN blobs b USING (hash)
         WHERE i.profile_id = ?1 AND i.asset_id = ?2 AND d.deleted_at IS NULL AND b.state = 'present'
         UNION ALL
         SELECT c.hash, c.mime, c.quality, NULL, 1, 0 FROM cache_entries c JOIN blobs b USING (hash)
         WHERE c.profile_id = ?1 AND c.asset_id = ?2 AND c.deleted_at IS NULL AND b.state = 'present'
         ) ORDER BY quality <> ?3, cached, usable DESC, expires_at IS NULL DESC, expires_at DESC",
    )
    .bind(profile.to_string())
    .bind(asset.id.to_string())
    .bind(quality.map_or("", Quality::as_str))
    .fetch_all(parts.library.readers())
    .await?;
    let mut damaged = Vec::new();
    for row in &rows {
        let hash = read_hash(row)?;
        let cached: bool = row.try_get("cached")?;
        // A cover that changed at the service is fetched anew; what was downloaded stays what it was.
        if cached && !asset.renditions.iter().any(|rendition| rendition.hash == hash) {
            continue;
        }
        match parts.blobs.locate(hash).await? {
            Located::Here { path, size } => {
                let copy = LocalCopy {
                    path,
                    hash,
                    size,
                    mime: row.try_get("mime")?,
                    quality: parsed(row, "quality")?,
                    expires_at: time_option(row, "expires_at")?,
                    cached,
                };
                return Ok((Some(copy), damaged));
            }
            Located::Damaged => damaged.push(hash),
            Located::Absent => {}
        }
    }
    Ok((None, damaged))
}

/// A cached copy is used: what wasn't for long goes first when the cache is cleaned. Written at most once a day.
pub(super) async fn note_used(
    parts: &PlaybackParts,
    profile: ProfileId,
    asset: AssetId,
    copy: &LocalCopy,
) -> Result<(), EngineError> {
    if !copy.cached {
        return Ok(());
    }
    let now = parts.clock.now();
    let (id, day) = (asset.to_string(), now.plus_ms(-carrel_model::time::DAY_MS).as_ms());
    let stale: Option<i64> =
        sqlx::query_scalar("SELECT 1 FROM cache_entries WHERE profile_id = ? AND asset_id = ? AND used_at < ? LIMIT 1")
            .bind(profile.to_string())
            .bind(&id)
            .bind(day)
            .fetch_optional(parts.library.readers())
            .await?;
    if stale.is_some() {
        let mut tx = parts.library.write().await?;
        sqlx::query("UPDATE cache_entries SET used_at = ? WHERE profile_id = ? AND asset_id = ?")
            .bind(now.as_ms())
            .bind(profile.to_string())
            .bind(&id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
    }
    Ok(())
}

/// A lesson of a unit is opened.
pub(super) async fn note_opened(parts: &PlaybackParts, profile: ProfileId, unit: UnitId) -> Result<(), EngineError> {
    let mut tx = parts.library.write().await?;
    sqlx::query(
        "INSERT INTO unit_openings (profile_id, unit_id, opened_at) VALUES (?, ?, ?)
         ON CONFLICT (profile_id, unit_id) DO UPDATE SET opened_at = excluded.opened_at",
    )
    .bind(profile.to_string())
    .bind(unit.to_string())
    .bind(parts.clock.now().as_ms())
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}
