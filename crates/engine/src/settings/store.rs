//! Reading and keeping them.

use carrel_model::ProfileId;
use sqlx::{Row as _, SqlitePool};

use super::{Line, SettingRefusal, Settings, line::LineChoices};
use crate::{EngineError, EngineEvent, downloads::Downloads, events::EventBus, library::Library, network::Network};

/// The name of the device's choices in the table `metadata`.
const LINE: &str = "line";

/// The room's handle.
#[derive(Debug, Clone)]
pub struct SettingsStore {
    library: Library,
    events: EventBus,
    downloads: Downloads,
    network: Network,
    line: Line,
}

/// A learner's choices, for rooms that only read them.
pub(crate) async fn kept(readers: &SqlitePool, profile: ProfileId) -> Result<Settings, EngineError> {
    let row = sqlx::query(
        "SELECT (SELECT choices FROM settings WHERE profile_id = ?1) AS choices,
                (SELECT value FROM metadata WHERE name = ?2) AS line",
    )
    .bind(profile.to_string())
    .bind(LINE)
    .fetch_one(readers)
    .await?;
    let choices: Option<String> = row.try_get("choices")?;
    // Choices of another version that can't be read are no reason to show nothing.
    let mut settings: Settings = choices.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
    read_line(row.try_get("line")?).lay_over(&mut settings);
    Ok(settings)
}

fn read_line(json: Option<String>) -> LineChoices {
    json.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default()
}

impl SettingsStore {
    /// Opens the room; from here on the network is used as this device keeps it.
    pub(crate) async fn open(
        library: Library,
        events: EventBus,
        downloads: Downloads,
        network: Network,
        line: Line,
    ) -> Result<Self, EngineError> {
        let kept: Option<String> = sqlx::query_scalar("SELECT value FROM metadata WHERE name = ?1")
            .bind(LINE)
            .fetch_optional(library.readers())
            .await?;
        let kept = read_line(kept);
        // The clients are made as the default says.
        if kept != LineChoices::default() {
            line.follow(&kept);
        }
        Ok(Self { library, events, downloads, network, line })
    }

    /// A learner's choices.
    pub async fn get(&self, profile: ProfileId) -> Result<Settings, EngineError> {
        kept(self.library.readers(), profile).await
    }

    /// Keeps them; values out of range are refused. They hold for everything from the next moment on.
    pub async fn set(&self, profile: ProfileId, settings: Settings) -> Result<Settings, EngineError> {
        let line = check(&settings)?;
        let before = self.get(profile).await?;
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
        sqlx::query(
            "INSERT INTO metadata (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(LINE)
        .bind(serde_json::to_string(&line)?)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        if before.proxy == settings.proxy {
            self.line.limit(&line);
        } else {
            self.line.follow(&line);
            // What the badge says was met on the old way.
            self.network.ask_now();
        }
        // Sizes in lists depend on the quality.
        self.events.send(EngineEvent::Catalogue { profile_id: profile });
        // How many run at once, when, over which network, and in which quality.
        self.downloads.wake();
        Ok(settings)
    }
}

fn check(settings: &Settings) -> Result<LineChoices, SettingRefusal> {
    if !(1..=6).contains(&settings.concurrency) {
        return Err(SettingRefusal::Concurrency);
    }
    if !(80..=200).contains(&settings.text_percent) {
        return Err(SettingRefusal::Text);
    }
    if settings.language.as_ref().is_some_and(|language| !matches!(language.as_str(), "en" | "ar")) {
        return Err(SettingRefusal::Language);
    }
    if let Some(hours) = settings.hours {
        hours.check()?;
    }
    let line = LineChoices::of(settings);
    line.check()?;
    Ok(line)
}
