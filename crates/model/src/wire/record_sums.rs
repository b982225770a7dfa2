//! Running checksums of a learner's rows: what the service keeps, so that every last page of a pull can carry them.

use super::{set_sum::SetSum, sync::RecordChecksums};
use crate::{bookmark::Bookmark, progress::Progress, session::Session, stamp::Stamp};

/// Raised whenever a row of these comes to be written in another way on the wire: sums of the old way are worth nothing then,
/// and are made anew.
pub const SHAPE: u32 = 1;

/// One sum for each set of rows. Rows are summed as the service has them, without what is still pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordSums {
    /// Of progress.
    pub progress: SetSum,
    /// Of sessions.
    pub sessions: SetSum,
    /// Of answers.
    pub answers: SetSum,
    /// Of bookmarks, removed ones included.
    pub bookmarks: SetSum,
}

impl RecordSums {
    /// Over all rows.
    #[must_use]
    pub fn of<'a>(
        progress: impl IntoIterator<Item = &'a Progress>,
        sessions: impl IntoIterator<Item = &'a Session>,
        answers: impl IntoIterator<Item = Stamp>,
        bookmarks: impl IntoIterator<Item = &'a Bookmark>,
    ) -> Self {
        let mut sums = Self::default();
        progress.into_iter().for_each(|row| sums.progress_changed(None, row));
        sessions.into_iter().for_each(|row| sums.session_changed(None, row));
        answers.into_iter().for_each(|stamp| sums.answer_came(stamp));
        bookmarks.into_iter().for_each(|row| sums.bookmark_changed(None, row));
        sums
    }

    /// A row takes the place of what was there.
    pub fn progress_changed(&mut self, old: Option<&Progress>, new: &Progress) {
        change(&mut self.progress, old, new, |row| format!("{}/{}", row.lesson_id, row.attempt));
    }

    /// A row takes the place of what was there.
    pub fn session_changed(&mut self, old: Option<&Session>, new: &Session) {
        change(&mut self.sessions, old, new, |row| row.id.to_string());
    }

    /// An answer never changes, so its stamp is enough.
    pub fn answer_came(&mut self, stamp: Stamp) {
        self.answers.add(&format!("{}/{}", stamp.device_id, stamp.seq), stamp.at.as_ms());
    }

    /// A row takes the place of what was there.
    pub fn bookmark_changed(&mut self, old: Option<&Bookmark>, new: &Bookmark) {
        change(&mut self.bookmarks, old, new, |row| row.id.to_string());
    }

    /// As they travel.
    #[must_use]
    pub fn checksums(&self) -> RecordChecksums {
        RecordChecksums {
            progress: self.progress.to_string(),
            sessions: self.sessions.to_string(),
            answers: self.answers.to_string(),
            bookmarks: self.bookmarks.to_string(),
        }
    }
}

impl RecordChecksums {
    /// Over all rows, as [`RecordSums::of`].
    #[must_use]
    pub fn of<'a>(
        progress: impl IntoIterator<Item = &'a Progress>,
        sessions: impl IntoIterator<Item = &'a Session>,
        answers: impl IntoIterator<Item = Stamp>,
        bookmarks: impl IntoIterator<Item = &'a Bookmark>,
    ) -> Self {
        RecordSums::of(progress, sessions, answers, bookmarks).checksums()
    }
}

fn change<T: serde::Serialize>(sum: &mut SetSum, old: Option<&T>, new: &T, id: impl Fn(&T) -> String) {
    if let Some(old) = old {
        sum.remove(&id(old), version(old));
    }
    sum.add(&id(new), version(new));
}

/// Rows have no number of their own on the wire; what they say is their version.
fn version<T: serde::Serialize>(row: &T) -> i64 {
    // None of these types can fail to be written.
    let text = serde_json::to_vec(row).unwrap_or_default();
    let mut first = [0; 8];
    blake3::Hasher::new().update(&text).finalize_xof().fill(&mut first);
    i64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::ProgressStatus;

    #[test]
    fn checksums_tell_sets_apart_and_not_orders() {
        let lesson = |n: u8| format!("01900000-0000-7000-8000-0000000000{n:02}").parse().unwrap();
        let (a, b) = (Progress::none(lesson(1), 1), Progress::none(lesson(2), 1));
        let of = |rows: &[&Progress]| RecordChecksums::of(rows.iter().copied(), [], [], []).progress;
        assert_eq!(of(&[&a, &b]), of(&[&b, &a]), "the order doesn't matter");
        assert_ne!(of(&[&a, &b]), of(&[&a]), "a missing row does");
        let changed = Progress { status: ProgressStatus::InProgress, ..a.clone() };
        assert_ne!(of(&[&a]), of(&[&changed]), "and so does a row that says something else");
    }

    /// Whoever changes how these rows are written must raise [`SHAPE`], and then the texts here.
    #[test]
    fn the_shape_of_rows_is_the_one_that_sums_were_made_of() {
        fn same<T: serde::Serialize + serde::de::DeserializeOwned>(text: &str) {
            let row: T = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&row).unwrap(), text, "raise SHAPE, which is {SHAPE}");
        }
        const STAMP: &str =
            r#"{"at":"2026-11-20T10:00:00.000Z","device_id":"01900000-0000-7000-8000-000000000003","seq":7}"#;
        same::<Progress>(&format!(
            r#"{{"lesson_id":"01900000-0000-7000-8000-000000000001","attempt":1,"status":"completed","percent":100,"completed_at":"2026-11-20T10:00:00.000Z","position":{{"value":5,"stamp":{STAMP}}}}}"#
        ));
        same::<Session>(&format!(
            r#"{{"id":"01900000-0000-7000-8000-000000000002","lesson_id":"01900000-0000-7000-8000-000000000001","attempt":1,"kind":"quiz","status":"finished","status_stamp":{STAMP},"started_at":"2026-11-20T10:00:00.000Z","ended_at":null,"statistics":{{"answered":1,"correct":1,"points":1,"max_points":1,"duration_ms":9}},"grade":{{"answered":1,"correct":1,"points":1,"max_points":1,"passed":true}}}}"#
        ));
        same::<Bookmark>(&format!(
            r#"{{"id":"01900000-0000-7000-8000-000000000004","lesson_id":"01900000-0000-7000-8000-000000000001","position":1,"note":"n","deleted":false,"stamp":{STAMP}}}"#
        ));
    }

    #[test]
    fn what_changed_row_by_row_is_what_is_summed_up_at_the_end() {
        let lesson = "01900000-0000-7000-8000-000000000001".parse().unwrap();
        let (old, new) = (Progress::none(lesson, 1), Progress { percent: 7, ..Progress::none(lesson, 1) });
        let mut kept = RecordSums::default();
        kept.progress_changed(None, &old);
        kept.progress_changed(Some(&old), &new);
        assert_eq!(kept, RecordSums::of([&new], [], [], []));
        assert_ne!(kept, RecordSums::of([&old], [], [], []));
    }
}
