//! Push, then pull: a pure planner decides, a driver performs.

pub mod view;

use carrel_model::ProfileId;

use crate::EngineError;
use view::{SyncNowView, SyncView};

/// The room's handle.
#[derive(Debug, Clone)]
pub struct Sync {}

impl Sync {
    /// Network, waiting writes, last sync.
    pub async fn status(&self, _profile: Option<ProfileId>) -> Result<SyncView, EngineError> {
        todo!()
    }

    /// "Sync now": always answers.
    pub async fn now(&self, _profile: ProfileId) -> Result<SyncNowView, EngineError> {
        todo!()
    }
}
