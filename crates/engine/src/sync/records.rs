//! Keeping pages of the learner's own rows, each with its cursor in one transaction (requirement Y2).

use std::collections::BTreeSet;

use carrel_model::{LessonId, ProfileId, wire::sync::PullPage};
use sqlx::{Row as _, SqlitePool};

use crate::{EngineError, learning::pulled, library::Library, outbox};

/// Where the next page begins; none: at the beginning.
pub(super) async fn cursor(readers: &SqlitePool, profile: ProfileId) -> Result<Option<String>, EngineError> {
    let cursor: Option<Option<String>> =
        sqlx::query_scalar("SELECT records_cursor FROM sync_state WHERE profile_id = ?1")
            .bind(profile.to_string())
            .fetch_optional(readers)
            .await?;
    Ok(cursor.flatten())
}

/// Begins a full pull: what it doesn't bring is swept at its end. What waits is not touched, and what was sent is sent
/// again: the service may have been put back to a backup.
pub(super) async fn start_over(library: &Library, profile: ProfileId) -> Result<(), EngineError> {
    let mut tx = library.write().await?;
    sqlx::query(
        "UPDATE sync_state SET records_cursor = NULL, records_generation = records_generation + 1, records_sweep = 1
         WHERE profile_id = ?1",
    )
    .bind(profile.to_string())
    .execute(&mut *tx)
    .await?;
    outbox::send_again(&mut tx, profile).await?;
    tx.commit().await?;
    Ok(())
}

/// A page that was kept.
#[derive(Debug)]
pub(super) struct Kept {
    /// The lessons it speaks of.
    pub(super) lessons: BTreeSet<LessonId>,
    /// With the last page: the rows here don't amount to what the service has.
    pub(super) differs: bool,
}

/// Keeps a page and its cursor. With the last page, what was acknowledged before this pull is part of what was pulled, and
/// leaves the outbox.
pub(super) async fn keep(library: &Library, profile: ProfileId, page: &PullPage) -> Result<Kept, EngineError> {
    let mut tx = library.write().await?;
    let state = sqlx::query("SELECT records_generation, records_sweep FROM sync_state WHERE profile_id = ?1")
        .bind(profile.to_string())
        .fetch_one(&mut *tx)
        .await?;
    let generation: i64 = state.try_get("records_generation")?;
    let lessons = pulled::apply(&mut tx, profile, page, generation).await?;
    let complete = !page.has_more;
    if complete {
        if state.try_get("records_sweep")? {
            pulled::sweep(&mut tx, profile, generation).await?;
        }
        outbox::forget_acked(&mut tx, profile).await?;
    }
    let differs = match &page.checksums {
        Some(theirs) if complete => pulled::checksums(&mut tx, profile).await? != *theirs,
        _ => false,
    };
    sqlx::query(
        "UPDATE sync_state SET records_cursor = ?2,
             records_sweep = CASE WHEN ?3 THEN 0 ELSE records_sweep END WHERE profile_id = ?1",
    )
    .bind(profile.to_string())
    .bind(&page.cursor)
    .bind(complete)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Kept { lessons, differs })
}
