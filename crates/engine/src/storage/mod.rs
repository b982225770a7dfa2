//! What is on the disk, and making room.

pub mod view;

use carrel_model::ProfileId;

use crate::EngineError;
use view::{DeleteUnit, Deleted, StorageView, UndoDelete};

/// The room's handle.
#[derive(Debug, Clone)]
pub struct Storage {}

impl Storage {
    /// Usage, to the byte.
    pub async fn usage(&self, _profile: ProfileId) -> Result<StorageView, EngineError> {
        todo!()
    }

    /// Deletes a unit's files; records, progress and waiting writes stay. Can be undone for ten seconds.
    pub async fn delete_unit(&self, _profile: ProfileId, _request: DeleteUnit) -> Result<Deleted, EngineError> {
        todo!()
    }

    /// Deletes all of a learner's files in the same way.
    pub async fn clear_all(&self, _profile: ProfileId) -> Result<Deleted, EngineError> {
        todo!()
    }

    /// Takes a deletion back.
    pub async fn undo_delete(&self, _profile: ProfileId, _request: UndoDelete) -> Result<StorageView, EngineError> {
        todo!()
    }
}
