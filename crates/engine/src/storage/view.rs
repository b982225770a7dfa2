//! What is on the disk.

use carrel_model::{AssetId, CourseId, DownloadId, ErrorCode, TimeMs, UnitId, content::AssetKind};

use crate::catalogue::view::OfflineState;

view! {
    /// The storage part of the sync screen.
    pub struct StorageView {
        /// All of Carrel's files: the sum of the lengths of what lies in its store, to the byte.
        #[ts(type = "number")]
        pub used_bytes: u64,
        /// By type; adds up to `used_bytes`.
        pub by_kind: Vec<KindUsage>,
        /// What deleting everything frees.
        #[ts(type = "number")]
        pub frees_bytes: u64,
        /// What goes in a few seconds, when what was just deleted can't be taken back any more.
        #[ts(type = "number")]
        pub leaving_bytes: u64,
        /// Free on the disk.
        #[ts(type = "number")]
        pub free_bytes: u64,
        /// The disk.
        #[ts(type = "number")]
        pub total_bytes: u64,
        /// What stays free: max(10 %, 500 MB) of the disk.
        #[ts(type = "number")]
        pub floor_bytes: u64,
        /// The most that Carrel may take of this device; none: as much as the disk has.
        #[ts(type = "number | null")]
        pub quota_bytes: Option<u64>,
        /// What a new download may take.
        #[ts(type = "number")]
        pub available_bytes: u64,
        /// What was kept by opening it, without being downloaded.
        pub opened: OpenedUsage,
        /// Courses of the current learner with units that are here or partly here.
        pub courses: Vec<StoredCourse>,
        /// Units of the current learner that are here or partly here.
        pub units: Vec<StoredUnit>,
    }

    /// Bytes of one type.
    pub struct KindUsage {
        /// Type.
        pub kind: AssetKind,
        /// Bytes.
        #[ts(type = "number")]
        pub bytes: u64,
        /// What of it deleting everything of the current learner frees.
        #[ts(type = "number")]
        pub frees_bytes: u64,
    }

    /// Pages, pictures and documents that were kept by opening them (S7).
    pub struct OpenedUsage {
        /// How many.
        pub entries: u32,
        /// Bytes.
        #[ts(type = "number")]
        pub bytes: u64,
        /// What forgetting them frees.
        #[ts(type = "number")]
        pub frees_bytes: u64,
    }

    /// A course on the disk.
    pub struct StoredCourse {
        /// Which.
        pub course_id: CourseId,
        /// Name.
        pub title: String,
        /// Colour.
        pub accent: String,
        /// How many of its units.
        pub units: u32,
        /// What deleting all of them frees; more than their sum where they share files.
        #[ts(type = "number")]
        pub frees_bytes: u64,
        /// All bytes here.
        #[ts(type = "number")]
        pub bytes: u64,
    }

    /// A unit on the disk.
    pub struct StoredUnit {
        /// Which.
        pub unit_id: UnitId,
        /// Name.
        pub title: String,
        /// Its course.
        pub course_id: CourseId,
        /// Name of its course.
        pub course_title: String,
        /// Colour of its course.
        pub accent: String,
        /// Picture.
        pub cover_asset_id: Option<AssetId>,
        /// What deleting it frees (not what others share).
        #[ts(type = "number")]
        pub frees_bytes: u64,
        /// All its bytes here.
        #[ts(type = "number")]
        pub bytes: u64,
        /// State.
        pub state: OfflineState,
        /// When a lesson of it was last opened.
        pub opened_at: Option<TimeMs>,
        /// The last day it opens.
        pub expires_at: Option<TimeMs>,
        /// Writes about it that are still waiting.
        pub waiting: u32,
        /// Whether no rule may delete it.
        pub pinned: bool,
    }

    /// Where the files are.
    pub struct StorePlace {
        /// The folder.
        pub folder: String,
        /// Whether its drive is there. Where it isn't nothing is lost: downloads and playback wait for it.
        pub is_here: bool,
        /// The move that is being performed.
        pub moving: Option<StoreMove>,
        /// Why the last move stopped half-way; it goes on with the next start.
        pub error: Option<ErrorCode>,
    }

    /// How far a move of the store is.
    pub struct StoreMove {
        /// Where to.
        pub folder: String,
        /// Whether it can still be called off.
        pub can_be_cancelled: bool,
        /// Copied.
        #[ts(type = "number")]
        pub bytes_done: u64,
        /// In all.
        #[ts(type = "number")]
        pub bytes_total: u64,
    }

    /// Moves the files to another folder.
    pub struct MoveStore {
        /// Whole path of a folder that is empty or not there yet.
        pub folder: String,
    }

    /// Limits what Carrel takes of this device.
    #[derive(Copy, Eq)]
    pub struct SetQuota {
        /// The most; none: as much as the disk has.
        #[ts(type = "number | null")]
        pub bytes: Option<u64>,
    }

    /// Deletes the files of a unit.
    pub struct DeleteUnit {
        /// Which.
        pub unit_id: UnitId,
    }

    /// Deletes the files of a course.
    pub struct DeleteCourse {
        /// Which.
        pub course_id: CourseId,
    }

    /// Deletes the files of one download.
    #[derive(Copy, Eq)]
    pub struct DeleteDownload {
        /// Which.
        pub download_id: DownloadId,
        /// Without the chance to take it back: the files are gone when the answer comes.
        #[serde(default)]
        pub at_once: bool,
    }

    /// Deletes all files of the learner.
    #[derive(Copy, Eq, Default)]
    #[serde(default)]
    pub struct ClearAll {
        /// Without the chance to take it back: the files are gone when the answer comes.
        pub at_once: bool,
    }

    /// What a deletion did and left.
    pub struct Deleted {
        /// Units whose files go.
        pub unit_ids: Vec<UnitId>,
        /// Bytes that are free when the time for undoing is over.
        #[ts(type = "number")]
        pub frees_bytes: u64,
        /// Writes about them that are kept and still waiting.
        pub waiting: u32,
        /// Until then it can be undone.
        pub undo_until: TimeMs,
    }

    /// Takes a deletion back.
    pub struct UndoDelete {
        /// Which units.
        pub unit_ids: Vec<UnitId>,
    }

    /// Keeps a unit from every rule, or no longer.
    #[derive(Copy, Eq)]
    pub struct PinUnit {
        /// Which.
        pub unit_id: UnitId,
        /// Whether it is to be kept.
        pub pinned: bool,
    }

    /// By which rules units are deleted without being asked for one by one. Pinned units, and units with writes that still
    /// wait, are never touched by any of them.
    #[derive(Copy, Eq)]
    #[serde(default)]
    pub struct CleanUpRules {
        /// Delete what was not opened for `age_days`.
        pub by_age: bool,
        /// Days, 1–3650.
        pub age_days: u16,
        /// Delete what has passed its last day.
        pub expired: bool,
        /// Delete what was finished.
        pub finished: bool,
        /// Delete what was not opened for longest when a download needs the space.
        pub when_full: bool,
    }

    /// Why a rule picks a unit.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum CleanUpReason {
        /// Past its last day.
        Expired,
        /// All of its lessons are finished.
        Finished,
        /// Not opened for long.
        Age,
        /// The space is needed, and it was not opened for longest.
        Space,
    }

    /// A unit that the rules delete.
    pub struct CleanUpItem {
        /// Which.
        pub unit_id: UnitId,
        /// Name.
        pub title: String,
        /// Name of its course.
        pub course_title: String,
        /// Why.
        pub reason: CleanUpReason,
        /// What it adds to what becomes free.
        #[ts(type = "number")]
        pub frees_bytes: u64,
        /// When it was last opened, or else when it was ready.
        pub used_at: TimeMs,
    }

    /// Why a unit stays although a rule would pick it.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum KeptBecause {
        /// The learner pinned it.
        Pinned,
        /// Writes about it still wait to be sent.
        Unsent,
    }

    /// A unit that stays although a rule would pick it.
    pub struct KeptUnit {
        /// Which.
        pub unit_id: UnitId,
        /// Name.
        pub title: String,
        /// Why a rule would pick it.
        pub reason: CleanUpReason,
        /// Why it stays.
        pub because: KeptBecause,
    }

    /// What rules would delete now.
    pub struct CleanUpPreview {
        /// What goes.
        pub items: Vec<CleanUpItem>,
        /// What stays although a rule would pick it.
        pub kept: Vec<KeptUnit>,
        /// What becomes free.
        #[ts(type = "number")]
        pub frees_bytes: u64,
    }

    /// Who deleted.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum DeletedBy {
        /// The learner.
        Learner,
        /// The rules they chose.
        Rules,
        /// The service took it back.
        Service,
    }

    /// Why it was deleted.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum DeletedWhy {
        /// The learner asked for it.
        Asked,
        /// It had passed its last day.
        Expired,
        /// It was finished.
        Finished,
        /// It was not opened for long.
        Age,
        /// A download needed the space.
        Space,
        /// The enrolment ended.
        NotEnrolled,
        /// It was taken out of its course.
        Gone,
    }

    /// What was deleted, newest first.
    pub struct CleanUpLog {
        /// The last 200.
        pub entries: Vec<CleanUpEntry>,
    }

    /// A unit that was deleted.
    pub struct CleanUpEntry {
        /// When.
        pub at: TimeMs,
        /// Which.
        pub unit_id: UnitId,
        /// Name.
        pub title: String,
        /// Who.
        pub by: DeletedBy,
        /// Why.
        pub why: DeletedWhy,
        /// What it freed.
        #[ts(type = "number")]
        pub bytes: u64,
        /// Until then it can be taken back.
        pub undo_until: Option<TimeMs>,
        /// It was taken back.
        pub undone: bool,
    }
}

impl Default for CleanUpRules {
    /// Expired content goes, since nothing can open it; all else is the learner's to choose.
    fn default() -> Self {
        Self { by_age: false, age_days: 30, expired: true, finished: false, when_full: false }
    }
}

impl From<CleanUpReason> for DeletedWhy {
    fn from(reason: CleanUpReason) -> Self {
        match reason {
            CleanUpReason::Expired => Self::Expired,
            CleanUpReason::Finished => Self::Finished,
            CleanUpReason::Age => Self::Age,
            CleanUpReason::Space => Self::Space,
        }
    }
}
