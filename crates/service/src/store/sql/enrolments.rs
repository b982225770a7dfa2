//! Enrolments: who takes which course, from when, as what, until when.

use carrel_model::{
    CourseId, LearnerId, TimeMs,
    lease::{Enrolment, Role},
    wire::content::TombstoneEntity,
};

use super::{Database, Transaction, scopes::advance, tombstones::bury, values};
use crate::{
    rules::{EnrolmentFacts, user_scope},
    store::StoreError,
};

async fn course_of_key(tx: &mut dyn Transaction, key: &str) -> Result<CourseId, StoreError> {
    let row = tx.row("SELECT course_id FROM courses WHERE key = $1 AND deleted_at IS NULL", values![key]).await?;
    row.ok_or_else(|| StoreError::UnknownCourse(key.to_owned()))?.word("course_id")
}

pub(super) async fn enrol(
    db: &dyn Database,
    learner: LearnerId,
    course_key: &str,
    role: Role,
    until: Option<TimeMs>,
    now: TimeMs,
) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    let scope = user_scope(learner);
    let seq = advance(tx.as_mut(), &scope, 1).await?;
    let course = course_of_key(tx.as_mut(), course_key).await?;
    if one(tx.as_mut(), learner, course).await? == Some(EnrolmentFacts { role, expires_at: until }) {
        // Nothing changes, so nobody needs to hear of it: the counter goes back with the transaction.
        return Ok(());
    }
    tx.execute(
        "INSERT INTO enrolments (learner_id, course_id, role, starts_at, expires_at, ended_at, seq)
         VALUES ($1, $2, $3, $4, $5, NULL, $6)
         ON CONFLICT (learner_id, course_id) WHERE ended_at IS NULL
         DO UPDATE SET role = excluded.role, expires_at = excluded.expires_at, seq = excluded.seq",
        values![learner, course, role.as_str(), now, until, seq],
    )
    .await?;
    tx.execute(
        "DELETE FROM tombstones WHERE scope = $1 AND entity = $2 AND id = $3",
        values![scope, TombstoneEntity::Course.as_str(), course],
    )
    .await?;
    tx.commit().await
}

pub(super) async fn unenrol(
    db: &dyn Database,
    learner: LearnerId,
    course_key: &str,
    now: TimeMs,
) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    let scope = user_scope(learner);
    let seq = advance(tx.as_mut(), &scope, 2).await?;
    let course = course_of_key(tx.as_mut(), course_key).await?;
    let ended = tx
        .execute(
            "UPDATE enrolments SET ended_at = $3, seq = $4
             WHERE learner_id = $1 AND course_id = $2 AND ended_at IS NULL",
            values![learner, course, now, seq],
        )
        .await?;
    if ended == 0 {
        return Err(StoreError::NotEnrolled(course_key.to_owned()));
    }
    bury(tx.as_mut(), &scope, seq + 1, TombstoneEntity::Course, &course.to_string(), now).await?;
    tx.commit().await
}

pub(super) async fn current(tx: &mut dyn Transaction, learner: LearnerId) -> Result<Vec<Enrolment>, StoreError> {
    let rows = tx
        .rows(
            "SELECT e.course_id, e.role, e.expires_at FROM enrolments e JOIN courses c ON c.course_id = e.course_id
             WHERE e.learner_id = $1 AND e.ended_at IS NULL AND c.deleted_at IS NULL ORDER BY e.course_id",
            values![learner],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Enrolment {
                course_id: row.word("course_id")?,
                role: row.word("role")?,
                expires_at: row.time_or_none("expires_at")?,
            })
        })
        .collect()
}

/// The enrolment in one course, if it was not ended.
pub(super) async fn one(
    tx: &mut dyn Transaction,
    learner: LearnerId,
    course: CourseId,
) -> Result<Option<EnrolmentFacts>, StoreError> {
    let row = tx
        .row(
            "SELECT role, expires_at FROM enrolments WHERE learner_id = $1 AND course_id = $2 AND ended_at IS NULL",
            values![learner, course],
        )
        .await?;
    row.map(|row| Ok(EnrolmentFacts { role: row.word("role")?, expires_at: row.time_or_none("expires_at")? }))
        .transpose()
}
