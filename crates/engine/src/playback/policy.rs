//! How much of what was opened is kept, and for how long (S7).
//!
//! | what was opened | policy | at most | for |
//! |---|---|---|---|
//! | films and sound | cache first | 50 | 30 days |
//! | documents, pictures, captions | cache first | 200, and 512 MiB | 60 days |
//! | covers | as long as the library lists them | – | – |
//! | courses, units, lessons | stale while revalidate: SQLite answers, the service is asked behind it | – | – |
//! | what else the service is asked | network first, nothing is kept | – | – |
//!
//! The limits are each learner's. They hold for what was *opened*; what was downloaded is the learner's to delete. Films and
//! sound pass through as they play, so that today nothing of them is kept; the limit is there for what is.

use carrel_model::{TimeMs, time::DAY_MS};

use crate::{EngineError, library::Library};

/// Limits of a kind of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    kinds: &'static str,
    pub(crate) entries: u32,
    pub(crate) bytes: u64,
    pub(crate) days: i64,
}

/// Films and sound.
pub(crate) const STREAMS: Policy =
    Policy { kinds: r#"["video", "audio", "package"]"#, entries: 50, bytes: u64::MAX >> 1, days: 30 };
/// What is read or looked at.
pub(crate) const PAGES: Policy =
    Policy { kinds: r#"["document", "image", "captions"]"#, entries: 200, bytes: 512 << 20, days: 60 };

/// Forgets what is beyond its policy, the longest unused first; says how many entries. Their files go with the next sweep.
pub(crate) async fn trim(library: &Library, now: TimeMs) -> Result<u64, EngineError> {
    let mut gone = 0;
    for policy in [STREAMS, PAGES] {
        if beyond(library, policy, now).await? {
            gone += forget(library, policy, now).await?;
        }
    }
    let listed = "profile_id, asset_id";
    // A cover that no course or unit shows any more.
    let unlisted = format!(
        "lesson_id = '' AND ({listed}) NOT IN (SELECT profile_id, id FROM assets)
         AND profile_id IN (SELECT profile_id FROM sync_state WHERE units_fetched_at IS NOT NULL AND units_sweep = 0)"
    );
    let any = sqlx::query(&format!("SELECT 1 FROM cache_entries WHERE {unlisted} LIMIT 1"))
        .fetch_optional(library.readers())
        .await?;
    if any.is_some() {
        let mut tx = library.write().await?;
        let done = sqlx::query(&format!("DELETE FROM cache_entries WHERE {unlisted}")).execute(&mut *tx).await?;
        tx.commit().await?;
        gone += done.rows_affected();
    }
    Ok(gone)
}

/// The entries beyond a policy: the newest of a learner come first, and all behind a limit are beyond it.
const BEYOND: &str = "
    SELECT profile_id, asset_id, quality FROM (
        SELECT c.profile_id, c.asset_id, c.quality, c.used_at,
               ROW_NUMBER() OVER newest AS place, SUM(b.size) OVER newest AS bytes
        FROM cache_entries c JOIN blobs b USING (hash)
        WHERE c.lesson_id <> '' AND c.deleted_at IS NULL AND b.kind IN (SELECT value FROM json_each(?1))
        WINDOW newest AS (PARTITION BY c.profile_id ORDER BY c.used_at DESC, c.asset_id, c.quality
                          ROWS UNBOUNDED PRECEDING)
    ) WHERE place > ?2 OR bytes > ?3 OR used_at < ?4";

async fn beyond(library: &Library, policy: Policy, now: TimeMs) -> Result<bool, EngineError> {
    let sql = format!("{BEYOND} LIMIT 1");
    Ok(bound(&sql, policy, now).fetch_optional(library.readers()).await?.is_some())
}

async fn forget(library: &Library, policy: Policy, now: TimeMs) -> Result<u64, EngineError> {
    let sql = format!("DELETE FROM cache_entries WHERE (profile_id, asset_id, quality) IN ({BEYOND})");
    let mut tx = library.write().await?;
    let done = bound(&sql, policy, now).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(done.rows_affected())
}

type Bound<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments<'q>>;

fn bound(sql: &str, policy: Policy, now: TimeMs) -> Bound<'_> {
    sqlx::query(sql)
        .bind(policy.kinds)
        .bind(policy.entries)
        .bind(policy.bytes.cast_signed())
        .bind(now.plus_ms(-policy.days * DAY_MS).as_ms())
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
