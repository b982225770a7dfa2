//! Writes waiting to be sent. Never dropped silently.

pub mod view;

use carrel_model::ProfileId;

use crate::EngineError;
use view::{OutboxExport, OutboxRequest, OutboxView};

/// The room's handle.
#[derive(Debug, Clone)]
pub struct Outbox {}

impl Outbox {
    /// What waits, oldest first.
    pub async fn list(&self, _profile: ProfileId) -> Result<OutboxView, EngineError> {
        todo!()
    }

    /// Sends a refused one again.
    pub async fn retry(&self, _profile: ProfileId, _request: OutboxRequest) -> Result<OutboxView, EngineError> {
        todo!()
    }

    /// Gives a refused one up, by the learner's explicit choice.
    pub async fn discard(&self, _profile: ProfileId, _request: OutboxRequest) -> Result<OutboxView, EngineError> {
        todo!()
    }

    /// Everything that waits, as a file.
    pub async fn export(&self, _profile: ProfileId) -> Result<OutboxExport, EngineError> {
        todo!()
    }
}
