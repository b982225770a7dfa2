//! Courses, units and signed URLs.

use crate::{
    AssetId, BlobHash, TimeMs,
    content::{Course, Quality, Unit},
    wire::set_sum::SetSum,
};

wire! {
    /// `GET /content/courses`
    #[derive(Eq)]
    pub struct CourseList {
        /// All that the learner may see.
        pub courses: Vec<Course>,
    }

    /// `GET /content/units`
    #[derive(Eq)]
    pub struct UnitList {
        /// All that the learner may see.
        pub units: Vec<Unit>,
    }

    /// `GET /content/units/sync`: a page of what changed.
    #[derive(Eq)]
    pub struct UnitsPage {
        /// Courses that changed.
        pub courses: Vec<Course>,
        /// Units that changed, whole.
        pub units: Vec<Unit>,
        /// What is gone.
        pub tombstones: Vec<Tombstone>,
        /// Where to go on. Opaque.
        pub cursor: String,
        /// Whether to go on at once.
        pub has_more: bool,
        /// The service's clock.
        pub server_time: TimeMs,
        /// On the last page: the checksum of the ids and versions this learner should have (see [`set_checksum`]).
        #[serde(default)]
        pub checksum: Option<String>,
    }

    /// Something that is gone.
    #[derive(Eq)]
    pub struct Tombstone {
        /// What it was.
        pub entity: TombstoneEntity,
        /// Its id.
        pub id: String,
        /// When it went.
        pub deleted_at: TimeMs,
    }

    /// `POST /content/assets/urls`, at most [`MAX_URL_ITEMS`] items.
    #[derive(Eq)]
    pub struct UrlsRequest {
        /// What is wanted.
        pub items: Vec<UrlWanted>,
    }

    /// One rendition wanted.
    #[derive(Copy, Eq)]
    pub struct UrlWanted {
        /// The asset.
        pub asset_id: AssetId,
        /// The rendition.
        pub quality: Quality,
    }

    /// The answer: one entry for each that may be had; what is missing may not.
    #[derive(Eq)]
    pub struct UrlsResponse {
        /// In the order of the request.
        pub urls: Vec<SignedUrl>,
        /// The service's clock, by which `expires_at` is meant.
        pub server_time: TimeMs,
    }

    /// Where a blob can be had for a while. May be relative to the service's address.
    #[derive(Eq)]
    pub struct SignedUrl {
        /// The asset.
        pub asset_id: AssetId,
        /// The rendition.
        pub quality: Quality,
        /// Its bytes.
        pub hash: BlobHash,
        /// Its length.
        #[cfg_attr(feature = "ts", ts(type = "number"))]
        pub size: u64,
        /// Where.
        pub url: String,
        /// Until when.
        pub expires_at: TimeMs,
    }
}

words! {
    /// What a tombstone stands for.
    pub enum TombstoneEntity {
        /// A course that was withdrawn, or that this learner lost the enrolment for.
        Course = "course",
        /// A unit.
        Unit = "unit",
        /// A lesson of a unit that is still there.
        Lesson = "lesson",
        /// An asset.
        Asset = "asset",
        /// A bookmark.
        Bookmark = "bookmark",
    }
}

/// Most items in one request for URLs.
pub const MAX_URL_ITEMS: usize = 200;

/// The checksum of a set of rows by id and version: equal sets give equal texts, in whatever order they are listed. No row
/// may be listed twice.
#[must_use]
pub fn set_checksum<'a>(rows: impl IntoIterator<Item = (&'a str, i64)>) -> String {
    let mut sum = SetSum::default();
    for (id, version) in rows {
        sum.add(id, version);
    }
    sum.to_string()
}
