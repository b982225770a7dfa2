//! Bookmarks: places in a lesson with a note.

use std::collections::BTreeMap;

use carrel_model::{
    BookmarkId, LessonId, ProfileId,
    bookmark::Bookmark,
    op::{BookmarkDeleted, BookmarkPut, MAX_NOTE_BYTES, Op},
};
use sqlx::SqlitePool;

use super::{
    Learning,
    view::{BookmarkView, BookmarksView, DeleteBookmark, PutBookmark},
};
use crate::{EngineError, outbox::overlay, rows::json};

impl Learning {
    /// The bookmarks of a lesson, in its order.
    pub async fn bookmarks(&self, profile: ProfileId, lesson: LessonId) -> Result<BookmarksView, EngineError> {
        let all = of_lesson(self.library.readers(), profile, lesson).await?;
        let mut bookmarks: Vec<BookmarkView> = all
            .into_values()
            .filter(|(bookmark, _)| !bookmark.deleted)
            .map(|(bookmark, unsent)| BookmarkView {
                id: bookmark.id,
                position: bookmark.position,
                note: bookmark.note,
                written_at: bookmark.stamp.at,
                unsent,
            })
            .collect();
        bookmarks.sort_by_key(|bookmark| (bookmark.position, bookmark.id));
        Ok(BookmarksView { lesson_id: lesson, bookmarks })
    }

    /// Makes one, or changes one.
    pub async fn put_bookmark(&self, profile: ProfileId, request: PutBookmark) -> Result<BookmarksView, EngineError> {
        let lesson_id = request.lesson_id;
        let note = request.note.trim().to_owned();
        if note.len() > MAX_NOTE_BYTES {
            return Err(EngineError::Invalid("the note is too long"));
        }
        let _turn = self.turn.lock().await;
        let last = self.last_position(profile, lesson_id).await?;
        let position = last.map_or(request.position, |last| request.position.min(last));
        let id = match request.bookmark_id {
            Some(id) => {
                let known = of_lesson(self.library.readers(), profile, lesson_id).await?;
                if known.get(&id).is_none_or(|(bookmark, _)| bookmark.deleted) {
                    return Err(EngineError::NotFound("bookmark"));
                }
                id
            }
            None => {
                let mut random = [0; 10];
                self.clock.fill_random(&mut random);
                BookmarkId::from_parts(self.clock.now(), random)
            }
        };
        self.write(profile, &[Op::BookmarkPut(id, BookmarkPut { lesson_id, position, note })]).await?;
        self.bookmarks(profile, lesson_id).await
    }

    /// Removes one. Removing it twice is no mistake.
    pub async fn delete_bookmark(
        &self,
        profile: ProfileId,
        request: DeleteBookmark,
    ) -> Result<BookmarksView, EngineError> {
        let lesson_id = request.lesson_id;
        let _turn = self.turn.lock().await;
        let known = of_lesson(self.library.readers(), profile, lesson_id).await?;
        if known.get(&request.bookmark_id).is_some_and(|(bookmark, _)| !bookmark.deleted) {
            self.write(profile, &[Op::BookmarkDeleted(request.bookmark_id, BookmarkDeleted { lesson_id })]).await?;
        }
        self.bookmarks(profile, lesson_id).await
    }
}

/// Each with whether it waits to be sent; removed ones included.
async fn of_lesson(
    readers: &SqlitePool,
    profile: ProfileId,
    lesson: LessonId,
) -> Result<BTreeMap<BookmarkId, (Bookmark, bool)>, EngineError> {
    let mut snapshot = readers.begin().await?;
    let pending = overlay(&mut snapshot, profile, Some(lesson)).await?;
    let rows = sqlx::query("SELECT bookmark FROM bookmarks WHERE profile_id = ?1 AND lesson_id = ?2")
        .bind(profile.to_string())
        .bind(lesson.to_string())
        .fetch_all(&mut *snapshot)
        .await?;
    let words = rows.iter().map(|row| json(row, "bookmark")).collect::<Result<Vec<Bookmark>, _>>()?;
    let mut all: BTreeMap<BookmarkId, (Bookmark, bool)> = BTreeMap::new();
    for bookmark in words.into_iter().chain(pending.bookmarks) {
        let joined = match all.remove(&bookmark.id) {
            Some((known, _)) => known.join(bookmark),
            None => bookmark,
        };
        let waits = |(.., stamp): &(_, _, carrel_model::stamp::Stamp)| *stamp == joined.stamp;
        let unsent = pending.unsent.iter().any(waits);
        all.insert(joined.id, (joined, unsent));
    }
    Ok(all)
}
