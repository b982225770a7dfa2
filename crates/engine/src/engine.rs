//! The door: puts the rooms together.

use std::{path::PathBuf, sync::Arc};

use tokio_util::sync::DropGuard;

use crate::{
    EngineEvent, OpenError, Ports, access::Access, background::Background, catalogue::Catalogue, downloads::Downloads,
    events::EventBus, learning::Learning, library::Library, outbox::Outbox, playback::Playback,
    settings::SettingsStore, storage::Storage, sync::Sync,
};

/// Where an engine lives.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Holds `carrel.db`, `blobs/`, `partial/` and the lock. Made if missing.
    pub data_dir: PathBuf,
    /// "Amina's tablet"; told to the service at sign-in.
    pub device_name: String,
}

/// An open engine. Cheap to clone; the last clone that goes away stops its background work.
#[derive(Debug, Clone)]
pub struct Engine {
    library: Library,
    events: EventBus,
    access: Access,
    catalogue: Catalogue,
    downloads: Downloads,
    playback: Playback,
    learning: Learning,
    outbox: Outbox,
    sync: Sync,
    storage: Storage,
    settings: SettingsStore,
    notices: Arc<[OpenNotice]>,
    background: Background,
    _stops_with_the_last_clone: Arc<DropGuard>,
}

/// Something the learner must be told once after opening.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, ts_rs::TS)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OpenNotice {
    /// The database could not be read: it was set aside, and what could be read of unsent writes was carried over.
    DatabaseSetAside {
        /// File name of the old database, within the data folder.
        file_name: String,
        /// Unsent writes carried over.
        salvaged: u32,
    },
    /// There is no keyring: tokens are in a file only this user can read.
    SecretsInFile,
}

impl Engine {
    /// Opens the store, brings it up to date, and starts the background work (queue, sync).
    pub async fn open(config: EngineConfig, ports: Ports) -> Result<Self, OpenError> {
        let (library, mut notices) = Library::open(&config.data_dir, ports.clock.as_ref()).await?;
        if ports.secrets.is_fallback() {
            notices.push(OpenNotice::SecretsInFile);
        }
        let events = EventBus::default();
        let background = Background::default();
        Ok(Self {
            library,
            events,
            access: Access {},
            catalogue: Catalogue {},
            downloads: Downloads {},
            playback: Playback {},
            learning: Learning {},
            outbox: Outbox {},
            sync: Sync {},
            storage: Storage {},
            settings: SettingsStore {},
            notices: notices.into(),
            _stops_with_the_last_clone: Arc::new(background.guard()),
            background,
        })
    }

    /// What the learner must be told once.
    #[must_use]
    pub fn notices(&self) -> Vec<OpenNotice> {
        self.notices.to_vec()
    }

    /// Stops background work and closes the database; verified bytes and writes are already durable.
    pub async fn close(&self) {
        self.background.stop().await;
        self.library.close().await;
    }

    /// What changes from now on.
    pub fn events(&self) -> impl futures_util::Stream<Item = EngineEvent> + Send + Unpin + use<> {
        self.events.subscribe()
    }

    /// Accounts, tokens, leases.
    pub const fn access(&self) -> &Access {
        &self.access
    }

    /// Courses, units, lessons.
    pub const fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The queue.
    pub const fn downloads(&self) -> &Downloads {
        &self.downloads
    }

    /// What plays.
    pub const fn playback(&self) -> &Playback {
        &self.playback
    }

    /// Progress and answers.
    pub const fn learning(&self) -> &Learning {
        &self.learning
    }

    /// Waiting writes.
    pub const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Network and sync.
    pub const fn sync(&self) -> &Sync {
        &self.sync
    }

    /// The disk.
    pub const fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Choices.
    pub const fn settings(&self) -> &SettingsStore {
        &self.settings
    }

    /// The read-only pool, for the diagnostics window alone.
    pub const fn read_only_pool(&self) -> &sqlx::SqlitePool {
        self.library.readers()
    }
}
