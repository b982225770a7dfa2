//! A page of a learner's own rows that changed.

use carrel_model::{
    LearnerId, TimeMs,
    wire::{
        content::{Tombstone, TombstoneEntity},
        sync::PullPage,
    },
};

use super::{Database, Row, Transaction, content, enrolments, epochs, learning, record_sums, scopes, values};
use crate::{
    rules::{Cursor, user_scope},
    store::StoreError,
};

pub(in crate::store) const PROGRESS: &str =
    "SELECT seq, lesson_id, attempt, status, percent, completed_at, position, position_at,
        position_device_id, position_op_seq
    FROM progress WHERE learner_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";
pub(in crate::store) const SESSIONS: &str =
    "SELECT seq, session_id, lesson_id, attempt, kind, status, status_at, status_device_id,
        status_op_seq, started_at, ended_at, answered, correct, points, max_points, duration_ms, grade
    FROM sessions WHERE learner_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";
pub(in crate::store) const ANSWERS: &str =
    "SELECT seq, device_id, op_seq, session_id, lesson_id, question_id, response, answered_at
    FROM answers WHERE learner_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";
pub(in crate::store) const BOOKMARKS: &str =
    "SELECT seq, bookmark_id, lesson_id, position, note, deleted, written_at, device_id, op_seq
    FROM bookmarks WHERE learner_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";
pub(in crate::store) const TOMBSTONES: &str = "SELECT seq, entity, id, deleted_at
    FROM tombstones WHERE scope = 'user:' || $1 AND seq > $2 ORDER BY seq LIMIT $3";
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
    db: &dyn Database,
    learner: LearnerId,
    cursor: Option<&str>,
    limit: u32,
    now: TimeMs,
) -> Result<PullPage, StoreError> {
    let scope = user_scope(learner);
    let mut cursor = match cursor {
        None => Cursor::default(),
        Some(text) => Cursor::read(text, learner)?,
    };
    cursor.scopes.retain(|known, _| *known == scope);
    let mut tx = db.snapshot().await?;
    let epochs = epochs::look_up(tx.as_mut(), &cursor.epoch).await?;
    let counters = scopes::counters(tx.as_mut(), [&scope], epochs.of_cursor).await?;
    scopes::admit(&mut cursor, &epochs, &counters)?;
    let from = cursor.scopes.get(&scope).copied().unwrap_or(0);
    let last = counters.get(&scope).copied().unwrap_or_default().last;

    let mut rows: Vec<(i64, Own, Row)> = Vec::new();
    // A reader that has everything is told so without looking.
    if from < last {
        for (own, sql) in [
            (Own::Progress, PROGRESS),
            (Own::Session, SESSIONS),
            (Own::Answer, ANSWERS),
            (Own::Bookmark, BOOKMARKS),
            (Own::Tombstone, TOMBSTONES),
        ] {
            for row in tx.rows(sql, values![learner, from, i64::from(limit) + 1]).await? {
                rows.push((row.int("seq")?, own, row));
            }
        }
    }
    rows.sort_by_key(|(seq, ..)| *seq);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let reached = if has_more { rows.last().map_or(from, |(seq, ..)| *seq) } else { last };
    cursor.scopes.insert(scope, reached);

    let mut page = PullPage {
        progress: Vec::new(),
        sessions: Vec::new(),
        answers: Vec::new(),
        bookmarks: Vec::new(),
        enrolments: None,
        tombstones: Vec::new(),
        lease: None,
        cursor: cursor.encode()?,
        has_more,
        server_time: now,
        checksums: None,
    };
    // A reader that starts anew must learn of an empty list, too.
    if from == 0 || from < reached && enrolments_changed(tx.as_mut(), learner, from, reached).await? {
        page.enrolments = Some(enrolments::current(tx.as_mut(), learner).await?);
    }
    fill(tx.as_mut(), learner, &rows, &mut page).await?;
    if !has_more {
        page.checksums = Some(record_sums::of(tx.as_mut(), learner).await?.checksums());
    }
    Ok(page)
}

async fn enrolments_changed(
    tx: &mut dyn Transaction,
    learner: LearnerId,
    from: i64,
    reached: i64,
) -> Result<bool, StoreError> {
    let changed = "SELECT 1 AS changed FROM enrolments WHERE learner_id = $1 AND seq > $2 AND seq <= $3 LIMIT 1";
    Ok(tx.row(changed, values![learner, from, reached]).await?.is_some())
}

async fn fill(
    tx: &mut dyn Transaction,
    learner: LearnerId,
    rows: &[(i64, Own, Row)],
    page: &mut PullPage,
) -> Result<(), StoreError> {
    for (_, own, row) in rows {
        match own {
            Own::Progress => page.progress.push(learning::progress_of(row)?),
            Own::Session => page.sessions.push(learning::session_of(row)?),
            Own::Answer => page.answers.push(learning::answer_of(row)?),
            Own::Bookmark => page.bookmarks.push(learning::bookmark_of(row)?),
            Own::Tombstone => page.tombstones.push(Tombstone {
                entity: row.word("entity")?,
                id: row.text("id")?.to_owned(),
                deleted_at: row.time("deleted_at")?,
            }),
        }
    }
    if page.tombstones.iter().any(|tombstone| tombstone.entity == TombstoneEntity::Course) {
        // Lost and regained, or open to everybody: the course is in sight and nothing is to go.
        let visible = content::visible(tx, learner).await?;
        page.tombstones.retain(|tombstone| {
            tombstone.entity != TombstoneEntity::Course
                || tombstone.id.parse().is_ok_and(|course| !visible.contains(&course))
        });
    }
    Ok(())
}
