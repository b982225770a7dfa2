//! The read path: SQLite first, refreshed behind (requirement C1).

pub mod view;

use carrel_model::{LessonId, ProfileId, UnitId};

use crate::EngineError;
use view::{LessonView, LibraryView, UnitView};

/// The room's handle.
#[derive(Debug, Clone)]
pub struct Catalogue {}

impl Catalogue {
    /// Courses and units of a learner. Where nothing was ever fetched, one fetch is made first; offline that is an error.
    pub async fn library(&self, _profile: ProfileId) -> Result<LibraryView, EngineError> {
        todo!()
    }

    /// A unit with its lessons, sizes and download.
    pub async fn unit(&self, _profile: ProfileId, _unit: UnitId) -> Result<UnitView, EngineError> {
        todo!()
    }

    /// A lesson.
    pub async fn lesson(&self, _profile: ProfileId, _lesson: LessonId) -> Result<LessonView, EngineError> {
        todo!()
    }

    /// Fetches what changed at the service now.
    pub async fn refresh(&self, _profile: ProfileId) -> Result<(), EngineError> {
        todo!()
    }
}
