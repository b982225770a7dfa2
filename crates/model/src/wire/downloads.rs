//! Authorising a download.

use crate::{
    AssetId, CourseId, LessonId, TimeMs, UnitId,
    content::{AssetKind, Quality},
    pieces::Manifest,
};

wire! {
    /// `POST /downloads/authorize`: exactly one of the three ids.
    #[derive(Copy, Eq, Default)]
    pub struct AuthorizeRequest {
        /// A whole unit.
        #[serde(default)]
        pub unit_id: Option<UnitId>,
        /// One lesson.
        #[serde(default)]
        pub lesson_id: Option<LessonId>,
        /// A whole course.
        #[serde(default)]
        pub course_id: Option<CourseId>,
        /// The rendition wished for.
        #[serde(default)]
        pub quality: Option<Quality>,
    }

    /// The answer: everything that is to be fetched.
    #[derive(Eq)]
    pub struct Authorized {
        /// Each blob once.
        pub blobs: Vec<AuthorizedBlob>,
        /// The last day it may be opened; none: as long as the enrolment lasts.
        pub expires_at: Option<TimeMs>,
        /// Of this learner's quota at the service, in bytes.
        #[cfg_attr(feature = "ts", ts(type = "number"))]
        pub quota_used: u64,
        /// None: no limit.
        #[cfg_attr(feature = "ts", ts(type = "number | null"))]
        pub quota_limit: Option<u64>,
        /// The service's clock.
        pub server_time: TimeMs,
    }

    /// One blob to be fetched.
    #[derive(Eq)]
    pub struct AuthorizedBlob {
        /// The asset it is a rendition of.
        pub asset_id: AssetId,
        /// The lesson it belongs to; none for covers.
        pub lesson_id: Option<LessonId>,
        /// The unit it belongs to.
        pub unit_id: Option<UnitId>,
        /// What it is.
        pub kind: AssetKind,
        /// Which rendition.
        pub quality: Quality,
        /// Media type.
        pub mime: String,
        /// Hash, size and pieces.
        pub manifest: Manifest,
        /// Where to get it for the next 15 minutes.
        pub url: String,
        /// Until when the URL holds.
        pub url_expires_at: TimeMs,
    }
}
