//! What the download manager shows and takes.

use carrel_model::{
    AssetId, CourseId, DownloadId, ErrorCode, LessonId, TimeMs, UnitId,
    content::Quality,
    download::{DownloadState, WaitReason},
};

view! {
    /// The downloads screen, in queue order (priority desc, position asc), finished ones last.
    pub struct DownloadsView {
        /// All but deleted ones.
        pub downloads: Vec<DownloadView>,
    }

    /// One download.
    pub struct DownloadView {
        /// Identity.
        pub id: DownloadId,
        /// The unit.
        pub unit_id: UnitId,
        /// The lesson, where only one is taken along.
        pub lesson_id: Option<LessonId>,
        /// Name of the unit or lesson.
        pub title: String,
        /// The picture.
        pub cover_asset_id: Option<AssetId>,
        /// Colour of the course.
        pub accent: String,
        /// The rendition asked for.
        pub quality: Quality,
        /// State.
        pub state: DownloadState,
        /// Why it waits, when pending.
        pub wait_reason: Option<WaitReason>,
        /// Why it failed.
        pub error: Option<ErrorCode>,
        /// Verified bytes.
        #[ts(type = "number")]
        pub bytes_done: u64,
        /// All bytes.
        #[ts(type = "number")]
        pub bytes_total: u64,
        /// Now; 0 when it doesn't run.
        #[ts(type = "number")]
        pub bytes_per_second: u64,
        /// Estimated.
        #[ts(type = "number | null")]
        pub seconds_left: Option<u64>,
        /// 1–10, 10 first.
        pub priority: u8,
        /// Its place among those of its priority: a smaller one comes first.
        #[ts(type = "number")]
        pub position: i64,
        /// When it was asked for.
        pub created_at: TimeMs,
        /// When it was ready.
        pub completed_at: Option<TimeMs>,
        /// The last day it opens.
        pub expires_at: Option<TimeMs>,
        /// What it may do that the settings don't say.
        pub own: OwnConditions,
    }

    /// What one download may do that the learner's settings don't say, until it is complete.
    #[derive(Copy, Eq, Default)]
    pub struct OwnConditions {
        /// Only over Wi-Fi, or over any network; none: as the settings say.
        pub wifi_only: Option<bool>,
        /// Outside the chosen hours, too.
        pub at_any_hour: bool,
        /// On battery, too.
        pub on_battery: bool,
    }

    /// Gives a download conditions of its own.
    pub struct SetConditions {
        /// Which.
        pub download_id: DownloadId,
        /// In the place of those it had.
        pub own: OwnConditions,
    }

    /// Asks for a unit, or one lesson of it, to be taken along.
    #[derive(Copy, Eq)]
    pub struct StartDownload {
        /// The unit.
        pub unit_id: UnitId,
        /// Only this lesson.
        #[serde(default)]
        pub lesson_id: Option<LessonId>,
        /// The rendition; none: the default of the settings.
        #[serde(default)]
        pub quality: Option<Quality>,
    }

    /// Asks for a whole course to be taken along.
    #[derive(Copy, Eq)]
    pub struct StartCourse {
        /// The course.
        pub course_id: CourseId,
        /// The rendition; none: the default of the settings.
        #[serde(default)]
        pub quality: Option<Quality>,
    }

    /// What became of a course that was asked for.
    #[derive(Eq)]
    pub struct CourseStarted {
        /// Units that are queued, or were here already.
        pub queued: u32,
        /// The others, each with its reason.
        pub refused: Vec<RefusedUnit>,
    }

    /// A unit that isn't taken along.
    #[derive(Copy, Eq)]
    pub struct RefusedUnit {
        /// The unit.
        pub unit_id: UnitId,
        /// Why.
        pub error: ErrorCode,
    }

    /// Asks about one download.
    pub struct DownloadRequest {
        /// Which.
        pub download_id: DownloadId,
    }

    /// Gives a waiting download another priority.
    pub struct SetPriority {
        /// Which.
        pub download_id: DownloadId,
        /// 1–10, 10 first.
        pub priority: u8,
    }

    /// Moves a waiting download within the queue.
    pub struct MoveDownload {
        /// Which.
        pub download_id: DownloadId,
        /// Before this one; none: to the end.
        pub before: Option<DownloadId>,
    }
}
