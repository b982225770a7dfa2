use carrel_model::ProfileId;

use super::Settings;
use crate::EngineError;

/// The room's handle.
#[derive(Debug, Clone)]
pub struct SettingsStore {}

impl SettingsStore {
    /// A learner's choices.
    pub async fn get(&self, _profile: ProfileId) -> Result<Settings, EngineError> {
        todo!()
    }

    /// Keeps them; values out of range are refused.
    pub async fn set(&self, _profile: ProfileId, _settings: Settings) -> Result<Settings, EngineError> {
        todo!()
    }
}
