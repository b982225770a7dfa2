//! Courses, units and blobs as they are.

use std::collections::BTreeMap;

use carrel_model::{
    BlobHash, CourseId, LearnerId, UnitId,
    content::{Course, Unit},
    pieces::Manifest,
};

use super::{Database, Row, Spelled, Transaction, Value, values};
use crate::{
    rules::Denial,
    store::{Blob, StoreError, UnitScope},
};

/// The courses a learner may see. An enrolment that has run out still shows them: it can be renewed.
pub(in crate::store) const VISIBLE: &str =
    "SELECT c.course_id FROM courses c WHERE c.deleted_at IS NULL AND (c.open OR EXISTS (
         SELECT 1 FROM enrolments e
         WHERE e.learner_id = $1 AND e.course_id = c.course_id AND e.ended_at IS NULL
     )) ORDER BY c.course_id";

pub(super) async fn visible(tx: &mut dyn Transaction, learner: LearnerId) -> Result<Vec<CourseId>, StoreError> {
    let rows = tx.rows(VISIBLE, values![learner]).await?;
    rows.iter().map(|row| row.word("course_id")).collect()
}

pub(super) async fn courses(db: &dyn Database, learner: LearnerId) -> Result<Vec<Course>, StoreError> {
    let rows = db
        .read(
            "SELECT c.body FROM courses c WHERE c.deleted_at IS NULL AND (c.open OR EXISTS (
                 SELECT 1 FROM enrolments e
                 WHERE e.learner_id = $1 AND e.course_id = c.course_id AND e.ended_at IS NULL
             )) ORDER BY c.position, c.key",
            values![learner],
        )
        .await?;
    rows.iter().map(|row| row.json("body")).collect()
}

pub(super) async fn units(db: &dyn Database, learner: LearnerId, scope: UnitScope) -> Result<Vec<Unit>, StoreError> {
    let rows = db
        .read(
            "SELECT u.body FROM units u JOIN courses c ON c.course_id = u.course_id
             WHERE u.deleted_at IS NULL AND c.deleted_at IS NULL AND CASE WHEN $2 THEN EXISTS (
                 SELECT 1 FROM enrolments e
                 WHERE e.learner_id = $1 AND e.course_id = c.course_id AND e.ended_at IS NULL
             ) ELSE c.open END
             ORDER BY c.position, c.key, u.position",
            values![learner, scope == UnitScope::Mine],
        )
        .await?;
    rows.iter().map(shown).collect()
}

/// A unit's body as learners get it: what is kept has every solution.
pub(super) fn shown(row: &Row) -> Result<Unit, StoreError> {
    Ok(row.json::<Unit>("body")?.for_learners())
}

pub(super) async fn unit(
    db: &dyn Database,
    learner: LearnerId,
    unit: UnitId,
) -> Result<Result<Unit, Denial>, StoreError> {
    let mut tx = db.snapshot().await?;
    let row = tx
        .row("SELECT course_id, body, deleted_at IS NOT NULL AS gone FROM units WHERE unit_id = $1", values![unit])
        .await?;
    let Some(row) = row else { return Ok(Err(Denial::NotFound)) };
    if !visible(tx.as_mut(), learner).await?.contains(&row.word("course_id")?) {
        return Ok(Err(Denial::NotEnrolled));
    }
    if row.flag("gone")? {
        return Ok(Err(Denial::Gone));
    }
    Ok(Ok(shown(&row)?))
}

pub(super) async fn blob(db: &dyn Database, hash: BlobHash) -> Result<Option<Blob>, StoreError> {
    let rows = db.read("SELECT size, mime FROM blobs WHERE hash = $1", values![hash]).await?;
    rows.first().map(|row| Ok(Blob { size: row.number("size")?, mime: row.text("mime")?.to_owned() })).transpose()
}

pub(super) async fn manifest(
    tx: &mut dyn Transaction,
    hash: BlobHash,
) -> Result<Option<(Manifest, String)>, StoreError> {
    Ok(manifests(tx, &[hash]).await?.remove(&hash))
}

const MANIFESTS: Spelled = Spelled {
    sqlite: "SELECT hash, size, mime, pieces FROM blobs WHERE hash IN (SELECT value FROM json_each($1))",
    postgres: "SELECT hash, size, mime, pieces FROM blobs WHERE hash = ANY($1)",
};

/// As [`manifest`], for many in one question.
pub(super) async fn manifests(
    tx: &mut dyn Transaction,
    hashes: &[BlobHash],
) -> Result<BTreeMap<BlobHash, (Manifest, String)>, StoreError> {
    let mut manifests = BTreeMap::new();
    for row in tx.rows_of(&MANIFESTS, values![Value::among(hashes)]).await? {
        let hash: BlobHash = row.word("hash")?;
        let manifest = Manifest::from_binary(hash, row.number("size")?, row.bytes("pieces")?)
            .map_err(|_| StoreError::Damaged("pieces"))?;
        manifests.insert(hash, (manifest, row.text("mime")?.to_owned()));
    }
    Ok(manifests)
}
