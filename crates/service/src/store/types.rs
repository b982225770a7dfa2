//! What goes into the store and comes out of it, where the wire has no type for it.

use std::collections::BTreeMap;

use carrel_model::{
    AssetId, BlobHash, CourseId, DeviceId, LearnerId, LessonId, TimeMs, UnitId,
    content::{AssetKind, Course, LessonKind, Quality, Unit},
    pieces::Manifest,
};

/// SHA-256 of a token; the token itself is never kept.
pub type TokenHash = [u8; 32];

/// Who asks: a learner on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The learner.
    pub learner: LearnerId,
    /// The device.
    pub device: DeviceId,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Identity.
    pub learner: LearnerId,
    /// What is typed at sign-in.
    pub name: String,
    /// What the learner is called.
    pub display_name: String,
    /// Argon2id, as a PHC string.
    pub password_hash: String,
    /// Own limit of downloaded bytes; none: the service's.
    pub quota_bytes: Option<u64>,
    /// When it was made.
    pub created_at: TimeMs,
}

/// The tokens of a session, hashed.
#[derive(Debug, Clone, Copy)]
pub struct NewTokens {
    /// Hash of the access token.
    pub access: TokenHash,
    /// Until when it holds.
    pub access_expires_at: TimeMs,
    /// Hash of the refresh token.
    pub refresh: TokenHash,
    /// Until when it holds.
    pub refresh_expires_at: TimeMs,
}

/// Which units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitScope {
    /// Of the courses the learner is enrolled in.
    Mine,
    /// Of open courses.
    Global,
}

/// From where on changes are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// Everything.
    Beginning,
    /// After the page that ended with this cursor.
    Cursor(String),
    /// From this moment on, with some overlap.
    Time(TimeMs),
}

/// What is to be downloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownloadWanted {
    /// A unit.
    Unit(UnitId),
    /// A lesson.
    Lesson(LessonId),
    /// A course.
    Course(CourseId),
}

/// A blob that may be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedRendition {
    /// The asset.
    pub asset_id: AssetId,
    /// The rendition found for the wish.
    pub quality: Quality,
    /// Its bytes.
    pub hash: BlobHash,
    /// Its length.
    pub size: u64,
}

/// One blob of a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedBlob {
    /// The asset it is a rendition of.
    pub asset_id: AssetId,
    /// The lesson it belongs to.
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
}

/// A download that may be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedDownload {
    /// Each blob once.
    pub blobs: Vec<GrantedBlob>,
    /// The end of the enrolment.
    pub expires_at: Option<TimeMs>,
    /// What the learner's devices keep by their own account.
    pub quota_used: u64,
    /// What they may keep.
    pub quota_limit: Option<u64>,
}

/// A blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Length in bytes.
    pub size: u64,
    /// Media type.
    pub mime: String,
}

/// Ids by key, removed things included, so that what comes back is the same thing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownIds {
    /// The course.
    pub course: Option<CourseId>,
    /// Its place among courses.
    pub position: u32,
    /// Units by key.
    pub units: BTreeMap<String, UnitId>,
    /// Lessons by `unit/lesson`.
    pub lessons: BTreeMap<String, LessonId>,
    /// Assets by path within the course.
    pub assets: BTreeMap<String, AssetId>,
}

/// A course as read from a folder, with every id given; times are filled in by the store.
#[derive(Debug, Clone)]
pub struct BuiltCourse {
    /// Its key.
    pub key: String,
    /// The course.
    pub course: Course,
    /// Its units.
    pub units: Vec<BuiltUnit>,
    /// Asset keys by id, for every asset of the course.
    pub asset_keys: BTreeMap<AssetId, String>,
    /// Every blob any asset refers to.
    pub blobs: BTreeMap<BlobHash, BuiltBlob>,
}

/// A unit as read from a folder.
#[derive(Debug, Clone)]
pub struct BuiltUnit {
    /// Its key.
    pub key: String,
    /// The unit.
    pub unit: Unit,
    /// What ops on its lessons are checked against.
    pub lessons: Vec<BuiltLesson>,
}

/// What is kept of a lesson beside the unit it is part of.
#[derive(Debug, Clone)]
pub struct BuiltLesson {
    /// `unit/lesson`.
    pub key: String,
    /// Identity.
    pub id: LessonId,
    /// What it is.
    pub kind: LessonKind,
    /// The largest position, where it is known.
    pub max_position: Option<u64>,
}

/// A blob as read from a folder.
#[derive(Debug, Clone)]
pub struct BuiltBlob {
    /// Hash, size and pieces.
    pub manifest: Manifest,
    /// Media type.
    pub mime: String,
}

/// What publishing did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// Whether the course's own row changed.
    pub course_changed: bool,
    /// Units that are new or changed, by key.
    pub units_changed: Vec<String>,
    /// Units that are as they were.
    pub units_unchanged: usize,
    /// Units that are gone, by key.
    pub units_removed: Vec<String>,
    /// Lessons that are gone from units that are still there.
    pub lessons_removed: usize,
    /// Assets that are gone from units that are still there.
    pub assets_removed: usize,
}
