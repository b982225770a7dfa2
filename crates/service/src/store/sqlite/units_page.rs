//! A page of changed courses and units (protocol.md, Content and Cursor).
//!
//! The reader's cursor says which scopes it has and how far it has come in each. A course that came into sight since – an
//! enrolment, an opening, a first publication – is a scope the cursor lacks, so all of it is delivered however old its
//! numbers are. A course that went out of sight is a scope the cursor has and the learner may no longer see: it becomes a
//! tombstone, and leaves the cursor.

use std::collections::BTreeSet;

use carrel_model::{
    CourseId, LearnerId, TimeMs,
    time::MINUTE_MS,
    wire::content::{Tombstone, TombstoneEntity, UnitsPage, set_checksum},
};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    SqliteStore, content,
    rows::{json, time, word},
};
use crate::{
    rules::{Cursor, course_scope, user_scope},
    store::{Since, StoreError},
};

/// A time is read generously: clocks differ.
const TIME_OVERLAP_MS: i64 = 10 * MINUTE_MS;

pub(super) async fn read(
    store: &SqliteStore,
    learner: LearnerId,
    since: &Since,
    limit: u32,
    include_deleted: bool,
    now: TimeMs,
) -> Result<UnitsPage, StoreError> {
    let mut tx = store.snapshot().await?;
    let visible: BTreeSet<CourseId> = content::visible(&mut tx, learner).await?.into_iter().collect();
    let mut cursor = match since {
        Since::Beginning => Cursor::start(&store.epoch),
        Since::Cursor(text) => Cursor::decode(text, &store.epoch, learner)?,
        Since::Time(at) => cursor_at(&mut tx, store, learner, &visible, *at).await?,
    };
    let mut page = UnitsPage {
        courses: Vec::new(),
        units: Vec::new(),
        tombstones: Vec::new(),
        cursor: String::new(),
        has_more: false,
        server_time: now,
        checksum: None,
    };

    let lost: Vec<CourseId> = cursor.courses().filter(|course| !visible.contains(course)).collect();
    for course in lost {
        cursor.scopes.remove(&course_scope(course));
        page.tombstones.push(Tombstone { entity: TombstoneEntity::Course, id: course.to_string(), deleted_at: now });
    }

    let mut room = i64::from(limit);
    let user = user_scope(learner);
    let scopes = visible.iter().map(|course| (course_scope(*course), course.to_string()));
    for (scope, course) in scopes.chain([(user, String::new())]) {
        let (last, pruned) = counter(&mut tx, &scope).await?;
        let from = cursor.scopes.get(&scope).copied().unwrap_or(0);
        if from > last || (from > 0 && from < pruned) {
            return Err(StoreError::CursorExpired);
        }
        let rows = changed(&mut tx, &scope, &course, from, include_deleted, room + 1).await?;
        let full = i64::try_from(rows.len()).unwrap_or(i64::MAX) > room;
        let taken = usize::try_from(room).unwrap_or(usize::MAX).min(rows.len());
        let mut reached = from;
        for row in rows.iter().take(taken) {
            reached = row.try_get("seq")?;
            take(&mut page, row, &visible)?;
        }
        room -= i64::try_from(taken).unwrap_or(i64::MAX);
        if full {
            // A scope of which nothing was delivered yet stays out of the cursor: it is not something the reader has.
            if reached > 0 {
                cursor.scopes.insert(scope, reached);
            }
            page.has_more = true;
            break;
        }
        cursor.scopes.insert(scope, last);
    }
    if !page.has_more {
        page.checksum = Some(checksum(&mut tx, &visible).await?);
    }
    page.cursor = cursor.encode()?;
    Ok(page)
}

async fn counter(conn: &mut SqliteConnection, scope: &str) -> Result<(i64, i64), StoreError> {
    let row: Option<(i64, i64)> = sqlx::query_as("SELECT seq, pruned_through FROM sync_scope WHERE scope = ?1")
        .bind(scope)
        .fetch_optional(conn)
        .await?;
    Ok(row.unwrap_or_default())
}

async fn changed(
    conn: &mut SqliteConnection,
    scope: &str,
    course: &str,
    from: i64,
    include_deleted: bool,
    limit: i64,
) -> Result<Vec<SqliteRow>, StoreError> {
    Ok(sqlx::query(
        "SELECT 'course' AS entity, seq, body, NULL AS id, NULL AS deleted_at FROM courses
         WHERE course_id = ?2 AND deleted_at IS NULL AND seq > ?3
         UNION ALL
         SELECT 'unit', seq, body, NULL, NULL FROM units WHERE course_id = ?2 AND deleted_at IS NULL AND seq > ?3
         UNION ALL
         SELECT entity, seq, NULL, id, deleted_at FROM tombstones WHERE ?4 AND scope = ?1 AND seq > ?3
         ORDER BY seq LIMIT ?5",
    )
    .bind(scope)
    .bind(course)
    .bind(from)
    .bind(include_deleted)
    .bind(limit)
    .fetch_all(conn)
    .await?)
}

fn take(page: &mut UnitsPage, row: &SqliteRow, visible: &BTreeSet<CourseId>) -> Result<(), StoreError> {
    let entity: TombstoneEntity = word(row, "entity")?;
    let id: Option<String> = row.try_get("id")?;
    match (id, entity) {
        (Some(id), entity) => {
            // Lost and regained, or open to everybody: the course is in sight and nothing is to go.
            let in_sight =
                entity == TombstoneEntity::Course && id.parse().is_ok_and(|course| visible.contains(&course));
            let known = page.tombstones.iter().any(|t| t.entity == entity && t.id == id);
            if !in_sight && !known {
                page.tombstones.push(Tombstone { entity, id, deleted_at: time(row, "deleted_at")? });
            }
        }
        (None, TombstoneEntity::Course) => page.courses.push(json(row, "body")?),
        (None, _) => page.units.push(json(row, "body")?),
    }
    Ok(())
}

/// The cursor a reader would have had at a moment.
async fn cursor_at(
    conn: &mut SqliteConnection,
    store: &SqliteStore,
    learner: LearnerId,
    visible: &BTreeSet<CourseId>,
    at: TimeMs,
) -> Result<Cursor, StoreError> {
    let at = at.plus_ms(-TIME_OVERLAP_MS);
    let mut cursor = Cursor::start(&store.epoch);
    for course in visible {
        let scope = course_scope(*course);
        let enrolled_since: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM enrolments WHERE learner_id = ?1 AND course_id = ?2 AND ended_at IS NULL
                            AND starts_at >= ?3)",
        )
        .bind(learner.to_string())
        .bind(course.to_string())
        .bind(at.as_ms())
        .fetch_one(&mut *conn)
        .await?;
        if enrolled_since {
            continue;
        }
        let first_after: Option<i64> = sqlx::query_scalar(
            "SELECT MIN(seq) FROM (
                 SELECT seq FROM courses WHERE course_id = ?2 AND updated_at >= ?3
                 UNION ALL SELECT seq FROM units WHERE course_id = ?2 AND updated_at >= ?3
                 UNION ALL SELECT seq FROM tombstones WHERE scope = ?1 AND deleted_at >= ?3
             )",
        )
        .bind(&scope)
        .bind(course.to_string())
        .bind(at.as_ms())
        .fetch_one(&mut *conn)
        .await?;
        let (last, pruned) = counter(conn, &scope).await?;
        let from = first_after.map_or(last, |seq| seq - 1);
        cursor.scopes.insert(scope, from.max(pruned));
    }
    let scope = user_scope(learner);
    let first_after: Option<i64> =
        sqlx::query_scalar("SELECT MIN(seq) FROM tombstones WHERE scope = ?1 AND deleted_at >= ?2")
            .bind(&scope)
            .bind(at.as_ms())
            .fetch_one(&mut *conn)
            .await?;
    let (last, pruned) = counter(conn, &scope).await?;
    cursor.scopes.insert(scope, first_after.map_or(last, |seq| seq - 1).max(pruned));
    Ok(cursor)
}

/// Over every course and unit in sight, by id and `updated_at` in milliseconds.
async fn checksum(conn: &mut SqliteConnection, visible: &BTreeSet<CourseId>) -> Result<String, StoreError> {
    let mut all: Vec<(String, i64)> = Vec::new();
    for course in visible {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT course_id, updated_at FROM courses WHERE course_id = ?1 AND deleted_at IS NULL
             UNION ALL SELECT unit_id, updated_at FROM units WHERE course_id = ?1 AND deleted_at IS NULL",
        )
        .bind(course.to_string())
        .fetch_all(&mut *conn)
        .await?;
        all.extend(rows);
    }
    Ok(set_checksum(all.iter().map(|(id, version)| (id.as_str(), *version))))
}
