//! Courses, units and blobs as they are.

use carrel_model::{
    BlobHash, CourseId, LearnerId, UnitId,
    content::{Course, Unit},
    pieces::Manifest,
};
use sqlx::{Row as _, SqliteConnection};

use super::{
    SqliteStore,
    rows::{json, number, word},
};
use crate::{
    rules::Denial,
    store::{Blob, StoreError, UnitScope},
};

/// The courses a learner may see. An enrolment that has run out still shows them: it can be renewed.
pub(super) async fn visible(conn: &mut SqliteConnection, learner: LearnerId) -> Result<Vec<CourseId>, StoreError> {
    let rows = sqlx::query(
        "SELECT c.course_id FROM courses c WHERE c.deleted_at IS NULL AND (c.open OR EXISTS (
             SELECT 1 FROM enrolments e
             WHERE e.learner_id = ?1 AND e.course_id = c.course_id AND e.ended_at IS NULL
         )) ORDER BY c.course_id",
    )
    .bind(learner.to_string())
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| word(row, "course_id")).collect()
}

pub(super) async fn courses(store: &SqliteStore, learner: LearnerId) -> Result<Vec<Course>, StoreError> {
    let rows = sqlx::query(
        "SELECT c.body FROM courses c WHERE c.deleted_at IS NULL AND (c.open OR EXISTS (
             SELECT 1 FROM enrolments e
             WHERE e.learner_id = ?1 AND e.course_id = c.course_id AND e.ended_at IS NULL
         )) ORDER BY c.position, c.key",
    )
    .bind(learner.to_string())
    .fetch_all(&store.readers)
    .await?;
    rows.iter().map(|row| json(row, "body")).collect()
}

pub(super) async fn units(store: &SqliteStore, learner: LearnerId, scope: UnitScope) -> Result<Vec<Unit>, StoreError> {
    let rows = sqlx::query(
        "SELECT u.body FROM units u JOIN courses c ON c.course_id = u.course_id
         WHERE u.deleted_at IS NULL AND c.deleted_at IS NULL AND CASE WHEN ?2 THEN EXISTS (
             SELECT 1 FROM enrolments e
             WHERE e.learner_id = ?1 AND e.course_id = c.course_id AND e.ended_at IS NULL
         ) ELSE c.open END
         ORDER BY c.position, c.key, u.position",
    )
    .bind(learner.to_string())
    .bind(scope == UnitScope::Mine)
    .fetch_all(&store.readers)
    .await?;
    rows.iter().map(|row| json(row, "body")).collect()
}

pub(super) async fn unit(
    store: &SqliteStore,
    learner: LearnerId,
    unit: UnitId,
) -> Result<Result<Unit, Denial>, StoreError> {
    let mut tx = store.snapshot().await?;
    let row = sqlx::query("SELECT course_id, body, deleted_at IS NOT NULL AS gone FROM units WHERE unit_id = ?1")
        .bind(unit.to_string())
        .fetch_optional(&mut *tx)
        .await?;
    let Some(row) = row else { return Ok(Err(Denial::NotFound)) };
    if !visible(&mut tx, learner).await?.contains(&word(&row, "course_id")?) {
        return Ok(Err(Denial::NotEnrolled));
    }
    if row.try_get("gone")? {
        return Ok(Err(Denial::Gone));
    }
    Ok(Ok(json(&row, "body")?))
}

pub(super) async fn blob(store: &SqliteStore, hash: BlobHash) -> Result<Option<Blob>, StoreError> {
    let row = sqlx::query("SELECT size, mime FROM blobs WHERE hash = ?1")
        .bind(hash.to_string())
        .fetch_optional(&store.readers)
        .await?;
    row.map(|row| Ok(Blob { size: number(&row, "size")?, mime: row.try_get("mime")? })).transpose()
}

pub(super) async fn manifest(
    conn: &mut SqliteConnection,
    hash: BlobHash,
) -> Result<Option<(Manifest, String)>, StoreError> {
    let row = sqlx::query("SELECT size, mime, pieces FROM blobs WHERE hash = ?1")
        .bind(hash.to_string())
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let manifest = Manifest::from_binary(hash, number(&row, "size")?, row.try_get("pieces")?)
        .map_err(|_| StoreError::Damaged("pieces"))?;
    Ok(Some((manifest, row.try_get("mime")?)))
}
