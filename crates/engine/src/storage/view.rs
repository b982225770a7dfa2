//! What is on the disk.

use carrel_model::{AssetId, ErrorCode, TimeMs, UnitId, content::AssetKind};

use crate::catalogue::view::OfflineState;

view! {
    /// The storage part of the sync screen.
    pub struct StorageView {
        /// All of Carrel's files.
        #[ts(type = "number")]
        pub used_bytes: u64,
        /// By type.
        pub by_kind: Vec<KindUsage>,
        /// Free on the disk.
        #[ts(type = "number")]
        pub free_bytes: u64,
        /// The disk.
        #[ts(type = "number")]
        pub total_bytes: u64,
        /// What stays free: max(10 %, 500 MB) of the disk.
        #[ts(type = "number")]
        pub floor_bytes: u64,
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
    }

    /// A unit on the disk.
    pub struct StoredUnit {
        /// Which.
        pub unit_id: UnitId,
        /// Name.
        pub title: String,
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

    /// Deletes the files of a unit.
    pub struct DeleteUnit {
        /// Which.
        pub unit_id: UnitId,
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
}
