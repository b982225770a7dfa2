//! A page of changed courses and units (protocol.md, Content and Cursor).
//!
//! The reader's cursor says which scopes it has and how far it has come in each. A course that came into sight since – an
//! enrolment, an opening, a first publication – is a scope the cursor lacks, so all of it is delivered however old its
//! numbers are. A course that went out of sight is a scope the cursor has and the learner may no longer see: it becomes a
//! tombstone, and leaves the cursor.

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::{
    CourseId, LearnerId, TimeMs,
    time::MINUTE_MS,
    wire::content::{Tombstone, TombstoneEntity, UnitsPage, set_checksum},
};

use super::{Database, Row, Spelled, Transaction, Value, content, epochs, scopes, values};
use crate::{
    rules::{Cursor, course_scope, user_scope},
    store::{Since, StoreError},
};

/// A time is read generously: clocks differ.
const TIME_OVERLAP_MS: i64 = 10 * MINUTE_MS;

/// What changed in a scope, in its order.
pub(in crate::store) const CHANGED: &str =
    "SELECT 'course' AS entity, seq, body, CAST(NULL AS TEXT) AS id, CAST(NULL AS BIGINT) AS deleted_at FROM courses
     WHERE course_id = $2 AND deleted_at IS NULL AND seq > $3
     UNION ALL
     SELECT 'unit', seq, body, NULL, NULL FROM units WHERE course_id = $2 AND deleted_at IS NULL AND seq > $3
     UNION ALL
     SELECT entity, seq, NULL, id, deleted_at FROM tombstones WHERE $4 AND scope = $1 AND seq > $3
     ORDER BY seq LIMIT $5";
/// Everything in sight.
pub(in crate::store) const THERE: Spelled = Spelled {
    sqlite: "SELECT course_id AS id, updated_at FROM courses
             WHERE course_id IN (SELECT value FROM json_each($1)) AND deleted_at IS NULL
             UNION ALL SELECT unit_id, updated_at FROM units
             WHERE course_id IN (SELECT value FROM json_each($1)) AND deleted_at IS NULL",
    postgres: "SELECT course_id AS id, updated_at FROM courses WHERE course_id = ANY($1) AND deleted_at IS NULL
               UNION ALL SELECT unit_id, updated_at FROM units WHERE course_id = ANY($1) AND deleted_at IS NULL",
};

pub(super) async fn read(
    db: &dyn Database,
    learner: LearnerId,
    since: &Since,
    limit: u32,
    include_deleted: bool,
    now: TimeMs,
) -> Result<UnitsPage, StoreError> {
    let mut tx = db.snapshot().await?;
    let visible: BTreeSet<CourseId> = content::visible(tx.as_mut(), learner).await?.into_iter().collect();
    let mut cursor = match since {
        Since::Beginning | Since::Time(_) => Cursor::default(),
        Since::Cursor(text) => Cursor::read(text, learner)?,
    };
    let user = user_scope(learner);
    let wanted: BTreeSet<String> = visible
        .iter()
        .map(|course| course_scope(*course))
        .chain([user.clone()])
        .chain(cursor.scopes.keys().cloned())
        .collect();
    let epochs = epochs::look_up(tx.as_mut(), &cursor.epoch).await?;
    let counters = scopes::counters(tx.as_mut(), &wanted, epochs.of_cursor).await?;
    scopes::admit(&mut cursor, &epochs, &counters)?;
    let counter = |scope: &str| counters.get(scope).copied().unwrap_or_default();
    if let Since::Time(at) = since {
        cursor.scopes = positions_at(tx.as_mut(), learner, &visible, *at, counter).await?;
    }
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
    let scopes = visible.iter().map(|course| (course_scope(*course), course.to_string()));
    for (scope, course) in scopes.chain([(user, String::new())]) {
        let last = counter(&scope).last;
        let from = cursor.scopes.get(&scope).copied().unwrap_or(0);
        let rows = if from < last {
            tx.rows(CHANGED, values![&scope, course, from, include_deleted, room + 1]).await?
        } else {
            Vec::new()
        };
        let full = i64::try_from(rows.len()).unwrap_or(i64::MAX) > room;
        let taken = usize::try_from(room).unwrap_or(usize::MAX).min(rows.len());
        let mut reached = from;
        for row in rows.iter().take(taken) {
            reached = row.int("seq")?;
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
        page.checksum = Some(checksum(tx.as_mut(), &visible).await?);
    }
    page.cursor = cursor.encode()?;
    Ok(page)
}

fn take(page: &mut UnitsPage, row: &Row, visible: &BTreeSet<CourseId>) -> Result<(), StoreError> {
    let entity: TombstoneEntity = row.word("entity")?;
    let id = row.text_or_none("id")?.map(str::to_owned);
    match (id, entity) {
        (Some(id), entity) => {
            // Lost and regained, or open to everybody: the course is in sight and nothing is to go.
            let in_sight =
                entity == TombstoneEntity::Course && id.parse().is_ok_and(|course| visible.contains(&course));
            let known = page.tombstones.iter().any(|t| t.entity == entity && t.id == id);
            if !in_sight && !known {
                page.tombstones.push(Tombstone { entity, id, deleted_at: row.time("deleted_at")? });
            }
        }
        (None, TombstoneEntity::Course) => page.courses.push(row.json("body")?),
        (None, _) => page.units.push(content::shown(row)?),
    }
    Ok(())
}

/// How far a reader would have come at a moment.
async fn positions_at(
    tx: &mut dyn Transaction,
    learner: LearnerId,
    visible: &BTreeSet<CourseId>,
    at: TimeMs,
    counter: impl Fn(&str) -> scopes::Counter,
) -> Result<BTreeMap<String, i64>, StoreError> {
    let at = at.plus_ms(-TIME_OVERLAP_MS);
    let mut positions = BTreeMap::new();
    for course in visible {
        let scope = course_scope(*course);
        let enrolled_since = tx
            .row(
                "SELECT 1 AS since FROM enrolments WHERE learner_id = $1 AND course_id = $2 AND ended_at IS NULL
                 AND starts_at >= $3",
                values![learner, *course, at],
            )
            .await?;
        if enrolled_since.is_some() {
            continue;
        }
        let first_after = tx
            .row(
                "SELECT MIN(seq) AS first FROM (
                     SELECT seq FROM courses WHERE course_id = $2 AND updated_at >= $3
                     UNION ALL SELECT seq FROM units WHERE course_id = $2 AND updated_at >= $3
                     UNION ALL SELECT seq FROM tombstones WHERE scope = $1 AND deleted_at >= $3
                 ) AS changes",
                values![&scope, *course, at],
            )
            .await?;
        let position = before(first_after.as_ref(), counter(&scope))?;
        positions.insert(scope, position);
    }
    let scope = user_scope(learner);
    let first_after = tx
        .row("SELECT MIN(seq) AS first FROM tombstones WHERE scope = $1 AND deleted_at >= $2", values![&scope, at])
        .await?;
    let position = before(first_after.as_ref(), counter(&scope))?;
    positions.insert(scope, position);
    Ok(positions)
}

/// The place just before the first change; the end where there was none.
fn before(first: Option<&Row>, counter: scopes::Counter) -> Result<i64, StoreError> {
    let first = first.map(|row| row.int_or_none("first")).transpose()?.flatten();
    Ok(first.map_or(counter.last, |seq| seq - 1).max(counter.pruned))
}

/// Over every course and unit in sight, by id and `updated_at` in milliseconds.
async fn checksum(tx: &mut dyn Transaction, visible: &BTreeSet<CourseId>) -> Result<String, StoreError> {
    let rows = tx.rows_of(&THERE, values![Value::among(visible)]).await?;
    let all: Vec<(&str, i64)> =
        rows.iter().map(|row| Ok((row.text("id")?, row.int("updated_at")?))).collect::<Result<_, StoreError>>()?;
    Ok(set_checksum(all))
}
