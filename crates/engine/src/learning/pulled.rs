//! Keeping what the service says of a learner's own rows. Its word replaces the word before; what waits is not touched.

use std::collections::BTreeSet;

use carrel_model::{
    LessonId, ProfileId,
    bookmark::Bookmark,
    session::{Answer, Session},
    wire::{
        content::TombstoneEntity,
        sync::{PullPage, RecordChecksums},
    },
};
use serde::de::DeserializeOwned;
use sqlx::SqliteConnection;

use super::progress;
use crate::{EngineError, rows::signed};

/// Keeps a page, in the transaction that keeps its cursor; gives the lessons it speaks of.
pub(crate) async fn apply(
    tx: &mut SqliteConnection,
    profile: ProfileId,
    page: &PullPage,
    generation: i64,
) -> Result<BTreeSet<LessonId>, EngineError> {
    let id = profile.to_string();
    let mut lessons = BTreeSet::new();
    for row in &page.progress {
        lessons.insert(row.lesson_id);
        progress::put(tx, profile, row, generation).await?;
    }
    for session in &page.sessions {
        lessons.insert(session.lesson_id);
        sqlx::query(
            "INSERT OR REPLACE INTO sessions (profile_id, id, lesson_id, session, generation) VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .bind(&id)
        .bind(session.id.to_string())
        .bind(session.lesson_id.to_string())
        .bind(serde_json::to_string(session)?)
        .bind(generation)
        .execute(&mut *tx)
        .await?;
    }
    for answer in &page.answers {
        lessons.insert(answer.lesson_id);
        sqlx::query(
            "INSERT OR REPLACE INTO answers (profile_id, device_id, seq, session_id, answer, generation)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .bind(&id)
        .bind(answer.stamp.device_id.to_string())
        .bind(signed(answer.stamp.seq))
        .bind(answer.session_id.to_string())
        .bind(serde_json::to_string(answer)?)
        .bind(generation)
        .execute(&mut *tx)
        .await?;
    }
    for bookmark in &page.bookmarks {
        sqlx::query(
            "INSERT OR REPLACE INTO bookmarks (profile_id, id, lesson_id, bookmark, generation)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .bind(&id)
        .bind(bookmark.id.to_string())
        .bind(bookmark.lesson_id.to_string())
        .bind(serde_json::to_string(bookmark)?)
        .bind(generation)
        .execute(&mut *tx)
        .await?;
    }
    for tombstone in page.tombstones.iter().filter(|t| t.entity == TombstoneEntity::Bookmark) {
        sqlx::query("DELETE FROM bookmarks WHERE profile_id = ?1 AND id = ?2")
            .bind(&id)
            .bind(&tombstone.id)
            .execute(&mut *tx)
            .await?;
    }
    Ok(lessons)
}

/// What the rows of a learner amount to, as the service counts them.
pub(crate) async fn checksums(tx: &mut SqliteConnection, profile: ProfileId) -> Result<RecordChecksums, EngineError> {
    let id = profile.to_string();
    let progress = progress::read(&mut *tx, profile, None).await?;
    let sessions: Vec<Session> = texts(tx, "SELECT session FROM sessions WHERE profile_id = ?1", &id).await?;
    let answers: Vec<Answer> = texts(tx, "SELECT answer FROM answers WHERE profile_id = ?1", &id).await?;
    let bookmarks: Vec<Bookmark> = texts(tx, "SELECT bookmark FROM bookmarks WHERE profile_id = ?1", &id).await?;
    Ok(RecordChecksums::of(&progress, &sessions, answers.iter().map(|answer| answer.stamp), &bookmarks))
}

async fn texts<T: DeserializeOwned>(tx: &mut SqliteConnection, sql: &str, id: &str) -> Result<Vec<T>, EngineError> {
    let texts: Vec<String> = sqlx::query_scalar(sql).bind(id).fetch_all(tx).await?;
    Ok(texts.iter().map(|text| serde_json::from_str(text)).collect::<Result<_, _>>()?)
}

/// After a full pull: what was not seen in it is no longer there.
pub(crate) async fn sweep(tx: &mut SqliteConnection, profile: ProfileId, generation: i64) -> Result<(), EngineError> {
    for sql in [
        "DELETE FROM progress WHERE profile_id = ?1 AND generation < ?2",
        "DELETE FROM sessions WHERE profile_id = ?1 AND generation < ?2",
        "DELETE FROM answers WHERE profile_id = ?1 AND generation < ?2",
        "DELETE FROM bookmarks WHERE profile_id = ?1 AND generation < ?2",
    ] {
        sqlx::query(sql).bind(profile.to_string()).bind(generation).execute(&mut *tx).await?;
    }
    Ok(())
}
