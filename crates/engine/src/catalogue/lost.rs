//! What the service took back: units that were here and that the catalogue doesn't list any more.

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::{CourseId, ErrorCode, ProfileId, UnitId};
use sqlx::SqlitePool;

use crate::{EngineError, rows::parsed};

/// Which of these units of courses are not listed, and why: without its course the enrolment is gone, else the unit is.
/// Nothing is lost before the catalogue was pulled whole once, nor while a full pull is under way.
pub(crate) async fn lost_units(
    readers: &SqlitePool,
    profile: ProfileId,
    units: &[(UnitId, CourseId)],
) -> Result<BTreeMap<UnitId, ErrorCode>, EngineError> {
    let id = profile.to_string();
    let pulled: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM sync_state WHERE profile_id = ? AND units_fetched_at IS NOT NULL AND units_sweep = 0",
    )
    .bind(&id)
    .fetch_optional(readers)
    .await?;
    if pulled.is_none() || units.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query("SELECT id FROM units WHERE profile_id = ?").bind(&id).fetch_all(readers).await?;
    let listed: BTreeSet<UnitId> = rows.iter().map(|row| parsed(row, "id")).collect::<Result<_, _>>()?;
    let rows = sqlx::query("SELECT id FROM courses WHERE profile_id = ?").bind(&id).fetch_all(readers).await?;
    let courses: BTreeSet<CourseId> = rows.iter().map(|row| parsed(row, "id")).collect::<Result<_, _>>()?;
    let lost = units.iter().filter(|(unit, _)| !listed.contains(unit));
    let why = |course| if courses.contains(course) { ErrorCode::Gone } else { ErrorCode::NotEnrolled };
    Ok(lost.map(|(unit, course)| (*unit, why(course))).collect())
}
