//! What the engine asks of its surroundings, so that tests can stand in for them at the operating system's edge; and the
//! real ones ([`Ports::system`]).

mod file_secrets;
mod http_client;
mod keyring_secrets;
mod surroundings;
mod system_clock;

use std::{fmt, path::Path, sync::Arc};

use async_trait::async_trait;
use carrel_model::{TimeMs, trusted_time::Reading};

pub use file_secrets::FileSecrets;
pub use http_client::{Http, http_client};
pub use keyring_secrets::{KeyringSecrets, system_secrets};
pub use surroundings::{Link, NetworkObserver, Observed, Power, PowerObserver, UnknownLink};
pub use system_clock::SystemClock;

/// The one clock. `SystemTime` and `Instant` are read behind it and nowhere else.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The wall clock and monotonic milliseconds.
    fn read(&self) -> Reading;

    /// The wall clock.
    fn now(&self) -> TimeMs {
        self.read().wall
    }

    /// How far local time is ahead of UTC at a moment, in milliseconds. Local time is what hours are chosen in (D9); it is
    /// asked for a moment, not for now, because summer time begins and ends between now and tonight.
    fn utc_offset_ms(&self, at: TimeMs) -> i64 {
        let _ = at;
        0
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

/// The surroundings of an engine.
#[derive(Debug, Clone)]
pub struct Ports {
    /// Time and randomness.
    pub clock: Arc<dyn Clock>,
    /// Links.
    pub network: Arc<dyn NetworkObserver>,
    /// Mains or battery.
    pub power: Arc<dyn PowerObserver>,
    /// Tokens.
    pub secrets: Arc<dyn Secrets>,
    /// The HTTP client of everything but transfers.
    pub http: Http,
}

impl Ports {
    /// The surroundings of a real app, but for what the platform says of network and power: the shell knows that. Tokens go to the system's keyring or, where there is none, into the data folder.
    pub async fn system(data_dir: &Path) -> Result<Self, reqwest::Error> {
        Ok(Self {
            clock: Arc::new(SystemClock::default()),
            network: Arc::new(UnknownLink::default()),
            power: Arc::new(Observed::new(Power::Unknown)),
            secrets: system_secrets(data_dir).await,
            http: http_client()?,
        })
    }
}
