//! The tables `courses`, `units`, `lessons`, `assets`, `renditions`, `unit_assets`: reading whole things out of them.

use std::collections::BTreeMap;

use carrel_model::{
    AssetId, CourseId, LessonId, ProfileId, UnitId,
    content::{Asset, Course, Lesson, OLDEST_SUPPORTED_UNIT_SCHEMA, Rendition, Unit},
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use sqlx::{Row as _, SqlitePool, sqlite::SqliteRow};

use crate::{
    EngineError,
    downloads::rooms::OwnedAsset,
    rows::{json, parsed, parsed_option, time, unsigned},
};

/// A course.
pub(crate) async fn course(
    readers: &SqlitePool,
    profile: ProfileId,
    id: CourseId,
) -> Result<Option<Course>, EngineError> {
    let row = sqlx::query("SELECT * FROM courses WHERE profile_id = ?1 AND id = ?2")
        .bind(profile.to_string())
        .bind(id.to_string())
        .fetch_optional(readers)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let mut course = read_course(&row)?;
    if let Some(cover) = parsed_option(&row, "cover_asset_id")? {
        course.cover = asset(readers, profile, cover).await?;
    }
    Ok(Some(course))
}

fn read_course(row: &SqliteRow) -> Result<Course, EngineError> {
    Ok(Course {
        id: parsed(row, "id")?,
        title: row.try_get("title")?,
        summary: row.try_get("summary")?,
        subject: row.try_get("subject")?,
        level: row.try_get("level")?,
        language: row.try_get("language")?,
        accent: row.try_get("accent")?,
        cover: None,
        open: row.try_get("open")?,
        premium: row.try_get("premium")?,
        position: row.try_get("position")?,
        updated_at: time(row, "updated_at")?,
    })
}

/// A unit with everything that belongs to it, and its course.
pub(crate) async fn unit(
    readers: &SqlitePool,
    profile: ProfileId,
    id: UnitId,
) -> Result<Option<(Course, Unit)>, EngineError> {
    let row = sqlx::query("SELECT * FROM units WHERE profile_id = ?1 AND id = ?2 AND schema_version >= ?3")
        .bind(profile.to_string())
        .bind(id.to_string())
        .bind(OLDEST_SUPPORTED_UNIT_SCHEMA)
        .fetch_optional(readers)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let Some(course) = course(readers, profile, parsed(&row, "course_id")?).await? else { return Ok(None) };
    let cover_id: Option<AssetId> = parsed_option(&row, "cover_asset_id")?;
    let listed = assets_of_unit(readers, profile, id).await?;
    let cover = listed.iter().find(|(_, asset)| Some(asset.id) == cover_id).map(|(_, asset)| asset.clone());
    let unit = Unit {
        id,
        course_id: course.id,
        position: row.try_get("position")?,
        title: row.try_get("title")?,
        summary: row.try_get("summary")?,
        language: row.try_get("language")?,
        cover,
        schema_version: row.try_get("schema_version")?,
        lessons: lessons_of_unit(readers, profile, id).await?,
        // Position 0 is the cover alone.
        assets: listed.into_iter().filter(|(position, _)| *position > 0).map(|(_, asset)| asset).collect(),
        updated_at: time(&row, "updated_at")?,
    };
    Ok(Some((course, unit)))
}

/// A lesson.
pub(crate) async fn lesson(
    readers: &SqlitePool,
    profile: ProfileId,
    id: LessonId,
) -> Result<Option<Lesson>, EngineError> {
    let row = sqlx::query("SELECT * FROM lessons WHERE profile_id = ?1 AND id = ?2 AND schema_version >= ?3")
        .bind(profile.to_string())
        .bind(id.to_string())
        .bind(OLDEST_SUPPORTED_UNIT_SCHEMA)
        .fetch_optional(readers)
        .await?;
    row.as_ref().map(read_lesson).transpose()
}

/// The unit of a lesson, and its course.
pub(crate) async fn unit_of_lesson(
    readers: &SqlitePool,
    profile: ProfileId,
    id: LessonId,
) -> Result<Option<(Course, Unit)>, EngineError> {
    match lesson(readers, profile, id).await? {
        Some(lesson) => unit(readers, profile, lesson.unit_id).await,
        None => Ok(None),
    }
}

async fn lessons_of_unit(readers: &SqlitePool, profile: ProfileId, unit: UnitId) -> Result<Vec<Lesson>, EngineError> {
    // One by one: as SQLite gives them, rows take ten times the memory.
    sqlx::query(
        "SELECT * FROM lessons WHERE profile_id = ?1 AND unit_id = ?2 AND schema_version >= ?3 ORDER BY position, id",
    )
    .bind(profile.to_string())
    .bind(unit.to_string())
    .bind(OLDEST_SUPPORTED_UNIT_SCHEMA)
    .fetch(readers)
    .map(|row| read_lesson(&row?))
    .try_collect()
    .await
}

fn read_lesson(row: &SqliteRow) -> Result<Lesson, EngineError> {
    let duration_ms: Option<i64> = row.try_get("duration_ms")?;
    Ok(Lesson {
        id: parsed(row, "id")?,
        unit_id: parsed(row, "unit_id")?,
        position: row.try_get("position")?,
        kind: parsed(row, "kind")?,
        title: row.try_get("title")?,
        summary: row.try_get("summary")?,
        duration_ms: duration_ms.and_then(|ms| u64::try_from(ms).ok()),
        primary_asset_id: parsed_option(row, "primary_asset_id")?,
        payload: json(row, "payload")?,
        schema_version: row.try_get("schema_version")?,
        updated_at: time(row, "updated_at")?,
    })
}

/// An asset that a learner may see, and where it belongs.
pub(crate) async fn owned_asset(
    readers: &SqlitePool,
    profile: ProfileId,
    id: AssetId,
) -> Result<Option<OwnedAsset>, EngineError> {
    // Any of its units will do: one picture may serve several, and all of them are of one course.
    let row = sqlx::query(
        "SELECT c.id AS course_id, c.open, u.id AS unit_id FROM unit_assets a
             JOIN units u ON u.profile_id = a.profile_id AND u.id = a.unit_id
             JOIN courses c ON c.profile_id = u.profile_id AND c.id = u.course_id
         WHERE a.profile_id = ?1 AND a.asset_id = ?2
         UNION ALL
         SELECT c.id, c.open, NULL FROM courses c WHERE c.profile_id = ?1 AND c.cover_asset_id = ?2
         LIMIT 1",
    )
    .bind(profile.to_string())
    .bind(id.to_string())
    .fetch_optional(readers)
    .await?;
    let (Some(row), Some(asset)) = (row, asset(readers, profile, id).await?) else { return Ok(None) };
    Ok(Some(OwnedAsset {
        asset,
        course_id: parsed(&row, "course_id")?,
        course_is_open: row.try_get("open")?,
        unit_id: parsed_option(&row, "unit_id")?,
    }))
}

async fn asset(readers: &SqlitePool, profile: ProfileId, id: AssetId) -> Result<Option<Asset>, EngineError> {
    let rows = sqlx::query(
        "SELECT s.*, r.quality, r.hash, r.size, r.mime, r.width, r.height, r.bitrate FROM assets s
         JOIN renditions r ON r.profile_id = s.profile_id AND r.asset_id = s.id
         WHERE s.profile_id = ?1 AND s.id = ?2",
    )
    .bind(profile.to_string())
    .bind(id.to_string())
    .fetch_all(readers)
    .await?;
    Ok(gather(&rows)?.into_values().next())
}

/// All assets of a unit with their places in it; its cover is 0.
async fn assets_of_unit(
    readers: &SqlitePool,
    profile: ProfileId,
    unit: UnitId,
) -> Result<Vec<(u32, Asset)>, EngineError> {
    // CROSS: in this order, or SQLite may read every rendition there is for each unit.
    let mut rows = sqlx::query(
        "SELECT s.*, r.quality, r.hash, r.size, r.mime, r.width, r.height, r.bitrate, a.position FROM unit_assets a
         CROSS JOIN assets s ON s.profile_id = a.profile_id AND s.id = a.asset_id
         CROSS JOIN renditions r ON r.profile_id = s.profile_id AND r.asset_id = s.id
         WHERE a.profile_id = ?1 AND a.unit_id = ?2 ORDER BY a.position",
    )
    .bind(profile.to_string())
    .bind(unit.to_string())
    .fetch(readers);
    let mut places: Vec<(u32, AssetId)> = Vec::new();
    let mut assets = BTreeMap::new();
    while let Some(row) = rows.try_next().await? {
        places.push((row.try_get("position")?, parsed(&row, "id")?));
        take_in(&mut assets, &row)?;
    }
    places.dedup();
    let mut assets = in_order(assets);
    Ok(places.into_iter().filter_map(|(position, id)| Some((position, assets.remove(&id)?))).collect())
}

/// Rows of assets joined with their renditions, as assets.
fn gather(rows: &[SqliteRow]) -> Result<BTreeMap<AssetId, Asset>, EngineError> {
    let mut assets: BTreeMap<AssetId, Asset> = BTreeMap::new();
    for row in rows {
        take_in(&mut assets, row)?;
    }
    Ok(in_order(assets))
}

/// Renditions in the order of their quality.
fn in_order(mut assets: BTreeMap<AssetId, Asset>) -> BTreeMap<AssetId, Asset> {
    for asset in assets.values_mut() {
        asset.renditions.sort_unstable_by_key(|rendition| rendition.quality);
    }
    assets
}

/// Takes a rendition in, and its asset where it is the first of it.
fn take_in(assets: &mut BTreeMap<AssetId, Asset>, row: &SqliteRow) -> Result<(), EngineError> {
    let id: AssetId = parsed(row, "id")?;
    let rendition = Rendition {
        quality: parsed(row, "quality")?,
        hash: parsed(row, "hash")?,
        size: unsigned(row, "size")?,
        mime: row.try_get("mime")?,
        width: row.try_get("width")?,
        height: row.try_get("height")?,
        bitrate: row.try_get("bitrate")?,
    };
    if let Some(asset) = assets.get_mut(&id) {
        asset.renditions.push(rendition);
        return Ok(());
    }
    let duration_ms: Option<i64> = row.try_get("duration_ms")?;
    let asset = Asset {
        id,
        lesson_id: parsed_option(row, "lesson_id")?,
        kind: parsed(row, "kind")?,
        title: row.try_get("title")?,
        language: row.try_get("language")?,
        duration_ms: duration_ms.and_then(|ms| u64::try_from(ms).ok()),
        renditions: vec![rendition],
        updated_at: time(row, "updated_at")?,
    };
    assets.insert(id, asset);
    Ok(())
}
