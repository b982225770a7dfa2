//! What the engine asks of its surroundings, so that tests can stand in for them at the operating system's edge; and the
//! real ones ([`Ports::system`]).

mod file_secrets;
mod http_client;
mod keyring_secrets;
mod system_clock;

use std::{fmt, path::Path, sync::Arc};

use async_trait::async_trait;
use carrel_model::{TimeMs, trusted_time::Reading};
use tokio::sync::watch;

pub use file_secrets::FileSecrets;
pub use http_client::http_client;
pub use keyring_secrets::{KeyringSecrets, system_secrets};
pub use system_clock::SystemClock;

/// The one clock. `SystemTime` and `Instant` are read behind it and nowhere else.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The wall clock and monotonic milliseconds.
    fn read(&self) -> Reading;

    /// The wall clock.
    fn now(&self) -> TimeMs {
        self.read().wall
    }

    /// Random bytes for ids, tokens and jitter; here because a test injects both together.
    fn fill_random(&self, bytes: &mut [u8]);
}

/// Where tokens are kept: the system's keyring, or a file of mode 0600 where there is none.
#[async_trait]
pub trait Secrets: Send + Sync + fmt::Debug {
    /// The secret under this name.
    async fn get(&self, name: &str) -> std::io::Result<Option<String>>;
    /// Keeps a secret, durably before it returns.
    async fn set(&self, name: &str, secret: &str) -> std::io::Result<()>;
    /// Forgets it.
    async fn delete(&self, name: &str) -> std::io::Result<()>;
    /// Whether it is the fallback file, so that the app can say so.
    fn is_fallback(&self) -> bool;
}

/// What the operating system says about the network. Whether the *service* answers, the engine finds out itself.
pub trait NetworkObserver: Send + Sync + fmt::Debug {
    /// The present link, and every change of it.
    fn link(&self) -> watch::Receiver<Link>;
}

/// The link to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// There is none.
    Down,
    /// There is one, and it costs.
    Metered,
    /// There is one.
    Unmetered,
    /// The platform can't say; the engine tries.
    Unknown,
}

/// The surroundings of an engine.
#[derive(Debug, Clone)]
pub struct Ports {
    /// Time and randomness.
    pub clock: Arc<dyn Clock>,
    /// Links.
    pub network: Arc<dyn NetworkObserver>,
    /// Tokens.
    pub secrets: Arc<dyn Secrets>,
    /// The HTTP client, shared by sync and transfers.
    pub http: reqwest::Client,
}

impl Ports {
    /// The surroundings of a real app. Tokens go to the system's keyring or, where there is none, into the data folder.
    pub async fn system(data_dir: &Path) -> Result<Self, reqwest::Error> {
        Ok(Self {
            clock: Arc::new(SystemClock::default()),
            network: Arc::new(UnknownLink::default()),
            secrets: system_secrets(data_dir).await,
            http: http_client()?,
        })
    }
}

/// The observer of a platform that can't say: the engine finds out by asking the service.
#[derive(Debug)]
pub struct UnknownLink(watch::Sender<Link>);

impl Default for UnknownLink {
    fn default() -> Self {
        Self(watch::Sender::new(Link::Unknown))
    }
}

impl NetworkObserver for UnknownLink {
    fn link(&self) -> watch::Receiver<Link> {
        self.0.subscribe()
    }
}
