//! Bookmarks: last writer wins by stamp, deletion included.

use crate::{BookmarkId, LessonId, stamp::Stamp};

wire! {
    /// A place a learner marked, with a note.
    #[derive(Eq)]
    pub struct Bookmark {
        /// Identity.
        pub id: BookmarkId,
        /// The lesson.
        pub lesson_id: LessonId,
        /// Where, in the lesson's own unit.
        #[cfg_attr(feature = "ts", ts(type = "number"))]
        pub position: u64,
        /// What the learner wrote.
        pub note: String,
        /// Whether it was removed; kept so that an older write can't bring it back.
        pub deleted: bool,
        /// The write that won.
        pub stamp: Stamp,
    }
}

impl Bookmark {
    /// The later of two writes of one bookmark.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        if other.stamp > self.stamp { other } else { self }
    }
}
