//! Making a course what was built, changing only what changed.

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::{
    AssetId, CourseId, LessonId, TimeMs, UnitId,
    content::{Asset, Course, Unit},
    wire::content::TombstoneEntity,
};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    SqliteStore, advance,
    rows::{json, number, signed, to_json, word},
    tombstones::bury,
};
use crate::{
    publish::{carry_over_course, carry_over_unit},
    rules::course_scope,
    store::{BuiltCourse, BuiltUnit, KnownIds, Published, StoreError},
};

pub(super) async fn known_ids(conn: &mut SqliteConnection, key: &str) -> Result<KnownIds, StoreError> {
    let course = sqlx::query("SELECT course_id, position FROM courses WHERE key = ?1")
        .bind(key)
        .fetch_optional(&mut *conn)
        .await?;
    let Some(course) = course else {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM courses").fetch_one(conn).await?;
        return Ok(KnownIds { position: u32::try_from(count).unwrap_or(u32::MAX), ..KnownIds::default() });
    };
    let id: CourseId = word(&course, "course_id")?;
    let mut known = KnownIds { course: Some(id), position: number(&course, "position")?, ..KnownIds::default() };
    let keyed = |row: &SqliteRow| row.try_get::<String, _>("key");
    for row in ids_of(conn, "SELECT key, unit_id AS id FROM units WHERE course_id = ?1", id).await? {
        known.units.insert(keyed(&row)?, word(&row, "id")?);
    }
    for row in ids_of(conn, "SELECT key, lesson_id AS id FROM lessons WHERE course_id = ?1", id).await? {
        known.lessons.insert(keyed(&row)?, word(&row, "id")?);
    }
    for row in ids_of(conn, "SELECT key, asset_id AS id FROM assets WHERE course_id = ?1", id).await? {
        known.assets.insert(keyed(&row)?, word(&row, "id")?);
    }
    Ok(known)
}

async fn ids_of(
    conn: &mut SqliteConnection,
    sql: &'static str,
    course: CourseId,
) -> Result<Vec<SqliteRow>, StoreError> {
    Ok(sqlx::query(sql).bind(course.to_string()).fetch_all(conn).await?)
}

pub(super) async fn publish(store: &SqliteStore, built: BuiltCourse, now: TimeMs) -> Result<Published, StoreError> {
    let mut tx = store.begin().await?;
    let scope = course_scope(built.course.id);
    let seq = advance(&mut tx, &scope, 1).await?;
    let known = known_ids(&mut tx, &built.key).await?;
    if built_elsewhere(&built, &known) {
        return Err(StoreError::PublishedMeanwhile);
    }
    let mut publication = Publication { scope, seq, now, done: Published::default() };
    publication.put_blobs(&mut tx, &built).await?;
    publication.put_course(&mut tx, &built).await?;
    for unit in &built.units {
        publication.put_unit(&mut tx, &built, unit).await?;
    }
    publication.remove_units(&mut tx, &built).await?;
    publication.put_cover(&mut tx, &built).await?;
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
    async fn next(&mut self, conn: &mut SqliteConnection) -> Result<i64, StoreError> {
        self.seq = advance(conn, &self.scope, 1).await?;
        Ok(self.seq)
    }

    async fn put_blobs(&self, conn: &mut SqliteConnection, built: &BuiltCourse) -> Result<(), StoreError> {
        for (hash, blob) in &built.blobs {
            sqlx::query(
                "INSERT INTO blobs (hash, size, mime, pieces) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (hash) DO UPDATE SET mime = excluded.mime",
            )
            .bind(hash.to_string())
            .bind(signed(blob.manifest.size()))
            .bind(&blob.mime)
            .bind(blob.manifest.to_binary())
            .execute(&mut *conn)
            .await?;
        }
        Ok(())
    }

    async fn put_course(&mut self, conn: &mut SqliteConnection, built: &BuiltCourse) -> Result<(), StoreError> {
        let row = sqlx::query("SELECT body FROM courses WHERE course_id = ?1 AND deleted_at IS NULL")
            .bind(built.course.id.to_string())
            .fetch_optional(&mut *conn)
            .await?;
        let old: Option<Course> = row.as_ref().map(|row| json(row, "body")).transpose()?;
        let mut course = built.course.clone();
        if !carry_over_course(old.as_ref(), &mut course, self.now) {
            return Ok(());
        }
        self.done.course_changed = true;
        let seq = self.next(conn).await?;
        sqlx::query(
            "INSERT INTO courses (course_id, key, open, premium, position, body, seq, updated_at, deleted_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, NULL)
             ON CONFLICT (course_id) DO UPDATE SET
                 open = excluded.open, premium = excluded.premium, position = excluded.position, body = excluded.body,
                 seq = excluded.seq, updated_at = excluded.updated_at, deleted_at = NULL",
        )
        .bind(course.id.to_string())
        .bind(&built.key)
        .bind(course.open)
        .bind(course.premium)
        .bind(course.position)
        .bind(to_json(&course)?)
        .bind(seq)
        .bind(course.updated_at.as_ms())
        .execute(&mut *conn)
        .await?;
        self.unbury(conn, &course.id.to_string()).await
    }

    /// The cover's own row. Last, since its course must be there first.
    async fn put_cover(&self, conn: &mut SqliteConnection, built: &BuiltCourse) -> Result<(), StoreError> {
        let old: Vec<(String,)> = sqlx::query_as(
            "SELECT asset_id FROM assets WHERE course_id = ?1 AND unit_id IS NULL AND deleted_at IS NULL",
        )
        .bind(built.course.id.to_string())
        .fetch_all(&mut *conn)
        .await?;
        let cover = built.course.cover.as_ref();
        for (id,) in old {
            if cover.is_none_or(|cover| cover.id.to_string() != id) {
                drop_asset(conn, &id, self.now).await?;
            }
        }
        match cover {
            Some(cover) => put_asset(conn, built, None, cover).await,
            None => Ok(()),
        }
    }

    async fn put_unit(
        &mut self,
        conn: &mut SqliteConnection,
        built: &BuiltCourse,
        new: &BuiltUnit,
    ) -> Result<(), StoreError> {
        let id = new.unit.id.to_string();
        let row = sqlx::query("SELECT body FROM units WHERE unit_id = ?1 AND deleted_at IS NULL")
            .bind(&id)
            .fetch_optional(&mut *conn)
            .await?;
        let old: Option<Unit> = row.as_ref().map(|row| json(row, "body")).transpose()?;
        let mut unit = new.unit.clone();
        if !carry_over_unit(old.as_ref(), &mut unit, self.now) {
            self.done.units_unchanged += 1;
            return Ok(());
        }
        self.done.units_changed.push(new.key.clone());
        let seq = self.next(conn).await?;
        sqlx::query(
            "INSERT INTO units (unit_id, course_id, key, position, body, seq, updated_at, deleted_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, NULL)
             ON CONFLICT (unit_id) DO UPDATE SET
                 position = excluded.position, body = excluded.body, seq = excluded.seq,
                 updated_at = excluded.updated_at, deleted_at = NULL",
        )
        .bind(&id)
        .bind(built.course.id.to_string())
        .bind(&new.key)
        .bind(unit.position)
        .bind(to_json(&unit)?)
        .bind(seq)
        .bind(unit.updated_at.as_ms())
        .execute(&mut *conn)
        .await?;
        self.unbury(conn, &id).await?;
        self.put_lessons(conn, built, new).await?;
        for asset in unit.cover.iter().chain(&unit.assets) {
            put_asset(conn, built, Some(unit.id), asset).await?;
            self.unbury(conn, &asset.id.to_string()).await?;
        }
        match old {
            Some(old) => self.remove_parts(conn, &old, &unit).await,
            None => Ok(()),
        }
    }

    async fn put_lessons(
        &self,
        conn: &mut SqliteConnection,
        built: &BuiltCourse,
        new: &BuiltUnit,
    ) -> Result<(), StoreError> {
        for lesson in &new.lessons {
            sqlx::query(
                "INSERT INTO lessons (lesson_id, course_id, unit_id, key, kind, max_position, deleted_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL)
                 ON CONFLICT (lesson_id) DO UPDATE SET
                     kind = excluded.kind, max_position = excluded.max_position, deleted_at = NULL",
            )
            .bind(lesson.id.to_string())
            .bind(built.course.id.to_string())
            .bind(new.unit.id.to_string())
            .bind(&lesson.key)
            .bind(lesson.kind.as_str())
            .bind(lesson.max_position.map(signed))
            .execute(&mut *conn)
            .await?;
            self.unbury(conn, &lesson.id.to_string()).await?;
        }
        Ok(())
    }

    async fn remove_parts(&mut self, conn: &mut SqliteConnection, old: &Unit, new: &Unit) -> Result<(), StoreError> {
        let lessons: BTreeSet<LessonId> = new.lessons.iter().map(|lesson| lesson.id).collect();
        for lesson in old.lessons.iter().filter(|lesson| !lessons.contains(&lesson.id)) {
            let seq = self.next(conn).await?;
            let id = lesson.id.to_string();
            sqlx::query("UPDATE lessons SET deleted_at = ?2 WHERE lesson_id = ?1")
                .bind(&id)
                .bind(self.now.as_ms())
                .execute(&mut *conn)
                .await?;
            bury(conn, &self.scope, seq, TombstoneEntity::Lesson, &id, self.now).await?;
            self.done.lessons_removed += 1;
        }
        let assets: BTreeSet<AssetId> = new.cover.iter().chain(&new.assets).map(|asset| asset.id).collect();
        for asset in old.cover.iter().chain(&old.assets).filter(|asset| !assets.contains(&asset.id)) {
            let seq = self.next(conn).await?;
            let id = asset.id.to_string();
            drop_asset(conn, &id, self.now).await?;
            bury(conn, &self.scope, seq, TombstoneEntity::Asset, &id, self.now).await?;
            self.done.assets_removed += 1;
        }
        Ok(())
    }

    async fn remove_units(&mut self, conn: &mut SqliteConnection, built: &BuiltCourse) -> Result<(), StoreError> {
        let kept: BTreeSet<UnitId> = built.units.iter().map(|unit| unit.unit.id).collect();
        let rows = ids_of(
            conn,
            "SELECT unit_id, key FROM units WHERE course_id = ?1 AND deleted_at IS NULL ORDER BY position",
            built.course.id,
        )
        .await?;
        let mut present: BTreeMap<UnitId, String> = BTreeMap::new();
        for row in &rows {
            present.insert(word(row, "unit_id")?, row.try_get("key")?);
        }
        for (id, key) in present.into_iter().filter(|(id, _)| !kept.contains(id)) {
            let seq = self.next(conn).await?;
            for sql in [
                "UPDATE units SET deleted_at = ?2 WHERE unit_id = ?1",
                "UPDATE lessons SET deleted_at = ?2 WHERE unit_id = ?1 AND deleted_at IS NULL",
                "UPDATE assets SET deleted_at = ?2 WHERE unit_id = ?1 AND deleted_at IS NULL",
            ] {
                sqlx::query(sql).bind(id.to_string()).bind(self.now.as_ms()).execute(&mut *conn).await?;
            }
            bury(conn, &self.scope, seq, TombstoneEntity::Unit, &id.to_string(), self.now).await?;
            self.done.units_removed.push(key);
        }
        Ok(())
    }

    /// What came back is no longer gone. Ids are never shared between kinds of things.
    async fn unbury(&self, conn: &mut SqliteConnection, id: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM tombstones WHERE scope = ?1 AND id = ?2")
            .bind(&self.scope)
            .bind(id)
            .execute(conn)
            .await?;
        Ok(())
    }
}

async fn put_asset(
    conn: &mut SqliteConnection,
    built: &BuiltCourse,
    unit: Option<UnitId>,
    asset: &Asset,
) -> Result<(), StoreError> {
    let id = asset.id.to_string();
    sqlx::query(
        "INSERT INTO assets (asset_id, course_id, unit_id, lesson_id, key, body, deleted_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL)
         ON CONFLICT (asset_id) DO UPDATE SET body = excluded.body, deleted_at = NULL",
    )
    .bind(&id)
    .bind(built.course.id.to_string())
    .bind(unit.map(|unit| unit.to_string()))
    .bind(asset.lesson_id.map(|lesson| lesson.to_string()))
    .bind(built.asset_keys.get(&asset.id).ok_or(StoreError::Damaged("key of an asset"))?)
    .bind(to_json(asset)?)
    .execute(&mut *conn)
    .await?;
    sqlx::query("DELETE FROM renditions WHERE asset_id = ?1").bind(&id).execute(&mut *conn).await?;
    for rendition in &asset.renditions {
        sqlx::query("INSERT INTO renditions (asset_id, quality, hash) VALUES (?1, ?2, ?3)")
            .bind(&id)
            .bind(rendition.quality.as_str())
            .bind(rendition.hash.to_string())
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

async fn drop_asset(conn: &mut SqliteConnection, id: &str, now: TimeMs) -> Result<(), StoreError> {
    sqlx::query("UPDATE assets SET deleted_at = ?2 WHERE asset_id = ?1")
        .bind(id)
        .bind(now.as_ms())
        .execute(conn)
        .await?;
    Ok(())
}
