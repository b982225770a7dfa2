//! What is on the disk, and making room.
//!
//! Every number is what the disk says: usage is the sum of the files of the store, and what a deletion is said to free is
//! the sum of the files nothing else needs – another unit, another learner, the cache. Deleting takes ten seconds to become
//! final; until then the files stay and it can be undone. Records, progress and waiting writes are never touched (S4).

mod deletion;
mod place;
mod usage;
pub mod view;

use std::sync::Arc;

use carrel_model::ProfileId;

use crate::{
    EngineError,
    background::Background,
    blobs::Blobs,
    downloads::{Downloads, rooms::Rooms},
    events::EventBus,
    library::Library,
    ports::Clock,
};
use view::{DeleteUnit, Deleted, MoveStore, StorageView, StorePlace, UndoDelete};

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
        deletion::release(&storage.parts, None).await?;
        if storage.parts.blobs.is_to_move().await? {
            storage.mover.start(&storage.parts);
        }
        Ok(storage)
    }

    /// Usage, to the byte.
    pub async fn usage(&self, profile: ProfileId) -> Result<StorageView, EngineError> {
        usage::usage(&self.parts, profile).await
    }

    /// Deletes a unit's files; records, progress and waiting writes stay. Can be undone for ten seconds.
    pub async fn delete_unit(&self, profile: ProfileId, request: DeleteUnit) -> Result<Deleted, EngineError> {
        let deleted = deletion::delete(&self.parts, profile, Some(request.unit_id)).await?;
        self.release_later();
        Ok(deleted)
    }

    /// Deletes all of a learner's files in the same way; covers in the library stay.
    pub async fn clear_all(&self, profile: ProfileId) -> Result<Deleted, EngineError> {
        let deleted = deletion::delete(&self.parts, profile, None).await?;
        self.release_later();
        Ok(deleted)
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

    fn release_later(&self) {
        let parts = Arc::clone(&self.parts);
        self.parts.background.spawn(async move {
            tokio::time::sleep(deletion::UNDO).await;
            let now = parts.clock.now();
            if let Err(error) = deletion::release(&parts, Some(now)).await {
                // The next start does it.
                tracing::error!(%error, "deleted files could not be released");
            }
        });
    }
}

#[cfg(test)]
#[path = "storage_tests.rs"]
mod tests;
