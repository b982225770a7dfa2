//! What is gone: leaving tombstones, withdrawing courses, and forgetting both after their time.

use carrel_model::{CourseId, TimeMs, time::DAY_MS, wire::content::TombstoneEntity};
use sqlx::SqliteConnection;

use super::{SqliteStore, advance, rows::word};
use crate::{rules::course_scope, store::StoreError};

/// How long tombstones are kept; older cursors pull everything again (protocol.md, Cursor).
const TOMBSTONE_RETENTION_MS: i64 = 180 * DAY_MS;

/// Leaves a tombstone.
pub(super) async fn bury(
    conn: &mut SqliteConnection,
    scope: &str,
    seq: i64,
    entity: TombstoneEntity,
    id: &str,
    now: TimeMs,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO tombstones (scope, seq, entity, id, deleted_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (scope, entity, id) DO UPDATE SET seq = excluded.seq, deleted_at = excluded.deleted_at",
    )
    .bind(scope)
    .bind(seq)
    .bind(entity.as_str())
    .bind(id)
    .bind(now.as_ms())
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn withdraw(store: &SqliteStore, key: &str, now: TimeMs) -> Result<CourseId, StoreError> {
    let mut tx = store.begin().await?;
    let row = sqlx::query("SELECT course_id FROM courses WHERE key = ?1 AND deleted_at IS NULL")
        .bind(key)
        .fetch_optional(&mut *tx)
        .await?;
    let course: CourseId = word(&row.ok_or_else(|| StoreError::UnknownCourse(key.to_owned()))?, "course_id")?;
    // Readers learn of it because a scope they have is out of sight; the counter tells those who read by time.
    let seq = advance(&mut tx, &course_scope(course), 1).await?;
    sqlx::query("UPDATE courses SET deleted_at = ?2, seq = ?3 WHERE course_id = ?1")
        .bind(course.to_string())
        .bind(now.as_ms())
        .bind(seq)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(course)
}

pub(super) async fn prune(store: &SqliteStore, now: TimeMs) -> Result<(), StoreError> {
    let before = now.plus_ms(-TOMBSTONE_RETENTION_MS).as_ms();
    let mut tx = store.begin().await?;
    sqlx::query(
        "UPDATE sync_scope SET pruned_through = MAX(pruned_through, COALESCE(
             (SELECT MAX(t.seq) FROM tombstones t WHERE t.scope = sync_scope.scope AND t.deleted_at < ?1), 0))
         WHERE scope IN (SELECT scope FROM tombstones WHERE deleted_at < ?1)",
    )
    .bind(before)
    .execute(&mut *tx)
    .await?;
    sqlx::query("DELETE FROM tombstones WHERE deleted_at < ?1").bind(before).execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}
