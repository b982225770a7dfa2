//! Checksums of a learner's rows, kept up while they are written (protocol.md, Cursor).
//!
//! A push takes what a row was off the learner's sums and adds what it became; it knows both. So the last page of a pull has its
//! checksums at the price of one row, however much the learner has done. Sums that are missing – of a database that
//! is older than they are, or of rows that were written in another shape – are made of everything once, by the next push; a
//! pull that comes before it makes them for itself.

use std::collections::HashMap;

use carrel_model::{
    BookmarkId, LearnerId, LessonId, SessionId,
    bookmark::Bookmark,
    progress::Progress,
    session::Session,
    wire::{
        record_sums::{RecordSums, SHAPE},
        set_sum::SetSum,
    },
};

use super::{Transaction, learning, pull, values};
use crate::{
    rules::{Known, Taken},
    store::StoreError,
};

pub(in crate::store) const KEPT: &str =
    "SELECT progress, sessions, answers, bookmarks FROM record_sums WHERE learner_id = $1 AND shape = $2";
const KEEP: &str = "INSERT INTO record_sums (learner_id, shape, progress, sessions, answers, bookmarks)
     VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (learner_id) DO UPDATE SET
         shape = excluded.shape, progress = excluded.progress, sessions = excluded.sessions,
         answers = excluded.answers, bookmarks = excluded.bookmarks";
/// An answer never changes, so what identifies it says everything.
pub(in crate::store) const ANSWERS_THERE: &str =
    "SELECT device_id, op_seq, answered_at FROM answers WHERE learner_id = $1";
/// No page is that long, no learner has that many.
const ALL: i64 = i64::MAX;

/// The sums of everything the learner has here.
pub(super) async fn of(tx: &mut dyn Transaction, learner: LearnerId) -> Result<RecordSums, StoreError> {
    match tx.row(KEPT, values![learner, SHAPE]).await? {
        Some(row) => {
            let sum = |name| SetSum::from_text(row.text(name)?).ok_or(StoreError::Damaged("record_sums"));
            Ok(RecordSums {
                progress: sum("progress")?,
                sessions: sum("sessions")?,
                answers: sum("answers")?,
                bookmarks: sum("bookmarks")?,
            })
        }
        None => made_anew(tx, learner).await,
    }
}

/// Of every row.
pub(super) async fn made_anew(tx: &mut dyn Transaction, learner: LearnerId) -> Result<RecordSums, StoreError> {
    let every = || values![learner, -1_i64, ALL];
    let progress = tx.rows(pull::PROGRESS, every()).await?;
    let sessions = tx.rows(pull::SESSIONS, every()).await?;
    let bookmarks = tx.rows(pull::BOOKMARKS, every()).await?;
    let answers = tx.rows(ANSWERS_THERE, values![learner]).await?;
    let progress: Vec<_> = progress.iter().map(learning::progress_of).collect::<Result<_, _>>()?;
    let sessions: Vec<_> = sessions.iter().map(learning::session_of).collect::<Result<_, _>>()?;
    let bookmarks: Vec<_> = bookmarks.iter().map(learning::bookmark_of).collect::<Result<_, _>>()?;
    let answers: Vec<_> =
        answers.iter().map(|row| row.stamp("answered_at", "device_id", "op_seq")).collect::<Result<_, _>>()?;
    Ok(RecordSums::of(&progress, &sessions, answers, &bookmarks))
}

/// Keeps them.
pub(super) async fn keep(tx: &mut dyn Transaction, learner: LearnerId, sums: RecordSums) -> Result<(), StoreError> {
    let RecordSums { progress, sessions, answers, bookmarks } = sums;
    let texts = [progress, sessions, answers, bookmarks].map(|sum| sum.to_string());
    let [progress, sessions, answers, bookmarks] = texts;
    tx.execute(KEEP, values![learner, SHAPE, progress, sessions, answers, bookmarks]).await?;
    Ok(())
}

/// The rows that a batch may change, as they are before it.
pub(super) struct Before {
    progress: HashMap<(LessonId, u32), Progress>,
    sessions: HashMap<SessionId, Session>,
    bookmarks: HashMap<BookmarkId, Bookmark>,
}

impl Before {
    /// Taken before the batch is judged.
    pub(super) fn of(known: &Known) -> Self {
        Self {
            progress: known.progress.clone(),
            sessions: known.sessions.iter().map(|(id, (_, row))| (*id, row.clone())).collect(),
            bookmarks: known.bookmarks.iter().map(|(id, (_, row))| (*id, row.clone())).collect(),
        }
    }

    /// The sums after what was taken. Only the learner's own rows are ever taken.
    pub(super) fn sums_after(&self, mut sums: RecordSums, taken: &Taken<'_>) -> RecordSums {
        for (key, (new, _)) in &taken.progress {
            sums.progress_changed(self.progress.get(key), new);
        }
        for (id, (new, _)) in &taken.sessions {
            sums.session_changed(self.sessions.get(id), new);
        }
        for (new, _) in &taken.answers {
            sums.answer_came(new.stamp);
        }
        for (id, (new, _)) in &taken.bookmarks {
            sums.bookmark_changed(self.bookmarks.get(id), new);
        }
        sums
    }
}
