//! Making a course what was built, changing only what changed.

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::{
    AssetId, CourseId, LessonId, TimeMs, UnitId,
    content::{Asset, Course, Unit},
    quiz::Quiz,
    wire::content::TombstoneEntity,
};

use super::{Database, Row, Transaction, row::to_json, scopes::advance, tombstones::bury, values};
use crate::{
    publish::{carry_over_course, carry_over_unit},
    rules::course_scope,
    store::{BuiltCourse, BuiltUnit, KnownIds, Published, StoreError},
};

pub(super) async fn known_ids(tx: &mut dyn Transaction, key: &str) -> Result<KnownIds, StoreError> {
    let course = tx.row("SELECT course_id, position FROM courses WHERE key = $1", values![key]).await?;
    let Some(course) = course else {
        let count = tx.row("SELECT COUNT(*) AS count FROM courses", values![]).await?;
        let position = count.map(|row| row.number("count")).transpose()?.unwrap_or_default();
        return Ok(KnownIds { position, ..KnownIds::default() });
    };
    let id: CourseId = course.word("course_id")?;
    let mut known = KnownIds { course: Some(id), position: course.number("position")?, ..KnownIds::default() };
    for row in ids_of(tx, "SELECT key, unit_id AS id FROM units WHERE course_id = $1", id).await? {
        known.units.insert(row.text("key")?.to_owned(), row.word("id")?);
    }
    for row in ids_of(tx, "SELECT key, lesson_id AS id FROM lessons WHERE course_id = $1", id).await? {
        known.lessons.insert(row.text("key")?.to_owned(), row.word("id")?);
    }
    for row in ids_of(tx, "SELECT key, asset_id AS id FROM assets WHERE course_id = $1", id).await? {
        known.assets.insert(row.text("key")?.to_owned(), row.word("id")?);
    }
    Ok(known)
}

async fn ids_of(tx: &mut dyn Transaction, sql: &'static str, course: CourseId) -> Result<Vec<Row>, StoreError> {
    tx.rows(sql, values![course]).await
}

pub(super) async fn publish(db: &dyn Database, built: &BuiltCourse, now: TimeMs) -> Result<Published, StoreError> {
    let mut tx = db.begin().await?;
    let scope = course_scope(built.course.id);
    let seq = advance(tx.as_mut(), &scope, 1).await?;
    let known = known_ids(tx.as_mut(), &built.key).await?;
    if built_elsewhere(built, &known) {
        return Err(StoreError::PublishedMeanwhile);
    }
    let mut publication = Publication { scope, seq, now, done: Published::default() };
    publication.put_blobs(tx.as_mut(), built).await?;
    publication.put_course(tx.as_mut(), built).await?;
    for unit in &built.units {
        publication.put_unit(tx.as_mut(), built, unit).await?;
    }
    publication.remove_units(tx.as_mut(), built).await?;
    publication.put_cover(tx.as_mut(), built).await?;
    let done = publication.done;
    if done.course_changed || !done.units_changed.is_empty() || !done.units_removed.is_empty() {
        tx.commit().await?;
    }
    // Where nothing changed the transaction is given up, and the counter stays where it was.
    Ok(done)
}

/// Ids are given before the transaction, since a page's HTML names its pictures by id; somebody else may have been faster.
fn built_elsewhere(built: &BuiltCourse, known: &KnownIds) -> bool {
    let differs = |a: Option<String>, b: String| a.is_some_and(|a| a != b);
    differs(known.course.map(|id| id.to_string()), built.course.id.to_string())
        || built.units.iter().any(|unit| {
            differs(known.units.get(&unit.key).map(ToString::to_string), unit.unit.id.to_string())
                || unit
                    .lessons
                    .iter()
                    .any(|l| differs(known.lessons.get(&l.key).map(ToString::to_string), l.id.to_string()))
        })
        || built
            .asset_keys
            .iter()
            .any(|(id, key)| differs(known.assets.get(key).map(ToString::to_string), id.to_string()))
}

struct Publication {
    scope: String,
    /// The last number given out.
    seq: i64,
    now: TimeMs,
    done: Published,
}

impl Publication {
    async fn next(&mut self, tx: &mut dyn Transaction) -> Result<i64, StoreError> {
        self.seq = advance(tx, &self.scope, 1).await?;
        Ok(self.seq)
    }

    async fn put_blobs(&self, tx: &mut dyn Transaction, built: &BuiltCourse) -> Result<(), StoreError> {
        for (hash, blob) in &built.blobs {
            tx.execute(
                "INSERT INTO blobs (hash, size, mime, pieces) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (hash) DO UPDATE SET mime = excluded.mime",
                values![*hash, blob.manifest.size(), &blob.mime, blob.manifest.to_binary()],
            )
            .await?;
        }
        Ok(())
    }

    async fn put_course(&mut self, tx: &mut dyn Transaction, built: &BuiltCourse) -> Result<(), StoreError> {
        let row = tx
            .row("SELECT body FROM courses WHERE course_id = $1 AND deleted_at IS NULL", values![built.course.id])
            .await?;
        let old: Option<Course> = row.as_ref().map(|row| row.json("body")).transpose()?;
        let mut course = built.course.clone();
        if !carry_over_course(old.as_ref(), &mut course, self.now) {
            return Ok(());
        }
        self.done.course_changed = true;
        let seq = self.next(tx).await?;
        tx.execute(
            "INSERT INTO courses (course_id, key, open, premium, position, body, seq, updated_at, deleted_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NULL)
             ON CONFLICT (course_id) DO UPDATE SET
                 open = excluded.open, premium = excluded.premium, position = excluded.position, body = excluded.body,
                 seq = excluded.seq, updated_at = excluded.updated_at, deleted_at = NULL",
            values![
                course.id,
                &built.key,
                course.open,
                course.premium,
                course.position,
                to_json(&course)?,
                seq,
                course.updated_at
            ],
        )
        .await?;
        self.unbury(tx, &course.id.to_string()).await
    }

    /// The cover's own row. Last, since its course must be there first.
    async fn put_cover(&self, tx: &mut dyn Transaction, built: &BuiltCourse) -> Result<(), StoreError> {
        let old = tx
            .rows(
                "SELECT asset_id FROM assets WHERE course_id = $1 AND unit_id IS NULL AND deleted_at IS NULL",
                values![built.course.id],
            )
            .await?;
        let cover = built.course.cover.as_ref();
        for row in &old {
            let id = row.text("asset_id")?;
            if cover.is_none_or(|cover| cover.id.to_string() != id) {
                drop_asset(tx, id, self.now).await?;
            }
        }
        match cover {
            Some(cover) => put_asset(tx, built, None, cover).await,
            None => Ok(()),
        }
    }

    async fn put_unit(
        &mut self,
        tx: &mut dyn Transaction,
        built: &BuiltCourse,
        new: &BuiltUnit,
    ) -> Result<(), StoreError> {
        let id = new.unit.id.to_string();
        let row = tx.row("SELECT body FROM units WHERE unit_id = $1 AND deleted_at IS NULL", values![&id]).await?;
        let old: Option<Unit> = row.as_ref().map(|row| row.json("body")).transpose()?;
        let mut unit = new.unit.clone();
        if !carry_over_unit(old.as_ref(), &mut unit, self.now) {
            self.done.units_unchanged += 1;
            return Ok(());
        }
        self.done.units_changed.push(new.key.clone());
        let seq = self.next(tx).await?;
        tx.execute(
            "INSERT INTO units (unit_id, course_id, key, position, body, seq, updated_at, deleted_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, NULL)
             ON CONFLICT (unit_id) DO UPDATE SET
                 position = excluded.position, body = excluded.body, seq = excluded.seq,
                 updated_at = excluded.updated_at, deleted_at = NULL",
            values![&id, built.course.id, &new.key, unit.position, to_json(&unit)?, seq, unit.updated_at],
        )
        .await?;
        self.unbury(tx, &id).await?;
        self.put_lessons(tx, built, new).await?;
        for asset in unit.cover.iter().chain(&unit.assets) {
            put_asset(tx, built, Some(unit.id), asset).await?;
            self.unbury(tx, &asset.id.to_string()).await?;
        }
        match old {
            Some(old) => self.remove_parts(tx, &old, &unit).await,
            None => Ok(()),
        }
    }

    async fn put_lessons(
        &self,
        tx: &mut dyn Transaction,
        built: &BuiltCourse,
        new: &BuiltUnit,
    ) -> Result<(), StoreError> {
        let quizzes: BTreeMap<LessonId, &Quiz> =
            new.unit.lessons.iter().filter_map(|lesson| Some((lesson.id, lesson.payload.quiz.as_ref()?))).collect();
        for lesson in &new.lessons {
            tx.execute(
                "INSERT INTO lessons (lesson_id, course_id, unit_id, key, kind, max_position, quiz, deleted_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, NULL)
                 ON CONFLICT (lesson_id) DO UPDATE SET
                     kind = excluded.kind, max_position = excluded.max_position, quiz = excluded.quiz,
                     deleted_at = NULL",
                values![
                    lesson.id,
                    built.course.id,
                    new.unit.id,
                    &lesson.key,
                    lesson.kind.as_str(),
                    lesson.max_position,
                    quizzes.get(&lesson.id).map(to_json).transpose()?
                ],
            )
            .await?;
            self.unbury(tx, &lesson.id.to_string()).await?;
        }
        Ok(())
    }

    async fn remove_parts(&mut self, tx: &mut dyn Transaction, old: &Unit, new: &Unit) -> Result<(), StoreError> {
        let lessons: BTreeSet<LessonId> = new.lessons.iter().map(|lesson| lesson.id).collect();
        for lesson in old.lessons.iter().filter(|lesson| !lessons.contains(&lesson.id)) {
            let seq = self.next(tx).await?;
            let id = lesson.id.to_string();
            tx.execute("UPDATE lessons SET deleted_at = $2 WHERE lesson_id = $1", values![&id, self.now]).await?;
            bury(tx, &self.scope, seq, TombstoneEntity::Lesson, &id, self.now).await?;
            self.done.lessons_removed += 1;
        }
        let assets: BTreeSet<AssetId> = new.cover.iter().chain(&new.assets).map(|asset| asset.id).collect();
        for asset in old.cover.iter().chain(&old.assets).filter(|asset| !assets.contains(&asset.id)) {
            let seq = self.next(tx).await?;
            let id = asset.id.to_string();
            drop_asset(tx, &id, self.now).await?;
            bury(tx, &self.scope, seq, TombstoneEntity::Asset, &id, self.now).await?;
            self.done.assets_removed += 1;
        }
        Ok(())
    }

    async fn remove_units(&mut self, tx: &mut dyn Transaction, built: &BuiltCourse) -> Result<(), StoreError> {
        let kept: BTreeSet<UnitId> = built.units.iter().map(|unit| unit.unit.id).collect();
        let rows = ids_of(
            tx,
            "SELECT unit_id, key FROM units WHERE course_id = $1 AND deleted_at IS NULL ORDER BY position",
            built.course.id,
        )
        .await?;
        let mut present: BTreeMap<UnitId, String> = BTreeMap::new();
        for row in &rows {
            present.insert(row.word("unit_id")?, row.text("key")?.to_owned());
        }
        for (id, key) in present.into_iter().filter(|(id, _)| !kept.contains(id)) {
            let seq = self.next(tx).await?;
            for sql in [
                "UPDATE units SET deleted_at = $2 WHERE unit_id = $1",
                "UPDATE lessons SET deleted_at = $2 WHERE unit_id = $1 AND deleted_at IS NULL",
                "UPDATE assets SET deleted_at = $2 WHERE unit_id = $1 AND deleted_at IS NULL",
            ] {
                tx.execute(sql, values![id, self.now]).await?;
            }
            bury(tx, &self.scope, seq, TombstoneEntity::Unit, &id.to_string(), self.now).await?;
            self.done.units_removed.push(key);
        }
        Ok(())
    }

    /// What came back is no longer gone. Ids are never shared between kinds of things.
    async fn unbury(&self, tx: &mut dyn Transaction, id: &str) -> Result<(), StoreError> {
        tx.execute("DELETE FROM tombstones WHERE scope = $1 AND id = $2", values![&self.scope, id]).await?;
        Ok(())
    }
}

async fn put_asset(
    tx: &mut dyn Transaction,
    built: &BuiltCourse,
    unit: Option<UnitId>,
    asset: &Asset,
) -> Result<(), StoreError> {
    let id = asset.id.to_string();
    tx.execute(
        "INSERT INTO assets (asset_id, course_id, unit_id, lesson_id, key, body, deleted_at)
         VALUES ($1, $2, $3, $4, $5, $6, NULL)
         ON CONFLICT (asset_id) DO UPDATE SET body = excluded.body, deleted_at = NULL",
        values![
            &id,
            built.course.id,
            unit,
            asset.lesson_id,
            built.asset_keys.get(&asset.id).ok_or(StoreError::Damaged("key of an asset"))?,
            to_json(asset)?
        ],
    )
    .await?;
    tx.execute("DELETE FROM renditions WHERE asset_id = $1", values![&id]).await?;
    for rendition in &asset.renditions {
        tx.execute(
            "INSERT INTO renditions (asset_id, quality, hash) VALUES ($1, $2, $3)",
            values![&id, rendition.quality.as_str(), rendition.hash],
        )
        .await?;
    }
    Ok(())
}

async fn drop_asset(tx: &mut dyn Transaction, id: &str, now: TimeMs) -> Result<(), StoreError> {
    tx.execute("UPDATE assets SET deleted_at = $2 WHERE asset_id = $1", values![id, now]).await?;
    Ok(())
}
