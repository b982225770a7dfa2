//! What is gone: leaving tombstones, withdrawing courses, and forgetting both after their time.

use carrel_model::{CourseId, TimeMs, time::DAY_MS, wire::content::TombstoneEntity};

use super::{Database, Transaction, scopes::advance, values};
use crate::{rules::course_scope, store::StoreError};

/// How long tombstones are kept; older cursors pull everything again (protocol.md, Cursor).
const TOMBSTONE_RETENTION_MS: i64 = 180 * DAY_MS;

/// Leaves a tombstone.
pub(super) async fn bury(
    tx: &mut dyn Transaction,
    scope: &str,
    seq: i64,
    entity: TombstoneEntity,
    id: &str,
    now: TimeMs,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO tombstones (scope, seq, entity, id, deleted_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (scope, entity, id) DO UPDATE SET seq = excluded.seq, deleted_at = excluded.deleted_at",
        values![scope, seq, entity.as_str(), id, now],
    )
    .await?;
    Ok(())
}

pub(super) async fn withdraw(db: &dyn Database, key: &str, now: TimeMs) -> Result<CourseId, StoreError> {
    let mut tx = db.begin().await?;
    let unknown = || StoreError::UnknownCourse(key.to_owned());
    let row = tx.row("SELECT course_id FROM courses WHERE key = $1", values![key]).await?;
    let course: CourseId = row.ok_or_else(unknown)?.word("course_id")?;
    // Readers learn of it because a scope they have is out of sight; the counter tells those who read by time.
    let seq = advance(tx.as_mut(), &course_scope(course), 1).await?;
    let withdrawn = tx
        .execute(
            "UPDATE courses SET deleted_at = $2, seq = $3 WHERE course_id = $1 AND deleted_at IS NULL",
            values![course, now, seq],
        )
        .await?;
    if withdrawn == 0 {
        return Err(unknown());
    }
    tx.commit().await?;
    Ok(course)
}

pub(super) async fn prune(tx: &mut dyn Transaction, now: TimeMs) -> Result<(), StoreError> {
    let before = now.plus_ms(-TOMBSTONE_RETENTION_MS);
    let old = tx
        .rows(
            "SELECT scope, MAX(seq) AS last FROM tombstones WHERE deleted_at < $1 GROUP BY scope ORDER BY scope",
            values![before],
        )
        .await?;
    for row in &old {
        let (scope, last) = (row.text("scope")?, row.int("last")?);
        // In the order of scopes, and each before its tombstones, as whoever writes to them.
        tx.execute(
            "UPDATE sync_scope SET pruned_through = $2 WHERE scope = $1 AND pruned_through < $2",
            values![scope, last],
        )
        .await?;
        tx.execute(
            "DELETE FROM tombstones WHERE scope = $1 AND seq <= $2 AND deleted_at < $3",
            values![scope, last, before],
        )
        .await?;
    }
    Ok(())
}
