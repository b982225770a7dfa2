//! Who uses how many bytes, and what a deletion would free.

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::{
    BlobHash, DownloadId, LessonId, ProfileId, TimeMs, UnitId, content::AssetKind, download::DownloadState,
};
use sqlx::SqlitePool;

use super::{
    StorageParts,
    view::{KindUsage, StorageView, StoredUnit},
};
use crate::{
    EngineError,
    blobs::read_hash,
    catalogue::view::OfflineState,
    downloads::{
        self, OfflineStates,
        rows::{self, DownloadRow, optional},
    },
    rows::{parsed, time},
};

/// Something that needs a blob.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    Download(DownloadId),
    /// What was opened: of a learner and unit; a lesson's content, or a cover (none).
    Cache(ProfileId, Option<UnitId>, Option<LessonId>),
}

/// Every blob, and what needs it.
pub(super) async fn holders(readers: &SqlitePool) -> Result<BTreeMap<BlobHash, BTreeSet<Holder>>, EngineError> {
    let mut holders: BTreeMap<BlobHash, BTreeSet<Holder>> = BTreeMap::new();
    for row in sqlx::query("SELECT DISTINCT hash, download_id FROM download_items").fetch_all(readers).await? {
        holders.entry(read_hash(&row)?).or_default().insert(Holder::Download(parsed(&row, "download_id")?));
    }
    let cached =
        sqlx::query("SELECT hash, profile_id, unit_id, lesson_id FROM cache_entries").fetch_all(readers).await?;
    for row in cached {
        let holder =
            Holder::Cache(parsed(&row, "profile_id")?, optional(&row, "unit_id")?, optional(&row, "lesson_id")?);
        holders.entry(read_hash(&row)?).or_default().insert(holder);
    }
    Ok(holders)
}

/// Bytes on disk that go when these holders go.
pub(super) fn frees(
    holders: &BTreeMap<BlobHash, BTreeSet<Holder>>,
    on_disk: &BTreeMap<BlobHash, u64>,
    going: impl Fn(&Holder) -> bool,
) -> u64 {
    let alone = |held: &BTreeSet<Holder>| !held.is_empty() && held.iter().all(&going);
    holders.iter().filter(|(_, held)| alone(held)).filter_map(|(hash, _)| on_disk.get(hash)).sum()
}

pub(super) async fn usage(parts: &StorageParts, profile: ProfileId) -> Result<StorageView, EngineError> {
    let readers = parts.library.readers();
    let on_disk = parts.blobs.bytes_on_disk().await?;
    let space = parts.downloads.space().await?;
    let holders = holders(readers).await?;
    let now = parts.rooms.trusted_now();
    let states = downloads::offline_states(readers, profile, now).await?;
    let waiting = parts.rooms.waiting(profile).await?;
    let opened = opened(readers, profile).await?;

    let mut by_unit: BTreeMap<UnitId, Vec<DownloadRow>> = BTreeMap::new();
    for row in rows::of_profile(readers, profile).await? {
        if row.state != DownloadState::Cancelled {
            by_unit.entry(row.unit_id).or_default().push(row);
        }
    }
    let mut units = Vec::new();
    for (unit_id, downloads) in by_unit {
        let mine =
            |holder: &Holder| matches!(holder, Holder::Download(id) if downloads.iter().any(|row| row.id == *id));
        let bytes =
            holders.iter().filter(|(_, held)| held.iter().any(mine)).filter_map(|(hash, _)| on_disk.get(hash)).sum();
        let known = parts.rooms.unit(profile, unit_id).await?;
        let Some(first) = downloads.first() else { continue };
        units.push(StoredUnit {
            unit_id,
            title: known.as_ref().map_or_else(|| first.title.clone(), |(_, unit)| unit.title.clone()),
            course_title: known.as_ref().map(|(course, _)| course.title.clone()).unwrap_or_default(),
            accent: first.accent.clone(),
            cover_asset_id: first.cover_asset_id,
            frees_bytes: frees(&holders, &on_disk, mine),
            bytes,
            state: state(&states, unit_id, &downloads),
            opened_at: opened.get(&unit_id).copied(),
            expires_at: downloads.iter().filter_map(|row| row.expires_at).min(),
            waiting: waiting.get(&unit_id).copied().unwrap_or(0),
        });
    }
    Ok(StorageView {
        used_bytes: on_disk.values().sum(),
        by_kind: by_kind(readers, &on_disk).await?,
        free_bytes: space.free_bytes,
        total_bytes: space.total_bytes,
        floor_bytes: space.floor_bytes,
        units,
    })
}

/// Of the unit; where only lessons of it were asked for, of the first of those.
fn state(states: &OfflineStates, unit: UnitId, downloads: &[DownloadRow]) -> OfflineState {
    if downloads.iter().any(|row| row.lesson_id.is_none()) {
        return states.unit(unit);
    }
    let lesson = downloads.first().and_then(|row| row.lesson_id);
    lesson.map_or(downloads::NOT_DOWNLOADED, |lesson| states.lesson(lesson))
}

/// Each file counts once, under what its blob is; the sum is the sum of all files.
async fn by_kind(readers: &SqlitePool, on_disk: &BTreeMap<BlobHash, u64>) -> Result<Vec<KindUsage>, EngineError> {
    let rows = sqlx::query("SELECT hash, kind FROM blobs").fetch_all(readers).await?;
    let kinds = rows.iter().map(|row| Ok((read_hash(row)?, parsed(row, "kind")?)));
    let kinds: BTreeMap<BlobHash, AssetKind> = kinds.collect::<Result<_, EngineError>>()?;
    let mut sums: BTreeMap<AssetKind, u64> = BTreeMap::new();
    for (hash, bytes) in on_disk {
        // A file that no row knows (the database was made anew) is something, too.
        *sums.entry(kinds.get(hash).copied().unwrap_or(AssetKind::Package)).or_insert(0) += bytes;
    }
    Ok(sums.into_iter().map(|(kind, bytes)| KindUsage { kind, bytes }).collect())
}

async fn opened(readers: &SqlitePool, profile: ProfileId) -> Result<BTreeMap<UnitId, TimeMs>, EngineError> {
    let rows = sqlx::query("SELECT unit_id, opened_at FROM unit_openings WHERE profile_id = ?")
        .bind(profile.to_string())
        .fetch_all(readers)
        .await?;
    rows.iter().map(|row| Ok((parsed(row, "unit_id")?, time(row, "opened_at")?))).collect()
}
