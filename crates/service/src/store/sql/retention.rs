//! The scheduled jobs (requirement B5): forgetting the audit and the keys of ops in time, and counting anew what devices keep.
//!
//! What may be forgotten without an op ever having its effect twice: the key of an answer stays for as long as the answer, since an
//! answer is appended. The effect of everything else is a join with what is there: sent once more after its key is
//! forgotten it changes nothing and is called superseded instead of duplicate. So keys go with the audit's rows.

use carrel_model::{TimeMs, time::DAY_MS};

use super::{Database, values};
use crate::store::StoreError;

/// How long the audit is kept, and with it the keys of all ops but answers: a year of school and the holidays after it.
const AUDIT_RETENTION_MS: i64 = 400 * DAY_MS;
/// A device that was not heard of for as long as a refresh token holds is signed out, and what it keeps can't be opened.
const DEVICE_LOST_AFTER_MS: i64 = 90 * DAY_MS;
/// Rows of one transaction, so that no learner waits long.
const PORTION: i64 = 2_000;

const OLDEST: &str = "SELECT MAX(id) AS last, COUNT(*) AS old FROM
         (SELECT id, received_at FROM sync_log ORDER BY id LIMIT $2) AS oldest
     WHERE received_at < $1";
const FORGET_KEYS: &str = "DELETE FROM op_log
     WHERE (device_id, op_seq) IN (SELECT device_id, op_seq FROM sync_log WHERE id <= $1 AND received_at < $2)
     AND received_at < $2 AND (kind <> 'answer.recorded' OR outcome = 'rejected')";
const FORGET_AUDIT: &str = "DELETE FROM sync_log WHERE id <= $1 AND received_at < $2";

/// Forgets a portion of what is past its time. Whether there may be more.
pub(super) async fn prune_audit(db: &dyn Database, now: TimeMs) -> Result<bool, StoreError> {
    let before = now.plus_ms(-AUDIT_RETENTION_MS);
    let mut tx = db.begin().await?;
    let oldest = tx.row(OLDEST, values![before, PORTION]).await?.ok_or(StoreError::Damaged("sync_log"))?;
    let Some(last) = oldest.int_or_none("last")? else { return Ok(false) };
    tx.execute(FORGET_KEYS, values![last, before]).await?;
    tx.execute(FORGET_AUDIT, values![last, before]).await?;
    tx.commit().await?;
    Ok(oldest.int("old")? == PORTION)
}

/// A download lapses when its device is lost or nobody may open it any more, and counts again when that is over.
const LAPSE: [&str; 2] = [
    "UPDATE downloads SET lapsed_at = $1 WHERE NOT deleted AND lapsed_at IS NULL AND (
         EXISTS (SELECT 1 FROM devices v WHERE v.device_id = downloads.device_id AND v.last_seen < $2)
         OR NOT EXISTS (
             SELECT 1 FROM units u JOIN courses c ON c.course_id = u.course_id
             WHERE u.unit_id = downloads.unit_id AND c.deleted_at IS NULL AND (c.open OR EXISTS (
                 SELECT 1 FROM enrolments e WHERE e.learner_id = downloads.learner_id AND e.course_id = c.course_id
                 AND e.ended_at IS NULL AND (e.expires_at IS NULL OR e.expires_at > $1)))))",
    "UPDATE downloads SET lapsed_at = NULL WHERE lapsed_at IS NOT NULL AND lapsed_at < $1
         AND NOT EXISTS (SELECT 1 FROM devices v WHERE v.device_id = downloads.device_id AND v.last_seen < $2)
         AND EXISTS (
             SELECT 1 FROM units u JOIN courses c ON c.course_id = u.course_id
             WHERE u.unit_id = downloads.unit_id AND c.deleted_at IS NULL AND (c.open OR EXISTS (
                 SELECT 1 FROM enrolments e WHERE e.learner_id = downloads.learner_id AND e.course_id = c.course_id
                 AND e.ended_at IS NULL AND (e.expires_at IS NULL OR e.expires_at > $1))))",
];
const COUNT_ANEW: &str = "INSERT INTO storage_usage (learner_id, device_id, bytes, updated_at)
     SELECT learner_id, device_id,
            CAST(SUM(CASE WHEN deleted OR lapsed_at IS NOT NULL THEN 0 ELSE bytes END) AS BIGINT), $1
     FROM downloads WHERE bytes >= 0 GROUP BY learner_id, device_id ORDER BY learner_id, device_id
     ON CONFLICT (learner_id, device_id) DO UPDATE SET bytes = excluded.bytes, updated_at = excluded.updated_at
     WHERE storage_usage.bytes <> excluded.bytes";
const NOTHING_LEFT: &str = "UPDATE storage_usage SET bytes = 0, updated_at = $1 WHERE bytes <> 0 AND NOT EXISTS (
         SELECT 1 FROM downloads d
         WHERE d.learner_id = storage_usage.learner_id AND d.device_id = storage_usage.device_id)";

/// Marks what lapsed and counts what every device keeps. A report that comes at the same moment may be missed until the
/// next time; each report counts its own device by itself.
pub(super) async fn recount(db: &dyn Database, now: TimeMs) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    for sql in LAPSE {
        tx.execute(sql, values![now, now.plus_ms(-DEVICE_LOST_AFTER_MS)]).await?;
    }
    tx.execute(COUNT_ANEW, values![now]).await?;
    tx.execute(NOTHING_LEFT, values![now]).await?;
    tx.commit().await
}
