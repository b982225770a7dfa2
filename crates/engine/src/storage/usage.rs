//! Who uses how many bytes, and what a deletion would free.

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::{BlobHash, CourseId, DownloadId, ProfileId, TimeMs, UnitId, download::DownloadState};
use sqlx::SqlitePool;

use super::{
    StorageParts,
    holdings::{Holder, Holdings, Sum},
    records,
    view::{KindUsage, OpenedUsage, StorageView, StoredCourse, StoredUnit},
};
use crate::{
    EngineError,
    catalogue::view::OfflineState,
    downloads::{
        self, OfflineStates,
        rows::{self, DownloadRow},
    },
    rows::{parsed, time},
};

/// Whatever a learner deletes with everything: covers stay, so that the library looks the same afterwards.
pub(super) fn all_of(profile: ProfileId, mine: &BTreeMap<DownloadId, UnitId>) -> impl Fn(&Holder) -> bool {
    move |holder| match holder {
        Holder::Download(id) => mine.contains_key(id),
        Holder::Cache(owner, _, lesson) => *owner == profile && lesson.is_some(),
    }
}

/// The unit of a learner that a holder goes with when that unit is deleted: its downloads, and what was opened of it.
pub(super) fn unit_of(profile: ProfileId, mine: &BTreeMap<DownloadId, UnitId>) -> impl Fn(&Holder) -> Option<UnitId> {
    move |holder| match holder {
        Holder::Download(id) => mine.get(id).copied(),
        Holder::Cache(owner, unit, Some(_)) if *owner == profile => *unit,
        Holder::Cache(..) => None,
    }
}

/// A learner's downloads that were not deleted or called off, by unit.
pub(super) async fn by_unit(
    readers: &SqlitePool,
    profile: ProfileId,
) -> Result<BTreeMap<UnitId, Vec<DownloadRow>>, EngineError> {
    let mut by_unit: BTreeMap<UnitId, Vec<DownloadRow>> = BTreeMap::new();
    for row in rows::of_profile(readers, profile).await? {
        if row.state != DownloadState::Cancelled {
            by_unit.entry(row.unit_id).or_default().push(row);
        }
    }
    Ok(by_unit)
}

/// Which unit each download is of.
pub(super) fn units_of(by_unit: &BTreeMap<UnitId, Vec<DownloadRow>>) -> BTreeMap<DownloadId, UnitId> {
    by_unit.iter().flat_map(|(unit, downloads)| downloads.iter().map(|row| (row.id, *unit))).collect()
}

pub(super) async fn usage(parts: &StorageParts, profile: ProfileId) -> Result<StorageView, EngineError> {
    let readers = parts.library.readers();
    let holdings = Holdings::read(parts, profile).await?;
    let space = parts.downloads.space().await?;
    let by_unit = by_unit(readers, profile).await?;
    let mine = units_of(&by_unit);

    let freed: BTreeMap<BlobHash, u64> = {
        let all = all_of(profile, &mine);
        holdings.freed(&all).map(|(hash, _, bytes)| (hash, bytes)).collect()
    };
    let hashes: BTreeSet<BlobHash> = freed.keys().copied().collect();
    let kinds = holdings.by_kind(readers, &hashes).await?;
    let by_kind = kinds.into_iter().map(|(kind, sum)| KindUsage { kind, bytes: sum.bytes, frees_bytes: sum.frees });

    let sums = holdings.sums(unit_of(profile, &mine));
    let units = units(parts, profile, &by_unit, &sums).await?;
    let courses = {
        let course_of: BTreeMap<UnitId, CourseId> = units.iter().map(|unit| (unit.unit_id, unit.course_id)).collect();
        let of_unit = unit_of(profile, &mine);
        courses(&units, &holdings.sums(|holder| course_of.get(&of_unit(holder)?).copied()))
    };
    Ok(StorageView {
        used_bytes: holdings.used(),
        by_kind: by_kind.collect(),
        frees_bytes: freed.values().sum(),
        leaving_bytes: holdings.leaving(),
        free_bytes: space.free_bytes,
        total_bytes: space.total_bytes,
        floor_bytes: space.floor_bytes,
        quota_bytes: space.quota_bytes,
        available_bytes: space.available_bytes(),
        opened: opened_usage(readers, profile, &holdings).await?,
        courses,
        units,
    })
}

async fn units(
    parts: &StorageParts,
    profile: ProfileId,
    by_unit: &BTreeMap<UnitId, Vec<DownloadRow>>,
    sums: &BTreeMap<UnitId, Sum>,
) -> Result<Vec<StoredUnit>, EngineError> {
    let readers = parts.library.readers();
    let states = downloads::offline_states(readers, profile, parts.rooms.trusted_now()).await?;
    let waiting = parts.rooms.waiting(profile).await?;
    let opened = opened(readers, profile).await?;
    let pinned = records::pinned(readers, profile).await?;
    let mut units = Vec::new();
    for (unit_id, downloads) in by_unit {
        let sum = sums.get(unit_id).copied().unwrap_or_default();
        let known = parts.rooms.unit(profile, *unit_id).await?;
        let Some(first) = downloads.first() else { continue };
        units.push(StoredUnit {
            unit_id: *unit_id,
            title: known.as_ref().map_or_else(|| first.title.clone(), |(_, unit)| unit.title.clone()),
            course_id: first.course_id,
            course_title: known.as_ref().map(|(course, _)| course.title.clone()).unwrap_or_default(),
            accent: first.accent.clone(),
            cover_asset_id: first.cover_asset_id,
            frees_bytes: sum.frees,
            bytes: sum.bytes,
            state: state(&states, *unit_id, downloads),
            opened_at: opened.get(unit_id).copied(),
            expires_at: downloads.iter().filter_map(|row| row.expires_at).min(),
            waiting: waiting.get(unit_id).copied().unwrap_or(0),
            pinned: pinned.contains(unit_id),
        });
    }
    Ok(units)
}

fn courses(units: &[StoredUnit], sums: &BTreeMap<CourseId, Sum>) -> Vec<StoredCourse> {
    let mut courses: BTreeMap<CourseId, StoredCourse> = BTreeMap::new();
    for unit in units {
        let sum = sums.get(&unit.course_id).copied().unwrap_or_default();
        let course = courses.entry(unit.course_id).or_insert_with(|| StoredCourse {
            course_id: unit.course_id,
            title: unit.course_title.clone(),
            accent: unit.accent.clone(),
            units: 0,
            frees_bytes: sum.frees,
            bytes: sum.bytes,
        });
        course.units += 1;
    }
    courses.into_values().collect()
}

/// Of the unit; where only lessons of it were asked for, of the first of those.
fn state(states: &OfflineStates, unit: UnitId, downloads: &[DownloadRow]) -> OfflineState {
    if downloads.iter().any(|row| row.lesson_id.is_none()) {
        return states.unit(unit);
    }
    let lesson = downloads.first().and_then(|row| row.lesson_id);
    lesson.map_or(downloads::NOT_DOWNLOADED, |lesson| states.lesson(lesson))
}

async fn opened_usage(
    readers: &SqlitePool,
    profile: ProfileId,
    holdings: &Holdings,
) -> Result<OpenedUsage, EngineError> {
    let content = |holder: &Holder| matches!(holder, Holder::Cache(owner, _, Some(_)) if *owner == profile);
    let entries: u32 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM cache_entries WHERE profile_id = ? AND lesson_id <> '' AND deleted_at IS NULL",
    )
    .bind(profile.to_string())
    .fetch_one(readers)
    .await?;
    let sums = holdings.sums(|holder| content(holder).then_some(()));
    let sum = sums.get(&()).copied().unwrap_or_default();
    Ok(OpenedUsage { entries, bytes: sum.bytes, frees_bytes: sum.frees })
}

/// When each unit was last opened.
pub(super) async fn opened(readers: &SqlitePool, profile: ProfileId) -> Result<BTreeMap<UnitId, TimeMs>, EngineError> {
    let rows = sqlx::query("SELECT unit_id, opened_at FROM unit_openings WHERE profile_id = ?")
        .bind(profile.to_string())
        .fetch_all(readers)
        .await?;
    rows.iter().map(|row| Ok((parsed(row, "unit_id")?, time(row, "opened_at")?))).collect()
}
