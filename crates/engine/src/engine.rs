//! The door: puts the rooms together.

use std::{path::PathBuf, sync::Arc};

use carrel_model::ErrorCode;
use carrel_transfer::{Fetcher, FetcherConfig, HttpClient, HttpOptions};
use tokio_util::sync::DropGuard;

use crate::{
    EngineError, EngineEvent, OpenError, Ports,
    access::{Access, Accounts},
    background::Background,
    blobs::{Blobs, SystemDisk},
    catalogue::{Catalogue, Fetching, pulled},
    downloads::{Downloads, DownloadsParts, rooms::Rooms},
    events::EventBus,
    learning::Learning,
    library::Library,
    network::{Network, device::Device},
    outbox::{self, Outbox},
    playback::{Playback, PlaybackParts},
    room_links::RoomLinks,
    service_api::{Exchange, ServiceApi},
    settings::{Line, SettingsStore},
    storage::{Storage, StorageParts},
    sync::{Sync, SyncParts},
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
    device: Device,
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
        let data_dir = config.data_dir.clone();
        let furnished = Self::furnish(config, ports, library.clone(), notices).await;
        if furnished.is_err() {
            // So that trying again doesn't meet this attempt's own lock.
            library.close().await;
        }
        furnished.map_err(|error| match error {
            EngineError::Io { path, source } if source.kind() != std::io::ErrorKind::StorageFull => {
                OpenError::StorageUnavailable { path, source }
            }
            error if error.code() == ErrorCode::StorageFull => OpenError::StorageFull(data_dir),
            error if error.code() == ErrorCode::StoreInUse => OpenError::StoreInUse(data_dir),
            error if error.code() == ErrorCode::StorageUnavailable => {
                OpenError::StorageUnavailable { path: data_dir, source: std::io::Error::other(error) }
            }
            EngineError::Database(error) => OpenError::Database(error),
            other => OpenError::Database(sqlx::Error::Protocol(other.to_string())),
        })
    }

    /// Builds the rooms, each with what it needs of those before it.
    async fn furnish(
        config: EngineConfig,
        ports: Ports,
        library: Library,
        notices: Vec<OpenNotice>,
    ) -> Result<Self, EngineError> {
        let (events, background) = (EventBus::default(), Background::default());
        let stops_with_the_last_clone = Arc::new(background.guard());
        let clock = Arc::clone(&ports.clock);
        outbox::recover(&library).await?;
        let mut tx = library.write().await?;
        pulled::drop_unsupported(&mut tx).await?;
        tx.commit().await?;

        let network = Network::new(ports.network.as_ref(), Arc::clone(&clock));
        let exchange = Exchange::new(ports.http.clone(), network.clone());
        let device =
            Device::new(ports.network.as_ref(), ports.power.as_ref(), network.clone(), events.clone(), &background);
        let accounts =
            Accounts::open(library.clone(), events.clone(), exchange.clone(), ports.secrets, Arc::clone(&clock))
                .await?;
        // Written down at once: a run that ends by a kill has still counted the time that passed before it.
        accounts.keep_trusted_time().await?;
        // From here on every room's time is trusted time.
        let clock = accounts.trusted_clock();
        let api = ServiceApi::new(accounts.clone(), exchange.clone());
        let outbox = Outbox::new(library.clone(), Arc::clone(&clock));
        let learning = Learning::new(library.clone(), outbox.clone(), Arc::clone(&clock));

        let rooms: Arc<dyn Rooms> = Arc::new(RoomLinks {
            library: library.clone(),
            network: network.clone(),
            device: device.clone(),
            accounts: accounts.clone(),
            api: api.clone(),
            outbox: outbox.clone(),
        });
        let blobs = Blobs::open(library.clone(), &config.data_dir, Arc::new(SystemDisk), Arc::clone(&clock)).await?;
        let http =
            HttpClient::new(&HttpOptions::default()).map_err(|error| EngineError::Transfer(error.to_string()))?;
        let mut fetching = FetcherConfig::default();
        // What runs stops where the planner would begin nothing more.
        fetching.floor_bytes = blobs.space().await?.floor_bytes;
        let fetcher = Fetcher::new(http, fetching);
        let parts = DownloadsParts {
            library: library.clone(),
            blobs: blobs.clone(),
            rooms: Arc::clone(&rooms),
            events: events.clone(),
            clock: Arc::clone(&clock),
            fetcher: fetcher.clone(),
        };
        let downloads = Downloads::open(parts, &background).await?;
        let line = Line { fetcher, http: ports.http.clone() };
        let settings =
            SettingsStore::open(library.clone(), events.clone(), downloads.clone(), network.clone(), line).await?;
        let playback = Playback::new(PlaybackParts {
            library: library.clone(),
            blobs: blobs.clone(),
            rooms: Arc::clone(&rooms),
            downloads: downloads.clone(),
            clock: Arc::clone(&clock),
            http: ports.http,
        });
        let parts = StorageParts {
            library: library.clone(),
            blobs,
            rooms,
            downloads: downloads.clone(),
            events: events.clone(),
            clock: Arc::clone(&clock),
            background: background.clone(),
        };
        let storage = Storage::open(parts).await?;

        let fetching = Fetching::new(library.clone(), events.clone(), accounts.clone(), api.clone());
        let catalogue = Catalogue::new(
            library.clone(),
            events.clone(),
            accounts.clone(),
            downloads.clone(),
            settings.clone(),
            fetching.clone(),
        );
        let parts = SyncParts {
            library: library.clone(),
            events: events.clone(),
            accounts: accounts.clone(),
            network: network.clone(),
            outbox: outbox.clone(),
            fetching,
            api,
            clock,
        };
        let sync = Sync::new(parts, background.clone());
        let access =
            Access::new(accounts, network.clone(), outbox.clone(), sync.clone(), downloads.clone(), config.device_name);
        access.watch_current_service().await?;
        network.start(exchange, &background);
        sync.start_all().await?;
        Ok(Self {
            library,
            events,
            access,
            catalogue,
            downloads,
            playback,
            learning,
            outbox,
            sync,
            storage,
            settings,
            device,
            notices: notices.into(),
            background,
            _stops_with_the_last_clone: stops_with_the_last_clone,
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
        if let Err(error) = self.access.keep_trusted_time().await {
            tracing::warn!(%error, "trusted time was not kept");
        }
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

    /// Link and power.
    pub const fn device(&self) -> &Device {
        &self.device
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
