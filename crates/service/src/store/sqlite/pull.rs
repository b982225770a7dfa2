//! A page of a learner's own rows that changed.

use carrel_model::{
    LearnerId, TimeMs,
    wire::{
        content::{Tombstone, TombstoneEntity},
        sync::PullPage,
    },
};
use sqlx::{Row as _, sqlite::SqliteRow};

use super::{
    SqliteStore, content, effects, enrolments,
    rows::{time, word},
};
use crate::{
    rules::{Cursor, user_scope},
    store::StoreError,
};

const PROGRESS: &str = "SELECT seq, lesson_id, attempt, status, percent, completed_at, position, position_at,
        position_device_id, position_op_seq
    FROM progress WHERE learner_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
const SESSIONS: &str = "SELECT seq, session_id, lesson_id, attempt, kind, status, status_at, status_device_id,
        status_op_seq, started_at, ended_at, answered, correct, points, max_points, duration_ms
    FROM sessions WHERE learner_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
const ANSWERS: &str = "SELECT seq, device_id, op_seq, session_id, lesson_id, question_id, response, answered_at
    FROM answers WHERE learner_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
const BOOKMARKS: &str = "SELECT seq, bookmark_id, lesson_id, position, note, deleted, written_at, device_id, op_seq
    FROM bookmarks WHERE learner_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
const TOMBSTONES: &str = "SELECT seq, entity, id, deleted_at
    FROM tombstones WHERE scope = 'user:' || ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";

/// Which table a row came from.
#[derive(Clone, Copy)]
enum Own {
    Progress,
    Session,
    Answer,
    Bookmark,
    Tombstone,
}

pub(super) async fn read(
    store: &SqliteStore,
    learner: LearnerId,
    cursor: Option<&str>,
    limit: u32,
    now: TimeMs,
) -> Result<PullPage, StoreError> {
    let mut tx = store.snapshot().await?;
    let scope = user_scope(learner);
    let mut cursor = match cursor {
        None => Cursor::start(&store.epoch),
        Some(text) => Cursor::decode(text, &store.epoch, learner)?,
    };
    cursor.scopes.retain(|known, _| *known == scope);
    let from = cursor.scopes.get(&scope).copied().unwrap_or(0);
    let counter: Option<(i64, i64)> = sqlx::query_as("SELECT seq, pruned_through FROM sync_scope WHERE scope = ?1")
        .bind(&scope)
        .fetch_optional(&mut *tx)
        .await?;
    let (last, pruned) = counter.unwrap_or_default();
    if from > last || (from > 0 && from < pruned) {
        return Err(StoreError::CursorExpired);
    }

    let mut rows: Vec<(i64, Own, SqliteRow)> = Vec::new();
    for (own, sql) in [
        (Own::Progress, PROGRESS),
        (Own::Session, SESSIONS),
        (Own::Answer, ANSWERS),
        (Own::Bookmark, BOOKMARKS),
        (Own::Tombstone, TOMBSTONES),
    ] {
        let found = sqlx::query(sql)
            .bind(learner.to_string())
            .bind(from)
            .bind(i64::from(limit) + 1)
            .fetch_all(&mut *tx)
            .await?;
        for row in found {
            rows.push((row.try_get("seq")?, own, row));
        }
    }
    rows.sort_by_key(|(seq, ..)| *seq);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let reached = if has_more { rows.last().map_or(from, |(seq, ..)| *seq) } else { last };
    cursor.scopes.insert(scope, reached);

    let enrolments_changed: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM enrolments WHERE learner_id = ?1 AND seq > ?2 AND seq <= ?3)")
            .bind(learner.to_string())
            .bind(from)
            .bind(reached)
            .fetch_one(&mut *tx)
            .await?;
    // A reader that starts anew must learn of an empty list, too.
    let enrolments =
        if enrolments_changed || from == 0 { Some(enrolments::current(&mut tx, learner).await?) } else { None };

    let mut page = PullPage {
        progress: Vec::new(),
        sessions: Vec::new(),
        answers: Vec::new(),
        bookmarks: Vec::new(),
        enrolments,
        tombstones: Vec::new(),
        lease: None,
        cursor: cursor.encode()?,
        has_more,
        server_time: now,
    };
    let visible = content::visible(&mut tx, learner).await?;
    for (_, own, row) in &rows {
        match own {
            Own::Progress => page.progress.push(effects::progress_of(row)?),
            Own::Session => page.sessions.push(effects::session_of(row)?),
            Own::Answer => page.answers.push(effects::answer_of(row)?),
            Own::Bookmark => page.bookmarks.push(effects::bookmark_of(row)?),
            Own::Tombstone => {
                let entity: TombstoneEntity = word(row, "entity")?;
                let id: String = row.try_get("id")?;
                if entity != TombstoneEntity::Course || id.parse().is_ok_and(|course| !visible.contains(&course)) {
                    page.tombstones.push(Tombstone { entity, id, deleted_at: time(row, "deleted_at")? });
                }
            }
        }
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_set_is_read_along_an_index_in_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("plans.db")).await.unwrap();
        for sql in [PROGRESS, SESSIONS, ANSWERS, BOOKMARKS, TOMBSTONES] {
            let rows = sqlx::query(&format!("EXPLAIN QUERY PLAN {sql}"))
                .bind("learner")
                .bind(0)
                .bind(10)
                .fetch_all(&store.readers)
                .await
                .unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            assert_eq!(plan.len(), 1, "no sorting afterwards: {plan:?}");
            assert!(plan[0].starts_with("SEARCH") && plan[0].contains("_by_seq"), "{plan:?}");
        }
    }
}
