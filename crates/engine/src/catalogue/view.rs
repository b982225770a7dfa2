//! What the library, unit and lesson screens show.

use carrel_model::{
    AssetId, CourseId, DownloadId, ErrorCode, LessonId, TimeMs, UnitId,
    content::{Lesson, LessonKind, Quality},
    download::WaitReason,
};

use crate::{downloads::view::DownloadView, learning::view::ProgressView};

view! {
    /// The one vocabulary of the interface for "is it here?" (interface.md, Words).
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum Availability {
        /// Not downloaded.
        NotDownloaded,
        /// In the queue.
        Queued,
        /// In the queue, and something must change first.
        Waiting,
        /// Bytes are coming.
        Downloading,
        /// Being checked.
        Checking,
        /// Verified on disk.
        ReadyOffline,
        /// Verified on disk, and a newer version exists.
        UpdateAvailable,
        /// Stopped by the learner.
        Paused,
        /// Past its last day.
        Expired,
        /// Given up, with a reason.
        Failed,
    }

    /// The state of a unit or lesson on this device.
    pub struct OfflineState {
        /// The word.
        pub availability: Availability,
        /// For `waiting`.
        pub wait_reason: Option<WaitReason>,
        /// For `failed`.
        pub error: Option<ErrorCode>,
        /// 0–100 while downloading.
        pub percent: u8,
        /// The download behind it.
        pub download_id: Option<DownloadId>,
    }

    /// The library screen.
    pub struct LibraryView {
        /// In order, with their units.
        pub courses: Vec<CourseCard>,
        /// Where to go on.
        pub continue_with: Option<ContinueCard>,
        /// When the catalogue was last fetched; none: never, so an empty list means "not loaded yet".
        pub fetched_at: Option<TimeMs>,
    }

    /// A course in the library.
    pub struct CourseCard {
        /// What it is.
        pub course: CourseSummary,
        /// In order.
        pub units: Vec<UnitCard>,
    }

    /// What is said of a course everywhere.
    pub struct CourseSummary {
        /// Identity.
        pub id: CourseId,
        /// Name.
        pub title: String,
        /// One paragraph.
        pub summary: String,
        /// "Geography".
        pub subject: String,
        /// "Year 9".
        pub level: String,
        /// BCP 47.
        pub language: String,
        /// `#rrggbb`.
        pub accent: String,
        /// The picture; its address is made with `media_url`.
        pub cover_asset_id: Option<AssetId>,
    }

    /// A unit in a list.
    pub struct UnitCard {
        /// Identity.
        pub id: UnitId,
        /// Its course.
        pub course_id: CourseId,
        /// Name.
        pub title: String,
        /// One paragraph.
        pub summary: String,
        /// BCP 47.
        pub language: String,
        /// The picture; the course's where the unit has none.
        pub cover_asset_id: Option<AssetId>,
        /// How many lessons.
        pub lesson_count: u32,
        /// Of those, completed.
        pub completed_count: u32,
        /// Of all lessons.
        #[ts(type = "number")]
        pub duration_ms: u64,
        /// On disk where it is here, else what the default quality would take.
        #[ts(type = "number")]
        pub size_bytes: u64,
        /// 0–100, the mean of its lessons.
        pub progress_percent: u8,
        /// On this device.
        pub state: OfflineState,
    }

    /// "Continue" on top of the library.
    pub struct ContinueCard {
        /// The unit.
        pub unit: UnitCard,
        /// Accent of its course.
        pub accent: String,
        /// The lesson.
        pub lesson: LessonCard,
    }

    /// The unit screen.
    pub struct UnitView {
        /// As in lists.
        pub unit: UnitCard,
        /// Its course.
        pub course: CourseSummary,
        /// In order.
        pub lessons: Vec<LessonCard>,
        /// What a download would take, by quality ascending; only qualities that differ in bytes.
        pub qualities: Vec<QualityChoice>,
        /// The quality that would be used without a choice.
        pub default_quality: Quality,
        /// Bytes that can be used on this disk, above the floor that stays free.
        #[ts(type = "number")]
        pub available_bytes: u64,
        /// The download, where there is one that was not cancelled or deleted.
        pub download: Option<DownloadView>,
        /// The last day it opens; none: as long as the enrolment lasts.
        pub expires_at: Option<TimeMs>,
    }

    /// A quality and its price.
    pub struct QualityChoice {
        /// Which.
        pub quality: Quality,
        /// All its bytes.
        #[ts(type = "number")]
        pub total_bytes: u64,
        /// What is not here yet.
        #[ts(type = "number")]
        pub net_bytes: u64,
    }

    /// A lesson in a list.
    pub struct LessonCard {
        /// Identity.
        pub id: LessonId,
        /// What it is.
        pub kind: LessonKind,
        /// Name.
        pub title: String,
        /// One line.
        pub summary: String,
        /// How long it takes.
        #[ts(type = "number | null")]
        pub duration_ms: Option<u64>,
        /// Order, from 1.
        pub number: u32,
        /// Whether everything it needs is verified on disk (a quiz always is, once its unit is known).
        pub offline: bool,
        /// How far the learner is.
        pub progress: ProgressView,
    }

    /// The lesson screen, but for what plays (see `playback`) and the answers (see `learning`).
    pub struct LessonView {
        /// The lesson, whole.
        pub lesson: Lesson,
        /// Its unit.
        pub unit_id: UnitId,
        /// Name of its unit.
        pub unit_title: String,
        /// Its course.
        pub course: CourseSummary,
        /// Order in the unit, from 1.
        pub number: u32,
        /// The unit's picture.
        pub cover_asset_id: Option<AssetId>,
        /// The lesson before.
        pub previous: Option<LessonId>,
        /// The lesson after.
        pub next: Option<LessonId>,
        /// How far the learner is.
        pub progress: ProgressView,
        /// On this device.
        pub offline: bool,
    }

    /// Asks for a unit.
    pub struct UnitRequest {
        /// Which.
        pub unit_id: UnitId,
    }

    /// Asks for a lesson.
    pub struct LessonRequest {
        /// Which.
        pub lesson_id: LessonId,
    }
}
