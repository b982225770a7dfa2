//! Enrolments: who takes which course, from when, as what, until when.

use carrel_model::{
    CourseId, LearnerId, TimeMs,
    lease::{Enrolment, Role},
    wire::content::TombstoneEntity,
};
use sqlx::{Row as _, SqliteConnection};

use super::{
    SqliteStore, advance,
    rows::{time_or_none, word},
    tombstones::bury,
};
use crate::{
    rules::{EnrolmentFacts, user_scope},
    store::StoreError,
};

async fn course_of_key(conn: &mut SqliteConnection, key: &str) -> Result<CourseId, StoreError> {
    let row = sqlx::query("SELECT course_id FROM courses WHERE key = ?1 AND deleted_at IS NULL")
        .bind(key)
        .fetch_optional(conn)
        .await?;
    word(&row.ok_or_else(|| StoreError::UnknownCourse(key.to_owned()))?, "course_id")
}

pub(super) async fn enrol(
    store: &SqliteStore,
    learner: LearnerId,
    course_key: &str,
    role: Role,
    until: Option<TimeMs>,
    now: TimeMs,
) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    let scope = user_scope(learner);
    let seq = advance(&mut tx, &scope, 1).await?;
    let course = course_of_key(&mut tx, course_key).await?;
    if one(&mut tx, learner, course).await? == Some(EnrolmentFacts { role, expires_at: until }) {
        // Nothing changes, so nobody needs to hear of it: the counter goes back with the transaction.
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO enrolments (learner_id, course_id, role, starts_at, expires_at, ended_at, seq)
         VALUES (?1, ?2, ?3, ?4, ?5, NULL, ?6)
         ON CONFLICT (learner_id, course_id) WHERE ended_at IS NULL
         DO UPDATE SET role = excluded.role, expires_at = excluded.expires_at, seq = excluded.seq",
    )
    .bind(learner.to_string())
    .bind(course.to_string())
    .bind(role.as_str())
    .bind(now.as_ms())
    .bind(until.map(TimeMs::as_ms))
    .bind(seq)
    .execute(&mut *tx)
    .await?;
    sqlx::query("DELETE FROM tombstones WHERE scope = ?1 AND entity = ?2 AND id = ?3")
        .bind(scope)
        .bind(TombstoneEntity::Course.as_str())
        .bind(course.to_string())
        .execute(&mut *tx)
        .await?;
    Ok(tx.commit().await?)
}

pub(super) async fn unenrol(
    store: &SqliteStore,
    learner: LearnerId,
    course_key: &str,
    now: TimeMs,
) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    let scope = user_scope(learner);
    let seq = advance(&mut tx, &scope, 2).await?;
    let course = course_of_key(&mut tx, course_key).await?;
    let ended = sqlx::query(
        "UPDATE enrolments SET ended_at = ?3, seq = ?4 WHERE learner_id = ?1 AND course_id = ?2 AND ended_at IS NULL",
    )
    .bind(learner.to_string())
    .bind(course.to_string())
    .bind(now.as_ms())
    .bind(seq)
    .execute(&mut *tx)
    .await?;
    if ended.rows_affected() == 0 {
        return Err(StoreError::NotEnrolled(course_key.to_owned()));
    }
    bury(&mut tx, &scope, seq + 1, TombstoneEntity::Course, &course.to_string(), now).await?;
    Ok(tx.commit().await?)
}

pub(super) async fn current(conn: &mut SqliteConnection, learner: LearnerId) -> Result<Vec<Enrolment>, StoreError> {
    let rows = sqlx::query(
        "SELECT e.course_id, e.role, e.expires_at FROM enrolments e JOIN courses c ON c.course_id = e.course_id
         WHERE e.learner_id = ?1 AND e.ended_at IS NULL AND c.deleted_at IS NULL ORDER BY e.course_id",
    )
    .bind(learner.to_string())
    .fetch_all(conn)
    .await?;
    let enrolment = |row: &_| {
        Ok(Enrolment {
            course_id: word(row, "course_id")?,
            role: word(row, "role")?,
            expires_at: time_or_none(row, "expires_at")?,
        })
    };
    rows.iter().map(enrolment).collect()
}

/// The enrolment in one course, if it was not ended.
pub(super) async fn one(
    conn: &mut SqliteConnection,
    learner: LearnerId,
    course: CourseId,
) -> Result<Option<EnrolmentFacts>, StoreError> {
    let row = sqlx::query(
        "SELECT role, expires_at FROM enrolments WHERE learner_id = ?1 AND course_id = ?2 AND ended_at IS NULL",
    )
    .bind(learner.to_string())
    .bind(course.to_string())
    .fetch_optional(conn)
    .await?;
    let facts = |row: &_| Ok(EnrolmentFacts { role: word(row, "role")?, expires_at: time_or_none(row, "expires_at")? });
    row.as_ref().map(facts).transpose()
}

/// When the learner's right to work on a course ended or will end: `None` if there never was one, `Some(None)` if it has
/// no end.
///
/// There is no lower bound: without an enrolment there is nothing to work on, so an earlier time is a wrong clock and no
/// reason to lose work.
pub(super) async fn last_day(
    conn: &mut SqliteConnection,
    learner: LearnerId,
    course: CourseId,
) -> Result<Option<Option<TimeMs>>, StoreError> {
    let row = sqlx::query(
        "SELECT c.open OR EXISTS (
                    SELECT 1 FROM enrolments e WHERE e.learner_id = ?1 AND e.course_id = ?2
                    AND e.expires_at IS NULL AND e.ended_at IS NULL
                ) AS endless,
                (SELECT MAX(MIN(COALESCE(e.ended_at, e.expires_at), COALESCE(e.expires_at, e.ended_at)))
                 FROM enrolments e WHERE e.learner_id = ?1 AND e.course_id = ?2) AS last_day
         FROM courses c WHERE c.course_id = ?2",
    )
    .bind(learner.to_string())
    .bind(course.to_string())
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    if row.try_get::<bool, _>("endless")? {
        return Ok(Some(None));
    }
    Ok(time_or_none(&row, "last_day")?.map(Some))
}
