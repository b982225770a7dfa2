//! Putting the rooms together, listening, and ending in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    accounts::{Attempts, Passwords},
    clock::{Clock, system_clock},
    config::Config,
    objects::{ObjectError, Objects, UrlSigner},
    routes::{self, API_PREFIX, App},
    secrets::{SecretError, Secrets},
    serving::{self, Limits},
    store::{Store, StoreError, postgres, sqlite},
};

/// How long open requests may take once the service is told to end.
const GRACE: Duration = Duration::from_secs(10);
/// A connection may have a file open as well, and 1024 of both is what systems commonly allow.
const LIMITS: Limits = Limits { head_within: Duration::from_secs(30), connections: 400 };
/// How many batches are judged at once. The database is no faster for more, and each takes memory.
const PUSHES_AT_ONCE: usize = 8;
/// How often what is past its time is forgotten.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// Why the service can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder can't be made, or the address is taken.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The database can't be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The objects' folder can't be used.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The secrets can't be used.
    #[error(transparent)]
    Secrets(#[from] SecretError),
    /// The signing key can't be used.
    #[error("the signing key can't be used")]
    Key,
}

/// The service's rooms over one data folder, without a socket: what the command line works with.
pub struct Service {
    /// The rows.
    pub store: Arc<dyn Store>,
    /// The bytes.
    pub objects: Objects,
    /// The clock.
    pub clock: Clock,
    secrets: Secrets,
    config: Config,
}

impl Service {
    /// Opens a data folder, making everything that is missing.
    pub async fn open(config: Config, clock: Clock) -> Result<Self, StartError> {
        let io = |source| StartError::Io { what: config.data.display().to_string(), source };
        std::fs::create_dir_all(&config.data).map_err(io)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&config.data, std::fs::Permissions::from_mode(0o700)).map_err(io)?;
        }
        let secrets = Secrets::load_or_create(&config.data)?;
        let objects = Objects::in_folder(&config.objects())?;
        let now = clock();
        let store: Arc<dyn Store> = match &config.database {
            Some(address) => Arc::new(postgres::open(address.reveal(), now).await?),
            None => Arc::new(sqlite::open(&config.database_file(), now).await?),
        };
        Ok(Self { store, objects, clock, secrets, config })
    }

    /// Its routes, ready to be served or called in a test.
    pub fn router(&self) -> Result<axum::Router, StartError> {
        let prefix = format!(
            "{}{API_PREFIX}",
            self.config.public_address.as_deref().map(|address| address.trim_end_matches('/')).unwrap_or_default()
        );
        let signer = UrlSigner::new(&self.secrets.url_key, self.config.url_lifetime_seconds, prefix);
        let app = App {
            store: self.store.clone(),
            objects: self.objects.clone(),
            signer: signer.ok_or(StartError::Key)?,
            secrets: self.secrets.clone(),
            clock: self.clock.clone(),
            passwords: Passwords::default(),
            attempts: Attempts::default(),
            quota_bytes: self.config.quota_bytes,
            pushes: Semaphore::new(PUSHES_AT_ONCE),
        };
        Ok(routes::router(Arc::new(app)))
    }
}

/// A service that is being served.
pub struct RunningService {
    /// Where it listens.
    pub address: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl RunningService {
    /// `http://host:port`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it: no new connections, open requests are finished within 10 s, the database is closed.
    pub async fn shutdown(self) {
        self.stop.cancel();
        if let Err(error) = self.served.await {
            tracing::error!(%error, "the service ended badly");
        }
    }
}

/// Starts the service on the machine's clock.
pub async fn start(config: Config) -> Result<RunningService, StartError> {
    start_with_clock(config, system_clock()).await
}

/// Starts the service on a given clock.
pub async fn start_with_clock(config: Config, clock: Clock) -> Result<RunningService, StartError> {
    let listen = config.listen;
    let service = Service::open(config, clock).await?;
    let router = service.router()?;
    let io = |source| StartError::Io { what: format!("listening on {listen}"), source };
    let listener = TcpListener::bind(listen).await.map_err(io)?;
    let address = listener.local_addr().map_err(io)?;
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(service, router, listener, stop.clone()));
    Ok(RunningService { address, stop, served })
}

async fn serve(service: Service, router: axum::Router, listener: TcpListener, stop: CancellationToken) {
    let pruning = tokio::spawn(prune(service.store.clone(), service.clock.clone(), stop.clone()));
    let too_long = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        () = serving::serve(listener, router, LIMITS, stop.clone()) => {}
        () = too_long => tracing::warn!("open requests were cut off"),
    }
    stop.cancel();
    if let Err(error) = pruning.await {
        tracing::error!(%error, "pruning ended badly");
    }
    service.store.close().await;
}

async fn prune(store: Arc<dyn Store>, clock: Clock, stop: CancellationToken) {
    loop {
        if let Err(error) = store.prune(clock()).await {
            tracing::warn!(%error, "pruning failed; tried again in an hour");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PRUNE_EVERY) => {}
        }
    }
}
