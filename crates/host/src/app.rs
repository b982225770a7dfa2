//! The host: an engine (or the reason why there is none), and where its media are.

use carrel_engine::{
    Engine, EngineConfig, OpenError, OpenNotice, Ports, access::view::ProfileView, playback::view::PlaybackView,
    settings::Settings, sync::view::SyncView,
};
use carrel_model::{AssetId, LessonId, ProfileId};
use std::sync::{Arc, RwLock};

use crate::HostError;

/// Makes the address of an asset: over the loopback media server or a custom protocol, whichever the platform plays from.
pub trait MediaAddresses: Send + Sync + std::fmt::Debug {
    /// The address up to the asset's id, for the learner in use.
    fn base(&self, profile: ProfileId) -> String;
}

/// What front ends talk to.
#[derive(Debug, Clone)]
pub struct Host {
    engine: Arc<RwLock<Result<Engine, HostError>>>,
    config: EngineConfig,
    ports: Ports,
    media: Arc<dyn MediaAddresses>,
}

/// Everything a front end needs to start.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, ts_rs::TS)]
pub struct AppView {
    /// Version of the app.
    pub version: String,
    /// Why the store could not be opened; everything else is empty then.
    pub failure: Option<HostError>,
    /// What a learner must be told once.
    pub notices: Vec<OpenNotice>,
    /// Learners on this device, the one who used it last first.
    pub profiles: Vec<ProfileView>,
    /// The learner in use.
    pub current: Option<ProfileView>,
    /// Network and sync.
    pub sync: Option<SyncView>,
    /// Choices of the learner in use.
    pub settings: Settings,
    /// Address of media up to the asset's id; none while nobody is signed in.
    pub media_base: Option<String>,
    /// Service address offered at first sign-in.
    pub suggested_service: Option<String>,
}

/// For the diagnostics window.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, ts_rs::TS)]
pub struct DiagnosticsView {
    /// Version of the app.
    pub version: String,
    /// Version of SQLite at run time.
    pub sqlite_version: String,
    /// Result of `PRAGMA quick_check`: "ok" or what is wrong.
    pub quick_check: String,
    /// Rows by table.
    pub rows: Vec<(String, u32)>,
}

impl Host {
    /// Opens the engine; a store that can't be opened is a state a front end shows, not an end.
    pub async fn open(config: EngineConfig, ports: Ports, media: Arc<dyn MediaAddresses>) -> Self {
        let engine = Engine::open(config.clone(), ports.clone()).await;
        let engine = engine.map_err(|error: OpenError| HostError::from(&error));
        Self { engine: Arc::new(RwLock::new(engine)), config, ports, media }
    }

    /// The open engine.
    pub fn engine(&self) -> Result<Engine, HostError> {
        let guard = self.engine.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        guard.clone()
    }

    pub(crate) async fn state(&self) -> Result<AppView, HostError> {
        todo!()
    }

    pub(crate) async fn reopen(&self) -> Result<AppView, HostError> {
        todo!()
    }

    pub(crate) async fn diagnostics(&self) -> Result<DiagnosticsView, HostError> {
        todo!()
    }

    pub(crate) async fn sync_status(&self) -> Result<SyncView, HostError> {
        todo!()
    }

    /// What a lesson's player needs, with addresses.
    pub(crate) async fn open_lesson(&self, _profile: ProfileId, _lesson: LessonId) -> Result<PlaybackView, HostError> {
        todo!()
    }

    /// The address of an asset.
    pub(crate) fn media_url(&self, profile: ProfileId, asset: AssetId) -> String {
        format!("{}{asset}", self.media.base(profile))
    }
}
