//! Keeping what the service says of courses and units: a page and its cursor in one transaction.

use carrel_model::{
    ProfileId, TimeMs,
    content::{Asset, Course, Lesson, OLDEST_SUPPORTED_UNIT_SCHEMA, Quality, Unit},
    wire::content::{Tombstone, TombstoneEntity, UnitsPage, set_checksum},
};
use sqlx::{Row as _, SqliteConnection};

use crate::{EngineError, rows::signed};

/// What a page did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Applied {
    /// Whether anything is different now.
    pub(crate) changed: bool,
    /// Whether it was the last page for now.
    pub(crate) complete: bool,
    /// Whether the set differs from the service's: everything is to be pulled anew.
    pub(crate) differs: bool,
}

/// Where the next page begins; none: at the beginning.
pub(crate) async fn cursor(readers: &sqlx::SqlitePool, profile: ProfileId) -> Result<Option<String>, EngineError> {
    let cursor: Option<Option<String>> =
        sqlx::query_scalar("SELECT units_cursor FROM sync_state WHERE profile_id = ?1")
            .bind(profile.to_string())
            .fetch_optional(readers)
            .await?;
    Ok(cursor.flatten())
}

/// Begins a full pull: what it doesn't bring is swept at its end. Nothing is removed before.
pub(crate) async fn start_over(tx: &mut SqliteConnection, profile: ProfileId) -> Result<(), EngineError> {
    sqlx::query(
        "UPDATE sync_state SET units_cursor = NULL, units_generation = units_generation + 1, units_sweep = 1
         WHERE profile_id = ?1",
    )
    .bind(profile.to_string())
    .execute(tx)
    .await?;
    Ok(())
}

/// Keeps a page and its cursor.
pub(crate) async fn apply(
    tx: &mut SqliteConnection,
    profile: ProfileId,
    page: &UnitsPage,
    now: TimeMs,
) -> Result<Applied, EngineError> {
    let id = profile.to_string();
    let state = sqlx::query("SELECT units_generation, units_sweep FROM sync_state WHERE profile_id = ?1")
        .bind(&id)
        .fetch_one(&mut *tx)
        .await?;
    let generation: i64 = state.try_get("units_generation")?;
    let mut changed = !(page.courses.is_empty() && page.units.is_empty() && page.tombstones.is_empty());
    for tombstone in &page.tombstones {
        remove(tx, &id, tombstone).await?;
    }
    for course in &page.courses {
        put_course(tx, &id, course, generation).await?;
    }
    for unit in &page.units {
        put_unit(tx, &id, unit, generation).await?;
    }
    let complete = !page.has_more;
    let sweep: bool = state.try_get("units_sweep")?;
    if complete && sweep {
        for sql in [
            "DELETE FROM units WHERE profile_id = ?1 AND generation < ?2",
            "DELETE FROM courses WHERE profile_id = ?1 AND generation < ?2",
        ] {
            changed |= sqlx::query(sql).bind(&id).bind(generation).execute(&mut *tx).await?.rows_affected() > 0;
        }
    }
    if changed {
        drop_unsupported(tx).await?;
        drop_unused_assets(tx, &id).await?;
    }
    let differs = match &page.checksum {
        Some(expected) if complete => *expected != checksum(tx, &id).await?,
        _ => false,
    };
    sqlx::query(
        "UPDATE sync_state SET units_cursor = ?2, units_sweep = CASE WHEN ?3 THEN 0 ELSE units_sweep END,
             units_fetched_at = CASE WHEN ?3 THEN ?4 ELSE units_fetched_at END,
             checksum_mismatches = checksum_mismatches + ?5
         WHERE profile_id = ?1",
    )
    .bind(&id)
    .bind(&page.cursor)
    .bind(complete)
    .bind(now.as_ms())
    .bind(differs)
    .execute(tx)
    .await?;
    Ok(Applied { changed, complete, differs })
}

/// Units and lessons of a shape this app no longer reads lose their content (requirement C3); the unit's own row stays, so
/// that the set still is the service's. Learner data refer to ids alone and are not touched.
pub(crate) async fn drop_unsupported(tx: &mut SqliteConnection) -> Result<(), EngineError> {
    for sql in [
        "DELETE FROM lessons WHERE schema_version < ?1 OR (profile_id, unit_id) IN
             (SELECT profile_id, id FROM units WHERE schema_version < ?1)",
        "DELETE FROM unit_assets WHERE (profile_id, unit_id) IN
             (SELECT profile_id, id FROM units WHERE schema_version < ?1)",
    ] {
        sqlx::query(sql).bind(OLDEST_SUPPORTED_UNIT_SCHEMA).execute(&mut *tx).await?;
    }
    Ok(())
}

async fn drop_unused_assets(tx: &mut SqliteConnection, profile: &str) -> Result<(), EngineError> {
    sqlx::query(
        "DELETE FROM assets WHERE profile_id = ?1
             AND NOT EXISTS (SELECT 1 FROM unit_assets a WHERE a.profile_id = ?1 AND a.asset_id = assets.id)
             AND NOT EXISTS (SELECT 1 FROM courses c WHERE c.profile_id = ?1 AND c.cover_asset_id = assets.id)",
    )
    .bind(profile)
    .execute(tx)
    .await?;
    Ok(())
}

async fn checksum(tx: &mut SqliteConnection, profile: &str) -> Result<String, EngineError> {
    let all: Vec<(String, i64)> = sqlx::query_as(
        "SELECT id, updated_at FROM courses WHERE profile_id = ?1
         UNION ALL SELECT id, updated_at FROM units WHERE profile_id = ?1",
    )
    .bind(profile)
    .fetch_all(tx)
    .await?;
    Ok(set_checksum(all.iter().map(|(id, version)| (id.as_str(), *version))))
}

async fn remove(tx: &mut SqliteConnection, profile: &str, tombstone: &Tombstone) -> Result<(), EngineError> {
    let statements: &[&str] = match tombstone.entity {
        TombstoneEntity::Course => &[
            "DELETE FROM units WHERE profile_id = ?1 AND course_id = ?2",
            "DELETE FROM courses WHERE profile_id = ?1 AND id = ?2",
        ],
        TombstoneEntity::Unit => &["DELETE FROM units WHERE profile_id = ?1 AND id = ?2"],
        TombstoneEntity::Lesson => &["DELETE FROM lessons WHERE profile_id = ?1 AND id = ?2"],
        TombstoneEntity::Asset => &["DELETE FROM unit_assets WHERE profile_id = ?1 AND asset_id = ?2"],
        // Not of this room.
        TombstoneEntity::Bookmark => &[],
    };
    for sql in statements {
        sqlx::query(sql).bind(profile).bind(&tombstone.id).execute(&mut *tx).await?;
    }
    Ok(())
}

async fn put_course(
    tx: &mut SqliteConnection,
    profile: &str,
    course: &Course,
    generation: i64,
) -> Result<(), EngineError> {
    if let Some(cover) = &course.cover {
        put_asset(tx, profile, cover).await?;
    }
    sqlx::query(
        "INSERT OR REPLACE INTO courses (profile_id, id, title, summary, subject, level, language, accent,
             cover_asset_id, open, premium, position, updated_at, generation)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )
    .bind(profile)
    .bind(course.id.to_string())
    .bind(&course.title)
    .bind(&course.summary)
    .bind(&course.subject)
    .bind(&course.level)
    .bind(&course.language)
    .bind(&course.accent)
    .bind(course.cover.as_ref().map(|cover| cover.id.to_string()))
    .bind(course.open)
    .bind(course.premium)
    .bind(course.position)
    .bind(course.updated_at.as_ms())
    .bind(generation)
    .execute(tx)
    .await?;
    Ok(())
}

async fn put_unit(tx: &mut SqliteConnection, profile: &str, unit: &Unit, generation: i64) -> Result<(), EngineError> {
    let size = |quality| signed(unit.renditions_for(quality).iter().map(|(_, rendition)| rendition.size).sum());
    // Replacing the row takes its lessons and asset list along; they follow whole.
    sqlx::query("DELETE FROM units WHERE profile_id = ?1 AND id = ?2")
        .bind(profile)
        .bind(unit.id.to_string())
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "INSERT INTO units (profile_id, id, course_id, position, title, summary, language, cover_asset_id,
             schema_version, size_low, size_medium, size_high, updated_at, generation)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )
    .bind(profile)
    .bind(unit.id.to_string())
    .bind(unit.course_id.to_string())
    .bind(unit.position)
    .bind(&unit.title)
    .bind(&unit.summary)
    .bind(&unit.language)
    .bind(unit.cover.as_ref().map(|cover| cover.id.to_string()))
    .bind(unit.schema_version)
    .bind(size(Quality::Low))
    .bind(size(Quality::Medium))
    .bind(size(Quality::High))
    .bind(unit.updated_at.as_ms())
    .bind(generation)
    .execute(&mut *tx)
    .await?;
    for lesson in &unit.lessons {
        put_lesson(tx, profile, unit, lesson).await?;
    }
    let listed = unit.assets.iter().zip(1_u32..);
    for (asset, position) in unit.cover.iter().map(|cover| (cover, 0)).chain(listed) {
        put_asset(tx, profile, asset).await?;
        // A picture that is both cover and part of a lesson keeps the place of the latter.
        sqlx::query(
            "INSERT OR REPLACE INTO unit_assets (profile_id, unit_id, asset_id, position) VALUES (?1, ?2, ?3, ?4)",
        )
        .bind(profile)
        .bind(unit.id.to_string())
        .bind(asset.id.to_string())
        .bind(position)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

async fn put_lesson(tx: &mut SqliteConnection, profile: &str, unit: &Unit, lesson: &Lesson) -> Result<(), EngineError> {
    sqlx::query(
        "INSERT OR REPLACE INTO lessons (profile_id, id, unit_id, position, kind, title, summary, duration_ms,
             primary_asset_id, payload, schema_version, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )
    .bind(profile)
    .bind(lesson.id.to_string())
    .bind(unit.id.to_string())
    .bind(lesson.position)
    .bind(lesson.kind.as_str())
    .bind(&lesson.title)
    .bind(&lesson.summary)
    .bind(lesson.duration_ms.map(signed))
    .bind(lesson.primary_asset_id.map(|id| id.to_string()))
    .bind(serde_json::to_string(&lesson.payload)?)
    .bind(lesson.schema_version)
    .bind(lesson.updated_at.as_ms())
    .execute(tx)
    .await?;
    Ok(())
}

async fn put_asset(tx: &mut SqliteConnection, profile: &str, asset: &Asset) -> Result<(), EngineError> {
    // Its renditions go with the row and follow whole.
    sqlx::query("DELETE FROM assets WHERE profile_id = ?1 AND id = ?2")
        .bind(profile)
        .bind(asset.id.to_string())
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "INSERT INTO assets (profile_id, id, lesson_id, kind, title, language, duration_ms, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )
    .bind(profile)
    .bind(asset.id.to_string())
    .bind(asset.lesson_id.map(|id| id.to_string()))
    .bind(asset.kind.as_str())
    .bind(&asset.title)
    .bind(&asset.language)
    .bind(asset.duration_ms.map(signed))
    .bind(asset.updated_at.as_ms())
    .execute(&mut *tx)
    .await?;
    for rendition in &asset.renditions {
        sqlx::query(
            "INSERT OR REPLACE INTO renditions (profile_id, asset_id, quality, hash, size, mime, width, height, bitrate)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .bind(profile)
        .bind(asset.id.to_string())
        .bind(rendition.quality.as_str())
        .bind(rendition.hash.to_string())
        .bind(signed(rendition.size))
        .bind(&rendition.mime)
        .bind(rendition.width)
        .bind(rendition.height)
        .bind(rendition.bitrate)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}
