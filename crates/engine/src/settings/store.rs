//! Reading and keeping them.

use carrel_model::ProfileId;
use sqlx::SqlitePool;

use super::Settings;
use crate::{EngineError, EngineEvent, downloads::Downloads, events::EventBus, library::Library};

/// The room's handle.
#[derive(Debug, Clone)]
pub struct SettingsStore {
    library: Library,
    events: EventBus,
    downloads: Downloads,
}

/// A learner's choices, for rooms that only read them.
pub(crate) async fn kept(readers: &SqlitePool, profile: ProfileId) -> Result<Settings, EngineError> {
    let kept: Option<String> = sqlx::query_scalar("SELECT choices FROM settings WHERE profile_id = ?1")
        .bind(profile.to_string())
        .fetch_optional(readers)
        .await?;
    // Choices of another version that can't be read are no reason to show nothing.
    Ok(kept.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default())
}

impl SettingsStore {
    pub(crate) const fn new(library: Library, events: EventBus, downloads: Downloads) -> Self {
        Self { library, events, downloads }
    }

    /// A learner's choices.
    pub async fn get(&self, profile: ProfileId) -> Result<Settings, EngineError> {
        kept(self.library.readers(), profile).await
    }

    /// Keeps them; values out of range are refused.
    pub async fn set(&self, profile: ProfileId, settings: Settings) -> Result<Settings, EngineError> {
        if !(1..=6).contains(&settings.concurrency) {
            return Err(EngineError::Invalid("concurrency is 1 to 6"));
        }
        if !(80..=200).contains(&settings.text_percent) {
            return Err(EngineError::Invalid("text_percent is 80 to 200"));
        }
        if settings.language.as_ref().is_some_and(|language| !matches!(language.as_str(), "en" | "ar")) {
            return Err(EngineError::Invalid("language is en or ar"));
        }
        let mut tx = self.library.write().await?;
        let done = sqlx::query(
            "INSERT INTO settings (profile_id, choices) SELECT id, ?2 FROM profiles WHERE id = ?1
             ON CONFLICT (profile_id) DO UPDATE SET choices = excluded.choices",
        )
        .bind(profile.to_string())
        .bind(serde_json::to_string(&settings)?)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Err(EngineError::NotFound("profile"));
        }
        tx.commit().await?;
        // Sizes in lists depend on the quality.
        self.events.send(EngineEvent::Catalogue { profile_id: profile });
        // How many run at once, and in which quality.
        self.downloads.wake();
        Ok(settings)
    }
}
