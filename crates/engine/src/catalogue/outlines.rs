//! What a download needs to know of its unit, without reading the unit: a course may have 50,000 lessons.

use std::collections::BTreeMap;

use carrel_model::{AssetId, CourseId, ProfileId, UnitId, content::OLDEST_SUPPORTED_UNIT_SCHEMA};
use futures_util::TryStreamExt as _;
use sqlx::{Row as _, SqlitePool};

use crate::{
    EngineError,
    downloads::rooms::{CourseShare, Outline},
    rows::{parsed, parsed_option},
};

/// These units of a learner; those that the learner doesn't see are left out.
pub(crate) async fn outlines(
    readers: &SqlitePool,
    profile: ProfileId,
    units: &[UnitId],
) -> Result<BTreeMap<UnitId, Outline>, EngineError> {
    let ids = serde_json::to_string(units)?;
    let rows = sqlx::query(
        "SELECT u.id, u.title, u.course_id, c.open, c.accent, COALESCE(u.cover_asset_id, c.cover_asset_id) AS cover
         FROM json_each(?2) j CROSS JOIN units u ON u.profile_id = ?1 AND u.id = j.value
         CROSS JOIN courses c ON c.profile_id = u.profile_id AND c.id = u.course_id WHERE u.schema_version >= ?3",
    )
    .bind(profile.to_string())
    .bind(&ids)
    .bind(OLDEST_SUPPORTED_UNIT_SCHEMA)
    .fetch_all(readers)
    .await?;
    let mut outlines = BTreeMap::new();
    for row in &rows {
        let outline = Outline {
            course_id: parsed(row, "course_id")?,
            course_is_open: row.try_get("open")?,
            title: row.try_get("title")?,
            accent: row.try_get("accent")?,
            cover_asset_id: parsed_option(row, "cover")?,
            uses: Vec::new(),
        };
        outlines.insert(parsed(row, "id")?, outline);
    }
    // A lesson's main asset mostly says itself whose it is: then it is no second use.
    let mut uses = sqlx::query(
        "SELECT a.unit_id, a.asset_id, s.lesson_id, 0 AS place, a.position AS ordinal
         FROM json_each(?2) j CROSS JOIN unit_assets a ON a.profile_id = ?1 AND a.unit_id = j.value
         CROSS JOIN assets s ON s.profile_id = a.profile_id AND s.id = a.asset_id
         UNION ALL
         SELECT l.unit_id, s.id, l.id, 1, l.position FROM json_each(?2) j
         CROSS JOIN lessons l INDEXED BY lessons_of_unit ON l.profile_id = ?1 AND l.unit_id = j.value
         CROSS JOIN assets s ON s.profile_id = l.profile_id AND s.id = l.primary_asset_id
         WHERE s.lesson_id IS NOT l.id AND l.schema_version >= ?3
         UNION ALL
         SELECT l.unit_id, e.value, l.id, 1, l.position FROM json_each(?2) j
         CROSS JOIN lessons l INDEXED BY lessons_of_unit ON l.profile_id = ?1 AND l.unit_id = j.value
         CROSS JOIN json_each(l.payload, '$.caption_asset_ids') e
         WHERE instr(l.payload, '\"caption_asset_ids\":[\"') AND l.schema_version >= ?3
         UNION ALL
         SELECT l.unit_id, e.value, l.id, 1, l.position FROM json_each(?2) j
         CROSS JOIN lessons l INDEXED BY lessons_of_unit ON l.profile_id = ?1 AND l.unit_id = j.value
         CROSS JOIN json_each(l.payload, '$.image_asset_ids') e
         WHERE instr(l.payload, '\"image_asset_ids\":[\"') AND l.schema_version >= ?3
         ORDER BY place, ordinal",
    )
    .bind(profile.to_string())
    .bind(&ids)
    .bind(OLDEST_SUPPORTED_UNIT_SCHEMA)
    .fetch(readers);
    while let Some(row) = uses.try_next().await? {
        if let Some(outline) = outlines.get_mut(&parsed(&row, "unit_id")?) {
            outline.uses.push((parsed::<AssetId>(&row, "asset_id")?, parsed_option(&row, "lesson_id")?));
        }
    }
    Ok(outlines)
}

/// The units of a course that this app can read, in their order.
pub(crate) async fn units_of(
    readers: &SqlitePool,
    profile: ProfileId,
    course: CourseId,
) -> Result<Vec<UnitId>, EngineError> {
    let rows = sqlx::query(
        "SELECT id FROM units WHERE profile_id = ? AND course_id = ? AND schema_version >= ? ORDER BY position, id",
    )
    .bind(profile.to_string())
    .bind(course.to_string())
    .bind(OLDEST_SUPPORTED_UNIT_SCHEMA)
    .fetch_all(readers)
    .await?;
    rows.iter().map(|row| parsed(row, "id")).collect()
}

/// These units by their courses, with what there is of each course.
pub(crate) async fn shares(
    readers: &SqlitePool,
    profile: ProfileId,
    units: &[UnitId],
) -> Result<Vec<CourseShare>, EngineError> {
    let ids = serde_json::to_string(units)?;
    let rows = sqlx::query(
        "SELECT u.id, u.course_id FROM json_each(?2) j CROSS JOIN units u ON u.profile_id = ?1 AND u.id = j.value
         WHERE u.schema_version >= ?3",
    )
    .bind(profile.to_string())
    .bind(&ids)
    .bind(OLDEST_SUPPORTED_UNIT_SCHEMA)
    .fetch_all(readers)
    .await?;
    let mut by_course: BTreeMap<CourseId, Vec<UnitId>> = BTreeMap::new();
    for row in &rows {
        by_course.entry(parsed(row, "course_id")?).or_default().push(parsed(row, "id")?);
    }
    let mut shares = Vec::new();
    for (course, units) in by_course {
        let (of_course, assets): (i64, i64) = sqlx::query_as(
            "SELECT COUNT(*), COALESCE(SUM((SELECT COUNT(*) FROM unit_assets a
                                            WHERE a.profile_id = u.profile_id AND a.unit_id = u.id)), 0)
             FROM units u WHERE u.profile_id = ? AND u.course_id = ?",
        )
        .bind(profile.to_string())
        .bind(course.to_string())
        .fetch_one(readers)
        .await?;
        let count = |n: i64| usize::try_from(n).unwrap_or(0);
        shares.push(CourseShare { course, units, units_of_course: count(of_course), assets_of_course: count(assets) });
    }
    Ok(shares)
}
