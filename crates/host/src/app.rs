//! The host: an engine (or the reason why there is none), what happens in it, and where its media are.

use std::{panic::AssertUnwindSafe, sync::Arc};

use carrel_engine::model::{ErrorCode, LessonId, ProfileId};
use carrel_engine::{
    Engine, EngineConfig, EngineEvent, OpenNotice, Ports, access::view::ProfileView, events::EventBus,
    network::device::DeviceView, playback::view::PlaybackView, ports::Http, settings::Settings, sync::view::SyncView,
};
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

use crate::{HostError, media::MediaAddresses};

/// What a host is made of.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// Where the engine lives.
    pub engine: EngineConfig,
    /// Service address offered at first sign-in.
    pub suggested_service: Option<String>,
}

/// What front ends talk to. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Host(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    config: HostConfig,
    ports: Ports,
    media: MediaAddresses,
    engine: watch::Sender<Result<Engine, HostError>>,
    /// Outlives engines: a front end subscribes once, whether the store is open or not.
    events: EventBus,
    /// One attempt to open the store at a time.
    opening: tokio::sync::Mutex<()>,
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
    /// Link and power; none while the store isn't open.
    pub device: Option<DeviceView>,
    /// Choices of the learner in use.
    pub settings: Settings,
    /// Address of media up to the asset's id; none while nobody is signed in.
    pub media_base: Option<String>,
    /// Service address offered at first sign-in.
    pub suggested_service: Option<String>,
}

impl Host {
    /// Opens the engine; a store that can't be opened is a state a front end shows, not an end.
    pub async fn open(config: HostConfig, ports: Ports, media: MediaAddresses) -> Self {
        let events = EventBus::default();
        let engine = open_engine(&config, &ports, &events).await;
        let (engine, _) = watch::channel(engine);
        Self(Arc::new(Parts { config, ports, media, engine, events, opening: tokio::sync::Mutex::default() }))
    }

    /// The open engine.
    pub fn engine(&self) -> Result<Engine, HostError> {
        self.0.engine.borrow().clone()
    }

    /// What changes from now on, in this engine and any opened after it.
    pub fn events(&self) -> impl Stream<Item = EngineEvent> + Send + Unpin + use<> {
        self.0.events.subscribe()
    }

    /// The read-only pool of the open engine, and of each that is opened later; for the diagnostics window alone.
    pub fn read_only_pools(&self) -> impl Stream<Item = sqlx::SqlitePool> + Send + Unpin + use<> {
        let engines = WatchStream::new(self.0.engine.subscribe());
        Box::pin(engines.filter_map(|engine| async move { Some(engine.ok()?.read_only_pool().clone()) }))
    }

    /// Where media are.
    #[must_use]
    pub fn media(&self) -> &MediaAddresses {
        &self.0.media
    }

    /// The HTTP client of the engine; media at the service pass through it.
    #[must_use]
    pub fn http_client(&self) -> &Http {
        &self.0.ports.http
    }

    /// Stops background work and closes the store.
    pub async fn close(&self) {
        if let Ok(engine) = self.engine() {
            engine.close().await;
        }
    }

    pub(crate) async fn state(&self) -> Result<AppView, HostError> {
        let mut view = AppView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            failure: None,
            notices: Vec::new(),
            profiles: Vec::new(),
            current: None,
            sync: None,
            device: None,
            settings: Settings::default(),
            media_base: None,
            suggested_service: self.0.config.suggested_service.clone(),
        };
        let engine = match self.engine() {
            Ok(engine) => engine,
            Err(failure) => return Ok(AppView { failure: Some(failure), ..view }),
        };
        view.device = Some(engine.device().state());
        view.notices = engine.notices();
        view.profiles = engine.access().profiles().await?;
        view.current = engine.access().current().await?;
        let learner = view.current.as_ref().map(|profile| profile.id);
        view.sync = Some(engine.sync().status(learner).await?);
        if let Some(learner) = learner {
            view.settings = engine.settings().get(learner).await?;
            view.media_base = Some(self.0.media.base(learner));
        }
        Ok(view)
    }

    pub(crate) async fn reopen(&self) -> Result<AppView, HostError> {
        let opening = self.0.opening.lock().await;
        if self.engine().is_err() {
            let engine = open_engine(&self.0.config, &self.0.ports, &self.0.events).await;
            drop(self.0.engine.send_replace(engine));
            self.0.events.send(EngineEvent::Resync);
        }
        drop(opening);
        self.state().await
    }

    pub(crate) async fn sync_status(&self) -> Result<SyncView, HostError> {
        let engine = self.engine()?;
        let learner = engine.access().current().await?.map(|profile| profile.id);
        Ok(engine.sync().status(learner).await?)
    }

    /// What a lesson's player needs, with addresses.
    pub(crate) async fn open_lesson(&self, profile: ProfileId, lesson: LessonId) -> Result<PlaybackView, HostError> {
        let mut view = self.engine()?.playback().open(profile, lesson).await?;
        let base = self.0.media.base(profile);
        for media in view.main.iter_mut().chain(&mut view.captions).chain(&mut view.images) {
            media.url = format!("{base}{}?quality={}", media.asset_id, media.quality);
        }
        Ok(view)
    }
}

async fn open_engine(config: &HostConfig, ports: &Ports, events: &EventBus) -> Result<Engine, HostError> {
    let opening = Engine::open(config.engine.clone(), ports.clone());
    // Whatever happens in there, whoever waits for the store must get an answer.
    let opened = AssertUnwindSafe(Box::pin(opening)).catch_unwind().await;
    let opened = opened.map_err(|_| HostError::new(ErrorCode::Internal, "opening the store failed; see the log"));
    let engine = opened?.map_err(|error| {
        tracing::error!(%error, "the store can't be opened");
        HostError::from(&error)
    })?;
    let (mut news, events) = (engine.events(), events.clone());
    // Ends with the engine, whose side of the stream closes.
    tokio::spawn(async move {
        while let Some(event) = news.next().await {
            events.send(event);
        }
    });
    Ok(engine)
}
