//! What is on the disk, and making room.
//!
//! Every number is what the disk says: usage is the sum of the files of the store, and what a deletion is said to free is
//! the sum of the files nothing else needs – another unit, another learner, the cache. Deleting takes ten seconds to become
//! final; until then the files stay and it can be undone. Records, progress and waiting writes are never touched (S4).
//!
//! Files go because the learner says so (`deletion`), by rules they chose (`clean_up`, whose picks are made by `rules`), or
//! because the service took the content back (`lost`); `cleaner` looks for the latter two in the background.

mod clean_up;
mod cleaner;
mod deletion;
mod holdings;
mod lost;
mod place;
mod records;
mod rules;
mod usage;
pub mod view;

use std::sync::Arc;

use carrel_model::ProfileId;

use crate::{
    EngineError, EngineEvent,
    background::Background,
    blobs::Blobs,
    downloads::{
        Downloads,
        rooms::Rooms,
        view::{DownloadView, StartDownload},
    },
    events::EventBus,
    library::Library,
    ports::Clock,
};
use deletion::{Due, What};
use view::{
    CleanUpLog, CleanUpPreview, CleanUpRules, ClearAll, DeleteCourse, DeleteDownload, DeleteUnit, Deleted, DeletedBy,
    MoveStore, PinUnit, SetQuota, StorageView, StorePlace, UndoDelete,
};

/// The room's handle.
#[derive(Debug, Clone)]
pub struct Storage {
    parts: Arc<StorageParts>,
    mover: place::Mover,
}

/// What the room is made of.
#[derive(Debug)]
pub(crate) struct StorageParts {
    pub(crate) library: Library,
    pub(crate) blobs: Blobs,
    pub(crate) rooms: Arc<dyn Rooms>,
    pub(crate) downloads: Downloads,
    pub(crate) events: EventBus,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) background: Background,
}

impl Storage {
    /// Releases what was deleted before the last end of the app: the time for undoing it has passed.
    pub(crate) async fn open(parts: StorageParts) -> Result<Self, EngineError> {
        let storage = Self { parts: Arc::new(parts), mover: place::Mover::default() };
        deletion::release(&storage.parts, Due::All).await?;
        if storage.parts.blobs.is_to_move().await? {
            storage.mover.start(&storage.parts);
        }
        cleaner::start(&storage);
        Ok(storage)
    }

    /// Usage, to the byte.
    pub async fn usage(&self, profile: ProfileId) -> Result<StorageView, EngineError> {
        usage::usage(&self.parts, profile).await
    }

    /// As [`Downloads::start`]; where there is no room for it, and the learner's rules allow it, room is made first.
    pub async fn take_along(&self, profile: ProfileId, request: StartDownload) -> Result<DownloadView, EngineError> {
        match self.parts.downloads.start(profile, request).await {
            Err(EngineError::StorageFull { needed, available }) => {
                let made = clean_up::make_room(&self.parts, profile, needed.saturating_sub(available)).await?;
                if !made {
                    return Err(EngineError::StorageFull { needed, available });
                }
                self.parts.downloads.start(profile, request).await
            }
            started => started,
        }
    }

    /// Deletes a unit's files; records, progress and waiting writes stay. Can be undone for ten seconds.
    pub async fn delete_unit(&self, profile: ProfileId, request: DeleteUnit) -> Result<Deleted, EngineError> {
        self.delete(profile, What::Unit(request.unit_id), true).await
    }

    /// Deletes the files of a course's units in the same way.
    pub async fn delete_course(&self, profile: ProfileId, request: DeleteCourse) -> Result<Deleted, EngineError> {
        self.delete(profile, What::Course(request.course_id), true).await
    }

    /// Deletes the files of one download in the same way, or at once.
    pub async fn delete_download(&self, profile: ProfileId, request: DeleteDownload) -> Result<Deleted, EngineError> {
        self.delete(profile, What::Download(request.download_id), !request.at_once).await
    }

    /// Deletes all of a learner's files in the same way, or at once; covers in the library stay.
    pub async fn clear_all(&self, profile: ProfileId, request: ClearAll) -> Result<Deleted, EngineError> {
        self.delete(profile, What::All, !request.at_once).await
    }

    async fn delete(&self, profile: ProfileId, what: What, undo: bool) -> Result<Deleted, EngineError> {
        let deleted = deletion::delete(&self.parts, profile, &what, DeletedBy::Learner, undo).await?;
        if undo {
            deletion::release_later(&self.parts);
        }
        Ok(deleted)
    }

    /// Forgets what was kept by opening it; covers stay.
    pub async fn clear_opened(&self, profile: ProfileId) -> Result<StorageView, EngineError> {
        clean_up::forget_opened(&self.parts, profile).await?;
        self.parts.events.send(EngineEvent::Storage);
        self.usage(profile).await
    }

    /// Limits what Carrel takes of this device. What is here stays; what is queued beyond the limit waits for space, and
    /// goes on by itself when the limit is raised or something is deleted.
    pub async fn set_quota(&self, profile: ProfileId, request: SetQuota) -> Result<StorageView, EngineError> {
        self.parts.blobs.set_quota(request.bytes).await?;
        self.parts.downloads.wake();
        self.parts.events.send(EngineEvent::Storage);
        self.usage(profile).await
    }

    /// Keeps a unit from every rule, or no longer.
    pub async fn pin(&self, profile: ProfileId, request: PinUnit) -> Result<StorageView, EngineError> {
        self.parts.rooms.unit(profile, request.unit_id).await?.ok_or(EngineError::NotFound("unit"))?;
        let mut tx = self.parts.library.write().await?;
        records::pin(&mut tx, profile, request.unit_id, request.pinned, self.parts.clock.now()).await?;
        tx.commit().await?;
        self.parts.events.send(EngineEvent::Storage);
        self.usage(profile).await
    }

    /// By which rules units are deleted.
    pub async fn clean_up_rules(&self, profile: ProfileId) -> Result<CleanUpRules, EngineError> {
        records::rules(self.parts.library.readers(), profile).await
    }

    /// Keeps them. Nothing is deleted by that alone; the background acts on them with its next look.
    pub async fn set_clean_up_rules(
        &self,
        profile: ProfileId,
        rules: CleanUpRules,
    ) -> Result<CleanUpRules, EngineError> {
        check(&rules)?;
        let mut tx = self.parts.library.write().await?;
        records::set_rules(&mut tx, profile, rules).await?;
        tx.commit().await?;
        // A waiting download may get its room now.
        self.parts.downloads.wake();
        self.parts.events.send(EngineEvent::Storage);
        Ok(rules)
    }

    /// What rules would delete now, whether they are kept or not.
    pub async fn preview_clean_up(
        &self,
        profile: ProfileId,
        rules: CleanUpRules,
    ) -> Result<CleanUpPreview, EngineError> {
        check(&rules)?;
        clean_up::preview(&self.parts, profile, &rules).await
    }

    /// Deletes now what the learner's rules pick; can be undone for ten seconds.
    pub async fn clean_up(&self, profile: ProfileId) -> Result<Deleted, EngineError> {
        let deleted = clean_up::run(&self.parts, profile, rules::Asked::ByLearner).await?;
        let Some(deleted) = deleted else {
            let undo_until = self.parts.clock.now();
            return Ok(Deleted { unit_ids: Vec::new(), frees_bytes: 0, waiting: 0, undo_until });
        };
        deletion::release_later(&self.parts);
        Ok(deleted)
    }

    /// What was deleted, by whom and why, newest first.
    pub async fn clean_up_log(&self, profile: ProfileId) -> Result<CleanUpLog, EngineError> {
        Ok(CleanUpLog { entries: records::entries(self.parts.library.readers(), profile).await? })
    }

    /// Takes a deletion back.
    pub async fn undo_delete(&self, profile: ProfileId, request: UndoDelete) -> Result<StorageView, EngineError> {
        deletion::undo(&self.parts, profile, &request.unit_ids).await?;
        self.usage(profile).await
    }

    /// Where the files are, and how far a move of them is.
    pub async fn place(&self) -> StorePlace {
        self.mover.place(&self.parts).await
    }

    /// Moves all files to another folder, in the background: downloads and playback go on, [`place`](Self::place) tells how
    /// far it is, and `EngineEvent::Storage` when that changed. A move that was interrupted goes on with the next start.
    ///
    /// Refused, and nothing changed: [`EngineError::CanNotMove`], [`EngineError::StorageFull`] with the numbers, or
    /// [`EngineError::Io`] where nothing can be written.
    pub async fn move_store(&self, request: MoveStore) -> Result<StorePlace, EngineError> {
        self.parts.blobs.begin_move(std::path::Path::new(&request.folder)).await?;
        self.mover.start(&self.parts);
        Ok(self.place().await)
    }

    /// Calls a move off; refused once the files are in their new place.
    pub async fn cancel_move(&self) -> Result<StorePlace, EngineError> {
        self.parts.blobs.cancel_move()?;
        Ok(self.place().await)
    }
}

fn check(rules: &CleanUpRules) -> Result<(), EngineError> {
    match rules.age_days {
        1..=3650 => Ok(()),
        _ => Err(EngineError::Invalid("age_days is 1 to 3650")),
    }
}

#[cfg(test)]
mod clean_up_tests;
#[cfg(test)]
mod quota_tests;
#[cfg(test)]
#[path = "storage_tests.rs"]
mod tests;
